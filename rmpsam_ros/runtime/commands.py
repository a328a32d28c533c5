"""Sub-commands ``export`` and ``build-engine`` of ``rmpsam``, and ``benchmark`` with them."""

import argparse
import threading
from pathlib import Path
from typing import Any

from rmpsam_ros.commands import CommandError
from rmpsam_ros.network_options import add_network_options, network_config
from rmpsam_ros.prompting import (
    PROMPT_ENGINES,
    PromptEngineError,
    PromptingConfig,
    load_prompt_engine,
)
from rmpsam_ros.runtime import benchmark_command
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.factory import TENSORRT_FORMS, EngineFactory
from rmpsam_ros.runtime.load import load_engine, make_factory
from rmpsam_ros.runtime.network import EngineConfig, label_set_of
from rmpsam_ros.segmentation.labels import LabelSet, LabelSetError

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
    benchmark_command.add_parser(subparsers)


def _add_export(subparsers: Any) -> None:
    text = "write the network as ONNX: encoder, decoders (image, clip, prompts), and all in one"
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
    add_network_options(parser, weights="demo")
    parser.set_defaults(run=run_export)


def _add_build_engine(subparsers: Any) -> None:
    text = "build the engines that the node would build at its first start; Ctrl-C cancels"
    parser = subparsers.add_parser("build-engine", help=text, description=text)
    network = EngineConfig()
    parser.add_argument("--engine", default=network.engine, help="default: %(default)s")
    parser.add_argument("--device", default=network.device, help="default: %(default)s")
    parser.add_argument("--precision", default=network.precision, help="default: %(default)s")
    parser.add_argument("--cache-folder", default="", help="default: ~/.cache/rmpsam_ros")
    parser.add_argument(
        "--clip-frames", type=int, default=1, help="of the node's parameter (default: %(default)s)"
    )
    parser.add_argument("--prompt-engine", choices=PROMPT_ENGINES, default="mobile_sam",
        help="of the node's parameter: what executes it is built, too (default: %(default)s; "
        "rmpsam is a part of the network)")  # fmt: skip
    parser.add_argument("--prompt-weights", default="", help="of the node's parameter")
    add_network_options(parser, weights="demo")
    parser.set_defaults(run=run_build_engine)


def run_export(options: argparse.Namespace) -> None:
    """Write ONNX files."""
    from rmpsam_ros.runtime.export import export_files

    form = EXPORT_FORMS.get((options.target, options.precision))
    if form is None:
        possible = [precision for target, precision in EXPORT_FORMS if target == options.target]
        raise CommandError(f"{options.target} has the precisions {', '.join(possible)}")
    config = network_config(options, device="cpu")
    try:
        factory = _factory(config, _label_set(options))
        ranges = factory.activation_ranges() if form.quantization != "none" else None
        paths = export_files(factory.model, options.output, form, ranges)
    except (EngineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def run_build_engine(options: argparse.Namespace) -> None:
    """Build engines into the cache, or take them from there."""
    prompting = PromptingConfig(engine=options.prompt_engine, weights=options.prompt_weights)
    config = network_config(
        options,
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        cache_folder=options.cache_folder,
        clip_frames=options.clip_frames,
    )
    try:
        engine = load_engine(config, _label_set(options).num_classes, _print)
        print(f"ready: {engine.info}")
        if engine.info.agreement:
            print(f"agrees with fp32 PyTorch in {engine.info.agreement}")
        engine.close()
        prompt_engine = load_prompt_engine(prompting, config, _print)
    except (EngineError, PromptEngineError) as error:
        raise CommandError(str(error)) from error
    if prompt_engine is not None:
        print(f"ready: {prompt_engine.info}")
        prompt_engine.close()


def _factory(config: EngineConfig, label_set: LabelSet) -> EngineFactory:
    return make_factory(config, label_set.num_classes, _print, threading.Event())


def _label_set(options: argparse.Namespace) -> LabelSet:
    try:
        return label_set_of(network_config(options), options.labels)
    except (EngineError, LabelSetError) as error:
        raise CommandError(str(error)) from error


def _print(line: str) -> None:
    print(line, flush=True)
