"""Time encoder and decoder of every promptable model in PyTorch, on this machine.

    python tests/tools/bench_sam.py [--threads 2] [names]

Weights are random: they do not change the time. Each figure is the shortest of several runs;
"busy" is the processor time divided by the threads, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch

from rmpsam_ros.model.sam import PROMPT_MODELS, build_prompt_model
from rmpsam_ros.model.sam.layers import fold_batch_norm


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(PROMPT_MODELS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| model | encoder M | all M | encoder ms (busy) | one click ms (busy) | 64 boxes ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in arguments.names:
        print(table_line(name, arguments.threads), flush=True)
    return 0


@torch.inference_mode()
def table_line(name: str, threads: int) -> str:
    model = build_prompt_model(name)
    fold_batch_norm(model)
    model.to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 1024, 1024)
    embedding = model.encode(images)
    point, label = torch.full((1, 1, 2), 500.0), torch.ones(1, 1, dtype=torch.int64)
    boxes = 900 * torch.rand(64, 2).repeat(1, 2) + torch.tensor([0.0, 0.0, 100.0, 100.0])
    encoder = shortest(lambda: model.encode(images), 5)
    click = shortest(lambda: model.decode(embedding, point, label), 30)
    many = shortest(lambda: model.decode(embedding, None, None, boxes), 2)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (model.image_encoder, model)]
    columns = [f"{size / 1e6:.2f}" for size in sizes]
    columns += [f"{wall:.0f} ({busy / threads:.0f})" for wall, busy in (encoder, click)]
    return f"| {name} | {' | '.join(columns)} | {many[0]:.0f} ({many[1] / threads:.0f}) |"


def shortest(run: Callable[[], object], times: int) -> tuple[float, float]:
    """Shortest wall time and shortest processor time, both in milliseconds."""
    walls, busy = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        busy.append(time.process_time() - cpu)
    return 1e3 * min(walls), 1e3 * min(busy)


if __name__ == "__main__":
    sys.exit(main())
