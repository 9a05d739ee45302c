"""What a plan says it will store: windows, composites, labels and documents are counted, not dates alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely

from chips.estimate import Touched, estimate
from chips.plan import plan_layers
from schemas.chip import ChipSpec
from schemas.georef import GeoRef
from schemas.recipe import Recipe
from schemas.scene import SceneItem, SceneRef

PIXELS = 12 * 12
HERE = bytes(shapely.to_wkb(shapely.box(11.95, 47.80, 12.05, 47.85)))


def _disk(offered: int, time: dict[str, Any] | None = None, **changes: Any) -> int:
    """Bytes of one chip of 12 by 12 pixels over which so many items of one band lie."""
    modality = {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s", **changes.pop("modality", {})}
    recipe = Recipe.model_validate(
        {
            "format": 1,
            "name": "x",
            "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
            "regions": [{"name": "north", "bbox": [11.95, 47.80, 12.05, 47.85]}],
            "grid": {"chip_m": 120},
            "time": {"start": "2021-01-01", "end": "2021-12-31", **(time or {})},
            "modalities": {"s2": modality},
            "write": {"kinds": ["webdataset"]},
            **changes,
        }
    )
    noon = datetime(2021, 6, 1, tzinfo=UTC)
    ref = SceneRef("i", "B02", "a.tif", "B02", 1, GeoRef(32632, 600_000.0, 5_300_040.0, 10.0, (99, 98)), "uint16", 0)
    item = SceneItem("c", "s", "i", "s2", "sentinel-2-l2a", noon, None, HERE, (ref,))
    spec = ChipSpec(
        "a", 32632, (600_000.0, 5_299_920.0, 600_120.0, 5_300_040.0), "r", "train", "b", noon, noon, noon, HERE
    )
    pairs = Touched(np.zeros(offered, np.int64), np.ones(offered, np.int64), offered)
    layers = plan_layers(recipe, {"s2": item})
    return estimate(recipe, layers, np.ones(1, np.int64), {"s2": pairs}, {"s2": item}, [spec]).disk_bytes


def _more(than: int, of: int) -> float:
    """How many dates of two bytes and one of validity the difference is."""
    return (of - than) / (PIXELS * 3)


def test_dates_are_counted_in_each_window() -> None:
    quarters = {"windows": {"kind": "seasons", "calendar": "quarters"}}
    few = {"modality": {"select": {"max_dates": 2}}}
    assert _more(_disk(50, **few), _disk(50, quarters, **few)) == 8 - 2
    assert _more(_disk(3, **few), _disk(50, quarters, **few)) == 8 - 2
    assert _more(_disk(1, **few), _disk(5, quarters, **few)) == 5 - 1


def test_missing_steps_are_stored_too() -> None:
    filled = {"modality": {"select": {"max_dates": 4, "keep_missing": True}}}
    assert _more(_disk(4), _disk(1, **filled)) == 0


def test_a_composite_is_one_date_with_its_count() -> None:
    one = {"modality": {"select": {"max_dates": 1}}}
    composite = {"modality": {"select": {"max_dates": 9}, "composite": {"how": "median"}}}
    assert PIXELS < _disk(9, **composite) - _disk(9, **one) < 10 * PIXELS


@pytest.mark.parametrize(
    ("labels", "arrays"),
    [
        ({"sources": {"w": {"kind": "worldcover", "href": "a.tif"}}}, 1),
        ({"sources": {"c": {"kind": "corine", "href": "a.tif"}}}, 2),
        ({"sources": {"w": {"kind": "worldcover", "href": "a.tif"}}, "fuse": {}}, 3),
        (
            {
                "sources": {"w": {"kind": "worldcover", "href": "a.tif"}},
                "targets": {"shares": {"kind": "fractions", "of": "w", "cell_m": 20}},
            },
            1 + 11 * 4 / 4,
        ),
    ],
)
def test_labels_and_targets_are_counted(labels: dict[str, Any], arrays: float) -> None:
    assert 0 <= _disk(1, labels=labels) - _disk(1) - arrays * PIXELS < 4 * 1024


def test_texts_are_counted() -> None:
    labels = {"sources": {"w": {"kind": "worldcover", "href": "a.tif"}}}
    told = {"labels": labels, "captions": {"kinds": ["short", "qa"]}}
    assert _disk(1, **told) > _disk(1, labels=labels) + 2_000
