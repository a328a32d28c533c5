"""Live clips: a window of frames that slides on with every frame.

The paper's near-online inference cuts a video into clips without overlap and has no result of a
clip before its last frame is there (paper section 3.2; docs/reference/rmpsam.md, section 12;
`tracking.clips`). Live, the first frame of a clip would wait for T - 1 others, and then T results
would come at once. So the clip ends with the newest frame and moves on by one:

- every frame has one result, with its own header, as soon as it is processed: the masks that the
  tube has in its newest frame;
- backbone and neck, most of the cost, run once per frame as ever, because the features of the
  frames before are kept; only the decoder runs over T feature maps instead of one;
- classes and queries draw on T frames, and consecutive clips have T - 1 of them in common: their
  queries are even more alike than those of clips side by side, and are matched in the same way.

A thing that has left is in the tube still, but its mask in the newest frame is empty: no segment.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Features = TypeVar("Features")

_CLIP_SECONDS = 2.0  # frames further apart show another scene: a tube would mix them up


class ClipWindow(Generic[Features]):
    """The newest frames of one camera, at most T of them, as far as they make a tube.

    A slow camera, or one whose frames are dropped, has shorter clips: frames older than two
    seconds do not count. A frame that comes twice counts once. Not thread-safe.
    """

    def __init__(self, frames: int) -> None:
        """frames: T, at least 1."""
        if frames < 1:
            raise ValueError(f"got a clip of {frames} frames; expected at least 1")
        self._most = frames
        self._size: tuple[int, ...] = ()
        self._frames: dict[float, Features] = {}  # by stamp, in order of arrival

    def add(self, stamp: float, size: tuple[int, ...], features: Features) -> tuple[Features, ...]:
        """Take in a frame and return the clip that ends with it, oldest frame first.

        Args:
            stamp: time of the frame, seconds.
            size: of the network input; another one than before begins a new clip.
            features: what the engine needs of the frame, whatever it is.
        """
        if size != self._size:
            self.clear()
            self._size = size
        self._frames.pop(stamp, None)
        self._frames[stamp] = features
        near = [moment for moment in self._frames if abs(moment - stamp) <= _CLIP_SECONDS]
        kept = near[-self._most :]
        self._frames = {moment: self._frames[moment] for moment in kept}
        return tuple(self._frames.values())

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
