"""Results of the pipeline for one frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting import PromptedMask
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.segmentation.run_length import RunLengthMask
from rmpsam_ros.tracking import Track


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds that the stages of one frame took."""

    preprocess: float
    inference: float
    postprocess: float


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave.

    Attributes:
        stamp: seconds, as given to `Pipeline.process`.
        height, width: of the image, pixels.
        panoptic: id map and segments at image size.
        run_ids, run_lengths: the id map as run lengths, (R,) uint16 and (R,) uint32.
        tracks: tentative, confirmed and lost tracks.
        track_masks: by track id, for the tracks seen in this frame.
        track_ids: track id by segment id, things only.
        prompted: every followed object. Their masks belong to this frame with the prompt engine
            rmpsam; with others they are the newest there are, of an earlier frame by their stamp.
    """

    stamp: float
    height: int
    width: int
    panoptic: PanopticResult
    run_ids: NDArray[np.uint16]
    run_lengths: NDArray[np.uint32]
    tracks: tuple[Track, ...]
    track_masks: dict[int, RunLengthMask]
    track_ids: dict[int, int]
    times: StageTimes
    prompted: tuple[PromptedMask, ...] = ()
