"""Runs the camera source and the perception node as separate processes and shows what came out.

Leaves the overlay video, a still and the table of figures in ``demo/out``. Started by
``make demo``, which prepares the environment.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import rclpy
from ament_index_python.packages import get_package_prefix
from recorder import Figures, OverlayWriter, Recorder
from table import format_table

from rmpsam_ros.node.process import use_large_shared_memory

HERE = Path(__file__).resolve().parent
START_UP_SECONDS = 180.0
SOURCE_RATE = 10.0

WEIGHTS = (
    "The network runs with this package's small demo model, trained for two and a half hours on\n"
    "one core: it finds and names people, cars and roads, roughly, and often gives several\n"
    "people one mask."
)


NOW_TRY = """\
Now try:
  make console             the same footage live, in a page that answers clicks
  . tools/ros_env.sh       and then, in this shell:
  rmpsam video YOURS.mp4 out.mp4 --prompt 320,200    follows what is there in a video of yours
  rmpsam image YOURS.jpg out.png --prompt 320,200    the mask of what is there"""
CLICKS = 2


def main() -> int:
    options = _options()
    # A domain of its own, on this machine only: the demo must not meet a robot on the network.
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.randrange(20, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    options.out.mkdir(parents=True, exist_ok=True)
    print(WEIGHTS, flush=True)
    rows = {}
    video = options.out / "overlay"
    for name, size in (("demo", None), ("640x480", (640, 480)), ("1920x1080", (1920, 1080))):
        seconds = options.seconds if size is None else options.timing_seconds
        print(f"\n=== {name}: {seconds:.0f} s of {options.footage.name}", flush=True)
        overlay = None
        if size is None:
            overlay = OverlayWriter(video, options.out / "still.png", SOURCE_RATE)
        rows[name] = _run(options, overlay, size, seconds)
        video = overlay.path if overlay is not None else video
    table = format_table(rows)
    print(f"\n{table}\n")
    (options.out / "table.txt").write_text(table + "\n")
    figures = {name: vars(row) | {"track_ids": len(row.track_ids)} for name, row in rows.items()}
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(f"The video, to be opened in a browser:  {video.resolve()}")
    print(f"Beside it: still.png, table.txt, figures.json\n\n{NOW_TRY}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--footage", type=Path, default=HERE / "footage" / "pedestrians.mp4")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the demo run")
    parser.add_argument("--timing-seconds", type=float, default=10.0, help="of each timing run")
    return parser.parse_args()


def _run(
    options: argparse.Namespace,
    overlay: OverlayWriter | None,
    size: tuple[int, int] | None,
    seconds: float,
) -> Figures:
    width, height = size or (0, 0)
    source = {
        "source": options.footage, "rate": SOURCE_RATE, "loop": "true",
        "width": width, "height": height,
    }  # fmt: skip
    node = {"overlay_rate": SOURCE_RATE}
    level = "info" if overlay is not None else "warn"  # the same lines again
    use_large_shared_memory()
    rclpy.init()
    recorder = Recorder(overlay, CLICKS if overlay is not None else 0)
    try:
        with _process("rmpsam_node", node, level), _process("camera_source", source, level):
            _spin(recorder, seconds)
    finally:
        recorder.destroy_node()
        rclpy.shutdown()
        if overlay is not None:
            overlay.close()
    return recorder.figures


def _spin(recorder: Recorder, seconds: float) -> None:
    """Spin until results have come for ``seconds``, printing the progress once a second."""
    deadline = time.monotonic() + START_UP_SECONDS
    figures, shown = recorder.figures, 0.0
    while figures.last_stamp - figures.first_stamp < seconds:
        rclpy.spin_once(recorder, timeout_sec=0.2)
        now = time.monotonic()
        if not figures.latencies and now > deadline:
            raise SystemExit(f"no result within {START_UP_SECONDS:.0f} s; see the lines above")
        if figures.latencies and now - shown > 1.0:
            shown = now
            done = figures.last_stamp - figures.first_stamp
            print(
                f"  {done:5.1f} of {seconds:.0f} s: {figures.processed} frames processed, "
                f"{figures.dropped} dropped, {len(figures.track_ids)} confirmed tracks",
                flush=True,
            )


@contextlib.contextmanager
def _process(executable: str, parameters: dict[str, object], level: str) -> Iterator[None]:
    """Run one executable of the installed package; end it as Ctrl-C would."""
    path = Path(get_package_prefix("rmpsam_ros")) / "lib" / "rmpsam_ros" / executable
    command = [sys.executable, str(path), "--ros-args", "--log-level", level]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SystemExit(f"{executable} did not stop within 20 s of SIGINT") from None
        if code != 0:
            raise SystemExit(f"{executable} ended with status {code}; see its lines above")


if __name__ == "__main__":
    sys.exit(main())
