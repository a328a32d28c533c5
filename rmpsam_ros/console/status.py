"""The state of everything as a browser gets it, once a second."""

from __future__ import annotations

from typing import Any

from rmpsam_ros.console.console import Console
from rmpsam_ros.console.frames import nanoseconds

STAGES = ("wait", "decode", "preprocess", "inference", "postprocess", "fill", "publish", "total")
COUNTS = ("received", "processed", "dropped", "failed")
MAX_ROWS = 600  # of latencies in one message
MAX_TEXT = 500


class StatusReport:
    """Makes status messages for one browser; what has not changed is left out."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._parts: Any = None
        self._labels: Any = None
        self._latency_number = 0

    def new_camera(self) -> None:
        """Begin anew with the latencies."""
        self._latency_number = 0

    def make(self, camera: str | None) -> dict[str, Any]:
        """Return the next message."""
        console, node = self._console, self._console.node
        message: dict[str, Any] = {
            "type": "status",
            "state": console.state,
            "looking": camera,
            "cameras": [
                {"name": name, "topic": feed.source[0], "browsers": feed.looking}
                for name, feed in sorted(node.feeds.items())
            ],
            "browsers": len(console.sessions),
            "names": console.names,
            "dataset": console.dataset.summary(),
            "recording": console.recording,
        }
        if node.parts is not self._parts:
            self._parts = node.parts
            message["parts"] = [_part(part) for part in node.parts]
        if node.labels is not None and node.labels is not self._labels:
            self._labels = node.labels
            message["labels"] = [
                {"name": label.name, "thing": label.is_thing, "color": label.color}
                for label in node.labels.labels
            ]
        feed = node.feeds.get(camera) if camera is not None else None
        if feed is not None:
            rows = feed.store.latencies_after(self._latency_number)[-MAX_ROWS:]
            if rows:
                self._latency_number = rows[-1][0]
            message["latencies"] = [_latency(latency) for _, latency in rows]
        return message


def _part(part: Any) -> dict[str, Any]:
    return {
        "name": part.name,
        "level": part.level,
        "message": part.message[:MAX_TEXT],
        "values": {key[:100]: value[:MAX_TEXT] for key, value in part.values.items()},
    }


def _latency(message: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"stamp": str(nanoseconds(message.header.stamp))}
    row |= {name: round(float(getattr(message, f"{name}_ms")), 3) for name in STAGES}
    return row | {name: getattr(message, f"frames_{name}") for name in COUNTS}
