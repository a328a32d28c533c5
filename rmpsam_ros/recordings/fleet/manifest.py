"""What became of each recording of a fleet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rmpsam_ros import __version__
from rmpsam_ros.recordings.errors import RecordingError
from rmpsam_ros.recordings.fleet.places import Output, Source

MANIFEST = "manifest.json"
DONE, REFUSED, FAILED = "done", "refused", "failed"


class Manifest:
    """The file ``manifest.json`` in the output; written anew after every recording.

    Of each recording it says: ``state`` (done; refused: it cannot be processed; failed: whoever
    worked on it died too often), ``reason``, ``source``, ``fingerprint``, ``attempts``, and of
    those that are done ``frames``, ``failed_images``, ``tracks``, ``seconds``, ``engine`` and
    ``losses``.

    Args:
        options: of the run; all recordings of a manifest have the same.
        resume: go on with the manifest that is there.

    Raises:
        RecordingError: there is a manifest and `resume` is not given, or it is of other options or
            cannot be read.
    """

    def __init__(self, output: Output, options: Mapping[str, Any], resume: bool) -> None:
        self._output, self._options = output, dict(options)
        self.recordings: dict[str, dict[str, Any]] = {}
        text = output.read(MANIFEST)
        if text is None:
            return
        if not resume:
            raise RecordingError(
                f"the output holds a {MANIFEST} already; --resume goes on with it, or use another "
                "place"
            )
        try:
            content = json.loads(text)
            options_there, self.recordings = content["options"], dict(content["recordings"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"{MANIFEST} is damaged: {error!r}") from error
        if options_there != self._options:
            raise RecordingError(
                f"{MANIFEST} is of other options; use the same ones, or another place"
            )

    def waiting(self, sources: tuple[Source, ...]) -> list[Source]:
        """Return what is still to be done: new, changed, or failed because somebody died."""
        return [one for one in sources if not self._is_settled(one)]

    def _is_settled(self, source: Source) -> bool:
        entry = self.recordings.get(source.name)
        return (
            entry is not None
            and entry["state"] in (DONE, REFUSED)
            and entry["fingerprint"] == source.fingerprint
        )

    def record(self, source: Source, entry: Mapping[str, Any]) -> None:
        """Say what became of a recording."""
        place = {"source": source.address, "fingerprint": source.fingerprint}
        self.recordings[source.name] = {**place, **entry}
        content = {
            "version": __version__,
            "options": self._options,
            "recordings": dict(sorted(self.recordings.items())),
        }
        self._output.write(MANIFEST, json.dumps(content, indent=1) + "\n")

    def counts(self) -> Counter[str]:
        """Return how many recordings are in each state."""
        return Counter(entry["state"] for entry in self.recordings.values())
