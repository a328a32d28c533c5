"""The pipeline on an engine with designed outputs, and once on the real network."""

import numpy as np
import pytest

from rmpsam_ros.pipeline import (
    NoFrameError,
    PipelineConfig,
    PipelineError,
    PromptingConfig,
    create_pipeline,
)
from rmpsam_ros.pipeline import Pipeline as PipelineUnderTest
from rmpsam_ros.runtime import (
    EngineConfig,
    EngineError,
    EngineInfo,
    FrameOutput,
    ObjectOutput,
    PromptOutput,
)
from rmpsam_ros.runtime.batches import Batches
from rmpsam_ros.runtime.steps import HostSteps
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt, PromptError
from rmpsam_ros.segmentation.run_length import decode_id_map, decode_mask
from rmpsam_ros.tracking import TrackState

LABELS = load_label_set("coco_panoptic")
PERSON = next(label.class_id for label in LABELS.labels if label.name == "person")
STUFF = next(label.class_id for label in LABELS.labels if not label.is_thing)
HEIGHT, WIDTH = 128, 192


class DesignedEngine(HostSteps, Batches):
    """Answers with one person in ``self.person`` (pixels), one stuff region on the right."""

    info = EngineInfo("designed", "fp32", "cpu", "none", "none")

    def __init__(self) -> None:
        self.person: tuple[int, int, int, int] | None = (16, 32, 48, 96)
        self.closed = False

    def run(self, image, boxes=None):
        height, width = image.shape[2] // 4, image.shape[3] // 4
        classes = np.zeros((4, LABELS.num_classes + 1), np.float32)
        masks = np.full((4, height, width), -20.0, np.float32)
        classes[3, STUFF] = 20.0
        masks[3, :, width // 2 :] = 20.0
        if self.person is not None:
            x_min, y_min, x_max, y_max = (value // 4 for value in self.person)
            classes[1, PERSON] = 20.0
            masks[1, y_min:y_max, x_min:x_max] = 20.0
        queries = np.eye(4, 256, dtype=np.float32)
        return FrameOutput((height, width), ObjectOutput(classes, masks, queries), None)

    def decode_prompts(self, features, boxes):
        height, width = features
        masks = np.full((len(boxes), height, width), -20.0, np.float32)
        for mask, (x_min, y_min, x_max, y_max) in zip(masks, boxes, strict=True):
            rows = slice(int(y_min * height), int(np.ceil(y_max * height)))
            mask[rows, int(x_min * width) : int(np.ceil(x_max * width))] = 20.0
        return PromptOutput(masks, np.full(len(boxes), 0.9, np.float32))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine():
    return DesignedEngine()


@pytest.fixture
def pipeline(engine):
    config = PipelineConfig(long_side=WIDTH, short_side=HEIGHT)
    return PipelineUnderTest(engine, LABELS, config)


def frame(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def click(x: float, y: float) -> ObjectPrompt:
    return ObjectPrompt(
        points=np.array([[x, y]], np.float32),
        labels=np.array([1]),
        boxes=np.zeros((0, 4), np.float32),
    )


def test_one_person_and_one_region_give_consistent_results(pipeline):
    result = pipeline.process(frame(), 1.0)
    by_class = {segment.class_id: segment for segment in result.panoptic.segments}
    assert set(by_class) == {PERSON, STUFF}
    person = by_class[PERSON]
    # Bilinear upsampling moves an edge by less than one stride.
    assert np.abs(np.subtract(person.box, (16, 32, 48, 96))).max() <= 2
    assert (result.panoptic.id_map == person.id).sum() == person.area
    decoded = decode_id_map(result.run_ids, result.run_lengths, HEIGHT, WIDTH)
    np.testing.assert_array_equal(decoded, result.panoptic.id_map)

    (track,) = result.tracks
    assert result.track_ids == {person.id: track.id}
    assert track.class_id == PERSON
    np.testing.assert_array_equal(
        decode_mask(result.track_masks[track.id]), result.panoptic.id_map == person.id
    )


@pytest.mark.parametrize(("height", "width"), [(128, 192), (256, 384), (64, 96), (301, 451)])
def test_results_have_the_size_of_the_image(pipeline, height, width):
    result = pipeline.process(frame(height, width), 1.0)
    assert (result.height, result.width) == (height, width)
    assert result.panoptic.id_map.shape == (height, width)
    assert pipeline.semantic_map(result).shape == (height, width)
    assert pipeline.instance_map(result).shape == (height, width)
    assert pipeline.overlay(frame(height, width), result).shape == (height, width, 3)


def test_maps_carry_classes_and_track_ids(pipeline):
    result = pipeline.process(frame(), 1.0)
    semantic, instance = pipeline.semantic_map(result), pipeline.instance_map(result)
    (track,) = result.tracks
    assert (semantic.dtype, instance.dtype) == (np.uint8, np.uint16)
    assert (semantic[64, 32], instance[64, 32]) == (PERSON, track.id)
    assert (semantic[64, 180], instance[64, 180]) == (STUFF, 0)
    assert (semantic[4, 4], instance[4, 4]) == (LABELS.unlabelled, 0)


def test_a_track_keeps_its_id_is_lost_and_never_reused(pipeline, engine):
    first = pipeline.process(frame(), 1.0).tracks[0].id
    for step in range(1, 5):
        engine.person = (16 + 8 * step, 32, 48 + 8 * step, 96)
        (track,) = pipeline.process(frame(), 1.0 + 0.1 * step).tracks
        assert track.id == first
    assert track.state is TrackState.CONFIRMED

    engine.person = None
    result = pipeline.process(frame(), 1.5)
    assert [track.state for track in result.tracks] == [TrackState.LOST]
    assert result.track_masks == {} and result.track_ids == {}

    pipeline.reset()
    engine.person = (16, 32, 48, 96)
    assert pipeline.process(frame(), 1.6).tracks[0].id > first


def test_channel_order_is_respected(engine):
    seen = []
    original = engine.run
    engine.run = lambda image, boxes=None: seen.append(image.copy()) or original(image)
    pipeline = PipelineUnderTest(engine, LABELS, PipelineConfig(long_side=64, short_side=32))
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    pipeline.process(image, 0.0, "rgb")
    pipeline.process(np.ascontiguousarray(image[..., ::-1]), 0.1, "bgr")
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-6)


def test_a_prompt_is_answered_on_the_newest_frame(pipeline):
    pipeline.process(frame(), 1.0)
    pipeline.process(frame(), 2.0)
    answer = pipeline.prompts.prompt(click(100, 60))
    mask = decode_mask(answer.mask)
    assert answer.stamp == 2.0
    assert mask.shape == (HEIGHT, WIDTH) and mask[60, 100] and mask.sum() < 200
    assert 0.0 <= answer.score <= 1.0


def test_a_prompt_before_any_frame_says_so(pipeline):
    with pytest.raises(NoFrameError, match="no image"):
        pipeline.prompts.prompt(click(1, 1))


@pytest.mark.parametrize("x", [float("nan"), -5.0, WIDTH + 5.0])
def test_a_bad_prompt_is_refused_and_changes_nothing(pipeline, x):
    pipeline.process(frame(), 1.0)
    with pytest.raises(PromptError):
        pipeline.prompts.prompt(click(x, 10))
    assert pipeline.prompts.prompt(click(10, 10)).stamp == 1.0


def test_the_image_is_kept_without_a_copy(pipeline):
    message = np.zeros((HEIGHT, WIDTH + 8, 3), np.uint8)
    image = message[:, :WIDTH]  # rows with padding, as in a message
    pipeline.process(image, 1.0)
    assert pipeline.prompts._frames.newest().image is image
    assert pipeline.prompts.prompt(click(100, 60)).mask.width == WIDTH


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((128, 192), np.uint8),
        np.zeros((128, 192, 4), np.uint8),
        np.zeros((128, 192, 3), np.float32),
        np.zeros((0, 192, 3), np.uint8),
    ],
)
def test_a_bad_image_is_refused(pipeline, image):
    with pytest.raises(ValueError):
        pipeline.process(image, 1.0)
    assert pipeline.process(frame(), 2.0).tracks


