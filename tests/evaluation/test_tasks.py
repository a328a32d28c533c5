"""From images to figures: tasks, DAVIS, networks alone, and the command."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
import yaml

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.data.samples import UNNAMED, DataError, Sample
from rmpsam_ros.evaluation.interactive import tight_box
from rmpsam_ros.evaluation.panoptic_quality import PanopticQuality
from rmpsam_ros.evaluation.raw import RawNetwork, binary_masks, follow_by_boxes, to_image
from rmpsam_ros.evaluation.tasks import (
    add_panoptic,
    class_map,
    evaluate_images,
    evaluate_prompts,
    panoptic_figures,
    truth_map,
)
from rmpsam_ros.evaluation.video_objects import (
    davis_frames,
    davis_sequences,
    evaluate_davis,
)
from rmpsam_ros.model import build_model
from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.segmentation.preprocess import Letterbox
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.training.network import make_class_table
from rmpsam_ros.training.state import export_weights

LABELS = LabelSet(
    "toys",
    (
        Label(0, "box", True, (1, 2, 3)),
        Label(1, "ball", True, (4, 5, 6)),
        Label(2, "floor", False, (7, 8, 9)),
    ),
)


def rectangle(x1, y1, x2, y2, size=(48, 64)):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


BOX, BALL = rectangle(4, 4, 24, 25), rectangle(40, 10, 60, 40)


def sample(classes=(0, 1), masks=(BOX, BALL), ignore=None, annotated=(True, True, True)):
    return Sample(
        np.zeros((48, 64, 3), np.uint8),
        np.stack(masks),
        np.array(classes, np.int64),
        np.zeros((48, 64), bool) if ignore is None else ignore,
        np.array(annotated),
    )


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model("rmpsam_r18", make_class_table(3, 0))


@pytest.fixture
def predictor(network):
    return RawNetwork(network, LABELS, (96, 64), torch.device("cpu"), FusionConfig())


class Oracle:
    """A model that knows the annotation; clicks and boxes must hit it."""

    def __init__(self, masks):
        self.masks, self.shown = masks, 0

    def show(self, image):
        self.shown += 1

    def click(self, points):
        return np.stack(
            [
                next((m for m in self.masks if m[int(y), int(x)]), np.zeros_like(self.masks[0]))
                for x, y in points
            ]
        )

    def box(self, boxes):
        return np.stack(
            [
                next(m for m in self.masks if tight_box(m) == tuple(box.astype(int)))
                for box in boxes
            ]
        )


def test_interactive_figures_of_an_oracle():
    oracle = Oracle([BOX, BALL])
    figures = evaluate_prompts(oracle, [sample(), sample()])["interactive"]
    assert (figures["click_miou"], figures["box_miou"], figures["segments"]) == (1.0, 1.0, 4)
    assert figures["click_noc"]["0.9"] == 1
    assert oracle.shown == 2


def test_only_the_classes_of_the_data_set_compete_for_pixels(predictor):
    predictor.show(np.zeros((48, 64, 3), np.uint8))
    masks = np.full((3, 16, 24), 9.0, np.float32)
    logits = np.full((3, 4), -9.0, np.float32)
    np.fill_diagonal(logits, (9.0, 8.0, 7.0))
    objects = predictor.objects()._replace(class_logits=logits, mask_logits=masks)
    predictor.objects = lambda: objects
    for annotated, winner in (((1, 1, 1), 0), ((0, 1, 1), 1), ((0, 0, 1), 2)):
        assert (predictor.semantic(np.array(annotated, bool)) == winner).all()


def test_small_objects_are_not_prompted():
    small = rectangle(30, 2, 50, 22)  # 400 pixels
    figures = evaluate_prompts(Oracle([BOX]), [sample(masks=(small, BOX)), sample([0], [small])])
    assert figures["interactive"]["segments"] == 1


def test_network_figures_have_all_parts(predictor):
    tasks = ["panoptic", "semantic", "recall", "interactive"]
    figures = evaluate_images(predictor, [sample()], tasks)
    assert set(figures) == {"panoptic", "semantic", "recall", "interactive"}
    assert figures["recall"]["objects"] == 2
    assert 0 <= figures["semantic"]["mean_iou"] <= 1
    assert set(figures["semantic"]["per_class"]) == {"box", "ball"}
    json.dumps(figures)


def test_unknown_task(predictor):
    with pytest.raises(ValueError, match="unknown task 'depth'"):
        evaluate_images(predictor, [], ["depth"])


def test_prompts_of_the_predictor_do_not_influence_one_another(predictor):
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    predictor.show(image)
    together = predictor.click(np.array([[10.0, 10.0], [50.0, 30.0]]))
    alone = predictor.click(np.array([[50.0, 30.0]]))
    assert together.shape == (2, 48, 64)
    assert (together[1] ^ alone[0]).mean() < 0.01


def test_masks_come_back_at_the_place_of_the_picture():
    """Padding is cut off before the masks are brought to the size of the picture."""
    geometry = Letterbox((60, 80), (30, 40), (32, 64))
    logits = torch.full((1, 8, 16), -1.0)
    logits[:, :, :5] = 1.0  # 20 of 40 columns of the resized picture
    mask = binary_masks(logits, geometry)[0]
    assert mask.shape == (60, 80)
    assert mask[:, :39].all()
    assert not mask[:, 41:].any()
    assert to_image(logits, geometry).shape == (1, 60, 80)


def result(*segments):
    """A panoptic result from (mask, class)."""
    id_map, entries = np.zeros((48, 64), np.uint16), []
    for number, (mask, class_id) in enumerate(segments, 1):
        id_map[mask] = number
        thing = LABELS.labels[class_id].is_thing
        entries.append(Segment(number, class_id, thing, 0.9, int(mask.sum()), tight_box(mask), 0))
    return PanopticResult(id_map, tuple(entries))


def figures_of(prediction, truth):
    quality = PanopticQuality([True, True, False, False])
    add_panoptic(quality, prediction, truth, LABELS)
    return panoptic_figures(quality, LABELS)


def test_perfect_prediction():
    figures = figures_of(result((BOX, 0), (BALL, 1)), sample())
    assert figures["all"]["pq"] == figures["things"]["pq"] == 100
    assert figures["stuff"] == {}


def test_invented_things_count_although_the_rest_is_not_annotated():
    extra = rectangle(30, 42, 40, 48)
    figures = figures_of(result((BOX, 0), (BALL, 1), (extra, 1)), sample())
    assert figures["per_class"] == {"box": 100, "ball": pytest.approx(200 / 3)}


def test_classes_that_are_not_annotated_do_not_count():
    truth = sample(annotated=(True, False, False))
    figures = figures_of(result((BOX, 0), (rectangle(0, 40, 64, 48), 2)), truth)
    assert figures["per_class"] == {"box": 100}


def test_truth_map_and_class_map():
    inner = rectangle(8, 8, 12, 12)
    ignore = rectangle(0, 0, 64, 2)
    truth = sample((0, 1, UNNAMED), (BOX, inner, BALL), ignore)
    ids, classes = truth_map(truth)
    assert classes == {1: 0, 2: 1}
    assert ids[9, 9] == 2  # the smaller mask lies on top
    assert ids[5, 5] == 1
    assert ids[20, 50] == 0  # no name: nothing to compare with
    assert ids[0, 0] == 0
    assert ids[30, 2] not in (0, 1, 2)
    semantic = class_map(truth)
    assert (semantic[9, 9], semantic[5, 5], semantic[20, 50], semantic[0, 0]) == (1, 0, -1, -1)


@pytest.fixture
def davis(tmp_path):
    """Two sequences of a box that moves right."""
    for name, step in (("slow", 1), ("fast", 3)):
        for frame in range(5):
            mask = rectangle(4 + step * frame, 10, 24 + step * frame, 30)
            for folder, picture, suffix in (
                ("JPEGImages", np.where(mask, 200, 20).astype(np.uint8), "jpg"),
                ("Annotations", mask.astype(np.uint8) * 255, "png"),
            ):
                path = tmp_path / "davis" / folder / name / f"{frame:05d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
    return tmp_path / "davis"


class Threshold:
    """A model that finds what is bright, as long as its prompt touches it."""

    def show(self, image):
        self.bright = image[:, :, 0] > 100

    def click(self, points):
        return np.stack([self.bright & bool(self.bright[int(y), int(x)]) for x, y in points])

    def box(self, boxes):
        x1, y1, x2, y2 = boxes[0].astype(int)
        return (self.bright & bool(self.bright[y1:y2, x1:x2].any()))[None]

    def follow(self, frames, point):
        return follow_by_boxes(self, frames, point)


def test_davis_with_a_perfect_follower(davis):
    assert davis_sequences(davis) == ["fast", "slow"]
    figures = evaluate_davis(Threshold(), davis, ["fast", "slow"])
    assert figures["j"] > 0.95
    assert figures["f"] == pytest.approx(1)
    assert set(figures["per_sequence"]) == {"fast", "slow"}


def test_davis_with_a_blind_follower(davis):
    class Blind(Threshold):
        def click(self, points):
            return np.zeros((1, 48, 64), bool)

    assert evaluate_davis(Blind(), davis, ["slow"])["j_and_f"] == 0


def test_broken_davis(davis, tmp_path):
    with pytest.raises(DataError, match="expected a DAVIS data set"):
        davis_sequences(tmp_path)
    (davis / "JPEGImages" / "slow" / "00002.jpg").unlink()
    with pytest.raises(DataError, match=r"00002\.jpg' is missing"):
        list(davis_frames(davis, "slow"))
    cv2.imwrite(str(davis / "Annotations" / "fast" / "00000.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="another size"):
        list(davis_frames(davis, "fast"))


@pytest.fixture
def project(tmp_path, network, davis):
    """A configuration with one picture and a video, and weights."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[BOX] = 200
    for folder, picture in (("images", image), ("labels", np.where(BOX, 0, 2).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), picture)
    (tmp_path / "toys.yaml").write_text(
        yaml.safe_dump(
            {
                "labels": [{"name": one.name, "is_thing": one.is_thing} for one in LABELS.labels],
            }
        )
    )
    common = {"class_names": ["box", "ball", "floor"]}
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "labels": "toys.yaml",
                "evaluation": [
                    {
                        "name": "maps",
                        "format": "label_maps",
                        "images": "images",
                        "annotations": "labels",
                        "tasks": ["panoptic", "interactive"],
                        **common,
                    },
                    {
                        "name": "video",
                        "format": "davis",
                        "images": "davis",
                        "annotations": "davis",
                        "tasks": ["click_and_follow"],
                    },
                ],
            }
        )
    )
    export_weights(tmp_path / "w.safetensors", network, "rmpsam_r18", LABELS, {})
    return tmp_path


