"""One browser: its WebSocket, what it looks at, and the one frame that is on its way to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rmpsam_ros.console.checks import Invalid, Request
from rmpsam_ros.console.console import Console
from rmpsam_ros.console.encoding import QUALITIES, SIDES, Choice
from rmpsam_ros.console.frames import Frame
from rmpsam_ros.console.security import Allowance
from rmpsam_ros.console.status import StatusReport
from rmpsam_ros.console.wire import finish
from rmpsam_ros.node.input.images import ImageError

MESSAGE_RATE, MESSAGE_BURST = 150.0, 300.0  # of a browser; acknowledgements are most of them
Worker = Callable[["Session", Request, int], Coroutine[Any, Any, None]]
MAX_REPLIES = 64  # that wait for a browser which does not read
MAX_JOBS = 8  # requests of a browser that are worked on at the same time


class Session:
    """Sends what a browser wants to see, the newest first, and has its requests worked on.

    One frame is on its way at a time: the next is encoded when the browser has acknowledged the
    last, so that its lag never grows and a slow browser costs nothing.

    Args:
        who: address of the browser, for log lines.
        work_on: does what the browser asks for and replies, with the number of the request.

    Attributes:
        camera: name of the camera that it looks at; None: at none.
        answers: masks of this browser's prompts, with their images, by object id.
    """

    def __init__(
        self, console: Console, socket: web.WebSocketResponse, who: str, work_on: Worker
    ) -> None:
        self.console, self.who = console, who
        self._work_on = work_on
        self.camera: str | None = None
        self.answers: dict[str, Any] = {}
        self._socket = socket
        self._choice = Choice()
        self._paused = False
        self._replies: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._status = StatusReport(console)
        self._is_status_due = True
        self._sent_number, self._acknowledged = 0, True
        self._next_frame_time = 0.0
        self._allowance = Allowance(MESSAGE_RATE, MESSAGE_BURST)
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._log = console.node.get_logger()

    async def run(self) -> None:
        """Serve the browser until it goes."""
        sender = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    await self.close("only text is expected")
                    break
                if not self._allowance.take():
                    self._log.warning(f"{self.who} sends too many messages: closed")
                    await self.close("too many messages")
                    break
                self._take(message.data)
        finally:
            sender.cancel()
            for job in list(self._jobs.values()):
                job.cancel()
            self.look_at(None)

    async def close(self, reason: str) -> None:
        """Close the socket, without waiting long for a browser that does not read."""
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode()[:120])

    # In -----------------------------------------------------------------------------------------

    def _take(self, text: str) -> None:
        number: Any = None
        try:
            request = Request(text)
            number = request["id"]
            if request.type == "ack":
                self._acknowledge(request.integer("number", 0, 2**53))
            elif request.type == "view":
                self._view(request)
            elif request.type == "ping":
                self.reply({"type": "pong", "id": request.integer("id", 0, 2**53)})
            elif request.type == "cancel":
                job = self._jobs.get(request.integer("job", 0, 2**53))
                if job is not None:
                    job.cancel()
            else:
                self._begin(request, request.integer("id", 0, 2**53))
        except Invalid as error:
            self.refuse(number if type(number) is int else None, str(error))

    def _acknowledge(self, number: int) -> None:
        if number == self._sent_number:
            self._acknowledged = True
            self.wake()

    def _view(self, request: Request) -> None:
        """Change what is looked at, and how."""
        camera = request["camera"]
        if camera is not None:
            camera = request.choice("camera", self.console.node.feeds.keys())
        self._choice = Choice(request.choice("quality", QUALITIES), request.choice("side", SIDES))
        self._paused = request.flag("paused")
        self.look_at(camera)
        self.wake()

    def look_at(self, camera: str | None) -> None:
        """Look at another camera, or at none."""
        if camera == self.camera:
            return
        if self.camera is not None:
            self.console.node.look(self.camera, -1)
        self.camera = camera
        if camera is not None:
            self.console.node.look(camera, 1)
        self._status.new_camera()

    def _begin(self, request: Request, number: int) -> None:
        """Work on a request beside the others."""
        if len(self._jobs) >= MAX_JOBS or number in self._jobs:
            raise Invalid(f"{MAX_JOBS} requests are being worked on already; try again later")
        job = asyncio.create_task(self._work_on(self, request, number))
        self._jobs[number] = job
        job.add_done_callback(lambda _: self._jobs.pop(number, None))

    # Out ----------------------------------------------------------------------------------------

    def reply(self, message: dict[str, Any] | bytes) -> None:
        """Send something that must arrive."""
        if len(self._replies) >= MAX_REPLIES:
            return  # the browser does not read: its heartbeat will end it
        self._replies.append(message if isinstance(message, bytes) else json.dumps(message))
        self.wake()

    def tell(self, message: bytes) -> None:
        """Send something of which nothing is lost if it does not arrive."""
        if len(self._replies) < MAX_REPLIES // 2:  # replies find room still
            self.reply(message)

    def refuse(self, number: int | None, reason: str) -> None:
        """Answer a request with a reason why nothing has happened."""
        self.reply({"type": "reply", "id": number, "ok": False, "message": reason})

    def wake(self) -> None:
        """Look for something to send."""
        self._wake.set()

    def status_due(self) -> None:
        """Send the state of everything as soon as the browser reads."""
        self._is_status_due = True
        self.wake()

    async def _send(self) -> None:
        """Send replies, then states, then the newest frame; one thing at a time."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._replies:
                    await self._put(self._replies.popleft())
                if self._is_status_due:
                    self._is_status_due = False
                    await self._put(json.dumps(self._status.make(self.camera)))
                await self._send_frame()
        except (ConnectionError, RuntimeError):
            pass  # the browser has gone; `run` ends, too
        except Exception as error:
            self._log.error(f"{self.who}: {type(error).__name__}: {error}")
            await self.close("internal error")

    async def _put(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message)

    async def _send_frame(self) -> None:
        frame, camera = self._due_frame(), self.camera
        if frame is None or camera is None:
            return
        self._acknowledged = False
        self._sent_number = frame.number
        try:
            message = await self.console.message(camera, frame, self._choice)
        except ImageError as error:
            self._acknowledged = True
            self.reply({"type": "trouble", "message": str(error)})
            self._next_frame_time = time.monotonic() + 1.0
            return
        await self._socket.send_bytes(finish(message, self.console.age(frame.stamp)))

    def _due_frame(self) -> Frame | None:
        """Return the frame to be sent now; see to it that a later one is not forgotten."""
        if self.camera is None or self._paused or not self._acknowledged:
            return None
        frame = self.console.newest(self.camera)
        if frame is None or frame.number == self._sent_number:
            return None
        now = time.monotonic()
        if now < self._next_frame_time:
            asyncio.get_running_loop().call_later(self._next_frame_time - now, self.wake)
            return None
        period = 1.0 / self.console.settings.max_rate
        self._next_frame_time = max(self._next_frame_time, now - 0.5 * period) + period
        return frame
