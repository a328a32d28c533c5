"""Time and memory of the live tracker.

On one core:

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tools/figures/bench_tracking.py [--long]

Scenes have 100 queries of width 256 with the common direction that real ones have.
"""

from __future__ import annotations

import argparse
import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.tracking import Detection, QueryTracker

NUM_QUERIES, WIDTH, PERIOD = 100, 256, 1.0 / 30.0
Frame = tuple[float, NDArray[np.float32], list[Detection]]


def frames(scene: str, num_things: int, num_frames: int) -> Iterator[Frame]:
    """Yield frames of moving things.

    "steady" shows all of them in every frame, "flicker" hides each in one frame out of five,
    "busy" also replaces things, so that some are always born and some lost, and "births" shows
    only new things in every frame: the worst that can come in.
    """
    rng = np.random.default_rng(0)
    shape = (NUM_QUERIES, WIDTH)
    bases = rng.normal(1.6, 1.5, shape).astype(np.float32)
    corners = rng.uniform(0.0, 500.0, (num_things, 2))
    for index in range(num_frames):
        if scene == "births":
            bases = rng.normal(1.6, 1.5, shape).astype(np.float32)
        elif scene == "busy" and index % 3 == 0:
            bases[rng.integers(num_things)] = rng.normal(1.6, 1.5, WIDTH)
        order = rng.permutation(NUM_QUERIES)
        queries = bases + 0.4 * rng.standard_normal(shape, dtype=np.float32)
        hidden = (
            np.zeros(num_things, bool)
            if scene in ("steady", "births")
            else (rng.random(num_things) < 0.2)
        )
        corners += rng.normal(0.0, 2.0, corners.shape)
        detections = []
        for thing, query in enumerate(np.argsort(order)[:num_things].tolist()):
            if not hidden[thing]:
                x, y = corners[thing].tolist()
                box = (x, y, x + 60.0, y + 90.0)
                detections.append(Detection(thing + 1, query, thing % 5, 0.9, box))
        yield index * PERIOD, np.maximum(queries[order], 0.0), detections


def bench(scene: str, num_things: int, num_frames: int) -> None:
    """Print the time of one frame: of the processor, and with waiting for a busy machine."""
    tracker = QueryTracker()
    seconds = []
    num_tracks = 0
    for stamp, queries, detections in frames(scene, num_things, num_frames):
        begin = time.process_time(), time.perf_counter()
        tracks = tracker.update(stamp, queries, detections)
        seconds.append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
        num_tracks = max(num_tracks, len(tracks))
    print(f"{scene:8s} {num_things:3d} things, up to {num_tracks:3d} tracks:", end="")
    for name, column in zip(("processor", "wall clock"), np.array(seconds).T * 1e3, strict=True):
        p50, p99, most = np.percentile(column, [50, 99, 100])
        print(f"  {name} p50 {p50:.2f} p99 {p99:.2f} max {most:.2f} ms", end="")
    print()


def soak(num_frames: int) -> None:
    """Print the memory after each tenth of a long run."""
    tracker = QueryTracker()
    page = resource.getpagesize()
    for index, (stamp, queries, detections) in enumerate(frames("busy", 50, num_frames)):
        tracks = tracker.update(stamp, queries, detections)
        if (index + 1) % max(1, num_frames // 10) == 0:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
            print(
                f"{index + 1:7d} frames: process {resident / 2**20:.1f} MiB, "
                f"tracker {len(pickle.dumps(tracker)) / 1024:.0f} KiB, "
                f"newest id {max(track.id for track in tracks)}",
                flush=True,
            )


def main() -> None:
    """Run the benchmark, or the long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=3000, help="frames of each short scene")
    parser.add_argument("--long", action="store_true", help="memory over 100 000 frames")
    arguments = parser.parse_args()
    if arguments.long:
        soak(100_000)
        return
    for scene, num_things in (("steady", 50), ("flicker", 50), ("busy", 50), ("births", 100)):
        bench(scene, num_things, arguments.frames)


if __name__ == "__main__":
    main()
