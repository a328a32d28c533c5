"""Compare the SAM family with golden outputs of the official implementations.

A reference folder holds, itself or in ``golden/``, the files ``mobile_sam.npz``,
``repvit_sam.npz``, ``rwkv_sam.npz`` and ``segment_everything.npz``; arrays that are left out are
not compared. ``GROUPS`` names what can be compared; each group gives rows with the error reached
and the tolerance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from sam_golden_rwkv import (
    check_bi_wkv,
    check_rwkv_backbone,
    check_rwkv_block,
    check_rwkv_decoder,
    check_rwkv_end_to_end,
    check_rwkv_positions,
)
from sam_random_weights import make_frame, unit_std
from sam_reference import (
    PICTURES,
    PROMPT_KINDS,
    Arrays,
    Reference,
    Row,
    close,
    close_where_kept,
    crc32,
    equal,
    mobile_sam,
    normalised_frame,
    random_model,
    recorded,
    same_area,
    same_mask,
)
from torch import Tensor, nn

from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam import ImageEmbedding, transforms
from rmpsam_ros.model.sam.prompt_encoder import join_prompts
from rmpsam_ros.prompting.grid_prompts import (
    Decode,
    grid_steps,
    point_grid,
    segment_with_boxes,
)
from rmpsam_ros.prompting.steps import finished

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
    prefix: str, decode: Decode, geometry: transforms.SamFrame, golden: Arrays
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
    name: str, decode: Decode, geometry: transforms.SamFrame, golden: Arrays
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
    found = finished(grid_steps(decode, geometry, side))
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
