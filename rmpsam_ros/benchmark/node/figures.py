"""Figures of benchmark runs, the search for the peak rate, and the table. No ROS here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MAX_LOST = 0.05  # share of the images with which a rate is still sustained
MIN_SENT = 0.95  # share of the rate that the playback must have kept
SEARCH_WIDTH = 1.08  # the search ends when the lowest rate that fails is this near
AROUND_NETWORK = ("decode", "preprocess", "postprocess", "fill", "publish")


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds of many frames."""

    mean: float
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize values; all 0 for none."""
        if not len(values):
            return cls(0.0, 0.0, 0.0, 0.0)
        p50, p99 = np.percentile(values, (50, 99))
        return cls(float(np.mean(values)), float(p50), float(p99), float(np.max(values)))


@dataclass(frozen=True, slots=True)
class Run:
    """What one run at one rate gave.

    Attributes:
        rate: images per second that were to be sent.
        seconds: from the first image sent to the last.
        sent: images.
        answered: of these, those for which every result arrived.
        received, processed, dropped, failed: the node's own counts of the run.
        end_to_end: from the stamp of the image to the arrival of its last result.
        stages: by the names of ``Latency`` without ``_ms``.
        around: decode, preprocess, postprocess, fill and publish together.
        cpu: CPU time of the node, cores.
        memory: resident memory of the node, 10^6 bytes.
    """

    rate: float
    seconds: float
    sent: int
    answered: int
    received: int
    processed: int
    dropped: int
    failed: int
    end_to_end: Spread
    stages: Mapping[str, Spread]
    around: Spread
    cpu: float
    memory: float

    @property
    def sent_rate(self) -> float:
        """Images per second that were really sent."""
        return (self.sent - 1) / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def answered_rate(self) -> float:
        """Results per second."""
        return self.sent_rate * (1.0 - self.lost)

    @property
    def lost(self) -> float:
        """Share of the images without all of their results, 0 to 1."""
        return 1.0 - self.answered / self.sent if self.sent else 1.0

    @property
    def sustained(self) -> bool:
        """Whether the node keeps up with the rate, and the rate was kept."""
        return self.lost < MAX_LOST and self.sent_rate >= MIN_SENT * self.rate


def find_peak(measure: Callable[[float], Run], lowest: float, highest: float) -> Run | None:
    """Search the highest rate that is sustained.

    Doubles the rate until it is not, then halves the interval.

    Args:
        measure: makes a run at a rate.
        lowest, highest: where to search, images per second.

    Returns:
        The run at the highest sustained rate that was tried, None if there is none.
    """
    good: Run | None = None
    rate, failed = lowest, None
    while rate <= highest:
        run = measure(rate)
        if run.sustained:
            good, low = run, rate
        else:
            failed = rate
        if failed is None:
            if rate == highest:
                break
            rate = min(2.0 * rate, highest)
            continue
        if good is None or failed / low <= SEARCH_WIDTH:
            break
        rate = (low * failed) ** 0.5
    return good


def format_table(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Return the runs, by image size and name, as a table in Markdown.

    The latencies of a run in which images were lost say how long they queued: it is marked.
    """
    lines = [
        "| image | run | sent / s | results / s | lost | around the network | wait | inference "
        "| end to end | CPU, cores | memory, MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size, named in runs.items():
        for name, run in named.items():
            empty = Spread.of(())
            cells = [
                size,
                f"{name}, overloaded" if run.lost >= MAX_LOST else name,
                f"{run.sent_rate:.1f}",
                f"{run.answered_rate:.1f}",
                f"{100.0 * run.lost:.1f} %",
                _range(run.around),
                _range(run.stages.get("wait", empty)),
                _range(run.stages.get("inference", empty)),
                _range(run.end_to_end),
                f"{run.cpu:.2f}",
                f"{run.memory:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(spread: Spread) -> str:
    return f"{spread.p50:.1f} ({spread.p99:.1f})"
