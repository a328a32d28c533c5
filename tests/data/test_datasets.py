"""Every format read back, and what happens when its files are wrong."""

import numpy as np
import pytest

from rmpsam_ros.data import (
    CocoInstances,
    CocoPanoptic,
    InstanceMaps,
    LabelMaps,
    VocSegmentation,
    YoloSegmentation,
    YouTubeVis,
    open_dataset,
)
from rmpsam_ros.data.samples import UNNAMED, DataError, Sample
from rmpsam_ros.segmentation.coco_run_length import encode_coco

HEIGHT, WIDTH = 48, 64
CATEGORIES = [{"id": 3, "name": "box"}, {"id": 5, "name": "ball"}, {"id": 9, "name": "floor"}]


def rectangle(x1, y1, x2, y2):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y1:y2, x1:x2] = True
    return mask


BOX, BALL, SECOND = rectangle(4, 4, 14, 14), rectangle(30, 20, 50, 40), rectangle(20, 4, 28, 12)


def masks_by_class(sample):
    return sorted((int(c), m.tobytes()) for c, m in zip(sample.classes, sample.masks, strict=True))


def expected(*pairs):
    return sorted((c, m.tobytes()) for c, m in pairs)


class TestInstanceMaps:
    """Class ids 3, 5 and 9 are box, ball and floor; 7 is a window of the floor."""

    NAMES = (("3", "box"), ("5", "ball"), ("7", "window"), ("9", "floor"))

    def write(self, save, write_image, labels=None):
        write_image("a")
        if labels is None:
            labels = np.zeros((HEIGHT, WIDTH), np.uint16)
            labels[:, :60] = 9 * 256
            labels[BOX], labels[SECOND] = 3 * 256 + 1, 3 * 256 + 2
            labels[BALL] = 5 * 256 + 255
        save("labels/a.png", labels)
        save("classes.json", dict(self.NAMES))

    def open(self, describe, mapping, names=None, **options):
        names = names or {"box": "box", "ball": "ball", "floor": "floor", "window": "floor"}
        options = {"mapping": mapping(names), "class_names": {}, **options}
        return InstanceMaps(describe("instance_maps", "labels", **options))

    def test_objects_of_a_class_are_told_apart(self, describe, save, write_image, mapping):
        self.write(save, write_image)
        data = self.open(describe, mapping)
        sample = data.load(0)
        floor = rectangle(0, 0, 60, HEIGHT) & ~(BOX | SECOND | BALL)
        assert masks_by_class(sample) == expected((0, BOX), (0, SECOND), (1, BALL), (2, floor))
        assert not sample.ignore.any()
        assert len(data) == 1 and data.name_of(0) == "a"
        assert sample.annotated.tolist() == [True] * 3

    def test_unlabelled_pixels_can_be_unknown(self, describe, save, write_image, mapping):
        self.write(save, write_image)
        sample = self.open(describe, mapping, unlabelled="ignore").load(0)
        assert np.array_equal(sample.ignore, rectangle(60, 0, WIDTH, HEIGHT))

    @pytest.mark.parametrize(
        ("value", "classes", "unknown"),
        [
            (65535, [], True),  # crowd
            (3 * 256, [], True),  # boxes that are not told apart
            (9 * 256, [2], False),  # stuff has no instances
            (7 * 256 + 4, [2], False),  # merged stuff, whichever instance
        ],
    )
    def test_values_of_a_region(
        self, describe, save, write_image, mapping, value, classes, unknown
    ):
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        labels[BALL] = value
        self.write(save, write_image, labels)
        sample = self.open(describe, mapping).load(0)
        assert sample.classes.tolist() == classes
        assert np.array_equal(sample.ignore, BALL & unknown)

    def test_parts_of_stuff_become_one(self, describe, save, write_image, mapping):
        labels = np.full((HEIGHT, WIDTH), 9 * 256, np.uint16)
        labels[BALL], labels[BOX] = 7 * 256 + 1, 7 * 256 + 2
        self.write(save, write_image, labels)
        sample = self.open(describe, mapping).load(0)
        assert masks_by_class(sample) == expected((2, np.ones((HEIGHT, WIDTH), bool)))

    def test_ignored_classes_and_specks_are_unknown(self, describe, save, write_image, mapping):
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        labels[BALL], labels[BOX], labels[40:42, 2:4] = 5 * 256 + 1, 7 * 256, 3 * 256 + 1
        self.write(save, write_image, labels)
        names = {"box": "box", "ball": "ball", "window": "ignore"}
        sample = self.open(describe, mapping, names).load(0)
        assert sample.classes.tolist() == [1]
        assert np.array_equal(sample.ignore, BOX | rectangle(2, 40, 4, 42))

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros((HEIGHT, WIDTH), np.uint8), "not a PNG of one 16-bit channel"),
            (np.zeros((HEIGHT, WIDTH, 3), np.uint16), "not a PNG of one 16-bit channel"),
            (np.zeros((HEIGHT, 20), np.uint16), "is 20x48 but its image is 64x48"),
            (np.full((HEIGHT, WIDTH), 8 * 256, np.uint16), "class id 8.*'class_names'"),
        ],
    )
    def test_wrong_maps(self, describe, save, write_image, mapping, labels, message):
        self.write(save, write_image, labels)
        with pytest.raises(DataError, match=message):
            self.open(describe, mapping).load(0)

    def test_missing_files(self, describe, save, write_image, mapping, tmp_path):
        self.write(save, write_image)
        (tmp_path / "labels" / "a.png").unlink()
        with pytest.raises(DataError, match="missing or not a PNG"):
            self.open(describe, mapping).load(0)
        (tmp_path / "classes.json").unlink()
        with pytest.raises(DataError, match="cannot be read as JSON"):
            self.open(describe, mapping)

    def test_a_class_without_mapping(self, describe, save, write_image, mapping):
        self.write(save, write_image)
        with pytest.raises(DataError, match="'ball' has no mapping"):
            self.open(describe, mapping, {"box": "box", "floor": "floor"}).load(0)

    def test_unlabelled_must_be_one_of_two(self, describe):
        with pytest.raises(DataError, match="unlabelled is 'floor'; use 'other' or 'ignore'"):
            describe("instance_maps", "labels", unlabelled="floor")


