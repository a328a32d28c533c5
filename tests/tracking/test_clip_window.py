"""Which frames make the live clip."""

from __future__ import annotations

import pytest

from rmpsam_ros.tracking import ClipWindow

SIZE = (480, 640)


def clips(frames: int, *stamps: float) -> list[str]:
    """Return the clip after each frame; frames are called a, b, c, ..."""
    window = ClipWindow[str](frames)
    return ["".join(window.add(stamp, SIZE, chr(ord("a") + k))) for k, stamp in enumerate(stamps)]


@pytest.mark.parametrize(
    ("frames", "stamps", "expected"),
    [
        (1, (0.0, 0.1, 0.2), ["a", "b", "c"]),
        (3, (0.0, 0.1, 0.2, 0.3, 0.4), ["a", "ab", "abc", "bcd", "cde"]),
        (3, (0.0, 0.1, 0.1, 0.2), ["a", "ab", "ac", "acd"]),  # a frame that comes twice
        (3, (0.0, 1.9, 2.0, 2.1), ["a", "ab", "abc", "bcd"]),  # a slow camera
        (3, (0.0, 0.1, 5.0, 5.1), ["a", "ab", "c", "cd"]),  # a pause
        (4, (0.0, 1.0, 2.0, 3.0, 4.0), ["a", "ab", "abc", "bcd", "cde"]),  # two seconds at most
        (3, (1.0, 0.9, 1.1), ["a", "ab", "abc"]),  # jitter
        (3, (100.0, 50.0, 50.1), ["a", "b", "bc"]),  # time set back
    ],
)
def test_the_clip_ends_with_the_newest_frame(frames, stamps, expected):
    assert clips(frames, *stamps) == expected


def test_another_size_begins_a_new_clip():
    window = ClipWindow[str](3)
    window.add(0.0, SIZE, "a")
    assert window.add(0.1, (720, 1280), "b") == ("b",)
    assert window.add(0.2, (720, 1280), "c") == ("b", "c")
    assert window.add(0.3, SIZE, "d") == ("d",)


def test_clearing_forgets_all_frames():
    window = ClipWindow[str](3)
    window.add(0.0, SIZE, "a")
    window.clear()
    assert window.add(0.1, SIZE, "b") == ("b",)


@pytest.mark.parametrize("frames", [0, -1])
def test_a_clip_has_a_frame(frames):
    with pytest.raises(ValueError, match="at least 1"):
        ClipWindow(frames)
