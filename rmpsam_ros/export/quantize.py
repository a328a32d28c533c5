"""Eight-bit activations and weights in the backbone of an exported graph."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

BACKBONE = "backbone."


def has_int8(model: object) -> bool:
    """Tell whether a network has a form in eight bits: whether its backbone declares it."""
    return bool(getattr(getattr(model, "backbone", None), "has_int8", False))


def quantize(
    graph: bytes, frames: Sequence[NDArray[np.float32]], quantization: Literal["u8s8", "s8s8"]
) -> bytes:
    """Return a graph whose backbone computes in eight bits, all but its first convolution.

    Neck and decoder, which decide on the borders of masks, stay as they are.

    Args:
        graph: of the encoder, or of the whole frame, as `export_graph` writes it.
        frames: preprocessed real frames, (1, 3, H, W); ranges of activations are theirs.
        quantization: ``u8s8`` or ``s8s8``, see `ExportForm`.

    Raises:
        ValueError: the graph has no convolution in a backbone, or there are no frames.
    """
    import onnx
    from onnxruntime import quantization as library

    model = onnx.load_model_from_string(graph)
    convolutions = [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.name.startswith(BACKBONE)
    ]
    if not convolutions or not frames:
        raise ValueError("frames and a graph with a backbone are needed to quantise it")
    chosen = [
        node.name
        for node in model.graph.node
        if node.name.startswith(BACKBONE) and node.op_type in ("Conv", "Add", "MaxPool")
    ]
    signed = quantization == "s8s8"
    activation = library.QuantType.QInt8 if signed else library.QuantType.QUInt8
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        library.quantize_static(
            model,
            path,
            _Frames(frames, [value.name for value in model.graph.input]),
            nodes_to_quantize=[name for name in chosen if name != convolutions[0]],
            activation_type=activation,
            weight_type=library.QuantType.QInt8,
            per_channel=True,
            calibrate_method=library.CalibrationMethod.Entropy,
            # TensorRT takes no quantised bias and no zero points.
            extra_options={"ActivationSymmetric": signed, "QuantizeBias": not signed},
        )
        return path.read_bytes()


class _Frames:
    """Frames as the library reads them; graphs of whole frames get no prompts."""

    def __init__(self, frames: Sequence[NDArray[np.float32]], inputs: Sequence[str]) -> None:
        self._inputs = inputs
        self._frames: Iterator[NDArray[np.float32]] = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        frame = next(self._frames, None)
        if frame is None:
            return None
        boxes = {"boxes": np.zeros((1, 0, 4), np.float32)} if "boxes" in self._inputs else {}
        return {"image": frame, **boxes}
