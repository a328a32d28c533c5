"""Fixtures of the node's tests: a domain of their own, a fake pipeline, nodes in this process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

DEADLINE = 60.0  # seconds; far more than anything needs, tests fail earlier for other reasons


def take_domain():
    """Return a ROS domain that no other test run on this machine uses, and what keeps it."""
    for domain in random.sample(range(1, 102), 101):
        path = Path(tempfile.gettempdir()) / f"rmpsam_ros_test_domain_{domain}.lock"
        with contextlib.suppress(OSError):
            lock = path.open("a")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
    raise RuntimeError("every ROS domain is taken by another test run")


# Held until the process ends. Nothing of these tests reaches another machine either.
DOMAIN, DOMAIN_LOCK = take_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def wait_for(condition, what="condition"):
    """Return the first truthy value of a function; fail when it does not come."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    pytest.fail(f"{what} did not come within {DEADLINE:.0f} s")


@pytest.fixture(name="wait_for")
def wait_for_fixture():
    return wait_for


@pytest.fixture
def make_image():
    """Make an image message of a size, full of colours, with a stamp in seconds."""
    from array import array

    from sensor_msgs.msg import Image

    def make(
        stamp=1.0, height=60, width=80, frame_id="camera", encoding="rgb8", bytes_per_pixel=3
    ):
        step = bytes_per_pixel * width
        image = Image(height=height, width=width, encoding=encoding, step=step)
        image.header.frame_id = frame_id
        image.header.stamp.sec = int(stamp)
        image.header.stamp.nanosec = round(stamp % 1 * 1e9)
        image.data = array("B", bytes(range(256)) * (height * step // 256 + 1))[: height * step]
        return image

    return make


@pytest.fixture(scope="session")
def ros():
    """An initialised ROS 2 in this process; no overlay of other transports."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")
    rclpy.init()
    yield rclpy
    rclpy.shutdown()


class Listener:
    """A node beside the one under test that publishes, subscribes and calls."""

    def __init__(self, node):
        self.node = node

    def subscribe(self, message_type, topic, profile=10):
        received = []
        self.node.create_subscription(message_type, topic, received.append, profile)
        return received

    def publisher(self, message_type, topic, profile=10):
        """A publisher that already has a subscriber."""
        publisher = self.node.create_publisher(message_type, topic, profile)
        wait_for(publisher.get_subscription_count, f"a subscriber of {topic}")
        return publisher

    def call(self, service_type, name, request, timeout=DEADLINE):
        client = self.node.create_client(service_type, name)
        try:
            assert client.wait_for_service(timeout_sec=DEADLINE), f"no service {name}"
            done = threading.Event()
            future = client.call_async(request)
            future.add_done_callback(lambda _: done.set())
            assert done.wait(timeout), f"{name} does not answer"
            return future.result()
        finally:
            self.node.destroy_client(client)


@pytest.fixture
def listener(ros):
    """A `Listener` whose callbacks run in a thread."""
    from rclpy.executors import SingleThreadedExecutor

    node = ros.create_node("listener")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield Listener(node)
    executor.shutdown()
    thread.join(DEADLINE)
    node.destroy_node()


@pytest.fixture
def fake_pipeline():
    """A pipeline without a network: one thing and one stuff segment in every frame."""
    from rmpsam_ros.pipeline import FrameResult, Pipeline, PromptingConfig, StageTimes
    from rmpsam_ros.prompting import Answer, FollowPass, FoundMask, KeptFrame, Prompter, QueryMasks
    from rmpsam_ros.prompting.refinement import anchor_prompt
    from rmpsam_ros.runtime import EngineInfo
    from rmpsam_ros.segmentation.labels import load_label_set
    from rmpsam_ros.segmentation.panoptic import FusionConfig, PanopticResult, Segment
    from rmpsam_ros.segmentation.preprocess import Geometry
    from rmpsam_ros.segmentation.run_length import encode_id_map, encode_mask
    from rmpsam_ros.tracking import Track, TrackState

    class FakePrompts:
        """Sees the same rectangle whatever it is asked, in the thread that `beside` says."""

        name, weights, info = "fake", "no weights", "fake (no weights)"
        runs_beside = False
        error = None

        def __init__(self):
            self.gate = threading.Event()  # answers wait for it
            self.gate.set()
            self.entered = threading.Semaphore(0)
            self.threads, self.visible = set(), True

        def answer(self, frame, prompt):
            self.threads.add(threading.current_thread().name)
            self.entered.release()
            assert self.gate.wait(DEADLINE)
            if self.error is not None:
                raise self.error
            mask = np.zeros(frame.geometry.image_size, bool)
            mask[2:5, 3:9] = self.visible
            return Answer(mask, 0.5)

        def look(self, frame, anchor, elapsed):
            return self.answer(frame, anchor_prompt(anchor))

        def on_grid(self, frame, points_per_side):
            for _ in range(points_per_side):
                self.entered.release()
                assert self.gate.wait(DEADLINE)
                yield
            return self.in_boxes(frame, [None])

        def in_boxes(self, frame, boxes):
            mask = np.zeros(frame.geometry.image_size, bool)
            mask[10:20, 10:30] = True
            return [FoundMask(encode_mask(mask), 0.75)] * len(boxes)

        def close(self):
            pass

    class FakePipeline(Pipeline):
        def __init__(self, labels="coco_panoptic"):
            self.labels, self.others, self.passes, self.together = labels, [], [], False
            self.label_set = load_label_set(labels)
            self.engine_info = EngineInfo("fake 1", "fp32", "nowhere", "fake", "fake weights")
            self.fusion = FusionConfig()
            self.stamps, self.pictures, self.fusions = [], [], []
            self.resets, self.closed = 0, False
            self.error = None  # raised by the next frames
            self.gate = threading.Event()  # frames and prompts wait for it
            self.gate.set()
            self.entered = threading.Semaphore(0)
            self.prompts = FakePrompts()
            self._prompter = Prompter(self.prompts, PromptingConfig(max_objects=3, prompt_rate=0))

        def for_another_camera(self):
            other = FakePipeline(self.labels)
            other.prompts = self.prompts
            other._prompter = Prompter(self.prompts, PromptingConfig(max_objects=3, prompt_rate=0))
            self.others.append(other)
            return other

        def begin(self, image, stamp, channel_order="rgb"):
            return SimpleNamespace(
                pipeline=self, image=image, stamp=stamp, channel_order=channel_order
            )

        def gains_from_company(self, frame):
            return self.together

        def infer(self, frames):
            self.passes.append(len(frames))
            outputs = []
            for one in frames:
                pipeline = one.pipeline
                pipeline.entered.release()
                assert pipeline.gate.wait(DEADLINE)
                outputs.append(pipeline.error)
            return outputs

        def finish(self, pending, output):
            image, stamp, channel_order = pending.image, pending.stamp, pending.channel_order
            self.stamps.append(stamp)
            self.pictures.append((image.copy(), channel_order))
            self.fusions.append(self.fusion)
            height, width = image.shape[:2]
            id_map = np.ones((height, width), np.uint16)
            id_map[: height // 2, : width // 2] = 2
            id_map[-1] = 0
            stuff = len(self.label_set.labels) - 1
            box = (0, 0, width // 2, height // 2)
            area = (height // 2) * (width // 2)
            rest = height * width - width - area
            segments = (
                Segment(1, stuff, False, 0.75, rest, (0, 0, width, height - 1), 3),
                Segment(2, 0, True, 0.5, area, box, 4),
            )
            tracks = (
                Track(7, TrackState.CONFIRMED, 0, 0.5, stamp - 1.5, stamp, 9, 2),
                Track(5, TrackState.LOST, 1, 0.25, stamp - 4.0, stamp - 1.0, 3, 0),
            )
            run_ids, run_lengths = encode_id_map(id_map)
            frame = KeptFrame(
                stamp=stamp,
                image=image.copy(),
                channel_order=channel_order,
                geometry=Geometry((height, width), (height, width), (height, width)),
                features=None,
                queries=QueryMasks(
                    np.ones(1, np.float32),
                    np.full((1, 2), 255, np.uint8),
                    (4, 4),
                    np.eye(1, 8, dtype=np.float32),
                ),
            )
            if not self.prompts_run_beside:  # as the real one does it, in the pass of the frame
                for one in self._prompter._objects.followed(stamp):
                    self._prompter._look(one, frame)
            return FrameResult(
                stamp=stamp,
                height=height,
                width=width,
                panoptic=PanopticResult(id_map, segments),
                run_ids=run_ids,
                run_lengths=run_lengths,
                tracks=tracks,
                track_masks={7: encode_mask(id_map == 2)},
                track_ids={2: 7},
                times=StageTimes(0.001, 0.002, 0.003),
                prompted=self._prompter.keep(frame, FollowPass(), None, None),
            )

        def reset(self):
            self._prompter.reset()
            self.resets += 1

        def close(self):
            self.closed = True

    return FakePipeline()


@pytest.fixture
def feed():
    """Give a node in this process an image for certain; the middleware may lose some."""
    return lambda node, image, camera=0: node.cameras[camera].subscription.callback(image, {})


@pytest.fixture
def make_node(ros, fake_pipeline):
    """Start nodes in this process; by default with the fake pipeline, and parameters by name."""
    from rclpy.executors import MultiThreadedExecutor
    from rclpy.parameter import Parameter

    from rmpsam_ros.node.process import spin
    from rmpsam_ros.node.rmpsam_node import RmpsamNode

    running = []

    def make(factory=lambda values, progress: fake_pipeline, spinning=True, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = RmpsamNode(factory, parameter_overrides=overrides)
        executor = MultiThreadedExecutor(node.executor_threads)
        executor.add_node(node)
        stop = threading.Event()
        thread = threading.Thread(target=spin, args=(executor, stop), daemon=True)
        if spinning:
            thread.start()
        running.append(SimpleNamespace(node=node, executor=executor, stop=stop, thread=thread))
        return node

    yield make
    for pipeline in (fake_pipeline, *fake_pipeline.others):
        pipeline.gate.set()
    fake_pipeline.prompts.gate.set()
    for one in running:
        one.stop.set()
        stopped = one.node.stop(DEADLINE)
        one.executor.shutdown()
        if one.thread.is_alive():
            one.thread.join(DEADLINE)
        one.node.destroy_node()
        assert stopped
        assert not one.thread.is_alive()


class Program:
    """One program of the installed package, running as a process of its own with its log."""

    def __init__(self, executable, parameters, remappings, log):
        from ament_index_python.packages import get_package_prefix

        path = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / executable
        command = [sys.executable, str(path), "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={str(value).lower() if value in (True, False) else value}"]
        for old, new in remappings.items():
            command += ["-r", f"{old}:={new}"]
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for_log(self, words):
        def look():
            code = self.process.poll()
            if code is not None and words not in self.log:
                pytest.fail(f"ended with {code}, without '{words}':\n{self.log}")
            return words in self.log

        try:
            wait_for(look, f"'{words}' in the log")
        except pytest.fail.Exception:
            print(self.log)
            raise

    def wait(self):
        """The exit status of a program that ends by itself."""
        return self.process.wait(DEADLINE)

    def end(self, number=signal.SIGINT):
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.wait()


@pytest.fixture(scope="session")
def make_program(ros, tmp_path_factory):
    """Start programs; as a context that ends them however its content ends."""

    @contextlib.contextmanager
    def start(executable, parameters=None, remappings=None):
        log = tmp_path_factory.mktemp("log") / f"{executable}.log"
        program = Program(executable, parameters or {}, remappings or {}, log)
        try:
            yield program
        finally:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()

    return start


@pytest.fixture
def start_program(make_program):
    """Start programs that live until the end of the test."""
    with contextlib.ExitStack() as programs:
        yield lambda *options: programs.enter_context(make_program(*options))


@pytest.fixture
def wait_for_status(listener):
    """Wait until a part of the node has one of some levels and a message with some words."""
    from diagnostic_msgs.msg import DiagnosticArray

    received = listener.subscribe(DiagnosticArray, "/diagnostics")

    def wait(part, levels, words="", meanwhile=lambda: None):
        def match():
            meanwhile()
            for status in received[-1].status if received else ():
                if status.name == f"rmpsam: {part}" and words in status.message:
                    return status if status.level[0] in levels else None
            return None

        return wait_for(match, f"status {levels} of {part} with '{words}'")

    return wait


@pytest.fixture
def set_parameter(listener):
    """Set a parameter of /rmpsam; the reason of the refusal, empty if it was accepted."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    def change(name, value):
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        result = listener.call(SetParameters, "/rmpsam/set_parameters", request).results[0]
        assert result.successful == (not result.reason)
        return result.reason

    return change


@pytest.fixture
def change_state(listener):
    """Ask for a transition of /rmpsam; whether it succeeded."""
    from lifecycle_msgs.srv import ChangeState

    def change(label):
        request = ChangeState.Request()
        request.transition.label = label
        return listener.call(ChangeState, "/rmpsam/change_state", request).success

    return change


@pytest.fixture
def get_state(listener):
    """The state of /rmpsam."""
    from lifecycle_msgs.srv import GetState

    def get():
        answer = listener.call(GetState, "/rmpsam/get_state", GetState.Request())
        return answer.current_state.label

    return get
