"""docs/recipes.md and docs/published.md: what they show is a recipe, and no key is left untold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from schemas.model_profile import ModelProfile
from schemas.recipe import Recipe
from schemas.sensor import SensorProfile

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WHOLE: dict[str, Any] = yaml.safe_load(BLOCKS[0])
PUBLISHED = re.findall(r"```yaml\n(.*?)```", (DOCS / "published.md").read_text(encoding="utf-8"), re.DOTALL)
OTHERS = {
    "corine": {"kind": "corine", "href": "corine.tif"},
    "osm": {"kind": "osm", "href": "valley.osm.pbf"},
}
"""Sources that the page's targets speak of."""
LINKED = "".join((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("captions", "labels", "validation"))
"""Pages that the table of keys sends the reader to."""
TOLD = re.findall(r"`[^`\n]+`", PAGE + LINKED) + re.findall(r"```yaml.*?```", PAGE + LINKED, re.DOTALL)
ELSEWHERE = (SensorProfile, ModelProfile)
"""Tables of their own, whose fields are told by the shipped ones."""


def _parts() -> Iterator[dict[str, Any]]:
    """Every fragment of the page, as it would stand in a recipe."""
    for block in (*BLOCKS[1:], *PUBLISHED):
        lines = block.splitlines()
        if all(line.startswith("windows: ") for line in lines):
            for line in lines:
                yield {"time": {"start": "2021-01-01", "end": "2021-12-31", **yaml.safe_load(line)}}
            continue
        part = yaml.safe_load(block)
        if "labels" in part:
            labels = WHOLE["labels"] | part["labels"]
            part["labels"] = labels | {"sources": labels["sources"] | OTHERS}
        yield part


PARTS = [{}, *_parts()]


@pytest.mark.parametrize("number", range(len(PARTS)))
def test_what_the_page_shows_is_a_recipe(number: int) -> None:
    recipe = Recipe.model_validate(WHOLE | PARTS[number])
    assert Recipe.model_validate(recipe.model_dump(mode="json", by_alias=True)) == recipe
    assert recipe.tiny().name == "my-dataset"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _keys(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str]]:
    if model in seen or model in ELSEWHERE:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, field.alias or name
        for below in _models(field.annotation):
            yield from _keys(below, seen)


def test_every_key_of_a_recipe_is_told() -> None:
    keys = list(_keys(Recipe, set()))
    assert len(keys) > 150
    untold = [(model, key) for model, key in keys if not any(re.search(rf"\b{key}\b", words) for words in TOLD)]
    assert untold == []


def test_the_whole_recipe_can_read_what_its_catalog_names() -> None:
    """Planetary Computer's assets are refused without a signature: who copies the recipe gets only failed chips."""
    recipe = Recipe.model_validate(WHOLE)
    kinds = [[recipe.credentials[name].kind for name in catalog.credentials] for catalog in recipe.catalogs.values()]
    assert kinds == [["sas"]]
