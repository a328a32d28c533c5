"""Make the small golden files of the network tests from a folder of complete ones.

    python tools/goldens/trim_goldens.py <golden folder> tests/goldens/model/golden

Keeps every file and every array of the network and all its inputs, but thins out large arrays: the
stride of the longest axis is doubled until an array is small enough. The slices written to
the new ``index.json`` refer to the full array, as in the original.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from golden_network import INPUTS, is_input, is_network_file, parse_slice, read_index

LIMIT_OUTPUT = 4096
LIMIT_INTERMEDIATE = 1536
"""Largest number of values kept of an array of outputs, and of intermediate results."""


def main() -> None:
    """Write the trimmed files and their index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, entry in read_index(arguments.source).items():
        if not is_network_file(name):
            continue
        stored = np.load(arguments.source / f"{name}.npz")
        kept, slices = {}, {}
        for array, value in stored.items():
            own = array.removeprefix("f64.")
            if own in INPUTS:
                kept[array] = value
            elif not is_input(name, own):
                strides = thinning(array, value.shape)
                kept[array] = value[tuple(slice(None, None, stride) for stride in strides)]
                total = combined(entry["arrays"][array].get("slice"), strides)
                slices[array] = {"slice": total} if total else {}
        np.savez_compressed(arguments.target / f"{name}.npz", **kept)
        index[name] = {"inputs": entry["inputs"], "arrays": slices}
    text = json.dumps(index, indent=1, sort_keys=True) + "\n"
    (arguments.target / "index.json").write_text(text)


def thinning(array: str, shape: tuple[int, ...]) -> list[int]:
    """Return the stride per axis that makes an array small enough."""
    strides = [1] * len(shape)
    if array.endswith("_packed"):
        return strides
    limit = LIMIT_OUTPUT if ".final." in f".{array}" else LIMIT_INTERMEDIATE
    kept = list(shape)
    while np.prod(kept) > limit:
        axis = int(np.argmax(kept))
        strides[axis] *= 2
        kept[axis] = -(-shape[axis] // strides[axis])
    return strides


def combined(stored: str | None, strides: list[int]) -> str | None:
    """Return the slice of the full array, given the stored slice and a stride on top of it."""
    steps = [part.step or 1 for part in parse_slice(stored)]
    steps += [1] * (len(strides) - len(steps))
    total = [step * stride for step, stride in zip(steps, strides, strict=True)]
    if all(step == 1 for step in total):
        return None
    return "[" + ", ".join(":" if step == 1 else f"::{step}" for step in total) + "]"


if __name__ == "__main__":
    main()
