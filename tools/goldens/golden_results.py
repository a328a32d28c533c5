"""Compare everything around the network with the golden files of a folder; print a table.

    python tools/goldens/golden_results.py <golden folder>

The network's own files are compared by ``golden_table.py``; ``panoptic_e2e_*`` is run here from
the picture to the panoptic map. The exit status is 1 if anything is out of tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rmpsam_ros.model import build_model
from rmpsam_ros.model.random_weights import load_random_weights, random_text_embeddings
from rmpsam_ros.segmentation.labels import LabelSet, load_label_set
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import Letterbox, preprocess, resized_size
from rmpsam_ros.segmentation.results import PanopticResult
from rmpsam_ros.tracking import match_clip_queries
from rmpsam_ros.tracking.clips import clip_size_for, split_clips

FEW_PIXELS = 8  # of a label map, as the reference allows
Row = tuple[str, str, float, float]  # file, what is compared, error, tolerance
Arrays = dict[str, NDArray]


def official_map(result: PanopticResult, label_set: LabelSet) -> NDArray[np.int64]:
    """The id map in the official coding: stuff class, thing class + 1000 * number, C for none."""
    coded = np.full(result.id_map.max() + 1, label_set.num_classes, np.int64)
    things = 0
    for segment in sorted(result.segments, key=lambda segment: segment.query):
        things += segment.is_thing
        coded[segment.id] = segment.class_id + 1000 * things * segment.is_thing
    return coded[result.id_map]


def differing(result: PanopticResult, label_set: LabelSet, expected: NDArray) -> float:
    return float((official_map(result, label_set) != expected).sum())


def preprocess_rows(arrays: Arrays, facts: dict, name: str) -> Iterator[Row]:
    bgr = np.ascontiguousarray(arrays["image_rgb"][..., ::-1])
    for case, step in (("down", 1), ("up", 2)):
        limits = tuple(facts[case]["scale"])
        tensor, geometry = preprocess(bgr, limits, "bgr")
        ours = tensor[:, :, ::step, ::step]
        yield name, f"{case}: input", float(np.abs(ours - arrays[f"{case}.input"]).max()), 1e-5
        wanted = tuple(facts[case]["img_shape"])
        yield name, f"{case}: size", float(geometry.resized_size != wanted), 0


def fusion_rows(arrays: Arrays, facts: dict, name: str) -> Iterator[Row]:
    labels = load_label_set("coco_panoptic")
    variants = {
        "default": (FusionConfig(), True),
        "low_thr": (FusionConfig(score_threshold=0.5, overlap_threshold=0.5), True),
        "no_filter": (FusionConfig(filter_low_score=False), True),
        "no_rescale": (FusionConfig(), False),
        "nothing": (FusionConfig(score_threshold=0.9999), True),
    }
    masks = arrays["mask_pred"]
    resized = tuple(facts["img_shape"])
    for variant, (config, rescale) in variants.items():
        size = tuple(facts["ori_shape"]) if rescale else resized
        geometry = Letterbox(size, resized, masks.shape[1:])
        result = fuse_panoptic(arrays["mask_cls"], masks, geometry, labels, config)
        wrong = differing(result, labels, arrays[f"{variant}.panoptic"])
        yield name, f"{variant}: pixels", wrong, FEW_PIXELS


def end_to_end_rows(arrays: Arrays, facts: dict, name: str) -> Iterator[Row]:
    labels = load_label_set("coco_panoptic")
    model = build_model(f"rmpsam_r{facts['depth']}")
    load_random_weights(model)
    model.set_text_embeddings(random_text_embeddings("text_embeddings.coco133", 133, 17))
    resized = tuple(facts["img_shape"])
    tensor, _ = preprocess(arrays["image_rgb"], (max(resized), min(resized)), "rgb")
    with torch.inference_mode():
        output = model(torch.from_numpy(tensor))
    geometry = Letterbox(tuple(facts["ori_shape"]), resized, tuple(facts["batch_input_shape"]))
    for variant, config in (
        ("default", FusionConfig()),
        ("loose", FusionConfig(score_threshold=0.2, overlap_threshold=0.05)),
    ):
        result = fuse_panoptic(
            output.class_logits[0].numpy(), output.mask_logits[0].numpy(), geometry, labels, config
        )
        wrong = differing(result, labels, arrays[f"{variant}.panoptic"])
        yield name, f"{variant}: pixels, picture to map", wrong, FEW_PIXELS


def matching_rows(arrays: Arrays, facts: dict, name: str) -> Iterator[Row]:
    for case in sorted({key.partition(".")[0] for key in arrays}):
        clips = arrays[f"{case}.embeddings"].reshape(-1, *arrays[f"{case}.embeddings"].shape[-2:])
        aligned, wrong = clips[0], 0
        for clip, expected in zip(clips[1:], arrays[f"{case}.indices"], strict=True):
            order = match_clip_queries(aligned, clip)
            wrong += int((order != expected).sum())
            aligned = clip[order]
        yield name, f"{case}: rows in another place", float(wrong), 0


READERS = {
    "preprocess": preprocess_rows,
    "fusion_postprocess": fusion_rows,
    "panoptic_e2e": end_to_end_rows,
    "query_matching": matching_rows,
}


def table_rows(folder: Path) -> Iterator[Row]:
    """Every comparison that the folder's files allow."""
    index = json.loads((folder / "index.json").read_text())
    for name in sorted(index):
        reader = next((READERS[key] for key in READERS if name.startswith(key)), None)
        path = folder / f"{name}.npz"
        if reader is not None and path.is_file():
            with np.load(path) as arrays:
                yield from reader(dict(arrays), index[name]["inputs"], name)
    yield from json_rows(folder)


def json_rows(folder: Path) -> Iterator[Row]:
    """The two small tables: sizes after the resize, and clip splits."""
    if (path := folder / "resize_table.json").is_file():
        wrong = 0
        for row in json.loads(path.read_text())["rows"]:
            size = resized_size(tuple(row["ori"]), tuple(row["scale"]))
            wrong += list(size) != row["resized"]
        yield "resize_table", "sizes that differ", float(wrong), 0
    if (path := folder / "video_split.json").is_file():
        wrong = 0
        for frames, expected in json.loads(path.read_text())["used"].items():
            count = int(frames)
            ends = [end for _, end in split_clips(count, clip_size_for(count))]
            wrong += ends != expected
        yield "video_split", "videos split otherwise", float(wrong), 0


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with index.json and .npz files")
    failed = False
    print("| file | compared | error | tolerance | ok |\n|---|---|---:|---:|---|")
    for name, what, error, tolerance in table_rows(parser.parse_args().folder):
        ok = error <= tolerance
        failed |= not ok
        print(f"| {name} | {what} | {error:.2g} | {tolerance:g} | {'yes' if ok else 'NO'} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
