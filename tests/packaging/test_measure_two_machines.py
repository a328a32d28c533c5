"""The tool that measures two machines: what needs neither root nor a second network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("measure_two_machines")


def test_traffic_of_a_device(tool) -> None:
    devices = Path("/proc/net/dev").read_text()
    if "lo:" not in devices:
        pytest.skip("there is no loopback device")
    received, sent = tool.traffic("lo")
    assert received == sent >= 0
    with pytest.raises(RuntimeError, match="there is no network device rmpsam9"):
        tool.traffic("rmpsam9")


@pytest.mark.parametrize("arguments", [[], ["video.mp4"]])
def test_what_it_needs_is_said(tool, monkeypatch, capsys, arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_two_machines.py", *arguments])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as end:
        tool.main()
    assert end.value.code == 2
    assert "to be root" in capsys.readouterr().err
