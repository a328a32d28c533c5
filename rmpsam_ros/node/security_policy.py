"""The SROS2 policy of the node, written from what a running node really uses.

``python -m rmpsam_ros.node.security_policy FILE`` writes it anew, for ``config/sros2_policy.xml``
in the repository; to be run outside the source tree, which has no messages. ``docs/security.md``
explains what it allows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.node import Node

# Only there with packages that need not be installed.
OPTIONAL_RESULTS = (
    "/rmpsam/annotations",
    "/rmpsam/detections",
    "/rmpsam/detections_3d",
    "/rmpsam/panoptic/label_info",
)
# What an operator may ask for: prompts, and nothing that changes how the node works.
ASKED = ("add_prompt", "remove_prompt", "list_prompts", "clear_prompts", "segment_everything")
STARTED = ("segment_everything",)  # actions
ACTION_PART = "/_action/"  # in the names of the topics and services that an action is made of
PARAMETER_SERVICES = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "get_type_description",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
COMMON_PUBLISHED, COMMON_READ = ("/parameter_events", "/rosout"), ("/clock",)


@dataclass(frozen=True, slots=True)
class Graph:
    """Full names of what a node publishes, reads and serves, and of its actions."""

    published: frozenset[str]
    read: frozenset[str]
    served: frozenset[str]
    executed: frozenset[str] = frozenset()


def graph_of(node: Node) -> Graph:
    """Return what a node has in the graph."""
    name = (node.get_name(), node.get_namespace())
    published, read, served = (
        frozenset(one for one, _ in ask(*name) if ACTION_PART not in one)
        for ask in (
            node.get_publisher_names_and_types_by_node,
            node.get_subscriber_names_and_types_by_node,
            node.get_service_names_and_types_by_node,
        )
    )
    actions = get_action_server_names_and_types_by_node(node, *name)
    return Graph(published, read, served, frozenset(one for one, _ in actions))


def policy(graph: Graph) -> str:
    """Return the policy of the node and of an operator, as XML of SROS2."""
    node = {
        ("topics", "publish", "topic"): {*graph.published, *OPTIONAL_RESULTS, *COMMON_PUBLISHED},
        ("topics", "subscribe", "topic"): {*graph.read, *COMMON_READ},
        ("services", "reply", "service"): graph.served,
        ("actions", "execute", "action"): graph.executed,
    }
    results = {topic for topic in graph.published if topic.startswith("/rmpsam/")}
    own = {f"/rmpsam_operator/{name}" for name in PARAMETER_SERVICES}
    operator = {
        ("topics", "publish", "topic"): {"/rmpsam/click", *COMMON_PUBLISHED},
        ("topics", "subscribe", "topic"): {
            *results,
            *OPTIONAL_RESULTS,
            *COMMON_READ,
            "/diagnostics",
        },
        ("services", "request", "service"): {f"/rmpsam/{name}" for name in ASKED},
        ("services", "reply", "service"): own,
        ("actions", "call", "action"): {f"/rmpsam/{name}" for name in STARTED},
    }
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            "<!-- Written by python -m rmpsam_ros.node.security_policy: see docs/security.md.",
            "     Put the topics of your camera in the place of /image, /depth, /camera_info. -->",
            '<policy version="0.2.0">',
            "  <enclaves>",
            *_enclave("rmpsam", node),
            *_enclave("rmpsam_operator", operator),
            "  </enclaves>",
            "</policy>",
            "",
        ]
    )


def _enclave(name: str, rules: Mapping[tuple[str, str, str], Iterable[str]]) -> list[str]:
    lines = [
        f'    <enclave path="/{name}">',
        "      <profiles>",
        f'        <profile ns="/" node="{name}">',
    ]
    for (group, verb, item), names in rules.items():
        lines.append(f'          <{group} {verb}="ALLOW">')
        lines += [f"            <{item}>{escape(one)}</{item}>" for one in sorted(names)]
        lines.append(f"          </{group}>")
    return [*lines, "        </profile>", "      </profiles>", "    </enclave>"]


def main(target: str) -> None:
    """Write the policy of a node that uses all that it can into a file."""
    import rclpy
    from rclpy.parameter import Parameter

    from rmpsam_ros.node.rmpsam_node import RmpsamNode

    rclpy.init()
    values = {"autostart": False, "use_depth": True}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = RmpsamNode(parameter_overrides=overrides)
    Path(target).write_text(policy(graph_of(node)))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
