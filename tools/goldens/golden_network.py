"""Run the network on the inputs of a golden file and compare every stored array.

A golden folder holds ``<name>.npz`` files and an ``index.json`` that gives, for each of them,
the inputs and, for arrays stored in part, the slice in NumPy notation. Arrays named ``f64.*``
come from a float64 run of the official implementation, the others from its float32 run.
Which network path a file exercises follows from its name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rmpsam_ros.model import RmpSam, build_model, load_random_weights, random_text_embeddings
from rmpsam_ros.model.neck import DeformableUpsample
from rmpsam_ros.model.random_weights import random_normal_like, random_tensor

Arrays = dict[str, np.ndarray]

INPUTS = {
    "image_rgb",
    "frames_rgb",
    "prompts_xyxy",
    "points_xyxy",
    "pb_labels",
    "gt_masks_packed",
    "x",
    "offset",
    "mask",
    "weight",
    "input",
}
"""Arrays that are inputs of the network, or of the step before it."""

OTHER_STEPS = ("inst_", "default.", "loose.", "click.", "metric_only.", "iou")
"""Beginnings of end-to-end arrays that belong to post-processing, in ``*_e2e`` files."""

FLOAT64_TOLERANCE = 1e-5

FLOAT32_TOLERANCES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("layer.", "y"), 1e-5),
    (("backbone.", "neck."), 5e-5),
    (("query_init", "prompt.sine", "prompt.pos"), 1e-5),
)
"""Beginnings of names, and the absolute tolerance of a float32 run (reference tolerances)."""

FLOAT32_LAST_PART: dict[str, float] = {
    "query": 2e-4,
    "kernel_update": 2e-4,
    "mask_kernel": 2e-4,
    "self_attn": 2e-4,
    "self_attn_norm": 2e-4,
    "cls_embed": 2e-4,
    "cross_attn": 2e-4,
    "query_init": 1e-5,
    "iou": 1e-4,
    "mask": 3e-3,
    "mask_init": 3e-3,
    "mask_upsampled": 3e-3,
    "pooled": 1e-2,
}

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
CHANGED_PIXELS = 8
"""Binary masks may differ by this many pixels: a logit at rounding distance from zero."""


BEFORE_THE_THRESHOLD = ("backbone.", "neck.", "query_init", "prompt.sine", "prompt.pos")
"""Arrays that a changed sign of a mask logit cannot reach."""


@dataclass(frozen=True)
class Row:
    """Comparison of one stored array; for binary masks the error counts pixels.

    Rows are not judged where rounding has flipped a pixel of a hard mask: the network is
    discontinuous there (docs/reference/rmpsam.md, section 19, item 1), and only float64 decides.
    """

    array: str
    precision: str
    error: float
    tolerance: float
    judged: bool = True

    @property
    def ok(self) -> bool:
        """True if the error is a number within the tolerance, or does not count."""
        return self.error <= self.tolerance or not self.judged


@dataclass(frozen=True)
class Comparison:
    """All rows of a file, arrays compared with nothing, and float32 mask pixels that flipped."""

    rows: list[Row]
    left: list[str]
    flips: int

    @property
    def ok(self) -> bool:
        """True if every array was compared and is within its tolerance."""
        return bool(self.rows) and not self.left and all(row.ok for row in self.rows)


def read_index(folder: Path) -> dict[str, Any]:
    """Return the index of a golden folder."""
    return json.loads((folder / "index.json").read_text())


def is_network_file(name: str) -> bool:
    """True if the file holds outputs of the network."""
    return runner_of(name) is not None


def compare_file(folder: Path, name: str) -> Comparison:
    """Run a file in float64 and float32 and compare each run with the arrays of its precision."""
    entry = read_index(folder)[name]
    stored = dict(np.load(folder / f"{name}.npz"))
    runner = runner_of(name)
    assert runner is not None, name
    computed = {
        precision: runner(name, entry["inputs"], stored, getattr(torch, precision))
        for precision in ("float64", "float32")
    }
    flips = count_flips(computed["float64"], computed["float32"])
    rows, left = [], []
    for array, expected in stored.items():
        own = array.removeprefix("f64.")
        precision = "float64" if array.startswith("f64.") else "float32"
        if is_input(name, own):
            continue
        if own not in computed[precision]:
            left.append(array)
            continue
        actual = computed[precision][own][parse_slice(entry["arrays"][array].get("slice"))]
        row = compare_array(array, precision, actual, expected)
        if flips and precision == "float32" and not own.startswith(BEFORE_THE_THRESHOLD):
            row = replace(row, judged=False)
        rows.append(row)
    return Comparison(rows, left, flips)


def count_flips(exact: Arrays, rounded: Arrays) -> int:
    """Count mask logits whose sign rounding has changed, over all masks that are thresholded."""
    names = [key for key in exact if re.search(r"(^|\.)(mask_init|stage\d\.mask)$", key)]
    return sum(int(((exact[key] > 0) != (rounded[key] > 0)).sum()) for key in names)


def compare_array(array: str, precision: str, actual: np.ndarray, expected: np.ndarray) -> Row:
    """Compare one array; a wrong shape is an infinite error."""
    if actual.shape != expected.shape:
        return Row(array, precision, math.inf, 0.0)
    if array.endswith("_packed"):
        changed = np.unpackbits(actual ^ expected).sum()
        return Row(array, precision, float(changed), CHANGED_PIXELS)
    error = float(np.abs(actual.astype(np.float64) - expected).max())
    wanted = FLOAT64_TOLERANCE if precision == "float64" else float32_tolerance(array)
    return Row(array, precision, error, wanted)


def float32_tolerance(array: str) -> float:
    """Return the absolute tolerance for a float32 run against the float32 array."""
    for beginnings, tolerance in FLOAT32_TOLERANCES:
        if array.startswith(beginnings):
            return tolerance
    part = array.rpartition(".")[2]
    if part == "cls":
        # The last class logits of an object are 100 x cosine, all others 1000 x cosine.
        adapted = array.endswith("final.cls") and not array.startswith("prompt.")
        return 1e-3 if adapted else 2e-2
    return FLOAT32_LAST_PART.get(part, 1e-4)


def is_input(name: str, array: str) -> bool:
    """True for arrays of a file that the network does not compute."""
    other = "_e2e" in name and array.startswith(OTHER_STEPS)
    return array in INPUTS or other


def parse_slice(text: str | None) -> tuple[slice, ...]:
    """Turn "[:, ::10]" into slices, and nothing into the whole array."""
    if not text:
        return ()
    parts = text.strip("[] ").split(",")
    return tuple(
        slice(*(int(number) if number.strip() else None for number in part.split(":")))
        for part in parts
    )


# --- how each kind of file is run -----------------------------------------------------------


def runner_of(name: str) -> Callable[[str, dict[str, Any], Arrays, torch.dtype], Arrays] | None:
    """Return the function that computes the arrays of a file, or None."""
    for beginning, runner in _RUNNERS.items():
        if name.startswith(beginning):
            return runner
    return None


def run_image(name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype) -> Arrays:
    """Objects of one image."""
    model = network(depth_of(name, inputs), dtype, inputs.get("text_embeddings"))
    images = padded(normalised(stored["image_rgb"][None]), dtype)
    with recording(model) as record:
        features = model.features(images)
        output = model.decode_objects(features, with_stages=True)
    return finish(record, output, features, images.shape[-2:])


def run_video(name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype) -> Arrays:
    """Objects of one tube."""
    model = network(depth_of(name, inputs), dtype, inputs.get("text_embeddings"))
    images = padded(normalised(stored["frames_rgb"]), dtype)
    with recording(model) as record:
        features = model.features(images)
        output = model.decode_objects(features, frames=images.shape[0], with_stages=True)
    return finish(record, output, features, images.shape[-2:])


def run_prompt(name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype) -> Arrays:
    """Prompts on one image: together, one alone, in a padded image, and with the other label."""
    model = network(depth_of(name, inputs), dtype, inputs.get("text_embeddings"))
    images = padded(normalised(stored["image_rgb"][None]), dtype)
    boxes = torch.from_numpy(stored["prompts_xyxy"]).to(dtype)[None]
    size = images.shape[-2:]
    with torch.inference_mode():
        features = model.features(images)
    label_0 = torch.zeros(boxes.shape[:2], dtype=torch.int64)
    variants = {
        "": (relative(boxes, size), None),
        "single.": (relative(boxes[:, 1:2], size), None),
        "padded.": (relative(boxes, inputs["padded_img_shape"]), None),
        "pb0.": (relative(boxes, size), label_0),
    }
    computed: Arrays = {}
    for prefix, (variant, labels) in variants.items():
        with recording(model) as record:
            output = model.decode_prompts(features, variant, labels, with_stages=True)
        arrays = finish(record, output, features, size)
        computed.update({prefix + key: value for key, value in arrays.items()})
    return computed


def run_interactive(
    name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype
) -> Arrays:
    """Binary masks of clicks at the original size of the picture."""
    model = network(depth_of(name, inputs), dtype, None)
    images = padded(normalised(stored["image_rgb"][None]), dtype)
    height, width = inputs["img_shape"]
    boxes = torch.from_numpy(stored["points_xyxy"]).to(dtype)[None]
    with torch.inference_mode():
        output = model.decode_prompts(model.features(images), relative(boxes, (height, width)))
        masks = upsampled(output.mask_logits, images.shape[-2:])[..., :height, :width]
        masks = upsampled(masks, inputs["ori_shape"])[0] > 0
    return {"pred_masks_packed": np.packbits(masks.flatten(1).numpy(), axis=1)}


def run_head(name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype) -> Arrays:
    """Decoder and adapters on generated features."""
    size = (64, 96)
    image = torch.from_numpy(random_normal_like("features.image.16", (1, 256, 16, 24), 1.0))
    video = torch.from_numpy(random_normal_like("features.video.0", (2, 256, 12, 16), 1.0))
    boxes = torch.tensor([inputs["prompts_xyxy"]], dtype=dtype)
    model = network(18, dtype, inputs["text_embeddings_image"])
    computed: Arrays = {}
    image, video = image.to(dtype), video.to(dtype)
    with recording(model) as record:
        output = model.decode_objects(image, with_stages=True)
    computed.update({f"image.{k}": v for k, v in finish(record, output, image, size).items()})
    with recording(model) as record:
        prompts = model.decode_prompts(image, relative(boxes, size), with_stages=True)
    computed.update({f"prompt.{k}": v for k, v in finish(record, prompts, image, size).items()})
    model = network(18, dtype, inputs["text_embeddings_video"])
    with recording(model) as record:
        output = model.decode_objects(video, frames=2, with_stages=True)
    computed.update({f"video.{k}": v for k, v in finish(record, output, video, size).items()})
    return computed


def run_dcn(name: str, inputs: dict[str, Any], stored: Arrays, dtype: torch.dtype) -> Arrays:
    """The deformable convolution, and a whole upsampling layer of the neck."""
    layer = DeformableUpsample(8, 6).eval()
    official = {
        "offset_conv": "dcn_offset",
        "deform_conv": "dcn",
        "deform_norm": "dcn_bn",
        "upsample_conv": "up_sample",
        "upsample_norm": "up_bn",
    }
    for key, value in layer.state_dict().items():
        part, _, leaf = key.partition(".")
        drawn = random_tensor(f"layer.{official[part]}.{leaf}", tuple(value.shape))
        value.copy_(torch.from_numpy(drawn))
    layer = layer.to(dtype)
    x, offset, mask, weight = (
        torch.from_numpy(stored[key]).to(dtype) for key in ("x", "offset", "mask", "weight")
    )
    computed: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda m, i, out, key=key: computed.update({key: out.clone()})
        )
        for key, module in (
            ("layer.raw27", layer.offset_conv),
            ("layer.dcn", layer.deform_conv),
            ("layer.up", layer.upsample_conv),
        )
    ]
    with torch.no_grad():
        computed["layer.out"] = layer(x)
        for hook in hooks:
            hook.remove()
        layer.deform_conv.weight.copy_(weight)
        computed["y"] = layer.deform_conv(x, offset, mask)
    return {key: value.numpy() for key, value in computed.items()}


_RUNNERS = {
    "image_": run_image,
    "panoptic_e2e": run_image,
    "video_": run_video,
    "prompt_": run_prompt,
    "interactive_e2e": run_interactive,
    "head_synthetic": run_head,
    "dcn": run_dcn,
}


# --- pieces ---------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _network(depth: int, dtype: torch.dtype) -> RmpSam:
    model = build_model(f"rmpsam_r{depth}")
    load_random_weights(model)
    return model.to(dtype)


def network(depth: int, dtype: torch.dtype, vocabulary: list[Any] | None) -> RmpSam:
    """Return the network with generated weights and vocabulary [name, C, P, E]."""
    model = _network(depth, dtype)
    model.set_text_embeddings(
        random_text_embeddings(*(vocabulary or ("text_embeddings.coco133", 133, 17, 768)))
    )
    return model


def depth_of(name: str, inputs: dict[str, Any]) -> int:
    """Return the backbone depth of a file."""
    return inputs.get("depth") or (18 if "_r18" in name else 50)


def normalised(rgb: np.ndarray) -> np.ndarray:
    """Map uint8 [B, H, W, 3] to float32 [B, 3, H, W] with the mean and deviation of ImageNet."""
    mean, std = np.array(PIXEL_MEAN, np.float32), np.array(PIXEL_STD, np.float32)
    return np.moveaxis((rgb.astype(np.float32) - mean) / std, -1, 1)


def padded(images: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Pad [B, 3, H, W] with zeros, right and below, to multiples of 32."""
    height, width = images.shape[-2:]
    return F.pad(torch.from_numpy(images).to(dtype), (0, -width % 32, 0, -height % 32))


