"""What the STAC collection says of where a dataset lies."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from schemas.dataset import BandTable, DatasetDocument
from shards.stac_collection import EO, bbox_of, collection_of, interval_of
from tests.unit.shards import made_up

CUT = shapely.MultiPolygon([shapely.box(179.9, -17.0, 180.0, -16.9), shapely.box(-180.0, -17.0, -179.9, -16.9)])


@pytest.mark.parametrize(
    ("footprints", "expected"),
    [
        ([shapely.box(12.0, 47.0, 12.1, 47.1), shapely.box(19.0, -34.0, 19.1, -33.9)], (12.0, -34.0, 19.1, 47.1)),
        ([shapely.box(140.0, 35.0, 140.1, 35.1), shapely.box(-120.0, 37.0, -119.9, 37.1)], (-120.0, 35.0, 140.1, 37.1)),
        (
            [shapely.box(179.98, -17.0, 179.99, -16.9), shapely.box(-179.9, -17.0, -179.8, -16.9)],
            (179.98, -17.0, -179.8, -16.9),
        ),
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


def collection(*bands: BandTable) -> dict[str, Any]:
    """The collection of a dataset whose only layer holds these."""
    layer = made_up.LAYERS[0].model_copy(update={"bands": bands})
    document = DatasetDocument.model_construct(
        name="made-up", title="", version="v", code_version="0.1.0", modalities=(layer,), sources=made_up.SOURCES,
        shards=(), splits={"counts": {"train": 1}}, counts={"planned": 1}, zarr={},
    )  # fmt: skip
    rows = pa.table({"geometry": [shapely.to_wkb(shapely.box(12.0, 47.0, 12.1, 47.1))]})
    return collection_of(document, rows, "", has_report=False)


def test_the_extension_of_optical_bands_is_named_where_a_band_is_optical() -> None:
    optical = collection(BandTable(name="B04", common_name="red", centre_nm=664.6), BandTable(name="vv"))
    assert EO in optical["stac_extensions"]
    assert optical["summaries"]["bands"][0] == {
        "name": "B04",
        "eo:common_name": "red",
        "eo:center_wavelength": 0.6646,
    }
    radar = collection(BandTable(name="vv", polarisation="VV"))
    assert EO not in radar["stac_extensions"]  # its schema: at least one field of eo:


def test_a_common_name_that_stac_does_not_know_stays_out() -> None:
    own = collection(BandTable(name="T1", common_name="thermal", centre_nm=10900.0))
    assert own["item_assets"]["s2_10m"]["bands"] == [{"name": "T1", "eo:center_wavelength": 10.9}]


def test_the_interval_holds_all_that_a_composite_was_made_of() -> None:
    """Its own date is that of the middle acquisition."""
    document = DatasetDocument.model_construct(modalities=(made_up.LAYERS[0],))
    modality = made_up.LAYERS[0].modality
    middle, first, last = (datetime(2021, month, 1) for month in (8, 7, 12))
    rows = pa.table({f"{modality}.datetimes": [[middle, None]]})
    assert interval_of(rows, document) == ("2021-08-01T00:00:00.000000Z",) * 2
    for ending, when in (("first_datetimes", first), ("last_datetimes", last)):
        rows = rows.append_column(f"{modality}.{ending}", pa.array([[when, None]]))
    assert interval_of(rows, document) == ("2021-07-01T00:00:00.000000Z", "2021-12-01T00:00:00.000000Z")
