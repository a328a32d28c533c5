"""Image encoders of the SAM family as ONNX graphs, with what the decoder needs of every image.

Whatever the decoder computes of the image alone is written behind the encoder: it is kept with
the frame, and a click does not pay for it. See `rmpsam_ros.runtime.sam_decoder_graph`.
"""

from collections.abc import Callable

import numpy as np
from torch import nn

from rmpsam_ros.model.sam.layers import LayerNorm2d
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion, MaskDecoder
from rmpsam_ros.model.sam.prompt_model import PromptModel
from rmpsam_ros.model.sam.repvit import RepVit, RepVitBlock, SqueezeExcite
from rmpsam_ros.model.sam.rwkv import RwkvEncoder
from rmpsam_ros.model.sam.tiny_vit import TinyVit, TinyVitStage
from rmpsam_ros.model.sam.two_way_transformer import Attention, TwoWayLayer
from rmpsam_ros.runtime.graph_builder import Weights, array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.sam_rwkv_graph import RwkvGraph
from rmpsam_ros.runtime.tiny_vit_graph import TinyVitGraph

LOOKS = ("keys", "values", "queries")


def write_sam_encoder(layers: LayerWriter, model: PromptModel, image: str) -> dict[str, str]:
    """Write a model's image encoder; returns what the decoder needs by name, all float32.

    ``image`` [1, 3, H, W], H and W multiples of 16, h = H / 16, w = W / 16; batch normalisations
    of the model are folded. Outputs:

    - cells [1, h * w, 256]: features, with what stands for "no mask prompt" added;
    - keys [1, 8, 16, h * w], values [1, 8, h * w, 16], queries [1, 8, h * w, 16]: of these cells,
      for the first layer of the two-way transformer, queries divided by 4;
    - high_res [1, 64, H / 4, W / 4]: the image's share of the feature fusion, where there is one.
    """
    writer = _writer(model.image_encoder)
    features, fine = writer(layers, layers.to_low(image), model.image_encoder)
    graph = layers.graph
    no_mask = array(model.prompt_encoder.without_mask()).reshape(-1)
    outputs = {"cells": graph.op("Add", features, graph.weight(no_mask))}
    position = array(model.prompt_encoder.image_position())[0].reshape(len(no_mask), -1).T
    for name, weight, bias in first_looks(model.mask_decoder):
        with_position = name != "values"
        table = (position if with_position else 0 * position) @ weight.T + bias
        x = graph.op("MatMul", outputs["cells"], graph.weight(weight.T))
        x = graph.op("Add", x, graph.weight(table))
        x = graph.reshape(x, 0, 0, *_heads(model.mask_decoder))
        order = [0, 2, 3, 1] if name == "keys" else [0, 2, 1, 3]
        outputs[name] = graph.op("Transpose", x, perm=order)
    fusion = model.mask_decoder.fusion
    if fusion is not None:
        outputs["high_res"] = _fusion_image_part(layers, fusion, *fine)
    return outputs


def first_looks(decoder: MaskDecoder) -> list[tuple[str, Weights, Weights]]:
    """Name, weight [128, 256] and bias [128] of what the first layer projects of the image."""
    layer = expect(decoder.transformer.layers[0], TwoWayLayer)
    tokens_look = expect(layer.cross_attn_token_to_image, Attention)
    image_looks = expect(layer.cross_attn_image_to_token, Attention)
    scale = query_scale(image_looks)
    projections = (tokens_look.k_proj, tokens_look.v_proj, image_looks.q_proj)
    return [
        (name, array(linear.weight) * factor, array(linear.bias) * factor)
        for name, linear, factor in zip(LOOKS, projections, (1.0, 1.0, scale), strict=True)
    ]


