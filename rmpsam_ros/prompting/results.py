"""Results of prompts for people and programs."""

from __future__ import annotations

from dataclasses import dataclass

from rmpsam_ros.segmentation.run_length import RunLengthMask
from rmpsam_ros.tracking.prompted_records import PromptedObject, PromptState


@dataclass(frozen=True, eq=False, slots=True)
class PromptedMask:
    """Mask of a prompted object.

    Attributes:
        mask: at image size; empty when lost.
        score: predicted quality, 0 to 1; 0 when lost.
        stamp: time of the frame that the mask belongs to, seconds.
        object_id: as given, or made; empty for the masks of `segment_everything`.
        state: single, tracked or lost.
        track_id: panoptic track that the object is part of; 0: none.
        reason: why it is lost, for people; empty otherwise.
    """

    mask: RunLengthMask
    score: float
    stamp: float
    object_id: str = ""
    state: PromptState = PromptState.SINGLE
    track_id: int = 0
    reason: str = ""


def prompted_mask(known: PromptedObject) -> PromptedMask:
    """Return what is told about an object."""
    return PromptedMask(
        mask=known.mask,
        score=known.score,
        stamp=known.stamp,
        object_id=known.object_id,
        state=known.state,
        track_id=known.track_id,
        reason=known.reason,
    )
