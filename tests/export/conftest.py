"""Networks to export, and their graphs, each written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from rmpsam_ros.export import ExportForm, GraphPart, export_graph
from rmpsam_ros.model import (
    MODEL_CONFIGS,
    build_model,
    load_random_weights,
    random_text_embeddings,
)
from rmpsam_ros.model.sam import build_prompt_model

Graphs = Callable[[str, GraphPart, ExportForm], onnx.ModelProto]


def make_network(name: str) -> Any:
    """A network with weights that make every part count."""
    torch.manual_seed(5)
    if name in MODEL_CONFIGS:
        model: Any = build_model(name, random_text_embeddings("export", 3, 2))
    else:
        model = build_prompt_model(name)
    if name in ("rmpsam_r18", "rmpsam_r50"):
        load_random_weights(model)
        return model
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
            if hasattr(module, "layer_scale_1"):
                module.layer_scale_1.uniform_(0.2, 0.5)
                module.layer_scale_2.uniform_(0.2, 0.5)
    return model


@pytest.fixture(scope="session")
def networks() -> Callable[[str], Any]:
    """Networks by name; leave them alone."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = make_network(name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def graphs(networks) -> Graphs:
    """Graphs by network, part and form."""
    written: dict[tuple[str, GraphPart, ExportForm], onnx.ModelProto] = {}

    def get(name: str, part: GraphPart, form: ExportForm) -> onnx.ModelProto:
        key = name, part, form
        if key not in written:
            written[key] = export_graph(networks(name), part, form)
        return written[key]

    return get
