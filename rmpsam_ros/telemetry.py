"""Switches off what libraries report about their users, before they are imported.

ONNX Runtime writes an id of the machine and a store of events into the user's cache as soon as it
is imported, OpenVINO sends an event to a server of its makers. Who wants either sets
``ORT_DISABLE_TELEMETRY=0``, or imports ``openvino_telemetry`` before this package.
"""

from __future__ import annotations

import os
import sys


def switch_off() -> None:
    """Let neither ONNX Runtime nor OpenVINO report anything in this process."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenVINO has a form of its own for installations without this package.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
