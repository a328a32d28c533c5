"""Runs the node and writes down what becomes of its memory.

    python tools/soak/memory_probe.py FILE --ros-args ...

FILE gets one JSON object a second, in which amounts are 10^6 bytes:

- ``resident``: what the process has, of this ``shared`` with others by the middleware;
- ``in use``: what somebody has asked the C library for and not given back. If this grows, somebody
  keeps something; if only ``resident`` does, memory is given back in pieces too small to be used;
- ``mapped``: the same in blocks of 32 MiB and more. ONNX Runtime takes its own store in such
  blocks, each twice as large as the last, and need not touch much of them: ``resident`` tells;
- ``free``: what was given back, and the C library keeps;
- ``python blocks``: number of memory blocks of Python's own allocator;
- ``threads``, ``files``.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import runpy
import sys
import threading
import time
from pathlib import Path

from ament_index_python.packages import get_package_prefix

PERIOD = 1.0  # seconds


class Mallinfo(ctypes.Structure):
    """Struct mallinfo2 of glibc 2.33 or later; sums of all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        ).split()
    ]


def figures() -> dict[str, float]:
    """Return the figures of this process."""
    c_library = ctypes.CDLL(None)
    c_library.mallinfo2.restype = Mallinfo
    heap = c_library.mallinfo2()
    status = Path("/proc/self/status").read_text()
    resident, shared = (
        int(re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024 / 1e6
        for name in ("VmRSS", "RssShmem")
    )
    return {
        "time": time.monotonic(),
        "resident": resident,
        "shared": shared,
        "in use": heap.uordblks / 1e6,
        "mapped": heap.hblkhd / 1e6,
        "free": heap.fordblks / 1e6,
        "python blocks": sys.getallocatedblocks(),
        "threads": len(os.listdir("/proc/self/task")),
        "files": len(os.listdir("/proc/self/fd")),
    }


def write(path: Path) -> None:
    """Write figures until the process ends."""
    with path.open("a", buffering=1) as file:
        while True:
            file.write(json.dumps(figures()) + "\n")
            time.sleep(PERIOD)


if __name__ == "__main__":
    threading.Thread(target=write, args=(Path(sys.argv[1]),), name="probe", daemon=True).start()
    program = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / "rmpsam_node"
    sys.argv[:2] = [str(program)]
    runpy.run_path(str(program), run_name="__main__")
