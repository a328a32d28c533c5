"""What objects from clips cost: a frame alone, and with the tubes of several clip lengths.

    python tools/figures/bench_clips.py [--weights demo] [--clips 3,5] [--size 640x480]
        [--rounds 10]

Takes turns within one run, so that the ratios hold on a busy machine, too. A frame is the pass of
the network; with clips the decoder runs a second time, on the newest so many frames.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from rmpsam_ros.runtime import EngineConfig, load_engine
from rmpsam_ros.runtime.network import label_set_of


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add, network = parser.add_argument, EngineConfig()
    add("--model", default=network.model)
    add("--weights", default="demo")
    add("--engine", default=network.engine)
    add("--num-threads", type=int, default=0, help="0: one per core")
    add("--clips", default="3,5")
    add("--size", default="640x480")
    add("--rounds", type=int, default=10)
    options = parser.parse_args()
    lengths = [int(clip) for clip in options.clips.split(",")]
    width, height = (int(side) for side in options.size.split("x"))
    config = EngineConfig(
        model=options.model,
        weights=options.weights,
        engine=options.engine,
        num_threads=options.num_threads,
        clip_frames=max(lengths),
    )
    engine = load_engine(config, label_set_of(config, "").num_classes, print)
    print(engine.info)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    prepared, _ = engine.prepare(image, (max(width, height), min(width, height)), "rgb")
    kept = [engine.run(prepared).features for _ in range(max(lengths))]
    work: dict[str, Callable[[], object]] = {"frame": lambda: engine.run(prepared)}
    for length in lengths:
        work[f"tube of {length}"] = lambda clip=kept[:length]: engine.decode_tube(clip)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for step in range(options.rounds + 1):
        for name, function in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            if step:  # the first of each is warm-up
                spent = time.perf_counter() - wall, time.process_time() - cpu
                times[name].append(spent)
    alone = statistics.median(cpu for _, cpu in times["frame"])
    print(f"{'':12} median ms  fastest ms  processor ms  whole frame / frame alone")
    for name, spent in times.items():
        walls, cpus = zip(*spent, strict=True)
        cpu = statistics.median(cpus)
        ratio = 1.0 if name == "frame" else (alone + cpu) / alone
        print(
            f"{name:12} {1e3 * statistics.median(walls):9.1f} {1e3 * min(walls):11.1f} "
            f"{1e3 * cpu:13.1f} {ratio:10.2f}"
        )


if __name__ == "__main__":
    main()
