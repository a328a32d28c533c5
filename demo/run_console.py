"""Runs the demo footage in a loop, the perception node and the console, until Ctrl-C.

Started by ``make console``, which prepares the environment. The console prints the address of its
page.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from ament_index_python.packages import get_package_prefix

HERE = Path(__file__).resolve().parent
PATIENCE = 20.0  # seconds for each program to end
SHOW_UP = 0.5  # seconds between two looks at the programs


def main() -> int:
    options = _options()
    # A domain of its own, on this machine only: the demo must not meet a robot on the network.
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(20, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    print("The address of the page is below, where it says 'open'. Ctrl-C ends everything.")
    programs = {
        "rmpsam_console": {"port": options.port},
        "rmpsam_node": {},
        "camera_source": {"source": options.footage, "rate": options.rate, "loop": "true"},
    }
    with contextlib.ExitStack() as stack:
        stopping = [False]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.__setitem__(0, True))
        running = {
            name: stack.enter_context(_process(name, parameters))
            for name, parameters in programs.items()
        }
        while not stopping[0]:
            time.sleep(SHOW_UP)
            for name, process in running.items():
                if process.poll() is not None:
                    print(f"{name} ended with status {process.returncode}; see its lines above")
                    return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--footage", type=Path, default=HERE / "footage" / "pedestrians.mp4")
    parser.add_argument("--rate", type=float, default=10.0, help="images per second")
    parser.add_argument("--port", type=int, default=8170)
    return parser.parse_args()


@contextlib.contextmanager
def _process(executable, parameters):
    """One program of the installed package, out of reach of Ctrl-C; ends with its content."""
    path = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / executable
    command = [sys.executable, str(path), "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    sys.exit(main())
