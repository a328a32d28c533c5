"""The engine cache: what it keeps, and that nothing on disk can harm whoever uses it."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rmpsam_ros.runtime import cache as cache_module
from rmpsam_ros.runtime.cache import EngineCache, default_folder

KEY = {"weights": "abc", "precision": "fp32", "versions": ["1", "2"]}


class Builder:
    """Counts how often an engine had to be built."""

    def __init__(self, engine: bytes = b"an engine" * 100) -> None:
        self.engine = engine
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.engine


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "by the cache"


@pytest.fixture
def cache(folder: Path, lines: list[str]) -> EngineCache:
    return EngineCache(folder, lines.append)


def only(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


def test_builds_once(cache, folder, lines):
    build = Builder()
    assert cache.fetch("net", KEY, build) == build.engine
    assert cache.fetch("net", dict(reversed(KEY.items())), build) == build.engine
    assert EngineCache(folder, lines.append).fetch("net", KEY, build) == build.engine
    assert build.calls == 1 and lines == []


def test_a_key_of_tuples_is_found_again(cache, folder, lines):
    """As a range of shapes has them: JSON knows lists only."""
    key, build = {"profiles": ({"image": ((1, 3), (4, 3))},)}, Builder()
    cache.fetch("net", key, build)
    assert cache.fetch("net", key, build) == build.engine
    assert build.calls == 1 and lines == []
    cache.discard("net", key)
    cache.fetch("net", key, build)
    assert build.calls == 2


def test_only_this_user_can_read_it(cache, folder):
    cache.fetch("net", KEY, Builder())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_sidecar_holds_the_complete_key(cache, folder):
    cache.fetch("net", KEY, Builder())
    description = json.loads(only(folder, ".json").read_text())
    assert description["key"] == {"format": cache_module.FORMAT, **KEY}


@pytest.mark.parametrize("changed", ["weights", "precision", "versions", "new"])
def test_another_key_is_another_engine(cache, changed):
    cache.fetch("net", KEY, Builder(b"first"))
    assert cache.fetch("net", {**KEY, changed: "other"}, Builder(b"second")) == b"second"
    assert cache.fetch("net", KEY, Builder(b"third")) == b"first"


def damage_truncate(engine: Path, sidecar: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-10])


def damage_flip_a_bit(engine: Path, sidecar: Path) -> None:
    data = bytearray(engine.read_bytes())
    data[50] ^= 1
    engine.write_bytes(data)


def damage_empty(engine: Path, sidecar: Path) -> None:
    engine.write_bytes(b"")


def damage_foreign(engine: Path, sidecar: Path) -> None:
    description = json.loads(sidecar.read_text())
    description["key"]["weights"] = "of somebody else"
    sidecar.write_text(json.dumps(description))


def damage_no_json(engine: Path, sidecar: Path) -> None:
    sidecar.write_text("{")


def damage_binary_sidecar(engine: Path, sidecar: Path) -> None:
    sidecar.write_bytes(b"\xff\xfe\x00")


def damage_json_list(engine: Path, sidecar: Path) -> None:
    sidecar.write_text("[1]")


def damage_deep_json(engine: Path, sidecar: Path) -> None:
    sidecar.write_text("[" * 100_000)


def damage_directory(engine: Path, sidecar: Path) -> None:
    sidecar.unlink()
    sidecar.mkdir()


@pytest.mark.parametrize(
    "damage",
    [value for name, value in sorted(globals().items()) if name.startswith("damage_")],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_entry_costs_one_line_and_a_build(cache, folder, lines, damage):
    cache.fetch("net", KEY, Builder())
    damage(only(folder, ".engine"), only(folder, ".json"))
    build = Builder()
    assert cache.fetch("net", KEY, build) == build.engine
    assert build.calls == 1
    assert "building anew" in lines[0]
    assert len(lines) == (2 if damage is damage_directory else 1)  # it cannot be replaced either


@pytest.mark.parametrize("missing", [".engine", ".json"])
def test_half_an_entry_is_no_entry(cache, folder, missing):
    cache.fetch("net", KEY, Builder())
    only(folder, missing).unlink()
    build = Builder()
    cache.fetch("net", KEY, build)
    assert build.calls == 1
    assert cache.fetch("net", KEY, build) == build.engine and build.calls == 1


def test_a_failing_build_leaves_nothing(cache, folder):
    def fail() -> bytes:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cache.fetch("net", KEY, fail)
    assert not list(folder.glob("*.engine")) and not list(folder.glob(".partial*"))
    assert cache.fetch("net", KEY, Builder(b"later")) == b"later"  # the lock is free again


def test_a_read_only_cache_still_serves_and_says_so_once_per_build(
    cache, folder, lines, monkeypatch
):
    kept = Builder()
    cache.fetch("net", KEY, kept)

    def refuse(*arguments: object, **keywords: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache_module.os, "open", refuse)
    monkeypatch.setattr(cache_module.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(cache_module.os, "utime", refuse)
    assert cache.fetch("net", KEY, kept) == kept.engine and kept.calls == 1
    new = Builder(b"new")
    assert cache.fetch("other", KEY, new) == b"new"
    assert len(lines) == 1 and "Read-only" in lines[0]


def test_a_full_disk_is_no_error(cache, folder, lines, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_module.os, "fsync", full)
    assert cache.fetch("net", KEY, Builder(b"engine")) == b"engine"
    assert "No space left" in lines[0]
    assert not list(folder.glob(".partial*")) and not list(folder.glob("*.engine"))


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, lines):
    tmp_path.chmod(0o777)
    build = Builder()
    cache = EngineCache(tmp_path, lines.append)
    for _ in range(2):
        assert cache.fetch("net", KEY, build) == build.engine
    assert build.calls == 2 and not list(tmp_path.iterdir())
    assert len(lines) == 1 and "writable by nobody else" in lines[0]


def test_a_folder_of_somebody_else_is_not_used(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(cache_module.os, "getuid", lambda: os.geteuid() + 1)
    assert EngineCache(tmp_path, lines.append).fetch("net", KEY, Builder(b"x")) == b"x"
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_no_error(tmp_path, lines):
    file = tmp_path / "file"
    file.write_text("")
    assert EngineCache(file, lines.append).fetch("net", KEY, Builder(b"x")) == b"x"
    assert EngineCache(file / "below", lines.append).fetch("net", KEY, Builder(b"x")) == b"x"
    assert len(lines) == 2


def test_discarded_entries_are_built_again(cache):
    cache.fetch("net", KEY, Builder(b"refused by its library"))
    cache.discard("net", KEY)
    assert cache.fetch("net", KEY, Builder(b"new")) == b"new"


def test_the_oldest_entries_go_first(cache, folder, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_ENTRIES", 3)
    for number in range(3):
        cache.fetch("net", {"number": number}, Builder(bytes([number])))
        path = max(folder.glob("*.engine"), key=lambda p: p.stat().st_mtime_ns)
        os.utime(path, (number, number))
    cache.fetch("net", {"number": 0}, Builder(b"?"))  # used: no longer the oldest
    cache.fetch("net", {"number": 3}, Builder(b"3"))
    assert len(list(folder.glob("*.engine"))) == len(list(folder.glob("*.json"))) == 3
    assert cache.fetch("net", {"number": 0}, Builder(b"?")) == b"\0"
    assert cache.fetch("net", {"number": 1}, Builder(b"again")) == b"again"


def test_files_of_processes_that_were_killed_go_when_they_are_old(cache, folder):
    cache.fetch("net", KEY, Builder())
    old, new = folder / ".partial-old", folder / ".partial-new"
    for path in (old, new):
        path.write_bytes(b"half of an engine")
    os.utime(old, (0, 0))
    cache.fetch("net", dict(KEY, new=1), Builder())
    assert not old.exists() and new.exists()


def test_without_a_home_nothing_is_kept_and_one_line_says_so(lines, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    cache, build = EngineCache(None, lines.append), Builder()
    for _ in range(2):
        assert cache.fetch("net", KEY, build) == build.engine
    assert build.calls == 2
    assert cache.peek("net", KEY) is None
    cache.discard("net", KEY)
    (line,) = lines
    assert "set HOME or XDG_CACHE_HOME" in line


@pytest.mark.parametrize(("given", "used"), [("relative", False), ("/abs", True), ("", False)])
def test_the_cache_is_where_the_user_keeps_caches(given, used, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    expected = Path("/abs") if used else Path.home() / ".cache"
    assert default_folder() == expected / "rmpsam_ros"


def _start(what: str, folder: Path, processes: int = 1) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("cache_process.py")
    command = [sys.executable, str(script), what, str(folder), str(processes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_builders_at_once_build_once(folder):
    processes = [_start("build", folder, 2) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=240)[0]) for process in processes]
    assert answers[0]["engine"] == answers[1]["engine"]
    lines = [line for answer in answers for line in answer["lines"]]
    assert sum("waiting for another process" in line for line in lines) == 1


def test_a_builder_that_dies_holds_up_nobody(folder):
    process = _start("die", folder)
    process.communicate(timeout=240)
    assert process.returncode == 17  # it died where it was told to, not on the way there
    key = {"weights": "abc"}
    assert EngineCache(folder, print).fetch("net", key, Builder(b"alive")) == b"alive"
