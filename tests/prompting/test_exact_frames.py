"""A click on an earlier frame, with the real networks: the mask that this frame gives offline."""

import numpy as np
import pytest

from rmpsam_ros.pipeline import PipelineConfig, PromptingConfig, create_pipeline
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.run_length import decode_mask

LATER = 20


def make(engine, clip_frames, tmp_path):
    network = EngineConfig(
        engine="onnxruntime" if engine == "onnxruntime" else "torch",
        device="cpu",
        num_threads=1,
        cache_folder=str(tmp_path),
        clip_frames=clip_frames,
    )
    prompts = "mobile_sam" if engine == "mobile_sam" else "rmpsam"
    prompting = PromptingConfig(engine=prompts, keep_seconds=60.0)
    return create_pipeline(
        PipelineConfig(network=network, long_side=96, short_side=64, prompting=prompting)
    )


def picture(step):
    """Noise with a bright square that moves."""
    image = np.random.default_rng(step).integers(0, 60, (64, 96, 3), np.uint8)
    image[20:44, 2 * step : 2 * step + 24] = (230, 180, 30)
    return image


@pytest.mark.parametrize(
    ("engine", "clip_frames"),
    [
        ("torch", 1),
        ("torch", 3),
        ("onnxruntime", 1),
        pytest.param("mobile_sam", 1, marks=pytest.mark.slow),
    ],
)
def test_the_mask_of_frame_t_while_twenty_more_were_processed(engine, clip_frames, tmp_path, ask):
    live, offline = make(engine, clip_frames, tmp_path), make(engine, 1, tmp_path)
    clicked = 3
    for step in range(clicked + LATER + 1):
        result = live.process(picture(step), 100.0 + 0.1 * step)
    assert result.stamp == pytest.approx(100.0 + 0.1 * (clicked + LATER))
    stamp = 100.0 + 0.1 * clicked
    offline.process(picture(clicked), stamp)
    click = ask([(2 * clicked + 12, 32, 1)])
    late, alone = live.prompts.prompt(click, stamp), offline.prompts.prompt(click, stamp)
    assert late.stamp == alone.stamp == stamp
    np.testing.assert_array_equal(decode_mask(late.mask), decode_mask(alone.mask))
    assert late.score == alone.score and late.mask.area > 0
    newest = live.prompts.prompt(click)
    assert newest.stamp == result.stamp
    if engine == "mobile_sam":  # the network's weights are random
        square = picture(clicked).max(axis=2) > 100
        found = decode_mask(late.mask)
        assert (found & square).sum() / (found | square).sum() > 0.8
        assert not np.array_equal(decode_mask(newest.mask), found)
