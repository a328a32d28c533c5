"""The program of the console."""

from __future__ import annotations

import importlib.util

import rclpy
from rclpy.logging import get_logger

from rmpsam_ros.node.process import initialize

MISSING = (
    "not started: the console needs aiohttp: apt install python3-aiohttp, or pip install aiohttp"
)


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until SIGINT or SIGTERM.

    Returns:
        0 after a signal, 1 with one line of reason if it cannot be served.
    """
    stop = initialize(arguments)
    if importlib.util.find_spec("aiohttp") is None:
        get_logger("rmpsam_console").fatal(MISSING)
        rclpy.shutdown()
        return 1
    from rmpsam_ros.console.program import run

    return run(stop)
