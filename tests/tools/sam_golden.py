"""Compare the SAM family with golden outputs of the official implementations.

A reference folder holds, itself or in ``golden/``, the files ``mobile_sam.npz``,
``repvit_sam.npz``, ``rwkv_sam.npz`` and ``segment_everything.npz``; arrays that are left out are
not compared. ``GROUPS`` names what can be compared; each group gives rows with the error reached
and the tolerance.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from sam_executors import Executor, TorchExecutor
from sam_random_weights import make_frame, make_tensor, uniform, unit_std
from torch import Tensor, nn

from rmpsam_ros.model.checkpoint import read_state_dict
from rmpsam_ros.model.sam import ImageEmbedding, PromptModel, build_prompt_model, transforms
from rmpsam_ros.model.sam.bi_wkv import bi_wkv
from rmpsam_ros.model.sam.checkpoint import load_weights, rename_official_keys
from rmpsam_ros.model.sam.layers import fold_batch_norm
from rmpsam_ros.model.sam.prompt_encoder import join_prompts
from rmpsam_ros.model.sam.rwkv import RwkvBackbone, RwkvBlock, q_shift
from rmpsam_ros.segmentation.everything import (
    Decode,
    point_grid,
    segment_with_boxes,
    segment_with_grid,
)

RELATIVE = 1e-4
"""Tolerance of float32 values, relative to the largest value of an array."""

FLIPPED = 5e-4
"""Tolerance of masks: the share of pixels that differ."""

PICTURES = ("000000000034", "000000000049", "000000000078")
PROMPT_KINDS = ("point", "point_neg", "box", "box_point")
WEIGHTS = Path(__file__).parents[2] / "rmpsam_ros" / "weights" / "mobile_sam.safetensors"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One comparison: what, the error reached (0 for equal, 1 for unequal checksums)."""

    part: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance  # false for NaN


class PicturesMissing(Exception):
    """The pictures that a group needs are not on this machine."""


@dataclass(frozen=True)
class Reference:
    """A folder of goldens and manifests, where the pictures are, and what is compared."""

    folder: Path
    shared: Path | None
    executor: Executor = field(default_factory=TorchExecutor)

    def golden(self, name: str) -> Arrays:
        inner = self.folder / "golden"
        return np.load((inner if inner.is_dir() else self.folder) / f"{name}.npz")

    def shapes(self, model: str) -> dict[str, tuple[int, ...]]:
        """Keys and shapes of an official state dictionary, in its order."""
        full = self.folder / f"{model}_state_dict.json"
        if full.is_file():
            entries = json.loads(full.read_text())["entries"]
            return {entry["key"]: tuple(entry["shape"]) for entry in entries}
        with gzip.open(self.folder / "manifests.json.gz", "rt") as file:
            return {key: tuple(shape) for key, shape in json.load(file)[model].items()}

    def picture(self, name: str) -> np.ndarray:
        """A picture of coco128-seg, uint8 [H, W, 3], RGB."""
        path = self.shared and self.shared / "data" / "coco128-seg" / "images" / f"{name}.jpg"
        if path is None or not path.is_file():
            raise PicturesMissing(
                "the COCO pictures may not be part of this repository; set RMPSAM_SHARED to a "
                "folder with data/coco128-seg, or put it at ../shared"
            )
        return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def find_shared() -> Path | None:
    """The folder of data that cannot be part of the repository, if it is on this machine."""
    named = os.environ.get("RMPSAM_SHARED")
    folder = Path(named) if named else Path(__file__).parents[2].parent / "shared"
    return folder if folder.is_dir() else None


# --- comparisons -------------------------------------------------------------------------------


def close(part: str, actual: Tensor | np.ndarray, expected: np.ndarray) -> Row:
    actual = np.asarray(actual)
    if actual.shape != expected.shape:
        raise AssertionError(f"{part}: shape {actual.shape} instead of {expected.shape}")
    error = np.abs(actual.astype(np.float64) - expected).max() / np.abs(expected).max()
    return Row(part, float(error), RELATIVE)


