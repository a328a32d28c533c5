"""The training loop (paper section 4, docs/reference/rmpsam.md, section 17)."""

from __future__ import annotations

import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.anchors import grid_cells
from rmpsam_ros.training.batches import Batch, BatchMaker
from rmpsam_ros.training.config import TrainingConfig
from rmpsam_ros.training.distributed import Process
from rmpsam_ros.training.imitation import ImitationStep, load_teacher
from rmpsam_ros.training.losses import NO_CLASS, name_loss, object_losses, prompt_losses
from rmpsam_ros.training.network import build_network, make_class_table
from rmpsam_ros.training.optimizer import (
    WeightAverage,
    build_optimizer,
    freeze,
    gradient_norm,
    learning_rate,
    set_learning_rate,
)
from rmpsam_ros.training.state import (
    BEST,
    LAST,
    export_weights,
    import_weights,
    load_state,
    save_state,
)

LOG = "log.jsonl"


class TrainingError(RuntimeError):
    """The run cannot go on; the message says at which step and why."""


class TrainingStep(nn.Module):
    """The losses of one batch as a module, so that DistributedDataParallel can wrap it."""

    def __init__(self, network: RmpSam, config: TrainingConfig, process: Process) -> None:
        super().__init__()
        self.network = network
        self._process = process
        self._losses = config.losses
        _classify_in_float32(network, process.device)
        self._general = _general_class(config)
        things = [label.is_thing for label in config.label_set.labels]
        self.register_buffer("things", torch.tensor(things), persistent=False)
        self._cells: Tensor | None = None
        if network.anchored and self._losses.costs.place:
            cells = grid_cells(network.object_queries.shape[0])
            self._cells = cells.to(network.object_queries.device)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the weighted losses by name."""
        with self.network.compact():
            return self._weighted_losses(batch, generator)

    def _weighted_losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        network = self.network
        features = network.features(batch.images)
        if batch.kind == "prompt":
            assert batch.boxes is not None and batch.masks is not None and batch.known is not None
            output = network.decode_prompts(features, batch.boxes, with_stages=True)
            return prompt_losses(output, batch.masks, batch.known, self._losses, generator)
        objects = network.decode_objects(features, batch.frames, with_stages=True)
        masks = sum(len(target.classes) for target in batch.targets)
        num_masks = torch.tensor(float(masks), device=features.device)
        num_masks = self._process.mean(num_masks).clamp(min=1)
        losses = object_losses(
            objects,
            batch.targets,
            self.get_buffer("things"),
            self._losses,
            generator,
            num_masks,
            self._general,
            self._cells,
        )
        if self._losses.names:
            losses["name"] = name_loss(network, features, batch.targets, self._losses)
        return losses


class Trainer:
    """Runs, logs, saves and resumes one training."""

    def __init__(self, config: TrainingConfig, folder: Path, process: Process) -> None:
        """``folder`` is created; a run that was interrupted in it is continued.

        Raises DataError, ResumeError or ValueError when files or settings are wrong.
        """
        self.config, self.folder, self.process = config, folder, process
        loop = config.loop
        if loop.threads:
            torch.set_num_threads(loop.threads)
        torch.manual_seed(loop.seed)
        table = make_class_table(config.label_set.num_classes, config.class_table_seed)
        self.network = build_network(config.network, table)
        if config.start_from:
            import_weights(config.start_from, self.network)
        teacher = load_teacher(config.imitate, self.network) if config.imitate else None
        freeze(self.network, config.optimizer)
        self.network.to(process.device)
        self.sources = config.open_sources()
        self.batches = BatchMaker(
            self.sources,
            config.batches,
            config.augment,
            loop.seed,
            process.rank,
            self.network.anchored,
        )
        self.optimizer = build_optimizer(self.network, config.optimizer)
        self.average = WeightAverage(self.network, config.optimizer.ema_decay)
        folder.mkdir(parents=True, exist_ok=True)
        self._board = _tensorboard(folder) if process.is_main else None
        self.step = 0
        if (folder / LAST).exists():
            self.step = load_state(folder / LAST, self.network, self.optimizer, self.average)
        self._step_module: nn.Module = (
            ImitationStep(self.network, teacher.to(process.device))
            if teacher
            else TrainingStep(self.network, config, process)
        )
        self._step_module.to(process.device)
        if process.world > 1:
            if process.device.type == "cuda":
                self._step_module = nn.SyncBatchNorm.convert_sync_batchnorm(self._step_module)
            # A batch of prompts does not touch the object queries, and the other way round.
            self._step_module = nn.parallel.DistributedDataParallel(
                self._step_module, find_unused_parameters=True
            )

    def run(self, preview: Callable[[RmpSam, int], None] | None = None) -> None:
        """Train to the last step; ``preview`` draws images with the averaged weights."""
        loop = self.config.loop
        start, began = self.step, time.monotonic()
        bar = tqdm(total=loop.steps, initial=start, unit="step", disable=not self.process.is_main)
        for batches in self._prefetched(start * loop.accumulate, loop.steps * loop.accumulate):
            losses = self.train_step(batches)
            bar.update()
            if self.process.is_main and self.step % loop.log_interval == 0:
                speed = (self.step - start) / (time.monotonic() - began)
                self._log(losses, speed)
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
            if loop.checkpoint_interval and self.step % loop.checkpoint_interval == 0:
                self.save()
            if preview and loop.preview_interval and self.step % loop.preview_interval == 0:
                self._preview(preview)
        bar.close()
        self.save()

    def train_step(self, batches: list[Batch]) -> dict[str, float]:
        """Do one optimiser step on ``accumulate`` batches and return the mean losses."""
        config, device = self.config, self.process.device
        rate = learning_rate(self.step, config.loop.steps, config.optimizer)
        set_learning_rate(self.optimizer, rate)
        generator = torch.Generator(device).manual_seed(
            (config.loop.seed * 1_000_003 + self.step) * 4099 + self.process.rank
        )
        # What is only fitted to the rest of the network sees it as it will be used.
        self._step_module.train(not config.optimizer.only)
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        for batch in batches:
            enabled = config.loop.precision == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                losses = self._step_module(batch.to(device), generator)
            total = torch.stack(list(losses.values())).sum() / len(batches)
            if not torch.isfinite(total):
                raise TrainingError(
                    f"step {self.step}: the loss is {total.item()} on a {batch.kind} batch; "
                    "lower the learning rate, or resume with another seed"
                )
            if not total.requires_grad:
                raise TrainingError(
                    f"a {batch.kind} batch reaches no weight of optimizer.only; set "
                    f"batches.kinds.{batch.kind} to 0"
                )
            total.backward()
            for name, value in losses.items():
                key = f"{batch.kind}/{name}"
                totals[key] = totals.get(key, 0.0) + float(value.detach()) / len(batches)
        norm = gradient_norm(self.network, config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.network)
        return {**totals, "gradient_norm": float(norm)}

    def save(self) -> None:
        """Write the state to go on with, and the averaged weights to ship."""
        if self.process.is_main:
            settings = self.config.raw
            save_state(
                self.folder / LAST,
                self.network,
                self.optimizer,
                self.average,
                self.step,
                settings,
            )
            export_weights(
                self.folder / BEST,
                self.average.model,
                self.config.network,
                self.config.label_set,
                {"step": str(self.step)},
            )
        self.process.barrier()

    def _preview(self, preview: Callable[[RmpSam, int], None]) -> None:
        if self.process.is_main:
            preview(self.average.model.eval(), self.step)
        self.process.barrier()

    def _prefetched(self, first: int, last: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step, made ahead by worker processes."""
        loader = DataLoader(
            _ByIndex(self.batches),
            sampler=range(first, last),
            batch_size=None,
            num_workers=self.config.loop.workers,
            worker_init_fn=_one_thread,
        )
        batches = iter(loader)
        for _ in range(first, last, self.config.loop.accumulate):
            yield list(itertools.islice(batches, self.config.loop.accumulate))

    def _log(self, losses: dict[str, float], speed: float) -> None:
        rate = float(self.optimizer.param_groups[0]["lr"])
        entry = {"step": self.step, "steps_per_second": speed, "learning_rate": rate, **losses}
        with (self.folder / LOG).open("a") as stream:
            stream.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for name, value in entry.items():
                self._board.add_scalar(name, value, self.step)


def _general_class(config: TrainingConfig) -> int:
    """Return the index of the general class of the losses; ValueError if it is no thing."""
    name = config.losses.general_class
    if not name:
        return NO_CLASS
    things = {label.name: label.class_id for label in config.label_set.labels if label.is_thing}
    if name not in things:
        raise ValueError(f"losses.general_class is {name!r}; use a thing of the label set")
    return things[name]


def _classify_in_float32(network: RmpSam, device: torch.device) -> None:
    """Keep the classifier out of mixed precision.

    Stage logits are 1000 times a cosine: in bfloat16 they would come in steps of 4.
    """
    classify = network.classifier.forward

    def forward(embeddings: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            return classify(embeddings.float())

    network.classifier.forward = forward  # type: ignore[method-assign]


class _ByIndex(Dataset[Batch]):
    """A batch maker as what a ``DataLoader`` reads from."""

    def __init__(self, make: BatchMaker) -> None:
        self._make = make

    def __getitem__(self, index: int) -> Batch:
        return self._make(index)


def _one_thread(worker: int) -> None:
    """Keep the worker processes from competing: each has one thread."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _tensorboard(folder: Path) -> Any:
    """Return a writer of TensorBoard events, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder / "tensorboard")
