"""Creates a virtual environment from pinned requirement files, or leaves it if it is up to date.

    python3 tools/make_env.py .venv-jazzy requirements/core.txt requirements/ros-jazzy.txt

A stamp inside the environment holds a hash of the files; while it matches, nothing is done.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

OLDEST = (3, 11)  # of the pinned packages; rmpsam_ros itself runs on 3.10 too
STAMP = ".requirements.sha256"
REPAIR = Path(__file__).with_name("repair_cmake_exports.py")


def fingerprint(requirements: list[Path]) -> str:
    """Returns a hash of all that decides what the environment contains: files and Python."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [*requirements, REPAIR]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(environment: Path, wanted: str) -> bool:
    """Tells whether `environment` exists and was finished with the fingerprint `wanted`."""
    stamp = environment / STAMP
    return (
        (environment / "bin" / "python").exists()
        and stamp.exists()
        and stamp.read_text().strip() == wanted
    )


def missing_tools() -> list[str]:
    """Returns a line for everything a fresh machine lacks for building; empty if all is there."""
    problems = []
    if sys.version_info < OLDEST:
        problems.append(f"Python {sys.version.split()[0]} is too old: 3.11 or newer is needed")
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        problems.append("Python cannot make environments: install python3-venv")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        problems.append(f"{header} is missing: install python3-dev")
    for program, package in (("cmake", "cmake"), ("c++", "g++")):
        if shutil.which(program) is None:
            problems.append(f"{program} is missing: install {package}")
    return problems


def make(environment: Path, requirements: list[Path]) -> None:
    """Creates or completes `environment`; raises CalledProcessError when a step fails."""
    python = environment / "bin" / "python"
    (environment / STAMP).unlink(missing_ok=True)
    clear = [] if python.exists() else ["--clear"]
    # Resolved: venv refuses a link to a folder.
    subprocess.run([sys.executable, "-m", "venv", *clear, str(environment.resolve())], check=True)
    # Isolated (-I): pip must not take packages on PYTHONPATH for installed ones.
    pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for number, path in enumerate(requirements, start=1):
        print(f"  installing {path} ({number} of {len(requirements)}) ...", flush=True)
        subprocess.run([*pip, "-r", str(path)], check=True)
    subprocess.run([str(python), "-I", str(REPAIR)], check=True)
    # colcon warns about an underlay without a set-up file of this name.
    (environment / "local_setup.sh").write_text("# nothing to set up: see tools/ros_env.sh\n")


def main() -> int:
    """Makes the environment named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("requirements", type=Path, nargs="+")
    arguments = parser.parse_args()
    environment, requirements = arguments.environment, arguments.requirements

    wanted = fingerprint(requirements)
    if is_current(environment, wanted):
        return 0
    problems = missing_tools()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    print(f"Making {environment} (a few minutes, mostly downloads) ...", flush=True)
    start = time.monotonic()
    try:
        make(environment, requirements)
    except subprocess.CalledProcessError as error:
        print(f"{environment} is incomplete: {error}; run again to go on", file=sys.stderr)
        return 1
    (environment / STAMP).write_text(wanted + "\n")
    print(f"{environment} is ready after {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