def close_where_kept(golden: Arrays, actual: Mapping[str, Tensor | np.ndarray]) -> Iterator[Row]:
    """Compare what is in the file: a trimmed one holds less."""
    for part, value in actual.items():
        if part in golden:
            yield close(part, value, golden[part])


def same_mask(part: str, actual: np.ndarray, packed: np.ndarray) -> Row:
    expected = np.unpackbits(packed, axis=-1, count=actual.shape[-1]).astype(bool)
    if actual.shape != expected.shape:
        raise AssertionError(f"{part}: shape {actual.shape} instead of {expected.shape}")
    return Row(part, float((actual != expected).mean()), FLIPPED)


def same_area(part: str, actual: np.ndarray, expected: np.ndarray, pixels: int) -> Row:
    return Row(part, float(np.abs(actual - expected).max() / pixels), FLIPPED)


def equal(part: str, actual: object, expected: object) -> Row:
    return Row(part, float(not np.array_equal(actual, expected)), 0.0)


def crc32(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


# --- weights and inputs ------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def mobile_sam() -> PromptModel:
    """MobileSAM with its weights, not folded, so that inner maps can be compared too."""
    model = build_prompt_model("mobile_sam")
    load_weights(model, read_state_dict(WEIGHTS), str(WEIGHTS))
    return model


def random_model(name: str, reference: Reference) -> PromptModel:
    """A model with the weights drawn from its official keys."""
    model = build_prompt_model(name)
    official = {key: make_tensor(key, shape) for key, shape in reference.shapes(name).items()}
    state = rename_official_keys({key: torch.from_numpy(v) for key, v in official.items()})
    if name == "rwkv_sam_t":  # there is no official decoder of this size
        state |= {k: v for k, v in model.state_dict().items() if k.startswith("mask_decoder.")}
    load_weights(model, state, "random weights")
    return model


def normalised_frame(name: str, height: int, width: int) -> Tensor:
    pixels = torch.from_numpy(make_frame(name, height, width)).permute(2, 0, 1).float()
    mean = torch.tensor(transforms.PIXEL_MEAN).reshape(3, 1, 1)
    std = torch.tensor(transforms.PIXEL_STD).reshape(3, 1, 1)
    return ((pixels - mean) / std)[None].contiguous()


@contextmanager
def recorded(**modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Outputs of modules, by the given names, while the context is open."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        outputs[name] = output

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, module in modules.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


# --- MobileSAM ---------------------------------------------------------------------------------


def check_positions(reference: Reference) -> Iterator[Row]:
    golden = reference.golden("mobile_sam")
    code = mobile_sam().prompt_encoder.image_position()
    yield close("dense_pe_sub", code[0, ::8, ::8, ::8], golden["dense_pe_sub"])


def check_synthetic(reference: Reference) -> Iterator[Row]:
    """The decoder of MobileSAM on an embedding made up of numbers."""
    golden = reference.golden("mobile_sam")
    model = mobile_sam()
    features = unit_std("mobile_sam.synthetic_embedding", (1, 256, 64, 64), 0.25)
    kept = reference.executor.features(model, ImageEmbedding(torch.from_numpy(features)))
    engine = reference.executor.engine(model)
    boxes = torch.from_numpy(golden["synthetic/boxes"])
    sparse = model.prompt_encoder(*join_prompts(None, None, boxes))
    yield close("synthetic/sparse", sparse, golden["synthetic/sparse"])
    for kind, multimask in (("single", False), ("multi", True)):
        logits, iou = engine.decode(kept, None, None, boxes, multimask=multimask)
        part = f"synthetic/low_{kind}_sub"
        yield close(part, logits[:, :, ::4, ::4], golden[part])
        yield close(f"synthetic/iou_{kind}", iou, golden[f"synthetic/iou_{kind}"])


def check_picture(name: str, reference: Reference) -> Iterator[Row]:
    """MobileSAM on a picture: pre-processing, encoder, all kinds of prompts, masks."""
    golden = reference.golden("mobile_sam")
    picture = reference.picture(name)
    frame, geometry = transforms.preprocess(picture)
    height, width = geometry.resized
    resized = transforms.resize_bilinear(picture, height, width)
    for part, actual in (
        ("decoded_rgb_crc32", crc32(picture)),
        ("resized_hw", geometry.resized),
        ("resized_rgb_crc32", crc32(resized)),
        ("input_crc32", crc32(frame.numpy())),
    ):
        yield equal(f"{name}/{part}", actual, golden[f"{name}/{part}"])

    model = mobile_sam()
    encoder = model.image_encoder
    stages = {f"layer{i}": layer for i, layer in enumerate(encoder.layers)}
    with recorded(patch_embed=encoder.patch_embed, **stages) as maps:
        embedding = model.encode(frame)
    features = embedding.features[0].numpy()
    yield from _encoder_rows(name, features, maps, golden)
    yield from check_picture_prompts(name, reference)


def check_picture_prompts(name: str, reference: Reference) -> Iterator[Row]:
    """MobileSAM on a picture: all kinds of prompts, masks, a mask as prompt."""
    golden = reference.golden("mobile_sam")
    frame, geometry = transforms.preprocess(reference.picture(name))
    engine = reference.executor.engine(mobile_sam())
    decode = functools.partial(engine.decode, engine.encode(frame))
    for kind in PROMPT_KINDS:
        yield from _prompt_rows(f"{name}/{kind}", decode, geometry, golden)
    yield from _second_round_rows(name, decode, geometry, golden)


def _encoder_rows(
    name: str, features: np.ndarray, maps: dict[str, Tensor], golden: Arrays
) -> Iterator[Row]:
    exact = features.astype(np.float64)
    actual: dict[str, Tensor | np.ndarray] = {
        "enc_sub": features[::8, ::4, ::4],
        "enc_first2_channels": features[:2],
        "enc_channel_mean": exact.mean((1, 2)),
        "enc_channel_std": exact.std((1, 2)),
        "stage_patch_embed_sub": maps["patch_embed"][0, ::8, ::16, ::16],
    }
    for i in range(4):
        cells = maps[f"layer{i}"][0].permute(1, 2, 0)
        step = cells.shape[0] // 16
        actual[f"stage_layer{i}_sub"] = cells[::step, ::step, ::8]
        actual[f"stage_layer{i}_std"] = cells.double().std(correction=0)
    yield from close_where_kept(golden, {f"{name}/{part}": v for part, v in actual.items()})


def _prompt_rows(
    prefix: str, decode: Decode, geometry: transforms.FrameGeometry, golden: Arrays
) -> Iterator[Row]:
    points = labels = boxes = None
    if f"{prefix}/point_coords" in golden:
        points = transforms.points_to_frame(golden[f"{prefix}/point_coords"][None], geometry)
        labels = torch.from_numpy(golden[f"{prefix}/point_labels"][None])
    if f"{prefix}/box" in golden:
        boxes = transforms.boxes_to_frame(golden[f"{prefix}/box"][None], geometry)
    if points is None and boxes is None:
        return
    sparse = mobile_sam().prompt_encoder(*join_prompts(points, labels, boxes))
    yield close(f"{prefix}/sparse", sparse[0], golden[f"{prefix}/sparse"])
    for kind, multimask in (("single", False), ("multi", True)):
        logits, iou = decode(points, labels, boxes, multimask=multimask)
        part = f"{prefix}/{kind}"
        masks = transforms.masks_to_picture(logits, geometry)[0]
        yield same_mask(f"{part}_mask_bits", masks, golden[f"{part}_mask_bits"])
        area = golden[f"{part}_mask_area"]
        yield same_area(f"{part}_mask_area", masks.sum((1, 2)), area, masks[0].size)
        low = logits[0].numpy()
        bits = f"{part}_low_positive_bits"
        if bits in golden:
            yield same_mask(bits, low > 0, golden[bits])
        exact = low.astype(np.float64)
        actual = {
            "iou": iou[0],
            "low": low,
            "low_sub": low[:, ::4, ::4],
            "low_mean_f64": exact.mean((1, 2)),
            "low_abs_mean_f64": np.abs(exact).mean((1, 2)),
        }
        yield from close_where_kept(golden, {f"{part}_{k}": v for k, v in actual.items()})


def _second_round_rows(
    name: str, decode: Decode, geometry: transforms.FrameGeometry, golden: Arrays
) -> Iterator[Row]:
    """The best mask of the point goes in again, together with the point."""
    prefix = f"{name}/point_then_mask"
    if f"{prefix}/iou" not in golden:
        return
    model = mobile_sam()
    points = transforms.points_to_frame(golden[f"{name}/point/point_coords"][None], geometry)
    labels = torch.from_numpy(golden[f"{name}/point/point_labels"][None])
    logits, iou = decode(points, labels, multimask=True)
    best = logits[:, iou[0].argmax()][None]
    dense = model.prompt_encoder.embed_masks(best)
    logits, iou = decode(points, labels, mask_input=best)
    actual = {
        "mask_input_sub": best[0, :, ::4, ::4],
        "dense_sub": dense[0, ::8, ::4, ::4],
        "iou": iou[0],
        "low_sub": logits[0, :, ::4, ::4],
    }
    yield from close_where_kept(golden, {f"{prefix}/{k}": v for k, v in actual.items()})
    masks = transforms.masks_to_picture(logits, geometry)[0]
    area = golden[f"{prefix}/mask_area"]
    yield same_area(f"{prefix}/mask_area", masks.sum((1, 2)), area, masks[0].size)


# --- RepViT-SAM --------------------------------------------------------------------------------


def check_repvit(reference: Reference) -> Iterator[Row]:
    """RepViT's encoder as trained, as trained in float64, and folded."""
    golden = reference.golden("repvit_sam")
    picture = make_frame("repvit_sam.frame", 256, 320)
    frame = normalised_frame("repvit_sam.frame", 256, 320)
    yield equal("rgb_crc32", crc32(picture), golden["rgb_crc32"])
    yield equal("input_crc32", crc32(frame.numpy()), golden["input_crc32"])
    encoder = random_model("repvit_sam", reference).image_encoder
    yield from _repvit_rows("train_form", encoder, frame, golden)
    yield close("float64/out", encoder.double()(frame.double()), golden["float64/out"])
    fold_batch_norm(encoder.float())
    weights = encoder.state_dict()
    for key in golden:
        if key.startswith("fused_weight/"):
            yield close(key, weights[key.removeprefix("fused_weight/")], golden[key])
    yield from _repvit_rows("fused_form", encoder, frame, golden)


def _repvit_rows(form: str, encoder: nn.Module, frame: Tensor, golden: Arrays) -> Iterator[Row]:
    with recorded(**{str(i): block for i, block in enumerate(encoder.features)}) as maps:
        out = encoder(frame)
    actual: dict[str, Tensor] = {}
    for name, features in maps.items():
        step = features.shape[2] // 16
        actual[f"{form}/features_{name}_sub"] = features[0, ::8, ::step, ::step]
        actual[f"{form}/features_{name}_std"] = features.double().std(correction=0)
    yield from close_where_kept(golden, actual)
    # Both forms compute the same; a trimmed file holds the result once.
    expected = golden[f"{form}/out" if f"{form}/out" in golden else "float64/out"]
    yield close(f"{form}/out", out, expected)


# --- RWKV-SAM ----------------------------------------------------------------------------------

BI_WKV_CASES = {
    "biwkv_a": ((1, 24, 16), (-5.0, 3.0), 1.0),
    "biwkv_b": ((2, 180, 24), (-5.0, 3.0), 1.5),
    "biwkv_hard": ((1, 100, 16), (-20.0, 20.0), 4.0),
    "biwkv_1": ((1, 1, 16), (-5.0, 3.0), 1.0),
}
"""Shape, range of the decays, and spread of the keys."""


def bi_wkv_inputs(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Decay, bonus, key and value of a golden case."""
    shape, decays, spread = BI_WKV_CASES[name]
    return (
        torch.from_numpy(uniform(f"{name}.w", shape[2:], *decays)),
        torch.from_numpy(uniform(f"{name}.u", shape[2:], -2.0, 1.0)),
        torch.from_numpy(unit_std(f"{name}.k", shape, spread)),
        torch.from_numpy(unit_std(f"{name}.v", shape, 1.0)),
    )


def check_bi_wkv(reference: Reference) -> Iterator[Row]:
    golden = reference.golden("rwkv_sam")
    for name in BI_WKV_CASES:
        expected = golden[f"{name}/paper_f64"]
        inputs = bi_wkv_inputs(name)
        yield close(f"{name}/paper_f64", bi_wkv(*inputs), expected)
        double = bi_wkv(*(tensor.double() for tensor in inputs))
        yield close(f"{name}/paper_f64 in float64", double, expected)


def check_rwkv_block(reference: Reference) -> Iterator[Row]:
    golden = reference.golden("rwkv_sam")
    tokens = torch.from_numpy(golden["qshift/in"])
    yield close("qshift/out", q_shift(tokens, (3, 4)), golden["qshift/out"])
    block = RwkvBlock(32).eval()
    shapes = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    load_weights(
        block,
        {k: torch.from_numpy(make_tensor(f"block.{k}", s)) for k, s in shapes.items()},
        "random weights",
    )
    size = (5, 7)
    tokens = torch.from_numpy(unit_std("block.input", (2, 35, 32), 1.0))
    yield close("block/input", tokens, golden["block/input"])
    spatial = block.attn(block.norm1(tokens), size)
    yield close("block/paper/attn", spatial, golden["block/paper/attn"])
    yield close("block/mlp", block.mlp(block.norm2(tokens), size), golden["block/mlp"])
    yield close("block/paper/out", block(tokens, size), golden["block/paper/out"])


def check_rwkv_backbone(name: str, reference: Reference) -> Iterator[Row]:
    golden = reference.golden("rwkv_sam")
    frame = normalised_frame("rwkv_sam.frame", 192, 240)
    yield equal("input_crc32", crc32(frame.numpy()), golden["input_crc32"])
    encoder = random_model(f"rwkv_sam_{name[0]}", reference).image_encoder
    layers = {f"layer{i}": layer for i, layer in enumerate(encoder.backbone.layers)}
    with recorded(norm=encoder.backbone.final_norm, **layers) as tokens:
        features, high, middle = encoder(frame)
    size = features.shape[2:]
    maps = {
        "out0": high,
        "out1": middle,
        "out2": tokens["layer7"].transpose(1, 2).unflatten(2, size),
        "out3": tokens["norm"].transpose(1, 2).unflatten(2, size),
    }
    actual = {"neck": features}
    for part, value in maps.items():
        yield equal(f"{name}/{part}_shape", value.shape, golden[f"{name}/{part}_shape"])
        step = value.shape[2] // 12
        actual[f"{part}_sub"] = value[0, ::4, ::step, ::step]
    actual |= {f"layer{i}_sub": tokens[f"layer{i}"][0, :, ::8] for i in (0, 6, 7, 13)}
    yield from close_where_kept(golden, {f"{name}/paper/{k}": v for k, v in actual.items()})


def check_rwkv_positions(reference: Reference) -> Iterator[Row]:
    """The tiny backbone with a table of positions, which has to be resized."""
    golden = reference.golden("rwkv_sam")
    backbone = RwkvBackbone((32, 64, 192), position_grid=(14, 14)).eval()
    shapes = {f"backbone.{k}": tuple(v.shape) for k, v in backbone.state_dict().items()}
    weights = {key: torch.from_numpy(make_tensor(key, shape)) for key, shape in shapes.items()}
    load_weights(
        backbone, {k.removeprefix("backbone."): v for k, v in weights.items()}, "random weights"
    )
    table = backbone.positions((12, 15))
    part = "tiny_pos/resized_pos_embed_sub"
    yield close(part, table[0, :, ::8], golden[part])
    last = backbone(normalised_frame("rwkv_sam.frame", 192, 240))[2]
    yield close("tiny_pos/paper/out3", last, golden["tiny_pos/paper/out3"])


def check_rwkv_decoder(name: str, reference: Reference) -> Iterator[Row]:
    golden = reference.golden("rwkv_sam")
    prefix = f"decoder_{name}"
    model = random_model(f"rwkv_sam_{name[0]}", reference)
    fusion = model.mask_decoder.fusion
    n = {"small": 1, "base": 2}[name]
    high = torch.from_numpy(unit_std(f"rwkv_sam.hr.{name}", (1, 64 * n, 256, 256), 1.0))
    middle = torch.from_numpy(unit_std(f"rwkv_sam.mr.{name}", (1, 128 * n, 128, 128), 1.0))
    features = torch.from_numpy(unit_std("rwkv_sam.embedding", (1, 256, 64, 64), 0.5))
    with recorded(hr=fusion.hr_feat_proj, mr=fusion.mr_feat_proj) as projected:
        embedding = ImageEmbedding(features, fusion.image_part(high, middle))
    kept = reference.executor.features(model, embedding)
    engine = reference.executor.engine(model)
    yield from close_where_kept(
        golden,
        {f"{prefix}/{k}_proj_sub": v[0, ::4, ::16, ::16] for k, v in projected.items()},
    )
    points = torch.from_numpy(golden[f"{prefix}/points"])
    prompts = {
        "box": (None, None, torch.from_numpy(golden[f"{prefix}/boxes"])),
        "point": (points, torch.ones(points.shape[:2], dtype=torch.int64), None),
    }
    for kind, prompt in prompts.items():
        part = f"{prefix}/{kind}"
        sparse = model.prompt_encoder(*join_prompts(*prompt))
        yield close(f"{part}/sparse", sparse, golden[f"{part}/sparse"])
        logits, iou = engine.decode(kept, *prompt)
        yield close(f"{part}/low_sub", logits[:, :, ::4, ::4], golden[f"{part}/low_sub"])
        exact = logits[:, 0].double().numpy()
        mean = np.abs(exact.mean((1, 2)) - golden[f"{part}/low_mean_f64"]).max()
        yield Row(f"{part}/low_mean_f64", float(mean / np.abs(exact).max()), RELATIVE)
        yield close(f"{part}/low_std_f64", exact.std((1, 2)), golden[f"{part}/low_std_f64"])
        yield close(f"{part}/iou", iou, golden[f"{part}/iou"][:, :1])


def check_rwkv_end_to_end(reference: Reference) -> Iterator[Row]:
    golden = reference.golden("rwkv_sam")
    frame, _ = transforms.preprocess(reference.picture("000000000034"))
    model = random_model("rwkv_sam_s", reference)
    engine = reference.executor.engine(model)
    kept = engine.encode(frame)
    box = torch.from_numpy(golden["e2e_small/box"])
    logits, iou = engine.decode(kept, None, None, box)
    actual = {
        "paper/iou": iou,
        "paper/low_sub": logits[0, :, ::4, ::4],
        "low_full": logits[0, 0],
    }
    if isinstance(kept.tensors, ImageEmbedding):
        actual["paper/neck_sub"] = kept.tensors.features[0, ::8, ::4, ::4]
    yield from close_where_kept(golden, {f"e2e_small/{k}": v for k, v in actual.items()})


# --- segment everything ------------------------------------------------------------------------


def check_everything_boxes(reference: Reference) -> Iterator[Row]:
    golden = reference.golden("segment_everything")
    prefix = "everything_boxes/000000000049"
    frame, geometry = transforms.preprocess(reference.picture("000000000049"))
    boxes = golden[f"{prefix}/boxes_xyxy"]
    in_frame = transforms.boxes_to_frame(boxes, geometry)
    part = f"{prefix}/boxes_model_frame"
    yield close(part, in_frame, golden[part])
    engine = reference.executor.engine(mobile_sam())
    decode = functools.partial(engine.decode, engine.encode(frame))
    logits, _ = decode(None, None, in_frame)
    yield close(f"{prefix}/low_sub", logits[:, :, ::4, ::4], golden[f"{prefix}/low_sub"])
    everything = segment_with_boxes(decode, geometry, boxes)
    yield equal(f"{prefix}/order", everything.prompt, golden[f"{prefix}/order"])
    masks = everything.masks[np.argsort(everything.prompt)]
    yield same_mask(f"{prefix}/mask_bits", masks, golden[f"{prefix}/mask_bits"])
    area = golden[f"{prefix}/area"]
    yield same_area(f"{prefix}/area", masks.sum((1, 2)), area, masks[0].size)


def check_everything_grid(name: str, reference: Reference) -> Iterator[Row]:
    golden = reference.golden("segment_everything")
    prefix = f"amg/{name}"
    frame, geometry = transforms.preprocess(reference.picture(name))
    engine = reference.executor.engine(mobile_sam())
    decode = functools.partial(engine.decode, engine.encode(frame))
    side = int(golden[f"{prefix}/points_per_side"])
    found = segment_with_grid(decode, geometry, side)
    first, last = np.split(found.boxes, 2, axis=1)
    boxes = np.concatenate([first, last - first], axis=1)
    points = point_grid(side, *geometry.original)[found.prompt]
    yield equal(f"{prefix}/point", points, golden[f"{prefix}/point"])
    yield equal(f"{prefix}/bbox_xywh", boxes, golden[f"{prefix}/bbox_xywh"])
    yield equal(f"{prefix}/area", found.masks.sum((1, 2)), golden[f"{prefix}/area"])
    part = f"{prefix}/predicted_iou"
    yield close(part, found.predicted_iou, golden[part])
    part = f"{prefix}/stability_score"
    yield close(part, found.stability, golden[part])
    yield same_mask(f"{prefix}/mask_bits", found.masks, golden[f"{prefix}/mask_bits"])


GROUPS: dict[str, Callable[[Reference], Iterator[Row]]] = {
    "mobile_sam/positions": check_positions,
    "mobile_sam/synthetic": check_synthetic,
    **{f"mobile_sam/{name}": functools.partial(check_picture, name) for name in PICTURES},
    "repvit_sam": check_repvit,
    "rwkv_sam/bi_wkv": check_bi_wkv,
    "rwkv_sam/block": check_rwkv_block,
    **{
        f"rwkv_sam/backbone_{name}": functools.partial(check_rwkv_backbone, name)
        for name in ("tiny", "small", "base")
    },
    "rwkv_sam/positions": check_rwkv_positions,
    **{
        f"rwkv_sam/decoder_{name}": functools.partial(check_rwkv_decoder, name)
        for name in ("small", "base")
    },
    "rwkv_sam/end_to_end": check_rwkv_end_to_end,
    "segment_everything/boxes": check_everything_boxes,
    **{
        f"segment_everything/grid_{name}": functools.partial(check_everything_grid, name)
        for name in PICTURES[1:]
    },
}
"""What can be compared; a group may raise PicturesMissing."""

ENGINE_GROUPS: dict[str, Callable[[Reference], Iterator[Row]]] = {
    **{f"mobile_sam/{name}": functools.partial(check_picture_prompts, name) for name in PICTURES},
    **{
        name: check
        for name, check in GROUPS.items()
        if name == "mobile_sam/synthetic"
        or name.startswith(("rwkv_sam/decoder", "rwkv_sam/end_to_end", "segment_everything"))
    },
}
"""What can be compared with other executors than PyTorch, which show no inner tensors."""


def compare(group: str, reference: Reference) -> list[Row]:
    """All comparisons of one group."""
    groups = GROUPS if reference.executor.name == "torch" else ENGINE_GROUPS
    with torch.inference_mode():
        return list(groups[group](reference))
