"""Measures engines beside eager PyTorch, in turns within one run, so that ratios hold."""

import copy
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rmpsam_ros.runtime.cpu import cpu_info
from rmpsam_ros.runtime.engine import Engine, EngineError
from rmpsam_ros.runtime.factory import EngineFactory, Precision
from rmpsam_ros.runtime.precision import FUSION, shortcomings, stored_frames
from rmpsam_ros.runtime.torch_engine import TorchEngine
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.preprocess import preprocess
from rmpsam_ros.segmentation.run_length import encode_id_map, encode_segments

WARM_UP = 2
USUAL, FASTER = "channels first", "channels last"


@dataclass(frozen=True, slots=True)
class Row:
    """One engine on one image size with one number of prompts; times are medians in seconds.

    Attributes:
        engine, precision: what ran.
        width, height: of the camera image, which is also the network input before padding.
        prompts: prompts in the same pass as the frame.
        total: from the image to run lengths; ``fastest`` the shortest of all runs, which a busy
            machine spoils least, and ``slowest`` the 95th percentile.
        preprocess, inference, postprocess: the parts of ``total``.
        late_prompt: one prompt on a frame whose features are kept.
        ratio: ``total`` over the time of eager PyTorch for the bare backbone, in its usual layout
            (channels first), in the same run; ``fastest_ratio`` the same of the shortest times.
        accepted: whether its results agree with fp32 PyTorch; '' if so, else in what they do not.
    """

    engine: str
    precision: str
    width: int
    height: int
    prompts: int
    total: float
    fastest: float
    slowest: float
    preprocess: float
    inference: float
    postprocess: float
    late_prompt: float
    ratio: float
    fastest_ratio: float
    accepted: str