def query_scale(attention: Attention) -> float:
    """What queries are multiplied with, so that their products need not be divided."""
    return float((attention.q_proj.out_features // attention.heads) ** -0.5)


def _heads(decoder: MaskDecoder) -> tuple[int, int]:
    attention = expect(decoder.transformer.layers[0], TwoWayLayer).cross_attn_token_to_image
    return attention.heads, attention.q_proj.out_features // attention.heads


Writer = Callable[[LayerWriter, str, nn.Module], tuple[str, tuple[str, ...]]]


def _writer(encoder: nn.Module) -> Writer:
    for kind, writer in _WRITERS.items():
        if isinstance(encoder, kind):
            return writer
    raise ValueError(f"the exporter does not know the image encoder {type(encoder).__name__}")


def _tiny_vit(layers: LayerWriter, x: str, module: nn.Module) -> tuple[str, tuple[str, ...]]:
    encoder, writer = expect(module, TinyVit), TinyVitGraph(layers)
    x = writer.patch_embedding(x, encoder.patch_embed)
    for part in encoder.layers:
        stage = expect(part, TinyVitStage)
        x = writer.blocks(x, stage)
        if stage.downsample is not None:
            x = writer.merging(x, stage.downsample)
    return write_neck(layers, x, encoder.neck), ()


def _repvit(layers: LayerWriter, x: str, module: nn.Module) -> tuple[str, tuple[str, ...]]:
    encoder, graph = expect(module, RepVit), layers.graph
    for part in encoder.features:
        if isinstance(part, RepVitBlock):
            x = _sequence(layers, x, part.token_mixer)
            x = graph.op("Add", x, _sequence(layers, x, part.channel_mixer.m))
        else:
            x = _sequence(layers, x, expect(part, nn.Sequential))
    return write_neck(layers, x, encoder.neck), ()


def _rwkv(layers: LayerWriter, x: str, module: nn.Module) -> tuple[str, tuple[str, ...]]:
    encoder = expect(module, RwkvEncoder)
    high, middle, last = RwkvGraph(layers).backbone(x, encoder.backbone)
    return write_neck(layers, last, encoder.neck), (high, middle)


_WRITERS: dict[type[nn.Module], Writer] = {TinyVit: _tiny_vit, RepVit: _repvit, RwkvEncoder: _rwkv}


def _sequence(layers: LayerWriter, x: str, modules: nn.Sequential) -> str:
    """Write convolutions, GELUs and squeeze-and-excite gates one behind the other."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            x = layers.convolution(x, module)
        elif isinstance(module, nn.GELU):
            x = layers.gelu(x)
        elif isinstance(module, SqueezeExcite):
            x = _squeeze_excite(layers, x, module)
        else:
            expect(module, nn.Identity)
    return x


def _squeeze_excite(layers: LayerWriter, x: str, gate: SqueezeExcite) -> str:
    graph = layers.graph
    mean = layers.to_low(graph.op("GlobalAveragePool", layers.to_float(x)))
    hidden = layers.relu(layers.convolution(mean, gate.fc1))
    return graph.op("Mul", x, graph.op("Sigmoid", layers.convolution(hidden, gate.fc2)))


def write_neck(layers: LayerWriter, x: str, neck: nn.Sequential) -> str:
    """Write the neck behind a map; returns its cells row by row, [1, h * w, 256], float32."""
    graph = layers.graph
    first, first_norm, second, second_norm = neck
    x = layers.convolution(x, expect(first, nn.Conv2d))
    x = layers.map_norm(x, expect(first_norm, LayerNorm2d))
    x = layers.convolution(x, expect(second, nn.Conv2d))
    x = graph.op("Transpose", x, perm=[0, 2, 3, 1])
    x = layers.to_float(layers.layer_norm(x, expect(second_norm, LayerNorm2d)))
    return graph.reshape(x, 0, -1, expect(second, nn.Conv2d).out_channels)


def _fusion_image_part(layers: LayerWriter, fusion: FeatureFusion, high: str, middle: str) -> str:
    """Write `FeatureFusion.image_part`."""
    graph = layers.graph
    up, up_norm, _, up_last = fusion.mr_feat_proj
    convolution = expect(up, nn.ConvTranspose2d)
    middle = graph.op(
        "ConvTranspose",
        middle,
        layers.constant(array(convolution.weight)),
        layers.constant(array(convolution.bias)),
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    middle = layers.gelu(layers.map_norm(middle, expect(up_norm, LayerNorm2d)))
    middle = layers.convolution(middle, expect(up_last, nn.Conv2d))
    first, first_norm, _, last = fusion.hr_feat_proj
    high = layers.convolution(high, expect(first, nn.Conv2d))
    high = layers.gelu(layers.map_norm(high, expect(first_norm, LayerNorm2d)))
    high = layers.convolution(high, expect(last, nn.Conv2d))
    mix = expect(fusion.mix_feat_proj[0], nn.Conv2d)
    own = mix.in_channels - 2 * expect(last, nn.Conv2d).out_channels
    both = graph.op("Concat", middle, high, axis=1)
    return layers.to_float(
        layers.conv(both, array(mix.weight)[:, own:], np.asarray(array(mix.bias)))
    )
