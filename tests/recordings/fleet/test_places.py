"""Where recordings come from and results go to."""

import shutil
from pathlib import Path

import fsspec
import pytest

from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.places import Output, find_sources, local_copy


def names(*addresses):
    return [one.name for one in find_sources([str(one) for one in addresses])]


def test_recordings_are_found_below_folders(small_bag, tmp_path):
    small_bag(tmp_path / "fleet" / "a" / "run1")
    small_bag(tmp_path / "fleet" / "b" / "run1")
    loose = tmp_path / "fleet" / "loose"
    loose.mkdir()
    for name in ("x.mcap", "y.mcap"):
        shutil.copy(tmp_path / "fleet" / "a" / "run1" / "run1.mcap", loose / name)
    (loose / "old.bag").write_bytes(b"x")
    (loose / "notes.txt").write_text("x")
    expected = ["a/run1", "b/run1", "loose/old", "loose/x", "loose/y"]
    assert names(tmp_path / "fleet") == expected
    assert names(tmp_path / "fleet" / "a" / "run1") == ["run1"]
    assert names(loose / "x.mcap") == ["x"]
    assert names(tmp_path / "fleet" / "a", loose) == ["old", "run1", "x", "y"]
    with pytest.raises(RecordingError, match="would both have the result 'run1'"):
        names(tmp_path / "fleet" / "a", tmp_path / "fleet" / "b")


@pytest.mark.parametrize("address", ["/nowhere/at/all", "nonsense://bucket/x"])
def test_what_is_not_there_is_named(address):
    with pytest.raises(RecordingError):
        find_sources([address])


def test_results_are_no_sources(small_bag, tmp_path):
    small_bag(tmp_path / "run1")
    small_bag(tmp_path / "result")
    (tmp_path / "result" / "rmpsam.json").write_text("{}")
    assert names(tmp_path) == ["run1"]


def test_the_fingerprint_changes_with_the_files(small_bag, tmp_path):
    bag = small_bag(tmp_path / "run1")
    (before,) = find_sources([str(tmp_path)])
    assert find_sources([str(tmp_path)]) == (before,)
    with (bag / "run1.mcap").open("ab") as file:
        file.write(b"more")
    (after,) = find_sources([str(tmp_path)])
    assert after.fingerprint != before.fingerprint


@pytest.fixture
def memory():
    """A file system that is not of this machine."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_recordings_elsewhere_are_copied_while_they_are_used(small_bag, tmp_path, memory):
    bag = small_bag(tmp_path / "run1")
    memory.put(str(bag), "/drives/run1", recursive=True)
    (source,) = find_sources(["memory://drives"])
    assert source.name == "run1"
    with local_copy(source.address) as path:
        assert {one.name: one.read_bytes() for one in path.iterdir()} == {
            one.name: one.read_bytes() for one in bag.iterdir()
        }
    assert not path.exists()
    with local_copy(str(bag)) as path:
        assert path == bag
    with pytest.raises(RecordingError, match="cannot be copied"), local_copy("memory://nothing"):
        pass


@pytest.mark.parametrize("address", ["memory://results", None])
def test_files_are_read_and_written(tmp_path, memory, address):
    output = Output(address or str(tmp_path / "results"))
    assert (output.local is None) == bool(address)
    assert output.read("manifest.json") is None
    output.write("manifest.json", "one")
    output.write("manifest.json", "two")
    assert output.read("manifest.json") == "two"


def test_a_result_is_copied_with_its_report_last(tmp_path, memory, monkeypatch):
    folder = tmp_path / "run1"
    (folder / "images").mkdir(parents=True)
    for name in ("rmpsam.json", "run1.mcap", "images/1.jpg"):
        (folder / name).write_text(name)
    order = []
    put_file = memory.put_file
    monkeypatch.setattr(
        type(memory),
        "put_file",
        lambda self, source, target, **more: (order.append(Path(source).name),
                                              put_file(source, target, **more)),
    )  # fmt: skip
    output = Output("memory://results")
    output.put(folder, "monday/run1")
    output.put(folder, "monday/run1")  # again: replaces
    assert order[2] == order[5] == "rmpsam.json"
    assert memory.cat("/results/monday/run1/images/1.jpg") == b"images/1.jpg"
