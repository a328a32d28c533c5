"""The console's node in a thread, its server in the loop of the main thread."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import cv2
import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.logging import get_logger

from rmpsam_ros.console.console import Console
from rmpsam_ros.console.dataset import Dataset
from rmpsam_ros.console.ros.console_node import ConsoleNode
from rmpsam_ros.console.security import Allowance, Gate
from rmpsam_ros.console.server import Server, listen
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.process import spin

END_TIMEOUT = 2.0  # seconds
LINES_PER_SECOND, LINES_AT_ONCE = 5.0, 100.0  # about what is refused


def run(stop: threading.Event) -> int:
    """Serve until a signal comes; see `main`."""
    cv2.setNumThreads(1)
    try:
        node = ConsoleNode()
    except ParameterError as error:
        get_logger("rmpsam_console").fatal(f"not started: {error}")
        rclpy.shutdown()
        return 1
    settings = node.settings
    try:
        listener = listen(settings.address, settings.port)
    except OSError as error:
        node.get_logger().fatal(
            f"not started: {settings.address}:{settings.port} cannot be listened on: "
            f"{error.strerror}; if another console runs there, choose another port"
        )
        node.destroy_node()
        rclpy.shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=spin, args=(executor, stop), name="executor", daemon=True)
    spinner.start()
    try:
        asyncio.run(_serve(node, executor, listener, stop))
    finally:
        stop.set()
        executor.shutdown(END_TIMEOUT)
        spinner.join(END_TIMEOUT)
    if not spinner.is_alive():
        node.destroy_node()
        rclpy.shutdown()
    return 0


async def _serve(
    node: ConsoleNode, executor: Executor, listener: socket.socket, stop: threading.Event
) -> None:
    """Answer browsers until a signal comes."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if stop.is_set():  # the signal came before
        return
    gate = Gate(node.settings, listener.getsockname()[1])
    node.attach(executor, loop)
    console = Console(node, gate, Dataset(node.settings.dataset_megabytes * 1_000_000))
    node.on_frame, node.on_prompted = console.on_frame, console.on_prompted
    logger = node.get_logger()
    server = Server(console, gate, _bounded(logger.warning))
    await server.start(listener)
    logger.info(f"open {gate.url} to see {node.settings.node}")
    await ended.wait()
    logger.info("stopping")
    await server.close()


def _bounded(log: Callable[[str], Any]) -> Callable[[str], None]:
    """Return a function that logs, but not more often than anybody would read."""
    allowance, left_out = Allowance(LINES_PER_SECOND, LINES_AT_ONCE), 0

    def write(line: str) -> None:
        nonlocal left_out
        if not allowance.take():
            left_out += 1
            return
        log(f"{line} ({left_out} lines like this left out)" if left_out else line)
        left_out = 0

    return write
