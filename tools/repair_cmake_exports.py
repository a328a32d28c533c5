"""Makes the CMake files of ROS packages that were installed by pip usable on this machine.

Their ``*__rosidl_generator_pyExport.cmake`` files name the header folders of the machine that
built them (CPython's and NumPy's), and CMake stops at include folders that do not exist. This
points them at the headers of the environment at hand. Running it again changes nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
from pathlib import Path

INCLUDE_PROPERTY = re.compile(r'(INTERFACE_INCLUDE_DIRECTORIES ")([^"]*)(")')
PATTERN = "share/*/cmake/*__rosidl_generator_pyExport.cmake"


def local_folder(folder: str, python_include: str, numpy_include: str) -> str:
    """Returns the folder to use instead of `folder`: itself unless it is a missing header folder.

    Folders inside the exported package (``${_IMPORT_PREFIX}/...``) and folders that exist are
    kept. A missing folder that is neither CPython's nor NumPy's raises ValueError, because
    guessing would only move the failure into the compiler.
    """
    if folder.startswith("${") or Path(folder).is_dir():
        return folder
    if "numpy" in folder:
        return numpy_include
    if re.search(r"/include/python3(\.\d+)?$", folder):
        return python_include
    raise ValueError(
        f"include folder {folder!r} does not exist and is neither CPython's nor NumPy's; "
        "expected one ending in include/python3.X or inside numpy"
    )


def repair_text(text: str, python_include: str, numpy_include: str) -> str:
    """Returns the CMake export `text` with all include folders pointing to existing ones."""

    def replace(match: re.Match[str]) -> str:
        folders = [
            local_folder(folder, python_include, numpy_include) for folder in match[2].split(";")
        ]
        return match[1] + ";".join(folders) + match[3]

    return INCLUDE_PROPERTY.sub(replace, text)


def repair_prefix(prefix: Path, python_include: str, numpy_include: str) -> tuple[int, int]:
    """Repairs every export below `prefix`; returns how many there are and how many changed."""
    exports = sorted(prefix.glob(PATTERN))
    changed = 0
    for export in exports:
        text = export.read_text(encoding="utf-8")
        try:
            repaired = repair_text(text, python_include, numpy_include)
        except ValueError as error:
            raise ValueError(f"{export}: {error}") from error
        if repaired != text:
            export.write_text(repaired, encoding="utf-8")
            changed += 1
    return len(exports), changed


def main() -> int:
    """Repairs the environment whose Python runs this."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", type=Path, default=Path(sys.prefix))
    prefix = parser.parse_args().prefix
    import numpy  # only here: the functions above are used where NumPy may be absent

    try:
        total, changed = repair_prefix(prefix, sysconfig.get_path("include"), numpy.get_include())
    except (OSError, ValueError) as error:
        print(f"repair_cmake_exports: {error}", file=sys.stderr)
        return 1
    print(f"CMake exports in {prefix}: {total}, repaired now: {changed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
