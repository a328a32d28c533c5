"""The C++ header against the Python coder: random and malformed masks, under AddressSanitizer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rmpsam_ros.messages import decode
from rmpsam_ros.segmentation.run_length import encode_mask

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "rmpsam_ros" / "run_length_mask.hpp"
MASKS = 10_000
HUGE = (2**31 - 1, 2**31, 2**32 - 1)
LARGEST = 2**32 - 1


def compiled(folder, name, source, *flags):
    """A program made of a source file; skips where there is no compiler."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    program = folder / name
    options = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}")
    command = [compiler, *options, str(source), *flags, "-o", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return program


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    sanitizers = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    folder = tmp_path_factory.mktemp("cpp")
    return compiled(folder, "check_masks", ROOT / "tests" / "cpp" / "check_masks.cpp", *sanitizers)


def message(height, width, box, counts):
    x, y, box_width, box_height = box
    region = SimpleNamespace(x_offset=x, y_offset=y, width=box_width, height=box_height)
    return SimpleNamespace(height=height, width=width, box=region, counts=counts)


def random_mask(rng):
    """The message of a mask of up to 24 x 24 pixels: noise, rectangles, full or empty."""
    height, width = rng.integers(1, 25, 2)
    mask = rng.random((height, width)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])
    top, left = rng.integers(0, height), rng.integers(0, width)
    mask[:top] = False
    mask[:, :left] &= rng.random() < 0.5
    coded = encode_mask(mask)
    x_min, y_min, x_max, y_max = coded.box
    box = (x_min, y_min, x_max - x_min, y_max - y_min)
    return message(int(height), int(width), box, coded.counts.tolist())


def damaged(rng, one):
    """The same with one thing wrong, or with another way to say the same."""
    kind = rng.integers(0, 8)
    box, counts = one.box, one.counts
    if kind == 0 and counts:
        counts[rng.integers(len(counts))] = int(rng.choice([0, 1, 7, 2**31, LARGEST]))
    elif kind == 1:
        counts.append(int(rng.choice([0, 1, LARGEST])))
    elif kind == 2 and counts:
        counts.pop(rng.integers(len(counts)))
    elif kind == 3:
        name = str(rng.choice(["x_offset", "y_offset", "width", "height"]))
        setattr(box, name, int(rng.choice([0, 1, getattr(box, name) + 1, *HUGE])))
    elif kind == 4:
        box.width, box.height = box.height, box.width
    elif kind == 5:
        box.x_offset = one.width - box.width + 1
    elif kind == 6:
        one.height, one.width = (int(side) for side in rng.choice([*HUGE], 2))
    elif counts:  # adds up in 32 bits only
        counts[:] = [*counts, LARGEST, 1]
    return one


def dump(messages):
    parts = []
    for one in messages:
        box = one.box
        numbers = (one.height, one.width, box.x_offset, box.y_offset, box.width, box.height)
        parts.append(np.array([*numbers, len(one.counts), *one.counts], np.uint32).tobytes())
    return b"".join(parts)


def expected(one):
    """What the program writes about a mask."""
    try:
        mask = decode(one)
    except ValueError:
        return b"\x01"
    starts = np.diff(mask.astype(np.int8), axis=1, prepend=0) == 1
    numbers = np.array([mask.sum(), starts.sum()], np.uint64)
    return b"\x00" + numbers.tobytes() + (mask * np.uint8(255)).tobytes()


def run(program, messages):
    result = subprocess.run([program], input=dump(messages), capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def test_random_and_malformed_masks_are_read_as_in_python(program):
    rng = np.random.default_rng(19)
    masks = [random_mask(rng) for _ in range(MASKS)]
    messages = [damaged(rng, one) if rng.random() < 0.5 else one for one in masks]
    answers = [expected(one) for one in messages]
    refused = answers.count(b"\x01")
    assert MASKS // 5 < refused < MASKS // 2
    assert run(program, messages) == b"".join(answers)


EDGES = [
    ((0, 0), (0, 0, 0, 0), [], True),
    ((0, 7), (0, 0, 0, 0), [], True),
    ((4, 6), (0, 0, 0, 0), [], True),
    ((4, 6), (6, 4, 0, 0), [], True),  # an empty box at the far corner
    ((4, 6), (0, 0, 0, 0), [0, 0], True),
    ((1, 1), (0, 0, 1, 1), [0, 1], True),
    ((4, 6), (0, 0, 6, 4), [0, 0, 0, 24], True),  # counts of 0 that no encoder writes
    ((4, 6), (0, 0, 6, 4), [], False),
    ((4, 6), (7, 4, 0, 0), [], False),
    ((4, 6), (1, 0, LARGEST, 4), [0, 24], False),  # 1 + width is 0 in 32 bits
    ((2**16, 2**16), (0, 0, 0, 0), [], False),  # 2^32 pixels are 0 in 32 bits
    ((LARGEST, LARGEST), (0, 0, LARGEST, LARGEST), [0, 1], False),
]


@pytest.mark.parametrize(("size", "box", "counts", "accepted"), EDGES)
def test_edges(program, size, box, counts, accepted):
    one = message(*size, box, counts)
    answer = expected(one)
    assert (answer != b"\x01") == accepted
    assert run(program, [one]) == answer


def test_the_example_of_the_header_compiles(tmp_path):
    lines = re.findall(r"^//   (.*)$", HEADER.read_text(), re.MULTILINE)
    include, *body = lines
    source = tmp_path / "example.cpp"
    fields = (
        "struct Box {unsigned x_offset, y_offset, width, height;};"
        "struct Mask {unsigned height, width; Box box; std::vector<unsigned> counts;};"
        "struct Track {std::string class_name; Mask mask;};"
        "struct Message {std::vector<Track> tracks;};"
    )
    track = 'Message m{{{"cup", {400, 640, {0, 0, 640, 400}, {0, 256000}}}}}; auto * message = &m;'
    source.write_text(
        f"{include}\n#include <iostream>\n{fields}\nint main() {{{track}\n"
        + "\n".join(body)
        + "\n}\n"
    )
    program = compiled(tmp_path, "example", source)
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert output == "cup: 256000 pixels\n"


def test_masks_as_matrices_of_opencv(tmp_path):
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed")
    command = ["pkg-config", "--cflags", "--libs", "opencv4"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("OpenCV for C++ is not installed (pkg-config opencv4)")
    source = ROOT / "tests" / "cpp" / "check_masks.cpp"
    program = compiled(tmp_path, "check_masks", source, *found.stdout.split())
    rng = np.random.default_rng(20)
    messages = [random_mask(rng) for _ in range(100)]
    assert run(program, messages) == b"".join(expected(one) for one in messages)
