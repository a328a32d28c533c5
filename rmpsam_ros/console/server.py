"""HTTP: the page's files, the WebSocket, the data set; every request passes the gate first."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rmpsam_ros.console.checks import Invalid, Request
from rmpsam_ros.console.commands import welcome, work_on
from rmpsam_ros.console.connections import ConnectionGuard
from rmpsam_ros.console.console import Console
from rmpsam_ros.console.dataset import DatasetError
from rmpsam_ros.console.security import HEADERS, Gate
from rmpsam_ros.console.session import Session

KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
MAX_MESSAGE = 16 * 1024  # bytes that a browser may send at once
HELLO_TIMEOUT = 5.0  # seconds within which a browser must show its token
MAX_STRANGERS = 32  # sockets at the same time that have not shown theirs
HEARTBEAT = 10.0  # seconds between two signs of life that are asked for
KEEP_ALIVE = 15.0  # seconds

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves the page of a console.

    Args:
        gate: decides who may.
        log: called with a line about everything that is refused.
    """

    def __init__(self, console: Console, gate: Gate, log: Callable[[str], None]) -> None:
        self._console, self._gate, self._log = console, gate, log
        self._files = page_files()
        self._strangers = 0
        application = web.Application(middlewares=[self._guard], client_max_size=1024)
        application.router.add_get("/socket", self._socket)
        application.router.add_get("/dataset.zip", self._dataset)
        application.router.add_get("/{name:[a-z_]*(?:[.][a-z]+)?}", self._file)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            handle_signals=False,
            logger=_line_logger(log),
        )
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begin to answer on a bound socket."""
        await self._runner.setup()
        guard = ConnectionGuard(
            self._runner.server,  # type: ignore[arg-type]
            lambda: self._log("refused a connection: too many are open"),
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(guard, sock=listener, backlog=512)

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        await self._console.close()
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what does not come from this server's own page; add headers to all answers."""
        is_socket = request.path == "/socket"
        reason = self._gate.refuses(
            request.headers.get("Host"), request.headers.get("Origin"), is_socket=is_socket
        )
        if reason:
            self._log(f"refused {request.path[:100]!r} from {request.remote}: {reason}")
            return web.Response(status=403, text=f"refused: {reason}\n", headers=HEADERS)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the page; the names are those that were read at start."""
        found = self._files.get(request.match_info["name"] or "index.html")
        if found is None:
            raise web.HTTPNotFound(text="there is no such file\n")
        body, kind, tag = found
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=body, content_type=kind, charset="utf-8", headers={"ETag": tag})

    async def _dataset(self, request: web.Request) -> web.StreamResponse:
        """Answer with the data set, packed into one file."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not self._gate.accepts_token(token if scheme == "Bearer" else ""):
            self._log(f"refused the data set to {request.remote}: wrong token")
            raise web.HTTPUnauthorized(text="wrong token\n")
        loop = asyncio.get_running_loop()
        labels = self._console.node.labels
        names = [label.name for label in labels.labels] if labels is not None else []
        try:
            path = await loop.run_in_executor(
                self._console.workers, self._console.dataset.pack, names
            )
        except DatasetError as error:
            raise web.HTTPConflict(text=f"{error}\n") from None
        headers = {"Content-Disposition": 'attachment; filename="rmpsam_dataset.zip"', **HEADERS}
        return web.FileResponse(path, headers=headers)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """Serve one browser."""
        if self._strangers >= MAX_STRANGERS:
            self._log(f"refused a socket from {request.remote}: too many without a token")
            raise web.HTTPServiceUnavailable(text="too many connections\n")
        sock = web.WebSocketResponse(
            heartbeat=HEARTBEAT, max_msg_size=MAX_MESSAGE, compress=False, timeout=2.0
        )
        who = str(request.remote)
        self._strangers += 1
        try:
            await sock.prepare(request)
            is_welcome = await self._is_welcome(sock, who)
        finally:
            self._strangers -= 1
        if not is_welcome:
            return sock
        session = Session(self._console, sock, who, work_on)
        session.reply(welcome(self._console))
        if not self._console.enter(session):
            self._log(f"refused {who}: {len(self._console.sessions)} browsers look already")
            await sock.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too many browsers")
            return sock
        try:
            await session.run()
        finally:
            self._console.leave(session)
        return sock

    async def _is_welcome(self, sock: web.WebSocketResponse, who: str) -> bool:
        """Wait for the token; close the socket unless it is the right one."""
        reason = "no token came"
        try:
            message = await sock.receive(timeout=HELLO_TIMEOUT)
            if message.type is WSMsgType.TEXT:
                request = Request(message.data)
                if request.type == "hello" and self._gate.accepts_token(request["token"]):
                    return True
                reason = "wrong token"
        except asyncio.TimeoutError:
            pass
        except Invalid as error:
            reason = str(error)
        self._log(f"refused a socket from {who}: {reason}")
        await sock.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode()[:120])
        return False


class _Lines(logging.Handler):
    """Passes aiohttp's records on, each as one line: what it is given to read may be anything."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        reason = f": {type(error).__name__}: {str(error)[:200]!r}" if error is not None else ""
        self._log(record.getMessage()[:200] + reason)


def _line_logger(log: Callable[[str], None]) -> logging.Logger:
    logger = logging.getLogger("rmpsam_console.http")
    logger.propagate = False
    logger.handlers = [_Lines(log)]
    return logger


def page_files() -> dict[str, tuple[bytes, str, str]]:
    """Return body, type and tag of every file of the page by name; nothing else is served."""
    files: dict[str, tuple[bytes, str, str]] = {}
    for path in resources.files("rmpsam_ros.console").joinpath("page").iterdir():
        kind = KINDS.get("." + path.name.rpartition(".")[2])
        if kind is not None:
            body = path.read_bytes()
            files[path.name] = (body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return files


def listen(address: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        OSError: it is taken, or not of this machine.
    """
    family: Any = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener
