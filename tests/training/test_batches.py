"""Augmentation, prompts, and batches that depend on seed, step and rank alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rmpsam_ros.data.samples import DataError, Sample
from rmpsam_ros.segmentation.preprocess import MEAN, STD
from rmpsam_ros.training.augment import (
    AugmentConfig,
    Placement,
    content_size,
    jitter_colors,
    place_frames,
    place_image,
    place_mask,
    random_placements,
)
from rmpsam_ros.training.batches import BatchConfig, BatchMaker, Source
from rmpsam_ros.training.prompt_sampling import sample_prompts

CROP = AugmentConfig(height=64, width=96, scale=(0.3, 2.5))


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


def brightness(image):
    """Undo the normalisation: grey values [h, w]."""
    return (image * STD[:, None, None] + MEAN[:, None, None]).mean(axis=0)


@pytest.mark.parametrize("seed", range(12))
def test_masks_stay_on_their_pixels(seed):
    rng = np.random.default_rng(seed)
    sample = sample_of([rectangle(20, 10, 60, 50)], [0])
    placement = random_placements((60, 80), CROP, 1, rng)[0]
    image = brightness(place_image(sample.image, placement, CROP)) > 127
    mask = place_mask(sample.masks[0], placement, CROP)
    height, width = content_size(placement, CROP)
    assert (image[:height, :width] ^ mask[:height, :width]).mean() < 0.03
    assert not mask[height:].any()
    assert not mask[:, width:].any()


def test_exact_placement():
    mask = rectangle(0, 0, 20, 10, (20, 40))
    config = AugmentConfig(height=32, width=32)
    mirrored = place_mask(mask, Placement((20, 40), (0, 8), True), config)
    assert np.array_equal(mirrored, np.pad(mask[:, ::-1], ((0, 12), (0, 0)))[:, 8:])
    doubled = place_mask(mask, Placement((40, 80), (4, 0), False), config)
    assert np.array_equal(doubled, mask.repeat(2, 0).repeat(2, 1)[4:36, :32])


def test_padding_is_the_mean_colour():
    image = place_image(np.full((8, 8, 3), 255, np.uint8), Placement((8, 8), (0, 0), False), CROP)
    assert (image[:, 8:] == 0).all()
    assert (image[:, :8, :8] > 1).all()


def test_scale_range_and_shared_scale():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, second = random_placements((60, 80), CROP, 2, rng)
        assert (first.size, first.mirrored) == (second.size, second.mirrored)
        factor = first.size[0] / 60 / min(64 / 60, 96 / 80)
        assert 0.25 <= factor <= 2.55


def test_pseudo_video_moves():
    config = AugmentConfig(height=32, width=32, scale=(2.0, 2.0), flip=0)
    sample = sample_of([rectangle(20, 10, 60, 50)], [0])
    rng = np.random.default_rng(1)
    placements = random_placements((60, 80), config, 2, rng)
    images, masks, classes, ignore = place_frames([sample, sample], placements, config)
    assert images.shape == (2, 3, 32, 32)
    assert masks.shape == (1, 2, 32, 32)
    assert classes.tolist() == [0]
    assert ignore.shape == (2, 32, 32)
    assert not np.array_equal(masks[0, 0], masks[0, 1])


def test_objects_that_are_nearly_cut_off_become_unknown():
    config = AugmentConfig(height=32, width=32, flip=0)
    inside, edge = rectangle(2, 2, 20, 20, (64, 64)), rectangle(31, 0, 64, 64, (64, 64))
    sample = sample_of([inside, edge], [0, 1])
    _, masks, classes, ignore = place_frames(
        [sample], [Placement((64, 64), (0, 0), False)], config
    )
    assert classes.tolist() == [0]
    assert np.array_equal(ignore[0], edge[:32, :32])
    assert np.array_equal(masks[0, 0], inside[:32, :32])


def test_color_jitter_keeps_range_and_can_be_off():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert jitter_colors(image, 0.0, np.random.default_rng(0)) is image
    changed = jitter_colors(image, 0.4, np.random.default_rng(0))
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, image)


class TestPrompts:
    masks = np.stack([rectangle(10, 10, 30, 20), rectangle(50, 30, 70, 55)])

    def draw(self, box_share, number=40, seed=0):
        rng = np.random.default_rng(seed)
        return sample_prompts(self.masks, number, box_share, (60, 80), rng)

    def test_points_lie_in_their_masks(self):
        boxes, owners = self.draw(0.0)
        pixels = boxes * (80, 60, 80, 60)
        assert (pixels[:, 2:] - pixels[:, :2]) == pytest.approx(6.0, abs=1e-4)
        for (x, y), owner in zip((pixels[:, :2] + pixels[:, 2:]) / 2, owners, strict=True):
            assert self.masks[owner, int(y), int(x)]

    def test_boxes_fit_their_masks_up_to_noise(self):
        boxes, owners = self.draw(1.0)
        tight = np.array([(10, 10, 30, 20), (50, 30, 70, 55)])[owners]
        error = np.abs(boxes * (80, 60, 80, 60) - tight)
        assert 0 < error.max() <= 0.004 * 25

    @pytest.mark.parametrize(("number", "least"), [(40, 20), (5, 2), (2, 1)])
    def test_every_mask_comes_up_equally_often(self, number, least):
        counts = np.bincount(self.draw(0.5, number)[1], minlength=2)
        assert counts.min() >= least
        assert counts.sum() == number

    def test_no_masks(self):
        with pytest.raises(ValueError, match="no masks"):
            sample_prompts(self.masks[:0], 3, 0.5, (60, 80), np.random.default_rng(0))


class Pictures:
    """A data set in memory."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def load(self, index):
        return self.samples[index]

    def name_of(self, index):
        return str(index)


