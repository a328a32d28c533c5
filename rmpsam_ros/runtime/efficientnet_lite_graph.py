"""EfficientNet-Lite0, beside TinyViT in the demo model, as an ONNX graph."""

from collections.abc import Sequence

from torch import Tensor, nn

from rmpsam_ros.model.efficientnet_lite import (
    TAKEN,
    EfficientNetLite0,
    InvertedResidual,
    SamePadConv2d,
)
from rmpsam_ros.runtime.graph_builder import array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter, scale_and_bias


def write_lite0(
    layers: LayerWriter, net: EfficientNetLite0, image: str, normalization: tuple[Tensor, Tensor]
) -> list[str]:
    """Write the network and return its maps at strides 4 to 32.

    image: [B, 3, H, W], normalised for RMP-SAM. normalization: factor and summand to Lite0's.
    """
    scale, shift = (layers.constant(array(values)[None]) for values in normalization)
    x = layers.graph.op("Add", layers.graph.op("Mul", image, scale), shift)
    x = _relu6(layers, _conv(layers, x, net.stem))
    maps = []
    for index, block in enumerate(net.blocks):
        x = _inverted_residual(layers, x, expect(block, InvertedResidual))
        if index in TAKEN:
            maps.append(x)
    return maps


def write_projections(
    layers: LayerWriter, levels: Sequence[str], projections: nn.Module, maps: Sequence[str]
) -> list[str]:
    """Add to every level its projection of a map: a BatchNorm and a 1x1 convolution, in one."""
    added = []
    modules = expect(projections, nn.ModuleList)
    for level, module, x in zip(levels, modules, maps, strict=True):
        norm, conv = expect(module, nn.Sequential)
        scale, shift = scale_and_bias(expect(norm, nn.BatchNorm2d))
        conv = expect(conv, nn.Conv2d)
        weight = array(conv.weight)
        bias = array(conv.bias) + weight[:, :, 0, 0] @ shift
        x = layers.conv(x, weight * scale[None, :, None, None], bias)
        added.append(layers.graph.op("Add", level, x))
    return added


def _inverted_residual(layers: LayerWriter, x: str, block: InvertedResidual) -> str:
    y = x if block.expand is None else _relu6(layers, _conv(layers, x, block.expand))
    y = _relu6(layers, _conv(layers, y, block.depthwise))
    y = _conv(layers, y, block.project)
    return layers.graph.op("Add", x, y) if block.shortcut else y


def _conv(layers: LayerWriter, x: str, conv: SamePadConv2d) -> str:
    pads = [conv.before] * 2 + [conv.after] * 2
    return layers.convolution(x, conv, pads)


def _relu6(layers: LayerWriter, x: str) -> str:
    return layers.graph.op("Clip", x, layers.constant(0.0), layers.constant(6.0))