@dataclass(frozen=True, slots=True)
class Report:
    """Rows with what is needed to judge them."""

    model: str
    weights: str
    device: str
    processor: str
    date: str
    repeats: int
    backbone: dict[str, dict[str, list[float]]]  # of eager PyTorch: by size, layout; all times
    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """Return the report as a JSON document."""
        return json.dumps(asdict(self), indent=1)

    def to_table(self) -> str:
        """Return the report as a table in Markdown, times in milliseconds."""
        lines = [
            f"{self.model} ({self.weights}) on {self.device}, {self.processor}; {self.date}; "
            f"medians of {self.repeats} runs in turns",
            "",
            "| engine | precision | image | prompts | frame | fastest | 95 % | frames/s | "
            "preprocess | network | postprocess | late prompt | x backbone | fastest x | agrees |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        ]
        for size, layouts in self.backbone.items():
            usual, usual_best = statistics.median(layouts[USUAL]), min(layouts[USUAL])
            for layout, times in layouts.items():
                middle, best = statistics.median(times), min(times)
                lines.append(
                    f"| eager PyTorch, bare backbone, {layout} | fp32 | {size} | | "
                    f"{middle * 1e3:.1f} | {best * 1e3:.1f} | | | | | | | "
                    f"{middle / usual:.2f} | {best / usual_best:.2f} | |"
                )
        for row in self.rows:
            parts = (row.preprocess, row.inference, row.postprocess, row.late_prompt)
            cells = [
                row.engine,
                row.precision,
                f"{row.width}x{row.height}",
                str(row.prompts),
                f"{row.total * 1e3:.1f}",
                f"{row.fastest * 1e3:.1f}",
                f"{row.slowest * 1e3:.1f}",
                f"{1 / row.total:.1f}",
                *(f"{seconds * 1e3:.1f}" for seconds in parts),
                f"{row.ratio:.2f}",
                f"{row.fastest_ratio:.2f}",
                "no" if row.accepted else "yes",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)


class _Contender:
    """An engine with the times it took."""

    def __init__(self, engine: Engine, image: NDArray[np.uint8], prompts: int) -> None:
        self.engine = engine
        self.times: list[tuple[float, float, float, float]] = []
        self._image = image
        self._boxes = _boxes(prompts)

    def measure(self, label_set: LabelSet) -> None:
        """Process one frame and answer one late prompt."""
        limits = (max(self._image.shape[:2]), min(self._image.shape[:2]))
        started = time.perf_counter()
        tensor, geometry = self.engine.prepare(self._image, limits, "bgr")
        preprocessed = time.perf_counter()
        output = self.engine.run(tensor, self._boxes)
        inferred = time.perf_counter()
        objects = output.objects
        result = self.engine.fuse(objects, geometry, label_set, FUSION)
        encode_segments(result.id_map, result.segments)
        encode_id_map(result.id_map)
        done = time.perf_counter()
        self.engine.decode_prompts(output.features, _boxes(1))
        late = time.perf_counter() - done
        self.times.append((preprocessed - started, inferred - preprocessed, done - inferred, late))


def run_benchmark(
    factory: EngineFactory,
    engines: Sequence[tuple[str, Precision]],
    sizes: Iterable[tuple[int, int]],
    prompts: Iterable[int],
    repeats: int,
    label_set: LabelSet,
    progress: Callable[[str], None],
) -> Report:
    """Measure engines, eager PyTorch always among them.

    Args:
        engines: pairs of engine and precision; one that cannot be made is reported and left out.
        sizes: (width, height) of the image in pixels.
        prompts: numbers of prompts in one pass.

    Raises:
        EngineError: not even eager PyTorch runs.
    """
    reference = factory.reference()
    made: list[tuple[Engine, str]] = [(reference, "")]
    for name, precision in engines:
        try:
            engine = factory.make_unchecked(name, precision)
            if not isinstance(engine, TorchEngine):
                made.append((engine, shortcomings(factory.agreement(engine), precision)))
        except EngineError as error:
            progress(f"{name} in {precision} is left out: {error}")
    rows: list[Row] = []
    backbone: dict[str, dict[str, list[float]]] = {}
    backbones = _Backbones(reference.backbone)
    counts = list(prompts)
    for width, height in sizes:
        image = cv2.resize(stored_frames()[0], (width, height)).astype(np.uint8)
        for count in counts:
            progress(f"measuring {width}x{height} with {count} prompts")
            contenders = [_Contender(engine, image, count) for engine, _ in made]
            bare = _measure_in_turns(backbones, contenders, image, repeats, label_set)
            backbone.setdefault(f"{width}x{height}", bare)
            rows += [
                _row(contender, verdict, image, count, bare[USUAL])
                for contender, (_, verdict) in zip(contenders, made, strict=True)
            ]
    info = reference.info
    return Report(
        model=info.model,
        weights=info.weights,
        device=info.device,
        processor=f"{cpu_info()[0]}, {platform.system()} {platform.machine()}",
        date=datetime.date.today().isoformat(),
        repeats=repeats,
        backbone=backbone,
        rows=tuple(rows),
    )


def _measure_in_turns(
    backbones: "_Backbones",
    contenders: Sequence[_Contender],
    image: NDArray[np.uint8],
    repeats: int,
    label_set: LabelSet,
) -> dict[str, list[float]]:
    """Let everybody run in every round; return the times of the bare backbone by layout."""
    tensor, _ = preprocess(image, (max(image.shape[:2]), min(image.shape[:2])))
    rounds = []
    for _ in range(WARM_UP + repeats):
        rounds.append(backbones.measure(torch.from_numpy(tensor)))
        for contender in contenders:
            contender.measure(label_set)
    for contender in contenders:
        del contender.times[:WARM_UP]
    return {layout: [each[layout] for each in rounds[WARM_UP:]] for layout in (USUAL, FASTER)}


class _Backbones:
    """Eager PyTorch on the bare backbone in both layouts: the yardstick."""

    def __init__(self, backbone: nn.Module) -> None:
        self._by_layout = {}
        for layout, memory_format in (
            (USUAL, torch.contiguous_format),
            (FASTER, torch.channels_last),
        ):
            module = copy.deepcopy(backbone)
            for parameter in module.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=memory_format)
            self._by_layout[layout] = (module, memory_format)
        self._device = next(backbone.parameters()).device

    @torch.inference_mode()
    def measure(self, image: torch.Tensor) -> dict[str, float]:
        """Return the seconds of one run by layout."""
        times = {}
        for layout, (module, memory_format) in self._by_layout.items():
            tensor = image.to(self._device).contiguous(memory_format=memory_format)
            self._synchronize()
            started = time.perf_counter()
            module(tensor)
            self._synchronize()
            times[layout] = time.perf_counter() - started
        return times

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _row(
    contender: _Contender,
    verdict: str,
    image: NDArray[np.uint8],
    prompts: int,
    bare: list[float],
) -> Row:
    columns = np.array(contender.times)
    totals = columns[:, :3].sum(axis=1)
    parts = np.median(columns, axis=0).tolist()
    info = contender.engine.info
    total, fastest = float(np.median(totals)), float(totals.min())
    return Row(
        engine=info.engine,
        precision=info.precision,
        width=image.shape[1],
        height=image.shape[0],
        prompts=prompts,
        total=total,
        fastest=fastest,
        slowest=float(np.quantile(totals, 0.95)),
        preprocess=parts[0],
        inference=parts[1],
        postprocess=parts[2],
        late_prompt=parts[3],
        ratio=total / statistics.median(bare),
        fastest_ratio=fastest / min(bare),
        accepted=verdict,
    )


def _boxes(count: int) -> NDArray[np.float32]:
    """Return prompt boxes all over the image, (count, 4)."""
    corners = np.random.default_rng(count).uniform(size=(count, 2, 2)).astype(np.float32)
    return np.sort(corners, axis=1).reshape(count, 4)
