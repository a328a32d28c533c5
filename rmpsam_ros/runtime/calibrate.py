"""Measures the ranges of activations on real frames, for quantised engines."""

import math
from collections.abc import Iterable

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rmpsam_ros.model import RmpSam
from rmpsam_ros.runtime.encoder_graph import write_encoder
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.graph_builder import GraphBuilder
from rmpsam_ros.runtime.layer_graph import LayerWriter

BINS = 2048
CLIP_STEPS = 40


def calibrate(
    model: RmpSam, images: Iterable[NDArray[np.float32]]
) -> dict[str, tuple[float, float]]:
    """Return the range of every activation that quantised forms store in eight bits.

    The range is the one that loses least, in squares, over all frames together: outliers are
    clipped where the finer steps for all other values are worth more.

    Args:
        images: preprocessed frames, (1, 3, H, W) float32; a handful suffices.

    Raises:
        ValueError: nothing of the network can be quantised.
    """
    graph = GraphBuilder(opset=18)
    writer = LayerWriter(graph, ExportForm("grid_sample"), None)
    write_encoder(writer, model, graph.input("image", [1, 3, "height", "width"]))
    layers = writer.quantizer.activations
    if not layers:
        raise ValueError("this network has no form in eight bits")
    for index, tensor in enumerate(layers.values()):
        graph.output(tensor, f"activation_{index}", ["batch", f"c{index}", f"h{index}", "w"])
    session = onnxruntime.InferenceSession(
        graph.model("calibration", {}).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    histograms = {layer: _Histogram() for layer in layers}
    for image in images:
        for layer, values in zip(layers, session.run(None, {"image": image}), strict=True):
            histograms[layer].add(values)
    return {layer: histogram.best_range() for layer, histogram in histograms.items()}


class _Histogram:
    """Counts of values in bins around zero; the bins grow with the values.

    Their limits are powers of two, so that it is exact in which bin a value lies: zero lies in the
    first of the positive ones.
    """

    def __init__(self) -> None:
        self._limit = 0.0
        self._counts = np.zeros(2 * BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        largest = float(np.abs(values).max())
        if largest == self._limit == 0:
            self._counts[BINS] += values.size
            return
        while largest >= self._limit:
            self._double(largest)
        bounds = [-self._limit, self._limit]
        counts = cv2.calcHist([values.reshape(1, -1)], [0], None, [2 * BINS], bounds)
        self._counts += counts.reshape(-1).astype(np.int64)  # a column in OpenCV 4

    def _double(self, largest: float) -> None:
        """Double the range of the bins, or set it if it was zero."""
        pairs = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.pad(pairs, BINS // 2)
        self._limit = 2 * self._limit or 2.0 ** math.frexp(largest)[1]

    def best_range(self) -> tuple[float, float]:
        """Return the range with the least squared error of 255 even steps."""
        centres = (np.arange(2 * BINS) + 0.5) / BINS * self._limit - self._limit
        used = np.flatnonzero(self._counts)
        if not used.size:
            return 0.0, 0.0
        low, high = min(centres[used[0]], 0.0), max(centres[used[-1]], 0.0)
        candidates = [(low * f, high * f) for f in np.linspace(1.0, 0.3, CLIP_STEPS)]
        errors = [self._error(centres, *candidate) for candidate in candidates]
        low, high = candidates[int(np.argmin(errors))]
        return float(low), float(high)

    def _error(self, centres: NDArray[np.float64], low: float, high: float) -> float:
        clipped = centres - centres.clip(low, high)
        step = (high - low) / 255
        return float((self._counts * (clipped**2 + step**2 / 12)).sum())
