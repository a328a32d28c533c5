"""SAM's prompt encoder and mask decoder as an ONNX graph, in float32.

The same function as in `rmpsam_ros.model.sam`, in an order that costs less on every click:

- what the first layer projects of the image comes with the frame (`sam_encoder_graph`); a mask
  prompt only adds to it, by linearity;
- features are [cells, channels] while they grow, so that a transposed convolution without overlap
  is one matrix product; cells go to their places as late as possible;
- with feature fusion, the last convolution is contracted with the mask's kernel before it is
  applied, which leaves one channel instead of 32.
"""

import numpy as np
from torch import nn

from rmpsam_ros.model.sam.layers import LayerNorm2d, Mlp
from rmpsam_ros.model.sam.mask_decoder import FeatureFusion
from rmpsam_ros.model.sam.prompt_model import MASK_SIZE, PromptModel
from rmpsam_ros.model.sam.two_way_transformer import Attention, TwoWayLayer
from rmpsam_ros.runtime.graph_builder import Weights, array, expect
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.sam_encoder_graph import first_looks, query_scale

GRID = MASK_SIZE // 4  # cells of the image along each side


class SamDecoderGraph:
    """Writes the decoder of one model.

    K is the number of prompts, N of points of each, T of tokens, L = 64 * 64 cells; what the
    encoder gave is by name in ``image``, as `write_sam_encoder` returns it.
    """

    def __init__(self, layers: LayerWriter, model: PromptModel, image: dict[str, str]) -> None:
        self._layers = layers
        self._graph = layers.graph
        self._model = model
        self._image = dict(image)
        self._position = array(model.prompt_encoder.image_position())[0].reshape(-1, GRID**2).T

    def decode(self, points: str, labels: str, mask_input: str, has_mask: str) -> dict[str, str]:
        """Write everything; see `rmpsam_ros.runtime.sam_export` for the tensors."""
        graph, decoder = self._graph, self._model.mask_decoder
        prompts = graph.sizes(mask_input)[0]
        self._add_masks(mask_input, has_mask)
        own = np.concatenate(
            [
                array(decoder.iou_token.weight),
                array(decoder.mask_tokens.weight)[: decoder.num_masks],
            ]
        )
        size = graph.op("Concat", prompts, graph.integers(*own.shape), axis=0)
        tokens = graph.op("Expand", graph.weight(own[None]), size)
        tokens = graph.op("Concat", tokens, self._prompt_tokens(points, labels), axis=1)
        tokens, cells = self._transformer(tokens)
        kernels = self._kernels(tokens)
        quality = self._mlp(
            graph.op("Gather", tokens, graph.weight(0, "int64"), axis=1),
            [
                (array(linear.weight), array(linear.bias))
                for linear in _linears(decoder.iou_prediction_head)
            ],
        )
        last = graph.integers(0), graph.integers(decoder.num_masks), graph.integers(1)
        return {"logits": self._logits(cells, kernels), "iou": graph.op("Slice", quality, *last)}

    def _prompt_tokens(self, points: str, labels: str) -> str:
        """Write `PromptEncoder.forward`; labels are float32."""
        graph, encoder = self._graph, self._model.prompt_encoder
        place = graph.op("Add", points, graph.weight(0.5))
        place = graph.op("Div", place, graph.weight(float(encoder.image_size)))
        place = graph.op("Sub", graph.op("Mul", place, graph.weight(2.0)), graph.weight(1.0))
        matrix = array(encoder.pe_layer.positional_encoding_gaussian_matrix)
        phase = graph.op("MatMul", place, graph.weight(matrix))
        phase = graph.op("Mul", phase, graph.weight(2 * np.pi))
        code = graph.op("Concat", graph.op("Sin", phase), graph.op("Cos", phase), axis=-1)
        kinds = [array(encoder.not_a_point_embed.weight)]
        kinds += [array(expect(kind, nn.Embedding).weight) for kind in encoder.point_embeddings]
        place_of_kind = graph.op("Add", graph.cast(labels, "int64"), graph.weight(1, "int64"))
        kind = graph.op("Gather", graph.weight(np.concatenate(kinds)), place_of_kind, axis=0)
        is_point = graph.op(
            "Clip", place_of_kind, graph.weight(0, "int64"), graph.weight(1, "int64")
        )
        is_point = graph.op("Unsqueeze", graph.cast(is_point, "fp32"), graph.integers(-1))
        return graph.op("Add", graph.op("Mul", code, is_point), kind)

    def _add_masks(self, mask_input: str, has_mask: str) -> None:
        """Add mask prompts to the cells and to what was projected of them: one set per prompt."""
        graph, layers, encoder = self._graph, self._layers, self._model.prompt_encoder
        first, norm, _, second, second_norm, _, last = encoder.mask_downscaling
        x = self._halving(mask_input, expect(first, nn.Conv2d))
        x = layers.gelu(layers.map_norm(x, expect(norm, LayerNorm2d)))
        x = self._halving(x, expect(second, nn.Conv2d))
        x = layers.gelu(layers.map_norm(x, expect(second_norm, LayerNorm2d)))
        final = expect(last, nn.Conv2d)
        x = graph.reshape(x, 0, final.in_channels, -1)  # [K, 16, L]
        share = graph.reshape(has_mask, -1, 1, 1)
        size = graph.op("Concat", graph.sizes(mask_input)[0], graph.integers(1, GRID**2), axis=0)
        rows = [graph.op("Mul", x, share), graph.op("Expand", share, size)]
        x = graph.op("Concat", *rows, axis=1)  # [K, 17, L]
        across = graph.op("Transpose", x, perm=[0, 2, 1])
        no_mask = array(encoder.without_mask()).reshape(-1)
        change = np.concatenate(
            [array(final.weight)[:, :, 0, 0].T, [array(final.bias) - no_mask]]
        )  # [17, 256]
        self._add("cells", graph.op("MatMul", across, graph.weight(change)))
        flat, tall = (graph.op("Unsqueeze", one, graph.integers(1)) for one in (across, x))
        for name, weight, _ in first_looks(self._model.mask_decoder):
            of_heads = (change @ weight.T).reshape(len(change), self._heads, -1)
            if name == "keys":
                matrix = graph.weight(of_heads.transpose(1, 2, 0))
                self._add(name, graph.op("MatMul", matrix, tall))
            else:
                matrix = graph.weight(of_heads.transpose(1, 0, 2))
                self._add(name, graph.op("MatMul", flat, matrix))

    def _add(self, name: str, change: str) -> None:
        self._image[name] = self._graph.op("Add", self._image[name], change)

    def _halving(self, x: str, conv: nn.Conv2d) -> str:
        """Write a convolution 2x2 of stride 2, which needs no padding."""
        weight, bias = array(conv.weight), array(conv.bias)
        return self._graph.op(
            "Conv",
            x,
            self._graph.weight(weight),
            self._graph.weight(bias),
            kernel_shape=[2, 2],
            strides=[2, 2],
        )

    @property
    def _heads(self) -> int:
        return expect(self._model.mask_decoder.transformer.layers[0], TwoWayLayer).self_attn.heads

    def _transformer(self, tokens: str) -> tuple[str, str]:
        """Write the two-way transformer; returns tokens [K, T, 256] and cells [K, L, 256]."""
        graph, transformer = self._graph, self._model.mask_decoder.transformer
        places, cells = tokens, self._image["cells"]
        for index, module in enumerate(transformer.layers):
            layer = expect(module, TwoWayLayer)
            looks = self._looks(layer, cells) if index else self._image
            tokens, cells = self._two_way(layer, tokens, places, cells, looks)
        last = transformer.final_attn_token_to_image
        keys, values = self._cell_keys(last, cells), self._cell_values(last, cells)
        query = self._split(graph.op("Add", tokens, places), *_query(last))
        tokens = graph.op("Add", tokens, self._attend(last, query, keys, values))
        return self._layers.layer_norm(tokens, transformer.norm_final_attn), cells

    def _looks(self, layer: TwoWayLayer, cells: str) -> dict[str, str]:
        """Write what a layer projects of the cells, in the shapes that the encoder gives."""
        tokens_look, image_looks = (
            layer.cross_attn_token_to_image,
            layer.cross_attn_image_to_token,
        )
        return {
            "keys": self._cell_keys(tokens_look, cells),
            "values": self._cell_values(tokens_look, cells),
            "queries": self._with_position(cells, *_query(image_looks), [0, 2, 1, 3]),
        }

    def _two_way(
        self, layer: TwoWayLayer, tokens: str, places: str, cells: str, looks: dict[str, str]
    ) -> tuple[str, str]:
        graph, layers = self._graph, self._layers
        own = layer.self_attn
        query = tokens if layer.is_first else graph.op("Add", tokens, places)
        attended = self._attend(
            own,
            self._split(query, *_query(own)),
            self._split(query, *_weights(own.k_proj), order=[0, 2, 3, 1]),
            self._split(tokens, *_weights(own.v_proj)),
        )
        tokens = attended if layer.is_first else graph.op("Add", tokens, attended)
        tokens = layers.layer_norm(tokens, layer.norm1)

        look = layer.cross_attn_token_to_image
        query = self._split(graph.op("Add", tokens, places), *_query(look))
        attended = self._attend(look, query, looks["keys"], looks["values"])
        tokens = layers.layer_norm(graph.op("Add", tokens, attended), layer.norm2)
        hidden = layers.relu(layers.linear(tokens, *_weights(layer.mlp.lin1)))
        hidden = layers.linear(hidden, *_weights(layer.mlp.lin2))
        tokens = layers.layer_norm(graph.op("Add", tokens, hidden), layer.norm3)

        back = layer.cross_attn_image_to_token
        keys = self._split(
            graph.op("Add", tokens, places), *_weights(back.k_proj), order=[0, 2, 3, 1]
        )
        values = self._split(tokens, *_weights(back.v_proj))
        attended = self._attend(back, looks["queries"], keys, values)
        cells = layers.layer_norm(graph.op("Add", cells, attended), layer.norm4)
        return tokens, cells

    def _attend(self, attention: Attention, query: str, keys: str, values: str) -> str:
        """Attend with [K, heads, ., depth], keys transposed; returns [K, ., width]."""
        graph = self._graph
        weights = graph.op("Softmax", graph.op("MatMul", query, keys), axis=-1)
        attended = graph.op("Transpose", graph.op("MatMul", weights, values), perm=[0, 2, 1, 3])
        attended = graph.reshape(attended, 0, 0, attention.out_proj.in_features)
        return self._layers.linear(attended, *_weights(attention.out_proj))

    def _split(
        self,
        x: str,
        weight: Weights,
        bias: Weights,
        order: tuple[int, ...] | list[int] = (0, 2, 1, 3),
    ) -> str:
        """Project and cut into heads."""
        x = self._graph.reshape(self._layers.linear(x, weight, bias), 0, 0, self._heads, -1)
        return self._graph.op("Transpose", x, perm=list(order))

    def _cell_keys(self, attention: Attention, cells: str) -> str:
        return self._with_position(cells, *_weights(attention.k_proj), [0, 2, 3, 1])

    def _cell_values(self, attention: Attention, cells: str) -> str:
        return self._split(cells, *_weights(attention.v_proj))

    def _with_position(self, cells: str, weight: Weights, bias: Weights, order: list[int]) -> str:
        """Project the cells and, folded into the bias, their positions."""
        graph = self._graph
        x = graph.op("MatMul", cells, graph.weight(weight.T))
        x = graph.op("Add", x, graph.weight(self._position @ weight.T + bias))
        return graph.op("Transpose", graph.reshape(x, 0, 0, self._heads, -1), perm=order)

    def _kernels(self, tokens: str) -> str:
        """Write the kernel of every mask, [K, 32, M], from its token."""
        graph, decoder = self._graph, self._model.mask_decoder
        places = graph.integers(*range(1, 1 + decoder.num_masks))
        own = graph.op("Unsqueeze", graph.op("Gather", tokens, places, axis=1), graph.integers(2))
        networks = [_linears(expect(mlp, Mlp)) for mlp in decoder.output_hypernetworks_mlps]
        stacked = [
            (
                np.stack([array(linear.weight) for linear in linears]),
                np.stack([array(linear.bias) for linear in linears])[:, None],
            )
            for linears in zip(*networks, strict=True)
        ]  # [M, out, in] and [M, 1, out]
        kernels = self._mlp(own, stacked)  # [K, M, 1, 32]
        width = stacked[-1][0].shape[1]
        return graph.op("Transpose", graph.reshape(kernels, 0, -1, width), perm=[0, 2, 1])

    def _mlp(self, x: str, weights: list[tuple[Weights, Weights]]) -> str:
        graph = self._graph
        for index, (weight, bias) in enumerate(weights):
            x = self._layers.relu(x) if index else x
            x = graph.op("MatMul", x, graph.weight(np.swapaxes(weight, -1, -2)))
            x = graph.op("Add", x, graph.weight(bias))
        return x

    def _logits(self, cells: str, kernels: str) -> str:
        """Write mask logits, [K, M, 256, 256]."""
        graph, layers, decoder = self._graph, self._layers, self._model.mask_decoder
        first, norm, _, second, _ = decoder.output_upscaling
        x = self._grown(cells, expect(first, nn.ConvTranspose2d))
        x = layers.gelu(layers.layer_norm(x, expect(norm, LayerNorm2d)))
        if decoder.fusion is not None:
            x = self._in_rows(x, GRID, expect(second, nn.ConvTranspose2d).in_channels)
        x = layers.gelu(self._grown(x, expect(second, nn.ConvTranspose2d)))  # [K, 256 * 256, 32]
        if decoder.fusion is None:
            # Pixels lie in blocks of 2 x 2 of 2 x 2 in every cell: masks are few, move those.
            masks = graph.op("MatMul", x, kernels)
            masks = graph.reshape(masks, -1, GRID, GRID, 2, 2, 2, 2, decoder.num_masks)
            masks = graph.op("Transpose", masks, perm=[0, 7, 1, 3, 5, 2, 4, 6])
            return graph.reshape(masks, 0, decoder.num_masks, MASK_SIZE, MASK_SIZE)
        if decoder.num_masks != 1:
            raise ValueError("the exporter knows feature fusion with one mask only")
        x = self._in_rows(x, 2 * GRID, expect(second, nn.ConvTranspose2d).out_channels)
        return self._fused_logits(x, kernels, decoder.fusion)

    def _grown(self, x: str, conv: nn.ConvTranspose2d) -> str:
        """Write a transposed convolution 2x2 of stride 2: [K, C, in] to [K, 4 * C, out].

        The four pixels of a cell follow one another.
        """
        graph, weight = self._graph, array(conv.weight)  # [in, out, 2, 2]
        matrix = weight.transpose(0, 2, 3, 1).reshape(conv.in_channels, -1)
        x = graph.op("MatMul", x, graph.weight(matrix))
        x = graph.op("Add", x, graph.weight(np.tile(array(conv.bias), 4)))
        return graph.reshape(x, 0, -1, conv.out_channels)

    def _in_rows(self, x: str, side: int, channels: int) -> str:
        """Move the four pixels of every cell of a square map to their rows."""
        graph = self._graph
        x = graph.reshape(x, -1, side, side, 2, 2, channels)
        x = graph.op("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
        return graph.reshape(x, 0, 4 * side**2, channels)

    def _fused_logits(self, x: str, kernels: str, fusion: FeatureFusion) -> str:
        """Write `FeatureFusion` of pixels [K, 256 * 256, 32] and its product with one kernel."""
        graph, layers = self._graph, self._layers
        first, norm, _, last = fusion.mix_feat_proj
        mix, contracted = expect(first, nn.Conv2d), expect(last, nn.Conv2d)
        width = contracted.out_channels
        plain = graph.op("MatMul", x, kernels)  # [K, 256 * 256, 1]
        maps = graph.op("Transpose", x, perm=[0, 2, 1])
        maps = graph.reshape(maps, 0, width, MASK_SIZE, MASK_SIZE)
        mixed = layers.conv(maps, array(mix.weight)[:, :width], np.zeros(mix.out_channels))
        mixed = graph.op("Add", mixed, self._image["high_res"])
        mixed = graph.reshape(mixed, 0, mix.out_channels, MASK_SIZE**2)
        mixed = graph.op("Transpose", mixed, perm=[0, 2, 1])
        mixed = layers.gelu(layers.layer_norm(mixed, expect(norm, LayerNorm2d)))
        # The last convolution, [32, 64, 3, 3], seen by the kernel: one value for each neighbour.
        taps = array(contracted.weight).reshape(width, -1)
        row = graph.op("Transpose", kernels, perm=[0, 2, 1])  # [K, 1, 32]
        taps_of_mask = graph.reshape(
            graph.op("MatMul", row, graph.weight(taps)), 0, contracted.in_channels, 9
        )
        shares = graph.op("Transpose", graph.op("MatMul", mixed, taps_of_mask), perm=[0, 2, 1])
        shares = graph.reshape(shares, 0, 9, MASK_SIZE, MASK_SIZE)
        gather = np.eye(9).reshape(1, 9, 3, 3)
        fused = layers.conv(shares, gather, np.zeros(1))
        offset = graph.op("MatMul", row, graph.weight(array(contracted.bias)[:, None]))
        plain = graph.op("Add", plain, offset)
        return graph.op("Add", fused, graph.reshape(plain, 0, 1, MASK_SIZE, MASK_SIZE))


def _weights(linear: nn.Linear) -> tuple[Weights, Weights]:
    return array(linear.weight), array(linear.bias)


def _query(attention: Attention) -> tuple[Weights, Weights]:
    """Weights of the queries, divided by the root of the depth of a head."""
    weight, bias = _weights(attention.q_proj)
    return weight * query_scale(attention), bias * query_scale(attention)


def _linears(mlp: Mlp) -> list[nn.Linear]:
    return [expect(layer, nn.Linear) for layer in mlp.layers]
