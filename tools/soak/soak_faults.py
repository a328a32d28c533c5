"""The faults of the soak: what goes wrong around a node while its cameras go on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from rmpsam_ros.msg import InstanceTrackArray, PromptPoint
from rmpsam_ros.srv import AddPrompt, ClearPrompts, ListPrompts, RemovePrompt, SegmentEverything

FAULT_EVERY = 0.7  # seconds
PATIENCE = 120.0  # seconds until a request counts as unanswered
CROWD = 30  # requests at once
CHOSEN = {
    "damaged_images": ["use", "refuse", "mend"],
    "mono16_white": [4095, 65535, 0, "white"],
    "cameras": ["", "other"],
}
LIVE = {"score_threshold": (0.05, 0.9), "overlap_threshold": (0.0, 0.9), "overlay_rate": (0.5, 30)}


class Faults(threading.Thread):
    """Does something unpleasant again and again."""

    def __init__(self, node, cameras, seed):
        super().__init__(daemon=True)
        self._node, self._cameras, self._random = node, cameras, random.Random(seed)
        self.stop, self.turn = threading.Event(), threading.Lock()
        self.done, self.unanswered, self.finished = Counter(), 0, False
        self._misfits: list = []
        self._parameters = node.create_client(SetParameters, "/rmpsam/set_parameters")
        self._clients = {
            (camera.name, kind): node.create_client(
                kind, f"/rmpsam/{camera.prefix}{name}", qos_profile=QoSProfile(depth=1000)
            )
            for camera in cameras
            for name, kind in (
                ("reset_tracks", Trigger),
                ("add_prompt", AddPrompt),
                ("remove_prompt", RemovePrompt),
                ("list_prompts", ListPrompts),
                ("clear_prompts", ClearPrompts),
                ("segment_everything", SegmentEverything),
            )
        }

    def run(self):
        faults = (
            self.publisher_restart,
            self.misfit,
            self.parameter,
            self.parameter,
            self.prompt,
            self.prompt,
            self.prompt,
            self.time_jump,
            self.crowd,
            self.stale_prompt,
        )
        while not self.stop.wait(self._random.uniform(0.0, 2.0 * FAULT_EVERY)):
            fault = self._random.choice(faults)
            with self.turn:
                fault(self._random.choice(self._cameras))
            self.done[fault.__name__] += 1
        self.finished = True

    def clear_prompts(self):
        for camera in self._cameras:
            self._ask(self._clients[camera.name, ClearPrompts], ClearPrompts.Request())

    def crowd(self, camera):
        """Ask for the same from many sides at once; all are answered."""
        kind = self._random.choice([Trigger, ListPrompts, AddPrompt])
        request = kind.Request()
        if kind is AddPrompt:
            request.points = [PromptPoint(x=5.0, y=5.0, label=1)]
        client = self._clients[camera.name, kind]
        futures = [client.call_async(request) for _ in range(CROWD)]
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not all(future.done() for future in futures):
            time.sleep(0.05)
        self.unanswered += sum(not future.done() for future in futures)

    def stale_prompt(self, camera):
        """Ask on an image that is long gone, or never was."""
        request = AddPrompt.Request(points=[PromptPoint(x=5.0, y=5.0, label=1)])
        request.stamp.sec = self._random.choice([1, 2**31 - 1, -(2**31)])
        request.object_id = self._random.choice(["", "x\n[ERROR] [1.0] [rmpsam]: forged line"])
        self._ask(self._clients[camera.name, AddPrompt], request)

    def publisher_restart(self, camera):
        camera.restart.set()

    def time_jump(self, camera):
        camera.jump += self._random.choice([-1000.0, -1.0, -0.1, 1.0, 1000.0])

    def misfit(self, camera):
        """Add an end that does not fit to an input or result, and take an old one away."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        fast = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        tracks = f"/rmpsam/{camera.prefix}tracks"
        node, ignore = self._node, (lambda message: None)
        self._misfits.append(
            self._random.choice(
                [
                    lambda: node.create_subscription(InstanceTrackArray, tracks, ignore, latched),
                    lambda: node.create_subscription(InstanceTrackArray, tracks, ignore, fast),
                    lambda: node.create_publisher(camera.kind, camera.topic, latched),
                ]
            )()
        )
        if len(self._misfits) > 3:
            old = self._misfits.pop(0)
            destroy = node.destroy_publisher if hasattr(old, "publish") else None
            (destroy or node.destroy_subscription)(old)

    def parameter(self, camera):
        name = self._random.choice([*LIVE, *CHOSEN, "classes", "nonsense", "model"])
        if name in LIVE:
            value = self._random.choice([self._random.uniform(*LIVE[name]), 1, -1.0, "text"])
        elif name in CHOSEN:
            value = self._random.choice(CHOSEN[name])
        else:
            value = self._random.choice(["", "person", "person, car", "no such class", 7])
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        self._ask(self._parameters, request)

    def prompt(self, camera):
        pick = self._random
        kind = pick.choice([AddPrompt] * 5 + [RemovePrompt, ListPrompts, ClearPrompts])
        kind = SegmentEverything if pick.random() < 0.05 else kind
        request = kind.Request()
        if kind is AddPrompt:
            x = pick.choice([pick.uniform(0.0, 60.0), float("nan"), 1e9])
            request.points = [PromptPoint(x=x, y=pick.uniform(0.0, 30.0), label=1)]
            request.object_id, request.track = pick.choice(["", "a", "b"]), pick.random() < 0.5
        if kind is RemovePrompt:
            request.object_id = pick.choice(["a", "b", "nobody"])
        self._ask(self._clients[camera.name, kind], request)

    def _ask(self, client, request):
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(PATIENCE):
            self.unanswered += 1
