"""``rmpsam video`` on files: what it writes, and the one line that it says where it cannot."""

import json

import cv2
import numpy as np
import pytest

from rmpsam_ros.cli import video as commands
from rmpsam_ros.cli.main import main
from rmpsam_ros.segmentation.coco_run_length import decode_coco

SMALL = ["--weights", "", "--engine", "torch", "--device", "cpu", "--long-side", "96",
         "--short-side", "64"]  # fmt: skip


@pytest.fixture
def run(pipeline, monkeypatch, tmp_path):
    """Run the command on the network of blocks, and return its exit status."""
    made = []

    def make(options, clip_frames, **settings):
        made.append((clip_frames, settings))
        return pipeline

    monkeypatch.setattr(commands, "make_pipeline", make)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return main(["video", *map(str, arguments)])

    call.made = made
    return call


def count_frames(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count, capture.get(cv2.CAP_PROP_FPS)


def make_video(path, number=5, size=(64, 96)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, size[::-1])
    for k in range(number):
        writer.write(np.full((*size, 3), 40 * k % 256, np.uint8))
    writer.release()
    return path


def one_line_of(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if line.startswith("rmpsam")]) == 1
    return lines[-1]


def test_overlay_results_and_summary(run, frames, tmp_path, capsys):
    assert run(frames, "out.mp4") == 0
    assert count_frames("out.mp4") == (10, 10.0)
    results = json.loads((tmp_path / "out.json").read_text())
    assert len(results) == 2 and {one["video_id"] for one in results} == {1}
    assert {len(one["segmentations"]) for one in results} == {10}
    written = capsys.readouterr().out
    assert "10 frames, 2 tracks" in written and "frames per second" in written
    for stage in ("preprocess", "inference", "postprocess"):
        assert stage in written
    assert sorted(one.name for one in tmp_path.iterdir()) == ["frames", "out.json", "out.mp4"]


def test_the_overlay_shows_the_tracks(run, frames, tmp_path):
    assert run(frames, "out.mp4") == 0
    capture = cv2.VideoCapture("out.mp4")
    drawn = [capture.read()[1] for _ in range(10)][5]
    plain = cv2.imread(str(frames / "005.png"))
    assert np.abs(drawn.astype(int) - plain)[4:28, 20:44].mean() > 20


def test_prompted_objects_come_in_a_file_of_their_own(run, frames, tmp_path, capsys):
    assert run(frames, "out.mp4", "--prompt", "10,16") == 0
    (known,) = json.loads((tmp_path / "out_prompted.json").read_text())
    assert known["prompt"] == "10,16" and all(known["segmentations"])
    assert decode_coco(known["segmentations"][9])[16, 40]
    output = capsys.readouterr()
    assert "object-1 (10,16): found in 10 of 10 frames" in output.out


def test_options_reach_the_pipeline(run, frames):
    assert (
        run(
            frames,
            "out.mp4",
            "--clip-frames",
            "5",
            "--score",
            "0.3",
            "--rate",
            "25",
            "--video-id",
            "12",
            "--prompt",
            "10,16",
            "--prompt-engine",
            "rmpsam",
        )
        == 0
    )
    ((clip_frames, settings),) = run.made
    assert clip_frames == 5 and settings["fusion"].score_threshold == 0.3
    assert settings["prompting"].engine == "rmpsam" and settings["prompting"].prompt_rate == 0.0
    assert count_frames("out.mp4") == (10, 25.0)
    with open("out.json") as file:
        assert {one["video_id"] for one in json.load(file)} == {12}


