"""The ``rmpsam`` command: the product without ROS, for people at a terminal."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from rmpsam_ros import __version__
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.missing_packages import remedy_of

# Name, module of this package, what help says. A module is imported only when its command is
# used: most of them need PyTorch, which takes seconds.
COMMANDS = (
    ("image", "image", "segment one image and write it with the result drawn over it"),
    (
        "video",
        "video",
        "segment and track a video; writes it with the result drawn over, and the tracks as "
        "YouTube-VIS results (.json beside it)",
    ),
    (
        "everything",
        "everything",
        "find masks of everything in an image, prompted by the objects the network finds",
    ),
    (
        "bag",
        "bag",
        "process recordings (rosbag2, ROS 1) with the node's code: every frame, without ROS",
    ),
    (
        "fleet",
        "fleet",
        "process many recordings, on this machine or a Ray cluster; resumable, with a manifest",
    ),
    (
        "weights",
        "weights",
        "list, fetch, verify, convert and describe weights, with their licences",
    ),
    (
        "export",
        "export",
        "write the network as ONNX: encoder, decoders (image, clip, prompts), and all in one",
    ),
    (
        "build-engine",
        "build_engine",
        "build the engines that the node would build at its first start; Ctrl-C cancels",
    ),
    (
        "benchmark",
        "benchmark",
        "measure engines beside eager PyTorch, in turns within one run: whole frames from pixels "
        "to run lengths, prompts, batches, post-processing",
    ),
    (
        "train",
        "train",
        "train a network as a configuration says; run it again to go on where it stopped",
    ),
    (
        "calibrate",
        "calibrate",
        "fit the scores of a trained network to the masks that it makes, on a CPU in minutes",
    ),
    (
        "distill",
        "distill",
        "let a promptable model turn boxes, or plain images, into a data set of masks",
    ),
    (
        "eval",
        "evaluate",
        "figures of trained weights on the data sets that a configuration lists",
    ),
)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all sub-commands.

    Args:
        command: the only one whose options are needed; None: those of all.
    """
    parser = argparse.ArgumentParser(
        prog="rmpsam", description="RMP-SAM: panoptic segmentation, tracks and prompted masks."
    )
    parser.add_argument("--version", action="version", version=f"rmpsam_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module, text in COMMANDS:
        subparser = subparsers.add_parser(name, help=text, description=text)
        if command in (None, name):
            importlib.import_module(f"rmpsam_ros.cli.{module}").add_arguments(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; a known failure is one line on stderr and exit status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in arguments if not word.startswith("-")), "")
    try:
        options = build_parser(command).parse_args(arguments)
    except ModuleNotFoundError as error:
        return _missing(command, error)
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        return _missing(command, error)
    except CommandError as error:
        print(f"rmpsam {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rmpsam {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def _missing(command: str, error: ModuleNotFoundError) -> int:
    """Say which package is missing; one of our own modules is a defect, and raised."""
    if (error.name or "").startswith("rmpsam_ros"):
        raise error
    print(f"rmpsam {command}: {error}; {remedy_of(error.name)}", file=sys.stderr)
    return 1
