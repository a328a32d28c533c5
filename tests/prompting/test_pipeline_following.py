"""Following prompted objects through the pipeline: with the network, or beside it, and threads."""

import threading

import numpy as np
import pytest

from rmpsam_ros.pipeline import FrameNotKeptError, TooManyPromptsError
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.prompt_types import PromptError
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.prompted_records import PromptState


def center(mask):
    y, x = np.nonzero(decode_mask(mask))
    return pytest.approx((x.mean(), y.mean()), abs=1.0) if len(x) else None


def test_an_object_is_followed_lost_and_found(make_pipeline, network, red, blocks, ask):
    pipeline = make_pipeline()
    assert pipeline.process(red(0), 1.0).prompted == ()
    assert network.boxes[-1] is None  # nobody has clicked
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=True)
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
    assert pipeline.prompts.remove("cup") and pipeline.process(red(44), 2.6).prompted == ()
    assert network.boxes[-1] is None


@pytest.mark.parametrize("track", [False, True])
def test_nothing_is_taken_from_an_object_whose_place_is_not_known(
    make_pipeline, red, blocks, ask, track
):
    """Answered for one image only, or lost: the refusal says so and what to do."""
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), object_id="cup", track=track)
    pipeline.process(blocks(), 1.1)
    with pytest.raises(
        PromptError, match=r"'cup' is on this image is not known.*add a foreground"
    ):
        pipeline.prompts.prompt(ask([(30, 20, 0)]), object_id="cup", track=track)


def test_following_is_answered_in_the_pass_of_the_frame(make_pipeline, network, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    decodes = network.decodes
    pipeline.process(red(4), 1.1)
    assert network.decodes == decodes and network.boxes[-1].shape == (1, 4)


def test_another_object_in_its_place_is_not_it(make_pipeline, network, red, blocks, colors, ask):
    network.objects_found = False  # the appearance alone must tell
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    (other,) = pipeline.process(blocks((0, 40, 32, colors[1])), 1.1).prompted
    assert other.state is PromptState.LOST and "appearance" in other.reason
    assert pipeline.process(red(0), 1.2).prompted[0].state is PromptState.TRACKED


def test_an_object_whose_prompts_fail_goes_on_with_its_query(make_pipeline, network, red, ask):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
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
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    for step in range(1, 6):
        pipeline.process(red(0), 1.0 + 0.1 * step)
        assert pipeline.prompts.follow()[0].state is PromptState.TRACKED
    for step in range(6, 16):  # nobody looks while it moves away; its panoptic track goes on
        pipeline.process(red(10 * (step - 5)), 1.0 + 0.1 * step)
    (found,) = pipeline.prompts.follow()
    assert found.state is PromptState.TRACKED and found.track_id > 0
    assert center(found.mask) == (116, 56)


def test_an_answer_that_is_not_finite_does_not_cost_the_frame(
    make_pipeline, network, red, ask, monkeypatch
):
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
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
    answer = pipeline.prompts.prompt(ask([(10, 50, 1)]), stamp=1.0, track=True)
    assert answer.stamp == 1.0 and center(answer.mask) == (16, 56)
    assert network.decodes <= 5
    (known,) = pipeline.prompts.objects()
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
    assert pipeline.prompts.prompt(ask([(10, 50, 1)]), stamp=1.0, track=True).stamp == 1.0
    assert pipeline.process(red(20), 1.3).prompted[0].state is PromptState.TRACKED


def test_a_camera_that_changes_its_resolution_keeps_the_object(make_pipeline, blocks, colors, ask):
    pipeline = make_pipeline()
    pipeline.process(blocks((40, 40, 32, colors[0])), 1.0)
    pipeline.prompts.prompt(ask([(50, 50, 1)]), track=True)
    double = blocks((80, 80, 64, colors[0]), size=(256, 384))
    (found,) = pipeline.process(double, 1.1).prompted
    assert (found.mask.height, found.mask.width) == (256, 384)
    assert found.state is PromptState.TRACKED and center(found.mask) == (112, 112)


def test_the_overlay_shows_prompted_objects(make_pipeline, network, red, ask):
    network.objects_found = False
    pipeline = make_pipeline()
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    image = red(4)
    result = pipeline.process(image, 1.1)
    drawn = pipeline.overlay(image, result)
    assert (drawn[56, 20] != image[56, 20]).any() and (drawn[120, 180] == 0).all()


# --- an engine that runs beside the network ---


def test_only_prompted_frames_are_encoded(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside)
    for step in range(10):
        pipeline.process(red(4 * step), 1.0 + 0.1 * step)
        assert pipeline.prompts.follow() is None
    assert beside.encoded == [] and pipeline.prompts.engine.runs_beside
    assert pipeline.prompts.prompt(ask([(16, 50, 1)]), stamp=1.0 + 0.1 * 2).score == 0.8
    pipeline.prompts.prompt(ask([(16, 50, 1)]), stamp=1.0 + 0.1 * 2)
    assert beside.encoded == [1.0 + 0.1 * 2]


@pytest.mark.parametrize(("rate", "looked"), [(0.0, 20), (5.0, 10), (2.0, 4), (1.0, 2)])
def test_objects_are_followed_at_the_chosen_rate(make_pipeline, beside, red, ask, rate, looked):
    pipeline = make_pipeline(beside, prompt_rate=rate)
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    answers = []
    for step in range(1, 21):
        result = pipeline.process(red(step), 1.0 + 0.1 * step)
        answer = pipeline.prompts.follow()
        assert pipeline.prompts.follow() is None  # once for a frame
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
        target=lambda: answers.append(
            pipeline.prompts.prompt(ask([(10, 50, 1)]), 1.0, "cup", True)
        )
    )
    worker.start()
    assert entered.wait(10)
    for step in range(1, 11):
        assert pipeline.process(red(4 * step), 1.0 + 0.1 * step).prompted == ()
    assert pipeline.prompts.objects() == ()
    gate.set()
    worker.join(10)
    assert answers[0].stamp == 1.0 and center(answers[0].mask) == (16, 56)
    # The next frame tells of it, as it was when it was seen.
    (known,) = pipeline.process(red(12), 2.1).prompted
    assert (known.stamp, known.state) == (1.0, PromptState.TRACKED)
    assert pipeline.prompts.follow()[0].stamp == 2.1


