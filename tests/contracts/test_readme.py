from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import terraweft
from bench import tables
from schemas.recipe import Recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_recipe_of_the_readme_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    recipe = Recipe.model_validate(yaml.safe_load(block))
    assert recipe.name == "valley"


def test_python_of_the_readme_compiles() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "ARCHITECTURE.md",
    *(ROOT / "docs").rglob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link


def test_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert named <= targets | {"bench"}


def test_tables_of_the_benchmarks_are_those_of_their_results() -> None:
    page = tables.README.read_text(encoding="utf-8")
    assert page == tables.with_tables(page, tables.results()), "bench/results changed: run `python -m bench.tables`"


def test_what_pages_import_is_the_public_package() -> None:
    """ADR 1: other code imports `terraweft` alone; and what a page imports from there is there."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for module, names in re.findall(r"^\s+from (\w+)[\w.]* import ([\w, ]+)$", text, re.MULTILINE):
            found.setdefault(module, []).extend(name.strip() for name in names.split(","))
    assert not set(found) & {"captioners", "chips", "labelers", "reference", "reports", "schemas", "shards", "sources"}
    assert all(hasattr(terraweft, name) for name in found["terraweft"])
