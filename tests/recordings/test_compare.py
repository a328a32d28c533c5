"""What changed between two results."""

import numpy as np
import pytest

from rmpsam_ros.cli.main import main
from rmpsam_ros.recordings.compare import compare
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.segmentation.run_length import encode_id_map, encode_mask

from .conftest import SECOND, START

FRAMES = 4


class Results:
    """Designed results: two segments, one of them tracked, and one prompted object per frame."""

    def __init__(self):
        self.frames = list(range(FRAMES))
        self.left, self.name, self.track, self.state = 5, "cup", 3, 2
        self.prompted, self.extra = True, False

    def write(self, bag):
        types = bag.types
        for k in self.frames:
            stamp = START + k * SECOND
            ids = np.zeros((30, 40), np.uint16)
            ids[20:], ids[5:15, self.left : self.left + 20] = 1, 2
            if self.extra:
                ids[:3, :3] = 3
            names = {1: ("floor", 0), 2: (self.name, self.track), 3: ("speck", 0)}
            run_ids, lengths = encode_id_map(ids)
            mask = self._mask(types, ids == 2)
            panoptic = types.PanopticSegmentation(
                header=bag.header(stamp),
                height=30,
                width=40,
                run_ids=run_ids,
                run_lengths=lengths,
                segments=[
                    types.PanopticSegment(id=key, class_name=name, track_id=track)
                    for key, (name, track) in names.items()
                    if (ids == key).any()
                ],
            )
            tracks = types.InstanceTrackArray(
                header=bag.header(stamp),
                tracks=[
                    types.InstanceTrack(
                        id=self.track, state=self.state, class_name=self.name, mask=mask
                    )
                ],
            )
            bag.writer.write("/rmpsam/panoptic", stamp, panoptic)
            bag.writer.write("/rmpsam/tracks", stamp, tracks)
            if self.prompted:
                one = types.PromptedMask(object_id="a", state=1, mask=mask)
                message = types.PromptedMaskArray(header=bag.header(stamp), masks=[one])
                bag.writer.write("/rmpsam/prompted_masks", stamp, message)

    @staticmethod
    def _mask(types, mask):
        runs = encode_mask(mask)
        left, top, right, bottom = runs.box
        box = types.RegionOfInterest(
            x_offset=left, y_offset=top, width=right - left, height=bottom - top
        )
        return types.RunLengthMask(height=30, width=40, box=box, counts=np.array(runs.counts))


@pytest.fixture
def pair(write_bag, tmp_path):
    """Two results, of which the second is changed by some attributes."""

    def make(**changes):
        results = Results()
        first = write_bag(tmp_path / "first", results.write)
        for name, value in changes.items():
            setattr(results, name, value)
        return first, write_bag(tmp_path / "second", results.write)

    return make


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, {}),
        ({"name": "bowl"}, {"classes": 2 * FRAMES}),  # of the segment and of its track
        ({"track": 4}, {"ids": 3 * FRAMES}),  # the segment's, one track gone, one new
        ({"state": 1}, {"ids": FRAMES}),
        ({"left": 6}, {"masks": 3 * FRAMES}),
        ({"extra": True}, {"counts": FRAMES}),
        ({"frames": [0, 1, 3]}, {"frames": 3}),
        ({"frames": [0, 1, 2, 3, 4]}, {"frames": 3}),
        ({"prompted": False}, {"frames": FRAMES}),
    ],
)
def test_every_kind_of_change_is_found(pair, changes, counts):
    found = compare(*pair(**changes))
    assert dict(found.counts()) == counts
    assert bool(found.beyond({})) == bool(counts)
    assert found.beyond(counts) == []
    for kind, number in counts.items():
        assert found.beyond({**counts, kind: number - 1}) == [kind]
        assert f"{number} {kind}" in found.summary()


def test_small_differences_of_masks_count_from_the_limit_on(pair):
    first, second = pair(left=6)
    iou = 19 * 10 / (21 * 10)
    assert compare(first, second, iou - 0.001).changes == []
    found = compare(first, second, iou + 0.001)
    assert found.lowest == pytest.approx(iou)
    assert {change.kind for change in found.changes} == {"masks"}
    assert str(found.changes[0]).startswith("1700000000.000000000 /rmpsam/")


def test_a_result_equals_itself_and_the_command_says_so(camera_result, capsys):
    words = ["bag", "--compare", str(camera_result), str(camera_result)]
    assert main(words) == 0
    assert "16 frames compared; changed: 0 frames" in capsys.readouterr().out


def test_the_command_ends_with_1_beyond_the_limits(pair, capsys):
    first, second = map(str, pair(name="bowl"))
    assert main(["bag", "--compare", first, second]) == 1
    output = capsys.readouterr()
    assert "cup became bowl" in output.out
    assert "more classes than allowed" in output.err
    assert main(["bag", "--compare", first, second, "--allow", f"classes={2 * FRAMES}"]) == 0
    for wrong in ("classes", "colours=3", "ids=-1"):
        assert main(["bag", "--compare", first, second, "--allow", wrong]) == 1
        assert "expected KIND=N with frames" in capsys.readouterr().err
    assert main(["bag", "--compare", first]) == 1


def test_what_holds_no_results_is_refused(camera_bag, camera_result):
    with pytest.raises(RecordingError, match="holds no results"):
        compare(camera_result, camera_bag)
