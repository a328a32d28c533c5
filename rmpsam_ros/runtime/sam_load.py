"""From weights of the SAM family to a running engine: the fastest one that can be trusted."""

import hashlib
import importlib.util
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

import rmpsam_ros
from rmpsam_ros.model.sam import PROMPT_MODELS, CheckpointError, PromptModel, load_prompt_model
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineError, EngineInfo
from rmpsam_ros.runtime.export_form import ExportForm, GraphPart
from rmpsam_ros.runtime.factory import gpu_key
from rmpsam_ros.runtime.network import EngineConfig
from rmpsam_ros.runtime.sam_engine import SamEngine, SamTorchEngine
from rmpsam_ros.runtime.sam_precision import SamAgreement, compare_sam, sam_shortcomings
from rmpsam_ros.runtime.torch_engine import device_description, resolve_device

if TYPE_CHECKING:
    from rmpsam_ros.runtime.tensorrt_build import BuildSettings

SAM_PARTS: tuple[GraphPart, GraphPart] = ("encoder", "decoder")
CHECK_FRAMES = 2
PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "tensorrt": ("onnx", "tensorrt")}
CANDIDATES = {
    "cpu": (("onnxruntime", "fp32"),),
    "cuda": (("tensorrt", "fp16"), ("tensorrt", "fp32")),
}
"""Fastest first; behind what fails, its results or its libraries, comes the next, then torch."""


class WeightsError(EngineError):
    """The weights cannot be used, by no engine."""


def load_sam_engine(
    name: str,
    weights: Path,
    config: EngineConfig,
    progress: Callable[[str], None] = lambda line: None,
    cancelled: threading.Event | None = None,
) -> SamEngine:
    """Make the engine of a model of the SAM family, or take it from the cache.

    Args:
        name: of `PROMPT_MODELS`.
        weights: a file of `load_prompt_model`.
        config: device, number of threads and cache folder are used, and the engine as far as
            ``torch`` means that nothing else is tried.
        progress: called with one line before every step that takes longer than a moment, and
            about everything that was not possible.
        cancelled: setting it, from another thread, ends a build that takes minutes.

    Raises:
        WeightsError: the weights cannot be used.
        EngineError: the model or the device cannot be used, or the build was cancelled.
    """
    if name not in PROMPT_MODELS:
        raise EngineError(f"prompt model '{name}' is unknown; use {', '.join(PROMPT_MODELS)}")
    device = resolve_device(config.device)
    folder = Path(config.cache_folder).expanduser() if config.cache_folder else None
    cache = EngineCache(folder, progress)
    factory = _SamFactory(
        name, weights, config, device, cache, progress, cancelled or threading.Event()
    )
    candidates = () if config.engine == "torch" else CANDIDATES[device.type]
    if config.precision == "fp32":
        candidates = tuple(pair for pair in candidates if pair[1] == "fp32")
    missing = {engine: _missing_packages(engine) for engine, _ in candidates}
    for engine, packages in missing.items():
        if packages:
            progress(f"{name} is not executed by {engine}: Python has no package {packages}")
    for engine, precision in candidates:
        if missing[engine]:
            continue
        try:
            return factory.make(engine, precision)
        except WeightsError:
            raise
        except (EngineError, ImportError) as error:
            if cancelled and cancelled.is_set():
                raise
            reason = " ".join(str(error).split())
            progress(f"{name} is not executed by {engine} in {precision}: {reason}")
    return factory.reference()


