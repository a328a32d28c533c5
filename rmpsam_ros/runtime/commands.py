"""Sub-commands ``export``, ``build-engine`` and ``benchmark`` of ``rmpsam``."""

import argparse
import threading
from pathlib import Path
from typing import Any

from rmpsam_ros.commands import CommandError
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.factory import TENSORRT_FORMS, EngineFactory
from rmpsam_ros.runtime.load import available_engines, load_engine, make_factory
from rmpsam_ros.runtime.network import ModelConfig
from rmpsam_ros.runtime.torch_engine import resolve_device
from rmpsam_ros.segmentation.labels import LabelSet, LabelSetError, load_label_set

EXPORT_FORMS: dict[tuple[str, str], ExportForm] = {
    ("onnxruntime", "fp32"): ExportForm("operator"),
    ("onnxruntime", "int8"): ExportForm("operator", quantization="u8s8"),
    ("openvino", "fp32"): ExportForm("grid_sample"),
    ("openvino", "int8"): ExportForm("grid_sample", quantization="u8s8"),
    **{("tensorrt", precision): form for precision, form in TENSORRT_FORMS.items()},
}


def add_parsers(subparsers: Any) -> None:
    """Add the sub-commands to those of ``rmpsam``."""
    _add_export(subparsers)
    _add_build_engine(subparsers)
    _add_benchmark(subparsers)


def _add_export(subparsers: Any) -> None:
    text = "write the network as ONNX: encoder, decoder, prompt decoder, and all in one"
    parser = subparsers.add_parser("export", help=text, description=text)
    parser.add_argument("output", type=Path, help="folder for the files")
    targets = sorted({target for target, _ in EXPORT_FORMS})
    parser.add_argument(
        "--target", choices=targets, default="tensorrt", help="default: %(default)s"
    )
    precisions = sorted({precision for _, precision in EXPORT_FORMS})
    parser.add_argument(
        "--precision", choices=precisions, default="fp32", help="default: %(default)s"
    )
    _add_network_options(parser)
    parser.set_defaults(run=run_export)


def _add_build_engine(subparsers: Any) -> None:
    text = "build the engine that the node would build at its first start; Ctrl-C cancels"
    parser = subparsers.add_parser("build-engine", help=text, description=text)
    network = ModelConfig()
    parser.add_argument("--engine", default=network.engine, help="default: %(default)s")
    parser.add_argument("--device", default=network.device, help="default: %(default)s")
    parser.add_argument("--precision", default=network.precision, help="default: %(default)s")
    parser.add_argument("--cache-folder", default="", help="default: ~/.cache/rmpsam_ros")
    _add_network_options(parser)
    parser.set_defaults(run=run_build_engine)


def _add_benchmark(subparsers: Any) -> None:
    text = "measure engines beside eager PyTorch, in turns within one run"
    parser = subparsers.add_parser("benchmark", help=text, description=text)
    add = parser.add_argument
    add("--engines", default="", help="e.g. onnxruntime:fp32,openvino:bf16 (default: all)")
    add("--sizes", default="640x480", help="image sizes, e.g. 640x480,1333x800")
    add("--prompts", default="0,1,16", help="numbers of prompts in one pass")
    add("--repeats", type=int, default=20, help="runs of everybody (default: %(default)s)")
    add("--device", default="auto", help="default: %(default)s")
    add("--num-threads", type=int, default=0, help="on a CPU; 0: one per core")
    add("--cache-folder", default="", help="default: ~/.cache/rmpsam_ros")
    add("--json", type=Path, help="write the report here, too")
    _add_network_options(parser)
    parser.set_defaults(run=run_benchmark_command)


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    network = ModelConfig()
    add = parser.add_argument
    add("--model", default=network.model, help="network configuration (default: %(default)s)")
    add("--weights", default="", help="checkpoint; without one the weights are random")
    add("--text-embeddings", default="", help="class table that belongs to the weights")
    add("--labels", default="coco_panoptic", help="label set or file (default: %(default)s)")


def run_export(options: argparse.Namespace) -> None:
    """Write ONNX files."""
    from rmpsam_ros.runtime.export import export_files

    form = EXPORT_FORMS.get((options.target, options.precision))
    if form is None:
        possible = [precision for target, precision in EXPORT_FORMS if target == options.target]
        raise CommandError(f"{options.target} has the precisions {', '.join(possible)}")
    config = _config(options, device="cpu")
    try:
        factory = _factory(config, _label_set(options))
        ranges = factory.activation_ranges() if form.quantization != "none" else None
        paths = export_files(factory.model, options.output, form, ranges)
    except (EngineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def run_build_engine(options: argparse.Namespace) -> None:
    """Build an engine into the cache, or take it from there."""
    config = _config(
        options,
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        cache_folder=options.cache_folder,
    )
    try:
        engine = load_engine(config, _label_set(options).num_classes, _print)
    except EngineError as error:
        raise CommandError(str(error)) from error
    print(f"ready: {engine.info}")
    if engine.info.agreement:
        print(f"agrees with fp32 PyTorch in {engine.info.agreement}")
    engine.close()


def run_benchmark_command(options: argparse.Namespace) -> None:
    """Print a table of all engines, and write it as JSON if asked to."""
    from rmpsam_ros.runtime.benchmark import run_benchmark

    config = _config(
        options,
        device=options.device,
        num_threads=options.num_threads,
        cache_folder=options.cache_folder,
    )
    label_set = _label_set(options)
    try:
        sizes = [_size(text) for text in options.sizes.split(",")]
        prompts = [int(text) for text in options.prompts.split(",")]
        engines = available_engines(resolve_device(options.device))
        if options.engines:
            wanted = [tuple(text.split(":")) for text in options.engines.split(",")]
            if unknown := [":".join(pair) for pair in wanted if pair not in engines]:
                known = ", ".join(":".join(pair) for pair in engines)
                raise CommandError(f"engines {unknown} are not available; there are {known}")
            engines = [pair for pair in engines if pair in wanted]
        if options.repeats < 1 or min(prompts) < 0:
            raise CommandError("repeats must be at least 1 and prompts at least 0")
        report = run_benchmark(
            _factory(config, label_set),
            engines,
            sizes,
            prompts,
            options.repeats,
            label_set,
            _print,
        )
    except (EngineError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(report.to_table())
    if options.json:
        try:
            options.json.write_text(report.to_json() + "\n")
        except OSError as error:
            raise CommandError(f"'{options.json}' cannot be written: {error.strerror}") from error


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise CommandError(f"size '{text}' is not like 640x480")
    return int(width), int(height)


def _config(options: argparse.Namespace, **more: Any) -> ModelConfig:
    return ModelConfig(
        model=options.model,
        weights=options.weights,
        text_embeddings=options.text_embeddings,
        **more,
    )


def _factory(config: ModelConfig, label_set: LabelSet) -> EngineFactory:
    return make_factory(config, label_set.num_classes, _print, threading.Event())


def _label_set(options: argparse.Namespace) -> LabelSet:
    try:
        return load_label_set(options.labels)
    except LabelSetError as error:
        raise CommandError(str(error)) from error


def _print(line: str) -> None:
    print(line, flush=True)
