"""Sub-command ``everything``: class-agnostic masks of everything in a picture."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rmpsam_ros.cli.common import add_model_options, make_pipeline, read_image, write_image
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.outputs import IMAGES, add_overwrite, check_output
from rmpsam_ros.pipeline import Pipeline
from rmpsam_ros.prompting.config import PromptingConfig
from rmpsam_ros.prompting.grid_prompts import POINTS_AT_ONCE
from rmpsam_ros.prompting.load import PROMPT_ENGINES
from rmpsam_ros.prompting.segment_everything import MAX_GRID
from rmpsam_ros.runtime import EngineError
from rmpsam_ros.segmentation.coco_run_length import encode_coco
from rmpsam_ros.segmentation.prompt_overlay import draw_prompted
from rmpsam_ros.segmentation.prompt_types import PromptError
from rmpsam_ros.segmentation.run_length import decode_mask
from rmpsam_ros.tracking.prompted_records import PromptedMask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add("input", type=Path)
    add("output", type=Path, nargs="?", help="overlay (default: <input>_everything.png here)")
    add("--json", type=Path, help="masks, scores and boxes (default: as the overlay, but .json)")
    add("--grid", type=int, default=0, metavar="N", help="prompt with N x N points instead")
    add("--prompt-engine", choices=PROMPT_ENGINES, default="mobile_sam",
        help="default: %(default)s")  # fmt: skip
    add("--prompt-weights", default="", help="weights of the prompt engine")
    add_overwrite(parser)
    add_model_options(parser)
    parser.set_defaults(run=run_everything)


def run_everything(options: argparse.Namespace) -> None:
    """Write the overlay and the masks, and print how many there are and what they cost."""
    image = read_image(options.input)
    if not 0 <= options.grid <= MAX_GRID:
        raise CommandError(f"grid is {options.grid}; use 1 to {MAX_GRID} points per side")
    output = options.output or Path(f"{options.input.stem}_everything.png")
    listing = options.json or output.with_suffix(".json")
    check_output(output, options.overwrite, IMAGES)
    check_output(listing, options.overwrite)
    prompting = PromptingConfig(engine=options.prompt_engine, weights=options.prompt_weights)
    pipeline = make_pipeline(options, prompting=prompting)
    print(f"prompts: {pipeline.prompts.engine.info}")
    if not options.grid and "random" in pipeline.engine_info.weights:
        print("the boxes come from random weights and mean nothing: use --weights, or --grid")
    try:
        result = pipeline.process(image, 0.0, "bgr")
        started = time.perf_counter()
        with tqdm(desc="masks", unit="step", leave=False) as bar:
            found = _found(pipeline, options.grid, bar)
        seconds = time.perf_counter() - started
    except (EngineError, PromptError, FloatingPointError, ValueError) as error:
        raise CommandError(str(error)) from error
    finally:
        pipeline.close()
    write_image(output, drawn(image, found))
    prompts = f"grid of {options.grid} x {options.grid} points" if options.grid else "boxes"
    document = {
        "image": {"file_name": options.input.name, "height": len(image), "width": image.shape[1]},
        "prompts": prompts,
        "engine": pipeline.prompts.engine.info,
        "annotations": annotations(found),
    }
    try:
        listing.write_text(json.dumps(document) + "\n")
    except OSError as error:
        raise CommandError(f"'{listing}' cannot be written: {error.strerror}") from error
    times = result.times
    print(f"network {1e3 * (times.preprocess + times.inference + times.postprocess):.0f} ms")
    print(f"{prompts}: {len(found)} masks in {1e3 * seconds:.0f} ms, image encoder included")
    covered = coverage(found, image.shape[:2])
    print(f"they cover {covered:.0%} of the picture")
    print(f"wrote {output} and {listing}")


def _found(pipeline: Pipeline, grid: int, bar: Any) -> Sequence[PromptedMask]:
    """Return the masks; it takes many seconds, so that every step shows."""
    steps = pipeline.prompts.everything_steps(points_per_side=grid)
    if grid:
        bar.total = -(-grid * grid // POINTS_AT_ONCE)
    try:
        while True:
            next(steps)
            bar.update()
    except StopIteration as end:
        found: Sequence[PromptedMask] = end.value.masks
        return found


def annotations(found: Sequence[PromptedMask]) -> list[dict[str, Any]]:
    """Return masks as COCO has annotations, with run lengths packed into text, largest first.

    ``bbox`` is [x, y, width, height] in pixels; ``score`` the predicted quality, 0 to 1.
    """
    rows = []
    for number, item in enumerate(found, start=1):
        x_min, y_min, x_max, y_max = item.mask.box
        rows.append(
            {
                "id": number,
                "segmentation": encode_coco(item.mask),
                "area": item.mask.area,
                "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                "score": round(float(item.score), 4),
            }
        )
    return rows


def drawn(bgr: NDArray[np.uint8], found: Sequence[PromptedMask]) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) BGR with the masks over it, small ones on top."""
    canvas = np.ascontiguousarray(bgr[..., ::-1])
    objects = [(str(number), item.mask, True) for number, item in enumerate(found, start=1)]
    draw_prompted(canvas, objects, captions=False)
    return np.ascontiguousarray(canvas[..., ::-1])


def coverage(found: Sequence[PromptedMask], size: tuple[int, ...]) -> float:
    """Return the share of the picture that is in any mask."""
    union = np.zeros(size, np.bool_)
    for item in found:
        union |= decode_mask(item.mask)
    return float(union.mean())
