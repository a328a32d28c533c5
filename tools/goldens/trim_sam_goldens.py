"""Choose the part of the SAM goldens that the repository carries.

    python tools/goldens/trim_sam_goldens.py <reference folder> tests/goldens/sam

No pixels of pictures are copied: what needs a picture is compared where the picture is.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np

KEPT = {
    "mobile_sam": (
        r"dense_pe_sub|synthetic/(boxes|sparse|low_.*|iou_.*)",
        r"\d+/(decoded_rgb_crc32|resized_hw|resized_rgb_crc32|input_crc32|enc_channel_.*)",
        r"000000000034/(stage_.*_std|point_then_mask/.*)",
        r"000000000049/(enc_sub|stage_.*_std)",
        r"\d+/(point|box)/(point_.*|box|sparse|single_(iou|mask_.*)|multi_(iou|mask_.*))",
        r"000000000049/.*/(point_coords|point_labels|box|sparse|.*_iou|.*_mask_.*|.*_low_sub)",
    ),
    "repvit_sam": (
        r"rgb_crc32|input_crc32|float64/out|fused_weight/.*\.bias|fused_form/.*_std",
        r"train_form/(features_(0|8|16|30)_sub|.*_std)",
    ),
    "rwkv_sam": (
        r"biwkv_.*/paper_f64|qshift/.*|block/(input|mlp|paper/.*)|input_crc32",
        r"(tiny|small|base)/out._shape|tiny/paper/.*|small/paper/(out0|out1|out2|out3)_sub",
        r"base/paper/neck|tiny_pos/.*",
        r"decoder_.*/(boxes|points|hr_proj_sub|mr_proj_sub|box/.*|point/.*)",
        r"e2e_small/(box|paper/.*)",
    ),
    "segment_everything": (r".*",),
}
"""Patterns of the arrays to keep, by file."""

MODELS = (
    "mobile_sam",
    "repvit_sam",
    "repvit_sam_encoder_fused",
    "rwkv_sam_t",
    "rwkv_sam_s",
    "rwkv_sam_b",
)


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, patterns in KEPT.items():
        arrays = np.load(source / "golden" / f"{name}.npz")
        pattern = re.compile("|".join(patterns))
        kept = {key: arrays[key] for key in arrays if pattern.fullmatch(key)}
        np.savez_compressed(target / f"{name}.npz", **kept)
    shapes = {}
    for model in MODELS:
        entries = json.loads((source / f"{model}_state_dict.json").read_text())["entries"]
        shapes[model] = {entry["key"]: entry["shape"] for entry in entries}
    packed = gzip.compress(json.dumps(shapes).encode(), mtime=0)
    (target / "manifests.json.gz").write_bytes(packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
