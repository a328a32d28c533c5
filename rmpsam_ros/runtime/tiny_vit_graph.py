"""TinyViT, the backbone of the demo model, as an ONNX graph.

Window attention needs whole windows: maps are filled up at the right and at the bottom, by as
much as their size asks for when the graph is executed.
"""

import numpy as np
from torch import nn

from rmpsam_ros.model.sam.tiny_vit import (
    InvertedBottleneck,
    PatchMerging,
    TinyVitBlock,
    TinyVitStage,
    TokenMlp,
    WindowAttention,
)
from rmpsam_ros.runtime.export_form import END_OF_STEM
from rmpsam_ros.runtime.graph_builder import array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter, scale_and_bias


class TinyVitGraph:
    """Writes the parts of one TinyViT; maps are [B, C, H, W] between them."""

    def __init__(self, layers: LayerWriter) -> None:
        self._layers = layers

    def patch_embedding(self, x: str, embedding: nn.Module) -> str:
        """Write the two strided convolutions from [B, 3, H, W] to [B, C, H/4, W/4]."""
        first, _, second = expect(embedding.seq, nn.Sequential)
        return self._conv_norm(self._layers.gelu(self._conv_norm(x, first)), second)

    def blocks(self, x: str, stage: TinyVitStage) -> str:
        """Write the blocks of a stage, without the merging behind them."""
        for block in stage.blocks:
            if isinstance(block, InvertedBottleneck):
                x = self._inverted_bottleneck(x, block)
            else:
                x = self._window_block(x, expect(block, TinyVitBlock))
        return x

    def merging(self, x: str, merging: PatchMerging) -> str:
        """Write the change to the next stage's width and size."""
        x = self._layers.gelu(self._conv_norm(x, merging.conv1))
        x = self._layers.gelu(self._conv_norm(x, merging.conv2))
        return self._conv_norm(x, merging.conv3)

    def _conv_norm(self, x: str, module: nn.Module) -> str:
        """Write a `ConvNorm`, or the convolution that is left of one after folding."""
        if isinstance(module, nn.Conv2d):
            return self._layers.convolution(x, module)
        conv, norm = expect(module.c, nn.Conv2d), expect(module.bn, nn.BatchNorm2d)
        return self._layers.conv_norm(x, conv, norm)

    def _inverted_bottleneck(self, x: str, block: InvertedBottleneck) -> str:
        y = self._layers.gelu(self._conv_norm(x, block.conv1))
        y = self._layers.gelu(self._conv_norm(y, block.conv2))
        y = self._layers.graph.op("Add", x, self._conv_norm(y, block.conv3))
        return self._layers.gelu(y)

    def _window_block(self, x: str, block: TinyVitBlock) -> str:
        graph = self._layers.graph
        cells = graph.op("Transpose", x, perm=[0, 2, 3, 1])  # [B, H, W, C]
        cells = graph.op("Add", cells, self._in_windows(x, cells, block))
        x = self._conv_norm(graph.op("Transpose", cells, perm=[0, 3, 1, 2]), block.local_conv)
        cells = graph.op("Transpose", x, perm=[0, 2, 3, 1])
        cells = graph.op("Add", cells, self._mlp(cells, block.mlp))
        return graph.op("Transpose", cells, perm=[0, 3, 1, 2])

    def _mlp(self, x: str, mlp: TokenMlp) -> str:
        x = self._layers.layer_norm(x, mlp.norm)
        x = self._layers.gelu(self._layers.linear(x, array(mlp.fc1.weight), array(mlp.fc1.bias)))
        return self._layers.linear(x, array(mlp.fc2.weight), array(mlp.fc2.bias))

    def _in_windows(self, x: str, cells: str, block: TinyVitBlock) -> str:
        """Cut ``cells``, [B, H, W, C] of the map ``x``, into windows, attend, and put back."""
        graph, side = self._layers.graph, block.window
        batch, _, height, width = graph.sizes(x)
        channels = block.attn.qkv.in_features
        rows, columns = (self._windows_along(size, side) for size in (height, width))
        filled = [graph.op("Mul", count, graph.integers(side)) for count in (rows, columns)]
        missing = [
            graph.op("Sub", whole, size)
            for whole, size in zip(filled, (height, width), strict=True)
        ]
        none = graph.integers(0)
        pads = graph.op("Concat", graph.integers(0, 0, 0, 0), none, *missing, none, axis=0)
        windows = graph.op("Pad", cells, pads)
        windows = graph.reshape(windows, batch, rows, side, columns, side, channels)
        windows = graph.op("Transpose", windows, perm=[0, 1, 3, 2, 4, 5])
        windows = graph.reshape(windows, -1, side * side, channels)
        windows = self._attention(windows, block.attn)
        windows = graph.reshape(windows, batch, rows, columns, side, side, channels)
        windows = graph.op("Transpose", windows, perm=[0, 1, 3, 2, 4, 5])
        windows = graph.reshape(windows, batch, *filled, channels)
        start = graph.integers(0, 0)
        end = graph.op("Concat", height, width, axis=0)
        return graph.op("Slice", windows, start, end, graph.integers(1, 2))

    def _windows_along(self, size: str, side: int) -> str:
        graph = self._layers.graph
        rounded_up = graph.op("Add", size, graph.integers(side - 1))
        return graph.op("Div", rounded_up, graph.integers(side))

    def _attention(self, x: str, attention: WindowAttention) -> str:
        """Write multi-head attention inside every window, [windows, cells, C]."""
        layers, graph, heads = self._layers, self._layers.graph, attention.heads
        channels = attention.qkv.in_features
        depth = channels // heads
        # Every head has its query, key and value together; here all queries come first.
        scale = np.array([depth**-0.5, 1.0, 1.0])
        weight = array(attention.qkv.weight).reshape(heads, 3, depth, channels)
        weight = (weight * scale[:, None, None]).transpose(1, 0, 2, 3).reshape(-1, channels)
        bias = array(attention.qkv.bias).reshape(heads, 3, depth)
        bias = (bias * scale[:, None]).transpose(1, 0, 2).reshape(-1)
        packed = layers.linear(layers.layer_norm(x, attention.norm), weight, bias)
        packed = graph.reshape(packed, 0, 0, 3 * heads, depth)
        packed = graph.op("Transpose", packed, perm=[0, 2, 1, 3])
        query, key, value = graph.op_many("Split", 3, packed, axis=1, num_outputs=3)
        logits = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
        offsets = array(attention.attention_biases)[:, attention.offset_index.cpu().numpy()]
        logits = graph.op("Add", layers.to_float(logits), graph.weight(offsets[None]))
        weights = layers.to_low(graph.op("Softmax", logits, axis=-1))
        attended = graph.op("Transpose", graph.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        attended = graph.reshape(attended, 0, 0, channels)
        return layers.linear(attended, array(attention.proj.weight), array(attention.proj.bias))


def write_tiny_vit(layers: LayerWriter, net: nn.Module, image: str) -> list[str]:
    """Write a `TinyVitBackbone` and return its maps at strides 4 to 32."""
    graph, writer = layers.graph, TinyVitGraph(layers)
    encoder = expect(net.encoder, nn.ModuleDict)
    x = writer.patch_embedding(image, encoder["patch_embed"])
    maps = []
    for module in expect(encoder["layers"], nn.Sequential):
        stage = expect(module, TinyVitStage)
        x = writer.blocks(x, stage)
        maps.append(x)
        if len(maps) == 1:
            graph.note(x, END_OF_STEM)
        if stage.downsample is not None:
            x = writer.merging(x, stage.downsample)
    fine, medium, coarse, deep = maps
    levels = [fine, medium, graph.op("Concat", coarse, deep, axis=1)]
    levels = [
        _channel_norm(layers, level, expect(norm, nn.BatchNorm2d))
        for level, norm in zip(levels, expect(net.norms, nn.ModuleList), strict=True)
    ]
    own_channels = expect(expect(net.norms, nn.ModuleList)[0], nn.BatchNorm2d).num_features
    waves = (expect(net.out_channels, tuple)[0] - own_channels) // 2
    levels[0] = graph.op("Concat", levels[0], _position_waves(layers, levels[0], waves), axis=1)
    coarse_conv, coarse_norm = expect(net.coarse, nn.Sequential)
    deepest = layers.conv_norm(
        deep, expect(coarse_conv, nn.Conv2d), expect(coarse_norm, nn.BatchNorm2d)
    )
    return [*levels, layers.relu(deepest)]


def _channel_norm(layers: LayerWriter, x: str, norm: nn.BatchNorm2d) -> str:
    """Write a BatchNorm that has no convolution before it."""
    scale, bias = (values.reshape(1, -1, 1, 1) for values in scale_and_bias(norm))
    x = layers.graph.op("Mul", x, layers.constant(scale))
    return layers.graph.op("Add", x, layers.constant(bias))


def _position_waves(layers: LayerWriter, x: str, count: int) -> str:
    """Write cos(k pi x), then cos(k pi y), k = 1 to ``count``, at every pixel of a map."""
    graph = layers.graph
    batch, _, height, width = graph.sizes(x)
    size = graph.op("Concat", batch, graph.integers(count), height, width, axis=0)
    order = graph.weight(np.pi * np.arange(1, count + 1).reshape(-1, 1))
    waves = []
    for length, axes in ((width, (0, 2)), (height, (0, 3))):
        place = graph.op("Add", graph.float_range(length), graph.weight(0.5))
        place = graph.op("Div", place, graph.cast(length, "fp32"))
        wave = graph.op("Cos", graph.op("Mul", order, place))
        wave = graph.op("Unsqueeze", wave, graph.integers(*axes))
        waves.append(graph.op("Expand", layers.to_low(wave), size))
    return graph.op("Concat", *waves, axis=1)
