"""Code in the documentation runs, and names what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_label_space_of_hydra(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "consumers.md").read_text(), re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    space = yaml.safe_load((tmp_path / "rmpsam_label_space.yaml").read_text())
    remap = yaml.safe_load((tmp_path / "rmpsam_label_remap.yaml").read_text())
    assert space["total_semantic_labels"] == len(space["label_names"]) == len(remap) == 133
    used = space["dynamic_labels"] + space["object_labels"] + space["surface_places_labels"]
    assert sorted(used) == list(range(133))
    assert 255 not in {one["sub_id"] for one in remap}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
