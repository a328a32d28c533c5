"""Answers prompts on kept frames and follows prompted objects, with any prompt engine.

Two threads may share a `Prompter`: the network's own, which hands in every frame (`begin_pass`,
`keep`), and the one that runs the prompt engine (`prompt`, `follow`, `segment_everything`). They
are one and the same thread unless `PromptEngine.runs_beside`, so that an image encoder of the
prompt engine's own does not hold up the frames. Everything else may be called from any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.prompting.answers import FoundMask, PromptEngine
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.engines.shared_decoder import SharedDecoder
from rmpsam_ros.prompting.frames import FrameStore, KeptFrame
from rmpsam_ros.prompting.observation import observe, track_anchor
from rmpsam_ros.prompting.propagate import propagate
from rmpsam_ros.prompting.refinement import add_clicks, correct_place, prompt_anchor
from rmpsam_ros.prompting.segment_everything import (
    Progress,
    everything_from_boxes,
    everything_from_grid,
)
from rmpsam_ros.prompting.steps import Step, Steps, finished
from rmpsam_ros.runtime import EngineError, ObjectOutput, PromptOutput
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.prompt_types import (
    FOREGROUND,
    ObjectPrompt,
    PromptError,
    validate_prompt,
)
from rmpsam_ros.tracking.prompted import PromptedObjects
from rmpsam_ros.tracking.prompted_records import (
    MAX_ID_LENGTH,
    Anchor,
    Following,
    PromptedMask,
    PromptedObject,
    PromptState,
)

_CATCH_UP_FRAMES = 4  # on the way from the frame that was clicked to the newest one
_STAMP_ROUNDING = 1e-3  # seconds


@dataclass(frozen=True, eq=False, slots=True)
class FollowPass:
    """Followed objects that the network answers together with a frame.

    Attributes:
        boxes: (K, 4) float32 for `Engine.run`; None: nothing is followed in this way.
        following, asked: one for each object.
    """

    boxes: NDArray[np.float32] | None = None
    following: tuple[Following, ...] = ()
    asked: tuple[Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class EverythingFound:
    """Masks of everything in one frame.

    Attributes:
        masks: largest first.
        complete: whether all was asked for before the time was over.
        stamp: of the frame.
    """

    masks: tuple[PromptedMask, ...]
    complete: bool
    stamp: float


@dataclass(frozen=True, slots=True)
class EverythingProgress:
    """Where the search for masks of everything in a frame is.

    Attributes:
        masks: found since the last step, like none before.
        done, total: prompts that have been asked for, and all of them.
        stamp: of the frame.
    """

    masks: tuple[PromptedMask, ...]
    done: int
    total: int
    stamp: float


class Prompter:
    """Prompts of one camera: kept frames, prompted objects, and the engine that answers."""

    def __init__(self, engine: PromptEngine, config: PromptingConfig) -> None:
        self.engine = engine
        self._config = config
        self._frames = FrameStore(config.keep_seconds, config.keep_megabytes * 1_000_000)
        self._objects = PromptedObjects(config.max_objects, config.follow)
        self._followed_until = -math.inf

    # --- the network's thread ---

    def begin_pass(self, stamp: float, geometry: Letterbox) -> FollowPass:
        """Return what the network is to answer together with the next frame."""
        if not isinstance(self.engine, SharedDecoder):
            return FollowPass()
        following = self._objects.followed(stamp)
        if not following:
            return FollowPass()
        newest = self._frames.newest()
        placed = [_placed(known, newest, geometry.image_size) for known in following]
        anchors = tuple(anchor for _, anchor in placed)
        boxes = self.engine.pass_boxes(anchors, geometry)
        return FollowPass(boxes, tuple(known for known, _ in placed), anchors)

    def keep(
        self,
        frame: KeptFrame,
        followed: FollowPass,
        objects: ObjectOutput,
        output: PromptOutput | None,
    ) -> tuple[PromptedMask, ...]:
        """Keep a frame, and return the newest mask of every followed object.

        Args:
            objects, output: what the network answered for the frame, and for ``followed``.
        """
        if isinstance(self.engine, SharedDecoder) and followed.following:
            assert output is not None  # boxes were given
            elapsed = [known.elapsed for known in followed.following]
            answers = self.engine.pass_answers(output, followed.asked, elapsed, frame.geometry)
            propagate(
                self._objects,
                self.engine,
                frame,
                objects,
                followed.following,
                followed.asked,
                answers,
            )
        self._frames.keep(frame)
        oldest = self._frames.oldest_stamp()
        if oldest is not None:
            self._objects.forget_single(before=oldest)
        return self.masks()

    def masks(self) -> tuple[PromptedMask, ...]:
        """Return the newest mask of every followed object."""
        return tuple(
            known for known in self._objects.reports() if known.state is not PromptState.SINGLE
        )

    # --- the thread of the prompt engine ---

    def prompt(
        self,
        prompt: ObjectPrompt,
        stamp: float | None = None,
        object_id: str = "",
        track: bool = False,
    ) -> PromptedMask:
        """Give the mask of one object on a kept frame, and follow the object if wanted.

        Args:
            stamp: of the frame, exactly as it was given to `Pipeline.process`; None: the newest.
            object_id: empty: one is made. A known one is refined: its earlier clicks on the same
                frame count, too; on another frame its place there does instead (the rules are in
                `prompting.refinement`).
            track: look for the object in every later frame; see `FrameResult.prompted`. An object
                that is followed already stays so: `remove` ends it.

        Raises:
            NoFrameError: no frame has been processed yet.
            FrameNotKeptError: there is no frame of this stamp any more; the message says which
                frames there are.
            PromptError: the prompt is not acceptable; the message says why.
            TooManyPromptsError: as many objects as allowed are followed already.
            EngineError, FloatingPointError: the engine failed, or its answer is not finite.

        When it raises, nothing has changed.
        """
        return finished(self.prompt_steps(prompt, stamp, object_id, track))

    def prompt_steps(
        self,
        prompt: ObjectPrompt,
        stamp: float | None = None,
        object_id: str = "",
        track: bool = False,
    ) -> Steps[PromptedMask]:
        """Do what `prompt` does; nothing has changed before ``Step.COMMIT``."""
        if len(object_id) > MAX_ID_LENGTH:
            raise PromptError(
                f"object_id has {len(object_id)} characters; expected at most {MAX_ID_LENGTH}"
            )
        frame = self._frames.find(stamp)
        size = frame.geometry.image_size
        complete = self._with_earlier(prompt, object_id, frame)
        validate_prompt(complete, size)
        self._objects.check_room(object_id, track, frame.stamp)
        answer = self.engine.answer(frame, complete)
        self._frames.drop_excess()
        place = prompt_anchor(complete, size)
        seen = observe(frame, answer, place, complete, by_queries=not self.engine.runs_beside)
        yield Step.COMMIT
        known = self._objects.put(object_id, track, seen)
        if known.state is not PromptState.SINGLE and not self.engine.runs_beside:
            self._catch_up(known.object_id, frame.stamp)
        return known

    def follow(self) -> tuple[PromptedMask, ...] | None:
        """Look for all followed objects in the newest frame, with an engine of its own encoder.

        To be called again and again, after every frame or request, of an engine that runs beside
        the network; it does something at most ``PromptingConfig.prompt_rate`` times a second.

        Returns:
            The newest mask of every followed object, all of the newest frame unless one was
            prompted meanwhile; None if nothing was due.
        """
        frame = self._frames.newest()
        if frame is None or not self.engine.runs_beside:
            return None
        rate = self._config.prompt_rate
        pause = 1.0 / rate - _STAMP_ROUNDING if rate else 0.0
        elapsed = frame.stamp - self._followed_until  # negative: time was set back
        if elapsed == 0.0 or 0.0 < elapsed < pause:
            return None
        following = self._objects.followed(frame.stamp)
        if not following:
            return None
        self._followed_until = frame.stamp
        for known in following:
            self._look(known, frame)
        self._frames.drop_excess()
        return self.masks()

    def segment_everything(
        self, stamp: float | None = None, points_per_side: int = 0
    ) -> tuple[PromptedMask, ...]:
        """Give class-agnostic masks of everything in a kept frame, largest first.

        The prompts are boxes around the network's own object queries, with any prompt engine;
        masks that say the same are given once.

        Args:
            stamp: as in `prompt`.
            points_per_side: 1 to 64: prompt with a square grid of points instead, as SAM does.

        Raises:
            NoFrameError, FrameNotKeptError: as in `prompt`.
            PromptError: points_per_side is out of range.
        """
        return finished(self.everything_steps(stamp, points_per_side)).masks

    def everything_steps(
        self,
        stamp: float | None = None,
        points_per_side: int = 0,
        until: float = math.inf,
        report: Callable[[EverythingProgress], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Steps[EverythingFound]:
        """Do what `segment_everything` does, in steps between which the thread may do more.

        Args:
            until: when to end with what has been found, seconds of the monotonic clock.
            report: called after every step, in the thread that works; None: nobody wants to know.
            cancelled: asked before every step whether to end with what has been found.
        """
        frame = self._frames.find(stamp)

        def masks_of(found: list[FoundMask]) -> tuple[PromptedMask, ...]:
            return tuple(PromptedMask(item.mask, item.score, frame.stamp) for item in found)

        def tell(progress: Progress) -> None:
            if report is not None:
                masks = masks_of(progress.fresh)
                report(EverythingProgress(masks, progress.done, progress.total, frame.stamp))

        how = (until, None if report is None else tell, cancelled)
        if points_per_side:
            all_of_it = everything_from_grid(self.engine, frame, points_per_side, *how)
        else:
            all_of_it = everything_from_boxes(self.engine, frame, *how)
        found, complete = yield from all_of_it
        self._frames.drop_excess()
        return EverythingFound(masks_of(found), complete, frame.stamp)

    # --- any thread ---

    def remove(self, object_id: str) -> bool:
        """Forget one object; False if it is unknown."""
        return self._objects.remove(object_id)

    def objects(self) -> tuple[PromptedObject, ...]:
        """Return all objects, oldest first."""
        return self._objects.reports()

    def object_at(self, x: float, y: float) -> str:
        """Return the id of the followed object whose newest mask has a pixel there; empty: none.

        Of several it is the smallest.
        """
        hit = [
            report
            for report in self._objects.reports()
            if report.state is PromptState.TRACKED and report.mask.covers(x, y)
        ]
        smallest = min(hit, key=lambda report: report.mask.area, default=None)
        return smallest.object_id if smallest else ""

    def limit(self, max_objects: int) -> None:
        """Limit new followed objects to ``max_objects`` in all; those already followed stay."""
        self._objects.limit(max_objects)

    def clear(self) -> int:
        """Forget all objects and return how many there were."""
        return self._objects.clear()

    def reset(self) -> None:
        """Forget all objects and all frames; ids are still never made again."""
        self._objects.clear()
        self._frames.clear()
        self._followed_until = -math.inf

    def _with_earlier(
        self, prompt: ObjectPrompt, object_id: str, frame: KeptFrame
    ) -> ObjectPrompt:
        """Return the prompt with what counts of earlier ones of the object (see `refinement`)."""
        known = self._objects.find(object_id)
        if known is None:
            return prompt
        if known.prompt is not None and known.prompt_stamp == frame.stamp:
            return add_clicks(known.prompt, prompt)
        anchor = None
        if known.state is not PromptState.SINGLE:
            anchor = self._objects.anchor(object_id, frame.stamp)
        if anchor is None:
            if not len(prompt.boxes) and not (np.asarray(prompt.labels) == FOREGROUND).any():
                raise PromptError(
                    f"where object '{object_id}' is on this image is not known, so that nothing "
                    "can be taken away from it; add a foreground point or a box"
                )
            return prompt
        return correct_place(anchor.scaled(frame.geometry.image_size), prompt)

    def _catch_up(self, object_id: str, stamp: float) -> None:
        """Follow an object through the frames that came after the one it was prompted on.

        Its prompt is answered already: what fails here is left to the next frame.
        """
        later = self._frames.after(stamp)
        number = min(len(later), _CATCH_UP_FRAMES)
        steps = [later[len(later) * (k + 1) // number - 1] for k in range(number)]
        for frame in steps:
            for following in self._objects.followed(frame.stamp):
                if following.object_id == object_id:
                    try:
                        self._look(following, frame)
                    except (EngineError, FloatingPointError):
                        return

    def _look(self, following: Following, frame: KeptFrame) -> None:
        """Look for one followed object in a kept frame."""
        following, anchor = _placed(following, frame, frame.geometry.image_size)
        answer = self.engine.look(frame, anchor, following.elapsed)
        seen = observe(frame, answer, anchor, by_queries=not self.engine.runs_beside)
        self._objects.observe(following, seen)


def _placed(
    following: Following, frame: KeptFrame | None, image_size: tuple[int, int]
) -> tuple[Following, Anchor]:
    """Return where to look: the place of the track where it is preferred and shown, or the own."""
    if following.track_id:
        anchor = track_anchor(frame, following.track_id) if frame is not None else None
        if anchor is not None:
            return following, anchor.scaled(image_size)
    return replace(following, track_id=0), following.anchor.scaled(image_size)
