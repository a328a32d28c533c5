"""The life cycle of prompted objects, on scripted answers."""

import threading

import numpy as np
import pytest
from prompted_answers import CLICK, GREEN, RED, SIZE, follow, nothing, seen

from rmpsam_ros.tracking.prompted import PromptedObjects
from rmpsam_ros.tracking.prompted_records import (
    Anchor,
    FollowConfig,
    PromptState,
    TooManyPromptsError,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["", "", ""], ["object-1", "object-2", "object-3"]),
        (["cup", ""], ["cup", "object-1"]),
        (["object-2", "", ""], ["object-2", "object-3", "object-4"]),
        (["object-x", ""], ["object-x", "object-1"]),
        (
            ["object-999999999", "", "", "object-1000000002", ""],
            [f"object-{number}" for number in (999999999, 1000000000, 1000000001)]
            + ["object-1000000002", "object-1000000003"],
        ),
        (["object-" + "9" * 100, "", ""], [f"object-{10**100 - 1 + k}" for k in range(3)]),
        (["object-007", "", "object-8", ""], ["object-007", "object-8", "object-8", "object-9"]),
    ],
)
def test_ids_are_given_or_made(objects, given, expected):
    made = [objects.put(one, False, seen(1.0)).object_id for one in given]
    assert made == expected


def test_a_made_id_is_never_used_again(objects):
    first = objects.put("", True, seen(1.0)).object_id
    assert objects.remove(first)
    second = objects.put("", True, seen(1.0)).object_id
    assert objects.clear() == 1
    third = objects.put("", True, seen(1.0)).object_id
    assert len({first, second, third}) == 3


def test_an_answer_without_following_is_single_and_not_looked_for(objects):
    known = objects.put("cup", False, seen(1.0, prompt=CLICK))
    assert (known.state, known.score, known.stamp) == (PromptState.SINGLE, 0.9, 1.0)
    assert known.prompt is CLICK and known.prompt_stamp == 1.0
    assert objects.followed(2.0) == ()


def test_a_followed_object_moves_with_what_is_found(objects):
    assert objects.put("cup", True, seen(1.0)).state is PromptState.TRACKED
    for step in range(1, 6):
        (following,) = objects.followed(1.0 + step / 10)
        assert following.anchor.box[0] == 10 + 4 * (step - 1)
        known = objects.observe(following, seen(1.0 + step / 10, x=10 + 4 * step))
        assert known.state is PromptState.TRACKED and known.last_seen == 1.0 + step / 10
    assert known.mask.box[0] == 30 and known.first_seen == 1.0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (nothing(1.1), "nothing was found"),
        (seen(1.1, score=0.2), "predicted quality 0.20"),
        (seen(1.1, score=float("nan")), "predicted quality"),
        (seen(1.1, side=60), "its area changed 9.0 times"),
        (seen(1.1, side=5), "its area changed 16.0 times"),
        (seen(1.1, appearance=GREEN), "similarity of 0.00"),
    ],
)
def test_what_is_not_the_object_is_reported_as_lost(objects, answer, reason):
    objects.put("cup", True, seen(1.0))
    known = follow(objects, answer)
    assert known.state is PromptState.LOST and reason in known.reason
    assert known.mask.area == 0 and known.score == 0.0
    assert (known.mask.height, known.mask.width) == SIZE
    assert (known.stamp, known.last_seen) == (1.1, 1.0)
    # It is looked for where it was, not where the wrong thing is.
    assert objects.followed(1.2)[0].anchor.box == (10, 20, 30, 40)


def test_an_object_that_is_lost_and_found_again_says_both(objects):
    objects.put("cup", True, seen(1.0))
    states = [follow(objects, nothing(1.0 + step / 10)).state for step in range(1, 4)]
    assert states == [PromptState.LOST] * 3
    known = follow(objects, seen(1.5))
    assert (known.state, known.reason, known.mask.area) == (PromptState.TRACKED, "", 400)


def test_a_lost_object_is_not_taken_for_a_similar_one(objects):
    similar = np.array([0.6, 0.8, 0, 0, 0, 0, 0, 0], np.float32)
    objects.put("cup", True, seen(1.0))
    assert follow(objects, seen(1.1, appearance=similar)).state is PromptState.TRACKED
    follow(objects, nothing(1.2))
    assert follow(objects, seen(1.3, appearance=GREEN)).state is PromptState.LOST
    assert follow(objects, seen(1.3, appearance=similar)).state is PromptState.LOST
    assert follow(objects, seen(1.4)).state is PromptState.TRACKED


def test_appearance_and_area_may_change_slowly(objects):
    objects.put("cup", True, seen(1.0))
    for step in range(1, 60):
        angle = step * np.pi / 118
        appearance = (np.cos(angle) * RED + np.sin(angle) * GREEN).astype(np.float32)
        known = follow(objects, seen(1 + step / 10, side=20 + step, appearance=appearance))
        assert known.state is PromptState.TRACKED, known.reason


def test_more_may_change_in_a_longer_time(objects):
    objects.put("cup", True, seen(1.0))
    assert follow(objects, seen(2.0, side=50)).state is PromptState.TRACKED  # 6.25 times
    objects.put("cup", True, seen(3.0))
    assert follow(objects, seen(3.1, side=50)).state is PromptState.LOST


def test_nothing_at_the_prompt_is_lost_at_once_and_can_still_be_found(objects):
    known = objects.put("cup", True, nothing(1.0))
    assert known.state is PromptState.LOST and "at the prompt" in known.reason
    assert follow(objects, seen(1.1)).state is PromptState.TRACKED
    assert objects.put("plate", False, nothing(1.0)).state is PromptState.SINGLE


