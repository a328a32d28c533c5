"""The table that the demo prints."""

import numpy as np
from recorder import STAGES, Figures

AROUND = ("decode", "preprocess", "postprocess", "fill", "publish")


def format_table(rows: dict[str, Figures]) -> str:
    """Lay the figures of the runs out as text: one block of counts, one of milliseconds."""
    head = f"{'run':12s}{'in':>7s}{'processed':>11s}{'dropped':>9s}{'failed':>8s}"
    head += f"{'fps':>7s}{'segments':>10s}{'tracks':>8s}"
    lines = [head]
    for name, row in rows.items():
        span = row.last_stamp - row.first_stamp
        fps = (len(row.latencies) - 1) / span if span > 0 else 0.0
        segments = row.segments / max(1, len(row.latencies))
        lines.append(
            f"{name:12s}{row.received:7d}{row.processed:11d}{row.dropped:9d}{row.failed:8d}"
            f"{fps:7.1f}{segments:10.1f}{len(row.track_ids):8d}"
        )
    lines += ["", "milliseconds per frame, median (99th percentile)"]
    columns = [*STAGES, "around network"]
    lines.append(f"{'run':12s}" + "".join(f"{column:>16s}" for column in columns))
    for name, row in rows.items():
        cells = [_cell([entry[stage] for entry in row.latencies]) for stage in STAGES]
        cells.append(_cell([sum(entry[part] for part in AROUND) for entry in row.latencies]))
        lines.append(f"{name:12s}" + "".join(f"{cell:>16s}" for cell in cells))
    lines.append(f"around network = {' + '.join(AROUND)}")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.median(values):.1f} ({np.percentile(values, 99):.1f})"
