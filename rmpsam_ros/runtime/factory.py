"""Makes one engine in one precision, and lets it pass only if its results agree with fp32."""

import copy
import hashlib
import json
import platform
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

import rmpsam_ros
from rmpsam_ros.model import RmpSam
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import Engine, EngineError, EngineInfo
from rmpsam_ros.runtime.export_form import ExportForm, GraphPart, Quantization
from rmpsam_ros.runtime.network import EngineConfig, network_digest
from rmpsam_ros.runtime.precision import (
    Agreement,
    Remembered,
    compare,
    preprocessed_frames,
    shortcomings,
)
from rmpsam_ros.runtime.torch_engine import TorchEngine, TorchGraphEngine, device_description

if TYPE_CHECKING:
    from rmpsam_ros.runtime.tensorrt_build import BuildSettings

Precision = Literal["fp32", "bf16", "fp16", "int8"]

TENSORRT_FORMS: dict[Precision, ExportForm] = {
    "fp32": ExportForm("grid_sample"),
    "fp16": ExportForm("grid_sample", "fp16"),
    "bf16": ExportForm("grid_sample", "bf16"),
    "int8": ExportForm("grid_sample", "fp16", "s8s8"),
}

OPENVINO_PARTS: tuple[GraphPart, ...] = ("encoder", "decoder", "prompt_decoder")

CALIBRATION_FRAMES = 6
EXPORT_SOURCES = ("_graph.py", "graph_builder.py", "export.py", "export_form.py", "calibrate.py")
CHECK_FRAMES = 4  # others than those


