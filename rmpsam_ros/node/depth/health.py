"""Faults of depth and their remedies: rules on plain values."""

from __future__ import annotations

from dataclasses import dataclass

from rmpsam_ros.node.status import Level
from rmpsam_ros.node.topic_health import InputState, Problem, input_problem

FAILURE_MEMORY = 10.0  # seconds for which a refused depth image is warned about
MIN_MISSING = 5  # results in a row without a depth image of their time that are worth a warning


@dataclass(frozen=True, slots=True)
class DepthState:
    """What is known about one camera's depth.

    Attributes:
        depth, info: the two topics.
        failure: why the newest result could not be found in space; empty: it could.
        failed_for: seconds since then.
        warning: what is odd about the newest result, though it was used; empty: nothing.
        missing: results in a row without a depth image of their time.
        offset: how far the nearest one was then, seconds; None: there was none at all.
        tolerance: how far it may be, seconds.
    """

    depth: InputState
    info: InputState
    failure: str
    failed_for: float
    warning: str
    missing: int
    offset: float | None
    tolerance: float


def depth_problem(state: DepthState) -> Problem | None:
    """Return the most serious problem, None if there is none."""
    problem = input_problem(state.depth)
    if problem is not None:
        return problem
    if not state.info.received and state.info.silent_for >= state.info.timeout:
        return _no_calibration(state.info)
    if state.failure and state.failed_for < FAILURE_MEMORY:
        return Problem(
            Level.WARN, f"refused: {state.failure}", f"not found in space: {state.failure}"
        )
    if state.missing >= MIN_MISSING:
        return _no_match(state)
    if state.warning:
        return Problem(Level.WARN, state.warning, state.warning)
    return None


def _no_calibration(info: InputState) -> Problem:
    text = f"no camera_info on {info.topic}, without which nothing is found in space"
    conflicts = [peer for peer in info.publishers if peer.conflict]
    if conflicts:
        peer = conflicts[0]
        text += f": {peer.node} offers {peer.offers} and cannot be heard ({peer.conflict})"
    elif info.publishers:
        text += f", though {info.publishers[0].node} publishes there"
    else:
        text += f": there is no publisher; remap {info.remapped} to its topic"
    return Problem(Level.WARN, "no calibration", text)


def _no_match(state: DepthState) -> Problem:
    text = f"the last {state.missing} images have no depth image of their time: "
    if state.offset is None:
        text += "none came in time"
    else:
        text += (
            f"the nearest one is {state.offset:+.3f} s away and depth_tolerance is "
            f"{state.tolerance:g} s; synchronise the cameras, or allow more"
        )
    return Problem(Level.WARN, "no depth of that time", text)
