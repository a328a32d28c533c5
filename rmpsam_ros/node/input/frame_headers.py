"""Headers of the newest frames, by the stamps that the pipeline knows them by."""

from __future__ import annotations

import threading

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from rmpsam_ros.node.prompts.requests import Code, Refusal

MAX_HEADERS = 4096  # far more frames than memory keeps for prompts
MAX_BYTES = 4_000_000  # of them all; a publisher chooses how long its frame_id is
_HEADER_BYTES = 200  # of one without its frame_id


class FrameHeaders:
    """Finds the header of a result, and the frame that a request means.

    The pipeline counts in seconds, which cannot tell all nanoseconds apart; here they are told
    apart. All methods may be called from any thread.

    Attributes:
        newest: header of the newest processed frame; an empty one: none yet.
    """

    def __init__(self) -> None:
        self._headers: dict[float, Header] = {}  # by seconds, in order of arrival
        self._bytes = 0  # of them
        self._lock = threading.Lock()
        self.newest = Header()

    def remember(self, stamp: float, header: Header) -> None:
        """Remember a frame that is about to be processed; ``stamp`` is the pipeline's."""
        with self._lock:
            self._forget(stamp)
            self._headers[stamp] = header
            self._bytes += _size(header)
            while len(self._headers) > 1 and (
                len(self._headers) > MAX_HEADERS or self._bytes > MAX_BYTES
            ):
                self._forget(next(iter(self._headers)))

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._headers.clear()
            self._bytes = 0
            self.newest = Header()

    def _forget(self, stamp: float) -> None:
        header = self._headers.pop(stamp, None)
        if header is not None:
            self._bytes -= _size(header)

    def find(self, stamp: float) -> Header:
        """Return the header of a frame; one that is too old has its stamp and no frame_id."""
        with self._lock:
            header = self._headers.get(stamp)
        return Header(stamp=time_message(round(stamp * 1e9))) if header is None else header

    def resolve(self, stamp: Time) -> float | None:
        """Return the pipeline's stamp of the frame that a request names; None: the newest.

        Raises:
            Refusal: another frame is so near that the pipeline would take it for this one.
        """
        if not (stamp.sec or stamp.nanosec):
            return None
        found = seconds(stamp)
        with self._lock:
            header = self._headers.get(found)
        if header is not None and header.stamp != stamp:
            raise Refusal(
                Code.FRAME_NOT_KEPT,
                f"the image of {stamp.sec}.{stamp.nanosec:09d} s is not kept; the nearest one is "
                f"of {header.stamp.sec}.{header.stamp.nanosec:09d} s",
            )
        return found


def _size(header: Header) -> int:
    return len(header.frame_id) + _HEADER_BYTES


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def seconds(stamp: Time) -> float:
    """Return a stamp in seconds, as the pipeline gets it."""
    return nanoseconds(stamp) * 1e-9


def time_message(nanoseconds: int) -> Time:
    """Fill a Time."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=whole, nanosec=rest)
