"""Text of peers cannot forge a log line, command a terminal or fill a disk."""

import pytest

from rmpsam_ros.node.printable import MAX_LENGTH, printable, quoted

FORGED = "x\n[ERROR] [1.0] [rmpsam]: forged line"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ü 中 😀, with spaces", "ü 中 😀, with spaces"),
        ("", ""),
        (FORGED, "x\\n[ERROR] [1.0] [rmpsam]: forged line"),
        ("\x1b[31mred\r", "\\x1b[31mred\\r"),
        ("\u202eturned round", "\\u202eturned round"),
        ("\ud800 half of a character", "\\ud800 half of a character"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert printable(text) == shown


def test_long_text_is_cut_and_says_so():
    shown = printable("a" * 10_000)
    assert shown == "a" * MAX_LENGTH + " ... (10000 characters)"
    assert printable("a" * MAX_LENGTH) == "a" * MAX_LENGTH


def test_lines_of_a_traceback_are_marked():
    assert quoted(f"Traceback:\n  File\n{FORGED}").splitlines() == [
        "  | Traceback:",
        "  |   File",
        "  | x",
        "  | [ERROR] [1.0] [rmpsam]: forged line",
    ]