class TestLabelMaps:
    def write(self, save, write_image, labels=None):
        write_image("a")
        if labels is None:
            labels = np.full((HEIGHT, WIDTH), 2, np.uint8)
            labels[BOX | SECOND], labels[BALL], labels[:, 60:] = 0, 1, 3
        save("labels/a.png", labels)

    def test_components_are_instances(self, describe, save, write_image, mapping):
        self.write(save, write_image)
        names = mapping({"box": "box", "ball": "ball", "floor": "floor", "void": "ignore"})
        sample = LabelMaps(describe("label_maps", "labels", mapping=names)).load(0)
        floor = ~(BOX | SECOND | BALL)
        floor[:, 60:] = False
        assert masks_by_class(sample) == expected((0, BOX), (0, SECOND), (1, BALL), (2, floor))
        assert sample.ignore[:, 60:].all()
        assert not sample.ignore[:, :60].any()
        assert sample.annotated.tolist() == [True] * 3

    def test_specks_are_ignored(self, describe, save, write_image):
        labels = np.full((HEIGHT, WIDTH), 2, np.uint8)
        labels[10:12, 10:12] = 0
        self.write(save, write_image, labels)
        sample = LabelMaps(describe("label_maps", "labels")).load(0)
        assert sample.classes.tolist() == [2]
        assert sample.ignore.sum() == 4

    def test_classes_can_be_merged(self, describe, save, write_image, mapping):
        self.write(save, write_image)
        names = mapping({"box": "box", "ball": "floor", "floor": "floor", "void": "ignore"})
        sample = LabelMaps(describe("label_maps", "labels", mapping=names)).load(0)
        assert sorted(sample.classes.tolist()) == [0, 0, 2]
        assert sample.annotated.tolist() == [True, False, True]

    def test_class_id_without_name(self, describe, save, write_image):
        self.write(save, write_image, np.full((HEIGHT, WIDTH), 7, np.uint8))
        with pytest.raises(DataError, match=r"class id 7.*'class_names'"):
            LabelMaps(describe("label_maps", "labels")).load(0)

    def test_class_without_mapping(self, describe, save, write_image):
        self.write(save, write_image)
        with pytest.raises(DataError, match="'void' has no mapping"):
            LabelMaps(describe("label_maps", "labels")).load(0)

    def test_labels_of_another_size(self, describe, save, write_image):
        self.write(save, write_image, np.zeros((HEIGHT, WIDTH - 2), np.uint8))
        with pytest.raises(DataError, match=r"a\.png' is 62x48 but its image is 64x48"):
            LabelMaps(describe("label_maps", "labels")).load(0)

    def test_missing_labels(self, describe, write_image):
        write_image("a")
        with pytest.raises(DataError, match=r"a\.png' is missing"):
            LabelMaps(describe("label_maps", "labels")).load(0)

    def test_coloured_labels(self, describe, save, write_image):
        self.write(save, write_image, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        with pytest.raises(DataError, match="has 3 channels"):
            LabelMaps(describe("label_maps", "labels")).load(0)


class TestVocSegmentation:
    def write(self, save, write_image):
        write_image("a")
        objects, labels = (np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2))
        objects[BOX], objects[BALL] = 1, 2
        labels[BOX], labels[BALL] = 0, 1
        objects[0], labels[0] = 255, 255
        return objects, labels

    def test_grey_files(self, describe, save, write_image):
        objects, labels = self.write(save, write_image)
        save("voc/SegmentationObject/a.png", objects)
        save("voc/SegmentationClass/a.png", labels)
        sample = VocSegmentation(describe("voc_segmentation", "voc")).load(0)
        assert masks_by_class(sample) == expected((0, BOX), (1, BALL))
        assert sample.ignore.sum() == WIDTH

    def test_files_in_palette_colours(self, describe, save, write_image):
        """Indices 0, 1, 2 and 255 have these colours in every VOC file."""
        colors = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 255: (224, 224, 192)}
        for folder, indices in zip(
            ("SegmentationObject", "SegmentationClass"), self.write(save, write_image), strict=True
        ):
            picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            for index, color in colors.items():
                picture[indices == index] = color[::-1]
            save(f"voc/{folder}/a.png", picture)
        sample = VocSegmentation(describe("voc_segmentation", "voc")).load(0)
        assert masks_by_class(sample) == expected((0, BOX), (1, BALL))

    def test_foreign_colours(self, describe, save, write_image):
        _, labels = self.write(save, write_image)
        save("voc/SegmentationObject/a.png", np.full((HEIGHT, WIDTH, 3), 77, np.uint8))
        save("voc/SegmentationClass/a.png", labels)
        with pytest.raises(DataError, match="not in the Pascal VOC palette"):
            VocSegmentation(describe("voc_segmentation", "voc")).load(0)


