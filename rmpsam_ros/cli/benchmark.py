"""Sub-command ``benchmark`` of ``rmpsam``."""

import argparse
from pathlib import Path

import torch

from rmpsam_ros.benchmark.errors import BenchmarkError
from rmpsam_ros.benchmark.network import (
    Plan,
    describe_machine,
    measure_network,
    measure_postprocessing,
)
from rmpsam_ros.benchmark.report import NetworkReport, to_json
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import add_network_options, network_config, print_line
from rmpsam_ros.runtime.devices import device_description, resolve_device
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.executor import Precision
from rmpsam_ros.runtime.load import available_engines, make_factory
from rmpsam_ros.runtime.network import EngineConfig, label_set_of
from rmpsam_ros.segmentation.labels import LabelSetError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    add = parser.add_argument
    add("--engines", default="", help="e.g. onnxruntime:fp32,openvino:bf16 (default: all)")
    add("--sizes", default="640x480", help="image sizes, e.g. 640x480,1333x800; batches and "
        "prompts are measured on the first only")  # fmt: skip
    add("--prompts", default="16", help="numbers of prompts in one pass, beside none at all")
    add("--batches", default="", help="images in one pass, beside single ones (default: 2,4 on a "
        "GPU; a CPU takes one after the other)")  # fmt: skip
    add("--repeats", type=int, default=20, help="runs of everybody (default: %(default)s)")
    add("--seconds", type=float, default=30.0, help="for every network and image size, but three "
        "runs at least (default: %(default)s)")  # fmt: skip
    add("--device", default="auto", help="default: %(default)s")
    add("--num-threads", type=int, default=0, help="on a CPU; 0: one per core")
    add("--cache-folder", default="", help="default: ~/.cache/rmpsam_ros")
    add("--json", type=Path, help="write the report here, too")
    add("--node", action="store_true", help="measure the whole node instead, as a process over "
        "the middleware (needs ROS 2): the highest rate it sustains, and fixed rates")  # fmt: skip
    add("--rates", default="10,30", help="with --node: fixed rates, Hz (default: %(default)s)")
    add("--source", default="", help="with --node: video or folder of images to be played "
        "(default: made-up images)")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME:=VALUE", help="with --node: a "
        "parameter of the node; may be given again")  # fmt: skip
    add("--also", default="", help="further networks, with random weights, e.g. rmpsam_r50")
    add_network_options(parser, weights="random")
    parser.set_defaults(run=run_benchmark_command)


def run_benchmark_command(options: argparse.Namespace) -> None:
    """Print tables of all engines, or of the node, and write them as JSON if asked to."""
    if options.node:
        _run_node_benchmark(options)
        return
    try:
        plan = _plan(options)
        device = resolve_device(options.device)
        engines = _engines(options.engines, device)
        more = {
            "device": options.device,
            "num_threads": options.num_threads,
            "cache_folder": options.cache_folder,
        }
        networks = [(network_config(options, **more), options.labels)]
        networks += [(EngineConfig(model=name, **more), "") for name in _list(options.also)]
        label_sets = [label_set_of(config, labels) for config, labels in networks]
        reports: list[NetworkReport] = []
        for (config, _), label_set in zip(networks, label_sets, strict=True):
            factory = make_factory(config, label_set.num_classes, print_line)
            reports.append(measure_network(factory, engines, plan, label_set, print_line))
            print_line(f"\n{reports[-1].to_table()}\n")
        machine = describe_machine(device_description(device))
        postprocessing = measure_postprocessing(label_sets[0])
    except (EngineError, LabelSetError, ValueError) as error:
        raise CommandError(str(error)) from error
    print_line(f"{postprocessing}\n{machine}")
    if options.json:
        try:
            options.json.write_text(to_json(machine, postprocessing, reports) + "\n")
        except OSError as error:
            raise CommandError(f"'{options.json}' cannot be written: {error.strerror}") from error


def _run_node_benchmark(options: argparse.Namespace) -> None:
    try:
        from rmpsam_ros.benchmark.node.run import run_node_benchmark
    except ImportError as error:
        raise CommandError(
            f"--node needs ROS 2 and the built package: source their setup files first ({error})"
        ) from error
    names = ("model", "weights", "text_embeddings", "labels", "device", "num_threads")
    given = [f"{name}:={value}" for name in names if (value := getattr(options, name))]
    sizes = [_size(text) for text in _list(options.sizes)]
    try:
        rates = [float(text) for text in _list(options.rates)]
    except ValueError:
        rates = [0.0]
    if min(rates, default=1.0) <= 0.0 or not sizes:
        raise CommandError(f"rates are {options.rates!r}; expected numbers above 0, like 10,30")
    try:
        run_node_benchmark(
            sizes, rates, options.seconds, [*given, *options.set], options.source, options.json
        )
    except BenchmarkError as error:
        raise CommandError(str(error)) from error


def _plan(options: argparse.Namespace) -> Plan:
    batches = options.batches
    if not batches and resolve_device(options.device).type == "cuda":
        batches = "2,4"
    plan = Plan(
        sizes=tuple(_size(text) for text in _list(options.sizes)),
        prompts=tuple(int(text) for text in _list(options.prompts)),
        batches=tuple(int(text) for text in _list(batches)),
        rounds=options.repeats,
        seconds=options.seconds,
    )
    if not plan.sizes or plan.rounds < 1:
        raise CommandError("there must be one size and one repeat at least")
    if min(plan.prompts, default=0) < 0 or min(plan.batches, default=1) < 1:
        raise CommandError("prompts must be at least 0 and batches at least 1")
    return plan


def _engines(wanted: str, device: torch.device) -> list[tuple[str, Precision]]:
    """Return the engines of this machine that are wanted; '': all."""
    engines = available_engines(device)
    if not wanted:
        return engines
    pairs = [tuple(text.split(":")) for text in _list(wanted)]
    if unknown := [":".join(pair) for pair in pairs if pair not in engines]:
        known = ", ".join(":".join(pair) for pair in engines)
        raise CommandError(f"engines {unknown} are not available; there are {known}")
    return [pair for pair in engines if pair in pairs]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise CommandError(f"size '{text}' is not like 640x480")
    return int(width), int(height)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
