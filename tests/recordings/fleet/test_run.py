"""A whole fleet on the processes of this machine."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rmpsam_ros.cli.main import main
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.manifest import Manifest
from rmpsam_ros.recordings.fleet.places import Output, find_sources
from rmpsam_ros.recordings.fleet.run import run_fleet

from .conftest import NETWORK

OPTIONS = [word for one in NETWORK for word in ("-p", one)]


def test_every_recording_is_accounted_for(fleet, local_run, entries):
    output, manifest = local_run
    assert dict(manifest.counts()) == {"done": 19, "refused": 1}
    found = entries(output)
    assert set(found) == {one.name for one in find_sources([str(fleet)])}
    broken = found.pop("tuesday/run13")
    assert "cannot be read" in broken["reason"]
    assert all(one["frames"] == 2 and one["failed_images"] == 0 for one in found.values())
    assert all("rmpsam_r18" in one["engine"] for one in found.values())


def test_each_result_is_that_of_the_recording_alone(fleet, local_run, content, tmp_path):
    sources = [str(fleet / name) for name in ("monday/run04", "tuesday/run17")]
    command = [sys.executable, "-m", "rmpsam_ros.cli", "bag", *sources, str(tmp_path), *OPTIONS]
    subprocess.run(command, check=True)
    for source in sources:
        name = Path(source).relative_to(fleet)
        assert content(tmp_path / name.name) == content(local_run[0] / name)


def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    fleet, local_run, options, content, entries, tmp_path
):
    output, killed = tmp_path / "out", []

    def kill_one(source, entry):
        """After some recordings, kill -9 one of the workers."""
        if not killed and len(list(output.glob("*/run*"))) >= 4:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    manifest = run_fleet([str(fleet)], str(output), options, workers=2, progress=kill_one)
    assert killed
    assert dict(manifest.counts()) == {"done": 19, "refused": 1}
    assert entries(output) == entries(local_run[0])
    assert content(output) == content(local_run[0])


def test_a_worker_that_hangs_is_replaced_and_nothing_is_lost(
    fleet, local_run, options, content, entries, tmp_path
):
    output, stopped = tmp_path / "out", []

    def stop_one(source, entry):
        """After some recordings, let one of the workers stand still."""
        if not stopped and len(list(output.glob("run*"))) >= 4:
            stopped.append(multiprocessing.active_children()[0].pid)
            os.kill(stopped[0], signal.SIGSTOP)

    sources = [str(fleet / "monday")]
    manifest = run_fleet(
        sources, str(output), options, workers=2, patience=20.0, progress=stop_one
    )
    assert stopped
    assert dict(manifest.counts()) == {"done": 10}
    assert any(entry["attempts"] == 2 for entry in manifest.recordings.values())
    expected = content(local_run[0])
    for name, data in content(output).items():
        assert data == expected[f"monday/{name}"]


def test_nothing_is_done_twice(fleet, local_run, options, monkeypatch):
    output, _ = local_run
    monkeypatch.setattr("rmpsam_ros.recordings.fleet.run._seats", None)  # nobody is needed
    numbers = []
    manifest = run_fleet([str(fleet)], str(output), options, resume=True, begin=numbers.append)
    assert numbers == [0]
    assert len(manifest.recordings) == 20


def test_a_manifest_is_gone_on_with_only_if_wanted_and_the_same(fleet, local_run, options):
    output, _ = local_run
    with pytest.raises(RecordingError, match="--resume goes on with it"):
        run_fleet([str(fleet)], str(output), options)
    with pytest.raises(RecordingError, match="of other options"):
        run_fleet([str(fleet)], str(output), replace(options, storage="sqlite3"), resume=True)


def test_what_changed_or_whose_worker_died_is_waiting(tmp_path, small_bag):
    for name in ("a", "b", "c"):
        small_bag(tmp_path / "fleet" / name)
    sources = find_sources([str(tmp_path / "fleet")])
    manifest = Manifest(Output(str(tmp_path / "out")), {}, resume=False)
    manifest.record(sources[0], {"state": "done"})
    manifest.record(sources[1], {"state": "failed"})
    manifest.record(replace(sources[2], fingerprint="old"), {"state": "refused"})
    again = Manifest(Output(str(tmp_path / "out")), {}, resume=True)
    assert [one.name for one in again.waiting(sources)] == ["b", "c"]


@pytest.mark.parametrize("text", ["{", "[]", '{"options": {}}'])
def test_a_damaged_manifest_is_not_replaced(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RecordingError, match="damaged"):
        Manifest(Output(str(tmp_path)), {}, resume=True)


def test_the_command_says_what_was_refused(small_bag, tmp_path, capsys):
    small_bag(tmp_path / "fleet" / "good")
    bad = small_bag(tmp_path / "fleet" / "bad")
    (bad / "bad.mcap").write_bytes(b"nothing")
    words = ["fleet", str(tmp_path / "fleet"), str(tmp_path / "out"), *OPTIONS]
    assert main(words) == 1
    output = capsys.readouterr()
    assert "1 recordings done with 2 frames, 1 refused, 0 failed" in output.out
    assert "bad: refused: " in output.err
    assert main(["fleet", str(tmp_path / "out")]) == 1
    assert main([*words, "--workers", "-1"]) == 1
    assert main(["fleet", "/nowhere", str(tmp_path / "other"), *OPTIONS]) == 1


def test_weights_that_do_not_exist_end_the_run_with_one_line(small_bag, tmp_path, capsys):
    small_bag(tmp_path / "fleet" / "good")
    words = ["fleet", str(tmp_path / "fleet"), str(tmp_path / "out"), "-p", "weights:=/no.pth"]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "/no.pth" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("patience", ["0", "-1", "0.5", "nan"])
def test_a_patience_that_would_end_every_worker_is_refused(patience, tmp_path, capsys):
    words = ["fleet", str(tmp_path), str(tmp_path / "out"), "--patience", patience]
    assert main(words) != 0
    assert "expected 5 seconds or more" in capsys.readouterr().err


def test_two_runs_on_one_output_are_refused(small_bag, tmp_path, options):
    from rmpsam_ros.recordings.fleet.run import _locked

    small_bag(tmp_path / "fleet" / "good")
    with (
        _locked(Output(str(tmp_path / "out"))),
        pytest.raises(RecordingError, match="another process is writing"),
    ):
        run_fleet([str(tmp_path / "fleet")], str(tmp_path / "out"), options)
