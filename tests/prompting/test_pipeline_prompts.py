"""Prompts through the pipeline: exact frames, bad input, refinement, limits, what is forgotten."""

import numpy as np
import pytest

from rmpsam_ros.pipeline import (
    FrameNotKeptError,
    NoFrameError,
    TooManyPromptsError,
)
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.prompt_types import MAX_POINTS, PromptError
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.prompted_records import PromptState


def center(mask):
    y, x = np.nonzero(decode_mask(mask))
    return pytest.approx((x.mean(), y.mean()), abs=1.0) if len(x) else None


# --- the exact frame ---


def test_a_click_is_answered_on_its_frame_after_twenty_more(make_pipeline, red, ask):
    pipeline, offline = make_pipeline(), make_pipeline()
    for step in range(21):
        pipeline.process(red(4 * step), 100.0 + 0.1 * step)
    offline.process(red(8), 100.0 + 0.1 * 2)
    click = ask([(20, 50, 1)])
    late = pipeline.prompts.prompt(click, stamp=100.0 + 0.1 * 2)
    alone = offline.prompts.prompt(click)
    assert late.stamp == alone.stamp == 100.0 + 0.1 * 2
    np.testing.assert_array_equal(decode_mask(late.mask), decode_mask(alone.mask))
    assert decode_mask(late.mask)[50, 20] and late.score == alone.score
    assert center(pipeline.prompts.prompt(click).mask) is None  # it has left that place


def test_a_frame_outside_the_window_is_refused_with_the_window(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=1.0)
    with pytest.raises(NoFrameError):
        pipeline.prompts.prompt(ask([(1, 1, 1)]), stamp=100.0)
    for step in range(31):
        pipeline.process(red(0), 100.0 + 0.1 * step)
    with pytest.raises(FrameNotKeptError, match=r"from 102\.0.* to 103\.0.*keep_seconds \(1\)"):
        pipeline.prompts.prompt(ask([(1, 50, 1)]), stamp=100.5)
    assert pipeline.prompts.prompt(ask([(1, 50, 1)]), stamp=102.5).stamp == 102.5


def test_memory_bounds_the_frames(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=100.0, keep_megabytes=5)
    for step in range(20):
        pipeline.process(red(0), float(step))
    with pytest.raises(FrameNotKeptError, match=r"kept are [2-4] from"):
        pipeline.prompts.prompt(ask([(1, 50, 1)]), stamp=3.0)


# --- bad input ---


@pytest.mark.parametrize(
    ("points", "boxes", "object_id", "reason"),
    [
        ([], [], "", "at least one"),
        ([(10, 50, 0)], [], "", "at least one foreground"),
        ([(float("nan"), 1, 1)], [], "", "outside"),
        ([(float("inf"), 1, 1)], [], "", "outside"),
        ([(-5, 1, 1)], [], "", "outside"),
        ([(10, 128, 1)], [], "", "outside"),
        ([(10, 50, 7)], [], "", "labels"),
        ([], [(30, 10, 10, 30)], "", "x_max > x_min"),
        ([], [(0, 0, 500, 30)], "", "outside"),
        ([(10, 50, 1)] * (MAX_POINTS + 1), [], "", "at most"),
        ([(10, 50, 1)], [], "x" * 200, "object_id"),
    ],
)
@pytest.mark.parametrize("track", [False, True])
def test_a_bad_prompt_changes_nothing(
    make_pipeline, red, ask, points, boxes, object_id, reason, track
):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    before = pipeline.prompts.objects()
    for name in {object_id, "cup"} if object_id == "" else {object_id}:
        if name == "cup" and reason == "at least one foreground":
            continue  # a correction of the cup
        if name == "cup" and reason == "at least one":
            continue  # nothing new, which is no harm
        with pytest.raises(PromptError, match=reason):
            pipeline.prompts.prompt(ask(points, boxes), object_id=name, track=track)
    after = pipeline.prompts.objects()
    assert [one.object_id for one in after] == ["cup"]
    assert after[0].prompt is before[0].prompt and after[0].mask is before[0].mask


def test_an_engine_that_fails_changes_nothing(make_pipeline, network, red, ask, monkeypatch):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)

    def fail(*_):
        raise EngineError("no")

    monkeypatch.setattr(network, "decode_prompts", fail)
    for name in ("cup", "plate"):
        with pytest.raises(EngineError):
            pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id=name, track=True)
    assert [one.object_id for one in pipeline.prompts.objects()] == ["cup"]
    monkeypatch.undo()
    assert pipeline.process(red(4), 1.1).prompted[0].state is PromptState.TRACKED


