"""Parameter files that are missing, broken, or for another node."""

import pytest

from rmpsam_ros.node.parameters.files import check_files, parameter_files
from rmpsam_ros.node.parameters.parameter import ParameterError

INSIDE = "ros__parameters:\n    weights: random\n"


def args(*paths):
    flags = [word for path in paths for word in ("--params-file", str(path))]
    return ["--ros-args", "-r", "__node:=rmpsam", *flags]


@pytest.mark.parametrize(
    ("section", "node", "used"),
    [
        ("/**", "/rmpsam", True),
        ("/**", "/robot/rmpsam", True),
        ("rmpsam", "/rmpsam", True),
        ("/rmpsam", "/rmpsam", True),
        ("/*", "/rmpsam", True),
        ("/*", "/robot/rmpsam", False),
        ("/robot/rmpsam", "/robot/rmpsam", True),
        ("/*/rmpsam", "/robot/rmpsam", True),
        ("/**/rmpsam", "/robot/arm/rmpsam", True),
        ("rmpsam_node", "/rmpsam", False),
        ("rmpsam", "/robot/rmpsam", False),
    ],
)
def test_a_file_for_another_node_is_said(section, node, used, tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(f"{section}:\n  {INSIDE}")
    lines = check_files(args(path), node)
    assert bool(lines) is not used
    if lines:
        assert "is not used" in lines[0] and node in lines[0] and "'/**:'" in lines[0]


def test_sections_in_a_namespace_are_found(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(f"robot:\n  rmpsam:\n    {INSIDE.replace('    ', '      ')}")
    assert check_files(args(path), "/robot/rmpsam") == []
    assert "/robot/rmpsam" in check_files(args(path), "/other")[0]


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "/**:\n"])
def test_an_empty_file_is_no_matter(content, tmp_path):
    (tmp_path / "some.yaml").write_text(content)
    assert check_files(args(tmp_path / "some.yaml"), "/rmpsam") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        ("a: [1", "cannot be read"),
        ("just text", "holds a str; expected"),
        ("[" * 10_000, "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_one_line(content, reason, tmp_path):
    path = tmp_path / "some.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ParameterError, match=reason) as error:
        check_files(args(path), "/rmpsam")
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_files_are_those_behind_their_flag():
    assert [str(path) for path in parameter_files(args("a.yaml", "b.yaml"))] == [
        "a.yaml",
        "b.yaml",
    ]
    assert parameter_files(["--params-file"]) == []
