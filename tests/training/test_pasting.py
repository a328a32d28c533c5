"""Objects of other pictures pasted in: scattered ones, and groups of people that move."""

from dataclasses import replace

import numpy as np
import pytest

from rmpsam_ros.data.samples import Sample
from rmpsam_ros.training.pasting import MAX_PASTED, paste_crowd, paste_objects


def sample_of(masks, classes, ignore=None):
    """A picture that is white where any object is."""
    masks = np.stack(masks)
    image = np.where(masks.any(axis=0)[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    ignore = np.zeros(masks.shape[1:], bool) if ignore is None else ignore
    return Sample(image, masks, np.array(classes, np.int64), ignore, np.ones(3, bool))


def rectangle(x1, y1, x2, y2, size=(60, 80)):
    mask = np.zeros(size, bool)
    mask[y1:y2, x1:x2] = True
    return mask


class TestScattered:
    """Grey objects of value 200 on a black picture with white ones."""

    target = sample_of([rectangle(5, 5, 75, 55), rectangle(40, 30, 50, 40)], [0, 1])

    def donor(self, *masks):
        sample = sample_of(masks or (rectangle(10, 10, 30, 40),), [2] * max(len(masks), 1))
        return replace(sample, image=(sample.image > 0).astype(np.uint8) * 200)

    @pytest.mark.parametrize("seed", range(20))
    def test_pixels_masks_and_classes_agree(self, seed):
        result = paste_objects(self.target, self.donor(), np.random.default_rng(seed))
        new = result.classes == 2
        mask = result.masks[new].any(axis=0)
        assert mask.any() and not (result.masks[new].sum(axis=0) > 1).any()
        assert (result.image[mask] > 90).mean() > 0.9  # borders are interpolated
        rest = ~(mask | result.ignore)
        assert np.array_equal(result.image[rest], self.target.image[rest])
        assert not (result.masks[~new] & mask).any()
        assert set(result.classes) <= {0, 1, 2}
        assert result.masks.any(axis=(1, 2)).all()
        assert result.image.shape == self.target.image.shape

    def test_what_is_left_of_a_covered_object_is_unknown(self):
        for seed in range(2000):
            result = paste_objects(self.target, self.donor(), np.random.default_rng(seed))
            rest = self.target.masks[1] & ~result.masks[result.classes == 2].any(axis=0)
            if 0 < rest.sum() < 0.2 * 100:
                assert 1 not in result.classes and result.ignore[rest].all()
                return
        raise AssertionError("no seed covers nearly all of the small object")

    def test_what_was_unknown_is_known_below_a_pasted_object(self):
        target = replace(self.target, ignore=np.ones((60, 80), bool))
        result = paste_objects(target, self.donor(), np.random.default_rng(4))
        known = result.masks[result.classes == 2].any(axis=0)
        assert known.any() and not (known & result.ignore).any()

    @pytest.mark.parametrize("objects", [1, 7])
    def test_up_to_five_objects_some_several_times(self, objects):
        masks = (rectangle(x, 5, x + 9, 30) for x in range(0, 10 * objects, 10))
        donor = self.donor(*masks)
        results = (
            paste_objects(self.target, donor, np.random.default_rng(seed)) for seed in range(40)
        )
        counts = {int((result.classes == 2).sum()) for result in results}
        assert counts == set(range(1, MAX_PASTED + 1))

    def test_a_donor_without_objects_gives_nothing(self):
        donor = replace(self.donor(), masks=np.zeros((0, 60, 80), bool), classes=np.zeros(0, int))
        result = paste_objects(self.target, donor, np.random.default_rng(0))
        assert np.array_equal(result.image, self.target.image)
        assert result.classes.tolist() == [0, 1]

    def test_the_sources_stay_as_they_are(self):
        donor = self.donor()
        before = [array.copy() for array in (self.target.image, self.target.masks, donor.image)]
        paste_objects(self.target, donor, np.random.default_rng(0))
        after = (self.target.image, self.target.masks, donor.image)
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


class TestCrowd:
    """People of 12 x 36 pixels, each of a grey of its own, that carry a bag, on a black street."""

    street = sample_of([rectangle(0, 30, 80, 60), rectangle(38, 40, 42, 44)], [0, 0])

    def people(self, count):
        person, bag = rectangle(20, 10, 32, 46), rectangle(32, 30, 36, 36)
        donors = []
        for index in range(count):
            sample = sample_of([person, bag], [2, 1])
            grey = np.uint8(100 + 10 * index)
            donors.append(replace(sample, image=(sample.image > 0).astype(np.uint8) * grey))
        return donors

    @pytest.mark.parametrize("seed", range(20))
    def test_every_person_is_an_object_where_its_pixels_are(self, seed):
        (result,) = paste_crowd([self.street], self.people(4), np.random.default_rng(seed))
        people = result.masks[result.classes == 2]
        assert not (result.masks[result.classes > 0].sum(axis=0) > 1).any()
        greys = [np.median(result.image[mask]) for mask in people if mask.sum() > 20]
        assert len(set(greys)) == len(greys)
        covered = result.masks[result.classes > 0].any(axis=0) | result.ignore
        assert np.array_equal(result.image[~covered], self.street.image[~covered])
        assert result.masks.any(axis=(1, 2)).all()

    def test_people_of_a_group_stand_in_front_of_one_another(self):
        """In most groups somebody is hidden in part, and the nearest, the last, never is."""
        hidden = 0
        for seed in range(30):
            (result,) = paste_crowd([self.street], self.people(5), np.random.default_rng(seed))
            people = result.masks[result.classes == 2]
            areas = people.sum(axis=(1, 2))
            inside = [mask for mask in people if not (mask[0].any() or mask[-1].any())]
            hidden += len(inside) > 1 and areas.min() < 0.7 * areas.max()
        assert hidden > 8

    @pytest.mark.parametrize("seed", range(10))
    def test_objects_keep_their_place_in_the_list_while_they_move(self, seed):
        frames = paste_crowd([self.street] * 3, self.people(3), np.random.default_rng(seed))
        assert len({frame.classes.tobytes() for frame in frames}) == 1
        assert len({frame.masks.shape for frame in frames}) == 1
        for masks in zip(*(frame.masks for frame in frames), strict=True):
            greys = {
                int(np.median(f.image[m]))
                for f, m in zip(frames, masks, strict=True)
                if m.sum() > 40
            }
            assert len(greys) <= 1
        assert any(
            not np.array_equal(a, b) for a, b in zip(frames[0].masks, frames[2].masks, strict=True)
        )

    def test_a_person_that_leaves_keeps_an_empty_mask(self):
        for seed in range(200):
            frames = paste_crowd([self.street] * 2, self.people(3), np.random.default_rng(seed))
            shown = [frame.masks.any(axis=(1, 2)) for frame in frames]
            if (shown[0] != shown[1]).any():
                assert (shown[0] | shown[1]).all()
                return
        raise AssertionError("nobody leaves or enters in 200 clips")

    @pytest.mark.parametrize("donors", [[], "empty"])
    def test_nobody_to_paste(self, donors):
        if donors == "empty":
            nobody = self.people(1)[0]
            donors = [replace(nobody, masks=np.zeros_like(nobody.masks))]
        (result,) = paste_crowd([self.street], donors, np.random.default_rng(0))
        assert np.array_equal(result.image, self.street.image)
        assert np.array_equal(result.masks, self.street.masks)

    def test_the_sources_stay_as_they_are(self):
        donors = self.people(2)
        before = [
            array.copy() for array in (self.street.image, self.street.masks, donors[0].image)
        ]
        paste_crowd([self.street], donors, np.random.default_rng(0))
        after = (self.street.image, self.street.masks, donors[0].image)
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
