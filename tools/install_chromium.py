"""Installs Debian's chromium for the tests of the console, where that is possible without asking.

    python3 tools/install_chromium.py

Only as root on a system with apt, as in a container. Elsewhere, and where it cannot be had, one
line says so; that is no error, and the tests that need a browser are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
COMMANDS = (
    ("apt-get", *PATIENCE, "update", "--quiet=2"),
    ("apt-get", *PATIENCE, "install", "--quiet=2", "--yes", "--no-install-recommends", "chromium"),
)
SKIPPED = "the console's tests in a browser will be skipped"


def obstacle() -> str:
    """Returns why chromium is not installed from here; empty: it can be tried."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get; install chromium yourself"
    if os.geteuid() != 0:
        return "it needs root: sudo apt-get install chromium"
    return ""


def install() -> str:
    """Installs, and returns '' or the last line of what apt said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in COMMANDS:
        result = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if result.returncode:
            lines = [line for line in result.stdout.splitlines() if line.strip()]
            return (lines or ["apt-get failed"])[-1]
    return ""


def main() -> int:
    """Installs chromium unless there is a browser already."""
    if any(shutil.which(program) for program in PROGRAMS):
        return 0
    problem = obstacle()
    if not problem:
        print("Installing chromium ...", flush=True)
        problem = install()
    if problem:
        print(f"chromium is not installed, {SKIPPED}: {problem}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
