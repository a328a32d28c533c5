"""Sub-command ``export``: the network as ONNX."""

import argparse
import threading
from pathlib import Path

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import (
    add_network_options,
    label_set,
    network_config,
    print_line,
)
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.export_form import ExportForm
from rmpsam_ros.runtime.factory import TENSORRT_FORMS
from rmpsam_ros.runtime.load import make_factory

EXPORT_FORMS: dict[tuple[str, str], ExportForm] = {
    ("onnxruntime", "fp32"): ExportForm("operator"),
    ("onnxruntime", "int8"): ExportForm("operator", quantization="u8s8"),
    ("openvino", "fp32"): ExportForm("grid_sample"),
    ("openvino", "int8"): ExportForm("grid_sample", quantization="u8s8"),
    **{("tensorrt", precision): form for precision, form in TENSORRT_FORMS.items()},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
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


def run_export(options: argparse.Namespace) -> None:
    """Write ONNX files."""
    from rmpsam_ros.runtime.export import export_files

    form = EXPORT_FORMS.get((options.target, options.precision))
    if form is None:
        possible = [precision for target, precision in EXPORT_FORMS if target == options.target]
        raise CommandError(f"{options.target} has the precisions {', '.join(possible)}")
    config = network_config(options, device="cpu")
    try:
        factory = make_factory(
            config, label_set(options).num_classes, print_line, threading.Event()
        )
        ranges = factory.activation_ranges() if form.quantization != "none" else None
        paths = export_files(factory.model, options.output, form, ranges)
    except (EngineError, ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