def follow_at_rest(pipeline, red, ask):
    """Follow the red object until it has a track, to 1.6 s; it stays where it is."""
    pipeline.process(red(0), 1.0)
    pipeline.prompts.prompt(ask([(10, 50, 1)]), track=True)
    for step in range(1, 7):
        pipeline.process(red(0), 1.0 + 0.1 * step)
        pipeline.prompts.follow()


def test_a_track_tells_where_to_look_after_a_pause(make_pipeline, beside, red, ask):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    follow_at_rest(pipeline, red, ask)
    assert pipeline.prompts.objects()[0].track_id > 0
    for step in range(7, 20):  # nobody follows meanwhile, and it leaves its place entirely
        pipeline.process(red(8 * (step - 6)), 1.0 + 0.1 * step)
    (found,) = pipeline.prompts.follow()
    assert found.state is PromptState.TRACKED and center(found.mask) == (8 * 13 + 16, 56)


def test_a_track_that_is_not_shown_is_not_held_responsible(
    make_pipeline, beside, network, red, blocks, colors, ask
):
    pipeline = make_pipeline(beside, prompt_rate=0.0)
    follow_at_rest(pipeline, red, ask)
    network.objects_found = False
    for step in range(7, 10):  # something else stands before it
        pipeline.process(blocks((0, 40, 32, colors[1])), 1.0 + 0.1 * step)
        (lost,) = pipeline.prompts.follow()
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
                    pipeline.prompts.prompt(ask([(x, 50, 1)]), stamp, name, bool(rng.integers(2)))
                    pipeline.prompts.follow()
                    pipeline.prompts.remove(f"thing {rng.integers(5)}")
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
