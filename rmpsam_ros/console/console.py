"""State that all browsers share: the node, and frames encoded once for all."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from rmpsam_ros.console.dataset import Dataset
from rmpsam_ros.console.encoding import Choice
from rmpsam_ros.console.frame_message import pack_frame
from rmpsam_ros.console.frames import Frame, nanoseconds
from rmpsam_ros.console.ros.console_node import ConsoleNode
from rmpsam_ros.console.ros.lifecycle import ABSENT, ACTIVE, read_state
from rmpsam_ros.console.ros.parameters import NodeParameters
from rmpsam_ros.console.ros.prompts import PromptServices
from rmpsam_ros.console.security import Gate

POLL_PERIOD = 1.0  # seconds between two questions for the node's state
MAX_NAMES = 256


class Browser(Protocol):
    """What the console does with a browser; see `session`."""

    @property
    def camera(self) -> str | None:
        """Name of the camera that it looks at."""

    def wake(self) -> None:
        """Look for something to send."""

    def status_due(self) -> None:
        """Send the state of everything."""

    async def close(self, reason: str) -> None:
        """End it."""


class Console:
    """The state of the console; everything here belongs to the thread of the loop.

    Attributes:
        sessions: browsers that have shown their token.
        state: the perception node's lifecycle state, or `ABSENT`.
        names: what people call prompted objects, by their ids.
        dataset: frames that were collected.
        recording: name of the camera whose prompted objects are recorded; None: no one's.
    """

    def __init__(self, node: ConsoleNode, gate: Gate, dataset: Dataset) -> None:
        self.node, self.gate, self.settings = node, gate, node.settings
        self.prompts = PromptServices(node.calls)
        self.parameters = NodeParameters(node.calls)
        self.sessions: set[Browser] = set()
        self.state = ABSENT
        self.names: dict[str, str] = {}
        self.dataset = dataset
        self.recording: str | None = None
        # One thread: encoding takes from the CPU what the perception node needs.
        self.workers = ThreadPoolExecutor(1, "encoder")
        self._poll: asyncio.Task[None] | None = None

    # Browsers -----------------------------------------------------------------------------------

    def enter(self, session: Browser) -> bool:
        """Let a browser in; tell whether there is room."""
        if len(self.sessions) >= self.settings.max_clients:
            return False
        self.sessions.add(session)
        if self._poll is None:
            self.node.watch(True)
            self._poll = asyncio.create_task(self._poll_state())
        return True

    def leave(self, session: Browser) -> None:
        """Note that a browser has gone; with the last one the console falls silent."""
        self.sessions.discard(session)
        if not self.sessions and self._poll is not None:
            self._poll.cancel()
            self._poll = None
            self.recording = None
            self.node.watch(False)

    async def close(self) -> None:
        """End all sessions."""
        for session in list(self.sessions):
            await session.close("the console stops")
        self.workers.shutdown(wait=False, cancel_futures=True)
        self.dataset.close()

    def on_frame(self, camera: str) -> None:
        """Tell the browsers that look at a camera of its new frame."""
        for session in self.sessions:
            if session.camera == camera:
                session.wake()

    def on_prompted(self, camera: str, message: Any) -> None:
        """Record prompted masks while that is wanted."""
        if self.recording != camera or not message.masks:
            return
        stamp = nanoseconds(message.header.stamp)
        image = self.node.feeds[camera].store.image(stamp)
        if image is not None:
            self.workers.submit(
                self.dataset.record,
                stamp,
                image,
                message.masks,
                self.names,
                self.node.mono16_white,
            )

    def rename(self, object_id: str, name: str) -> None:
        """Give an object a name; an empty one takes it back."""
        self.names.pop(object_id, None)
        if name:
            self.names[object_id] = name
        while len(self.names) > MAX_NAMES:
            del self.names[next(iter(self.names))]

    # Frames -------------------------------------------------------------------------------------

    def newest(self, camera: str) -> Frame | None:
        """Return the newest frame of a camera."""
        feed = self.node.feeds.get(camera)
        return None if feed is None else feed.store.newest

    async def message(self, camera: str, frame: Frame, choice: Choice) -> bytes:
        """Return a packed frame; encoded once, whoever asks.

        Raises:
            ImageError: the image cannot be read.
        """
        job = frame.encoded.get(choice)
        if job is None:
            job = frame.encoded[choice] = asyncio.get_running_loop().run_in_executor(
                self.workers,
                pack_frame,
                frame,
                camera,
                self.node.labels,
                choice,
                self.node.mono16_white,
            )
        return await asyncio.shield(job)

    def age(self, stamp: int) -> float:
        """Return how old an image is by the node's clock, seconds."""
        return (self.node.get_clock().now().nanoseconds - stamp) * 1e-9

    async def _poll_state(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                self.state = await read_state(self.node.calls)
                if self.state == ABSENT:
                    self.node.forget_parts()
                self.node.expect_results(self.state == ACTIVE)
            for session in self.sessions:
                session.status_due()
            await asyncio.sleep(POLL_PERIOD)
