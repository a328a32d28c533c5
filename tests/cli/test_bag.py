"""``rmpsam bag`` at a terminal."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="needs rosbags (pip install rosbags mcap)")

from rmpsam_ros.cli.main import main
from rmpsam_ros.recordings.message_types import RecordedTypes
from rmpsam_ros.recordings.reading import Recording
from rmpsam_ros.recordings.writing import BagWriter

START = 1_700_000_000_000_000_000
NETWORK = {
    "weights": "random",
    "engine": "torch",
    "device": "cpu",
    "num_threads": "1",
    "long_side": "64",
    "short_side": "64",
}
OPTIONS = [word for name, value in NETWORK.items() for word in ("-p", f"{name}:={value}")]


def make_bag(path, frames=3):
    types = RecordedTypes()
    with BagWriter(path, "mcap", types) as writer:
        for k in range(frames):
            image = types.Image(height=30, width=40, encoding="mono8", step=40)
            image.data = np.arange(1200, dtype=np.uint8)
            image.header.stamp = types.Time(sec=1_700_000_000, nanosec=1000 * k)
            writer.write("/image", START + 1000 * k, image)
    return path


def frames_of(path):
    with Recording(path) as recording:
        return sum(1 for _ in recording.messages({"/rmpsam/panoptic"}))


def test_a_recording_is_processed_and_kept(tmp_path, capsys):
    source, target = make_bag(tmp_path / "in"), tmp_path / "out"
    assert main(["bag", str(source), str(target), *OPTIONS]) == 0
    assert frames_of(target) == 3
    assert "3 frames, 0 not processed" in capsys.readouterr().out
    assert main(["bag", str(source), str(target), *OPTIONS]) == 1
    assert "exists" in capsys.readouterr().err
    before = (target / "rmpsam.json").stat().st_mtime_ns
    assert main(["bag", str(source), str(target), *OPTIONS, "--resume"]) == 0
    assert (target / "rmpsam.json").stat().st_mtime_ns == before
    assert main(["bag", str(source), str(target), *OPTIONS, "--resume", "--copy", "/x"]) == 1
    assert "with these options" in capsys.readouterr().err
    assert main(["bag", str(source), str(target), *OPTIONS, "--overwrite"]) == 0
    assert (target / "rmpsam.json").stat().st_mtime_ns > before


def test_of_several_recordings_those_that_can_be_are_processed(tmp_path, capsys):
    sources = [make_bag(tmp_path / name) for name in ("one", "two")]
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"nothing")
    words = ["bag", str(sources[0]), str(broken), str(sources[1]), str(tmp_path / "out"), *OPTIONS]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "broken.mcap' cannot be read" in error
    assert "1 of 3 recordings were refused" in error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-p", "score_threshold:=2.0"], "expected 0 to 1"),
        (["-p", "nonsense"], "expected name:=value"),
        (["--results", "panoptic,dreams"], "'dreams' does not exist"),
        (["--camera", "/nowhere"], "images are on /image"),
        (["--depth", "/nowhere"], "has no messages"),
        (["--prompts", "/nowhere.yaml"], "cannot be read"),
        (["--params", "/nowhere.yaml"], "cannot be read"),
        (["-p", "classes:=unicorn"], "unicorn"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, capsys, words, reason):
    source = make_bag(tmp_path / "in")
    assert main(["bag", str(source), str(tmp_path / "out"), *OPTIONS, *words]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_unknown_parameter_is_named(tmp_path, capsys):
    source = make_bag(tmp_path / "in")
    words = ["bag", str(source), str(tmp_path / "out"), *OPTIONS, "-p", "score_treshold:=0.3"]
    assert main(words) == 0
    assert "did you mean 'score_threshold'?" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path, number):
    source, target = make_bag(tmp_path / "in", frames=2000), tmp_path / "results" / "out"
    command = [sys.executable, "-m", "rmpsam_ros.cli", "bag", str(source), str(target), *OPTIONS]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # elsewhere: the source tree would hide the installed package
    partial = target.parent / ".out.partial" / "out" / "out.mcap"
    end = time.monotonic() + 60.0
    while not partial.exists() and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 130, output
    assert b"interrupted" in output
    assert list(target.parent.iterdir()) == []
