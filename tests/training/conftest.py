"""Small data sets in every format, drawn with rectangles, and one with boxes and balls."""

import cv2
import numpy as np
import pytest
import yaml

from rmpsam_ros.training.config import load_config

COLORS = {"box": (200, 40, 40), "ball": (40, 200, 40), "floor": (40, 40, 200)}
TABLE = {
    "name": "toys",
    "labels": [
        {"name": name, "is_thing": name != "floor", "color": list(color)}
        for name, color in COLORS.items()
    ],
}


def draw(rng, size=96):
    """A floor with boxes and balls that do not touch; returns picture and labels."""
    labels = np.full((size, size), 2, np.uint8)
    cells = rng.permutation(4)[: rng.integers(2, 5)]
    for cell in cells:
        y, x = (int(v) * size // 2 + size // 4 for v in divmod(int(cell), 2))
        radius = int(rng.integers(size // 8, size // 5))
        if rng.random() < 0.5:
            labels[y - radius : y + radius, x - radius : x + radius] = 0
        else:
            cv2.circle(labels, (x, y), radius, 1, -1)
    colors = np.array(list(COLORS.values()), np.uint8)
    image = colors[labels].astype(np.int16) + rng.integers(-20, 21, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def toys(tmp_path):
    """Write a data set of drawn pictures and a configuration, and return a loader of it."""

    def make(count=2, data=None, **sections):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "labels").mkdir(exist_ok=True)
        rng = np.random.default_rng(5)
        for index in range(count):
            image, labels = draw(rng)
            cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), image[:, :, ::-1])
            cv2.imwrite(str(tmp_path / "labels" / f"{index}.png"), labels)
        (tmp_path / "toys.yaml").write_text(yaml.safe_dump(TABLE))
        dataset = {
            "name": "toys",
            "format": "label_maps",
            "images": "images",
            "annotations": "labels",
            "class_names": ["box", "ball", "floor"],
            **(data or {}),
        }
        content = {
            "network": "rmpsam_r18",
            "labels": "toys.yaml",
            "datasets": [{**dataset, "weights": {"panoptic": 1, "clip": 1, "prompt": 1}}],
            "evaluation": [{**dataset, "tasks": ["panoptic"]}],
            "batches": {"batch_size": 1, "num_prompts": 4},
            "augment": {"height": 64, "width": 64, "scale": [0.8, 1.5]},
            "losses": {"num_points": 128},
            "optimizer": {"warmup_steps": 2},
            "loop": {
                "steps": 4,
                "checkpoint_interval": 2,
                "workers": 0,
                "log_interval": 1,
                "threads": 1,
            },
        }
        for key, value in sections.items():
            content[key] = {**content[key], **value} if isinstance(value, dict) else value
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return load_config(path)

    return make
