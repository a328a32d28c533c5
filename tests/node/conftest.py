"""Fixtures of the node's tests: a domain of their own, a fake pipeline, nodes in this process."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
DEADLINE = 60.0  # seconds; far more than anything needs, tests fail earlier for other reasons


def _load_helper(name):
    """A module beside this one, once."""
    qualified = f"node_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, HERE / f"{name}.py")
        sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[qualified])
    return sys.modules[qualified]


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


class Goal:
    """A goal that was sent, what has been told of it, and its one result."""

    def __init__(self, client, goal):
        self.handle, self.told, self._results = None, [], []
        self._done = threading.Event()
        sent = client.send_goal_async(goal, lambda message: self.told.append(message.feedback))
        sent.add_done_callback(self._accepted)

    def _accepted(self, sent):
        self.handle = sent.result()
        assert self.handle.accepted
        self.handle.get_result_async().add_done_callback(self._finish)

    def _finish(self, done):
        self._results.append(done.result())
        self._done.set()

    def result(self):
        """Status and result."""
        assert self._done.wait(DEADLINE), "no result"
        (answer,) = self._results
        return answer.status, answer.result

    @property
    def is_done(self):
        return self._done.is_set()

    def cancel(self):
        """Return when the node has heard of it."""
        wait_for(lambda: self.handle is not None, "acceptance")
        heard = threading.Event()
        self.handle.cancel_goal_async().add_done_callback(lambda _: heard.set())
        assert heard.wait(DEADLINE)


class Listener:
    """A node beside the one under test that publishes, subscribes, calls and sends goals."""

    def __init__(self, node):
        self.node, self.actions = node, {}

    def send_goal(self, action_type, name, goal):
        from rclpy.action import ActionClient

        from rmpsam_ros.node import qos

        if name not in self.actions:
            profiles = dict.fromkeys(
                ("goal_service_qos_profile", "result_service_qos_profile"), qos.requests()
            )
            self.actions[name] = ActionClient(self.node, action_type, name, **profiles)
        assert self.actions[name].wait_for_server(DEADLINE), f"no action {name}"
        return Goal(self.actions[name], goal)

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
    listener = Listener(node)
    yield listener
    executor.shutdown()
    thread.join(DEADLINE)
    for client in listener.actions.values():
        client.destroy()
    node.destroy_node()


@pytest.fixture
def fake_pipeline():
    """A pipeline without a network: one thing and one stuff segment in every frame."""
    return _load_helper("fake_pipeline").FakePipeline()


@pytest.fixture
def make_pipeline():
    """Make further pipelines without a network; their gates are opened at the end."""
    made = []

    def make():
        made.append(_load_helper("fake_pipeline").FakePipeline())
        return made[-1]

    yield make
    for pipeline in made:
        pipeline.gate.set()
        pipeline.prompt_engine.gate.set()


@pytest.fixture
def feed():
    """Give a node in this process an image for certain; the middleware may lose some."""
    return lambda node, image, camera=0: node.cameras[camera].subscription.callback(image, {})


@pytest.fixture
def live_settings():
    """Settings with the defaults of the table and what a test wants otherwise, in `current`."""
    from rmpsam_ros.node.parameters.settings import Settings, defaults

    return lambda **changes: SimpleNamespace(current=Settings(**defaults() | changes))


@pytest.fixture
def make_node(ros, fake_pipeline):
    """Start nodes in this process; by default with the fake pipeline, and parameters by name."""
    from rclpy.parameter import Parameter

    from rmpsam_ros.node.process import NodeExecutor, spin
    from rmpsam_ros.node.rmpsam_node import RmpsamNode

    running = []

    def make(factory=lambda settings, progress: fake_pipeline, spinning=True, **parameters):
        # Tests give an image and take their time: no prompt is refused for it.
        parameters = {"keep_seconds": 600.0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = RmpsamNode(factory, parameter_overrides=overrides)
        executor = NodeExecutor(node.executor_threads)
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
    fake_pipeline.prompt_engine.gate.set()
    for one in running:
        one.stop.set()
        stopped = one.node.stop(DEADLINE)
        one.executor.shutdown()
        if one.thread.is_alive():
            one.thread.join(DEADLINE)
        one.node.destroy_node()
        assert stopped
        assert not one.thread.is_alive()


@pytest.fixture(scope="session")
def make_program(ros, tmp_path_factory):
    """Start programs; as a context that ends them however its content ends."""
    kind = _load_helper("program").Program

    @contextlib.contextmanager
    def start(executable, parameters=None, remappings=None):
        log = tmp_path_factory.mktemp("log") / f"{Path(executable).name}.log"
        program = kind(executable, parameters or {}, remappings or {}, log, wait_for)
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
