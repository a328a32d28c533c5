"""rmpsam everything: what it writes, and one line for what it cannot do."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from rmpsam_ros.cli import everything as commands
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.segmentation.run_length import encode_mask


@pytest.fixture
def picture(tmp_path, blocks, colors):
    path = tmp_path / "street.png"
    image = blocks((60, 40, 48, colors[1]), (140, 40, 32, colors[2]))
    cv2.imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture
def run(make_pipeline, monkeypatch, beside):
    """The command with engines that see blocks, in the place of networks."""
    asked = SimpleNamespace(prompting=None)

    def make(options, prompting):
        asked.prompting = prompting
        return make_pipeline(beside)

    monkeypatch.setattr(commands, "make_pipeline", make)

    def call(*arguments):
        parser = build_parser()
        options = parser.parse_args(["everything", *map(str, arguments)])
        options.run(options)
        return asked

    return call


@pytest.mark.parametrize("extra", [(), ("--grid", 8)])
def test_it_writes_overlay_and_masks(run, picture, tmp_path, capsys, extra):
    mask_tools = pytest.importorskip("pycocotools.mask", reason="the independent reader of RLE")
    output = tmp_path / "out.png"
    run(picture, output, *extra)
    assert cv2.imread(str(output)).shape == (128, 192, 3)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["image"] == {"file_name": "street.png", "height": 128, "width": 192}
    assert len(document["annotations"]) == 2
    for one, (x, side) in zip(document["annotations"], ((60, 48), (140, 32)), strict=True):
        mask = mask_tools.decode(one["segmentation"])
        assert mask.shape == (128, 192) and mask.sum() == one["area"] == side**2
        assert mask[40 : 40 + side, x : x + side].all()
        assert one["bbox"] == [x, 40, side, side] and 0 <= one["score"] <= 1
    text = capsys.readouterr().out
    assert "2 masks in" in text and "blocks (none)" in text and str(output) in text
    assert ("grid of 8 x 8 points" in text) == bool(extra)


def test_names_are_made_from_the_picture(run, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = run(picture, "--prompt-engine", "repvit_sam", "--prompt-weights", "x.pt")
    assert (tmp_path / "street_everything.png").is_file()
    assert (tmp_path / "street_everything.json").is_file()
    assert (asked.prompting.engine, asked.prompting.weights) == ("repvit_sam", "x.pt")


def test_random_boxes_are_said_to_mean_nothing(run, picture, tmp_path, capsys, network):
    network.info = network.info.__class__("blocks", "fp32", "cpu", "none", "random weights")
    run(picture, tmp_path / "a.png")
    assert "mean nothing" in capsys.readouterr().out
    run(picture, tmp_path / "a.png", "--grid", "4", "--overwrite")
    assert "mean nothing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["/no/such.jpg"], "does not exist"),
        (["PICTURE", "--grid", "65"], "use 1 to 64"),
        (["PICTURE", "--grid", "-1"], "use 1 to 64"),
        (["PICTURE", "/no/folder/out.png"], "the folder of output '/no/folder/out.png' does not"),
        (["PICTURE", "/proc/out.png"], "cannot be written"),
        (["PICTURE", "out.unknown"], "has no suffix of .png, .jpg"),
        (["PICTURE", "there.png"], "there.png' exists already"),
        (["PICTURE", "out.png", "--json", "/no/folder/out.json"], "out.json' does not exist"),
    ],
)
def test_a_failure_is_one_line(run, picture, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_text("precious")
    given = [str(picture) if word == "PICTURE" else word for word in arguments]
    with pytest.raises(CommandError, match=reason) as error:
        run(*given)
    assert "\n" not in str(error.value)


def test_an_unknown_prompt_engine_is_refused(run, picture):
    with pytest.raises(SystemExit):
        run(picture, "--prompt-engine", "abacus")


def test_coverage_counts_every_pixel_once():
    masks = np.zeros((2, 10, 10), np.bool_)
    masks[0, :5], masks[1, 4:6] = True, True
    found = [SimpleNamespace(mask=encode_mask(mask)) for mask in masks]
    assert commands.coverage(found, (10, 10)) == pytest.approx(0.6)
    assert commands.coverage([], (10, 10)) == 0.0
