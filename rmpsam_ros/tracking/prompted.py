"""Prompted objects over time: their ids, their states, and whether what was found is still it.

An object that a person pointed at is followed by prompting every later frame with what was found
in the frame before. That goes wrong silently, so every answer must prove itself against what is
remembered of the object: the quality that the model itself predicts, the area, the appearance,
and the panoptic track that the object has been part of. What fails is reported as lost, and is
looked for again in the last place, or where its track is.
"""

from __future__ import annotations

import re
import threading
from itertools import count

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.tracking.prompted_memory import ObjectMemory
from rmpsam_ros.tracking.prompted_records import (
    Anchor,
    FollowConfig,
    Following,
    Observation,
    PromptedObject,
    PromptState,
    TooManyPromptsError,
)

MADE_ID = re.compile(r"object-([0-9]+)")


class PromptedObjects:
    """The prompted objects of one camera.

    At most ``max_objects`` are followed; one that has been lost for ``lost_seconds`` gives way to
    a new one. Objects that were answered once and are not followed are remembered for refinement
    as long as their frame is kept, and at most as many. Ids are given by the caller or made here
    (``object-1``, ...); a made id is never used again, not after `clear` either.

    Every method may be called from every thread.
    """

    def __init__(self, max_objects: int = 16, config: FollowConfig | None = None) -> None:
        self.limit(max_objects)
        self._config = config or FollowConfig()
        self._objects: dict[str, ObjectMemory] = {}  # oldest first
        self._versions = count(1)
        self._next_id = 1
        self._lock = threading.Lock()

    def limit(self, max_objects: int) -> None:
        """Limit new followed objects to ``max_objects`` in all; those already followed stay."""
        if max_objects < 1:
            raise ValueError(f"max_objects is {max_objects}; expected at least 1")
        self._max_objects = max_objects

    def find(self, object_id: str) -> PromptedObject | None:
        """Return an object as it is now, None if it is unknown."""
        with self._lock:
            memory = self._objects.get(object_id)
            return memory.report() if memory else None

    def anchor(self, object_id: str, stamp: float) -> Anchor | None:
        """Return where the object was at a time (seconds), None if unknown or lost then."""
        with self._lock:
            memory = self._objects.get(object_id)
            return memory.anchor_at(stamp) if memory else None

    def check_room(self, object_id: str, follow: bool, stamp: float) -> None:
        """Raise TooManyPromptsError if `put` would; nothing changes."""
        with self._lock:
            self._make_room(object_id, follow, stamp)

    def put(self, object_id: str, follow: bool, observation: Observation) -> PromptedObject:
        """Take in the answer to a prompt: a new object, or a known one prompted again.

        The person who points is right: what is remembered of a known object is replaced. An
        object that is followed stays so, whatever ``follow`` says; `remove` ends it.

        Args:
            object_id: empty: one is made.

        Raises:
            TooManyPromptsError: there is no room; nothing has changed.
        """
        with self._lock:
            memory = self._objects.get(object_id)
            follow = follow or (memory is not None and memory.followed)
            for leaving in self._make_room(object_id, follow, observation.stamp):
                del self._objects[leaving]
            if memory is None:
                object_id = self._reserve(object_id)
                memory = self._objects[object_id] = ObjectMemory(object_id, observation.stamp)
            memory.prompted(observation, follow, next(self._versions))
            return memory.report()

    def followed(self, now: float) -> tuple[Following, ...]:
        """Return every followed object with where to look for it in a frame of time ``now``."""
        with self._lock:
            memories = [memory for memory in self._objects.values() if memory.followed]
            return tuple(memory.following(now, self._config) for memory in memories)

    def observe(self, following: Following, observation: Observation) -> PromptedObject | None:
        """Take in what a later frame answered for one of `followed`.

        Returns:
            The object as it is now: tracked, or lost with a reason. None, and nothing is changed,
            if it was removed or prompted again in the meantime.
        """
        with self._lock:
            memory = self._objects.get(following.object_id)
            if memory is None or memory.version != following.version:
                return None
            memory.observe(following, observation, self._config)
            return memory.report()

    def rivals(
        self,
        following: Following,
        observation: Observation,
        embeddings: NDArray[np.float32],
    ) -> NDArray[np.intp]:
        """Return which object queries of a frame may be an object rather than its observation.

        Args:
            embeddings: (N, D) of all object queries of the frame, unit vectors.

        Returns:
            their places, most similar first; nearly always none.
        """
        with self._lock:
            memory = self._objects.get(following.object_id)
            if memory is None or memory.version != following.version:
                return np.zeros(0, np.intp)
            return memory.rivals(observation, embeddings, self._config)

    def accepts(self, following: Following, observation: Observation) -> bool:
        """Tell whether `observe` would find the object in an observation."""
        with self._lock:
            memory = self._objects.get(following.object_id)
            known = memory is not None and memory.version == following.version
            return known and memory is not None and memory.matches(observation, self._config)

    def reports(self) -> tuple[PromptedObject, ...]:
        """Return all objects as they are now, oldest first."""
        with self._lock:
            return tuple(memory.report() for memory in self._objects.values())

    def remove(self, object_id: str) -> bool:
        """Forget one object; False if it is unknown."""
        with self._lock:
            return self._objects.pop(object_id, None) is not None

    def clear(self) -> int:
        """Forget all objects and return how many there were."""
        with self._lock:
            number = len(self._objects)
            self._objects.clear()
            return number

    def forget_single(self, before: float) -> None:
        """Forget the objects that are not followed and whose frame is older than ``before``."""
        with self._lock:
            for memory in list(self._objects.values()):
                if not memory.followed and memory.stamp < before:
                    del self._objects[memory.object_id]

    def _reserve(self, object_id: str) -> str:
        """Return the id of a new object, such that it is never made again."""
        if not object_id:
            object_id = f"object-{self._next_id}"
        if match := MADE_ID.fullmatch(object_id):
            self._next_id = max(self._next_id, int(match[1]) + 1)
        return object_id

    def _make_room(self, object_id: str, follow: bool, stamp: float) -> list[str]:
        """Return which objects make room for one more."""
        memory = self._objects.get(object_id)
        if memory is not None and (memory.followed or not follow):
            return []
        alike = [known for known in self._objects.values() if known.followed == follow]
        if len(alike) < self._max_objects:
            return []
        if not follow:
            return [alike[0].object_id]
        lost = [candidate for candidate in alike if candidate.state is PromptState.LOST]
        oldest = min(lost, key=lambda candidate: candidate.last_seen, default=None)
        if oldest is None or stamp - oldest.last_seen < self._config.lost_seconds:
            raise TooManyPromptsError(
                f"{len(alike)} objects are followed already, as many as max_objects allows; "
                "remove one, or clear all"
            )
        return [oldest.object_id]