class TestYoloSegmentation:
    polygon = f"{4 / 64} {4 / 48} {14 / 64} {4 / 48} {14 / 64} {14 / 48} {4 / 64} {14 / 48}"

    def load(self, describe, save, write_image, text, **options):
        write_image("a")
        save("labels/a.txt", text)
        return YoloSegmentation(describe("yolo_segmentation", "labels", **options)).load(0)

    def test_polygons(self, describe, save, write_image):
        sample = self.load(describe, save, write_image, f"0 {self.polygon}\n\n1 {self.polygon}\n")
        assert sample.classes.tolist() == [0, 1]
        assert np.array_equal(sample.masks[0], BOX)

    def test_picture_without_text_file(self, describe, save, write_image):
        write_image("b")
        save("labels/other.txt", "")
        data = YoloSegmentation(describe("yolo_segmentation", "labels"))
        assert len(data.load(0).classes) == 0

    def test_unnamed_and_ignored(self, describe, save, write_image, mapping):
        text = f"0 {self.polygon}\n1 {self.polygon}\n"
        names = mapping({"ball": "ignore"}, others="unnamed")
        sample = self.load(describe, save, write_image, text, mapping=names)
        assert sample.classes.tolist() == [UNNAMED]
        assert sample.ignore.any()
        assert not sample.annotated.any()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("0 0.1 0.2 0.3", "line 1: 3 coordinates"),
            ("0 0.1 0.2 0.3 0.4", "line 1: 4 coordinates"),
            ("\nbox 0.1 0.2 0.3 0.4 0.5 0.6", "line 2: not numbers"),
            ("0 0.1 0.2 0.3 nan 0.5 0.6", "line 1: 6 coordinates"),
            ("12 0.1 0.2 0.3 0.4 0.5 0.6", "class id 12"),
        ],
    )
    def test_bad_lines(self, describe, save, write_image, text, message):
        with pytest.raises(DataError, match=message):
            self.load(describe, save, write_image, text)

    def test_missing_folder(self, describe, write_image):
        write_image("a")
        with pytest.raises(DataError, match="labels' is not a folder"):
            YoloSegmentation(describe("yolo_segmentation", "labels"))


