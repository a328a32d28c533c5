"""Code that names a section of a reference document names one that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("rmpsam_ros", "tests", "tools", "src", "msg", "srv", "launch", "demo", "scripts")
SUFFIXES = {".py", ".cpp", ".hpp", ".h", ".msg", ".srv", ".sh"}
SOURCES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES and path != Path(__file__).resolve()
)

NUMBERS = r"\d+(?:\.\d+)*(?:(?:, | and |, and | to )\d+(?:\.\d+)*)*"
REFERENCE = re.compile(rf"(docs/reference/\w+\.md)(?:, sections? ({NUMBERS}))?")
BARE = re.compile(r"(?<!\.md, )(?<![Pp]aper )\b[Ss]ections? \d[\d.]*(?![\d.]| of the paper)")


def joined(text: str) -> str:
    """A text without the breaks, comment signs and indents of its lines."""
    return re.sub(r"\s*\n\s*(?:(?:#|//|\*) ?)?", " ", text)


def headings(document: Path) -> set[str]:
    """The numbers of a document's sections."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", document.read_text(), re.MULTILINE))


def faults(text: str) -> list[str]:
    """References of a source text that lead nowhere, or that do not say into what document."""
    found = [f"of what document: {match[0]}" for match in BARE.finditer(joined(text))]
    for match in REFERENCE.finditer(joined(text)):
        document, sections = ROOT / match[1], match[2]
        if not document.is_file():
            found.append(f"no such document: {match[0]}")
        elif sections is None:
            continue
        elif missing := set(re.findall(r"\d+(?:\.\d+)*", sections)) - headings(document):
            found.append(f"no such section: {match[0]} ({', '.join(sorted(missing))})")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reference_resolves(path):
    assert not faults(path.read_text())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("docs/reference/rmpsam.md, section 4, item 1", 0),
        ("docs/reference/rmpsam.md, sections 4 and 7.", 0),
        ("docs/reference/rmpsam.md,\n    # sections 4 to 7", 0),
        ("docs/reference/sam_family.md, section 5.1", 0),
        ("paper section 3.2; section 4 of the paper", 0),
        ("docs/reference/rmpsam.md, section 99", 1),
        ("docs/reference/rmpsam.md, sections 4 and 44", 1),
        ("docs/reference/sam_family.md, section 5.9", 1),
        ("docs/reference/nothing.md", 1),
        ("reference section 4", 1),
        ("as section\n    4 says", 1),
    ],
)
def test_a_wrong_reference_is_found(text, count):
    assert len(faults(text)) == count


def test_references_are_there_to_be_checked():
    found = [path for path in SOURCES if "docs/reference/" in path.read_text()]
    assert len(found) > 20
