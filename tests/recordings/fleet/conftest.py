"""A small fleet, and results to compare with."""

from __future__ import annotations

import json

import numpy as np
import pytest

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NETWORK = (
    "weights:=random",
    "engine:=torch",
    "device:=cpu",
    "num_threads:=1",
    "long_side:=64",
    "short_side:=64",
    "score_threshold:=0.05",
    "overlap_threshold:=0.0",
)


@pytest.fixture(scope="session")
def small_bag(write_bag):
    """Write a bag with a few small images."""

    def make(path, seed=0, frames=2):
        def fill(bag):
            pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
            for k in range(frames):
                bag.image("/image", START + k * SECOND // 10, np.roll(pixels, k, axis=1))

        return write_bag(path, fill)

    return make


@pytest.fixture(scope="session")
def options():
    from rmpsam_ros.recordings.bag import BagOptions
    from rmpsam_ros.recordings.settings import read_settings

    return BagOptions(read_settings(None, NETWORK)[0])


@pytest.fixture(scope="session")
def fleet(small_bag, tmp_path_factory):
    """20 recordings in two folders, one of them damaged beyond use."""
    folder = tmp_path_factory.mktemp("fleet")
    for k in range(20):
        small_bag(folder / ("monday" if k < 10 else "tuesday") / f"run{k:02d}", seed=k)
    (folder / "tuesday" / "run13" / "run13.mcap").write_bytes(b"not a recording")
    return folder


@pytest.fixture(scope="session")
def local_run(fleet, options, tmp_path_factory):
    """The fleet, processed by two processes of this machine."""
    from rmpsam_ros.recordings.fleet.run import run_fleet

    output = tmp_path_factory.mktemp("local") / "results"
    manifest = run_fleet([str(fleet)], str(output), options, workers=2)
    return output, manifest


@pytest.fixture(scope="session")
def content():
    """All files of the results below a folder, but for the manifest."""

    def read(folder):
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "manifest.json"
        }

    return read


@pytest.fixture(scope="session")
def entries():
    """What a manifest says, without what differs from run to run."""

    def read(folder):
        recordings = json.loads((folder / "manifest.json").read_text())["recordings"]
        for entry in recordings.values():
            entry.pop("seconds", None)
            entry.pop("attempts")
        return recordings

    return read
