"""Images made of a panoptic result: maps of classes and instances, tables painted over it."""

from __future__ import annotations

import numpy as np
import pytest

from rmpsam_ros.segmentation.labels import Label, LabelSet
from rmpsam_ros.segmentation.panoptic import confidence_map, instance_map, semantic_map
from rmpsam_ros.segmentation.results import PanopticResult, Segment
from rmpsam_ros.segmentation.run_length import encode_id_map

TOY = LabelSet("toy", (Label(0, "cup", True, (1, 2, 3)), Label(1, "floor", False, (4, 5, 6))))


class TestMaps:
    result = PanopticResult(
        np.array([[0, 1, 1], [2, 2, 3]], np.uint16),
        (
            Segment(1, 0, True, 0.9, 2, (1, 0, 3, 1), 7),
            Segment(2, 1, False, 0.9, 2, (0, 1, 2, 2), 3),
            Segment(3, 0, True, 0.9, 1, (2, 1, 3, 2), 9),
        ),
    )

    def test_semantic(self):
        values = semantic_map(self.result, TOY)
        assert values.dtype == np.uint8
        assert values.tolist() == [[255, 0, 0], [1, 1, 0]]

    def test_semantic_of_many_classes(self):
        many = LabelSet("many", tuple(Label(i, str(i), i < 1, (0, 0, 0)) for i in range(300)))
        values = semantic_map(self.result, many)
        assert values.dtype == np.uint16
        assert values.tolist() == [[65535, 0, 0], [1, 1, 0]]

    @pytest.mark.parametrize(
        "ids, expected",
        [
            (None, [[0, 1, 1], [0, 0, 3]]),
            ({1: 40, 3: 65535}, [[0, 40, 40], [0, 0, 65535]]),
            ({3: 5, 2: 9}, [[0, 0, 0], [0, 0, 5]]),
            ({}, [[0, 0, 0], [0, 0, 0]]),
        ],
    )
    def test_instance(self, ids, expected):
        values = instance_map(self.result, ids)
        assert values.dtype == np.uint16 and values.tolist() == expected

    @pytest.mark.parametrize("value", [0, -1, 65536])
    def test_instance_value_that_does_not_fit(self, value):
        with pytest.raises(ValueError, match="1 to 65535"):
            instance_map(self.result, {1: value})


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, 0), (0.001, 0), (0.5, 128), (0.9, 230), (1.0, 255), (1.0001, 255), (-0.1, 0)],
)
def test_confidence(score, expected):
    id_map = np.array([[0, 1, 1], [2, 2, 0]], np.uint16)
    segments = (
        Segment(1, 0, True, score, 2, (1, 0, 3, 1), 7),
        Segment(2, 1, False, 1.0, 2, (0, 1, 2, 2), 3),
    )
    values = confidence_map(PanopticResult(id_map, segments))
    assert values.dtype == np.uint8
    assert values.tolist() == [[0, expected, expected], [255, 255, 0]]


class TestPainting:
    """Images of a result, whether it holds its map or the runs of it."""

    ID_MAP = np.array([[0, 1, 1], [1, 2, 3]], np.uint16)
    RESULTS = (
        PanopticResult(ID_MAP, ()),
        PanopticResult.from_runs(encode_id_map(ID_MAP), (2, 3), ()),
    )

    @pytest.mark.parametrize("result", RESULTS)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_table_entries_of_all_pixels(self, result, dtype):
        table = np.array([9, 8, 7, 6], dtype)
        out = np.zeros((2, 3), dtype)
        assert result.painted(table, out) is out
        np.testing.assert_array_equal(out, table[self.ID_MAP])
        np.testing.assert_array_equal(result.painted(table), out)

    @pytest.mark.parametrize("result", RESULTS)
    def test_map_and_runs_say_the_same(self, result):
        assert result.size == (2, 3)
        np.testing.assert_array_equal(result.id_map, self.ID_MAP)
        ids, lengths = result.runs
        assert ids.tolist() == [0, 1, 2, 3] and lengths.tolist() == [1, 3, 1, 1]

    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((2, 3), np.uint16),
            np.zeros((3, 2), np.uint8),
            np.zeros((2, 6), np.uint8)[:, ::2],
        ],
    )
    def test_refuses_another_image(self, out):
        with pytest.raises(ValueError, match=r"out must be uint8 \(2, 3\), C-contiguous"):
            self.RESULTS[0].painted(np.zeros(4, np.uint8), out)
