"""Writes the network as ONNX, whole or in parts.

The graphs are put together from the weights directly, not traced: that needs no exporter
package, takes a second, gives the same bytes with every version of PyTorch, and lets every engine
have the operators, layouts and number formats it is fastest with. That they compute what the
PyTorch network computes is tested.
"""

from pathlib import Path

import onnx

from rmpsam_ros.model import RmpSam
from rmpsam_ros.runtime.decoder_graph import DecoderGraph
from rmpsam_ros.runtime.encoder_graph import write_encoder
from rmpsam_ros.runtime.export_form import ExportForm, GraphPart
from rmpsam_ros.runtime.graph_builder import GraphBuilder
from rmpsam_ros.runtime.layer_graph import LayerWriter
from rmpsam_ros.runtime.neck_graph import feature_lift
from rmpsam_ros.runtime.quantized_graph import ActivationRanges

GRAPH_PARTS: tuple[GraphPart, ...] = (
    "encoder",
    "decoder",
    "prompt_decoder",
    "tube_decoder",
    "frame",
)


def export_graph(
    model: RmpSam,
    part: GraphPart,
    form: ExportForm,
    ranges: ActivationRanges | None = None,
) -> onnx.ModelProto:
    """Write one part of the network; batch, image size and number of prompts are dynamic.

    Inputs and outputs are float32; B is the batch, N = 100, K the number of prompts (0 is
    allowed), H and W multiples of 32, h = H / 4, w = W / 4, c = 131:

    - encoder: ``image`` [B, 3, H, W] to ``features`` [B, c, h, w], in compact form
      (`rmpsam_ros.runtime.neck_graph.feature_lift`);
    - decoder: ``features`` and ``boxes`` [B, K, 4] to ``class_logits`` [B, N, C + 1],
      ``mask_logits`` [B, N, h, w], ``queries`` [B, N, 256], ``prompt_mask_logits`` [B, K, h, w]
      and ``prompt_iou`` [B, K];
    - prompt_decoder: ``features`` and ``boxes`` to the last two;
    - tube_decoder: ``features`` [T, c, h, w] of one tube of T frames to the first three, of which
      ``mask_logits`` is [1, N, T, h, w];
    - frame: ``image`` and ``boxes`` to everything, ``features`` included.

    Args:
        ranges: of the activations, from `rmpsam_ros.runtime.calibrate`; for quantised forms.
    """
    graph = GraphBuilder(form.opset)
    channels = feature_lift(model).shape[1]
    if part in ("encoder", "frame"):
        image = graph.input("image", ["batch", 3, "height", "width"])
        features = write_encoder(LayerWriter(graph, form, ranges), model, image)
        graph.output(features, "features", ["batch", channels, "mask_height", "mask_width"])
    else:
        first = "frames" if part == "tube_decoder" else "batch"
        features = graph.input("features", [first, channels, "mask_height", "mask_width"])
    if part == "tube_decoder":
        shapes = output_shapes(model)
        for name, tensor in DecoderGraph(graph, model, features, tube=True).decode().items():
            axes = ["frames"] if name == "mask_logits" else []
            graph.output(tensor, name, [1, shapes[name][1], *axes, *shapes[name][2:]])
    elif part != "encoder":
        boxes = graph.input("boxes", ["batch", "prompts", 4])
        decoder = DecoderGraph(graph, model, features)
        outputs = decoder.decode(boxes, objects=part != "prompt_decoder")
        shapes = output_shapes(model)
        for name, tensor in outputs.items():
            graph.output(tensor, name, shapes[name])
    return graph.model(f"rmpsam_{part}", {"part": part, "form": str(form)})


def output_shapes(model: RmpSam) -> dict[str, list[int | str]]:
    """Return the shapes of the decoder's outputs, dynamic dimensions by name."""
    num_objects, dim = model.object_queries.shape
    masks: list[int | str] = ["mask_height", "mask_width"]
    return {
        "class_logits": ["batch", num_objects, model.classifier.num_classes + 1],
        "mask_logits": ["batch", num_objects, *masks],
        "queries": ["batch", num_objects, dim],
        "prompt_mask_logits": ["batch", "prompts", *masks],
        "prompt_iou": ["batch", "prompts"],
    }


def export_files(
    model: RmpSam, folder: Path, form: ExportForm, ranges: ActivationRanges | None = None
) -> list[Path]:
    """Write all parts into ``folder`` as ``rmpsam_<part>.onnx`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in GRAPH_PARTS:
        path = folder / f"rmpsam_{part}.onnx"
        # Decoders hold nothing that is quantised; their bytes are the same in every form.
        onnx.save(export_graph(model, part, form, ranges), path)
        paths.append(path)
    return paths
