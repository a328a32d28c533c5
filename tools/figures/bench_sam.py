"""Time encoder and decoder of every promptable model, in PyTorch and ONNX Runtime in turn.

    python tools/figures/bench_sam.py [--threads 2] [--runs 5] [--coco FOLDER] [names]

Weights are random but for models whose weights are here: they do not change the time. Each figure
is the median of the runs, then the shortest; a click is one point, and a box. With --coco (a
folder with images/ and labels/ of YOLO segmentations) the mean IoU of all objects over 400 pixels
is measured, too, where there are weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from eval_sam_coco128 import score_folder

from rmpsam_ros.export import export_graph
from rmpsam_ros.model.folding import fold_batch_norm
from rmpsam_ros.model.sam import (
    PROMPT_MODELS,
    PromptModel,
    build_prompt_model,
    load_prompt_model,
)
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executors.onnxruntime_executor import OnnxRuntime, OnnxRuntimeExecutor
from rmpsam_ros.runtime.executors.torch_executor import TorchExecutor
from rmpsam_ros.runtime.sam_engine import SamEngine
from rmpsam_ros.weights_store import find_weights

INFO = EngineInfo("benchmark", "fp32", "cpu", "model", "weights")
BOX = torch.tensor([[200.0, 300.0, 700.0, 800.0]])
BOXES = 64


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(PROMPT_MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="of an encoder; clicks: six times")
    parser.add_argument("--coco", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "| engine | encoder, all (M) | encoder: PyTorch | ONNX Runtime | click: PyTorch "
        "| ONNX Runtime | 64 boxes: ONNX Runtime | box mIoU | click mIoU |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in arguments.names:
        print(table_line(name, arguments), flush=True)
    print("\nMilliseconds: median (shortest).")
    return 0


def table_line(name: str, arguments: argparse.Namespace) -> str:
    path = find_weights(name)
    if path is None:
        model = build_prompt_model(name)
        sizes = parameters(model)
        fold_batch_norm(model)
        model.to(memory_format=torch.channels_last)
    else:
        model = load_prompt_model(name, path)
        sizes = parameters(build_prompt_model(name))
    form = model.inference_form()
    graphs = {
        part: export_graph(model, part, OnnxRuntime.forms["fp32"]).SerializeToString()
        for part in form.parts
    }
    executors = (
        TorchExecutor({part: form.part(part) for part in form.parts}, torch.device("cpu")),
        OnnxRuntimeExecutor(graphs, arguments.threads, seldom=("encoder",)),
    )
    masks = model.mask_decoder.num_masks
    engines = [SamEngine(executor, INFO, masks) for executor in executors]
    image = torch.randn(1, 3, 1024, 1024)
    point, label = torch.full((1, 1, 2), 500.0), torch.ones(1, 1, dtype=torch.int64)
    kept = [engine.encode(image) for engine in engines]
    encoders = in_turn([lambda one=one: one.encode(image) for one in engines], arguments.runs)
    clicks = in_turn(
        [
            lambda one=one, features=features: one.decode(features, point, label)
            for one, features in zip(engines, kept, strict=True)
        ],
        6 * arguments.runs,
    )
    many = in_turn([lambda: engines[1].decode(kept[1], None, None, BOX.repeat(BOXES, 1))], 2)
    columns = [", ".join(f"{size / 1e6:.2f}" for size in sizes), *encoders, *clicks, *many]
    if path is None:
        columns += ["no weights reachable"] * 2
    elif arguments.coco:
        scores = score_folder(engines[1], arguments.coco)
        columns += [f"{np.mean(scores[kind]):.3f}" for kind in ("box", "click")]
    else:
        columns += ["not measured"] * 2
    return f"| {name} | {' | '.join(columns)} |"


def parameters(model: PromptModel) -> list[int]:
    """Parameters of the encoder, and of everything, as they are trained."""
    parts = (model.image_encoder, model)
    return [sum(one.numel() for one in part.parameters()) for part in parts]


def in_turn(runs: list[Callable[[], object]], times: int) -> list[str]:
    """Median and shortest wall time of each, in milliseconds, measured in turn."""
    walls: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(times):
        for run, own in zip(runs, walls, strict=True):
            start = time.perf_counter()
            run()
            own.append(1e3 * (time.perf_counter() - start))
    return [f"{np.median(own):.0f} ({min(own):.0f})" for own in walls]


if __name__ == "__main__":
    sys.exit(main())
