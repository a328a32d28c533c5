"""The options of sub-commands that choose the network."""

import argparse
from typing import Any

from rmpsam_ros.runtime import EngineConfig


def add_network_options(parser: argparse.ArgumentParser, weights: str) -> None:
    """Add ``--model``, ``--weights``, ``--text-embeddings`` and ``--labels``.

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
