"""Sub-command ``weights`` of ``rmpsam``: list, fetch, verify, convert, describe."""

import argparse
from pathlib import Path
from typing import Any

from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.weights_store.fetch import fetch, recorded_sha256, sha256_of
from rmpsam_ros.weights_store.table import (
    WeightsEntry,
    WeightsError,
    load_table,
    store_folder,
)
from rmpsam_ros.weights_store.verify import UNKNOWN_LICENCE

DTYPES = ("fp16", "fp32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the sub-command takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    _add(actions, "list", _list, "list all known weights and whether they are here")
    command = _add(actions, "fetch", _fetch, f"download weights into {_store()}")
    command.add_argument(
        "names", nargs="+", metavar="NAME", help="as rmpsam weights list gives it"
    )
    command = _add(actions, "verify", _verify, "compare files with their sha256")
    command.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    command = _add(
        actions, "convert", _convert, "convert a prompt engine's checkpoint to safetensors"
    )
    command.add_argument("source", type=Path)
    command.add_argument("target", type=Path, help="the new .safetensors file")
    command.add_argument("--model", required=True, help="prompt engine that the weights are for")
    command.add_argument("--dtype", choices=DTYPES, default="fp16", help="default: %(default)s")
    command = _add(actions, "describe", _describe, "tell what is in a file")
    command.add_argument("file", help="a file, or a name of rmpsam weights list")
    command.add_argument("--tensors", action="store_true", help="a line for every tensor")


def _store() -> str:
    try:
        return str(store_folder())
    except WeightsError:
        return "the user's data folder"


def _add(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    parser.set_defaults(run=_one_line(run))
    return parser


def _one_line(run: Any) -> Any:
    def command(options: argparse.Namespace) -> None:
        try:
            run(options)
        except WeightsError as error:
            raise CommandError(str(error)) from error

    return command


def _list(options: argparse.Namespace) -> None:
    for entry in load_table().values():
        path = entry.path
        size = f"{path.stat().st_size / 1e6:.1f} MB" if path.is_file() else "not here"
        print(f"{entry.name}: {size}")
        print(f"    for      {entry.model}")
        print(f"    licence  {entry.licence}")
        print(f"    from     {entry.url or entry.origin}")
        print(f"    sha256   {entry.sha256 or 'unknown'}")
        print(f"    file     {path}")


def _fetch(options: argparse.Namespace) -> None:
    for entry in [_entry(name) for name in options.names]:
        fetch(entry, lambda line: print(line, flush=True))


def _verify(options: argparse.Namespace) -> None:
    entries = [_entry(name) for name in options.names]
    if not entries:
        entries = [entry for entry in load_table().values() if entry.path.is_file()]
    bad = []
    for entry in entries:
        verdict = _verdict(entry)
        print(f"{entry.name}: {verdict}")
        if not verdict.startswith(("good", "unknown")):
            bad.append(entry.name)
    if bad:
        raise CommandError(f"not what they should be: {', '.join(bad)}")


def _verdict(entry: WeightsEntry) -> str:
    path = entry.path
    if not path.is_file():
        return f"not here: {path}"
    found = sha256_of(path)
    if entry.sha256:
        return "good" if found == entry.sha256 else f"damaged or another file: sha256 {found}"
    recorded = recorded_sha256(path)
    if recorded:
        same = "good: as it was fetched" if found == recorded else "changed since it was fetched"
        return f"{same}, sha256 {found} (the table knows none)"
    return f"unknown: sha256 {found} is neither in the table nor recorded"


def _convert(options: argparse.Namespace) -> None:
    import torch

    from rmpsam_ros.weights_store.files import convert

    dtype = {"fp16": torch.float16, "fp32": torch.float32}[options.dtype]
    done = convert(options.source, options.target, options.model, dtype)
    print(f"{done.tensors} tensors, {done.parameters:,} parameters, all keys fit {options.model}")
    for old, new in done.renamed:
        print(f"    {old} -> {new}")
    share, key = done.largest_rounding
    print(f"largest rounding {share:.1e} of the largest value of {key}")
    print(f"wrote {options.target} ({options.target.stat().st_size / 1e6:.1f} MB)")


def _describe(options: argparse.Namespace) -> None:
    from rmpsam_ros.weights_store.files import describe

    table = load_table()
    path = table[options.file].path if options.file in table else Path(options.file)
    found = describe(path)
    print(f"{found.path} ({found.megabytes:.1f} MB)")
    print(f"sha256      {found.sha256}")
    print(f"known as    {found.known_as or 'not in the table'}")
    print(f"licence     {found.licence or UNKNOWN_LICENCE}")
    kinds = sorted({kind for _, _, kind in found.tensors})
    print(f"content     {len(found.tensors)} tensors ({', '.join(kinds)}), ", end="")
    print(f"{found.parameters:,} parameters")
    for key, value in sorted(found.metadata.items()):
        print(f"metadata    {key}: {value if len(value) < 200 else value[:200] + ' ...'}")
    if options.tensors:
        for name, shape, kind in found.tensors:
            print(f"    {name} {list(shape)} {kind}")


def _entry(name: str) -> WeightsEntry:
    table = load_table()
    if name not in table:
        raise WeightsError(f"weights '{name}' are unknown; there are {', '.join(table)}")
    return table[name]
