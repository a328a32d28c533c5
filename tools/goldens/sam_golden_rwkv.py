"""Compare RWKV-SAM with golden outputs of the official implementation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sam_random_weights import make_tensor, uniform, unit_std
from sam_reference import (
    RELATIVE,
    Reference,
    Row,
    close,
    close_where_kept,
    crc32,
    equal,
    normalised_frame,
    random_model,
    recorded,
)
from torch import Tensor

from rmpsam_ros.model.sam import ImageEmbedding, transforms
from rmpsam_ros.model.sam.bi_wkv import bi_wkv
from rmpsam_ros.model.sam.checkpoint import load_weights
from rmpsam_ros.model.sam.prompt_encoder import join_prompts
from rmpsam_ros.model.sam.rwkv import RwkvBackbone, RwkvBlock, q_shift

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
