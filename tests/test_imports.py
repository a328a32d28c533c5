"""The rule of imports: rooms have an order from the inside out, and no import points outwards."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "rmpsam_ros"

# From the inside out: a room imports from those above it in this list, never from those below.
ROOMS = (
    "_native",  # the compiled kernels
    "segmentation",  # arrays in, arrays out: preprocessing, fusion, masks, run lengths, overlays
    "model",  # the networks, in PyTorch
    "tracking",  # what keeps its identity from frame to frame
    "geometry",  # masks and depth to positions in space
    "weights_store",  # which weights there are, and where their files lie
    "data",  # annotated images: samples, class tables, readers
    "training",  # losses, loop, checkpoints
    "export",  # from a network to graphs
    "runtime",  # executing networks: engines, choosing one, its cache
    "prompting",  # answering prompts and following what was prompted
    "pipeline",  # a frame in, a result out: the whole product without ROS
    "evaluation",  # the figures of the product, and of networks alone
    "video",  # files and folders of frames, and what is written of them
    "messages",  # from results to ROS messages
    "node",  # the ROS node
    "recordings",  # recorded topics through the product
    "console",  # the page in a browser
    "benchmark",  # what is measured, of networks and of the running node
    "cli",  # the sub-commands of rmpsam
)
# Packages that only some rooms may know.
ONLY_IN = {
    "rclpy": {"messages", "node", "recordings", "console", "benchmark"},
    "argparse": {"cli", "benchmark"},
    "torch": {
        "model", "weights_store", "data", "training", "export", "runtime", "prompting",
        "evaluation", "benchmark", "cli",
    },
}  # fmt: skip


@cache
def imports():
    """What every module of the package imports, inside functions and for types too."""
    files = [file for file in PACKAGE.rglob("*.py") if "__pycache__" not in file.parts]
    known = {name_of(file): file for file in files}
    return {name: set(imported(file, known)) for name, file in known.items()}


def name_of(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file, known):
    """The modules that a file imports."""
    package = file.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*inside, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base


def room_of(module):
    """The room of a module; empty for what belongs to none, like ``rmpsam_ros`` itself."""
    parts = module.split(".")
    rooms = len(parts) > 1 and parts[0] == PACKAGE.name and (PACKAGE / parts[1]).is_dir()
    return parts[1] if rooms and parts[1] not in ("msg", "srv") else ""


def test_every_room_has_its_place():
    found = {room_of(module) for module in imports()} - {""}
    assert found - set(ROOMS) == set(), "new room: give it a place in ROOMS"


def test_imports_point_inwards():
    place = {room: k for k, room in enumerate(ROOMS)}
    outwards = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if room_of(module) and room_of(other) and place[room_of(other)] > place[room_of(module)]
    ]
    assert outwards == []


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_stays_in_its_rooms(package):
    elsewhere = [
        module
        for module, others in imports().items()
        if package in {other.split(".")[0] for other in others}
        and room_of(module) not in ONLY_IN[package]
    ]
    assert elsewhere == []


def test_no_circle():
    # A package is loaded by its own modules: that arrow is none.
    graph = {
        module: {other for other in others if not f"{module}.".startswith(f"{other}.")}
        for module, others in imports().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
