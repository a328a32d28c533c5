"""Downloads from a real server: only a complete, right file is kept, and what is there stays."""

from __future__ import annotations

import hashlib
import os
import socket
import stat

import pytest

from rmpsam_ros.weights_store import WeightsEntry, WeightsError
from rmpsam_ros.weights_store.fetch import fetch, recorded_sha256, sha256_of

BODY = bytes(range(256)) * 5000  # 1.28 MB: more than one portion
SHA = hashlib.sha256(BODY).hexdigest()


def entry(url: str, sha256: str = SHA, **more: object) -> WeightsEntry:
    return WeightsEntry("some", "mobile_sam", "some.pt", "MIT", "somewhere", url, sha256, **more)


def left_in(store) -> list[str]:
    return sorted(path.name for path in store.iterdir()) if store.is_dir() else []


def test_a_file_comes_whole_and_is_not_fetched_twice(site, store):
    lines: list[str] = []
    one = entry(site.add("/some.pt", BODY))
    assert fetch(one, lines.append) == store / "some.pt"
    assert (store / "some.pt").read_bytes() == BODY
    assert stat.S_IMODE((store / "some.pt").stat().st_mode) == 0o644
    assert left_in(store) == ["some.pt", "some.pt.sha256"]
    assert "MIT" in lines[-1]
    fetch(one, lines.append)
    assert site.asked == ["/some.pt"] and "there already" in lines[-1]


def test_an_unknown_sum_is_told_and_recorded(site, store):
    lines: list[str] = []
    path = fetch(entry(site.add("/some.pt", BODY), sha256=""), lines.append)
    assert any(SHA in line and "compare it" in line for line in lines)
    assert recorded_sha256(path) == SHA == sha256_of(path)
    fetch(entry(site.address + "/some.pt", sha256=""), lines.append)
    assert len(site.asked) == 1
    path.write_bytes(b"changed")  # is noticed, and replaced
    fetch(entry(site.address + "/some.pt", sha256=""), lines.append)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("page", "sha256", "limit", "reason"),
    [
        ((BODY[:-1] + b"x",), SHA, 10, "another file than expected"),
        (
            (BODY, 200, {"Content_Length": str(len(BODY) + 1)}),
            SHA,
            10,
            "broke off|gave 1280000 of",
        ),
        ((BODY, 200, {"Content_Length": str(2_000_000_000)}), SHA, 10, "more than 10 MB"),
        ((BODY, 200, {"Content_Length": ""}), SHA, 1, "more than 1 MB"),  # not announced
        ((b"",), "", 10, "empty file"),
        ((b"no", 404), SHA, 10, "answered 404"),
        ((b"no", 503), SHA, 10, "answered 503"),
        ((b"", 302, {"Location": "ftp://127.0.0.1/x"}), SHA, 10, "only https is|not allowed"),
        ((b"", 302, {"Location": "http://example.org/x"}), SHA, 10, "only https is"),
    ],
)
def test_what_is_not_the_file_is_not_kept(site, store, page, sha256, limit, reason):
    body, status, headers = page + (200, {})[len(page) - 1 :]
    url = site.add("/some.pt", body, status, **headers)
    one = entry(url, sha256, max_megabytes=limit)
    with pytest.raises(WeightsError, match=reason) as error:
        fetch(one)
    assert "\n" not in str(error.value)
    assert left_in(store) == []


def test_a_failed_download_leaves_the_old_file(site, store):
    store.mkdir(parents=True)
    (store / "some.pt").write_bytes(b"old")
    with pytest.raises(WeightsError, match="another file"):
        fetch(entry(site.add("/some.pt", b"new")))
    assert (store / "some.pt").read_bytes() == b"old" and left_in(store) == ["some.pt"]


def test_a_redirect_is_followed(site, store):
    site.add("/some.pt", BODY)
    fetch(entry(site.add("/moved", b"", 302, Location="/some.pt")))
    assert site.asked == ["/moved", "/some.pt"]


@pytest.mark.parametrize(
    "url", ["http://example.org/x.pt", "file:///etc/passwd", "ftp://a/b", "x"]
)
def test_only_safe_addresses_are_used(url, store):
    with pytest.raises(WeightsError, match="only https is"):
        fetch(entry(url))
    assert left_in(store) == []


def test_nobody_at_the_address_is_one_line(store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WeightsError, match=r"not reachable.*refused"):
        fetch(entry(f"http://127.0.0.1:{port}/some.pt"))
    assert left_in(store) == []


def test_without_an_address_it_says_what_to_do(store):
    with pytest.raises(WeightsError, match=r"somewhere. Save it as .*some.pt"):
        fetch(entry(""))


def test_packaged_weights_are_not_fetched():
    with pytest.raises(WeightsError, match="comes with the package"):
        fetch(entry("https://example.org/x", packaged=True))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(site, store):
    store.mkdir(parents=True, mode=0o500)
    with pytest.raises(WeightsError, match="cannot be written: Permission denied"):
        fetch(entry(site.add("/some.pt", BODY)))


def test_a_file_in_the_place_of_the_folder_is_one_line(site, store):
    store.parent.mkdir(parents=True)
    store.write_text("")
    with pytest.raises(WeightsError, match="cannot be written"):
        fetch(entry(site.add("/some.pt", BODY)))


def test_a_full_disk_is_one_line(site, store, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match="No space left"):
        fetch(entry(site.add("/some.pt", BODY)))
    assert left_in(store) == []
