"""Objects followed by the network's own decoder: scripted scenes, expected states and places."""

import numpy as np
import pytest

from rmpsam_ros.pipeline import Pipeline, PipelineConfig
from rmpsam_ros.prompting import KeptFrame, PromptState, SharedDecoder
from rmpsam_ros.prompting.query_masks import pack_queries
from rmpsam_ros.runtime import FrameOutput, ObjectOutput, PromptOutput
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.tracking.prompted_records import Anchor

HEIGHT, WIDTH, SIDE = 128, 192, 24
# Two shades of red that colours cannot tell apart, but the queries of the network do.
SHADES = {"a": (200, 30, 30), "b": (212, 30, 30), "twin of a": (206, 30, 30)}
LOOKS = {"a": 0, "b": 1, "twin of a": 0}
NUM_QUERIES, LOST = 8, None


class ShadeNetwork:
    """Every block is an object; its query tells its shade, in another slot in every frame.

    A prompt is answered with the block that its box holds most of, whatever its shade.
    """

    def __init__(self, blocks):
        self._blocks = blocks
        self._looks = np.abs(np.random.default_rng(3).normal(size=(NUM_QUERIES, 64)))
        self._frame = 0

    def __getattr__(self, name):
        return getattr(self._blocks, name)

    def run_batch(self, images, boxes):
        return [self.run(image, one) for image, one in zip(images, boxes, strict=True)]

    def run(self, image, boxes=None):
        output = self._blocks.run(image, boxes)
        self._frame += 1
        order = np.random.default_rng(self._frame).permutation(NUM_QUERIES)
        red = image[0, 0, 2::4, 2::4] * 58.395 + 123.675
        queries = self._looks[2:][np.arange(NUM_QUERIES) % (NUM_QUERIES - 2)].copy()
        objects = output.objects
        for slot in np.flatnonzero(objects.class_logits[:, -1] == 0.0):
            value = red[objects.mask_logits[slot] > 0].mean()
            name = min(SHADES, key=lambda one: abs(SHADES[one][0] - value))
            queries[slot] = self._looks[LOOKS[name]]
        shuffled = ObjectOutput(
            objects.class_logits[order],
            objects.mask_logits[order],
            queries[order].astype(np.float32),
        )
        return FrameOutput(output.features, shuffled, output.prompts)


@pytest.fixture
def pipeline(network):
    config = PipelineConfig(long_side=WIDTH, short_side=HEIGHT)
    engine = ShadeNetwork(network)
    return Pipeline(engine, load_label_set("coco_panoptic"), config)


def scene(blocks, places):
    return blocks(*((x, 40, SIDE, SHADES[name]) for name, x in places.items()))


STILL = {"a": 20, "b": 120}
SCENES = {
    "it moves": [{"a": 20 + 4 * k, "b": 120} for k in range(8)],
    "it is too fast for its last place": [STILL, {"a": 70, "b": 120}, {"a": 20, "b": 120}],
    "another one stands where it was": [STILL, {"a": 120, "b": 20}, {"a": 124, "b": 16}],
    "they cross, one behind the other": [
        *({"a": 20 + 12 * k, "b": 120 - 12 * k} for k in range(4)),
        {"b": 72},
        *({"a": 96 + 12 * k, "b": 60 - 12 * k} for k in range(4)),
    ],
    "it is hidden and comes out elsewhere": [STILL, *[{"b": 120}] * 4, {"a": 70, "b": 120}],
    "it leaves, another one takes its place, it comes back": [
        STILL,
        {"b": 120},
        {"b": 30},
        {"b": 20},
        {"b": 20},
        {"a": 150, "b": 20},
    ],
    "everything goes dark": [STILL, {}, {}, STILL],
}


@pytest.mark.parametrize("name", SCENES)
def test_a_prompted_object_stays_itself(pipeline, blocks, ask, name):
    """At every frame it is where the block of its shade is, and lost where there is none."""
    frames = SCENES[name]
    pipeline.process(scene(blocks, frames[0]), 0.0)
    pipeline.prompts.prompt(ask(points=[(30, 50, 1)]), object_id="it", track=True)
    found = []
    for k, places in enumerate(frames[1:], start=1):
        (mask,) = pipeline.process(scene(blocks, places), 0.1 * k).prompted
        found.append(LOST if mask.state is PromptState.LOST else mask.mask.box[0])
        assert (mask.mask.area > 0) == (mask.state is PromptState.TRACKED)
    expected = [places.get("a", LOST) for places in frames[1:]]
    assert [one is LOST for one in found] == [one is LOST for one in expected]
    for place, wanted in zip(found, expected, strict=True):
        assert place is LOST or abs(place - wanted) <= 3


