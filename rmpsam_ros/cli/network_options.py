"""The options of sub-commands that choose the network."""

import argparse
from typing import Any

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.runtime import EngineConfig
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.network import label_set_of
from rmpsam_ros.segmentation.labels import LabelSet, LabelSetError


def add_network_options(parser: argparse.ArgumentParser, weights: str) -> None:
    """Add ``--model``, ``--weights``, ``--text-embeddings`` and ``--labels``.

    Args:
        weights: the default; ``demo`` for what people look at, ``random`` for what is only timed.
    """
    add = parser.add_argument
    add("--model", default="", help="network (default: that of the weights, or rmpsam_r18)")
    add("--weights", default=weights, help="file, demo or random (default: %(default)s)")
    add("--text-embeddings", default="", help="class table, where the weights hold none")
    add(
        "--labels",
        default="",
        help="label set or file (default: that of the weights, or coco_panoptic)",
    )


def network_config(options: argparse.Namespace, **more: Any) -> EngineConfig:
    """Return the network that the options choose; ``more``: further settings of it."""
    return EngineConfig(
        model=options.model,
        weights=options.weights,
        text_embeddings=options.text_embeddings,
        **more,
    )


def label_set(options: argparse.Namespace) -> LabelSet:
    """Return the label set that the options choose; CommandError if it cannot be read."""
    try:
        return label_set_of(network_config(options), options.labels)
    except (EngineError, LabelSetError) as error:
        raise CommandError(str(error)) from error


def print_line(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)