class Clips(Pictures):
    def __init__(self, clip):
        self.clip = clip

    def __len__(self):
        return 1

    def load_clip(self, index, frames, rng):
        return [self.clip] * frames


def maker(sources=None, kinds=None, rank=0, seed=3, augment=CROP, padded_boxes=False):
    sample = sample_of([rectangle(20, 10, 60, 50), rectangle(0, 0, 15, 8)], [0, 1])
    weights = {"panoptic": 1.0, "clip": 1.0, "prompt": 1.0}
    sources = sources or [Source("toys", Pictures([sample]), weights)]
    config = BatchConfig(batch_size=2, num_prompts=7, kinds=kinds)
    return BatchMaker(sources, config, dict.fromkeys(weights, augment), seed, rank, padded_boxes)


def tensors(batch):
    extra = [t for t in (batch.boxes, batch.masks, batch.known) if t is not None]
    return [batch.images, *extra, *(target.masks for target in batch.targets)]


def test_a_batch_depends_on_seed_step_and_rank_alone():
    for step in range(6):
        again = zip(tensors(maker()(step)), tensors(maker()(step)), strict=True)
        assert all(torch.equal(one, two) for one, two in again)
    first = maker(kinds={"panoptic": 1})(0).images
    for other in (maker(kinds={"panoptic": 1}, rank=1)(0), maker(kinds={"panoptic": 1})(1)):
        assert not torch.equal(first, other.images)


def test_all_processes_have_the_same_kind_at_every_step():
    kinds = [[maker(rank=rank)(step).kind for step in range(12)] for rank in range(2)]
    assert kinds[0] == kinds[1]
    assert set(kinds[0]) == {"panoptic", "clip", "prompt"}


@pytest.mark.parametrize(("kind", "frames"), [("panoptic", 1), ("clip", 2)])
def test_object_batches(kind, frames):
    batch = maker(kinds={kind: 1})(0)
    assert batch.images.shape == (2 * frames, 3, 64, 96)
    assert batch.frames == frames
    for target in batch.targets:
        assert target.masks.shape[1:] == (frames, 64, 96)
        assert target.annotated.shape == (3,)


def test_prompt_batches():
    batch = maker(kinds={"prompt": 1})(0)
    assert batch.boxes.shape == (2, 7, 4)
    assert batch.masks.shape == (2, 7, 64, 96)
    assert batch.known.shape == (2, 64, 96)
    assert batch.masks.flatten(2).any(dim=2).all()


def test_boxes_are_relative_to_the_picture_or_to_the_padded_crop():
    """A picture of 60 x 80 in a crop of 64 x 96."""
    small = AugmentConfig(height=64, width=96, scale=(0.7, 0.7), flip=0)
    picture, padded = (
        maker(kinds={"prompt": 1}, augment=small, padded_boxes=flag)(0).boxes
        for flag in (False, True)
    )
    height, width = content_size(
        random_placements((60, 80), small, 1, np.random.default_rng(0))[0], small
    )
    ratio = torch.tensor((width / 96, height / 64) * 2)
    torch.testing.assert_close(padded, picture * ratio)


@pytest.mark.parametrize(("weights", "expected"), [({"prompt": 1.0}, {0, 2}), ({}, {0})])
def test_only_objects_of_sources_for_prompts_are_pasted(weights, expected):
    donor = sample_of([rectangle(10, 10, 30, 40)], [2])
    sources = [
        Source("toys", Pictures([sample_of([rectangle(20, 10, 60, 50)], [0])]), {"panoptic": 1.0}),
        Source("donors", Pictures([donor]), weights),
    ]
    augment = replace(CROP, scale=(1.0, 1.0), paste=1.0)
    batches = [maker(sources, {"panoptic": 1}, augment=augment)(step) for step in range(10)]
    found = {int(c) for b in batches for target in b.targets for c in target.classes}
    assert found == expected


@pytest.mark.parametrize("kind", ["panoptic", "clip"])
def test_people_of_the_sources_for_crowds_are_pasted(kind):
    person = sample_of([rectangle(30, 10, 40, 50)], [2])
    sources = [
        Source("toys", Pictures([sample_of([rectangle(20, 10, 60, 50)], [0])]), {kind: 1.0}),
        Source("people", Pictures([person]), {"crowd": 1.0}),
        Source("others", Pictures([sample_of([rectangle(30, 10, 40, 50)], [1])]), {}),
    ]
    augment = replace(CROP, scale=(1.0, 1.0), crowd=1.0)
    batches = [maker(sources, {kind: 1}, augment=augment)(step) for step in range(10)]
    found = [target.classes.tolist() for batch in batches for target in batch.targets]
    assert max(classes.count(2) for classes in found) >= 3
    assert {label for classes in found for label in classes} == {0, 2}
    alone = maker(sources[:1], {kind: 1}, augment=augment)(0)
    assert {int(label) for target in alone.targets for label in target.classes} == {0}


def test_real_clips_and_pseudo_video_mix():
    sample = sample_of([rectangle(20, 10, 60, 50)], [0])
    clips = Source("clips", Clips(sample), {"clip": 1.0})
    assert maker([clips], {"clip": 1})(0).images.shape[0] == 4


def test_kind_without_data():
    pictures = Source("toys", Pictures([]), {"panoptic": 1.0})
    with pytest.raises(DataError, match="no data set has a weight for 'prompt'"):
        maker([pictures], {"panoptic": 1, "prompt": 1})


def test_only_empty_pictures():
    empty = Sample(
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8, 8), bool),
        np.zeros(0, np.int64),
        np.zeros((8, 8), bool),
        np.ones(3, bool),
    )
    with pytest.raises(DataError, match="in a row without objects"):
        maker([Source("none", Pictures([empty]), {"prompt": 1.0})], {"prompt": 1})(0)
