"""Clips in the pipeline: tubes of the newest frames, one result per frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PipelineError, create_pipeline
from rmpsam_ros.runtime import EngineConfig, EngineError, EngineInfo, FrameOutput, ObjectOutput
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.network import load_network, resolve
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import preprocess
from rmpsam_ros.tracking import TrackState

LABELS = load_label_set("coco_panoptic")
PERSON = next(label.class_id for label in LABELS.labels if label.name == "person")
HEIGHT, WIDTH = 128, 192


class TubeEngine(HostSteps, Batches):
    """One person wherever the image is bright; a single frame alone does not know its class."""

    info = EngineInfo("tubes", "fp32", "cpu", "none", "none")

    def __init__(self):
        self.tubes = []
        self.error = None

    def run(self, image, boxes=None):
        bright = image[0, :, 2::4, 2::4].max(axis=0) > 0
        return FrameOutput((image.mean(), bright), self._objects(bright, known=False), None)

    def decode_tube(self, features):
        if self.error is not None:
            raise self.error
        self.tubes.append([mean for mean, _ in features])
        return tuple(self._objects(bright, known=True) for _, bright in features)

    def _objects(self, bright, known):
        classes = np.zeros((3, LABELS.num_classes + 1), np.float32)
        classes[:, -1] = 20.0
        classes[1, PERSON] = 40.0 if known else 0.0
        masks = np.full((3, *bright.shape), -20.0, np.float32)
        masks[1][bright] = 20.0
        return ObjectOutput(classes, masks, np.eye(3, 256, dtype=np.float32))

    def close(self):
        pass


def config(clip_frames):
    return PipelineConfig(
        network=EngineConfig(clip_frames=clip_frames), long_side=WIDTH, short_side=HEIGHT
    )


def image_of(x):
    """A bright block with its left edge at x; None: nothing."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    if x is not None:
        image[40:80, x : x + 40] = 255
    return image


def mean_of(x):
    """What the engine keeps of such an image."""
    return float(preprocess(image_of(x), (WIDTH, HEIGHT))[0].mean())


@pytest.fixture
def engine():
    return TubeEngine()


def test_single_frames_need_no_tube(engine):
    pipeline = Pipeline(engine, LABELS, config(1))
    pipeline.warm_up()
    for step in range(4):
        assert pipeline.process(image_of(4 * step), 0.1 * step).tracks == ()
    assert engine.tubes == []


def test_every_frame_has_the_result_of_the_clip_that_ends_with_it(engine):
    pipeline = Pipeline(engine, LABELS, config(3))
    for step in range(6):
        result = pipeline.process(image_of(8 * step), 1.0 + 0.1 * step)
        assert result.stamp == 1.0 + 0.1 * step
        if step == 0:
            continue  # its clip is itself
        (segment,) = result.panoptic.segments
        assert np.abs(np.subtract(segment.box, (8 * step, 40, 8 * step + 40, 80))).max() <= 2
        assert result.track_ids == {segment.id: 1}
    assert [len(tube) for tube in engine.tubes] == [2, 3, 3, 3, 3]
    assert engine.tubes[-1] == pytest.approx([mean_of(8 * step) for step in (3, 4, 5)])


def test_what_has_left_has_no_segment_though_it_is_in_the_tube(engine):
    pipeline = Pipeline(engine, LABELS, config(3))
    for step in range(5):
        pipeline.process(image_of(0), 0.1 * step)
    result = pipeline.process(image_of(None), 0.5)
    assert result.panoptic.segments == ()
    assert [track.state for track in result.tracks] == [TrackState.LOST]
    assert len(engine.tubes[-1]) == 3


