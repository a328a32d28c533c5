"""What a recording costs beside the network, and what a Ray cluster costs beside local workers.

    python tools/figures/bench_recordings.py VIDEO [--frames 100] [--rounds 3] [--size 640x480]
    python tools/figures/bench_recordings.py VIDEO --fleet 20 [--ray auto|ADDRESS]

The first form makes recordings of the video's frames and lets the network alone, the pipeline on
frames in memory, and `process_bag` take turns. The second makes recordings of 2 frames each and
lets local workers and Ray's take turns. The node's own rate: rmpsam benchmark --node.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.cli.bag import make_pipeline
from rmpsam_ros.recordings.bag import BagOptions, process_bag
from rmpsam_ros.recordings.fleet.run import run_fleet
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.settings import read_settings
from rmpsam_ros.recordings.writing import BagWriter

PERIOD = 100_000_000  # ns
START = 1_700_000_000_000_000_000
FORMATS = ("raw", "jpeg")


def frames_of(video: str, number: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return the first frames of a video, RGB (H, W, 3)."""
    capture, frames = cv2.VideoCapture(video), []
    while len(frames) < number:
        read, image = capture.read()
        if not read:
            raise SystemExit(f"{video} has {len(frames)} frames; expected {number}")
        frames.append(cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_BGR2RGB))
    return frames


def write_recording(path: Path, frames: Sequence[NDArray[np.uint8]], form: str) -> None:
    """Write a recording with an image every 0.1 s."""
    types = RecordedTypes()
    with BagWriter(path, "mcap", types) as writer:
        for k, pixels in enumerate(frames):
            stamp = START + k * PERIOD
            writer.write("/camera/image", stamp, message_of(types, pixels, stamp, form))


def message_of(types: RecordedTypes, pixels: NDArray[np.uint8], stamp: int, form: str) -> Any:
    """Return an image message."""
    seconds, nanoseconds = divmod(stamp, 10**9)
    header = types.Header(stamp=types.Time(sec=seconds, nanosec=nanoseconds), frame_id="camera")
    if form == "jpeg":
        _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return types.CompressedImage(header=header, format="jpeg", data=data.ravel())
    height, width = pixels.shape[:2]
    return types.Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=pixels.reshape(-1),
    )


def turns(
    runners: dict[str, Callable[[], None]], number: int, rounds: int
) -> dict[str, list[float]]:
    """Let everybody run in turns; returns milliseconds per item, a figure for each round."""
    found: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        runner()  # warm
    for _ in range(rounds):
        for name, runner in runners.items():
            begin = time.perf_counter()
            runner()
            found[name].append((time.perf_counter() - begin) / number * 1e3)
    return found


def show(found: dict[str, list[float]], item: str) -> None:
    """Print a line for everybody: median, and its ratio to that of the first one."""
    first = float(np.median(next(iter(found.values()))))
    for name, values in found.items():
        middle = float(np.median(values))
        print(
            f"{name:24s} {middle:8.1f} ms a {item} ({min(values):.1f} to {max(values):.1f}), "
            f"{1e3 / middle:6.2f} a second, x {middle / first:.3f}"
        )


def bench_bag(options: argparse.Namespace, folder: Path) -> None:
    """Network, pipeline, and recordings of raw and of JPEG images."""
    frames = frames_of(options.video, options.frames, options.size)
    work = BagOptions(read_settings(None, options.parameters)[0])
    pipeline = make_pipeline(work)
    print(f"{len(frames)} frames of {options.size[0]}x{options.size[1]}, {pipeline.engine_info}")

    limits = (work.values["long_side"], work.values["short_side"])

    def network_alone() -> None:
        for pixels in frames:
            prepared, _ = pipeline.engine.prepare(pixels, limits, "rgb")
            pipeline.engine.run(prepared)

    def pass_through() -> None:
        camera = pipeline.for_another_camera()
        for k, pixels in enumerate(frames):
            camera.process(pixels, k * PERIOD * 1e-9)
        camera.close()

    runners = {"network": network_alone, "pipeline, from memory": pass_through}
    for form in FORMATS:
        source = folder / form
        write_recording(source, frames, form)
        target = folder / f"{form}_results"

        def run(source: Path = source, target: Path = target) -> None:
            process_bag(source, target, pipeline, work, overwrite=True)

        runners[f"recording, {form}"] = run
    show(turns(runners, len(frames), options.rounds), "frame")
    pipeline.close()


def bench_fleet(options: argparse.Namespace, folder: Path) -> None:
    """Many short recordings: local workers, and a Ray cluster's."""
    frames = frames_of(options.video, 2, options.size)
    for k in range(options.fleet):
        write_recording(folder / "fleet" / f"run{k:03d}", frames, "jpeg")
    work = BagOptions(read_settings(None, options.parameters)[0])
    places = {"local": None} | ({"Ray": options.ray} if options.ray else {})
    runners: dict[str, Callable[[], None]] = {}
    for name, address in places.items():

        def run(name: str = name, address: str | None = address) -> None:
            target = Path(tempfile.mkdtemp(dir=folder)) / name
            run_fleet(
                [str(folder / "fleet")],
                str(target),
                work,
                workers=options.workers,
                ray_address=address,
            )

        runners[name] = run
    show(turns(runners, options.fleet, options.rounds), "recording")


def size_of(text: str) -> tuple[int, int]:
    """Return width and height of WxH."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    """Run the benchmark that the options name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=size_of, default=(640, 480))
    parser.add_argument("-p", dest="parameters", action="append", default=[], help="NAME:=VALUE")
    parser.add_argument("--fleet", type=int, default=0, help="recordings; 0: time one recording")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ray", help="auto, or the address of a cluster")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        (bench_fleet if options.fleet else bench_bag)(options, Path(name))


if __name__ == "__main__":
    main()
