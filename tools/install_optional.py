"""Installs packages into an environment that some tests are skipped without.

    python3 tools/install_optional.py .venv-jazzy requirements/test-runtime.txt

What cannot be installed (no network, no package for this machine) is said in one line, and is no
error. A stamp inside the environment holds a hash of the file; while it matches, nothing is done.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from make_env import fingerprint

PATIENCE = ("--retries", "1", "--timeout", "20")  # seconds per connection


def install(environment: Path, requirements: Path) -> str:
    """Installs, and returns '' or the last line of what pip said."""
    python = str(environment / "bin" / "python")
    command = [python, "-I", "-m", "pip", "install", "--quiet", *PATIENCE, "-r", str(requirements)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    return "" if result.returncode == 0 else (lines or ["pip failed"])[-1]


def main() -> int:
    """Installs what the command line names, if it is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("requirements", type=Path)
    arguments = parser.parse_args()
    environment, requirements = arguments.environment, arguments.requirements

    stamp = environment / f".{requirements.stem}.sha256"
    wanted = fingerprint([requirements])
    if stamp.exists() and stamp.read_text().strip() == wanted:
        return 0
    print(f"Installing {requirements} ...", flush=True)
    if problem := install(environment, requirements):
        print(f"{requirements} is not installed, its tests will be skipped: {problem}")
        return 0
    stamp.write_text(wanted + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
