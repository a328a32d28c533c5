"""The parameters that decide what of the network's answers becomes a segment; see `table`."""

from __future__ import annotations

from rmpsam_ros import defaults
from rmpsam_ros.node.parameters.parameter import Change, Parameter

RESULTS: tuple[Parameter, ...] = (
    Parameter(
        "score_threshold",
        defaults.SCORE_THRESHOLD,
        "Class probability that an object needs to become a segment; the official evaluation "
        "uses 0.8.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "overlap_threshold",
        defaults.OVERLAP_THRESHOLD,
        "Share of its mask that an object must win against the others to become a segment; "
        "the official evaluation uses 0.8.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "any_thing",
        defaults.ANY_THING,
        "The score of a thing is the probability that it is any thing at all, and its class "
        "the most probable one. false: the probability of its class, as in the official "
        "evaluation.",
        Change.LIVE,
    ),
    Parameter(
        "duplicate_iou",
        defaults.DUPLICATE_IOU,
        "Of two objects of a kind (things or stuff) whose masks have a larger IoU, only the "
        "one with the higher score counts. 0: both do, as in the official evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "small_first",
        defaults.SMALL_FIRST,
        "Things compete for pixels with this power of their score divided by their area, so "
        "that small ones lie on large ones. 0: with their score, as in the official "
        "evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "thing_bonus",
        defaults.THING_BONUS,
        "Things compete for pixels with 1 + this times as much. 0: as in the official evaluation.",
        Change.LIVE,
        range=(0.0, 10.0),
    ),
    Parameter(
        "min_piece",
        defaults.MIN_PIECE,
        "Connected parts of a thing smaller than this share of its largest part are left "
        "out. 0: none, as in the official evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "min_area",
        defaults.MIN_AREA,
        "Segments smaller than this share of the image are left out. 0: none, as in the "
        "official evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "max_speck",
        defaults.MAX_SPECK,
        "Connected parts of stuff up to this share of the image go to what surrounds them. "
        "0: none, as in the official evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "max_hole",
        defaults.MAX_HOLE,
        "Patches without a segment up to this share of the image go to what surrounds them. "
        "0: none, as in the official evaluation.",
        Change.LIVE,
        range=(0.0, 1.0),
    ),
    Parameter(
        "classes",
        "",
        "Report only these classes: names of the label set, separated by commas. Empty: all.",
        Change.LIVE,
    ),
)