def test_the_real_pipeline_with_clips_on_a_video_file(tmp_path, capsys):
    video = make_video(tmp_path / "in.mp4")
    output = tmp_path / "out.mp4"
    assert main(["video", str(video), str(output), *SMALL, "--clip-frames", "2"]) == 0
    assert count_frames(output) == (5, 20.0)
    assert isinstance(json.loads((tmp_path / "out.json").read_text()), list)
    assert "random weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.mp4", "out.mp4"], "missing.mp4"),
        (["text.mp4", "out.mp4"], "cannot be opened as a video"),
        (["empty", "out.mp4"], "without images"),
        (["no_frames.mp4", "out.mp4"], "no_frames.mp4"),
        (["mixed", "out.mp4"], "frame 1 is 90 x 60 pixels, the first 96 x 64"),
        (["broken", "out.mp4"], "cannot be read"),
        (["frames", "out.avi"], "out.avi"),
        (["frames", "nowhere/out.mp4"], "nowhere"),
        (["frames", "frames"], "suffix"),
        (["frames", "there.mp4"], "there.mp4' exists already"),
        (["frames", "other.mp4"], "other.json' exists already"),
        (["frames", "out.mp4", "--rate", "0"], "rate is 0"),
        (["frames", "out.mp4", "--rate", "-5"], "rate is -5"),
        (["frames", "out.mp4", "--score", "2"], "score_threshold"),
        (["frames", "out.mp4", "--prompt", "500,3"], "point (500, 3) is outside"),
        (["frames", "out.mp4", "--prompt", "5,5,3,3@5"], "x_max > x_min"),
        (
            ["frames", "out.mp4", "--prompt", "3,3", "--prompt", "3,3@99"],
            "prompt 3,3@99: the video ends before it, its last frame is at 0.90 s",
        ),
        (["frames", "there.mp4", "--overwrite", "--score", "2"], "score_threshold"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    run, frames, make_picture, tmp_path, capsys, arguments, reason
):
    (tmp_path / "text.mp4").write_text("no video")
    make_video(tmp_path / "no_frames.mp4", number=0)
    for name in ("empty", "mixed", "broken"):
        (tmp_path / name).mkdir()
    for name, size in (("a.png", (64, 96)), ("b.png", (60, 90))):
        cv2.imwrite(str(tmp_path / "mixed" / name), make_picture(size=size))
    cv2.imwrite(str(tmp_path / "broken" / "a.png"), make_picture())
    (tmp_path / "broken" / "b.png").write_text("no picture")
    for name in ("there.mp4", "other.json"):
        (tmp_path / name).write_text("precious")
    before = sorted(one.name for one in tmp_path.iterdir())
    assert run(*arguments) == 1
    assert reason in one_line_of(capsys)
    assert sorted(one.name for one in tmp_path.iterdir()) == before
    assert (tmp_path / "there.mp4").read_text() == "precious"


def test_a_network_that_fails_in_the_middle_leaves_nothing(run, network, frames, tmp_path, capsys):
    network.error_at = 4
    assert run(frames, "out.mp4") == 1
    assert "the network failed" in one_line_of(capsys)
    assert [one.name for one in tmp_path.iterdir()] == ["frames"]


def test_a_prompt_that_is_none_is_refused(run, frames, capsys):
    with pytest.raises(SystemExit):
        run(frames, "out.mp4", "--prompt", "here")
    assert "use x,y for a click" in capsys.readouterr().err


def test_the_procedure_of_the_paper(frames, tmp_path, capsys):
    arguments = [str(frames), str(tmp_path / "out.mp4"), *SMALL, "--near-online"]
    assert main(["video", *arguments, "--labels", "youtube_vis_2019", "--score", "0.0"]) == 0
    assert count_frames(tmp_path / "out.mp4") == (10, 10.0)
    results = json.loads((tmp_path / "out.json").read_text())
    assert results and {len(one["segmentations"]) for one in results} == {10}
    assert "10 frames" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--prompt", "3,3"]])
def test_what_the_procedure_of_the_paper_does_not_have(run, frames, capsys, tmp_path, more):
    assert run(frames, "out.mp4", "--near-online", *more) == 1
    assert "--prompt is for the live pipeline" in one_line_of(capsys)
    assert [one.name for one in tmp_path.iterdir()] == ["frames"]


def test_a_video_too_long_for_the_procedure_of_the_paper(run, capsys, tmp_path):
    make_video(tmp_path / "long.mp4", number=10_001, size=(16, 32))
    assert run("long.mp4", "out.mp4", "--near-online") == 1
    assert "has 10001 frames" in one_line_of(capsys)


def test_what_is_there_is_replaced_where_that_is_asked_for(run, frames, tmp_path):
    (tmp_path / "out.mp4").write_text("old")
    (tmp_path / "out.json").write_text("old")
    assert run(frames, "out.mp4", "--overwrite") == 0
    assert count_frames(tmp_path / "out.mp4") == (10, 10.0)
    assert json.loads((tmp_path / "out.json").read_text())


def test_the_progress_has_an_end(run, frames, capsys):
    assert run(frames, "out.mp4") == 0
    assert "10/10" in capsys.readouterr().err
