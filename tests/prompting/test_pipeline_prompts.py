"""Prompts through the pipeline: exact frames, refinement, following, threads."""

import threading

import numpy as np
import pytest

from rmpsam_ros.pipeline import (
    FrameNotKeptError,
    NoFrameError,
    TooManyPromptsError,
)
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.prompts import MAX_POINTS, PromptError
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.prompted_records import PromptState

SIZE = (128, 192)


def center(mask):
    y, x = np.nonzero(decode_mask(mask))
    return pytest.approx((x.mean(), y.mean()), abs=1.0) if len(x) else None


@pytest.fixture
def red(blocks, colors):
    """One red block of 32 pixels with its left edge at x."""
    return lambda x: blocks((x, 40, 32, colors[0]))


# --- the exact frame ---


def test_a_click_is_answered_on_its_frame_after_twenty_more(make_pipeline, red, ask):
    pipeline, offline = make_pipeline(), make_pipeline()
    for step in range(21):
        pipeline.process(red(4 * step), 100.0 + 0.1 * step)
    offline.process(red(8), 100.0 + 0.1 * 2)
    click = ask([(20, 50, 1)])
    late = pipeline.prompt(click, stamp=100.0 + 0.1 * 2)
    alone = offline.prompt(click)
    assert late.stamp == alone.stamp == 100.0 + 0.1 * 2
    np.testing.assert_array_equal(decode_mask(late.mask), decode_mask(alone.mask))
    assert decode_mask(late.mask)[50, 20] and late.score == alone.score
    assert center(pipeline.prompt(click).mask) is None  # it has left that place


def test_a_frame_outside_the_window_is_refused_with_the_window(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=1.0)
    with pytest.raises(NoFrameError):
        pipeline.prompt(ask([(1, 1, 1)]), stamp=100.0)
    for step in range(31):
        pipeline.process(red(0), 100.0 + 0.1 * step)
    with pytest.raises(FrameNotKeptError, match=r"from 102\.0.* to 103\.0.*keep_seconds \(1\)"):
        pipeline.prompt(ask([(1, 50, 1)]), stamp=100.5)
    assert pipeline.prompt(ask([(1, 50, 1)]), stamp=102.5).stamp == 102.5


def test_memory_bounds_the_frames(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=100.0, keep_megabytes=5)
    for step in range(20):
        pipeline.process(red(0), float(step))
    with pytest.raises(FrameNotKeptError, match=r"kept are [2-4] from"):
        pipeline.prompt(ask([(1, 50, 1)]), stamp=3.0)


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
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    before = pipeline.list_prompts()
    for name in {object_id, "cup"} if object_id == "" else {object_id}:
        if name == "cup" and reason == "at least one foreground":
            continue  # a correction of the cup
        if name == "cup" and reason == "at least one":
            continue  # nothing new, which is no harm
        with pytest.raises(PromptError, match=reason):
            pipeline.prompt(ask(points, boxes), object_id=name, track=track)
    after = pipeline.list_prompts()
    assert [one.object_id for one in after] == ["cup"]
    assert after[0].prompt is before[0].prompt and after[0].mask is before[0].mask


def test_an_engine_that_fails_changes_nothing(make_pipeline, network, red, ask, monkeypatch):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)

    def fail(*_):
        raise EngineError("no")

    monkeypatch.setattr(network, "decode_prompts", fail)
    for name in ("cup", "plate"):
        with pytest.raises(EngineError):
            pipeline.prompt(ask([(10, 50, 1)]), object_id=name, track=True)
    assert [one.object_id for one in pipeline.list_prompts()] == ["cup"]
    monkeypatch.undo()
    assert pipeline.process(red(4), 1.1).prompted[0].state is PromptState.TRACKED


@pytest.mark.parametrize("stamp", [float("nan"), float("inf")])
def test_a_stamp_that_is_no_time_is_refused(make_pipeline, red, ask, stamp):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    with pytest.raises(ValueError, match="stamp"):
        pipeline.process(red(0), stamp)
    with pytest.raises(FrameNotKeptError):
        pipeline.prompt(ask([(10, 50, 1)]), stamp=stamp)
    assert pipeline.process(red(0), 1.1).stamp == 1.1


# --- refinement ---


def test_calling_again_adds_clicks_on_the_same_frame(make_pipeline, blocks, colors, ask):
    pipeline = make_pipeline()
    pipeline.process(blocks((0, 40, 32, colors[0]), (100, 40, 32, colors[1])), 1.0)
    first = pipeline.prompt(ask([(10, 50, 1)]))
    both = pipeline.prompt(ask([(110, 50, 1)]), stamp=1.0, object_id=first.object_id)
    assert both.object_id == first.object_id == "object-1"
    mask = decode_mask(both.mask)
    assert mask[50, 10] and mask[50, 110]
    less = pipeline.prompt(ask([(150, 100, 0)]), object_id=first.object_id)
    assert decode_mask(less.mask)[50, 110]
    assert pipeline.list_prompts()[0].prompt.labels.tolist() == [1, 1, 0]