class TestCocoPanoptic:
    def write(self, save, write_image, **changes):
        write_image("a")
        ids = np.zeros((HEIGHT, WIDTH), np.int64)
        ids[BOX], ids[BALL], ids[SECOND] = 70000, 300, 5
        colors = np.stack((ids >> 16, ids >> 8 & 255, ids & 255), axis=-1).astype(np.uint8)
        save("panoptic/a.png", colors)
        segments = [
            {"id": 70000, "category_id": 3, "iscrowd": 0},
            {"id": 300, "category_id": 5, "iscrowd": 0},
            {"id": 5, "category_id": 3, "iscrowd": 1},
        ]
        content = {
            "images": [{"id": 1, "file_name": "a.png"}],
            "categories": CATEGORIES,
            "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        }
        save("panoptic.json", {**content, **changes})

    def test_segments(self, describe, save, write_image):
        self.write(save, write_image)
        data = CocoPanoptic(describe("coco_panoptic", "panoptic.json"))
        sample = data.load(0)
        assert data.name_of(0) == "a"
        assert masks_by_class(sample) == expected((0, BOX), (1, BALL))
        assert np.array_equal(sample.ignore, ~(BOX | BALL))  # unlabelled pixels and the crowd

    def test_category_without_mapping_is_found_at_once(self, describe, save, write_image):
        self.write(save, write_image, categories=[*CATEGORIES, {"id": 1, "name": "cat"}])
        with pytest.raises(DataError, match="'cat' has no mapping"):
            CocoPanoptic(describe("coco_panoptic", "panoptic.json"))

    @pytest.mark.parametrize("key", ["annotations", "categories"])
    def test_incomplete_file(self, describe, save, write_image, key):
        write_image("a")
        content = {"annotations": [], "categories": []}
        save("panoptic.json", {k: v for k, v in content.items() if k != key})
        with pytest.raises(DataError, match=f"has no '{key}'"):
            CocoPanoptic(describe("coco_panoptic", "panoptic.json"))

    def test_not_json(self, describe, tmp_path):
        (tmp_path / "panoptic.json").write_text("{")
        with pytest.raises(DataError, match="cannot be read as JSON"):
            CocoPanoptic(describe("coco_panoptic", "panoptic.json"))

    def test_missing_png(self, describe, save, write_image, tmp_path):
        self.write(save, write_image)
        (tmp_path / "panoptic" / "a.png").unlink()
        with pytest.raises(DataError, match=r"a\.png' is missing"):
            CocoPanoptic(describe("coco_panoptic", "panoptic.json")).load(0)


class TestCocoInstances:
    def write(self, save, write_image, annotations):
        write_image("a")
        write_image("b")
        save(
            "instances.json",
            {
                "images": [{"id": 2, "file_name": "b.png"}, {"id": 1, "file_name": "a.png"}],
                "annotations": annotations,
                "categories": CATEGORIES,
            },
        )

    def test_polygons_run_lengths_and_crowds(self, describe, save, write_image):
        box = {"image_id": 1, "category_id": 3, "segmentation": [[4, 4, 14, 4, 14, 14, 4, 14]]}
        ball = {"image_id": 1, "category_id": 5, "segmentation": encode_coco(BALL)}
        crowd = {**ball, "segmentation": encode_coco(SECOND), "iscrowd": 1}
        self.write(save, write_image, [box, ball, crowd])
        data = CocoInstances(describe("coco_instances", "instances.json"))
        sample = data.load(0)
        assert [data.name_of(i) for i in range(2)] == ["a", "b"]
        assert sample.classes.tolist() == [0, 1]
        assert np.array_equal(sample.masks[1], BALL)
        assert np.array_equal(sample.ignore, SECOND)
        assert len(data.load(1).classes) == 0

    def test_mask_of_another_size(self, describe, save, write_image):
        wrong = encode_coco(np.ones((HEIGHT, WIDTH + 1), bool))
        self.write(save, write_image, [{"image_id": 1, "category_id": 3, "segmentation": wrong}])
        with pytest.raises(DataError, match="is 65x48 but its image is 64x48"):
            CocoInstances(describe("coco_instances", "instances.json")).load(0)


class TestYouTubeVis:
    def write(self, save, write_image):
        files = [write_image(f"v/{i}").name for i in range(5)]
        save(
            "videos.json",
            {
                "videos": [{"id": 1, "file_names": [f"v/{name}" for name in files]}],
                "categories": CATEGORIES,
                "annotations": [
                    {"video_id": 1, "category_id": 3, "segmentations": [encode_coco(BOX)] * 5},
                    {
                        "video_id": 1,
                        "category_id": 5,
                        "segmentations": [None, None, None, None, encode_coco(BALL)],
                    },
                ],
            },
        )

    def test_objects_keep_their_place(self, describe, save, write_image):
        self.write(save, write_image)
        data = YouTubeVis(describe("youtube_vis", "videos.json"))
        for seed in range(6):
            clip = data.load_clip(0, 3, np.random.default_rng(seed))
            assert len(clip) == 3
            for frame in clip:
                assert frame.classes.tolist() == [0, 1]
                assert np.array_equal(frame.masks[0], BOX)
        assert np.array_equal(data.load_frame(0, 4).masks[1], BALL)
        assert not data.load_frame(0, 3).masks[1].any()

    def test_not_a_video_file(self, describe, save):
        save("videos.json", {"annotations": [], "categories": []})
        with pytest.raises(DataError, match="has no 'videos'"):
            YouTubeVis(describe("youtube_vis", "videos.json"))


class TestSplits:
    def test_only_the_listed_pictures(self, describe, save, write_image):
        for name in "abc":
            write_image(name)
        split = save("split.txt", "# comment\nc\n\na\n")
        save("labels/x.txt", "")
        data = YoloSegmentation(describe("yolo_segmentation", "labels", split=split))
        assert [data.name_of(i) for i in range(len(data))] == ["c", "a"]

    @pytest.mark.parametrize(
        ("text", "message"), [("a\nz\n", "the first is 'z'"), ("# none\n", "lists no file names")]
    )
    def test_wrong_split(self, describe, save, write_image, text, message):
        write_image("a")
        split = save("split.txt", text)
        with pytest.raises(DataError, match=message):
            LabelMaps(describe("label_maps", "labels", split=split))

    def test_missing_split(self, describe, write_image, tmp_path):
        write_image("a")
        with pytest.raises(DataError, match="cannot be read"):
            LabelMaps(describe("label_maps", "labels", split=tmp_path / "none.txt"))


def test_missing_and_broken_pictures(describe, write_image, save, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        LabelMaps(describe("label_maps", "labels"))
    write_image("a").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png' is missing or not an image"):
        LabelMaps(describe("label_maps", "labels")).load(0)


def test_unknown_format(describe):
    with pytest.raises(DataError, match="unknown format 'kitti'"):
        open_dataset(describe("kitti", "labels"))


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ({"box": "crate"}, {}, "mapped to 'crate', which is no label of 'toys'"),
        ({}, {"others": "guess"}, "others is 'guess'"),
        ({}, {"partial": ["crate"]}, "partial label 'crate'"),
        ({}, {"absent": ["crate"]}, "absent label 'crate'"),
    ],
)
def test_wrong_mappings(mapping, names, options, message):
    with pytest.raises(DataError, match=message):
        mapping(names, **options)


def test_partial_classes_are_not_annotated(mapping):
    assert mapping(partial=["ball"]).annotated.tolist() == [True, False, True]


def test_absent_classes_may_be_denied(mapping):
    assert mapping({"thing": "box"}).annotated.tolist() == [True, False, False]
    assert mapping({"thing": "box"}, absent=["floor"]).annotated.tolist() == [True, False, True]


def test_sample_refuses_what_does_not_fit():
    image, none = np.zeros((4, 6, 3), np.uint8), np.zeros((0, 4, 6), bool)
    ignore, annotated = np.zeros((4, 6), bool), np.zeros(3, bool)
    classes = np.zeros(0, np.int64)
    Sample(image, none, classes, ignore, annotated)
    for wrong in (
        (image[:, :, 0], none, classes, ignore),
        (image, none[:, :, :5], classes, ignore),
        (image, none, np.zeros(1, np.int64), ignore),
        (image, none, classes, ignore[:3]),
    ):
        with pytest.raises(DataError):
            Sample(*wrong, annotated)
