"""Backbone and neck as an ONNX graph.

BatchNorms are folded into the convolutions before them, which is exact.
"""

from torch import nn

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.resnet import ResNet
from rmpsam_ros.model.tiny_vit_backbone import (
    TinyVitBackbone,
    TinyVitLite0Backbone,
    lite0_normalization,
)
from rmpsam_ros.runtime.efficientnet_lite_graph import write_lite0, write_projections
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.neck_graph import NeckGraph
from rmpsam_ros.runtime.resnet_graph import write_resnet
from rmpsam_ros.runtime.tiny_vit_graph import write_tiny_vit


def write_encoder(layers: LayerWriter, model: RmpSam, image: str) -> str:
    """Write backbone and neck, and return the compact features [B, A + 3, h, w] float32.

    image: [B, 3, H, W] float32, normalised, H and W multiples of 32.
    """
    levels = _write_backbone(layers, model.backbone, layers.to_low(image))
    return NeckGraph(layers, model.neck).write(levels)


def _write_backbone(layers: LayerWriter, backbone: nn.Module, image: str) -> list[str]:
    if isinstance(backbone, ResNet):
        return write_resnet(layers, backbone, image)
    if isinstance(backbone, TinyVitBackbone):
        if layers.form.quantization != "none":
            raise ValueError("TinyViT has no form in eight bits")
        if not isinstance(backbone, TinyVitLite0Backbone):
            return write_tiny_vit(layers, backbone, image)
        # First, so that it belongs to the stem, which TinyViT's first stage ends.
        maps = write_lite0(layers, backbone.lite0, image, lite0_normalization())
        levels = write_tiny_vit(layers, backbone, image)
        return write_projections(layers, levels, backbone.projections, maps)
    raise ValueError(f"the exporter does not know the backbone {type(backbone).__name__}")
