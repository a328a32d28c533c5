"""Encodes the demo's video so that every browser plays it.

H.264 where this machine has ffmpeg with an encoder for it, else VP8. No wheel brings an encoder
for H.264 without conditions: those of ffmpeg hold x264 (GPL), and OpenCV's none.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2

ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox")  # in software; devices may refuse


def encode(source: Path, target: Path, rate: float) -> Path:
    """Encode a video as ``target`` with the suffix of its format; return its path."""
    for suffix in (".mp4", ".webm"):
        target.with_suffix(suffix).unlink(missing_ok=True)  # of an earlier run
    return h264(source, target.with_suffix(".mp4")) or vp8(
        source, target.with_suffix(".webm"), rate
    )


def h264(source: Path, target: Path) -> Path | None:
    """Encode with ffmpeg; None: it is not there, has no encoder, or failed."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    listed = subprocess.run(
        [ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    ).stdout.split()
    for encoder in ENCODERS:
        if encoder not in listed:
            continue
        # Colours at half resolution and the index in front are what browsers expect.
        command = [ffmpeg, "-v", "error", "-y", "-i", str(source), "-c:v", encoder]
        command += ["-b:v", "2M", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return target
        target.unlink(missing_ok=True)
    return None


def vp8(source: Path, target: Path, rate: float) -> Path:
    """Encode with what OpenCV has."""
    capture = cv2.VideoCapture(str(source))
    size = (int(capture.get(3)), int(capture.get(4)))
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"VP80"), rate, size)
    while (read := capture.read())[0]:
        writer.write(read[1])
    writer.release()
    capture.release()
    return target
