"""Access to the console: token, hosts and origins, and the headers of every answer."""

from __future__ import annotations

import hmac
import secrets
import time
from urllib.parse import urlsplit

from rmpsam_ros.console.settings import Settings

TOKEN_BYTES = 32
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

# Scripts and styles come from here only, nothing is evaluated, nobody may frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
    "Server": "rmpsam_console",
}


class Gate:
    """Decides whether a request may be answered.

    Args:
        settings: where the server listens, and under which names.
        port: the port that it got.

    Attributes:
        token: what a browser must show; empty: nothing.
    """

    def __init__(self, settings: Settings, port: int) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES) if settings.require_token else ""
        bare = f"[{settings.address}]" if ":" in settings.address else settings.address
        names = {bare, *settings.allowed_hosts}
        if settings.is_loopback:
            names |= set(_LOOPBACK_NAMES)
        self._hosts = {f"{name}:{port}" for name in names}
        if port == 80:
            self._hosts |= names
        self.url = f"http://{bare}:{port}/" + (f"#token={self.token}" if self.token else "")

    def refuses(self, host: str | None, origin: str | None, *, is_socket: bool) -> str:
        """Return why a request is refused; empty: it is not.

        A page of another site can make a browser ask us; the browser then tells its origin. A site
        whose name is turned to our address afterwards (DNS rebinding) shows in the host.

        Args:
            host, origin: the headers of these names, None: not there.
            is_socket: WebSockets are opened across origins without asking; they must tell theirs.
        """
        if host is None or host.lower() not in self._hosts:
            return f"host {_shown(host)} is not one of this server's; see allowed_hosts"
        if origin is None:
            return "a WebSocket must tell its origin" if is_socket else ""
        parts = urlsplit(origin.lower())
        if parts.scheme not in ("http", "https") or parts.netloc not in self._hosts:
            return f"origin {_shown(origin)} is not this server's page"
        return ""

    def accepts_token(self, token: object) -> bool:
        """Tell whether a token is the right one, in a time that does not tell how wrong it is."""
        if not self.token:
            return True
        if not isinstance(token, str):
            return False
        return hmac.compare_digest(token.encode(), self.token.encode())


class Allowance:
    """How often something may happen: so many times at once, and so many per second.

    >>> allowance = Allowance(rate=1.0, burst=2)
    >>> [allowance.take(now=0.0), allowance.take(now=0.0), allowance.take(now=0.0)]
    [True, True, False]
    >>> allowance.take(now=1.0)
    True
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._last: float | None = None

    def take(self, now: float | None = None) -> bool:
        """Take one; tell whether there was one left."""
        now = time.monotonic() if now is None else now
        if self._last is not None:
            self._left = min(self._burst, self._left + (now - self._last) * self._rate)
        self._last = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def _shown(text: str | None) -> str:
    """Return what a client sent, fit for a log line."""
    return "(none)" if text is None else repr(text[:100])
