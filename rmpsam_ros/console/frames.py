"""Images and the results that belong to them, joined by their stamps."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

MAX_IMAGES = 60  # that wait for their results, or may be asked for again
MAX_IMAGE_BYTES = 200_000_000
# Seconds without any result after which images are shown alone; a slow node needs some for each.
PATIENCE_ACTIVE, PATIENCE_INACTIVE = 5.0, 0.5
MAX_LATENCIES = 9000  # five minutes at 30 Hz


@dataclass(slots=True)
class Frame:
    """An image with its results.

    Attributes:
        number: counts up in the console; never the same for two frames.
        stamp: of the image's header, nanoseconds.
        image: the message, raw or compressed.
        panoptic, tracks, positions: result messages of the same stamp; None: not there.
        prompted: the newest message of prompted masks, whose masks may be of an earlier image.
        encoded: packed messages for browsers, by `Choice`; filled by the encoder.
    """

    number: int
    stamp: int
    image: Any
    panoptic: Any = None
    tracks: Any = None
    positions: Any = None
    prompted: Any = None
    encoded: dict[Any, Any] = field(default_factory=dict)


class FrameStore:
    """Takes in images and results of one camera as they come, and gives whole frames.

    A frame is whole when image, panoptic segmentation and tracks of its stamp are there. While no
    results come at all, for instance because the node is not active, images are frames by
    themselves. All methods may be called from any thread.

    Attributes:
        newest: the newest frame.
        patience: seconds without any result after which an image is a frame by itself.
        latencies: with a number each, oldest first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        self._parts: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._prompted: Any = None
        self._older_prompted: deque[Any] = deque(maxlen=MAX_IMAGES)
        self._positions: Any = None
        self._number = 0
        self._last_result = float("-inf")
        self.newest: Frame | None = None
        self.patience = PATIENCE_ACTIVE
        self.latencies: deque[tuple[int, Any]] = deque(maxlen=MAX_LATENCIES)  # with a number
        self._latency_number = 0

    def clear(self) -> None:
        """Forget everything but what the newest frame was numbered."""
        with self._lock:
            self._images.clear()
            self._parts.clear()
            self._bytes = 0
            self._prompted = self._positions = self.newest = None
            self._last_result = float("-inf")
            self.latencies.clear()
            self._older_prompted.clear()

    def put_image(self, message: Any) -> bool:
        """Take in an image; return whether there is a new frame."""
        stamp = nanoseconds(message.header.stamp)
        with self._lock:
            self._keep_image(stamp, message)
            if stamp in self._parts:
                return self._complete(stamp)
            if time.monotonic() - self._last_result < self.patience:
                return False
            self._show(Frame(self._next_number(), stamp, message))
            return True

    def put_result(self, name: str, message: Any) -> bool:
        """Take in a result, ``panoptic`` or ``tracks``; return whether there is a new frame."""
        stamp = nanoseconds(message.header.stamp)
        with self._lock:
            self._last_result = time.monotonic()
            self._parts.setdefault(stamp, {})[name] = message
            while len(self._parts) > MAX_IMAGES:
                self._parts.popitem(last=False)
            return self._complete(stamp)

    def put_prompted(self, message: Any) -> None:
        """Take in prompted masks; they are shown with the next frame."""
        with self._lock:
            self._prompted = message
            self._older_prompted.append(message)

    def prompted_at(self, stamp: int) -> list[Any]:
        """Return the prompted masks that belong to the image of a stamp."""
        with self._lock:
            messages = list(self._older_prompted)
        for message in reversed(messages):
            if nanoseconds(message.header.stamp) == stamp:
                return [mask for mask in message.masks if nanoseconds(mask.stamp) == stamp]
        return []

    def put_positions(self, message: Any) -> None:
        """Take in positions of tracks; they come later than the tracks of their stamp."""
        with self._lock:
            self._positions = message

    def put_latency(self, message: Any) -> None:
        """Take in where the time of a frame went."""
        with self._lock:
            self._latency_number += 1
            self.latencies.append((self._latency_number, message))

    def latencies_after(self, number: int) -> list[tuple[int, Any]]:
        """Return the latencies with a higher number."""
        with self._lock:
            found = []
            for entry in reversed(self.latencies):
                if entry[0] <= number:
                    break
                found.append(entry)
        return found[::-1]

    def image(self, stamp: int) -> Any:
        """Return the image of a stamp; None: it is not kept."""
        with self._lock:
            return self._images.get(stamp)

    def _keep_image(self, stamp: int, message: Any) -> None:
        old = self._images.pop(stamp, None)
        self._bytes += len(message.data) - (len(old.data) if old is not None else 0)
        self._images[stamp] = message
        while len(self._images) > MAX_IMAGES or (
            self._bytes > MAX_IMAGE_BYTES and len(self._images) > 1
        ):
            _, gone = self._images.popitem(last=False)
            self._bytes -= len(gone.data)

    def _complete(self, stamp: int) -> bool:
        parts, image = self._parts[stamp], self._images.get(stamp)
        if image is None or not {"panoptic", "tracks"} <= parts.keys():
            return False
        # Results come in the order of their frames: what is older will not be completed.
        for older in list(self._parts):
            del self._parts[older]
            if older == stamp:
                break
        self._show(
            Frame(
                self._next_number(),
                stamp,
                image,
                parts["panoptic"],
                parts["tracks"],
                self._positions,
                self._prompted,
            )
        )
        return True

    def _show(self, frame: Frame) -> None:
        self.newest = frame

    def _next_number(self) -> int:
        self._number += 1
        return self._number


def nanoseconds(stamp: Any) -> int:
    """Return a Time message in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
