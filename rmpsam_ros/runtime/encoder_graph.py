"""Backbone and neck as an ONNX graph.

BatchNorms are folded into the convolutions before them, which is exact.
"""

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.resnet import ResNet
from rmpsam_ros.runtime.graph_builder import expect
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.neck_graph import NeckGraph
from rmpsam_ros.runtime.resnet_graph import write_resnet


def write_encoder(layers: LayerWriter, model: RmpSam, image: str) -> str:
    """Write backbone and neck, and return the compact features [B, A + 3, h, w] float32.

    image: [B, 3, H, W] float32, normalised, H and W multiples of 32.
    """
    levels = write_resnet(layers, expect(model.backbone, ResNet), layers.to_low(image))
    return NeckGraph(layers, model.neck).write(levels)