@pytest.mark.parametrize("stamp", [float("nan"), float("inf")])
def test_a_stamp_that_is_no_time_is_refused(make_pipeline, red, ask, stamp):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    with pytest.raises(ValueError, match="stamp"):
        pipeline.process(red(0), stamp)
    with pytest.raises(FrameNotKeptError):
        pipeline.prompts.prompt(ask([(10, 50, 1)]), stamp=stamp)
    assert pipeline.process(red(0), 1.1).stamp == 1.1


# --- refinement ---


def test_calling_again_adds_clicks_on_the_same_frame(make_pipeline, blocks, colors, ask):
    pipeline = make_pipeline()
    pipeline.process(blocks((0, 40, 32, colors[0]), (100, 40, 32, colors[1])), 1.0)
    first = pipeline.prompts.prompt(ask([(10, 50, 1)]))
    both = pipeline.prompts.prompt(ask([(110, 50, 1)]), stamp=1.0, object_id=first.object_id)
    assert both.object_id == first.object_id == "object-1"
    mask = decode_mask(both.mask)
    assert mask[50, 10] and mask[50, 110]
    less = pipeline.prompts.prompt(ask([(150, 100, 0)]), object_id=first.object_id)
    assert decode_mask(less.mask)[50, 110]
    assert pipeline.prompts.objects()[0].prompt.labels.tolist() == [1, 1, 0]


def test_clicks_of_a_moved_frame_do_not_count_any_more(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    for step in range(1, 21):
        pipeline.process(red(4 * step), 1.0 + 0.1 * step)
    refined = pipeline.prompts.prompt(ask([(90, 44, 1)]), object_id="cup")
    assert refined.state is PromptState.TRACKED and center(refined.mask) == (96, 56)
    points = pipeline.prompts.objects()[0].prompt.points
    assert len(points) == 2 and (points[:, 0] >= 80).all()  # its place and the new click


def test_a_background_click_alone_corrects_a_followed_object(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    pipeline.process(red(8), 1.1)
    assert pipeline.prompts.prompt(ask([(150, 100, 0)]), object_id="cup").mask.area > 900
    with pytest.raises(PromptError, match="foreground"):
        pipeline.prompts.prompt(ask([(150, 100, 0)]), object_id="plate")


def test_a_single_answer_is_not_carried_to_another_frame(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup")
    pipeline.process(red(80), 1.1)
    again = pipeline.prompts.prompt(ask([(90, 50, 1)]), object_id="cup")
    assert center(again.mask) == (96, 56) and again.state is PromptState.SINGLE
    with pytest.raises(PromptError, match="foreground"):
        pipeline.process(red(80), 1.2)
        pipeline.prompts.prompt(ask([(90, 50, 0)]), object_id="cup")


# --- limits, and what is forgotten ---


def test_limits_lists_and_clearing(make_pipeline, red, ask):
    pipeline = make_pipeline(max_objects=2)
    pipeline.process(red(0), 1.0)
    click = ask([(10, 50, 1)])
    for name in "ab":
        pipeline.prompts.prompt(click, object_id=name, track=True)
    with pytest.raises(TooManyPromptsError, match="2 objects"):
        pipeline.prompts.prompt(click, object_id="c", track=True)
    assert pipeline.prompts.prompt(click, object_id="c").state is PromptState.SINGLE
    assert [one.object_id for one in pipeline.prompts.objects()] == ["a", "b", "c"]
    assert len(pipeline.process(red(0), 1.1).prompted) == 2
    assert pipeline.prompts.clear() == 3 and pipeline.prompts.clear() == 0
    assert not pipeline.prompts.remove("a")


def test_a_single_answer_is_forgotten_with_its_frame(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=1.0)
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]))
    pipeline.process(red(0), 1.9)
    assert len(pipeline.prompts.objects()) == 1
    pipeline.process(red(0), 2.1)
    assert pipeline.prompts.objects() == ()


@pytest.mark.parametrize("how", ["reset", "jump"])
def test_a_new_run_of_time_forgets_prompts_and_frames(make_pipeline, red, ask, how):
    pipeline = make_pipeline()
    pipeline.process(red(0), 100.0)
    first = pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True).object_id
    if how == "reset":
        pipeline.reset()
        with pytest.raises(NoFrameError):
            pipeline.prompts.prompt(ask([(10, 50, 1)]))
    assert pipeline.process(red(0), 5.0).prompted == ()
    with pytest.raises(FrameNotKeptError):
        pipeline.prompts.prompt(ask([(10, 50, 1)]), stamp=100.0)
    assert pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True).object_id != first


def test_a_small_step_back_forgets_nothing(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 100.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    assert len(pipeline.process(red(0), 99.8).prompted) == 1
    assert pipeline.prompts.prompt(ask([(10, 50, 1)]), stamp=100.0).stamp == 100.0
