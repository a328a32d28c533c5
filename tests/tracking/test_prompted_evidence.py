"""What panoptic tracks and object queries tell about prompted objects, on scripted answers."""

import numpy as np
import pytest
from prompted_answers import GREEN, follow, nothing, seen

from rmpsam_ros.tracking.prompted_records import PromptState

# --- the panoptic track ---


def associate(objects, track_id=7):
    objects.put("cup", True, seen(1.0))
    for step in range(1, 4):
        known = follow(objects, seen(1 + step / 10, coverage={track_id: 0.8, 3: 0.05}))
    return known


def test_an_object_belongs_to_the_track_that_covers_it_for_some_frames(objects):
    objects.put("cup", True, seen(1.0))
    ids = [
        follow(objects, seen(1 + step / 10, coverage={7: 0.8})).track_id for step in range(1, 4)
    ]
    assert ids == [0, 0, 7]


@pytest.mark.parametrize("coverage", [{7: 0.4}, {}])
def test_a_track_that_covers_little_is_not_its_track(objects, coverage):
    objects.put("cup", True, seen(1.0))
    for step in range(1, 6):
        assert follow(objects, seen(1 + step / 10, coverage=coverage)).track_id == 0


def test_a_jump_away_from_its_track_is_drift(objects):
    associate(objects)
    known = follow(objects, seen(1.4, x=120, coverage={7: 0.0, 3: 0.9}))
    assert known.state is PromptState.LOST and "track 7" in known.reason
    assert objects.followed(1.5)[0].track_id == 7  # and there it is looked for
    known = follow(objects, seen(1.5, x=14, coverage={7: 0.8}))
    assert (known.state, known.track_id) == (PromptState.TRACKED, 7)


def test_a_track_that_jumps_away_from_an_object_that_stays_is_left(objects):
    associate(objects)
    known = follow(objects, seen(1.4, x=14, coverage={7: 0.0}))
    assert (known.state, known.track_id) == (PromptState.TRACKED, 0)


def test_a_track_that_is_not_shown_does_not_guard(objects):
    associate(objects)
    assert follow(objects, seen(1.4, coverage={3: 0.0})).state is PromptState.TRACKED


def test_a_track_that_misleads_is_left(objects):
    associate(objects)
    follow(objects, nothing(1.4))
    (following,) = objects.followed(1.5)
    assert following.track_id == 7
    assert objects.observe(following, seen(1.5, appearance=GREEN)).track_id == 0
    assert objects.followed(1.6)[0].track_id == 0


def test_the_place_of_the_track_is_preferred_to_an_old_own_one(objects):
    associate(objects)
    assert objects.followed(1.4)[0].track_id == 0
    assert objects.followed(2.4)[0].track_id == 7


# --- object queries ---

LOOK_A, LOOK_B = np.eye(4, dtype=np.float32)[:2]
BETWEEN = ((LOOK_A + LOOK_B) / np.sqrt(2.0)).astype(np.float32)


def rivals(objects, observation, *embeddings):
    """Places of the queries of a frame that may be the only followed object instead."""
    (following,) = objects.followed(observation.stamp)
    return objects.rivals(following, observation, np.stack(embeddings)).tolist()


@pytest.mark.parametrize(
    ("answer", "embeddings", "expected"),
    [
        (seen(1.1, queries={0: LOOK_A}), (LOOK_A, LOOK_A), []),  # it is it
        (seen(1.1, queries={1: LOOK_B}), (LOOK_A, LOOK_B), [0]),  # that shows another
        (seen(1.1, queries={1: BETWEEN}), (LOOK_A, BETWEEN), [0]),  # clearly more like it
        (seen(1.1, queries={1: BETWEEN, 0: LOOK_A}), (LOOK_A, BETWEEN), []),  # one of both
        (seen(1.1, queries={}), (LOOK_A, LOOK_B), []),  # nothing speaks against it
        (nothing(1.1), (LOOK_B, BETWEEN, LOOK_A), [2, 1]),  # most similar first
        (nothing(1.1), (LOOK_B, -LOOK_A), []),  # none is like it
        (seen(1.1, score=0.1, queries={0: LOOK_A}), (LOOK_A, LOOK_B), [0]),  # a doubtful answer
    ],
)
def test_which_queries_may_be_the_object_instead(objects, answer, embeddings, expected):
    objects.put("cup", True, seen(1.0, queries={3: LOOK_A}))
    assert rivals(objects, answer, *embeddings) == expected


def test_a_lost_object_is_looked_for_among_more_similar_queries_only(objects):
    near = (0.5 * LOOK_A + np.sqrt(0.75) * LOOK_B).astype(np.float32)
    objects.put("cup", True, seen(1.0, queries={3: LOOK_A}))
    assert rivals(objects, nothing(1.1), near, BETWEEN) == [1, 0]
    follow(objects, nothing(1.1))
    assert rivals(objects, nothing(1.2), near, BETWEEN) == [1]


def test_an_object_without_a_query_has_no_rivals(objects):
    objects.put("cup", True, seen(1.0))
    assert rivals(objects, nothing(1.1), LOOK_A, LOOK_B) == []


def test_what_shows_another_query_in_another_place_is_lost(objects):
    objects.put("cup", True, seen(1.0, queries={3: LOOK_A}))
    known = follow(objects, seen(1.1, x=40, queries={0: LOOK_B}))
    assert known.state is PromptState.LOST and "object query" in known.reason
    assert follow(objects, seen(1.2, queries={0: LOOK_B})).state is PromptState.LOST
    assert follow(objects, seen(1.3, x=40, queries={0: LOOK_A})).state is PromptState.TRACKED


def test_what_another_query_shows_in_its_place_is_still_it(objects):
    objects.put("cup", True, seen(1.0, queries={3: LOOK_A}))
    for step in range(1, 5):
        known = follow(objects, seen(1.0 + step / 10, x=10 + 4 * step, queries={0: LOOK_B}))
        assert known.state is PromptState.TRACKED


def test_the_remembered_query_changes_slowly(objects):
    objects.put("cup", True, seen(1.0, queries={3: LOOK_A}))
    for step in range(1, 40):
        angle = step * np.pi / 80
        look = (np.cos(angle) * LOOK_A + np.sin(angle) * LOOK_B).astype(np.float32)
        known = follow(objects, seen(1 + step / 10, queries={step: look}))
        assert known.state is PromptState.TRACKED, known.reason
    assert rivals(objects, nothing(5.0), LOOK_A, LOOK_B)[0] == 1


def test_the_query_of_a_later_frame_counts_if_the_first_had_none(objects):
    objects.put("cup", True, seen(1.0))
    follow(objects, seen(1.1, queries={0: LOOK_B}))
    assert rivals(objects, nothing(1.2), LOOK_A, LOOK_B) == [1]


def test_a_prompt_anew_replaces_the_query(objects):
    objects.put("cup", True, seen(1.0, queries={0: LOOK_A}))
    (before,) = objects.followed(1.1)
    objects.put("cup", True, seen(1.1, queries={0: LOOK_B}))
    assert rivals(objects, nothing(1.2), LOOK_A, LOOK_B) == [1]
    assert not objects.rivals(before, nothing(1.2), np.stack([LOOK_A, LOOK_B])).size
    assert not objects.accepts(before, seen(1.2))
