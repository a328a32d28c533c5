"""A process that uses the engine cache; started by test_cache.py.

    python cache_process.py build|die <cache folder> <number of processes>

``build`` waits for the other processes, builds or fetches one engine and prints it and the cache's
lines as JSON; ``die`` ends the process in the middle of the building.
"""

import json
import os
import sys
import time
from pathlib import Path

from rmpsam_ros.runtime.cache import EngineCache

DIED = 17  # no other failure of a process has this exit status


def build() -> bytes:
    time.sleep(0.5)
    return str(os.getpid()).encode()


def main(what: str, folder: Path, processes: int) -> None:
    lines: list[str] = []
    cache = EngineCache(folder, lines.append)
    if what == "die":
        cache.fetch("net", {"weights": "abc"}, lambda: os._exit(DIED))
    ready = folder.parent / "ready"
    ready.mkdir(parents=True, exist_ok=True)
    (ready / str(os.getpid())).touch()
    deadline = time.monotonic() + 120.0
    while len(list(ready.iterdir())) < processes:
        if time.monotonic() > deadline:
            raise TimeoutError("the other process did not start")
        time.sleep(0.01)
    engine = cache.fetch("net", {"weights": "abc"}, build)
    print(json.dumps({"engine": engine.decode(), "lines": lines}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
