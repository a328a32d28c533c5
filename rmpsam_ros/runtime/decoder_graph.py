"""Decoder, adapters and classifier as an ONNX graph, in float32 (reference sections 4 to 7).

Features are used in their compact form; `feature_lift` says what that is and why it is exact.
Linear layers that follow one another without anything between them are multiplied out.
"""

import numpy as np
from torch import nn

from rmpsam_ros.model import RmpSam
from rmpsam_ros.model.adapters import PromptAdapter
from rmpsam_ros.model.anchors import MARGIN, grid_cells
from rmpsam_ros.model.attention import QuerySelfAttention
from rmpsam_ros.model.classifier import LOGIT_SCALE
from rmpsam_ros.model.decoder import DecoderStage
from rmpsam_ros.model.kernel_update import KernelUpdate
from rmpsam_ros.model.prompt_encoder import DEFAULT_LABEL
from rmpsam_ros.runtime.graph_builder import GraphBuilder, Weights, array, expect
from rmpsam_ros.runtime.neck_graph import feature_lift

STEEPNESS = 1e30  # of a ramp from 0 to 1 that is a step for every float32 mask logit that counts
SINE_TEMPERATURE = 10000.0  # of the box encoding, reference section 7
BOX_BORDER = 1e-5
END = 2**31 - 1


