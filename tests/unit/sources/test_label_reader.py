"""Label products of a tile: what lies beyond a chip's edge reaches into it, whichever chip it is read for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import pytest

from labelers.osm import PLAUSIBLE_WIDTH_M, OsmLabeler, tags_wanted
from schemas.chip import ChipSpec, Tile
from schemas.labels import FeatureTable
from schemas.recipe import Labels
from sources.label_reader import REACH_M, LabelReader
from sources.openers import PlainOpener
from tests.unit.sources.scenes_made_up import LEFT, TOP, chip, recipe

TO_LONLAT = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)


def write_road(path: Path, x: float, **tags: str) -> None:
    """A road from north to south, through all chips' rows."""
    places = [TO_LONLAT.transform(LEFT + x, TOP - y) for y in (-50.0, 200.0)]
    nodes = "".join(f'<node id="{i}" version="1" lat="{y:.9f}" lon="{x:.9f}"/>' for i, (x, y) in enumerate(places, 1))
    kvs = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in tags.items())
    way = f'<way id="1" version="1"><nd ref="1"/><nd ref="2"/>{kvs}</way>'
    path.write_text(f'<?xml version="1.0"?><osm version="0.6">{nodes}{way}</osm>')


def read(path: Path, *chips: ChipSpec) -> list[FeatureTable]:
    """Features of each chip, from an extract."""
    labels = Labels.model_validate({"sources": {"osm": {"kind": "osm", "href": str(path)}}})
    rules = recipe().model_copy(update={"labels": labels})
    reader = LabelReader(rules, PlainOpener(allow_local=True), path.parent, {}, tags_wanted())
    found = reader.read(Tile("t", 32632, chips, {}), chips)
    return [features for _, features in found.values() if features is not None]


def test_a_road_beyond_the_edge_is_painted_as_far_as_it_reaches_in(tmp_path: Path) -> None:
    write_road(tmp_path / "roads.osm", 125.0, highway="motorway")  # 24 m wide, its middle 5 m beyond the first chip
    chips = (chip("a"), chip("b", LEFT + 120.0))
    tables = read(tmp_path / "roads.osm", *chips)
    painted = [OsmLabeler().label(table, spec.georef(10.0)).classes for table, spec in zip(tables, chips, strict=True)]
    assert np.flatnonzero(np.hstack(painted)[0]).tolist() == [11, 12, 13]


@pytest.mark.parametrize("held_whole", [True, False])
def test_an_extract_that_was_written_again_is_read_again(
    tmp_path: Path, held_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.label_reader.SMALL_EXTRACT", 1_000_000 if held_whole else 0)
    for road in ("primary", "secondary"):
        write_road(tmp_path / "roads.osm", 60.0, highway=road)
        (table,) = read(tmp_path / "roads.osm", chip())
        assert [feature.tags["highway"] for feature in table.features] == [road]


def test_the_reach_is_half_of_the_widest_line() -> None:
    assert PLAUSIBLE_WIDTH_M[1] / 2 == REACH_M
