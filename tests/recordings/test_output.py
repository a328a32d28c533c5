"""A folder that appears whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.output import REPORT, OutputFolder, write_atomically


def fill(folder, text):
    folder.mkdir()
    (folder / "data").write_text(text)
    (folder / REPORT).write_text("{}")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_at_the_place_before_it_is_complete(tmp_path):
    place = tmp_path / "deep" / "out"
    with OutputFolder(place) as folder:
        fill(folder, "new")
        assert folder.name == "out"
        assert not place.exists()
    assert (place / "data").read_text() == "new"
    assert names(place.parent) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_what_fails_leaves_what_was_there(tmp_path, error):
    with OutputFolder(tmp_path / "out") as folder:
        fill(folder, "old")
    for overwrite in (True, False):
        place = tmp_path / ("out" if overwrite else "other")
        with pytest.raises(error), OutputFolder(place, overwrite) as folder:
            fill(folder, "half")
            raise error
    assert (tmp_path / "out" / "data").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_result_is_replaced_only_if_wanted(tmp_path):
    with OutputFolder(tmp_path / "out") as folder:
        fill(folder, "old")
    with pytest.raises(RecordingError, match="exists"), OutputFolder(tmp_path / "out"):
        pass
    with OutputFolder(tmp_path / "out", overwrite=True) as folder:
        fill(folder, "new")
    assert (tmp_path / "out" / "data").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_what_is_no_result_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").write_text("years of work")
    with pytest.raises(RecordingError, match="not replaced"):
        OutputFolder(tmp_path / "home", overwrite=True).__enter__()
    assert names(tmp_path) == ["home"]
    assert (tmp_path / "home" / "thesis").exists()


def test_a_second_writer_is_refused_in_this_and_in_another_process(tmp_path):
    place = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from rmpsam_ros.recordings.output import *\n"
        "try:\n    OutputFolder(Path(sys.argv[1])).__enter__()\n"
        "except RecordingError as error:\n    print(error)"
    )
    with OutputFolder(place) as folder:
        with pytest.raises(RecordingError, match="another process"):
            OutputFolder(place).__enter__()
        said = subprocess.run(
            [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True
        ).stdout
        assert "another process is writing" in said
        fill(folder, "first")
    assert (place / "data").read_text() == "first"


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("moment", ["writing", "replacing"])
def test_what_a_killed_process_left_is_undone(tmp_path, old, moment):
    """As `kill -9` leaves it: while writing, and between the two renames of a replacement."""
    place, partial = tmp_path / "out", tmp_path / ".out.partial"
    if old:
        with OutputFolder(place) as folder:
            fill(folder, "old")
    partial.mkdir()
    fill(partial / "out", "half")
    if moment == "replacing" and old:
        os.rename(place, partial / "replaced")
    if old:
        with pytest.raises(RecordingError, match="exists"):
            OutputFolder(place).__enter__()
        assert (place / "data").read_text() == "old"
        assert names(tmp_path) == ["out"]
    with OutputFolder(place, overwrite=True) as folder:
        assert not folder.exists()
        fill(folder, "new")
    assert (place / "data").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_full_disk_is_one_line(tmp_path):
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        with (
            pytest.raises(RecordingError, match="no space left"),
            OutputFolder(tmp_path / "out") as folder,
        ):
            fill(folder, "half")
            raise OSError(number, os.strerror(number))
        assert names(tmp_path) == []


def test_a_place_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="cannot be written"):
        OutputFolder(tmp_path / "file" / "out").__enter__()


def test_a_file_is_replaced_at_once(tmp_path):
    write_atomically(tmp_path / "manifest.json", "one")
    write_atomically(tmp_path / "manifest.json", "two")
    assert (tmp_path / "manifest.json").read_text() == "two"
    assert names(tmp_path) == ["manifest.json"]