class DecoderGraph:
    """Writes the decoder of one network into a graph, over the compact features of one image.

    B is the batch, N the number of object queries, K of prompts, c channels of the compact
    features, L pixels. Queries of one pass are [B, Q, d], objects first.
    """

    def __init__(
        self, graph: GraphBuilder, model: RmpSam, features: str, tube: bool = False
    ) -> None:
        """Start from ``features``, the name of the compact features [B, c, h, w].

        tube: they are [T, c, h, w], the frames of one tube (reference section 8): a batch of one
        with L pixels over all of them, and masks [1, N, T, h, w]. There are no prompts in tubes.
        """
        self._graph = graph
        self._model = model
        self._lift = feature_lift(model)
        self._sizes = graph.sizes(features)
        self._tube = tube
        if tube:
            features = graph.op("Transpose", features, perm=[1, 0, 2, 3])
        batch = 1 if tube else 0  # 0: as it is
        self._pixels = graph.reshape(features, batch, self._lift.shape[1], -1)  # [B, c, L]
        self._rows = graph.op("Transpose", self._pixels, perm=[0, 2, 1])  # [B, L, c]
        self._num_objects = 0
        self._has_prompts = False

    def decode(self, boxes: str = "", objects: bool = True) -> dict[str, str]:
        """Write the decoder for objects, prompts or both, and return its outputs by name.

        boxes: [B, K, 4] prompt boxes, '' for none.
        Returns, of objects: class_logits [B, N, C + 1], mask_logits [B, N, h, w], queries
        [B, N, d]; of prompts: prompt_mask_logits [B, K, h, w], prompt_iou [B, K].
        """
        model = self._model
        self._num_objects = model.object_queries.shape[0] if objects else 0
        self._has_prompts = bool(boxes)
        queries, masks = self._start(boxes)
        stages = [expect(stage, DecoderStage) for stage in model.decoder.stages]
        for stage in stages:
            queries = self._stage(stage, queries, masks)
            if stage is not stages[-1]:
                masks = self._stage_masks(stage, queries)
        outputs = {}
        if objects:
            adapted, embeddings = self._adapt_objects(stages[-1], self._objects(queries))
            outputs["class_logits"] = self._class_logits(embeddings)
            outputs["mask_logits"] = self._as_maps(self._masks(adapted))
            outputs["queries"] = adapted
        if boxes:
            adapted = self._adapt_prompts(model.prompt_adapter, self._prompts(queries))
            outputs["prompt_mask_logits"] = self._as_maps(self._masks(adapted))
            iou = self._layer(adapted, model.prompt_adapter.iou_layer)
            outputs["prompt_iou"] = self._graph.op("Squeeze", iou, self._graph.integers(-1))
        return outputs

    def _start(self, boxes: str) -> tuple[str, str]:
        """Return the first queries, [B, Q, d] or without prompts [1, N, d], and their masks."""
        graph, table = self._graph, array(self._model.object_queries)[None]
        if not boxes:
            if self._model.anchored:
                return graph.weight(table), self._box_masks(self._cells())
            kernels = graph.weight(table @ self._lift)
            return graph.weight(table), graph.op("MatMul", kernels, self._pixels)
        queries = self._prompt_queries(boxes)
        if self._num_objects:
            size = graph.op("Concat", self._sizes[0], graph.integers(1, 1), axis=0)
            objects = graph.op("Expand", graph.weight(table), size)
            queries = graph.op("Concat", objects, queries, axis=1)
            if self._model.anchored:
                cells = graph.op("Expand", self._cells(), size)
                boxes = graph.op("Concat", cells, boxes, axis=1)
        return queries, self._box_masks(boxes) if self._model.anchored else self._masks(queries)

    def _cells(self) -> str:
        """Return the boxes of the object queries of an anchored network, [1, N, 4]."""
        return self._graph.weight(grid_cells(self._model.object_queries.shape[0]).numpy()[None])

    def _box_masks(self, boxes: str) -> str:
        """Write `model.anchors.box_masks` of boxes [B, Q, 4]: [B, Q, L]."""
        graph = self._graph
        rows, columns = self._sizes[2:]
        x = self._inside(boxes, (-0.5, 0.0, 0.5, 0.0), columns)
        y = self._inside(boxes, (0.0, -0.5, 0.0, 0.5), rows)
        maps = graph.op(
            "Min",
            graph.op("Unsqueeze", y, graph.integers(3)),
            graph.op("Unsqueeze", x, graph.integers(2)),
        )
        if not self._tube:
            return graph.reshape(maps, 0, 0, -1)
        size = graph.op(
            "Concat", graph.integers(1, 1), self._sizes[0], graph.integers(1, 1), axis=0
        )
        maps = graph.op("Expand", graph.op("Unsqueeze", maps, graph.integers(2)), size)
        return graph.reshape(maps, 0, 0, -1)

    def _inside(self, boxes: str, halves: tuple[float, ...], size: str) -> str:
        """Return how far inside its box every pixel of one axis is, [B, Q, size].

        halves: what the numbers of a box add to half its length on that axis.
        """
        graph = self._graph
        length = graph.cast(size, "fp32")
        last = graph.op("Sub", length, graph.weight(0.5))
        half = graph.op("Mul", self._linear(boxes, np.array([halves])), length)
        center = graph.op("Mul", self._linear(boxes, np.abs(np.array([halves]))), length)
        center = graph.op("Max", graph.op("Min", center, last), graph.weight(0.5))
        half = graph.op("Add", graph.op("Max", half, graph.weight(0.5)), graph.weight(MARGIN))
        pixel = graph.op("Add", graph.float_range(size), graph.weight(0.5))
        return graph.op("Sub", half, graph.op("Abs", graph.op("Sub", pixel, center)))

    def _stage(self, stage: DecoderStage, queries: str, masks: str) -> str:
        graph = self._graph
        updated = self._kernel_update(stage.kernel_update, self._pool(masks), queries)
        attended = self._self_attention(stage.self_attention, updated)
        updated = self._norm(graph.op("Add", updated, attended), stage.self_attention_norm)
        hidden = self._layer(graph.op("Relu", self._layer(updated, stage.ffn[0])), stage.ffn[2])
        return self._norm(graph.op("Add", updated, hidden), stage.ffn_norm)

    def _stage_masks(self, stage: DecoderStage, queries: str) -> str:
        """Return a stage's mask logits, [B, Q, L]."""
        x = self._norm(self._layer(queries, stage.mask_branch[0]), stage.mask_branch[1])
        x = self._graph.op("Relu", x)
        kernel = stage.mask_kernel
        kernels = self._linear(
            x, self._lift.T @ array(kernel.weight), self._lift.T @ array(kernel.bias)
        )
        return self._graph.op("MatMul", kernels, self._pixels)

    def _masks(self, queries: str) -> str:
        """Return mask logits, [B, Q, L], of queries that are kernels themselves."""
        kernels = self._linear(queries, self._lift.T)
        return self._graph.op("MatMul", kernels, self._pixels)

    def _pool(self, masks: str) -> str:
        """Sum the compact features inside every hard mask, [B, Q, c]."""
        hard = self._graph.op("HardSigmoid", masks, alpha=STEEPNESS, beta=0.0)
        return self._graph.op("MatMul", hard, self._rows)

    def _kernel_update(self, update: KernelUpdate, pooled: str, queries: str) -> str:
        graph = self._graph
        dynamic = update.dynamic_layer
        features = self._linear(pooled, array(dynamic.weight) @ self._lift, array(dynamic.bias))
        feature_in, feature_out = graph.halves(features)
        query_in, query_out = graph.halves(self._layer(queries, update.input_layer))
        gates = self._linear(
            graph.op("Mul", query_in, feature_in),
            np.concatenate([array(update.input_gate.weight), array(update.update_gate.weight)]),
            np.concatenate([array(update.input_gate.bias), array(update.update_gate.bias)]),
        )
        query_gate, feature_gate = graph.halves(gates)
        mixed = [
            graph.op("Mul", graph.op("Sigmoid", self._norm(gate, gate_norm)), self._norm(x, norm))
            for gate, gate_norm, x, norm in (
                (feature_gate, update.norm_in, feature_out, update.norm_out),
                (query_gate, update.input_norm_in, query_out, update.input_norm_out),
            )
        ]
        x = self._layer(graph.op("Add", *mixed), update.fc_layer)
        return graph.op("Relu", self._norm(x, update.fc_norm))

    def _self_attention(self, attention: QuerySelfAttention, queries: str) -> str:
        """Objects see all objects; a prompt sees itself, which is one linear layer."""
        parts = []
        if self._num_objects:
            parts.append(self._object_attention(attention, self._objects(queries)))
        if self._has_prompts:
            weight, bias = array(attention.in_proj_weight), array(attention.in_proj_bias)
            dim = weight.shape[1]
            out, out_bias = array(attention.out_proj.weight), array(attention.out_proj.bias)
            parts.append(
                self._linear(
                    self._prompts(queries),
                    out @ weight[2 * dim :],
                    out @ bias[2 * dim :] + out_bias,
                )
            )
        return parts[0] if len(parts) == 1 else self._graph.op("Concat", *parts, axis=1)

    def _object_attention(self, attention: QuerySelfAttention, queries: str) -> str:
        graph = self._graph
        weight, bias = array(attention.in_proj_weight), array(attention.in_proj_bias)
        dim, heads = weight.shape[1], attention.num_heads
        scale = np.repeat([(dim // heads) ** -0.5, 1.0, 1.0], dim)  # of queries, keys, values
        packed = self._linear(queries, weight * scale[:, None], bias * scale)
        packed = graph.reshape(packed, 0, 0, 3 * heads, dim // heads)
        packed = graph.op("Transpose", packed, perm=[0, 2, 1, 3])  # [B, 3 * heads, N, d / heads]
        query, key, value = graph.op_many("Split", 3, packed, axis=1, num_outputs=3)
        weights = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
        attended = graph.op("MatMul", graph.op("Softmax", weights, axis=-1), value)
        attended = graph.op("Transpose", attended, perm=[0, 2, 1, 3])
        return self._layer(graph.reshape(attended, 0, 0, dim), attention.out_proj)

    def _adapt_objects(self, stage: DecoderStage, queries: str) -> tuple[str, str]:
        """Pool once more with the last stage's masks; return queries and class embeddings."""
        graph, adapter = self._graph, self._model.object_adapter
        pooled = self._pool(self._stage_masks(stage, queries))
        adapted = self._kernel_update(adapter.kernel_update, pooled, queries)
        embeddings = self._layer(adapted, adapter.class_layer)
        if adapter.name_branch is not None:
            norm, hidden, _, last = adapter.name_branch
            x = self._norm(self._linear(pooled, self._lift), norm)
            x = self._layer(graph.op("Relu", self._layer(x, hidden)), last)
            embeddings = graph.op("Add", embeddings, x)
        return adapted, embeddings

    def _class_logits(self, embeddings: str) -> str:
        """Return 100 cos to the closest synonym of every class, and 0 for "no object"."""
        graph = self._graph
        table = array(self._model.classifier.text_embeddings)
        classes, synonyms, dim = table.shape
        # Missing synonyms are copies of the first: only different rows are multiplied.
        rows, places = np.unique(table.reshape(-1, dim), axis=0, return_inverse=True)
        logits = self._linear(embeddings, rows * LOGIT_SCALE)
        length = graph.op("ReduceL2", embeddings, graph.integers(-1), keepdims=1)
        logits = graph.op("Div", logits, graph.op("Max", length, graph.weight(1e-12)))
        places = places.reshape(classes, synonyms)
        logits = graph.op("Gather", logits, graph.weight(places, "int64"), axis=2)
        logits = graph.op("ReduceMax", logits, graph.integers(-1), keepdims=0)
        return graph.op("Pad", logits, graph.integers(0, 0, 0, 0, 0, 1))

    def _prompt_queries(self, boxes: str) -> str:
        """Encode normalised boxes x1, y1, x2, y2 as queries (reference section 7)."""
        graph, encoder = self._graph, self._model.prompt_encoder
        to_cy_cx_w_h = [[0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0], [-1, 0, 1, 0], [0, -1, 0, 1]]
        box = self._linear(boxes, np.array(to_cy_cx_w_h))
        box = graph.op("Clip", box, graph.weight(BOX_BORDER), graph.weight(1 - BOX_BORDER))
        exponent = np.arange(0, encoder.sine_dim, 2) / encoder.sine_dim
        angles = graph.op(
            "Mul",
            graph.op("Unsqueeze", box, graph.integers(-1)),
            graph.weight(2 * np.pi * SINE_TEMPERATURE**-exponent),
        )
        angles = graph.reshape(angles, 0, 0, 2 * encoder.sine_dim)
        waves = graph.op("Concat", graph.op("Sin", angles), graph.op("Cos", angles), axis=-1)
        weight = array(encoder.position_layer.weight)  # its inputs alternate sine and cosine
        label = array(encoder.label_embedding.weight)[DEFAULT_LABEL]
        bias = array(encoder.position_layer.bias) + label + array(encoder.mask_token)[0]
        return self._linear(waves, np.concatenate([weight[:, 0::2], weight[:, 1::2]], 1), bias)

    def _adapt_prompts(self, adapter: PromptAdapter, queries: str) -> str:
        """Attend to all pixels; keys and values are never computed per pixel."""
        graph, attention = self._graph, adapter.attention
        heads, dim = attention.num_heads, self._lift.shape[0]
        split = (heads, dim // heads, self._lift.shape[1])
        to_query, to_key, to_value = np.split(array(attention.in_proj_weight), 3)
        query_bias, _, value_bias = np.split(array(attention.in_proj_bias), 3)
        scale = (dim // heads) ** -0.5
        query = self._linear(queries, to_query * scale, query_bias * scale)
        query = graph.op("Transpose", graph.reshape(query, 0, 0, *split[:2]), perm=[0, 2, 1, 3])
        keys = graph.weight((to_key @ self._lift).reshape(split))
        carried = graph.reshape(graph.op("MatMul", query, keys), 0, -1, split[2])
        weights = graph.op("Softmax", graph.op("MatMul", carried, self._pixels), axis=-1)
        gathered = graph.op("MatMul", weights, self._rows)  # [B, heads * K, c]
        gathered = graph.reshape(gathered, self._sizes[0], heads, -1, split[2])
        values = graph.weight((to_value @ self._lift).reshape(split).transpose(0, 2, 1))
        value = graph.op("Transpose", graph.op("MatMul", gathered, values), perm=[0, 2, 1, 3])
        out, out_bias = array(attention.out_proj.weight), array(attention.out_proj.bias)
        attended = self._linear(graph.reshape(value, 0, 0, dim), out, out @ value_bias + out_bias)
        return self._norm(graph.op("Add", queries, attended), adapter.norm)

    def _objects(self, queries: str) -> str:
        return self._slice(queries, 0, self._num_objects) if self._has_prompts else queries

    def _prompts(self, queries: str) -> str:
        return self._slice(queries, self._num_objects, END) if self._num_objects else queries

    def _slice(self, x: str, start: int, end: int) -> str:
        graph = self._graph
        return graph.op("Slice", x, graph.integers(start), graph.integers(end), graph.integers(1))

    def _as_maps(self, masks: str) -> str:
        """[B, Q, L] to [B, Q, h, w], of a tube to [1, Q, T, h, w]."""
        frames = self._sizes[:1] if self._tube else []
        return self._graph.reshape(masks, 0, 0, *frames, *self._sizes[2:])

    def _linear(self, x: str, weight: Weights, bias: Weights | None = None) -> str:
        """Write x W^T + b; ``weight`` is [out, in] as in torch."""
        y = self._graph.op("MatMul", x, self._graph.weight(weight.T))
        return y if bias is None else self._graph.op("Add", y, self._graph.weight(bias))

    def _layer(self, x: str, module: nn.Module) -> str:
        layer = expect(module, nn.Linear)
        bias = None if layer.bias is None else array(layer.bias)
        return self._linear(x, array(layer.weight), bias)

    def _norm(self, x: str, module: nn.Module) -> str:
        norm = expect(module, nn.LayerNorm)
        weight, bias = self._graph.weight(array(norm.weight)), self._graph.weight(array(norm.bias))
        return self._graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=norm.eps)
