"""Followed objects from frame to frame by the network's own decoder.

Candidates in a frame are the answer to the object's prompt, which was anchored on its last mask,
and the object queries. They are compared as the tracker compares queries: by the cosine between
their embeddings and the remembered one. The embedding of a prompted mask is that of the object
query that shows the same; its own query cannot be compared with those of objects, because the two
adapters of the network end in different spaces (docs/prompt_engines.md has figures).
"""

from __future__ import annotations

from collections.abc import Sequence

from rmpsam_ros.prompting.answers import Answer
from rmpsam_ros.prompting.engines.shared_decoder import SharedDecoder
from rmpsam_ros.prompting.frames import KeptFrame
from rmpsam_ros.prompting.observation import observe
from rmpsam_ros.runtime import ObjectOutput
from rmpsam_ros.tracking.prompted import PromptedObjects
from rmpsam_ros.tracking.prompted_records import Anchor, Following, Observation

_MAX_RIVALS = 3  # looked at for one object: a mask at image size costs milliseconds


def propagate(
    known: PromptedObjects,
    engine: SharedDecoder,
    frame: KeptFrame,
    objects: ObjectOutput,
    following: Sequence[Following],
    asked: Sequence[Anchor],
    answers: Sequence[Answer],
) -> None:
    """Take in what a frame says about the followed objects.

    Args:
        objects: the object queries of the frame.
        following, asked, answers: one of each for every object: where it was looked for, and
            what was found there.
    """
    seen = [
        observe(frame, answer, place, by_queries=True)
        for answer, place in zip(answers, asked, strict=True)
    ]
    # Nobody takes a query that shows another object in its place.
    taken = {
        query
        for who, observation in zip(following, seen, strict=True)
        if known.accepts(who, observation)
        for query in observation.queries
    }
    for who, observation, place in zip(following, seen, asked, strict=True):
        rivals = known.rivals(who, observation, frame.queries.embeddings)
        for query in rivals[:_MAX_RIVALS].tolist():
            if query in taken:
                continue
            rival = _observed(engine, frame, objects, query, place)
            if known.accepts(who, rival):
                taken |= {query, *rival.queries}
                observation = rival
                break
        known.observe(who, observation)


def _observed(
    engine: SharedDecoder, frame: KeptFrame, objects: ObjectOutput, query: int, place: Anchor
) -> Observation:
    answer = engine.query_answer(objects, query, frame.geometry)
    return observe(frame, answer, place, by_queries=True)
