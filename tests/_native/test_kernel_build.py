"""The kernels do not depend on what a compiler inlines at its own will."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rmpsam_ros import _native

SOURCES = sorted((Path(__file__).parents[2] / "src").glob("*.cpp"))
COMPILER = shutil.which("c++") or shutil.which("g++")

# In a process of its own: a call that passes vectors between clones of a function ends it.
FUSE = """
import sys
import numpy as np
from kernels import fuse

rng = np.random.default_rng(3)
logits = rng.normal(0.0, 3.0, (40, 24, 40)).astype(np.float32)
selection, scores = np.arange(40, dtype=np.int32), rng.random(40, np.float32) + np.float32(0.1)
sizes = np.array([24, 40, 96, 160, 90, 160, 270, 480], np.int32)
np.savez(sys.argv[1], *fuse(logits, selection, scores, sizes))
"""


def fused(package, folder, name):
    """What the kernels beside a copy of the package make of one scene, as arrays."""
    script, results = folder / "fuse.py", folder / f"{name}.npz"
    script.write_text(FUSE.replace("from kernels", f"from {package.name}"))
    run = subprocess.run(
        [sys.executable, script, results], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, f"{name} ended with {run.returncode}: {run.stderr[-2000:]}"
    return results.read_bytes()


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_hardly_optimised_kernels_give_the_same(tmp_path):
    installed, plain = tmp_path / "installed", tmp_path / "plain"
    shutil.copytree(Path(_native.__file__).parent, installed)
    plain.mkdir()
    shutil.copy(_native.__file__, plain)
    flags = "-std=c++17 -O1 -Wno-psabi -pthread -shared -fPIC".split()
    library = plain / "librmpsam_kernels.so"
    subprocess.run([COMPILER, *flags, *SOURCES, "-o", library], check=True, timeout=300)
    assert fused(plain, tmp_path, "plain") == fused(installed, tmp_path, "installed")
