"""Text of other processes, made safe to be shown in logs and on /diagnostics.

Whoever may publish or call a service chooses frame ids, encodings, object ids and its own name. A
line break in one of them would forge a line of the log, an escape sequence would command the
terminal.
"""

from __future__ import annotations

MAX_LENGTH = 500  # characters of one text


def printable(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return a text in one line: what cannot be seen is escaped, and what is too long is cut."""
    shown = text[:max_length]
    if not shown.isprintable():
        shown = "".join(
            character
            if character.isprintable()
            else character.encode("unicode_escape", "backslashreplace").decode()
            for character in shown
        )
    return f"{shown} ... ({len(text)} characters)" if len(text) > max_length else shown


def quoted(lines: str) -> str:
    """Return several lines, each marked so that it cannot be taken for a line of the log."""
    return "\n".join(f"  | {printable(line)}" for line in lines.splitlines())