def test_clips_do_not_reach_over_a_reset_a_jump_or_another_size(engine):
    pipeline = Pipeline(engine, LABELS, config(4))

    def length_after(number, image, stamp):
        before = len(engine.tubes)
        for step in range(number):
            pipeline.process(image, stamp + 0.1 * step)
        return len(engine.tubes[-1]) if len(engine.tubes) > before else 1

    assert length_after(4, image_of(0), 100.0) == 4
    assert length_after(1, image_of(0), 99.0) == 1  # jump back by more than backward_jump
    assert length_after(2, image_of(0), 99.1) == 3
    assert length_after(1, image_of(0), 98.9) == 4  # by less
    pipeline.reset()
    assert length_after(1, image_of(0), 99.3) == 1
    assert length_after(1, image_of(0), 110.0) == 1  # pause
    assert length_after(1, np.zeros((HEIGHT, HEIGHT, 3), np.uint8), 110.1) == 1
    assert length_after(1, image_of(0), 110.2) == 1


def test_a_tube_that_fails_costs_its_frame_only(engine):
    pipeline = Pipeline(engine, LABELS, config(2))
    pipeline.process(image_of(0), 0.0)
    engine.error = EngineError("no")
    with pytest.raises(EngineError):
        pipeline.process(image_of(0), 0.1)
    engine.error = None
    assert pipeline.process(image_of(0), 0.2).tracks


def test_each_camera_has_clips_of_its_own(engine):
    first = Pipeline(engine, LABELS, config(3))
    second = first.for_another_camera()
    for step in range(3):
        first.process(image_of(8 * step), 0.1 * step)
        second.process(image_of(None), 0.1 * step)
    assert engine.tubes[-1] == pytest.approx([mean_of(None)] * 3)


def test_an_engine_without_tubes_is_refused_at_start(monkeypatch):
    class SingleFrames(TubeEngine):
        def decode_tube(self, features):
            raise EngineError("this engine was made for single frames")

    monkeypatch.setattr("rmpsam_ros.pipeline.create.load_engine", lambda *_: SingleFrames())
    with pytest.raises(PipelineError, match="single frames"):
        create_pipeline(config(3))
    create_pipeline(config(1)).close()


@pytest.mark.parametrize("clip_frames", [0, 17])
def test_impossible_clips_are_refused_at_start(clip_frames):
    with pytest.raises(PipelineError, match=f"clip_frames is {clip_frames}"):
        create_pipeline(config(clip_frames))


def test_the_real_network_decodes_the_tube_of_the_paper():
    """The last frame of a clip has the masks that the network gives for the whole tube."""
    network = EngineConfig(engine="torch", device="cpu", num_threads=1, clip_frames=3)
    settings = replace(config(3), network=network, fusion=FusionConfig(0.05, 0.05))
    lines = []
    pipeline = create_pipeline(settings, lines.append)
    assert "objects are decoded from clips of 3 images" in lines
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(4)]
    for step, image in enumerate(images):
        result = pipeline.process(image, 0.1 * step)
    model = load_network(resolve(network), LABELS.num_classes, lines.append)
    prepared = [preprocess(image, (WIDTH, HEIGHT)) for image in images[1:]]
    with torch.inference_mode():
        features = torch.cat([model.features(torch.from_numpy(one)) for one, _ in prepared])
        tube = model.decode_objects(features, frames=3)
        single = model.decode_objects(features[-1:])
    expected = fuse_panoptic(
        tube.class_logits[0].numpy(),
        np.ascontiguousarray(tube.mask_logits[0, :, -1].numpy()),
        prepared[-1][1],
        LABELS,
        settings.fusion,
    )
    agree = (result.panoptic.id_map == expected.id_map).mean()
    assert len(expected.segments) > 2
    assert agree > 0.99 and len(result.panoptic.segments) == len(expected.segments)
    alone = fuse_panoptic(
        single.class_logits[0].numpy(),
        single.mask_logits[0].numpy(),
        prepared[-1][1],
        LABELS,
        settings.fusion,
    )
    assert (result.panoptic.id_map == alone.id_map).mean() < 0.9  # one frame says something else
