"""The program of the perception node."""

from __future__ import annotations

import os
import sys
import threading
import time

import cv2
import rclpy
from rclpy.logging import get_logger

from rmpsam_ros.node import shared_memory
from rmpsam_ros.node.parameters.files import check_files
from rmpsam_ros.node.parameters.parameter import ParameterError
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS
from rmpsam_ros.node.process import NodeExecutor, initialize, spin, wait_for
from rmpsam_ros.node.rmpsam_node import RmpsamNode
from rmpsam_ros.node.usage import usage, wants_help

SUMMARY = (
    "Segments the images of one or several cameras, tracks what is in them, and answers clicks "
    "and boxes. Topic image in; ~/panoptic, ~/tracks and others out; services ~/add_prompt and "
    "others."
)
MORE = "docs/parameters.md says when each one changes; docs/troubleshooting.md what to look at."
END_TIMEOUT = 2.0  # seconds in all; ros2 launch sends the next signal after 5 s
# Seconds after which a thread lets another one run. With Python's own 5 ms the thread of the
# network begins late with a frame, because that of the executor prepares to wait for the next.
SWITCH_INTERVAL = 0.0005


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0 after a signal, 1 if arguments or a parameter value given at start are not accepted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if wants_help(given):
        print(usage("rmpsam_node", SUMMARY, NODE_PARAMETERS, MORE))
        return 0
    try:
        check_files(given, "")  # ROS 2 itself ends in a traceback
        stop = initialize(arguments)
    except (ParameterError, RuntimeError) as error:
        print(f"rmpsam_node is not started: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    sys.setswitchinterval(SWITCH_INTERVAL)
    cv2.setNumThreads(1)  # on a full CPU, waiting for the others takes longer than the work
    try:
        node = RmpsamNode()
    except (ParameterError, RuntimeError) as error:
        get_logger("rmpsam").fatal(f"not started: {error}")
        rclpy.shutdown()
        return 1
    for line in [*check_files(given, node.get_fully_qualified_name()), *shared_memory.problems()]:
        node.get_logger().warning(line)
    executor = NodeExecutor(node.executor_threads)
    executor.add_node(node)
    spinner = threading.Thread(target=spin, args=(executor, stop), name="executor", daemon=True)
    spinner.start()
    wait_for(stop)
    node.get_logger().info("stopping")
    end = time.monotonic() + END_TIMEOUT
    for step in (node.stop, executor.shutdown, spinner.join):
        step(max(end - time.monotonic(), 0.1))
    stopped = node.stop(0.1)  # again: a callback may have begun to load meanwhile
    if not spinner.is_alive():
        node.destroy_node()
        rclpy.shutdown()
        if stopped:
            return 0
    # Something that cannot be interrupted still runs, for instance the building of a network.
    # Ending the interpreter around it may crash, and there is nothing left to be saved.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
