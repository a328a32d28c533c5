"""The processor of this machine: name, cores, instruction sets."""

import platform
from functools import lru_cache
from pathlib import Path

FAST_INT8 = frozenset({"avx512_vnni", "avx_vnni", "asimddp", "i8mm"})
"""Flags of processors whose instructions multiply eight-bit integers without saturating."""


@lru_cache(maxsize=1)
def cpu_info() -> tuple[str, frozenset[str]]:
    """Return the name of the processor and its flags; ("unknown", none) where Linux hides them."""
    fields = _fields(Path("/proc/cpuinfo"))
    name = fields.get("model name") or platform.processor() or platform.machine() or "unknown"
    flags = fields.get("flags", "") + " " + fields.get("Features", "")  # x86 and Arm
    return name, frozenset(flags.split())


def has_fast_int8() -> bool:
    """Tell whether eight-bit integers are faster than floats here, and computed exactly."""
    return bool(FAST_INT8 & cpu_info()[1])


def _fields(path: Path) -> dict[str, str]:
    """Return the fields of the first processor in a file like /proc/cpuinfo."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    fields: dict[str, str] = {}
    for key, colon, value in pairs:
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields
