"""Code in the documentation runs, and names what there is."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from rmpsam_ros.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FOLDERS = ("docs", "rmpsam_ros", "demo", "tests", "tools", "config", "requirements")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))),
]


def targets(page):
    """What the links and pictures of a page lead to inside the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target for target in found if "://" not in target]


def anchors(page):
    """The headings of a page as links name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(program):
    """Lines of shell blocks that begin with a program, as words; with an id for each."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith(f"{program} "):
                    words = shlex.split(line, comments=True)[len(program.split()) :]
                    found.append(pytest.param(words, id=f"{page.name}: {' '.join(words)}"))
    return found


def test_the_label_space_of_hydra(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "consumers.md").read_text(), re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    space = yaml.safe_load((tmp_path / "rmpsam_label_space.yaml").read_text())
    remap = yaml.safe_load((tmp_path / "rmpsam_label_remap.yaml").read_text())
    assert space["total_semantic_labels"] == len(space["label_names"]) == len(remap) == 36
    used = space["dynamic_labels"] + space["object_labels"] + space["surface_places_labels"]
    assert sorted(used) == list(range(36))
    assert {one["label"]: one["name"] for one in space["label_names"]}[0] == "person"
    assert 255 not in {one["sub_id"] for one in remap}


def test_the_pipeline_of_the_readme_has_weights(monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    result = SimpleNamespace(panoptic=SimpleNamespace(segments="segments"), tracks="tracks")
    configs = []

    def create(config):
        configs.append(config)
        return SimpleNamespace(process=lambda image, stamp: result)

    monkeypatch.setattr("rmpsam_ros.pipeline.create_pipeline", create)
    exec(code, {"image": None})
    assert [one.network.weights for one in configs] == ["demo"]
    assert capsys.readouterr().out == "segments tracks\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in targets(page):
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def named_in(page):
    """The paths of a page, and the names that are said to be in them."""
    folders = "rmpsam_ros|src|tests|tools|launch|msg|srv|action|config|docs|requirements|demo"
    pattern = rf"`((?:{folders})/[^`\s]*)`(?:: ((?:`[A-Za-z_.]+`(?:, )?)+))?"
    for path, names in re.findall(pattern, page.read_text()):
        yield path, re.findall(r"`([A-Za-z_.]+)`", names)


def defined_in(path):
    """The names of a module: functions, classes, their methods, constants."""
    for node in ast.parse(path.read_text()).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        yield from (target.id for target in targets if isinstance(target, ast.Name))
        yield getattr(node, "name", "")
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name"))


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_what_a_page_names_is_there(name):
    found = list(named_in(ROOT / name))
    assert len(found) > 20
    for path, names in found:
        assert list(ROOT.glob(path)), path
        if names:
            assert not set(names) - set(defined_in(ROOT / path)), path


def test_the_table_of_rooms_is_the_order_of_imports():
    text = (ROOT / "tests" / "test_imports.py").read_text()
    (rooms,) = re.findall(r"^ROOMS = \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    page = (DOCS / "architecture.md").read_text().split("## ")[1]
    table = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert table == re.findall(r'^ +"(\w+)"', rooms, re.MULTILINE)


def test_every_picture_is_shown():
    shown = {(page.parent / target).resolve() for page in PAGES for target in targets(page)}
    pictures = [path for path in (DOCS / "images").rglob("*") if path.is_file()]
    assert pictures and not [path.name for path in pictures if path not in shown]


@pytest.mark.parametrize("words", commands("rmpsam"))
def test_commands_take_what_is_written(words):
    build_parser().parse_args(words)


@pytest.mark.parametrize("words", commands("python"))
def test_tools_take_what_is_written(words):
    tool = (ROOT / words[0]).read_text()
    assert not [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in tool]


@pytest.mark.parametrize("words", commands("ros2 launch rmpsam_ros"))
def test_launch_files_take_what_is_written(words):
    declared = (ROOT / "launch" / words[0]).read_text()
    shared = (ROOT / "rmpsam_ros" / "launching.py").read_text()
    of_the_node = re.findall(r"^\w+_ARGUMENTS = \((.*?)\)", shared, re.MULTILINE | re.DOTALL)
    for argument in words[1:]:
        name, assignment, _ = argument.partition(":=")
        own = f'DeclareLaunchArgument(\n            "{name}"' in declared
        common = "*node_arguments()" in declared and f'"{name}"' in "".join(of_the_node)
        assert assignment and (own or common), argument


@pytest.mark.parametrize("words", commands("make"))
def test_make_knows_what_is_written(words):
    rules = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{word}:", rules, re.MULTILINE) for word in words)
