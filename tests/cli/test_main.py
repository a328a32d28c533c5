"""The rmpsam command on real files, in this process and once as a process of its own."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from rmpsam_ros import __version__
from rmpsam_ros.cli.main import COMMANDS, build_parser, main

SMALL = ["--weights", "random", "--engine", "torch", "--long-side", "96", "--short-side", "64"]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "video.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (96, 64))
    random = np.random.default_rng(0)
    for _ in range(3):
        writer.write(random.integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path


def test_image_writes_an_overlay_and_says_that_weights_are_random(picture, tmp_path, capsys):
    output = tmp_path / "overlay.png"
    assert main(["image", str(picture), str(output), *SMALL]) == 0
    assert cv2.imread(str(output)).shape == (60, 90, 3)
    assert "random weights" in capsys.readouterr().out


def test_video_writes_as_many_frames_as_came_in(video, tmp_path):
    output = tmp_path / "overlay.mp4"
    assert main(["video", str(video), str(output), *SMALL]) == 0
    capture = cv2.VideoCapture(str(output))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["image", "missing.jpg", "out.png"], "missing.jpg"),
        (["video", "missing.mp4", "out.mp4"], "missing.mp4"),
        (["image", "PICTURE", "out.png", *SMALL, "--model", "rmpsam_r99"], "rmpsam_r18"),
        (["image", "PICTURE", "/nowhere/at/all/out.png", *SMALL], "/nowhere/at/all/out.png"),
        (["image", "PICTURE", "out.unknown", *SMALL], "out.unknown"),
    ],
)
def test_a_failure_is_one_line_that_names_the_reason(
    arguments, reason, picture, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = [str(picture) if word == "PICTURE" else word for word in arguments]
    assert main(given) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and reason in errors[0]


def test_every_sub_command_has_help():
    words = build_parser().format_help().split()
    for command, _, _ in COMMANDS:
        assert command in words


def test_help_and_version_need_no_network_library():
    """People ask for them first, and PyTorch takes seconds to import."""
    code = (
        "import sys; from rmpsam_ros.cli.main import build_parser\n"
        "build_parser('').format_help()\n"
        "sys.exit(len({'torch', 'cv2', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_runs_as_a_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rmpsam_ros.cli", "--version"],
        cwd=tmp_path,  # the source tree would hide the installed package
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and __version__ in done.stdout
