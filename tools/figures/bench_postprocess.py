"""Time everything around the network on made-up scenes, beside a plain implementation.

Usage: python tools/figures/bench_postprocess.py [--repeats 50] [--skip-reference]

One line per image size and scene: median and 99th percentile in milliseconds of every step, and
how many times faster the fusion is than the plain full-resolution implementation of the tests,
run once in the same process with as many threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rmpsam_ros import _native
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.overlay import draw_overlay
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic, semantic_map
from rmpsam_ros.segmentation.preprocess import fit, preprocess
from rmpsam_ros.segmentation.run_length import encode_segments

QUERIES = 100
SETUPS = [  # image height and width, long and short limit of the network input
    ((480, 640), (640, 480)),
    ((1080, 1920), (640, 480)),
    ((1080, 1920), (1333, 800)),
]
SCENES = [("cells", 10), ("cells", 40), ("cells", 100), ("noise", 100), ("nothing", 0)]


def load_helper(name: str) -> object:
    path = Path(__file__).parents[2] / "tests" / "segmentation" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def measure(step: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and 99th percentile of the time of one call, milliseconds."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.percentile(times[3:], 50)), float(np.percentile(times[3:], 99))


def run(image_size, limits, kind, kept, options, scenes, reference) -> None:
    rng = np.random.default_rng(kept)
    labels, config = load_label_set("coco_panoptic"), FusionConfig()
    geometry = fit(image_size, limits)
    size = geometry.padded_size[0] // 4, geometry.padded_size[1] // 4
    image = rng.integers(0, 256, (*image_size, 3)).astype(np.uint8)
    classes = scenes.class_logits(rng, QUERIES, kept)
    if kind == "cells":
        masks = scenes.cells(rng, QUERIES, kept, size)
    else:
        masks = scenes.noise(rng, QUERIES, size)
    result = fuse_panoptic(classes, masks, geometry, labels, config)
    repeats = options.repeats if kind != "noise" else max(3, options.repeats // 10)
    steps = {
        "preprocess": lambda: preprocess(image, limits),
        "fusion": lambda: fuse_panoptic(classes, masks, geometry, labels, config),
        "mask runs": lambda: encode_segments(result.runs, result.size, result.segments),
        "semantic": lambda: semantic_map(result, labels),
        "overlay": lambda: draw_overlay(image, result, labels),
    }
    times = {name: measure(step, repeats) for name, step in steps.items()}
    text = "  ".join(f"{name} {p50:.2f}/{p99:.2f}" for name, (p50, p99) in times.items())
    ratio = ""
    if not options.skip_reference:
        start = time.perf_counter()
        reference.panoptic(classes, masks, geometry, labels.num_things, config)
        plain = 1e3 * (time.perf_counter() - start)
        ratio = f"  plain fusion {plain:.0f} ({plain / times['fusion'][0]:.0f}x)"
    where = f"{image_size[1]}x{image_size[0]} masks {size[1]}x{size[0]}"
    print(f"{where} {kind} {kept} ({len(result.segments)} segments): {text}{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--skip-reference", action="store_true")
    options = parser.parse_args()
    scenes, reference = load_helper("scenes"), load_helper("reference")
    print(f"p50/p99 in ms, {_native._threads} threads")
    for image_size, limits in SETUPS:
        for kind, kept in SCENES:
            run(image_size, limits, kind, kept, options, scenes, reference)


if __name__ == "__main__":
    main()
