"""Answer the prompts of gallery.yaml and draw the masks, for people to look at.

    python tools/figures/prompt_gallery.py OUT FOLDER... [--only tree] [--engine mobile_sam]

The files are looked for in the folders; what is in none of them is left out. Clicks are drawn as
filled (foreground) or empty (background) circles, boxes as rectangles, both in the mask's colour.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

from rmpsam_ros.prompting import KeptFrame, PromptingConfig, QueryMasks, load_prompt_engine
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.segmentation.preprocess import fit
from rmpsam_ros.segmentation.prompt_overlay import draw_prompted, object_color
from rmpsam_ros.segmentation.prompt_types import ObjectPrompt
from rmpsam_ros.segmentation.run_length import encode_mask

NO_QUERIES = QueryMasks(
    np.zeros(1, np.float32), np.zeros((1, 1), np.uint8), (1, 1), np.zeros((1, 8), np.float32)
)


def main() -> int:
    """Write a JPEG for every entry and print scores and areas."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--engine", default="mobile_sam")
    parser.add_argument("--weights", default="")
    parser.add_argument("--suffix", default=".jpg")
    options = parser.parse_args()
    config = PromptingConfig(engine=options.engine, weights=options.weights)
    engine = load_prompt_engine(config, EngineConfig(), print)
    print(engine.info)
    options.output.mkdir(parents=True, exist_ok=True)
    for entry in yaml.safe_load(Path(__file__).with_name("gallery.yaml").read_text()):
        image = read(entry, options.folders) if options.only in entry["name"] else None
        if image is None:
            continue
        frame = KeptFrame(0.0, image, "bgr", fit(image.shape[:2], (640, 480)), None, NO_QUERIES)
        canvas = np.ascontiguousarray(image[..., ::-1])
        prompts = [parsed(rows) for rows in entry["prompts"]]
        for number, prompt in enumerate(prompts, start=1):
            answer = engine.answer(frame, prompt)
            mask = encode_mask(answer.mask)
            draw_prompted(canvas, [(str(number), mask, True)], captions=False)
            x_min, y_min, x_max, y_max = mask.box
            print(
                f"{entry['name']} {number}: score {answer.score:.2f}, {mask.area} px, "
                f"x {x_min}..{x_max}, y {y_min}..{y_max}"
            )
        for number, prompt in enumerate(prompts, start=1):
            draw_prompt(canvas, prompt, object_color(str(number)))
        path = options.output / f"{entry['name']}{options.suffix}"
        cv2.imwrite(str(path), canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    return 0


def read(entry: dict, folders: list[Path]) -> np.ndarray | None:
    """The picture of an entry, BGR; None if its file is not here."""
    path = next(
        (folder / entry["file"] for folder in folders if (folder / entry["file"]).is_file()), None
    )
    if path is None:
        print(f"{entry['name']}: {entry['file']} is not here")
        return None
    if path.suffix in (".jpg", ".png"):
        return cv2.imread(str(path))
    capture = cv2.VideoCapture(str(path))
    for _ in range(entry["frame"]):
        capture.grab()
    return capture.read()[1]


def parsed(rows: list[list[float]]) -> ObjectPrompt:
    clicks = np.array([row for row in rows if len(row) == 3], np.float32).reshape(-1, 3)
    boxes = np.array([row for row in rows if len(row) == 4], np.float32).reshape(-1, 4)
    return ObjectPrompt(clicks[:, :2], clicks[:, 2].astype(np.uint8), boxes)


def draw_prompt(canvas: np.ndarray, prompt: ObjectPrompt, color: tuple[int, int, int]) -> None:
    for (x, y), label in zip(prompt.points.tolist(), prompt.labels.tolist(), strict=True):
        centre = round(x), round(y)
        cv2.circle(canvas, centre, 5, (255, 255, 255), cv2.FILLED if label else 2, cv2.LINE_AA)
        cv2.circle(canvas, centre, 4, color, cv2.FILLED if label else 1, cv2.LINE_AA)
    for box in prompt.boxes.round().astype(int).tolist():
        cv2.rectangle(canvas, tuple(box[:2]), tuple(box[2:]), (255, 255, 255), 2)
        cv2.rectangle(canvas, tuple(box[:2]), tuple(box[2:]), color, 1)


if __name__ == "__main__":
    sys.exit(main())
