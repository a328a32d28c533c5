"""The ``rmpsam`` command: the product without ROS, for people at a terminal."""

import argparse
import sys
from collections.abc import Sequence

from rmpsam_ros import __version__, commands
from rmpsam_ros.evaluation import commands as evaluation_commands
from rmpsam_ros.prompting import commands as prompting_commands
from rmpsam_ros.runtime import commands as runtime_commands
from rmpsam_ros.training import commands as training_commands
from rmpsam_ros.video import commands as video_commands
from rmpsam_ros.weights_store import commands as weights_commands

COMMANDS = (
    commands,
    video_commands,
    prompting_commands,
    weights_commands,
    runtime_commands,
    training_commands,
    evaluation_commands,
)


def build_parser() -> argparse.ArgumentParser:
    """Put the parsers of all sub-commands together."""
    parser = argparse.ArgumentParser(
        prog="rmpsam", description="RMP-SAM: panoptic segmentation, tracks and prompted masks."
    )
    parser.add_argument("--version", action="version", version=f"rmpsam_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parsers(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; a known failure is one line on stderr and exit status 1."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except commands.CommandError as error:
        print(f"rmpsam {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rmpsam {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