def test_clicks_of_a_moved_frame_do_not_count_any_more(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    for step in range(1, 21):
        pipeline.process(red(4 * step), 1.0 + 0.1 * step)
    refined = pipeline.prompt(ask([(90, 44, 1)]), object_id="cup")
    assert refined.state is PromptState.TRACKED and center(refined.mask) == (96, 56)
    points = pipeline.list_prompts()[0].prompt.points
    assert len(points) == 2 and (points[:, 0] >= 80).all()  # its place and the new click


def test_a_background_click_alone_corrects_a_followed_object(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    pipeline.process(red(8), 1.1)
    assert pipeline.prompt(ask([(150, 100, 0)]), object_id="cup").mask.area > 900
    with pytest.raises(PromptError, match="foreground"):
        pipeline.prompt(ask([(150, 100, 0)]), object_id="plate")


def test_a_single_answer_is_not_carried_to_another_frame(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup")
    pipeline.process(red(80), 1.1)
    again = pipeline.prompt(ask([(90, 50, 1)]), object_id="cup")
    assert center(again.mask) == (96, 56) and again.state is PromptState.SINGLE
    with pytest.raises(PromptError, match="foreground"):
        pipeline.process(red(80), 1.2)
        pipeline.prompt(ask([(90, 50, 0)]), object_id="cup")


# --- following ---


def test_an_object_is_followed_lost_and_found(make_pipeline, network, red, blocks, ask):
    pipeline = make_pipeline()
    assert pipeline.process(red(0), 1.0).prompted == ()
    assert network.boxes[-1] is None  # nobody has clicked
    pipeline.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
    for step in range(1, 11):
        (found,) = pipeline.process(red(4 * step), 1.0 + 0.1 * step).prompted
        assert (found.object_id, found.state) == ("cup", PromptState.TRACKED)
        assert found.stamp == 1.0 + 0.1 * step and center(found.mask) == (4 * step + 16, 56)
    for step in range(11, 14):
        (gone,) = pipeline.process(blocks(), 1.0 + 0.1 * step).prompted
        assert gone.state is PromptState.LOST and gone.mask.area == 0 and gone.reason
    (found,) = pipeline.process(red(44), 2.5).prompted
    assert found.state is PromptState.TRACKED and center(found.mask) == (60, 56)
    assert found.track_id > 0
    assert pipeline.remove_prompt("cup") and pipeline.process(red(44), 2.6).prompted == ()
    assert network.boxes[-1] is None


def test_following_is_answered_in_the_pass_of_the_frame(make_pipeline, network, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    decodes = network.decodes
    pipeline.process(red(4), 1.1)
    assert network.decodes == decodes and network.boxes[-1].shape == (1, 4)


def test_another_object_in_its_place_is_not_it(make_pipeline, network, red, blocks, colors, ask):
    network.objects_found = False  # the appearance alone must tell
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    (other,) = pipeline.process(blocks((0, 40, 32, colors[1])), 1.1).prompted
    assert other.state is PromptState.LOST and "appearance" in other.reason
    assert pipeline.process(red(0), 1.2).prompted[0].state is PromptState.TRACKED


def test_an_object_whose_prompts_fail_goes_on_with_its_query(make_pipeline, network, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    network.iou = 0.1
    for step in range(1, 11):
        (found,) = pipeline.process(red(8 * step), 1.0 + 0.1 * step).prompted
        assert found.state is PromptState.TRACKED
        assert center(found.mask) == (8 * step + 16, 56)
    network.objects_found = False
    (lost,) = pipeline.process(red(80), 2.1).prompted
    assert lost.state is PromptState.LOST and "quality" in lost.reason


def test_a_lost_object_is_found_where_its_track_is(make_pipeline, beside, network, red, ask):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    for step in range(1, 6):
        pipeline.process(red(0), 1.0 + 0.1 * step)
        assert pipeline.follow()[0].state is PromptState.TRACKED
    for step in range(6, 16):  # nobody looks while it moves away; its panoptic track goes on
        pipeline.process(red(10 * (step - 5)), 1.0 + 0.1 * step)
    (found,) = pipeline.follow()
    assert found.state is PromptState.TRACKED and found.track_id > 0
    assert center(found.mask) == (116, 56)


def test_an_answer_that_is_not_finite_does_not_cost_the_frame(
    make_pipeline, network, red, ask, monkeypatch
):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    answer = network._prompts

    def not_finite(bright, boxes):
        output = answer(bright, boxes)
        output.mask_logits[0, 3, 3] = np.nan
        return output

    monkeypatch.setattr(network, "_prompts", not_finite)
    network.objects_found = False  # no object query helps
    assert pipeline.process(red(0), 1.1).prompted[0].state is PromptState.LOST
    network.objects_found = True
    assert pipeline.process(red(0), 1.15).panoptic.segments
    monkeypatch.undo()
    assert pipeline.process(red(0), 1.2).prompted[0].state is PromptState.TRACKED


def test_an_old_click_is_carried_to_the_newest_frame(make_pipeline, network, red, ask):
    pipeline = make_pipeline()
    for step in range(11):
        pipeline.process(red(8 * step), 1.0 + 0.1 * step)
    answer = pipeline.prompt(ask([(10, 50, 1)]), stamp=1.0, track=True)
    assert answer.stamp == 1.0 and center(answer.mask) == (16, 56)
    assert network.decodes <= 5
    (known,) = pipeline.list_prompts()
    assert known.stamp == 2.0 and center(known.mask) == (96, 56)
    assert pipeline.process(red(88), 2.1).prompted[0].state is PromptState.TRACKED


def test_a_failure_on_the_way_to_the_newest_frame_does_not_cost_the_answer(
    make_pipeline, network, red, ask, monkeypatch
):
    pipeline = make_pipeline()
    for step in range(3):
        pipeline.process(red(8 * step), 1.0 + 0.1 * step)
    answer = network.decode_prompts

    def second_fails(features, boxes):
        if network.decodes == 1:
            raise EngineError("no")
        return answer(features, boxes)

    monkeypatch.setattr(network, "decode_prompts", second_fails)
    assert pipeline.prompt(ask([(10, 50, 1)]), stamp=1.0, track=True).stamp == 1.0
    assert pipeline.process(red(20), 1.3).prompted[0].state is PromptState.TRACKED


def test_a_camera_that_changes_its_resolution_keeps_the_object(make_pipeline, blocks, colors, ask):
    pipeline = make_pipeline()
    pipeline.process(blocks((40, 40, 32, colors[0])), 1.0)
    pipeline.prompt(ask([(50, 50, 1)]), track=True)
    double = blocks((80, 80, 64, colors[0]), size=(256, 384))
    (found,) = pipeline.process(double, 1.1).prompted
    assert (found.mask.height, found.mask.width) == (256, 384)
    assert found.state is PromptState.TRACKED and center(found.mask) == (112, 112)


def test_limits_lists_and_clearing(make_pipeline, red, ask):
    pipeline = make_pipeline(max_objects=2)
    pipeline.process(red(0), 1.0)
    click = ask([(10, 50, 1)])
    for name in "ab":
        pipeline.prompt(click, object_id=name, track=True)
    with pytest.raises(TooManyPromptsError, match="2 objects"):
        pipeline.prompt(click, object_id="c", track=True)
    assert pipeline.prompt(click, object_id="c").state is PromptState.SINGLE
    assert [one.object_id for one in pipeline.list_prompts()] == ["a", "b", "c"]
    assert len(pipeline.process(red(0), 1.1).prompted) == 2
    assert pipeline.clear_prompts() == 3 and pipeline.clear_prompts() == 0
    assert not pipeline.remove_prompt("a")


def test_a_single_answer_is_forgotten_with_its_frame(make_pipeline, red, ask):
    pipeline = make_pipeline(keep_seconds=1.0)
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]))
    pipeline.process(red(0), 1.9)
    assert len(pipeline.list_prompts()) == 1
    pipeline.process(red(0), 2.1)
    assert pipeline.list_prompts() == ()


@pytest.mark.parametrize("how", ["reset", "jump"])
def test_a_new_run_of_time_forgets_prompts_and_frames(make_pipeline, red, ask, how):
    pipeline = make_pipeline()
    pipeline.process(red(0), 100.0)
    first = pipeline.prompt(ask([(10, 50, 1)]), track=True).object_id
    if how == "reset":
        pipeline.reset()
        with pytest.raises(NoFrameError):
            pipeline.prompt(ask([(10, 50, 1)]))
    assert pipeline.process(red(0), 5.0).prompted == ()
    with pytest.raises(FrameNotKeptError):
        pipeline.prompt(ask([(10, 50, 1)]), stamp=100.0)
    assert pipeline.prompt(ask([(10, 50, 1)]), track=True).object_id != first


def test_a_small_step_back_forgets_nothing(make_pipeline, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 100.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    assert len(pipeline.process(red(0), 99.8).prompted) == 1
    assert pipeline.prompt(ask([(10, 50, 1)]), stamp=100.0).stamp == 100.0


def test_the_overlay_shows_prompted_objects(make_pipeline, network, red, ask):
    network.objects_found = False
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    image = red(4)
    result = pipeline.process(image, 1.1)
    drawn = pipeline.overlay(image, result)
    assert (drawn[56, 20] != image[56, 20]).any() and (drawn[120, 180] == 0).all()


# --- an engine that runs beside the network ---


def test_only_prompted_frames_are_encoded(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside)
    for step in range(10):
        pipeline.process(red(4 * step), 1.0 + 0.1 * step)
        assert pipeline.follow() is None
    assert beside.encoded == [] and pipeline.prompts_run_beside
    assert pipeline.prompt(ask([(16, 50, 1)]), stamp=1.0 + 0.1 * 2).score == 0.8
    pipeline.prompt(ask([(16, 50, 1)]), stamp=1.0 + 0.1 * 2)
    assert beside.encoded == [1.0 + 0.1 * 2]


@pytest.mark.parametrize(("rate", "looked"), [(0.0, 20), (5.0, 10), (2.0, 4), (1.0, 2)])
def test_objects_are_followed_at_the_chosen_rate(make_pipeline, beside, red, ask, rate, looked):
    pipeline = make_pipeline(beside, prompt_rate=rate)
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    answers = []
    for step in range(1, 21):
        result = pipeline.process(red(step), 1.0 + 0.1 * step)
        answer = pipeline.follow()
        assert pipeline.follow() is None  # once for a frame
        if answer is not None:
            answers.append(answer)
            assert answer[0].stamp == result.stamp
            assert answer[0].state is PromptState.TRACKED
    assert len(answers) == looked


def test_frames_go_on_while_a_prompt_is_answered(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    entered, gate = threading.Event(), threading.Event()

    def wait():
        entered.set()
        assert gate.wait(10)

    beside.wait = wait
    pipeline.process(red(0), 1.0)
    answers = []
    worker = threading.Thread(
        target=lambda: answers.append(pipeline.prompt(ask([(10, 50, 1)]), 1.0, "cup", True))
    )
    worker.start()
    assert entered.wait(10)
    for step in range(1, 11):
        assert pipeline.process(red(4 * step), 1.0 + 0.1 * step).prompted == ()
    assert pipeline.list_prompts() == ()
    gate.set()
    worker.join(10)
    assert answers[0].stamp == 1.0 and center(answers[0].mask) == (16, 56)
    # The next frame tells of it, as it was when it was seen.
    (known,) = pipeline.process(red(12), 2.1).prompted
    assert (known.stamp, known.state) == (1.0, PromptState.TRACKED)
    assert pipeline.follow()[0].stamp == 2.1


def test_a_track_tells_where_to_look_after_a_pause(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    for step in range(1, 7):
        pipeline.process(red(0), 1.0 + 0.1 * step)
        pipeline.follow()
    assert pipeline.list_prompts()[0].track_id > 0
    for step in range(7, 20):  # nobody follows meanwhile, and it leaves its place entirely
        pipeline.process(red(8 * (step - 6)), 1.0 + 0.1 * step)
    (found,) = pipeline.follow()
    assert found.state is PromptState.TRACKED and center(found.mask) == (8 * 13 + 16, 56)


def test_a_track_that_is_not_shown_is_not_held_responsible(
    make_pipeline, beside, network, red, blocks, colors, ask
):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    pipeline.process(red(0), 1.0)
    pipeline.prompt(ask([(10, 50, 1)]), track=True)
    for step in range(1, 7):
        pipeline.process(red(0), 1.0 + 0.1 * step)
        pipeline.follow()
    network.objects_found = False
    for step in range(7, 10):  # something else stands before it
        pipeline.process(blocks((0, 40, 32, colors[1])), 1.0 + 0.1 * step)
        (lost,) = pipeline.follow()
        assert lost.state is PromptState.LOST and lost.track_id > 0


def test_random_calls_from_two_threads_leave_everything_in_order(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside, prompt_rate=0.0, keep_seconds=0.5, max_objects=3)
    pipeline.process(red(0), 0.0)
    done, failures = threading.Event(), []

    def call():
        rng = np.random.default_rng(0)
        expected = (FrameNotKeptError, PromptError, TooManyPromptsError)
        try:
            while not done.is_set():
                stamp = None if rng.random() < 0.5 else round(rng.random() * 10, 1)
                try:
                    x = rng.uniform(-10, 190)
                    name = f"thing {rng.integers(5)}"
                    pipeline.prompt(ask([(x, 50, 1)]), stamp, name, bool(rng.integers(2)))
                    pipeline.follow()
                    pipeline.remove_prompt(f"thing {rng.integers(5)}")
                except expected:
                    pass
        except Exception as error:
            failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    for step in range(1, 101):
        result = pipeline.process(red(step), 0.1 * step)
        assert len(result.prompted) <= 3
    done.set()
    caller.join(10)
    assert not failures
