"""Compare the network with every golden file of a folder and print a Markdown table.

    python tools/goldens/golden_table.py <golden folder> [--only image_r18]

The folder holds ``index.json`` and the ``.npz`` files it names. Files of other steps
(post-processing, matching, ...) are listed as not run. The exit status is 1 if anything is out of
tolerance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from golden_network import Comparison, compare_file, is_network_file, read_index


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with index.json and .npz files")
    parser.add_argument("--only", default="", help="only files whose name starts like this")
    parser.add_argument("--details", action="store_true", help="also print every array")
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))

    names = [name for name in read_index(arguments.folder) if name.startswith(arguments.only)]
    names = [name for name in names if (arguments.folder / f"{name}.npz").is_file()]
    print(
        "| file | arrays | max error float64 | tolerance | max error float32 | tolerance "
        "| array | flips | ok |"
    )
    print("|---|---:|---:|---:|---:|---:|---|---:|---|")
    failed = False
    for name in filter(is_network_file, names):
        comparison = compare_file(arguments.folder, name)
        failed |= not comparison.ok
        print(table_line(name, comparison), flush=True)
        if comparison.left:
            print(f"  not compared: {', '.join(comparison.left)}", file=sys.stderr)
        for row in comparison.rows:
            if arguments.details or not row.ok:
                error = f"{row.error:.2e}, tolerance {row.tolerance:g}"
                print(f"  {row.precision} {row.array}: {error}", file=sys.stderr)
    others = [name for name in names if not is_network_file(name)]
    print(
        "\nEach error is that of the array closest to its own tolerance (named for float32). "
        "Flips: float32 mask logits of the wrong sign; where there are any, float32 is judged "
        "up to the neck only.\n"
        f"Not network files: {', '.join(others) or 'none'}"
    )
    return int(failed)


def table_line(name: str, comparison: Comparison) -> str:
    """Return the line of one file."""
    cells = [name, str(len(comparison.rows))]
    array = ""
    for precision in ("float64", "float32"):
        rows = [row for row in comparison.rows if row.precision == precision and row.judged]
        if not rows:
            cells += ["none", ""]
            continue
        worst = max(rows, key=lambda row: row.error / row.tolerance)
        cells += [f"{worst.error:.1e}", f"{worst.tolerance:g}"]
        array = worst.array
    cells += [array, str(comparison.flips), "yes" if comparison.ok else "NO"]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
