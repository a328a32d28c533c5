"""Another CMake project finds the installed package, and reads a message in C++ as Python does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS environment is active")
pytest.importorskip("rmpsam_ros.msg", reason="needs the built package (make build)")

from rclpy.serialization import serialize_message

from rmpsam_ros.messages import area
from rmpsam_ros.msg import InstanceTrack, InstanceTrackArray
from rmpsam_ros.node.results.messages import MESSAGES
from rmpsam_ros.segmentation.run_length import encode_mask


def run(*command: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mask_areas(source_root: Path, install_prefix: Path, tmp_path_factory) -> Path:
    """The example, built as a project of its own against the installed package."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("cmake or a C++ compiler is not installed")
    build = tmp_path_factory.mktemp("examples")
    source = source_root / "examples" / "cpp"
    wheels = (  # the libraries in them find others when they are loaded, not when they are linked
        f"-DCMAKE_PROJECT_INCLUDE={source_root / 'tests' / 'cpp' / 'wheels.cmake'}",
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined",
    )
    for command in (
        ("cmake", "-S", source, "-B", build, *wheels),
        ("cmake", "--build", build),
    ):
        result = run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
    return build / "mask_areas"


@pytest.fixture
def tracks() -> InstanceTrackArray:
    """Tracks with masks of noise, and a lost one."""
    rng = np.random.default_rng(5)
    message = InstanceTrackArray()
    for number, density in enumerate((0.01, 0.5, 1.0), start=1):
        mask = encode_mask(rng.random((480, 640)) < density)
        track = InstanceTrack(id=number, class_name="person")
        MESSAGES.fill_run_lengths(track.mask, mask)
        message.tracks.append(track)
    message.tracks.append(InstanceTrack(id=9, class_name="car"))
    return message


def test_areas_are_those_of_python(mask_areas, tracks, tmp_path):
    recorded = tmp_path / "tracks.cdr"
    recorded.write_bytes(serialize_message(tracks))
    result = run(mask_areas, recorded)
    assert (result.returncode, result.stderr) == (0, "")
    expected = [
        f"{one.id} {one.class_name} {area(one)} {box.x_offset} {box.y_offset} {box.width} "
        f"{box.height}"
        for one in tracks.tracks
        for box in [one.mask.box]
    ]
    assert result.stdout.splitlines() == expected
    assert expected[-1] == "9 car 0 0 0 0 0"


def test_a_malformed_mask_is_said(mask_areas, tracks, tmp_path):
    tracks.tracks[1].mask.box.x_offset = 700
    recorded = tmp_path / "tracks.cdr"
    recorded.write_bytes(serialize_message(tracks))
    result = run(mask_areas, recorded)
    assert result.returncode == 1
    assert result.stderr.startswith("track 2: box of ")
    assert "leaves the 640 x 480 image" in result.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"", "is not one"), (b"\0\1\0\0\xff", "is not one")],
)
def test_what_is_no_message_is_refused(mask_areas, tmp_path, content, reason):
    recorded = tmp_path / "tracks.cdr"
    if content is not None:
        recorded.write_bytes(content)
    result = run(mask_areas, recorded)
    assert result.returncode == 1
    assert reason in result.stderr
