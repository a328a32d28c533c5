"""Writes the models of the SAM family as ONNX, in two graphs: image encoder and prompt decoder."""

import onnx

from rmpsam_ros.model.sam.prompt_model import IMAGE_SIZE, MASK_SIZE, PromptModel
from rmpsam_ros.runtime.export_form import ExportForm, GraphPart
from rmpsam_ros.runtime.graph_builder import GraphBuilder
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.sam_decoder_graph import GRID, SamDecoderGraph
from rmpsam_ros.runtime.sam_encoder_graph import write_sam_encoder


def image_shapes(model: PromptModel) -> dict[str, list[int | str]]:
    """Return the shapes of what the encoder gives to the decoder, by name."""
    transformer = model.mask_decoder.transformer
    attention = transformer.final_attn_token_to_image
    heads, depth = attention.heads, attention.q_proj.out_features // attention.heads
    width, cells = attention.q_proj.in_features, GRID**2
    shapes: dict[str, list[int | str]] = {
        "cells": [1, cells, width],
        "keys": [1, heads, depth, cells],
        "values": [1, heads, cells, depth],
        "queries": [1, heads, cells, depth],
    }
    if model.mask_decoder.fusion is not None:
        shapes["high_res"] = [1, 64, MASK_SIZE, MASK_SIZE]
    return shapes


def export_sam_graph(model: PromptModel, part: GraphPart, form: ExportForm) -> onnx.ModelProto:
    """Write one part of a model whose batch normalisations are folded.

    All inputs and outputs are float32; K is the number of prompts, N of points of each:

    - encoder: ``image`` [1, 3, 1024, 1024], as `model.sam.transforms.preprocess` gives it, to the
      tensors of `image_shapes`; the form's number format is used here;
    - decoder: these, and ``points`` [K, N, 2] and ``labels`` [K, N] as `join_prompts` gives them,
      ``mask_input`` [K, 1, 256, 256], which counts where ``has_mask`` [K] is 1 and not where it is
      0, to ``logits`` [K, M, 256, 256] and ``iou`` [K, M]: the single mask, then, where the model
      has them, the three of an ambiguous prompt.

    Raises ValueError for a model with parts that the exporter does not know.
    """
    graph = GraphBuilder(form.opset)
    shapes = image_shapes(model)
    if part == "encoder":
        image = graph.input("image", [1, 3, IMAGE_SIZE, IMAGE_SIZE])
        outputs = write_sam_encoder(LayerWriter(graph, form, None), model, image)
        for name, tensor in outputs.items():
            graph.output(tensor, name, shapes[name])
    else:
        inputs = {name: graph.input(name, shape) for name, shape in shapes.items()}
        points = graph.input("points", ["prompts", "points", 2])
        labels = graph.input("labels", ["prompts", "points"])
        masks = graph.input("mask_input", ["prompts", 1, MASK_SIZE, MASK_SIZE])
        has_mask = graph.input("has_mask", ["prompts"])
        layers = LayerWriter(graph, ExportForm("grid_sample"), None)
        outputs = SamDecoderGraph(layers, model, inputs).decode(points, labels, masks, has_mask)
        count = model.mask_decoder.num_masks
        graph.output(outputs["logits"], "logits", ["prompts", count, MASK_SIZE, MASK_SIZE])
        graph.output(outputs["iou"], "iou", ["prompts", count])
    return graph.model(f"sam_{part}", {"part": part, "form": str(form)})
