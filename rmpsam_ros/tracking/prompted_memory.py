"""Memory of one prompted object, and the proof that every answer has to give."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.tracking.association import box_overlap
from rmpsam_ros.tracking.matching import unit_rows
from rmpsam_ros.tracking.prompted_records import (
    Anchor,
    FollowConfig,
    Following,
    Observation,
    PromptedObject,
    PromptState,
)

if TYPE_CHECKING:
    from rmpsam_ros.segmentation.run_length import RunLengthMask

_HISTORY = 128  # places remembered, for prompts on frames of the last seconds
_NEWEST = 0.1  # weight of the newest frame in the remembered area and appearance
_SCORE_KEPT = 0.75  # share of the quality of the answer to the person that is enough later
_NO_EMBEDDING = np.zeros(0, np.float32)
_MIN_LEAD = 0.1  # in similarity, of another query over that of the observation
_TRACK_OVERLAP = 0.5  # intersection over union with a track to be part of it,
_TRACK_FRAMES = 3  # in so many frames in a row
_STAYED_OVERLAP = 0.5  # intersection over union of its boxes in two answers to be in one place
_STALE_SECONDS = 0.5  # after this time the place of the track says more than the own last place


class ObjectMemory:
    """One prompted object; not thread-safe.

    Attributes:
        version: counts the prompts of people; an answer to an older one does not count.
        stamp: time of the newest frame that was searched, seconds.
        last_seen: time of the newest frame that shows it.
    """

    def __init__(self, object_id: str, stamp: float) -> None:
        self.object_id = object_id
        self.followed = False
        self.version = 0
        self.state = PromptState.SINGLE
        self.first_seen = self.last_seen = self.stamp = stamp
        self._reason = ""
        self._track_id = self._candidate = self._streak = 0

    def prompted(self, observation: Observation, follow: bool, version: int) -> None:
        """Begin anew with what a person pointed at."""
        self.version = version
        self.followed = follow
        self._prompt, self._prompt_stamp = observation.prompt, observation.stamp
        self._places: deque[tuple[float, Anchor | None]] = deque(maxlen=_HISTORY)
        self._share = _share(observation.mask)  # of the image
        self._first_score = observation.score or 1.0  # what the person has seen is good enough
        self._appearance: NDArray[np.float32] = observation.appearance
        # The query that agrees best: which one it is shows in the frames that follow.
        self._embedding = next(iter(observation.embeddings), _NO_EMBEDDING)
        self._track_id = self._candidate = self._streak = 0
        if follow and not observation.mask.area:
            self._settle(observation, "nothing was found at the prompt")
            self._anchor = observation.anchor
            return
        self._settle(observation, "")

    def observe(
        self, following: Following, observation: Observation, config: FollowConfig
    ) -> None:
        """Take in what a later frame answered."""
        reason = self._mismatch(observation, config)
        if reason:
            misled = observation.mask.area and self._similarity(observation) < self._least(config)
            if misled and following.track_id == self._track_id:
                self._track_id = self._candidate = self._streak = 0
        else:
            if self._track_left(observation, config):
                # The object is where it was and looks as it did: it is the track that jumped.
                self._track_id = self._candidate = self._streak = 0
            self._remember(observation)
        self._settle(observation, reason)

    def following(self, now: float, config: FollowConfig) -> Following:
        """Return where to look in a frame of time ``now``."""
        stale = self.state is PromptState.LOST or now - self.last_seen > _STALE_SECONDS
        track_id = self._track_id if stale else 0
        elapsed = max(0.0, now - self.last_seen)
        return Following(self.object_id, self.version, self._anchor, track_id, elapsed)

    def rivals(
        self, observation: Observation, embeddings: NDArray[np.float32], config: FollowConfig
    ) -> NDArray[np.intp]:
        """Return the object queries, (N, D), that may be the object rather than what was observed.

        Those similar enough to the remembered one, most similar first; not that of the
        observation, nor any below it, unless the observation is not the object.
        """
        if not len(self._embedding):
            return np.zeros(0, np.intp)
        similarity = embeddings @ self._embedding
        lost = self.state is PromptState.LOST
        least = config.found_query_similarity if lost else config.query_similarity
        if not self._mismatch(observation, config):
            own = max(similarity[list(observation.queries)], default=1.0)
            least = max(least, own + _MIN_LEAD)
        order = np.argsort(-similarity, kind="stable")
        return order[similarity[order] >= least]

    def matches(self, observation: Observation, config: FollowConfig) -> bool:
        """Tell whether an observation passes every check."""
        return not self._mismatch(observation, config)

    def anchor_at(self, stamp: float) -> Anchor | None:
        """Return where it was at a time, None if that is not known or it was lost."""
        places = [place for seen, place in self._places if seen <= stamp]
        return places[-1] if places else None

    def report(self) -> PromptedObject:
        """Return the object as it is now."""
        return PromptedObject(
            object_id=self.object_id,
            state=self.state,
            stamp=self.stamp,
            score=self._score,
            mask=self._mask,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            track_id=self._track_id,
            reason=self._reason,
            prompt=self._prompt,
            prompt_stamp=self._prompt_stamp,
        )

    def _mismatch(self, observation: Observation, config: FollowConfig) -> str:
        """Return why the answer is not the object; empty: it is."""
        if not observation.mask.area:
            return "nothing was found where it was last"
        min_score = min(config.min_score, _SCORE_KEPT * self._first_score)
        if not observation.score >= min_score:
            return f"predicted quality {observation.score:.2f} is below {min_score:.2g}"
        elapsed = min(1.0, max(0.0, observation.stamp - self.last_seen))
        share = _share(observation.mask)
        ratio = max(share / self._share, self._share / share) if self._share else 1.0
        limit = config.area_ratio ** (1.0 + elapsed)
        if ratio > limit:
            return f"its area changed {ratio:.1f} times, to {observation.mask.area} pixels"
        similarity, least = self._similarity(observation), self._least(config)
        if not similarity >= least:
            return f"its appearance has a similarity of {similarity:.2f}, below {least:g}"
        stayed = self._has_not_moved(observation)
        if self._track_left(observation, config) and not stayed:
            return f"track {self._track_id}, which it was part of, is in another place"
        likeness = self._likeness(observation.embeddings)
        # At its place one frame later it is the same object, even if another query shows it now.
        if likeness < config.query_similarity and not (
            stayed and self.state is not PromptState.LOST
        ):
            return f"the object query that shows the same has a similarity of {likeness:.2f}"
        return ""

    def _track_left(self, observation: Observation, config: FollowConfig) -> bool:
        """Whether the track that the object has been part of is in another place than it."""
        overlap = observation.coverage.get(self._track_id)
        return overlap is not None and overlap < config.guard_overlap

    def _has_not_moved(self, observation: Observation) -> bool:
        """Whether the object is seen where it was last."""
        overlap = box_overlap([observation.anchor.box], [self._anchor.box])
        return bool(overlap[0, 0] >= _STAYED_OVERLAP)

    def _similarity(self, observation: Observation) -> float:
        """Return how much the mask looks like the object, 1 as long as that is not known."""
        if not self._appearance.any():
            return 1.0
        return float(self._appearance @ observation.appearance)

    def _likeness(self, embeddings: NDArray[np.float32]) -> float:
        """Return the similarity of the best of some queries, 1 as long as that is not known."""
        if not len(self._embedding) or not len(embeddings):
            return 1.0
        return float((embeddings @ self._embedding).max())

    def _least(self, config: FollowConfig) -> float:
        lost = self.state is PromptState.LOST
        return config.found_similarity if lost else config.min_similarity

    def _remember(self, observation: Observation) -> None:
        if self._share:
            self._share *= (_share(observation.mask) / self._share) ** _NEWEST
            mean = (1.0 - _NEWEST) * self._appearance + _NEWEST * observation.appearance
            self._appearance = unit_rows(mean[None])[0]
        else:  # the first frame that shows it at all
            self._share = _share(observation.mask)
            self._appearance = observation.appearance
        if len(observation.embeddings):
            mean = newest = observation.embeddings[0]
            if len(self._embedding):
                mean = self._embedding
                newest = observation.embeddings[(observation.embeddings @ mean).argmax()]
            mean = (1.0 - _NEWEST) * mean + _NEWEST * newest
            self._embedding = unit_rows(mean[None])[0]
        best = max(observation.coverage.items(), key=lambda item: item[1], default=(0, 0.0))
        track_id = best[0] if best[1] >= _TRACK_OVERLAP else 0
        self._streak = self._streak + 1 if track_id == self._candidate else 1
        self._candidate = track_id
        if track_id and self._streak >= _TRACK_FRAMES:
            self._track_id = track_id

    def _settle(self, observation: Observation, reason: str) -> None:
        """Write down where it is, or that it is lost."""
        self.stamp = observation.stamp
        self._reason = reason
        if reason:
            self.state, self._score = PromptState.LOST, 0.0
            self._mask = _emptied(observation.mask)
            self._places.append((observation.stamp, None))
            return
        self.state = PromptState.TRACKED if self.followed else PromptState.SINGLE
        self._score, self._mask = observation.score, observation.mask
        self._anchor = observation.anchor
        self.last_seen = observation.stamp
        self._places.append((observation.stamp, observation.anchor))


def _share(mask: RunLengthMask) -> float:
    """Return the area as a share of the image, which a change of its resolution leaves alone."""
    return mask.area / (mask.height * mask.width)


def _emptied(mask: RunLengthMask) -> RunLengthMask:
    """Return a mask without pixels of the same image size."""
    return replace(mask, box=(0, 0, 0, 0), counts=np.empty(0, np.uint32))
