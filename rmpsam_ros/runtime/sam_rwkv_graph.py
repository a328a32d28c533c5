"""The RWKV backbone as an ONNX graph, for images of one size."""

import numpy as np
from torch import nn

from rmpsam_ros.model.sam.layers import LayerNorm2d
from rmpsam_ros.model.sam.rwkv import (
    ChannelMix,
    PooledShortcut,
    PreNormBottleneck,
    RwkvBackbone,
    RwkvBlock,
    SpatialMix,
)
from rmpsam_ros.runtime.graph_builder import array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter

CHUNK = 64
"""Tokens of one chunk of the running sums, as in `rmpsam_ros.model.sam.bi_wkv`."""


class RwkvGraph:
    """Writes the parts of one backbone; maps are [1, C, H, W], tokens [1, H * W, C]."""

    def __init__(self, layers: LayerWriter, image_size: tuple[int, int] = (1024, 1024)) -> None:
        """image_size: height and width of the image, multiples of 16."""
        self._layers = layers
        self._size = image_size[0] // 16, image_size[1] // 16

    def backbone(self, x: str, net: RwkvBackbone) -> tuple[str, str, str]:
        """Write all of it and return the maps of stride 4, 8 and 16."""
        if net.position_grid is not None:
            raise ValueError("the exporter does not know backbones with a table of positions")
        layers, graph = self._layers, self._layers.graph
        x = layers.convolution(x, net.stem.conv1)
        x = layers.gelu(layers.map_norm(x, net.stem.norm1))
        x = layers.convolution(x, net.stem.conv2)
        first, second = (expect(stage, nn.Sequential) for stage in net.conv_stages)
        high = self._bottlenecks(x, first)
        middle = self._bottlenecks(high, second)
        x = layers.map_norm(middle, expect(net.conv_final_pool.norm, LayerNorm2d))
        x = graph.op(
            "Transpose", layers.convolution(x, net.conv_final_pool.proj), perm=[0, 2, 3, 1]
        )
        width = net.conv_final_pool.proj.out_channels
        tokens = graph.reshape(x, 0, -1, width)
        for block in net.layers:
            tokens = self._block(tokens, expect(block, RwkvBlock))
        tokens = layers.layer_norm(tokens, net.final_norm)
        last = graph.op(
            "Transpose", graph.reshape(tokens, 0, *self._size, width), perm=[0, 3, 1, 2]
        )
        return high, middle, last

    def _bottlenecks(self, x: str, stage: nn.Sequential) -> str:
        layers, graph = self._layers, self._layers.graph
        for module in stage:
            block = expect(module, PreNormBottleneck)
            y = layers.map_norm(x, expect(block.pre_norm, LayerNorm2d))
            y = layers.gelu(layers.convolution(y, block.conv1_1x1))
            y = layers.convolution(
                layers.gelu(layers.convolution(y, block.conv2_kxk)), block.conv3_1x1
            )
            if isinstance(block.shortcut, PooledShortcut):
                x = graph.op(
                    "AveragePool",
                    x,
                    kernel_shape=[3, 3],
                    strides=[2, 2],
                    pads=[1] * 4,
                    count_include_pad=0,
                )
                if isinstance(block.shortcut.expand, nn.Conv2d):
                    x = layers.convolution(x, block.shortcut.expand)
            x = graph.op("Add", y, x)
        return x

    def _block(self, tokens: str, block: RwkvBlock) -> str:
        layers, graph = self._layers, self._layers.graph
        for norm, mix, scale in (
            (block.norm1, block.attn, block.layer_scale_1),
            (block.norm2, block.mlp, block.layer_scale_2),
        ):
            x = layers.layer_norm(tokens, norm)
            x = self._spatial(x, mix) if isinstance(mix, SpatialMix) else self._channel(x, mix)
            x = graph.op("Mul", x, layers.constant(array(scale)))
            tokens = graph.op("Add", tokens, x)
        return tokens

    def _spatial(self, tokens: str, mix: SpatialMix) -> str:
        graph = self._layers.graph
        shifted = self._shifted(tokens, mix.key.in_features)
        key = self._linear(self._mixed(tokens, shifted, mix.spatial_mix_k), mix.key)
        value = self._linear(self._mixed(tokens, shifted, mix.spatial_mix_v), mix.value)
        gate = self._linear(self._mixed(tokens, shifted, mix.spatial_mix_r), mix.receptance)
        attended = self._bi_wkv(key, value, mix)
        return self._linear(graph.op("Mul", graph.op("Sigmoid", gate), attended), mix.output)

    def _channel(self, tokens: str, mix: ChannelMix) -> str:
        graph = self._layers.graph
        shifted = self._shifted(tokens, mix.receptance.in_features)
        hidden = self._linear(self._mixed(tokens, shifted, mix.spatial_mix_k), mix.key)
        hidden = self._layers.relu(hidden)
        value = self._linear(graph.op("Mul", hidden, hidden), mix.value)
        gate = self._linear(self._mixed(tokens, shifted, mix.spatial_mix_r), mix.receptance)
        return graph.op("Mul", graph.op("Sigmoid", gate), value)

    def _linear(self, x: str, linear: nn.Linear) -> str:
        """Write a linear layer that has no bias."""
        return self._layers.graph.op("MatMul", x, self._layers.constant(array(linear.weight).T))

    def _mixed(self, tokens: str, shifted: str, share: nn.Parameter) -> str:
        graph = self._layers.graph
        own = graph.op(
            "Mul", graph.op("Sub", tokens, shifted), self._layers.constant(array(share))
        )
        return graph.op("Add", shifted, own)

    def _shifted(self, tokens: str, width: int) -> str:
        """Write `q_shift`: a quarter of the channels from each neighbour."""
        graph, (height, columns) = self._layers.graph, self._size
        cells = graph.reshape(tokens, 0, height, columns, width)
        ends = [0, width // 4, width // 2, 3 * width // 4, width]
        sizes = graph.integers(*np.diff(ends).tolist())
        parts = graph.op_many("Split", 4, cells, sizes, axis=3)
        shifted = []
        for part, axis, from_start in zip(parts, (2, 2, 1, 1), (True, False) * 2, strict=True):
            length = columns if axis == 2 else height
            first, last = (0, length - 1) if from_start else (1, length)
            part = graph.op(
                "Slice", part, graph.integers(first), graph.integers(last), graph.integers(axis)
            )
            pads = [0] * 8
            pads[axis + (0 if from_start else 4)] = 1
            shifted.append(graph.op("Pad", part, graph.integers(*pads)))
        return graph.reshape(graph.op("Concat", *shifted, axis=3), 0, -1, width)

    def _bi_wkv(self, key: str, value: str, mix: SpatialMix) -> str:
        """Write `bi_wkv` in float32, with weights by distance that factor into two places.

        The torch version has a factor for every token; here it is one for the chunk times one for
        the place in the chunk, so that the graph holds little more than the learnt vectors.
        """
        layers, graph = self._layers, self._layers.graph
        key, value = layers.to_float(key), layers.to_float(value)
        tokens, width = self._size[0] * self._size[1], len(mix.spatial_decay)
        chunks = -(-tokens // CHUNK)
        if tokens % CHUNK:
            raise ValueError(f"{tokens} tokens are no whole chunks of {CHUNK}")
        rate = array(mix.spatial_decay) / tokens
        largest = graph.op("ReduceMax", key, graph.integers(1), keepdims=1)
        offset = graph.weight(np.maximum(-array(mix.spatial_decay), 0) / 2)
        weight = graph.op("Exp", graph.op("Sub", graph.op("Sub", key, largest), offset))
        weighted = graph.op("Concat", graph.op("Mul", weight, value), weight, axis=2)
        cells = graph.reshape(weighted, chunks, CHUNK, 2 * width)

        place = np.arange(CHUNK) - (CHUNK - 1) / 2
        chunk = CHUNK * (np.arange(chunks) - (chunks - 1) / 2)
        sums = []
        for sign, keep in ((1.0, np.tril), (-1.0, np.triu)):
            within, between = (
                np.tile(np.exp(sign * at[:, None] * rate), (1, 2)) for at in (place, chunk)
            )
            strict = -1 if sign > 0 else 1
            rising = graph.op("Mul", cells, graph.weight(within))
            inside = graph.op(
                "MatMul", graph.weight(keep(np.ones((CHUNK, CHUNK)), strict)), rising
            )
            of_chunk = graph.op("ReduceSum", rising, graph.integers(1), keepdims=0)
            of_chunk = graph.op("Mul", of_chunk, graph.weight(between))
            others = keep(np.ones((chunks, chunks)), strict)
            earlier = graph.op("MatMul", graph.weight(others), of_chunk)
            earlier = graph.op("Mul", earlier, graph.weight(1 / between))
            earlier = graph.reshape(earlier, chunks, 1, 2 * width)
            total = graph.op("Add", inside, earlier)
            # A neighbour counts fully: one step of the distance is taken back.
            sums.append(graph.op("Mul", total, graph.weight(np.tile(np.exp(rate), 2) / within)))
        own = np.tile(np.exp(array(mix.spatial_first) / tokens), 2)
        total = graph.op("Add", *sums)
        total = graph.op("Add", total, graph.op("Mul", cells, graph.weight(own)))
        total = graph.reshape(total, 1, tokens, 2 * width)
        above, below = graph.halves(total)
        return layers.to_low(graph.op("Div", above, below))
