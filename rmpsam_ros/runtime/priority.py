"""Priority of threads when the CPU is full."""

import contextlib
import os
import threading

NICENESS = 5  # above that of the process: frames come before prompts
# A yielding thread may take so many times as long as another one where the CPU is full: Linux
# gives it 1.25 times less for each step.
SLOWDOWN = 1.25**NICENESS


def yield_to_frames() -> None:
    """Let the calling thread, and all that it starts, come after the others of the process.

    Only Linux knows priorities of threads; elsewhere nothing changes.
    """
    with contextlib.suppress(OSError, AttributeError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
