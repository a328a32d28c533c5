"""State and transitions of the perception node."""

from __future__ import annotations

from lifecycle_msgs.srv import ChangeState, GetState

from rmpsam_ros.console.ros.calls import CallError, Services

STATE_TIMEOUT = 2.0  # seconds
TRANSITION_TIMEOUT = 1800.0  # building an engine takes minutes
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup")
ABSENT, ACTIVE = "not running", "active"


async def read_state(services: Services) -> str:
    """Return the node's state, or `ABSENT`."""
    try:
        answer = await services.call(GetState, "get_state", GetState.Request(), STATE_TIMEOUT)
    except CallError:
        return ABSENT
    return str(answer.current_state.label)


async def change_state(services: Services, transition: str) -> str:
    """Ask for a transition; return why it did not happen, empty if it did.

    Raises:
        CallError: the node does not answer.
        ValueError: there is no such transition.
    """
    if transition not in TRANSITIONS:
        raise ValueError(f"there is no transition {transition[:100]!r}")
    request = ChangeState.Request()
    request.transition.label = transition
    answer = await services.call(ChangeState, "change_state", request, TRANSITION_TIMEOUT)
    if answer.success:
        return ""
    return f"{transition} did not succeed; the diagnostics say why"
