"""rmpsam image: segments or prompted masks of one picture, checked before any work is done."""

import cv2
import numpy as np
import pytest

from rmpsam_ros.cli import image as commands
from rmpsam_ros.cli.main import main

SMALL = ["--weights", "random", "--engine", "torch", "--long-side", "64", "--short-side", "64"]
PROMPT = ["--prompt-engine", "rmpsam"]


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    cv2.imwrite("street.png", random.integers(0, 256, (48, 64, 3), np.uint8))
    (tmp_path / "there.png").write_text("precious")
    (tmp_path / "text.jpg").write_text("no picture")
    return tmp_path / "street.png"


def test_segments_are_drawn_and_listed(picture, capsys):
    assert main(["image", "street.png", "out.png", *SMALL]) == 0
    assert cv2.imread("out.png").shape == (48, 64, 3)
    assert "wrote out.png" in capsys.readouterr().out


def test_prompts_are_answered_and_drawn(picture, capsys):
    arguments = ["street.png", "out.png", *SMALL, *PROMPT]
    assert main(["image", *arguments, "--prompt", "10,20", "--prompt", "5,5,40,30"]) == 0
    text = capsys.readouterr().out
    assert text.count(" px  box (") == 2 and "10,20 " in text and "5,5,40,30 " in text
    assert cv2.imread("out.png").shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.jpg", "out.png"], "'nowhere.jpg' does not exist"),
        (["text.jpg", "out.png"], "is not an image"),
        (["street.png", "out"], "output 'out' has no suffix"),
        (["street.png", "out.xyz"], "has no suffix of .png"),
        (["street.png", "there.png"], "exists already; name another one, or --overwrite"),
        (["street.png", "nowhere/out.png"], "the folder of output"),
        (["street.png", "/proc/out.png"], "cannot be written"),
        (["street.png", "out.png", "--prompt", "100,3"], "point (100, 3) is outside"),
        (["street.png", "out.png", "--weights", "nowhere.pth"], "'nowhere.pth' does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line_before_anything_is_loaded(
    picture, arguments, reason, capsys, monkeypatch
):
    def load(*_, **__):
        raise AssertionError("loaded")

    if "--weights" not in arguments:
        monkeypatch.setattr(commands, "make_pipeline", load)
    assert main(["image", *arguments]) == 1
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert (picture.parent / "there.png").read_text() == "precious"


@pytest.mark.parametrize(
    ("prompt", "reason"), [("here", "use x,y for a click"), ("3,3@2", "has a time")]
)
def test_a_prompt_that_is_none_is_refused(picture, prompt, reason, capsys):
    with pytest.raises(SystemExit):
        main(["image", "street.png", "out.png", "--prompt", prompt])
    assert reason in capsys.readouterr().err


def test_a_missing_package_is_one_line_with_the_remedy(picture, capsys, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(commands, "make_pipeline", missing)
    assert main(["image", "street.png", "out.png"]) == 1
    assert capsys.readouterr().err == (
        "rmpsam image: No module named 'torch'; pip install torch\n"
    )