def test_close_closes_the_engine(pipeline, engine):
    pipeline.close()
    assert engine.closed


def test_frames_of_several_cameras_go_through_the_network_together(pipeline, engine):
    other = pipeline.for_another_camera()
    alone = PipelineUnderTest(engine, LABELS, PipelineConfig(long_side=WIDTH, short_side=HEIGHT))
    for step in range(3):
        images = [frame(), frame(64, 96)]
        began = [
            one.begin(image, 1.0 + step)
            for one, image in zip((pipeline, other), images, strict=True)
        ]
        outputs = pipeline.infer(began)
        first, second = pipeline.finish(began[0], outputs[0]), other.finish(began[1], outputs[1])
        expected = alone.process(images[0], 1.0 + step)
    assert (second.height, second.width) == (64, 96)
    assert first.times.inference == second.times.inference > 0.0
    np.testing.assert_array_equal(first.panoptic.id_map, expected.panoptic.id_map)
    assert [one.id for one in first.tracks] == [one.id for one in expected.tracks]
    assert first.tracks[0].hits == 3


def test_cameras_share_the_engine_and_nothing_else(pipeline, engine):
    other = pipeline.for_another_camera()
    pipeline.process(frame(), 1.0)
    assert pipeline.prompts.prompt(click(100, 60), object_id="one").object_id == "one"
    assert other.prompts.objects() == ()
    with pytest.raises(NoFrameError):
        other.prompts.prompt(click(1, 1))
    other.process(frame(64, 96), 100.0)
    other.reset()
    assert pipeline.process(frame(), 2.0).tracks[0].hits == 2  # neither their time nor their reset
    assert [one.object_id for one in pipeline.prompts.objects()] == ["one"]

    other.close()
    assert not engine.closed and pipeline.process(frame(), 3.0).tracks
    pipeline.close()
    assert engine.closed


