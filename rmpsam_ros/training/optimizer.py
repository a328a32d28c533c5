"""AdamW, its schedule, and the moving average of the weights.

Source: docs/reference/rmpsam.md, section 17.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Model = TypeVar("Model", bound=nn.Module)

_CLASS_LAYERS = re.compile(r"\.(class_branch|class_layer|name_branch)\.")


@dataclass(frozen=True)
class OptimizerConfig:
    """Numbers of the optimiser; defaults are docs/reference/rmpsam.md, section 17.

    Attributes:
        schedule: ``step`` (x0.1 at 8/12 and 11/12 of the steps) or ``cosine`` (down to 1 %).
        class_factor: on the learning rate of layers that make class embeddings and nothing else.
            The logit is 100 times a cosine with them: at the rate of other layers a step may
            change it by 5, which makes noise of it where batches are small.
        only: start of the names of the weights that are trained, e.g.
            ``object_adapter.class_layer``; the others, and all statistics, stay as they are.
            Empty: all are trained.
        frozen: starts of the names of weights that stay as they are, e.g. the first layers of a
            pretrained backbone, which cost most of its backward pass and gain least.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    backbone_factor: float = 0.1
    class_factor: float = 1.0
    clip_norm: float = 0.01
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    schedule: str = "step"
    ema_decay: float = 0.999
    only: str = ""
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.schedule not in ("step", "cosine"):
            raise ValueError(f"schedule is {self.schedule!r}; use 'step' or 'cosine'")


def freeze(model: nn.Module, config: OptimizerConfig) -> None:
    """Freeze all weights but those of ``only``, and those of ``frozen``.

    Raises:
        ValueError: an entry is the start of no weight's name.
    """
    names = [name for name, _ in model.named_parameters()]
    for entry, start in [("only", config.only), *(("frozen", start) for start in config.frozen)]:
        if not any(name.startswith(start) for name in names):
            raise ValueError(
                f"optimizer.{entry} is {start!r}; no weight of the network starts with that"
            )
    for name, parameter in model.named_parameters():
        trained = name.startswith(config.only) and not name.startswith(tuple(config.frozen))
        parameter.requires_grad_(parameter.requires_grad and trained)


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW; norms are not decayed, and the backbone learns more slowly."""
    norms = {
        f"{name}.{key}" if name else key
        for name, module in model.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d, nn.SyncBatchNorm))
        for key, _ in module.named_parameters(recurse=False)
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = config.backbone_factor if name.startswith("backbone.") else 1.0
            if _CLASS_LAYERS.search(name):
                factor = config.class_factor
            groups.setdefault((factor, name in norms), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "factor": factor,
                "weight_decay": 0.0 if is_norm else config.weight_decay,
            }
            for (factor, is_norm), parameters in groups.items()
        ],
        lr=config.learning_rate,
        fused=True,
    )


def learning_rate(step: int, total: int, config: OptimizerConfig) -> float:
    """Return the learning rate of ``step`` (from 0) of ``total``."""
    rate = config.learning_rate
    if config.schedule == "step":
        rate *= 0.1 ** sum(step >= total * share / 12 for share in (8, 11))
    else:
        progress = min(step / max(total, 1), 1.0)
        rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
    if step < config.warmup_steps:
        start = config.warmup_factor
        rate *= start + (1 - start) * step / config.warmup_steps
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


class WeightAverage(Generic[Model]):
    """Exponential moving average of a model's trainable weights and statistics.

    Attributes:
        model: a copy of the model that has them, and all else as it was.
    """

    def __init__(self, model: Model, decay: float) -> None:
        def blend(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            if not average.is_floating_point():
                return current
            share = min(decay, (1 + int(count)) / (10 + int(count)))  # young ones follow faster
            return torch.lerp(average, current, 1 - share)

        self._average = AveragedModel(model, avg_fn=blend, use_buffers=True)
        self.model = cast(Model, self._average.module)
        self._frozen = {name for name, p in model.named_parameters() if not p.requires_grad}

    def update(self, model: Model) -> None:
        """Take over the weights after a step."""
        self._average.update_parameters(model)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is averaged, by name."""
        state = self.model.state_dict()
        return {name: tensor for name, tensor in state.items() if name not in self._frozen}

    def restore(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Go on from the ``tensors`` of an average after ``step`` steps."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self._average.n_averaged.fill_(step)


def gradient_norm(model: nn.Module, limit: float) -> Tensor:
    """Clip the gradients to an L2 norm and return the norm they had."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    return torch.nn.utils.clip_grad_norm_(parameters, limit)