def run_command(*arguments):
    parser = build_parser()
    options = parser.parse_args(["eval", *map(str, arguments)])
    options.run(options)


SMALL = ("--long-side", 64, "--short-side", 64, "--device", "cpu", "--engine", "torch")


@pytest.mark.parametrize("how", [(), ("--raw",)], ids=["product", "raw"])
def test_eval_command(project, capsys, how):
    out = project / "figures.json"
    weights = ("--weights", project / "w.safetensors")
    run_command(project / "config.yaml", *weights, "--out", out, *SMALL, *how)
    figures = json.loads(out.read_text())
    assert set(figures) == {"maps", "video"}
    assert figures["maps"]["interactive"]["segments"] == 2
    assert not math.isnan(figures["video"]["click_and_follow"]["j_and_f"])
    printed = capsys.readouterr().out
    assert "interactive.click_miou" in printed
    assert "per_class" not in printed


def test_eval_command_can_be_restricted(project, capsys):
    run_command(
        project / "config.yaml", "--weights", project / "w.safetensors", "--only", "maps", *SMALL
    )
    assert "video" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        ("missing.yaml", "w.safetensors", "cannot be read"),
        ("config.yaml", "missing.safetensors", "no checkpoint file at"),
        ("config.yaml", "demo", "expected the same"),
    ],
)
def test_eval_command_says_what_is_wrong(project, config, weights, message):
    with pytest.raises(CommandError, match=message):
        weights = weights if weights == "demo" else project / weights
        run_command(project / config, "--weights", weights, "--raw", *SMALL)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "mpas"], "--only names 'mpas'; .* has maps, video"),
        (["--out", "/no/folder/figures.json"], "the folder of output"),
    ],
)
def test_eval_command_checks_names_and_outputs_before_it_works(project, more, message):
    with pytest.raises(CommandError, match=message):
        run_command(project / "config.yaml", "--weights", "/nowhere.safetensors", *more, *SMALL)
