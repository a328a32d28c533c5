"""The table that the demo prints."""

import numpy as np
from recorder import Figures

AROUND = ("decode", "preprocess", "postprocess", "fill", "publish")


def format_table(rows: dict[str, Figures]) -> str:
    """Lay the figures of the runs out as text, one line each."""
    head = ("run", "results/s", "not processed", "latency", "network", "around it", "tracks")
    unit = ("", "", "of the images", "ms", "ms", "ms", "")
    lines = [_line(head), _line(unit)]
    for name, row in rows.items():
        span = row.last_stamp - row.first_stamp
        rate = (len(row.latencies) - 1) / span if span > 0 else 0.0
        missed = (row.dropped + row.failed) / max(1, row.received)
        cells = [name, f"{rate:.1f}", f"{missed:.0%}"]
        cells += [_cell([entry[stage] for entry in row.latencies]) for stage in _STAGES]
        cells.append(_cell([sum(entry[part] for part in AROUND) for entry in row.latencies]))
        lines.append(_line([*cells, str(len(row.track_ids))]))
    lines.append(
        "median (99th percentile); latency: from the arrival of an image to its results; images "
        "come\n10 times a second, and the newest is processed when the network is free"
    )
    return "\n".join(lines)


_STAGES = ("total", "inference")


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return (f"{cells[0]:12s}" + "".join(f"{cell:>16s}" for cell in cells[1:])).rstrip()


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.median(values):.0f} ({np.percentile(values, 99):.0f})"
