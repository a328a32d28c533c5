"""The table of C prototypes in Python is that of the sources: a mismatch would corrupt memory."""

import ctypes
import re
from pathlib import Path

import pytest

from rmpsam_ros import _native

SOURCES = sorted((Path(__file__).parents[2] / "src").glob("*.cpp"))
PROTOTYPE = re.compile(r"RMPSAM_API\s+(\w+)\s+(rmpsam_\w+)\s*\(([^)]*)\)\s*\{")
TYPES = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "int": ctypes.c_int,
    "double": ctypes.c_double,
}


def argument_type(argument):
    """The ctypes type of an argument like ``const float* scores``."""
    kind, star = re.fullmatch(r"(?:const )?(\w+)\s*(\*?)\s*\w+", argument.strip()).groups()
    return ctypes.c_void_p if star else TYPES[kind]


def prototypes():
    """Result and argument types of every exported function, by name."""
    found = {}
    for source in SOURCES:
        for result, name, arguments in PROTOTYPE.findall(source.read_text()):
            arguments = " ".join(arguments.split()).split(",")
            found[name] = TYPES[result], [argument_type(argument) for argument in arguments]
    return found


IN_C = prototypes()


def test_every_exported_function_was_found():
    exported = sum(source.read_text().count("RMPSAM_API ") for source in SOURCES)
    assert exported == len(IN_C) > 0


def test_the_same_functions():
    assert set(_native._SIGNATURES) == set(IN_C)


@pytest.mark.parametrize("name", IN_C)
def test_the_same_arguments(name):
    result, arguments = IN_C[name]
    assert _native._SIGNATURES[name] == arguments
    function = getattr(_native._library, name)
    assert (function.restype, list(function.argtypes)) == (result, arguments)
