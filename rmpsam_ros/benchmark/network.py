"""Measures engines beside eager PyTorch, in turns within one run, so that ratios hold."""

import copy
import datetime
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rmpsam_ros.benchmark.report import (
    FASTER,
    USUAL,
    YARDSTICK,
    Backbone,
    Machine,
    NetworkReport,
    Postprocessing,
    Row,
)
from rmpsam_ros.model import build_model
from rmpsam_ros.runtime.cpu import cpu_info
from rmpsam_ros.runtime.engine import Engine, EngineError, FrameOutput
from rmpsam_ros.runtime.executor import Precision
from rmpsam_ros.runtime.factory import EngineFactory
from rmpsam_ros.runtime.panoptic_network import PanopticNetwork
from rmpsam_ros.runtime.precision import FUSION, Agreement, stored_frames
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.panoptic import FusionConfig, fuse_panoptic
from rmpsam_ros.segmentation.preprocess import fit, preprocess
from rmpsam_ros.segmentation.run_length import encode_segments

WARM_UP = 1
MIN_ROUNDS = 3
YARDSTICK_MODEL = "rmpsam_r18"
SCENE_SIZE, SCENE_SEGMENTS, SCENE_ROUNDS = (1080, 1920), 40, 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        sizes: (width, height) of the image in pixels. On the first, everything is measured; on
            the others only single images without prompts, which always are.
        prompts: numbers of prompts in one pass.
        batches: images in one pass.
        rounds: how often everybody runs at most.
        seconds: after this time no further round is begun for an image size, but three are made.
    """

    sizes: tuple[tuple[int, int], ...]
    prompts: tuple[int, ...]
    batches: tuple[int, ...]
    rounds: int
    seconds: float

    def variants(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Return pairs of batch and prompts that are measured on a size of the image."""
        if size != self.sizes[0]:
            return [(1, 0)]
        with_prompts = [(1, count) for count in sorted({0, *self.prompts})]
        return with_prompts + [(batch, 0) for batch in sorted({*self.batches} - {1})]


def describe_machine(device: str) -> Machine:
    """Return where and when this runs; ``device`` as an engine describes it."""
    processor = f"{cpu_info()[0]}, {platform.system()} {platform.machine()}"
    return Machine(device, processor, datetime.date.today().isoformat())


def measure_network(
    factory: EngineFactory[Engine, Agreement],
    engines: Sequence[tuple[str, Precision]],
    plan: Plan,
    label_set: LabelSet,
    progress: Callable[[str], None],
) -> NetworkReport:
    """Measure the engines of one network, eager PyTorch always among them.

    Args:
        engines: pairs of engine and precision; one that cannot be made or fails while it is
            measured is reported and left out.

    Raises:
        EngineError: not even eager PyTorch runs.
    """
    made = _make(factory, engines, progress)
    reference = factory.reference
    assert isinstance(factory.network, PanopticNetwork)
    backbone = factory.network.model.backbone.to(factory.store.device)
    bare = _Backbones(backbone, reference.info.model)
    rows: list[Row] = []
    backbones: list[Backbone] = []
    for size in plan.sizes:
        progress(f"measuring {reference.info.model} at {size[0]}x{size[1]}")
        image = cv2.resize(stored_frames()[0], size).astype(np.uint8)
        contenders = [
            _Contender(engine, verdict, image, batch, prompts)
            for batch, prompts in plan.variants(size)
            for engine, verdict in made
        ]
        bare.start(image)
        failed = _measure_in_turns(bare, contenders, reference, plan, label_set, progress)
        backbones += bare.results()
        usual = next(o for o in bare.results() if (o.name, o.layout) == (YARDSTICK, USUAL))
        good = [contender for contender in contenders if contender.engine not in failed]
        rows += [
            contender.row(usual.times, _without_prompts(contender, good)) for contender in good
        ]
        made = [pair for pair in made if pair[0] not in failed]
    for engine, _ in made:
        engine.close()
    info = reference.info
    return NetworkReport(info.model, info.weights, tuple(backbones), tuple(rows))


