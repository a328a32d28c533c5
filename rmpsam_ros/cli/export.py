"""Sub-command ``export``: the network as ONNX."""

import argparse
from pathlib import Path

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import (
    add_network_options,
    label_set,
    network_config,
    print_line,
)
from rmpsam_ros.cli.outputs import add_overwrite, check_output
from rmpsam_ros.export import GRAPH_PARTS
from rmpsam_ros.runtime.back_end import back_ends
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import PRECISIONS
from rmpsam_ros.runtime.load import make_factory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    parser.add_argument("output", type=Path, help="folder for the files")
    targets = sorted(name for name, library in back_ends().items() if library.forms)
    parser.add_argument(
        "--target", choices=targets, default="tensorrt", help="default: %(default)s"
    )
    parser.add_argument(
        "--precision", choices=sorted(PRECISIONS), default="fp32", help="default: %(default)s"
    )
    add_network_options(parser, weights="demo")
    add_overwrite(parser)
    parser.set_defaults(run=run_export)


def run_export(options: argparse.Namespace) -> None:
    """Write ONNX files."""
    forms = back_ends()[options.target].forms
    if options.precision not in forms:
        raise CommandError(f"{options.target} has the precisions {', '.join(sorted(forms))}")
    config = network_config(options, device="cpu")
    paths = {part: options.output / f"rmpsam_{part}.onnx" for part in GRAPH_PARTS}
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"'{options.output}' cannot be made: {error.strerror}") from error
    for path in paths.values():
        check_output(path, options.overwrite)
    try:
        factory = make_factory(config, label_set(options).num_classes, print_line)
        for part, path in paths.items():
            path.write_bytes(factory.store.graph(part, forms[options.precision]))
            print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    except (EngineError, OSError) as error:
        raise CommandError(str(error)) from error
