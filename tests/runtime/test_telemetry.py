"""Importing the libraries leaves nothing in the user's home, and so reports nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import rmpsam_ros.{room}
import {library}
{use}
"""


@pytest.mark.parametrize("room", ["runtime", "export"])
@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("onnxruntime", "onnxruntime.get_available_providers()"),
        ("openvino", "openvino.Core().available_devices"),
    ],
)
def test_nothing_is_written_about_the_user(room, library, use, tmp_path: Path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    environment = {**os.environ, "HOME": str(tmp_path)}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        environment.pop(name, None)
    program = PROGRAM.format(room=room, library=library, use=use)
    subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, timeout=120, cwd=tmp_path
    )
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