def test_a_frame_that_fails_in_the_network_fails_alone(pipeline, engine):
    other, run = pipeline.for_another_camera(), engine.run
    began = [pipeline.begin(frame(), 1.0), other.begin(frame(64, 96), 1.0)]

    def fail_on_the_first(image, boxes=None):
        if image is began[0].prepared:
            raise EngineError("no")
        return run(image, boxes)

    engine.run = fail_on_the_first
    failed, output = pipeline.infer(began)
    assert isinstance(failed, EngineError) and other.finish(began[1], output).tracks

    def fail(image, boxes=None):
        raise EngineError("no")

    engine.run = fail
    with pytest.raises(EngineError, match="no"):
        pipeline.process(frame(), 1.5)
    engine.run = run
    assert pipeline.process(frame(), 2.0).tracks


def test_the_real_network_runs_end_to_end():
    lines: list[str] = []
    config = PipelineConfig(network=EngineConfig(engine="torch"), long_side=128, short_side=96)
    pipeline = create_pipeline(config, lines.append)
    assert "random" in pipeline.engine_info.weights and any("random" in line for line in lines)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    result = pipeline.process(image, 0.0)
    assert int(result.run_lengths.sum()) == 120 * 160
    assert decode_mask(pipeline.prompts.prompt(click(80, 60)).mask).shape == (120, 160)
    pipeline.prompts.prompt(click(80, 60), object_id="thing", track=True)
    (followed,) = pipeline.process(image, 0.1).prompted
    assert followed.object_id == "thing" and decode_mask(followed.mask).shape == (120, 160)
    late, early = (
        pipeline.prompts.prompt(click(80, 60), stamp=0.0),
        pipeline.prompts.prompt(click(80, 60)),
    )
    np.testing.assert_array_equal(late.mask.counts, early.mask.counts)  # of one image
    assert all(one.mask.area for one in pipeline.prompts.segment_everything(stamp=0.0))
    pipeline.close()


def test_cameras_on_the_real_network():
    config = PipelineConfig(network=EngineConfig(engine="torch"), long_side=64, short_side=64)
    first = create_pipeline(config)
    second = first.for_another_camera()
    images = [np.full((48, 64, 3), value, np.uint8) for value in (0, 200)]
    began = [first.begin(images[0], 0.0), second.begin(images[1], 0.0)]
    for one, output, pipeline in zip(began, first.infer(began), (first, second), strict=True):
        assert pipeline.finish(one, output).width == 64
    for one in (first, second):
        one.close()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PipelineConfig(labels="nothing_like_it"), "nothing_like_it"),
        (PipelineConfig(network=EngineConfig(model="rmpsam_r99")), "rmpsam_r18"),
        (PipelineConfig(network=EngineConfig(engine="abacus")), "abacus"),
        (PipelineConfig(network=EngineConfig(device="cuda:99")), "cuda:99"),
        (
            PipelineConfig(network=EngineConfig(weights="/no.pth", text_embeddings="/no.npy")),
            "/no.pth",
        ),
        (PipelineConfig(network=EngineConfig(weights="/no.pth")), "does not exist"),
        (PipelineConfig(prompting=PromptingConfig(engine="abacus")), "mobile_sam"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(config, reason):
    with pytest.raises(PipelineError, match=reason) as error:
        create_pipeline(config)
    assert "\n" not in str(error.value)