def relative(boxes: Tensor, size: Any) -> Tensor:
    """Divide x by the width and y by the height of a picture of ``size`` (height, width)."""
    height, width = size
    return boxes / torch.tensor([width, height, width, height], dtype=boxes.dtype)


def upsampled(masks: Tensor, size: Any) -> Tensor:
    """Interpolate mask logits [..., h, w] to ``size`` (height, width)."""
    flat = F.interpolate(
        masks.flatten(0, -3).unsqueeze(1), tuple(size), mode="bilinear", align_corners=False
    )
    return flat.squeeze(1).unflatten(0, masks.shape[:-2])


@contextmanager
def recording(model: RmpSam) -> Iterator[dict[str, Tensor]]:
    """Run without gradients and note what goes through the parts of the network."""
    record: dict[str, Tensor] = {}
    hooks = []

    def output(name: str, module: nn.Module) -> None:
        def note(_: nn.Module, inputs: Any, result: Tensor) -> None:
            record[name] = result.clone()  # what follows may work in place

        hooks.append(module.register_forward_hook(note))

    def argument(name: str, module: nn.Module, position: int) -> None:
        def note(_: nn.Module, inputs: Any) -> None:
            record[name] = inputs[position].clone()

        hooks.append(module.register_forward_pre_hook(note))

    def levels(_: nn.Module, inputs: Any, result: tuple[Tensor, ...]) -> None:
        record.update({f"backbone.c{i + 2}": level for i, level in enumerate(result)})

    hooks.append(model.backbone.register_forward_hook(levels))
    neck = model.neck
    for i in range(4):
        output(f"neck.lateral_conv{i}", neck.lateral_convs[i])
        output(f"neck.conv_a{5 - i}", neck.aggregation_convs[i])
    for i, layer in enumerate(neck.upsamples, start=1):
        output(f"neck.deform_conv{i}", layer)
        output(f"neck.deform_conv{i}.dcn", layer.deform_conv)
        output(f"neck.deform_conv{i}.dcn_offset", layer.offset_conv)
    output("neck.output_conv", neck.output_conv)
    argument("prompt.sine", model.prompt_encoder.position_layer, 0)
    output("prompt.pos", model.prompt_encoder.position_layer)
    argument("query_init", model.decoder.stages[0], 1)
    argument("mask_init", model.decoder.stages[0], 2)
    for i, stage in enumerate(model.decoder.stages):
        argument(f"stage{i}.pooled", stage.kernel_update, 0)
        output(f"stage{i}.kernel_update", stage.kernel_update)
        output(f"stage{i}.self_attn", stage.self_attention)
        output(f"stage{i}.self_attn_norm", stage.self_attention_norm)
        output(f"stage{i}.mask_kernel", stage.mask_kernel)
        output(f"stage{i}.cls_embed", stage.class_branch)
    argument("final.pooled", model.object_adapter.kernel_update, 0)
    output("final.cls_embed", model.object_adapter.class_layer)
    argument("final.cross_attn", model.prompt_adapter.norm, 0)
    try:
        with torch.inference_mode():
            yield record
    finally:
        for hook in hooks:
            hook.remove()


def finish(record: dict[str, Tensor], output: Any, features: Tensor, size: Any) -> Arrays:
    """Add the outputs to a record and return everything as NumPy arrays."""
    record = dict(record)
    record["neck.out"] = features
    record["mask_init"] = record["mask_init"].reshape(output.mask_logits.shape)
    for i, stage in enumerate(output.stages):
        record[f"stage{i}.query"] = stage.queries
        record[f"stage{i}.mask"] = stage.mask_logits
        record[f"stage{i}.cls"] = stage.class_logits
        record[f"stage{i}.iou"] = stage.iou
    record["final.query"] = output.queries
    record["final.mask"] = output.mask_logits
    record["final.iou"] = output.iou
    # Prompts have no class layer of their own.
    record["final.cls"] = getattr(output, "class_logits", output.stages[-1].class_logits)
    record["predict.mask_upsampled"] = upsampled(output.mask_logits, size)
    return {key: value.numpy() for key, value in record.items()}
