"""The time of a click, with the prompt engines whose weights are at hand.

    python tools/figures/prompt_figures.py [--rounds 20]

Times a click on a frame that was encoded before: decoder, mask at image size, and everything that
is remembered of it. J and F of followed objects: video_figures.py.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from rmpsam_ros.pipeline import Pipeline, PipelineConfig, PromptingConfig
from rmpsam_ros.prompting import load_prompt_engine
from rmpsam_ros.runtime import EngineConfig, load_engine
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt

CPU = EngineConfig(device="cpu")


def clicks(options: argparse.Namespace) -> None:
    """Print milliseconds of a click with mobile_sam and with the network's own decoder."""
    torch.set_num_threads(2)
    network = load_engine(EngineConfig(engine="torch"), 133)
    labels = load_label_set("coco_panoptic")
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    prompt = ObjectPrompt(
        np.array([[320, 240]], np.float32), np.array([1]), np.zeros((0, 4), np.float32)
    )
    for name in ("mobile_sam", "rmpsam"):
        prompting = PromptingConfig(engine=name)
        engine = load_prompt_engine(prompting, CPU)
        pipeline = Pipeline(network, labels, PipelineConfig(prompting=prompting), engine)
        pipeline.process(image, 0.0)
        started = time.perf_counter()
        pipeline.prompts.prompt(prompt)
        first = time.perf_counter() - started
        times = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            pipeline.prompts.prompt(prompt)
            times.append(time.perf_counter() - started)
        print(
            f"{name:11} click {1e3 * min(times):6.1f} ms least, "
            f"{1e3 * statistics.median(times):6.1f} ms median; the first on a frame, "
            f"with its encoder: {1e3 * first:.0f} ms"
        )


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=20)
    clicks(parser.parse_args())


if __name__ == "__main__":
    main()
