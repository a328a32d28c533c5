"""A bound on TCP connections: what comes above it is told so and closed, without a handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_CONNECTIONS = 128
FIRST_REQUEST_TIMEOUT = 10.0  # seconds within which a connection must have asked for something

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
)
_END_OF_HEAD = b"\r\n\r\n"


class ConnectionGuard:
    """Makes protocols of a server's connections, of at most `MAX_CONNECTIONS` at a time.

    Args:
        make_handler: makes the protocol that answers a connection.
        refused: called for each connection that was one too many.
    """

    def __init__(
        self, make_handler: Callable[[], asyncio.Protocol], refused: Callable[[], None]
    ) -> None:
        self._make_handler = make_handler
        self._refused = refused
        self._open = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        if self._open >= MAX_CONNECTIONS:
            self._refused()
            return _Refusal()
        self._open += 1
        return _Connection(self._make_handler(), self._on_closed)

    def _on_closed(self) -> None:
        self._open -= 1


class _Refusal(asyncio.Protocol):
    """Answers a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_BUSY)
        transport.close()


class _Connection(asyncio.Protocol):
    """Passes everything on to a handler; closes a connection that asks for nothing."""

    def __init__(self, handler: asyncio.Protocol, closed: Callable[[], None]) -> None:
        self._handler, self._closed = handler, closed
        self._patience: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(FIRST_REQUEST_TIMEOUT, transport.close)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._patience is not None:
            seen = self._tail + data
            self._tail = seen[1 - len(_END_OF_HEAD) :]
            if _END_OF_HEAD in seen:
                self._stop_waiting()
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._closed()
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
