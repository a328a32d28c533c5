"""Who is let in: tables of hosts, origins and tokens, and limits."""

import dataclasses

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

from rmpsam_ros.console.security import HEADERS, Allowance, Gate
from rmpsam_ros.console.settings import CONSOLE_PARAMETERS, Settings
from rmpsam_ros.node.parameters.parameter import ParameterError

DEFAULTS = {one.name: one.default for group in CONSOLE_PARAMETERS.values() for one in group}


def settings(**values):
    return Settings.from_values({**DEFAULTS, **values})


HERE = "http://127.0.0.1:8170"
REQUESTS = {
    # host, origin, whether it is a socket, words of the refusal ("": let in)
    "page": ("127.0.0.1:8170", None, False, ""),
    "localhost": ("localhost:8170", None, False, ""),
    "IPv6 loopback": ("[::1]:8170", None, False, ""),
    "upper case": ("LOCALHOST:8170", None, False, ""),
    "socket of the page": ("127.0.0.1:8170", HERE, True, ""),
    "page through another name of us": ("localhost:8170", HERE, True, ""),
    "no host": (None, None, False, "host"),
    "DNS rebinding": ("evil.example:8170", None, False, "host"),
    "DNS rebinding with its origin": (
        "evil.example:8170",
        "http://evil.example:8170",
        True,
        "host",
    ),
    "other port": ("127.0.0.1:80", None, False, "host"),
    "no port": ("127.0.0.1", None, False, "host"),
    "our name as part of another": ("127.0.0.1:8170.evil.example", None, False, "host"),
    "foreign origin": ("127.0.0.1:8170", "https://evil.example", True, "origin"),
    "foreign origin, no socket": ("127.0.0.1:8170", "https://evil.example", False, "origin"),
    "origin on another port": ("127.0.0.1:8170", "http://127.0.0.1:3000", True, "origin"),
    "origin that only begins as ours": (
        "127.0.0.1:8170",
        "http://127.0.0.1:8170.evil.example",
        True,
        "origin",
    ),
    "origin with us as its user": (
        "127.0.0.1:8170",
        "http://127.0.0.1:8170@evil.example",
        True,
        "origin",
    ),
    "null origin": ("127.0.0.1:8170", "null", True, "origin"),
    "file": ("127.0.0.1:8170", "file://", True, "origin"),
    "extension": ("127.0.0.1:8170", "chrome-extension://127.0.0.1:8170", True, "origin"),
    "socket without origin": ("127.0.0.1:8170", None, True, "must tell its origin"),
}


@pytest.mark.parametrize(
    ("host", "origin", "is_socket", "words"), REQUESTS.values(), ids=REQUESTS.keys()
)
def test_hosts_and_origins(host, origin, is_socket, words):
    reason = Gate(settings(), 8170).refuses(host, origin, is_socket=is_socket)
    assert (words in reason) and bool(reason) == bool(words)


def test_names_for_other_machines():
    gate = Gate(settings(address="0.0.0.0", allowed_hosts="Robot.local, 10.0.0.5"), 8170)
    assert not gate.refuses("robot.local:8170", "http://robot.local:8170", is_socket=True)
    assert not gate.refuses("10.0.0.5:8170", None, is_socket=False)
    assert gate.refuses("10.0.0.6:8170", None, is_socket=False)
    assert gate.refuses("localhost:8170", None, is_socket=False)


def test_tokens():
    gate, other = Gate(settings(), 8170), Gate(settings(), 8170)
    assert len(gate.token) >= 40 and gate.token != other.token
    assert gate.url == f"{HERE}/#token={gate.token}"
    assert gate.accepts_token(gate.token)
    for wrong in (other.token, "", gate.token[:-1], gate.token + "a", None, 3, ["a"], "ü" * 43):
        assert not gate.accepts_token(wrong), wrong


def test_no_token_on_loopback_if_wanted():
    gate = Gate(settings(require_token=False), 8170)
    assert gate.url == f"{HERE}/" and gate.accepts_token("") and gate.accepts_token(None)


def test_the_policy_lets_nothing_in_from_elsewhere():
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy


REFUSED = {
    "no token for other machines": (
        {"address": "192.168.1.2", "require_token": False},
        "require_token is false",
    ),
    "every address without names": ({"address": "0.0.0.0"}, "allowed_hosts"),
    "a name as address": ({"address": "localhost"}, "expected an IP address"),
    "a relative node": ({"node": "rmpsam"}, "expected a full name"),
}


@pytest.mark.parametrize(("values", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_settings_that_do_not_go_together(values, words):
    with pytest.raises(ParameterError, match=words):
        settings(**values)


def test_loopback_is_the_default():
    assert settings().is_loopback and settings().require_token
    assert dataclasses.asdict(settings())["allowed_hosts"] == ()


def test_an_allowance_fills_up_again():
    allowance = Allowance(rate=10.0, burst=3)
    assert [allowance.take(5.0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(5.2) for _ in range(3)] == [True, True, False]
    assert [allowance.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_the_documented_parameters_are_those_there_are():
    from pathlib import Path

    from rmpsam_ros.node.parameters.docs import parameter_rows

    page = Path(__file__).resolve().parents[2] / "docs" / "console.md"
    _, _, text = page.read_text().partition("## Parameters\n")
    assert text == parameter_rows(CONSOLE_PARAMETERS["Console"])