def test_the_query_that_shows_another_followed_object_is_not_taken(pipeline, blocks, ask):
    """Two that look the same: when one is hidden, it is lost and not the other one."""
    both = {"a": 20, "twin of a": 120}
    pipeline.process(scene(blocks, both), 0.0)
    pipeline.prompts.prompt(ask(points=[(30, 50, 1)]), object_id="it", track=True)
    pipeline.prompts.prompt(ask(points=[(130, 50, 1)]), object_id="twin", track=True)
    for k in range(1, 4):
        prompted = pipeline.process(scene(blocks, {"twin of a": 120}), 0.1 * k).prompted
        states = {one.object_id: one.state for one in prompted}
        assert states == {"it": PromptState.LOST, "twin": PromptState.TRACKED}
    prompted = pipeline.process(scene(blocks, both), 0.4).prompted
    assert {one.object_id: one.mask.box[0] // 10 for one in prompted} == {"it": 2, "twin": 12}


def test_without_an_object_query_it_is_followed_by_its_prompt_alone(
    pipeline, network, blocks, ask
):
    network.objects_found = False
    pipeline.process(scene(blocks, STILL), 0.0)
    pipeline.prompts.prompt(ask(points=[(30, 50, 1)]), object_id="it", track=True)
    for k in range(1, 5):
        (mask,) = pipeline.process(scene(blocks, {"a": 20 + 4 * k, "b": 120}), 0.1 * k).prompted
        assert mask.state is PromptState.TRACKED and abs(mask.mask.box[0] - 20 - 4 * k) <= 3
    (mask,) = pipeline.process(scene(blocks, {"a": 150, "b": 120}), 0.5).prompted
    assert mask.state is PromptState.LOST


def test_a_query_whose_mask_is_not_finite_is_no_candidate(pipeline, network, blocks, ask):
    pipeline.process(scene(blocks, STILL), 0.0)
    pipeline.prompts.prompt(ask(points=[(30, 50, 1)]), object_id="it", track=True)
    run = network.run

    def broken(image, boxes=None):
        output = run(image, boxes)
        output.objects.mask_logits[:, 0, 0] = np.nan
        return output

    network.run = broken
    (mask,) = pipeline.process(scene(blocks, {"a": 70, "b": 120}), 0.1).prompted
    assert mask.state is PromptState.LOST


@pytest.mark.parametrize("size", [(128, 192), (100, 300), (480, 640), (37, 500)])
def test_queries_that_agree_with_a_mask(size):
    """Of three queries the one of the same place; best first if there are several."""
    geometry = fit(size, (192, 128))
    rows, columns = (side // 4 for side in geometry.padded_size)
    masks = np.full((4, rows, columns), -5.0, np.float32)
    width = round(geometry.resized_size[1] / 4)
    masks[0, :, : width // 2] = 5.0
    masks[1, :, width // 2 :] = 5.0  # and the padding
    masks[2, :, width // 2 : width - width // 8] = 5.0
    objects = ObjectOutput(np.zeros((4, 3), np.float32), masks, np.eye(4, dtype=np.float32))
    queries = pack_queries(objects, objects.queries)
    mask = np.zeros(size, np.bool_)
    mask[:, size[1] // 2 :] = True
    assert queries.agreeing(mask, geometry).tolist() == [1, 2]
    assert queries.agreeing(~mask, geometry).tolist() == [0]
    assert queries.agreeing(np.zeros(size, np.bool_), geometry).tolist() == []


@pytest.mark.parametrize(
    ("elapsed", "reach"), [(0.0, 7.5), (1 / 30, 7.5), (0.1, 18.0), (0.5, 30.0), (60.0, 30.0)]
)
def test_how_far_it_is_looked_for(network, elapsed, reach):
    """A mask that is everywhere ends where the object, 30 pixels wide, cannot be by then."""
    everywhere = np.full((1, HEIGHT // 4, WIDTH // 4), 9.0, np.float32)
    network.decode_prompts = lambda features, boxes: PromptOutput(everywhere, np.ones(1))
    objects = ObjectOutput(np.zeros((1, 3), np.float32), everywhere, np.ones((1, 4), np.float32))
    queries = pack_queries(objects, objects.queries)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame = KeptFrame(1.0, image, "rgb", fit((HEIGHT, WIDTH), (WIDTH, HEIGHT)), None, queries)
    anchor = Anchor((80.0, 40.0, 110.0, 60.0), np.array([[90, 50]], np.float32), (HEIGHT, WIDTH))
    columns = np.flatnonzero(SharedDecoder(network).look(frame, anchor, elapsed).mask.any(axis=0))
    assert columns[0] == np.floor(80 - reach) and columns[-1] + 1 == np.ceil(110 + reach)
