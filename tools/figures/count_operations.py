"""Counts the multiplications of a network's graphs, part by part.

    python tools/figures/count_operations.py rmpsam_r18 640x480

The sizes of all tensors come from one run of ONNX Runtime; a multiplication with its addition is
two operations (FLOP). Only convolutions and matrix products count: they are more than 99 %.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from rmpsam_ros.export import ExportForm, export_graph
from rmpsam_ros.model import RmpSam, build_model, random_text_embeddings


def multiplications(node: dict[str, Any]) -> int:
    """Of one node in a profile of ONNX Runtime."""
    shapes = [next(iter(each.values())) for each in node["input_type_shape"]]
    (output,) = [next(iter(each.values())) for each in node["output_type_shape"]][:1]
    kind = node["op_name"]
    if kind in ("Conv", "FusedConv", "DeformConv"):
        return math.prod(output) * math.prod(shapes[1][1:])
    if kind == "ConvTranspose":
        return math.prod(shapes[0]) * 16 * output[1]  # all kernels are 4x4; theirs is not shown
    if kind in ("MatMul", "FusedMatMul", "Gemm"):
        total = math.prod(shapes[0])
        if len(shapes) > 1 and node["op_name"] == "FusedMatMul" and shapes[1][-2] == output[-1]:
            return total * shapes[1][-2]
        return total * output[-1]
    return 0


def count(graph: bytes, inputs: dict[str, np.ndarray]) -> Counter[str]:
    """Multiplications by kind of operator."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    total: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and "output_type_shape" in event["args"]:
            total[event["args"]["op_name"]] += multiplications(event["args"])
    return +total


def backbone_multiplications(model: RmpSam, size: tuple[int, int]) -> int:
    """Of the eager backbone, on tensors without values."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.backbone.to("meta")(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops() // 2


def main(name: str, size: str) -> None:
    width, height = (int(side) for side in size.split("x"))
    model = build_model(name, random_text_embeddings("count", 133, 1)).eval()
    image = np.zeros((1, 3, height, width), np.float32)
    features = np.zeros((1, 131, height // 4, width // 4), np.float32)
    form = ExportForm("operator")
    graphs = {part: export_graph(model, part, form).SerializeToString()
              for part in ("encoder", "decoder", "prompt_decoder")}  # fmt: skip
    boxes = {count: np.full((1, count, 4), 0.5, np.float32) for count in (0, 1, 16)}
    encoder = count(graphs["encoder"], {"image": image})
    rows = {
        "encoder": encoder,
        "decoder": count(graphs["decoder"], {"features": features, "boxes": boxes[0]}),
        "decoder, 16 prompts": count(
            graphs["decoder"], {"features": features, "boxes": boxes[16]}
        ),
        "late prompt": count(graphs["prompt_decoder"], {"features": features, "boxes": boxes[1]}),
    }
    backbone = backbone_multiplications(model, (height, width))
    print(f"{name} at {size}, GFLOP: backbone {2e-9 * backbone:.2f}, "
          f"neck {2e-9 * (encoder.total() - backbone):.2f}")  # fmt: skip
    for part, kinds in rows.items():
        details = ", ".join(f"{kind} {2e-9 * n:.2f}" for kind, n in kinds.most_common())
        print(f"{part}: {2e-9 * kinds.total():.2f} ({details})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
