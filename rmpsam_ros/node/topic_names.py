"""Names of one camera: of its topics and services, and in log lines and statuses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rmpsam_ros.node.parameters.parameter import ParameterError

MAX_CAMERAS = 16
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Where the topics and services of a camera are.

    Attributes:
        name: empty: it is the only camera, and needs no namespace of its own.
    """

    name: str = ""

    def input(self, topic: str) -> str:
        """Return the relative name of an input topic: ``image`` or ``<camera>/image``."""
        return f"{self.name}/{topic}" if self.name else topic

    def private(self, topic: str) -> str:
        """Return the private name of a topic or service: ``~/tracks`` or ``~/<camera>/tracks``."""
        return f"~/{self.input(topic)}"

    def about(self, text: str) -> str:
        """Return a text for people that says which camera it is about, if there are several."""
        return f"{self.name} {text}" if self.name else text


def topic_names_of(names: str) -> tuple[TopicNames, ...]:
    """Return the cameras of parameter ``cameras``: names separated by commas.

    Returns:
        the names of a single camera for an empty text.

    Raises:
        ParameterError: a name cannot be part of a topic, or is there twice; or they are too many.
    """
    found = [name.strip() for name in names.split(",")] if names.strip() else []
    for name in found:
        if not _NAME.fullmatch(name) or "__" in name or name.endswith("_"):
            raise ParameterError(
                f"cameras is {names!r}; expected names of letters, digits and single underscores "
                f"that begin with a letter, separated by commas; {name!r} is none"
            )
    if len(set(found)) < len(found):
        raise ParameterError(f"cameras is {names!r}; expected every name once")
    if len(found) > MAX_CAMERAS:
        raise ParameterError(f"cameras has {len(found)} names; expected at most {MAX_CAMERAS}")
    return tuple(TopicNames(name) for name in found) or (TopicNames(),)
