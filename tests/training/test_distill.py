"""A teacher's masks become a data set; boxes are read, doubtful masks are left out."""

import json

import numpy as np
import pytest
import torch

from rmpsam_ros.cli import distill as commands
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.data import CocoInstances
from rmpsam_ros.data.samples import UNNAMED, DataError
from rmpsam_ros.model.sam import ImageEmbedding
from rmpsam_ros.segmentation.overlap import mask_iou
from rmpsam_ros.training.distill import DistillConfig, distill, read_voc_boxes, teach

XML = """<annotation><object><name>box</name>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>14</xmax><ymax>14</ymax></bndbox>
<part><name>corner</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>
</part></object></annotation>"""


class Teacher:
    """Answers boxes with what is in them, and points with a square of 160 pixels of its frame."""

    def __init__(self, iou=0.95, shift=0):
        self.iou, self.shift = iou, shift

    def encode(self, picture):
        return ImageEmbedding(torch.zeros(1, 256, 64, 64))

    def decode(self, embedding, points, labels, boxes=None):
        if boxes is None:
            corners = torch.cat((points[:, 0] - 80, points[:, 0] + 80), dim=1)
        else:
            corners = boxes + self.shift
        logits = torch.full((len(corners), 1, 256, 256), -9.0)
        for mask, box in zip(logits, (corners / 4).round().int().clamp(0, 256), strict=True):
            mask[:, box[1] : box[3], box[0] : box[2]] = 9.0
        return logits, torch.full((len(corners), 1), self.iou)


@pytest.fixture
def picture(write_image, save):
    save("boxes/a.xml", XML)
    return write_image("a")


def test_boxes_of_voc_files(picture, tmp_path):
    boxes = read_voc_boxes(tmp_path / "boxes" / "a.xml")
    assert [(box.name, box.box) for box in boxes] == [("box", (4.0, 4.0, 14.0, 14.0))]


@pytest.mark.parametrize("text", ["no xml", "<annotation><object/></annotation>", XML[:90]])
def test_broken_voc_files(text, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.xml' is not a Pascal VOC annotation"):
        read_voc_boxes(path)


def test_masks_become_a_data_set(picture, tmp_path, describe, mapping):
    output = tmp_path / "teacher" / "masks.json"
    count = distill(Teacher(), [picture], tmp_path / "boxes", output, DistillConfig(grid=2))
    names = mapping({"box": "box", "mask": "unnamed"})
    sample = CocoInstances(describe("coco_instances", output, mapping=names)).load(0)
    assert count == len(sample.classes) == 5
    assert sorted(sample.classes.tolist()) == [UNNAMED] * 4 + [0]
    box = np.zeros((48, 64), bool)
    box[4:14, 4:14] = True
    assert mask_iou(sample.masks[list(sample.classes).index(0)], box) > 0.8


@pytest.mark.parametrize(
    ("teacher", "config", "expected"),
    [
        (Teacher(), DistillConfig(), ["box"]),
        (Teacher(shift=200), DistillConfig(), []),  # an answer that does not fit its box
        (Teacher(iou=0.5), DistillConfig(grid=2), ["box"]),  # the grid's masks are doubtful
        (Teacher(), DistillConfig(grid=2, maximum_share=0.01), ["box"]),  # too large
        (Teacher(), DistillConfig(grid=2, minimum_share=0.5), ["box"]),  # too small
        (Teacher(), DistillConfig(grid=2, duplicate_iou=0.0), ["box"]),  # alike
    ],
)
def test_what_is_kept(teacher, config, expected, picture, tmp_path):
    boxes = read_voc_boxes(tmp_path / "boxes" / "a.xml")
    found = teach(teacher, np.zeros((48, 64, 3), np.uint8), boxes, config)
    assert [name for name, _ in found] == expected


def run_command(*arguments):
    parser = build_parser()
    options = parser.parse_args([*map(str, arguments)])
    options.run(options)


def test_distill_command(picture, tmp_path, monkeypatch, capsys):
    class Movable(Teacher):
        def to(self, device):
            return self

    monkeypatch.setattr(commands, "load_prompt_model", lambda name, path: Movable())
    output = tmp_path / "masks.json"
    run_command(
        "distill",
        picture.parent,
        output,
        "--boxes",
        tmp_path / "boxes",
        "--teacher",
        "x",
        "--device",
        "cpu",
    )
    assert len(json.loads(output.read_text())["annotations"]) == 1
    assert "1 masks of 1 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [((), "nothing to ask"), (("--grid", 2), "no checkpoint|No such file|missing|not")],
)
def test_distill_command_says_what_is_wrong(options, message, picture, tmp_path):
    with pytest.raises(CommandError, match=message):
        run_command(
            "distill",
            picture.parent,
            tmp_path / "out.json",
            "--teacher",
            tmp_path / "none.pt",
            *options,
        )


def test_train_command_says_what_is_wrong(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        run_command("train", tmp_path / "none.yaml", "--out", tmp_path / "run")
    with pytest.raises(CommandError, match="device is 'tpu'"):
        run_command("train", tmp_path / "x.yaml", "--out", tmp_path / "r", "--device", "tpu")