@pytest.mark.parametrize(
    ("first", "later", "state"),
    [
        (0.4, 0.31, PromptState.TRACKED),
        (0.4, 0.29, PromptState.LOST),
        (0.9, 0.49, PromptState.LOST),
        (0.9, 0.51, PromptState.TRACKED),
    ],
)
def test_a_quality_that_the_person_was_content_with_is_enough(objects, first, later, state):
    objects.put("cup", True, seen(1.0, score=first))
    assert follow(objects, seen(1.1, score=later)).state is state


# --- prompted again ---


def test_a_new_prompt_replaces_what_was_remembered(objects):
    objects.put("cup", True, seen(1.0))
    old = objects.followed(1.1)[0]
    known = objects.put("cup", False, seen(1.1, x=100, side=40, appearance=GREEN))
    assert known.state is PromptState.TRACKED  # still followed
    assert objects.observe(old, seen(1.2)) is None  # an answer to the old prompt
    assert follow(objects, seen(1.2, x=100, side=40, appearance=GREEN)).mask.box[0] == 100


def test_an_answer_for_a_removed_object_changes_nothing(objects):
    objects.put("cup", True, seen(1.0))
    (following,) = objects.followed(1.1)
    assert objects.remove("cup") and not objects.remove("cup")
    assert objects.observe(following, seen(1.1)) is None
    assert objects.reports() == ()


def test_the_place_at_an_earlier_time_is_known(objects):
    objects.put("cup", True, seen(1.0))
    for step in range(1, 5):
        answer = seen(1.0 + step, x=10 + step) if step != 3 else nothing(4.0)
        follow(objects, answer)
    boxes = [objects.anchor("cup", stamp) for stamp in (0.5, 1.0, 2.5, 4.0, 5.0)]
    assert [None if box is None else box.box[0] for box in boxes] == [None, 10, 11, None, 14]
    assert objects.anchor("plate", 1.0) is None


def test_an_anchor_follows_a_change_of_the_image_size():
    anchor = Anchor((10.0, 20.0, 30.0, 40.0), np.array([[19.5, 29.5]], np.float32), (100, 200))
    scaled = anchor.scaled((50, 400))
    assert scaled.box == (20.0, 10.0, 60.0, 20.0) and scaled.image_size == (50, 400)
    np.testing.assert_allclose(scaled.points, [[39.5, 14.5]])


# --- limits ---


def test_no_more_than_the_limit_are_followed(objects):
    for name in "abc":
        objects.put(name, True, seen(1.0))
    with pytest.raises(TooManyPromptsError, match="max_objects"):
        objects.check_room("", True, 1.0)
    with pytest.raises(TooManyPromptsError):
        objects.put("d", True, seen(1.0))
    assert [one.object_id for one in objects.reports()] == ["a", "b", "c"]
    objects.put("b", True, seen(1.1))  # a known one needs no room
    objects.put("d", False, seen(1.1))  # nor does one that is not followed,
    with pytest.raises(TooManyPromptsError):  # until it shall be
        objects.put("d", True, seen(1.1))
    objects.remove("a")
    assert objects.put("d", True, seen(1.1)).state is PromptState.TRACKED


def test_the_limit_may_change(objects):
    for name in "abc":
        objects.put(name, True, seen(1.0))
    objects.limit(2)
    assert len(objects.followed(1.1)) == 3, "none is ended"
    objects.remove("a")
    with pytest.raises(TooManyPromptsError):
        objects.put("d", True, seen(1.1))
    objects.limit(3)
    assert objects.put("d", True, seen(1.1)).state is PromptState.TRACKED
    with pytest.raises(ValueError, match="max_objects is 0"):
        objects.limit(0)


def test_the_longest_lost_object_gives_way(objects):
    for name in "abc":
        objects.put(name, True, seen(1.0))
    for stamp, states in ((2.0, "xxc"), (3.0, "xxx")):
        for following in objects.followed(stamp):
            lost = following.object_id not in states
            objects.observe(following, nothing(stamp) if lost else seen(stamp))
    with pytest.raises(TooManyPromptsError):
        objects.put("d", True, seen(10.9))
    objects.put("d", True, seen(11.5))
    assert [one.object_id for one in objects.reports()] == ["b", "c", "d"]


def test_single_answers_are_bounded_and_forgotten_with_their_frame(objects):
    for stamp in range(5):
        objects.put("", False, seen(float(stamp)))
    assert [one.stamp for one in objects.reports()] == [2.0, 3.0, 4.0]
    objects.put("cup", True, seen(0.0))
    objects.forget_single(before=4.0)
    assert [one.stamp for one in objects.reports()] == [4.0, 0.0]


@pytest.mark.parametrize(
    "setting",
    [
        {"min_score": 1.5},
        {"area_ratio": 0.5},
        {"found_similarity": float("nan")},
        {"lost_seconds": -1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        FollowConfig(**setting)


def test_at_least_one_object(objects):
    with pytest.raises(ValueError, match="max_objects"):
        PromptedObjects(max_objects=0)


def test_threads_do_not_disturb_each_other():
    objects, failures = PromptedObjects(max_objects=4), []

    def work(number):
        try:
            for step in range(300):
                name = f"thing {(number + step) % 6}"
                try:
                    objects.put(name, True, seen(step / 10))
                except TooManyPromptsError:
                    objects.remove(f"thing {step % 6}")
                for following in objects.followed(step / 10):
                    objects.observe(following, seen(step / 10))
                assert len(objects.reports()) <= 4
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
