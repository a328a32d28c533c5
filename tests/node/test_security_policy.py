"""The shipped SROS2 policy allows what a node uses, and nothing else."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rmpsam_ros.node.security_policy import OPTIONAL_RESULTS, Graph, graph_of, policy

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "sros2_policy.xml"


def rules(text, enclave):
    """Names by what may be done with them."""
    (found,) = ElementTree.fromstring(text).findall(f".//enclave[@path='/{enclave}']//profile")
    return {
        (group.tag, verb): {item.text for item in group}
        for group in found
        for verb in group.attrib
    }


def test_the_node_may_do_what_it_does_and_no_more(make_node):
    graph = graph_of(make_node(autostart=False, use_depth=True))
    shipped = rules(SHIPPED.read_text(), "rmpsam")
    assert shipped == rules(policy(graph), "rmpsam")
    published = shipped["topics", "publish"]
    # What needs other packages is there or not.
    assert graph.published <= published <= graph.published | set(OPTIONAL_RESULTS)
    assert shipped["topics", "subscribe"] == graph.read | {"/clock"}
    assert shipped["services", "reply"] == graph.served
    assert shipped["actions", "execute"] == graph.executed == {"/rmpsam/segment_everything"}
    assert not [name for names in shipped.values() for name in names if "_action" in name]
    assert ("services", "request") not in shipped
    assert len(graph.served) > 15 and len(graph.published) > 12, "the graph was read"


def test_an_operator_may_ask_but_change_nothing():
    allowed = rules(SHIPPED.read_text(), "rmpsam_operator")
    asked = allowed["services", "request"]
    assert "/rmpsam/add_prompt" in asked
    assert not [name for name in asked if re.search("param|state|reset", name)]
    assert allowed["actions", "call"] == {"/rmpsam/segment_everything"}
    assert allowed["topics", "publish"] == {"/rmpsam/click", "/parameter_events", "/rosout"}
    assert "/rmpsam/tracks" in allowed["topics", "subscribe"]


def test_names_are_escaped():
    text = policy(Graph(frozenset({"/a<b"}), frozenset(), frozenset()))
    assert "/a<b" in rules(text, "rmpsam")["topics", "publish"]
