"""Compare the SAM family with every golden output of a folder and print a Markdown table.

    python tools/goldens/golden_table_sam.py <reference folder> [--only rwkv_sam] \
        [--engine onnxruntime]

The folder holds the official key lists (``*_state_dict.json``) and ``golden/*.npz``. Pictures are
found through RMPSAM_SHARED, or in ``../shared`` beside the repository. The exit status is 1 if
anything is out of tolerance.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sam_executors import EXECUTORS
from sam_golden import ENGINE_GROUPS, GROUPS, compare
from sam_reference import PicturesMissing, Reference, find_shared


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with key lists and golden/*.npz")
    parser.add_argument("--only", default="", help="only groups whose name starts like this")
    parser.add_argument("--engine", choices=sorted(EXECUTORS), default="torch")
    parser.add_argument("--details", action="store_true", help="a line for every array")
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    reference = Reference(arguments.folder, find_shared(), EXECUTORS[arguments.engine]())
    groups = GROUPS if arguments.engine == "torch" else ENGINE_GROUPS

    print("| file, part | arrays | max error | tolerance | of | ok |")
    print("|---|---:|---:|---:|---|---|")
    failed = False
    for group in (name for name in groups if name.startswith(arguments.only)):
        start = time.perf_counter()
        try:
            rows = compare(group, reference)
        except PicturesMissing as reason:
            print(f"| {group} | 0 | | | | not run: {reason} |", flush=True)
            continue
        failed |= not all(row.ok for row in rows)
        if arguments.details:
            for row in rows:
                print(table_line(f"{group}: {row.part}", 1, row))
        else:
            worst = max(rows, key=lambda row: (not row.ok, row.error / (row.tolerance or 1e-12)))
            print(table_line(group, len(rows), worst), flush=True)
        print(f"{group}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    print(
        "\nErrors of values are relative to the largest value of the array, errors of masks are "
        "the share of pixels that differ; each line shows the array closest to its tolerance."
    )
    return int(failed)


def table_line(name: str, arrays: int, row) -> str:
    verdict = "yes" if row.ok else "**no**"
    return f"| {name} | {arrays} | {row.error:.1e} | {row.tolerance:g} | {row.part} | {verdict} |"


if __name__ == "__main__":
    sys.exit(main())
