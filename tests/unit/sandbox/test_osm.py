"""The extract is what a mapper would have drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import osmium
import pytest

from sandbox.osm import DROP_RATE, HOSTILE_NAMES


@pytest.fixture(scope="module")
def objects(files: Path) -> list[tuple[str, dict[str, str], int]]:
    path = str(files / "osm-extract" / "osm-north" / "north.osm.pbf")
    out = []
    for one in osmium.FileProcessor(path):
        kind = "r" if one.is_relation() else "w" if one.is_way() else "n"
        size = len(list(one.members)) if kind == "r" else len(one.nodes) if kind == "w" else 0  # type: ignore[union-attr]
        out.append((kind, dict(one.tags), size))
    return out


def test_extract_has_buildings_roads_water_and_land_use(objects: list[tuple[str, dict[str, str], int]]) -> None:
    keys = {key for _, tags, _ in objects for key in tags}
    assert {"building", "highway", "waterway", "natural", "landuse", "name"} <= keys


def test_extract_has_a_multipolygon_with_a_hole(objects: list[tuple[str, dict[str, str], int]]) -> None:
    assert any(kind == "r" and tags["type"] == "multipolygon" and size >= 2 for kind, tags, size in objects)


def test_extract_has_hostile_names_and_ways_that_are_no_areas(objects: list[tuple[str, dict[str, str], int]]) -> None:
    names = {tags.get("name") for _, tags, _ in objects}
    assert set(HOSTILE_NAMES) <= names
    assert any(tags.get("area") == "no" for _, tags, _ in objects)
    assert any(tags.get("junction") == "roundabout" for _, tags, _ in objects)


def test_drop_rate_is_kept_for_what_there_is_much_of(truth: dict[str, Any]) -> None:
    kinds = truth["osm"]["osm-north"]["kinds"]
    assert kinds["building"]["true"] > 200
    share = 1 - kinds["building"]["mapped"] / kinds["building"]["true"]
    assert share == pytest.approx(DROP_RATE["building"], abs=0.06)
