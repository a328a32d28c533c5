"""Sub-command ``build-engine``: what the node would build at its first start."""

import argparse

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.network_options import (
    add_network_options,
    label_set,
    network_config,
    print_line,
)
from rmpsam_ros.prompting import (
    PROMPT_ENGINES,
    PromptEngineError,
    PromptingConfig,
    load_prompt_engine,
)
from rmpsam_ros.runtime.engine import EngineError
from rmpsam_ros.runtime.load import load_engine
from rmpsam_ros.runtime.network import EngineConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
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
        engine = load_engine(config, label_set(options).num_classes, print_line)
        print(f"ready: {engine.info}")
        if engine.info.agreement:
            print(f"agrees with fp32 PyTorch in {engine.info.agreement}")
        engine.close()
        prompt_engine = load_prompt_engine(prompting, config, print_line)
    except (EngineError, PromptEngineError) as error:
        raise CommandError(str(error)) from error
    if prompt_engine is not None:
        print(f"ready: {prompt_engine.info}")
        prompt_engine.close()
