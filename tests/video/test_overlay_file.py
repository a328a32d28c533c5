"""Video files that are there completely or not at all."""

import cv2
import numpy as np
import pytest

from rmpsam_ros.video.overlay_file import OutputError, video_file


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, frame = capture.read()
        if not good:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame)


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 96), (64, 96)), ((61, 91), (62, 92)), ((2, 2), (2, 2))]
)
def test_all_frames_come_back_and_none_is_cut(tmp_path, size, expected):
    path = tmp_path / "out.mp4"
    with video_file(path, 12.5) as file:
        for k in range(5):
            file.write(np.full((*size, 3), 50 * k, np.uint8))
        assert not path.exists()
        file.finish()
    frames, rate = read(path)
    assert rate == pytest.approx(12.5) and len(frames) == 5
    assert {frame.shape for frame in frames} == {(*expected, 3)}
    assert [abs(int(frame.mean()) - 50 * k) < 8 for k, frame in enumerate(frames)] == [True] * 5
    assert [one.name for one in tmp_path.iterdir()] == ["out.mp4"]


def test_nothing_remains_of_what_is_not_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), video_file(tmp_path / "out.mp4", 10.0) as file:
        file.write(np.zeros((64, 96, 3), np.uint8))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_without_a_frame_there_is_no_file(tmp_path):
    with pytest.raises(OutputError, match="was not written"):
        with video_file(tmp_path / "out.mp4", 10.0) as file:
            file.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_left_alone(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("precious")
    with pytest.raises(OutputError, match="exists already"), video_file(path, 10.0):
        pass
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("out.txt", "suffix"), ("out", "suffix"), ("no/such/folder/out.mp4", "does not exist")],
)
def test_impossible_places_are_refused(tmp_path, name, reason):
    with pytest.raises(OutputError, match=reason), video_file(tmp_path / name, 10.0):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    class Closed:
        def isOpened(self):
            return False

        def release(self):
            pass

    monkeypatch.setattr(
        cv2,
        "VideoWriter",
        type(
            "Writer",
            (),
            {"__new__": lambda cls, *_: Closed(), "fourcc": staticmethod(lambda *_: 0)},
        ),
    )
    with pytest.raises(OutputError, match="is its folder writable"):
        with video_file(tmp_path / "out.mp4", 10.0) as file:
            file.write(np.zeros((64, 96, 3), np.uint8))