class EngineFactory:
    """Makes all engines of one network, ``model``."""

    def __init__(
        self,
        model: RmpSam,
        config: EngineConfig,
        device: torch.device,
        cache: EngineCache,
        progress: Callable[[str], None],
        cancelled: threading.Event,
    ) -> None:
        self.model = model
        self._config = config
        self._device = device
        self._cache = cache
        self._progress = progress
        self._cancelled = cancelled
        self._digest = network_digest(model)
        self._reference: TorchEngine | None = None
        self._expected: Remembered | None = None
        self._ranges: dict[str, tuple[float, float]] | None = None

    def make(self, engine: str, precision: Precision) -> Engine:
        """Make an engine that may be used: its results agree with those of fp32 PyTorch.

        Raises:
            EngineError: it cannot be made, or its results are too far off.
        """
        made = self.make_unchecked(engine, precision)
        if isinstance(made, TorchEngine):
            return made
        try:
            agreement = self.agreement(made)
        except EngineError:
            made.close()
            raise
        # Random weights amplify rounding, and there is no result of theirs to be protected.
        must_agree = bool(self._config.weights) or precision != "fp32"
        if must_agree and (problem := shortcomings(agreement, precision)):
            made.close()
            raise EngineError(f"its results are too far from those of fp32 PyTorch: {problem}")
        made.info = replace(made.info, agreement=str(agreement))
        return made

    def make_unchecked(self, engine: str, precision: Precision) -> Engine:
        """Make an engine to be measured, whatever its results are.

        Raises:
            EngineError: it cannot be made.
        """
        if engine == "torch":
            return self._torch(precision)
        if engine == "onnxruntime":
            return self._onnxruntime(precision)
        if engine == "openvino":
            return self._openvino(precision)
        if engine == "tensorrt":
            return self._tensorrt(precision)
        raise EngineError(f"engine '{engine}' is unknown")

    def agreement(self, engine: Engine) -> Agreement:
        """Compare an engine with fp32 PyTorch, once per engine, network and machine."""
        info = engine.info
        key = {
            **self._key(),
            "check": [info.engine, info.precision, info.device],
            "comparison": _sources_digest("precision.py"),
        }

        def build() -> bytes:
            self._progress(f"comparing {info.engine} in {info.precision} with fp32 PyTorch")
            if self._expected is None:
                self._expected = Remembered(self.reference())
            frames = preprocessed_frames(CHECK_FRAMES, first=CALIBRATION_FRAMES)
            return json.dumps(compare(engine, self._expected, frames).to_json()).encode()

        name = f"{self._config.model}-agreement-{info.precision}"
        return Agreement(**json.loads(self._cache.fetch(name, key, build)))

    def reference(self) -> TorchEngine:
        """Return fp32 PyTorch without CUDA graphs, made once."""
        if self._reference is None:
            name, weights = self._config.model, self._config.weights_name
            self._reference = TorchEngine(self.model, self._device, name, weights)
        return self._reference

    def activation_ranges(self) -> dict[str, tuple[float, float]]:
        """Calibrate int8 on stored frames, others than those of the comparison.

        Raises:
            ValueError: nothing of the network can be quantised.
        """
        from rmpsam_ros.runtime.calibrate import calibrate

        if self._ranges is None:
            self._progress(f"calibrating int8 on {CALIBRATION_FRAMES} frames")
            frames = preprocessed_frames(CALIBRATION_FRAMES)
            self._ranges = calibrate(self.model, (image for image, _ in frames))
        return self._ranges

    def _torch(self, precision: Precision) -> Engine:
        """Make the reference engine itself, on a GPU with CUDA graphs where they work."""
        if self._device.type != "cuda":
            return self.reference()
        info = self._info(f"torch {torch.__version__} with CUDA graphs", precision)
        try:
            model = copy.deepcopy(self.model)
            engine = TorchGraphEngine(model, self._device, precision, info)
            engine.run(np.zeros((1, 3, 64, 64), np.float32))
        except EngineError as error:
            if precision != "fp32":
                raise
            self._progress(f"PyTorch runs without CUDA graphs: {error}")
            return self.reference()
        return engine

    def _onnxruntime(self, precision: Precision) -> Engine:
        from rmpsam_ros.runtime.onnx_engine import OnnxEngine, onnxruntime_form, version

        form = onnxruntime_form("u8s8" if precision == "int8" else "none")
        frame, prompt_decoder = self._graph("frame", form), self._graph("prompt_decoder", form)
        tubes = self._graph("tube_decoder", form) if self._config.clip_frames > 1 else None
        info = self._info(version(), precision)
        return OnnxEngine(frame, prompt_decoder, self._config.num_threads, info, tubes)

    def _openvino(self, precision: Precision) -> Engine:
        from rmpsam_ros.runtime.openvino_engine import OpenVINOEngine, version

        quantization: Quantization = "u8s8" if precision == "int8" else "none"
        form = ExportForm("grid_sample", quantization=quantization)
        graphs = {part: self._graph(part, form) for part in OPENVINO_PARTS}
        if self._config.clip_frames > 1:
            graphs["tube_decoder"] = self._graph("tube_decoder", form)
        info = self._info(version(), precision)
        return OpenVINOEngine(graphs, precision, self._config.num_threads, info)

    def _tensorrt(self, precision: Precision) -> Engine:
        from rmpsam_ros.runtime.neck_graph import feature_lift
        from rmpsam_ros.runtime.tensorrt_build import (
            TUBE_WORKSPACE,
            BuildSettings,
            Profile,
            frame_profiles,
            load_tensorrt,
            prompt_profiles,
            tube_profiles,
        )
        from rmpsam_ros.runtime.tensorrt_engine import PlanRefusedError, TensorRTEngine

        trt = load_tensorrt()
        form = TENSORRT_FORMS[precision]
        channels = feature_lift(self.model).shape[1]
        profiles: dict[GraphPart, tuple[Profile, ...]] = {
            "frame": frame_profiles(),
            "prompt_decoder": prompt_profiles(channels),
        }
        if self._config.clip_frames > 1:
            profiles["tube_decoder"] = tube_profiles(channels, self._config.clip_frames)
        settings = {
            part: BuildSettings(ranges, tensor_float_32=precision != "fp32")
            for part, ranges in profiles.items()
        }
        if "tube_decoder" in settings:
            settings["tube_decoder"] = replace(settings["tube_decoder"], workspace=TUBE_WORKSPACE)
        info = self._info(f"tensorrt {trt.__version__}", precision)

        def make() -> Engine:
            plans = {part: self._plan(trt, part, form, settings[part]) for part in profiles}
            return TensorRTEngine(trt, plans, profiles, self._device, info)

        try:
            return make()
        except PlanRefusedError as error:
            self._progress(f"building the TensorRT engine anew: {error}")
        for part in profiles:
            self._cache.discard(*self._plan_entry(trt, part, form, settings[part]))
        return make()

    def _plan(
        self, trt: ModuleType, part: GraphPart, form: ExportForm, settings: "BuildSettings"
    ) -> bytes:
        """Return a TensorRT engine, from the cache or built now."""
        from rmpsam_ros.runtime.tensorrt_build import build_plan

        def build() -> bytes:
            graph = self._graph(part, form)
            self._progress(f"building the TensorRT engine ({part}, {form.precision}): minutes")
            return build_plan(trt, graph, settings, self._progress, self._cancelled)

        return self._cache.fetch(*self._plan_entry(trt, part, form, settings), build)

    def _plan_entry(
        self, trt: ModuleType, part: GraphPart, form: ExportForm, settings: "BuildSettings"
    ) -> tuple[str, dict[str, Any]]:
        """Return name and key of a TensorRT engine in the cache."""
        key = {
            **self._key(),
            "part": part,
            "form": str(form),
            "settings": settings.to_json(),
            "tensorrt": [trt.__name__, trt.__version__],
            **gpu_key(self._device),
        }
        return f"{self._config.model}-tensorrt-{part}-{form.precision}", key

    def _graph(self, part: GraphPart, form: ExportForm) -> bytes:
        """Return a serialised ONNX graph, from the cache or written now."""
        if part not in ("encoder", "frame"):  # decoders are the same in every precision
            form = replace(form, compute="fp32", quantization="none")
        key = {**self._key(), "part": part, "form": str(form)}

        def build() -> bytes:
            from rmpsam_ros.runtime.export import export_graph

            try:
                ranges = self.activation_ranges() if form.quantization != "none" else None
                self._progress(f"writing the network as ONNX ({part}, {form})")
                graph = export_graph(self.model, part, form, ranges)
            except ValueError as error:
                raise EngineError(f"the network cannot be exported: {error}") from error
            return bytes(graph.SerializeToString())

        return self._cache.fetch(f"{self._config.model}-{part}-{form.precision}", key, build)

    def _info(self, engine: str, precision: str) -> EngineInfo:
        return EngineInfo(
            engine=engine,
            precision=precision,
            device=device_description(self._device),
            model=self._config.model,
            weights=self._config.weights_name,
            padded_boxes=self.model.anchored,
        )

    def _key(self) -> dict[str, Any]:
        """Return what every engine of this network depends on."""
        return {
            "model": self._config.model,
            "weights": self._digest,
            "rmpsam_ros": rmpsam_ros.__version__,
            "exporter": _sources_digest(*EXPORT_SOURCES),
        }


def _sources_digest(*names: str) -> str:
    """Return a sha256 over the stored frames and source files: other code, other results.

    names: of files of this package, or their ends.
    """
    folder = resources.files("rmpsam_ros.runtime")
    files = [file for file in folder.iterdir() if file.name.endswith(names)]
    digest = hashlib.sha256((folder / "frames" / "frames.safetensors").read_bytes())
    for file in sorted(files, key=lambda file: file.name):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def gpu_key(device: torch.device) -> dict[str, Any]:
    """Return what a TensorRT engine depends on besides network, settings and TensorRT."""
    gpu = torch.cuda.get_device_properties(device)
    driver = Path("/proc/driver/nvidia/version")
    return {
        "gpu": [gpu.name, gpu.major, gpu.minor, gpu.multi_processor_count, gpu.total_memory],
        "cuda": torch.version.cuda,
        "driver": driver.read_text().splitlines()[0] if driver.is_file() else "",
        "system": platform.platform(),
    }
