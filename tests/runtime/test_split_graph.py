"""A cut graph computes what the whole one computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from rmpsam_ros.export import ExportForm
from rmpsam_ros.runtime.executors.split_graph import split_behind_samples


@pytest.fixture(scope="module")
def pieces(graphs) -> list[onnx.ModelProto]:
    encoder = graphs("encoder", ExportForm("grid_sample"))
    return split_behind_samples(onnx.load_model_from_string(encoder))


def execute(graph: bytes, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    inputs = {value.name: tensors[value.name] for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def test_pieces_in_turn_are_the_whole(graphs, pieces, image):
    tensors = {"image": image}
    for piece in pieces:
        onnx.checker.check_model(piece)
        tensors |= execute(piece.SerializeToString(), tensors)
    whole = execute(graphs("encoder", ExportForm("grid_sample")), {"image": image})
    np.testing.assert_allclose(tensors["features"], whole["features"], atol=1e-4)


def test_sampling_comes_behind_the_last_convolution_of_its_piece(pieces):
    assert len(pieces) == 4
    for piece in pieces[:-1]:
        kinds = [node.op_type for node in piece.graph.node]
        assert kinds.index("GridSample") > max(i for i, kind in enumerate(kinds) if kind == "Conv")
    assert "GridSample" not in {node.op_type for node in pieces[-1].graph.node}


def test_a_graph_without_sampling_stays_whole(graphs):
    graph = onnx.load_model_from_string(graphs("prompt_decoder", ExportForm("grid_sample")))
    (piece,) = split_behind_samples(graph)
    assert len(piece.graph.node) == len(graph.graph.node)