class _SamFactory:
    """Makes the engines of one model with one file of weights."""

    def __init__(
        self,
        name: str,
        weights: Path,
        config: EngineConfig,
        device: torch.device,
        cache: EngineCache,
        progress: Callable[[str], None],
        cancelled: threading.Event,
    ) -> None:
        self._name = name
        self._weights = weights
        self._config = config
        self._device = device
        self._cache = cache
        self._progress = progress
        self._cancelled = cancelled

    @cached_property
    def model(self) -> PromptModel:
        """The model in PyTorch, loaded when it is first needed: a cached engine does without."""
        self._progress(f"loading {self._name} with weights {self._weights.name}")
        try:
            return load_prompt_model(self._name, self._weights)
        except (CheckpointError, OSError) as error:
            raise WeightsError(" ".join(str(error).split())) from error

    def make(self, engine: str, precision: str) -> SamEngine:
        """Make an engine whose results agree with those of fp32 PyTorch.

        Raises:
            EngineError: it cannot be made, or its results are too far off.
        """
        made = self._onnxruntime() if engine == "onnxruntime" else self._tensorrt(precision)
        try:
            agreement = self._agreement(made)
        except EngineError:
            made.close()
            raise
        if problem := sam_shortcomings(agreement, precision):
            made.close()
            raise EngineError(f"its results are too far from those of fp32 PyTorch: {problem}")
        made.info = replace(made.info, agreement=str(agreement))
        return made

    def reference(self) -> SamEngine:
        """Return fp32 PyTorch."""
        info = self._info(f"torch {torch.__version__}", "fp32")
        return SamTorchEngine(self.model, self._device, info)

    def _onnxruntime(self) -> SamEngine:
        from rmpsam_ros.runtime.onnx_engine import version
        from rmpsam_ros.runtime.sam_onnx_engine import SamOnnxEngine

        encoder, decoder = (self._graph(part, "fp32") for part in SAM_PARTS)
        info = self._info(version(), "fp32")
        return SamOnnxEngine(encoder, decoder, self._config.num_threads, info)

    def _tensorrt(self, precision: str) -> SamEngine:
        from rmpsam_ros.runtime.sam_export import image_shapes
        from rmpsam_ros.runtime.sam_tensorrt_engine import SamTensorRTEngine, sam_profiles
        from rmpsam_ros.runtime.tensorrt_build import BuildSettings, load_tensorrt
        from rmpsam_ros.runtime.tensorrt_engine import PlanRefusedError

        trt = load_tensorrt()
        profiles = sam_profiles(image_shapes(self.model))
        num_masks = self.model.mask_decoder.num_masks
        info = self._info(f"tensorrt {trt.__version__}", precision)
        entries = {
            part: self._plan_entry(
                trt, part, precision, BuildSettings(ranges, tensor_float_32=precision != "fp32")
            )
            for part, ranges in profiles.items()
        }

        def make() -> SamEngine:
            plans = {
                part: self._cache.fetch(entry.name, entry.key, entry.build)
                for part, entry in entries.items()
            }
            return SamTensorRTEngine(trt, plans, profiles, num_masks, self._device, info)

        try:
            return make()
        except PlanRefusedError as error:
            self._progress(f"building the TensorRT engine of {self._name} anew: {error}")
        for entry in entries.values():
            self._cache.discard(entry.name, entry.key)
        return make()

    def _plan_entry(
        self, trt: ModuleType, part: GraphPart, precision: str, settings: "BuildSettings"
    ) -> "_Entry":
        from rmpsam_ros.runtime.tensorrt_build import build_plan

        def build() -> bytes:
            graph = self._graph(part, precision)
            self._progress(f"building the TensorRT engine of {self._name} ({part}): minutes")
            return build_plan(trt, graph, settings, self._progress, self._cancelled)

        key = {
            **self._key,
            "part": part,
            "precision": precision,
            "settings": settings.to_json(),
            "tensorrt": [trt.__name__, trt.__version__],
            **gpu_key(self._device),
        }
        return _Entry(f"{self._name}-tensorrt-{part}-{precision}", key, build)

    def _graph(self, part: GraphPart, precision: str) -> bytes:
        """Return a serialised ONNX graph, from the cache or written now."""
        form = ExportForm("grid_sample", "fp16" if precision == "fp16" else "fp32")
        if part == "decoder":  # the same in every precision
            form = ExportForm("grid_sample")

        def build() -> bytes:
            from rmpsam_ros.runtime.sam_export import export_sam_graph

            model = self.model
            self._progress(f"writing {self._name} as ONNX ({part})")
            try:
                return bytes(export_sam_graph(model, part, form).SerializeToString())
            except ValueError as error:
                raise EngineError(f"it cannot be exported: {error}") from error

        key = {**self._key, "part": part, "form": str(form)}
        return self._cache.fetch(f"{self._name}-{part}-{form.precision}", key, build)

    def _agreement(self, engine: SamEngine) -> SamAgreement:
        """Compare an engine with fp32 PyTorch, once per engine, weights and machine."""
        info = engine.info

        def build() -> bytes:
            self._progress(f"comparing {self._name} on {info.engine} with fp32 PyTorch")
            agreement = compare_sam(engine, self.reference(), CHECK_FRAMES)
            return json.dumps(agreement.to_json()).encode()

        key = {**self._key, "check": [info.engine, info.precision, info.device]}
        stored = self._cache.fetch(f"{self._name}-agreement-{info.precision}", key, build)
        return SamAgreement(**json.loads(stored))

    @cached_property
    def _key(self) -> dict[str, Any]:
        """What every engine of this model depends on."""
        try:
            weights = hashlib.sha256(self._weights.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsError(f"weights '{self._weights}' cannot be read: {error}") from error
        return {
            "model": self._name,
            "weights": weights,
            "rmpsam_ros": rmpsam_ros.__version__,
            "sources": _sources_digest(),
        }

    def _info(self, engine: str, precision: str) -> EngineInfo:
        return EngineInfo(
            engine=engine,
            precision=precision,
            device=device_description(self._device),
            model=self._name,
            weights=self._weights.name,
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the cache, and how it is made."""

    name: str
    key: dict[str, Any]
    build: Callable[[], bytes]


def _sources_digest() -> str:
    """Return a sha256 over stored frames and the code that results depend on."""
    digest = hashlib.sha256()
    for package, ends in (
        ("rmpsam_ros.model.sam", ".py"),
        ("rmpsam_ros.runtime", ("_graph.py", "graph_builder.py", "export_form.py")),
        ("rmpsam_ros.runtime", ("sam_export.py", "sam_precision.py", "sam_engine.py")),
    ):
        files = [file for file in resources.files(package).iterdir() if file.name.endswith(ends)]
        for file in sorted(files, key=lambda file: file.name):
            digest.update(file.read_bytes())
    digest.update(
        (resources.files("rmpsam_ros.runtime") / "frames" / "frames.safetensors").read_bytes()
    )
    return digest.hexdigest()


def _missing_packages(engine: str) -> str:
    names = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
    return " and ".join(names)
