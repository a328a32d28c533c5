"""The demo's video is H.264 where this machine can make it, else VP8, and always one file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

FRAMES, SIZE, RATE = 6, (64, 48), 10.0
# Says that it has an encoder; writes its arguments into the file that it is to make.
FFMPEG = """#!/bin/sh
case "$*" in *-encoders*) echo ' V....D {encoder}  an encoder'; exit 0;; esac
for target; do :; done
echo "$*" > "$target"
exit {status}
"""


@pytest.fixture
def video(source_root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("demo_video", source_root / "demo" / "video.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, SIZE)
    for number in range(FRAMES):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 40 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have this program, and no other one, be ffmpeg; without arguments: there is none."""

    def make(encoder: str = "", status: int = 0) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        if encoder:
            program = folder / "ffmpeg"
            program.write_text(FFMPEG.format(encoder=encoder, status=status))
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return make


def test_an_installed_ffmpeg_makes_what_every_browser_plays(
    video: Any, source: Path, tmp_path: Path, ffmpeg: Any
) -> None:
    ffmpeg("libopenh264")
    (tmp_path / "overlay.webm").write_text("of an earlier run")
    made = video.encode(source, tmp_path / "overlay", RATE)
    assert made == tmp_path / "overlay.mp4"
    words = made.read_text().split()
    assert words[words.index("-c:v") + 1] == "libopenh264"
    assert words[words.index("-pix_fmt") + 1] == "yuv420p" and "+faststart" in words
    assert not (tmp_path / "overlay.webm").exists()


@pytest.mark.parametrize(
    ("encoder", "status"), [("", 0), ("libvpx", 0), ("libx264", 1)], ids=["none", "other", "fails"]
)
def test_without_an_encoder_it_is_vp8(
    video: Any, source: Path, tmp_path: Path, ffmpeg: Any, encoder: str, status: int
) -> None:
    ffmpeg(encoder, status)
    (tmp_path / "overlay.mp4").write_text("of an earlier run")
    made = video.encode(source, tmp_path / "overlay", RATE)
    assert made == tmp_path / "overlay.webm" and not (tmp_path / "overlay.mp4").exists()
    capture = cv2.VideoCapture(str(made))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1].mean())
    assert frames == pytest.approx([40 * number for number in range(FRAMES)], abs=12)
