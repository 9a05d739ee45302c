"""Dates of one place in an index, and a recipe over a few chips of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import shapely

from schemas.recipe import Recipe
from sources.stac_index_write import IndexWriter


def write_items(path: Path, count: int, bad: int = -1) -> None:
    """An index of so many dates of one place; one of them lacks the band."""
    writer = IndexWriter(path)
    writer.add(_items(count, bad))
    writer.close()


def _items(count: int, bad: int) -> list[dict[str, Any]]:
    place = shapely.box(11.9, 47.75, 12.1, 47.9)
    items = []
    for number in range(count):
        moment = datetime(2021, 1, 1, 10, tzinfo=UTC) + timedelta(hours=25 * number)
        lattice = {"proj:shape": [2000, 1800], "proj:transform": [10, 0, 716_000, 0, -10, 5_312_000], "gsd": 10}
        band = {"href": f"https://example.com/{number}.tif", "type": "image/tiff", "eo:bands": [{"name": "B02"}]}
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": f"i{number:04d}",
                "collection": "s2",
                "geometry": json.loads(shapely.to_geojson(place)),
                "bbox": list(place.bounds),
                "links": [],
                "properties": {
                    "datetime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "proj:epsg": 32632,
                    "s2:processing_baseline": "03.01",
                },
                "assets": {
                    "SCL": {**lattice, **band, "eo:bands": [{"name": "SCL"}]},
                    **({} if number == bad else {"B02": {**lattice, **band}}),
                },
            }
        )
    return items


def over(index: str) -> Recipe:
    """One band of the items of an index, over a few chips."""
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "many",
            "catalogs": {"c": {"kind": "stac-geoparquet", "href": index}},
            "regions": [{"name": "r", "bbox": [11.98, 47.80, 12.0, 47.82]}],
            "grid": {"chip_m": 480, "tile_chips": 2},
            "time": {"start": "2021-01-01", "end": "2021-12-31"},
            "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s2", "bands": ["B02"]}},
        }
    )
