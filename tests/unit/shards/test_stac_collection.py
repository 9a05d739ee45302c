"""What the STAC collection says of where a dataset lies."""

from __future__ import annotations

import pyarrow as pa
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from shards.stac_collection import bbox_of

CUT = shapely.MultiPolygon([shapely.box(179.9, -17.0, 180.0, -16.9), shapely.box(-180.0, -17.0, -179.9, -16.9)])


@pytest.mark.parametrize(
    ("footprints", "expected"),
    [
        ([shapely.box(12.0, 47.0, 12.1, 47.1), shapely.box(19.0, -34.0, 19.1, -33.9)], (12.0, -34.0, 19.1, 47.1)),
        ([shapely.box(140.0, 35.0, 140.1, 35.1), shapely.box(-120.0, 37.0, -119.9, 37.1)], (-120.0, 35.0, 140.1, 37.1)),
        ([CUT], (179.9, -17.0, -179.9, -16.9)),
        ([CUT, shapely.box(177.0, -18.0, 177.1, -17.9)], (177.0, -18.0, -179.9, -16.9)),
        ([shapely.box(-180.0, -90.0, 180.0, 90.0)], (-180.0, -90.0, 180.0, 90.0)),
    ],
)
def test_the_box_holds_all_footprints_and_little_more(
    footprints: list[BaseGeometry], expected: tuple[float, float, float, float]
) -> None:
    rows = pa.table({"geometry": [shapely.to_wkb(one) for one in footprints]})
    assert bbox_of(rows) == pytest.approx(expected)
