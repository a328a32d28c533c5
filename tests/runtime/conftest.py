"""Fixtures of the runtime tests: one small ResNet-18 network, in PyTorch and as an engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rmpsam_ros.export import ExportForm, export_graph, exporter_key
from rmpsam_ros.model import RmpSam, build_model, load_random_weights, random_text_embeddings
from rmpsam_ros.runtime.cache import EngineCache
from rmpsam_ros.runtime.engine import EngineInfo
from rmpsam_ros.runtime.network import network_digest
from rmpsam_ros.runtime.precision import preprocessed_frames

CLASSES = 7
LIMITS = (128, 96)


def make_network() -> RmpSam:
    # 17 synonyms of which classes have fewer, padded with copies of the first.
    table = random_text_embeddings("runtime.vocabulary", CLASSES, 17)
    table[1:, 4:] = table[1:, :1]
    model = build_model("rmpsam_r18", table)
    load_random_weights(model)
    return model


@pytest.fixture(scope="session")
def network() -> RmpSam:
    """ResNet-18 network with generated weights; leave them alone."""
    return make_network()


@pytest.fixture(scope="session")
def network_double(network: RmpSam) -> RmpSam:
    """The same network in float64."""
    return copy.deepcopy(network).double()


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """A real frame as network input, (1, 3, 96, 128) float32."""
    return preprocessed_frames(1, limits=LIMITS)[0][0]


@pytest.fixture(scope="session")
def boxes() -> np.ndarray:
    """Five prompt boxes, (5, 4) float32; the last one reaches beyond the image."""
    corners = np.array([[0.1, 0.2, 0.4, 0.5], [0.5, 0.5, 0.55, 0.56], [0, 0, 1, 1],
                        [0.7, 0.1, 0.9, 0.9], [-0.02, 0.4, 0.03, 0.45]])  # fmt: skip
    return corners.astype(np.float32)


@pytest.fixture(scope="session")
def info() -> EngineInfo:
    return EngineInfo("test", "fp32", "cpu", "rmpsam_r18", "random weights")


@pytest.fixture(scope="session")
def graphs(
    network: RmpSam, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, ExportForm], bytes]:
    """Serialised graphs of the network by part and form, each written once.

    They stay in pytest's cache, if it has one, until network, code or exporter change.
    """
    kept = getattr(pytestconfig, "cache", None)
    folder = kept.mkdir("graphs") if kept else tmp_path_factory.mktemp("graphs")
    folder.chmod(0o700)
    cache = EngineCache(folder, print)
    key = {"weights": network_digest(network), **exporter_key()}

    def graph(part: str, form: ExportForm) -> bytes:
        if part not in ("encoder", "frame"):
            form = replace(form, compute="fp32", quantization="none")
        return cache.fetch(
            f"r18-{part}",
            {**key, "part": part, "form": str(form)},
            lambda: export_graph(network, part, form).SerializeToString(),
        )

    return graph
