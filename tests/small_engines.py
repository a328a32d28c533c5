"""Engines of the small network of conftest, put together without factory and cache."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rmpsam_ros.export import export_graph
from rmpsam_ros.export.forms import ExportForm
from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.sam import PromptModel
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.executors.onnxruntime_executor import OnnxRuntime, OnnxRuntimeExecutor
from rmpsam_ros.runtime.executors.openvino_executor import OpenVINOExecutor
from rmpsam_ros.runtime.executors.torch_executor import TorchExecutor
from rmpsam_ros.runtime.network import EngineConfig
from rmpsam_ros.runtime.panoptic_engine import PanopticEngine
from rmpsam_ros.runtime.panoptic_network import PanopticNetwork
from rmpsam_ros.runtime.sam_engine import SamEngine
from rmpsam_ros.runtime.slots import profile

Graphs = Callable[[str, ExportForm], bytes]

CPU = torch.device("cpu")
PARTS = ("frame", "prompt_decoder")
TUBE_PARTS = (*PARTS, "tube_decoder")
ONNXRUNTIME = OnnxRuntime.forms["fp32"]
GRID_SAMPLE = ExportForm("grid_sample")
INFO = EngineInfo("test", "fp32", "cpu", "rmpsam_r18", "random weights")


def torch_engine(network: RmpSam, info: EngineInfo = INFO) -> PanopticEngine:
    form = network.inference_form()
    return PanopticEngine(TorchExecutor({part: form.part(part) for part in TUBE_PARTS}, CPU), info)


def onnx_engine(
    graphs: Graphs, form: ExportForm = ONNXRUNTIME, parts: tuple[str, ...] = PARTS
) -> PanopticEngine:
    return PanopticEngine(
        OnnxRuntimeExecutor({part: graphs(part, form) for part in parts}, 2), INFO
    )


def openvino_engine(graphs: Graphs, parts: tuple[str, ...] = PARTS) -> PanopticEngine:
    pieces = {part: [[(graphs(part, GRID_SAMPLE), "f32")]] for part in parts}
    return PanopticEngine(OpenVINOExecutor(pieces, 2), INFO)


def profiles(network: RmpSam, parts: tuple[str, ...] = TUBE_PARTS, frames: int = 3) -> dict:
    """Ranges of all inputs by part, as plans are built with."""
    config = EngineConfig("rmpsam_r18", clip_frames=frames)
    exportable, form = PanopticNetwork(network, config), network.inference_form()
    return {
        part: tuple(profile(form.part(part).inputs, axes) for axes in exportable.axes(part))
        for part in parts
    }


def sam_torch_engine(model: PromptModel, info: EngineInfo = INFO) -> SamEngine:
    form = model.inference_form()
    executor = TorchExecutor({part: form.part(part) for part in form.parts}, CPU)
    return SamEngine(executor, info, model.mask_decoder.num_masks)


def sam_onnx_engine(model: PromptModel, info: EngineInfo = INFO, threads: int = 1) -> SamEngine:
    graphs = {
        part: export_graph(model, part, GRID_SAMPLE).SerializeToString()
        for part in ("encoder", "decoder")
    }
    executor = OnnxRuntimeExecutor(graphs, threads, seldom=("encoder",))
    return SamEngine(executor, info, model.mask_decoder.num_masks)
