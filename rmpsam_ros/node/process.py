"""The process around a node: middleware set-up, signals, spinning."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"  # until ROS 2 Jazzy
_USER_CHOICES = (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")
ARENAS = 2
_M_ARENA_MAX = -8  # of malloc.h


def initialize(arguments: list[str] | None) -> threading.Event:
    """Initialise ROS 2; return an event that SIGINT and SIGTERM set.

    ROS 2's own handlers would take the middleware away at once: no last log line, no orderly
    release, and errors in whatever is publishing at that moment.
    """
    use_few_arenas()
    use_large_shared_memory()
    stop = threading.Event()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def wait_for(stop: threading.Event, seconds: float = math.inf) -> bool:
    """Wait until `stop` is set or a time is over; return whether it is set.

    For the main thread, instead of ``stop.wait``: the kernel may hand a signal to another thread,
    and Python runs its handler only when the main thread does something.
    """
    end = time.monotonic() + seconds
    while not stop.is_set():
        rest = end - time.monotonic()
        if rest <= 0.0:
            return False
        stop.wait(min(rest, 0.5))
    return True


def use_few_arenas() -> None:
    """Have the C library share out memory from few arenas, unless the user configured it.

    To be called before there are many threads. By default they get up to 8 arenas per core, and
    every arena keeps the room that it has ever needed. Any thread of the executor may take in the
    next image, so that in the end each of them keeps room for several.
    """
    tuned = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if not tuned and _has_glibc():
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Give the system what the C library keeps of memory that is free.

    For the end of what needed much for a moment; what needs it again soon would be slower.
    """
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def use_large_shared_memory() -> None:
    """Have Fast DDS pass whole images through shared memory, unless the user configured it.

    Its default segment of 512 KiB holds a part of one image: under load most large images are
    lost. Other middlewares do not look at the variable.
    """
    localhost_only = os.environ.get("ROS_LOCALHOST_ONLY", "0") != "0"  # brings its own transports
    if localhost_only or any(name in os.environ for name in _USER_CHOICES):
        return
    try:
        share = Path(get_package_share_directory("rmpsam_ros"))
    except PackageNotFoundError:
        return
    profile = share / "config" / "fastdds_large_images.xml"
    if profile.is_file():
        name = OLD_PROFILE_VARIABLE if rclpy_version() < 8 else PROFILE_VARIABLE
        os.environ[name] = str(profile)


def rclpy_version() -> int:
    """Return the major version of rclpy: 3 in Humble, 7 in Jazzy, 9 in Kilted."""
    for name in ("rclpy", "ros-rclpy"):
        try:
            return int(metadata.version(name).split(".", maxsplit=1)[0])
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return 9


def end(status: int) -> NoReturn:
    """End the process with an exit status, when everything that matters has come to its end.

    Python itself would take the libraries of the network apart for seconds, and the next signal
    would kill it meanwhile. What the collector frees are the last handles of the middleware: other
    processes see at once that the node has gone.
    """
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class NodeExecutor(MultiThreadedExecutor):
    """An executor that goes on when a message or request cannot be taken.

    rclpy would never look at that subscription or service again: what it notes before it takes a
    message is taken back only if that succeeds. Taking fails for instance while memory is short.
    """

    def _make_handler(
        self, entity: Any, node: Any, take_from_wait_list: Callable[[Any], Any], *further: Any
    ) -> Any:
        def take(entity: Any) -> Any:
            try:
                return take_from_wait_list(entity)
            except Exception as error:
                _log_failure("message cannot be taken", error)
                return None  # as if it had not been there

        return super()._make_handler(entity, node, take, *further)


def _log_failure(what: str, error: Exception) -> None:
    get_logger("rmpsam_ros").error(
        f"{what}: {type(error).__name__}: {error}", throttle_duration_sec=5.0
    )


def spin(executor: Executor, stop: threading.Event) -> None:
    """Run callbacks until `stop` is set and the executor is shut down.

    Neither what a callback raises nor a message that cannot be read ends it.
    """
    while not stop.is_set():
        try:
            executor.spin()
        except ExternalShutdownException:
            return
        except Exception as error:
            if not stop.is_set():
                _log_failure("callback failed", error)