def measure_postprocessing(label_set: LabelSet) -> Postprocessing:
    """Measure fusion, upsampling and run lengths of a made-up scene in full HD on the CPU."""
    geometry = fit(SCENE_SIZE, (640, 480))
    height, width = (side // 4 for side in geometry.padded_size)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    places = rng.uniform(size=(SCENE_SEGMENTS, 2)) * (height, width)
    distance = np.hypot(y - places[:, :1, None], x - places[:, 1:, None])
    nearest = np.sort(distance, axis=0)[:2]
    rival = np.where(distance == nearest[0], nearest[1], nearest[0])
    masks = np.full((100, height, width), -8.0, np.float32)
    masks[:SCENE_SEGMENTS] = (rival - distance).clip(-10, 10)  # every one has its own cell
    masks += rng.normal(0, 0.2, masks.shape).astype(np.float32)
    classes = np.zeros((100, label_set.num_classes + 1), np.float32)
    classes[SCENE_SEGMENTS:, -1] = 10.0
    classes[np.arange(SCENE_SEGMENTS), np.arange(SCENE_SEGMENTS) % label_set.num_things] = 12.0
    times = []
    for _ in range(2 + SCENE_ROUNDS):
        started = time.perf_counter()
        result = fuse_panoptic(classes, masks, geometry, label_set, FusionConfig())
        encode_segments(result.runs, result.size, result.segments)
        times.append(time.perf_counter() - started)
    del times[:2]
    rows, columns = SCENE_SIZE
    count = len(result.segments)
    return Postprocessing(columns, rows, count, statistics.median(times), min(times))


class _Contender:
    """An engine with the times it took for one number of prompts and images."""

    def __init__(
        self,
        engine: Engine,
        verdict: str,
        image: NDArray[np.uint8],
        batch: int,
        prompts: int,
    ) -> None:
        self.engine = engine
        self.batch = batch
        self.prompts = prompts
        self.times: list[tuple[float, float, float, float]] = []
        self._verdict = verdict
        self._images = [image] * batch

    def measure(self, label_set: LabelSet) -> None:
        """Process all images from pixels to run lengths, and answer one late prompt."""
        height, width = self._images[0].shape[:2]
        limits = (max(height, width), min(height, width))
        started = time.perf_counter()
        prepared = [self.engine.prepare(image, limits, "bgr") for image in self._images]
        preprocessed = time.perf_counter()
        tensors = [tensor for tensor, _ in prepared]
        outputs: list[FrameOutput] = []
        for output in self.engine.run_batch(tensors, [_boxes(self.prompts)] * self.batch):
            if isinstance(output, EngineError):
                raise output
            outputs.append(output)
        inferred = time.perf_counter()
        for output, (_, geometry) in zip(outputs, prepared, strict=True):
            result = self.engine.fuse(output.objects, geometry, label_set, FUSION)
            encode_segments(result.runs, result.size, result.segments)
            done = time.perf_counter()
        self.engine.decode_prompts(outputs[0].features, _boxes(1))
        late = time.perf_counter() - done
        self.times.append((preprocessed - started, inferred - preprocessed, done - inferred, late))

    def totals(self) -> NDArray[np.float64]:
        """Seconds of every round from pixels to run lengths."""
        return np.array(self.times)[:, :3].sum(axis=1)

    def row(self, bare: Sequence[float], plain: "_Contender") -> Row:
        """Return the result.

        Args:
            bare: times of the yardstick.
            plain: the same engine on one image without prompts.
        """
        totals, parts = self.totals(), np.median(np.array(self.times), axis=0).tolist()
        frame = float(np.median(plain.totals()))
        total, fastest = float(np.median(totals)), float(totals.min())
        info, image = self.engine.info, self._images[0]
        share = float(np.median(totals - plain.totals())) / frame if self.prompts else None
        return Row(
            engine=info.engine,
            precision=info.precision,
            width=image.shape[1],
            height=image.shape[0],
            batch=self.batch,
            prompts=self.prompts,
            rounds=len(totals),
            total=total,
            fastest=fastest,
            slowest=float(np.quantile(totals, 0.95)),
            preprocess=parts[0],
            inference=parts[1],
            postprocess=parts[2],
            late_prompt=parts[3],
            ratio=total / self.batch / statistics.median(bare),
            fastest_ratio=fastest / self.batch / min(bare),
            late_prompt_share=parts[3] / frame,
            prompts_share=share,
            accepted=self._verdict,
        )


class _Backbones:
    """Eager PyTorch on bare backbones: the yardstick, and the network's own if it is another."""

    def __init__(self, own: nn.Module, model: str) -> None:
        self._device = next(own.parameters()).device
        yardstick = own
        if model != YARDSTICK_MODEL:
            yardstick = build_model(YARDSTICK_MODEL).backbone.to(self._device).eval()
        self._modules = [
            (YARDSTICK, USUAL, _in_layout(yardstick, torch.contiguous_format)),
            (YARDSTICK, FASTER, _in_layout(yardstick, torch.channels_last)),
        ]
        if model != YARDSTICK_MODEL:
            name = f"backbone of {model}"
            self._modules.append((name, USUAL, _in_layout(own, torch.contiguous_format)))

    def start(self, image: NDArray[np.uint8]) -> None:
        """Begin with another image."""
        self._size = image.shape[1], image.shape[0]
        tensor, _ = preprocess(image, (max(self._size), min(self._size)))
        self._image = torch.from_numpy(tensor).to(self._device)
        self._times: list[list[float]] = [[] for _ in self._modules]

    @torch.inference_mode()
    def measure(self) -> None:
        """Run every backbone once."""
        for (_, layout, module), times in zip(self._modules, self._times, strict=True):
            memory = torch.channels_last if layout == FASTER else torch.contiguous_format
            tensor = self._image.contiguous(memory_format=memory)
            self._synchronize()
            started = time.perf_counter()
            module(tensor)
            self._synchronize()
            times.append(time.perf_counter() - started)

    def results(self) -> list[Backbone]:
        """Return the times after the warm-up."""
        return [
            Backbone(name, layout, *self._size, tuple(times[WARM_UP:]))
            for (name, layout, _), times in zip(self._modules, self._times, strict=True)
        ]

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _make(
    factory: EngineFactory[Engine, Agreement],
    engines: Sequence[tuple[str, Precision]],
    progress: Callable[[str], None],
) -> list[tuple[Engine, str]]:
    """Make eager PyTorch and the engines, each with what its results lack, if anything."""
    made: list[tuple[Engine, str]] = [(factory.reference, "")]
    for name, precision in engines:
        try:
            engine, verdict = factory.try_out(name, precision)
            if engine is not factory.reference:
                made.append((engine, verdict))
        except EngineError as error:
            progress(f"{name} in {precision} is left out: {error}")
    return made


def _measure_in_turns(
    bare: _Backbones,
    contenders: Sequence[_Contender],
    reference: Engine,
    plan: Plan,
    label_set: LabelSet,
    progress: Callable[[str], None],
) -> set[Engine]:
    """Let everybody run in every round, and return the engines that failed."""
    failed: set[Engine] = set()
    started = time.perf_counter()
    for done in range(WARM_UP + plan.rounds):
        if done >= WARM_UP + MIN_ROUNDS and time.perf_counter() - started > plan.seconds:
            break
        bare.measure()
        for contender in contenders:
            if contender.engine in failed:
                continue
            try:
                contender.measure(label_set)
            except EngineError as error:
                if contender.engine is reference:
                    raise
                progress(f"{contender.engine.info} failed and is left out: {error}")
                failed.add(contender.engine)
    for contender in contenders:
        del contender.times[:WARM_UP]
    return failed


def _without_prompts(contender: _Contender, contenders: Sequence[_Contender]) -> _Contender:
    """Return the same engine with a single image and no prompts."""
    return next(
        other
        for other in contenders
        if other.engine is contender.engine and (other.batch, other.prompts) == (1, 0)
    )


def _in_layout(module: nn.Module, memory: torch.memory_format) -> nn.Module:
    module = copy.deepcopy(module)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory)
    return module


def _boxes(count: int) -> NDArray[np.float32]:
    """Return prompt boxes all over the image, (count, 4)."""
    corners = np.random.default_rng(count).uniform(size=(count, 2, 2)).astype(np.float32)
    return np.sort(corners, axis=1).reshape(count, 4)
