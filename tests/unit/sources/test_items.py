"""Items of all dialects read alike, and their hash says what they hold and not where they lie."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import AssetMissingError, UnsupportedItemError
from schemas.sensor import Band, load_sensor
from sources.assets import REFUSED_KEY, asset_bands, asset_georef, find_band
from sources.items import (
    absolute_href,
    begin_of,
    content_hash,
    item_geometry,
    item_times,
    matches,
    normalise_item,
    parse_time,
)

UTM33 = {"proj:code": "EPSG:32633", "proj:shape": [100, 80], "proj:transform": [30, 0, 500_015, 0, -30, 5_000_025]}


def raw_item(**changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "scene",
        "collection": "c",
        "bbox": [15.0, 45.13, 15.03, 45.15],
        "geometry": None,
        "properties": {
            "datetime": "2021-06-01T10:00:00Z",
            "eo:cloud_cover": "12.5",
            "sat:relative_orbit": "0065",
            "sat:orbit_state": "DESCENDING",
            "landsat:wrs_row": "033",
            "proj:epsg": None,
            "created": "2024-01-01T00:00:00Z",
        },
        "assets": {"B02": {"href": "../data/scene/B02.tif", "roles": ["data"], "file:size": 10, **UTM33}},
        "links": [{"rel": "self", "href": "x"}],
    }
    return item | changes


def test_numbers_written_as_text_become_numbers_and_ids_stay() -> None:
    properties = normalise_item(raw_item())["properties"]
    assert (properties["eo:cloud_cover"], properties["sat:relative_orbit"]) == (12.5, 65)
    assert properties["landsat:wrs_row"] == "033"
    assert properties["sat:orbit_state"] == "descending"


def test_the_asset_carries_its_own_projection_and_wins_over_the_item() -> None:
    item = raw_item()
    item["properties"] |= {"proj:epsg": 32632, "proj:transform": [10, 0, 0, 0, -10, 0, 0, 0, 1], "proj:shape": [1, 1]}
    item["assets"]["other"] = {"href": "o.tif"}
    clean = normalise_item(item)["assets"]
    assert (clean["B02"]["proj:epsg"], clean["B02"]["proj:transform"][2]) == (32633, 500_015.0)
    assert (clean["other"]["proj:epsg"], clean["other"]["proj:transform"]) == (32632, [10, 0, 0, 0, -10, 0])


def test_the_original_is_left_alone() -> None:
    item = raw_item()
    before = copy.deepcopy(item)
    normalise_item(item, "/a/b/items/scene.json")
    assert item == before


@pytest.mark.parametrize(
    ("href", "base", "absolute"),
    [
        ("../data/a.tif", "/root/c/items/x.json", "/root/c/data/a.tif"),
        ("./a.tif", "http://h/c/x.json", "http://h/c/a.tif"),
        ("/data/a.tif", "http://h/c/x.json", "http://h/data/a.tif"),
        ("s3://bucket/a.tif", "/root/x.json", "s3://bucket/a.tif"),
        ("a.tif", "folder/x.json", "folder/a.tif"),
        ("http://h/a.tif", "", "http://h/a.tif"),
    ],
)
def test_relative_addresses_are_resolved_against_their_document(href: str, base: str, absolute: str) -> None:
    assert absolute_href(href, base) == absolute


def test_a_moved_catalog_has_the_same_hash_and_changed_content_another() -> None:
    here = normalise_item(raw_item(), "/home/someone/catalog/c/items/scene.json")
    there = normalise_item(raw_item(), "http://127.0.0.1:8081/x/c/items/scene.json")
    assert content_hash(here) == content_hash(there)
    stamped = raw_item()
    stamped["properties"] |= {"created": "2025-01-01T00:00:00Z", "updated": "2025-01-01T00:00:00Z"}
    stamped["properties"]["datetime"] = "2021-06-01T12:00:00+02:00"
    assert content_hash(normalise_item(stamped)) == content_hash(here)
    changed = raw_item()
    changed["assets"]["B02"]["file:size"] = 11
    assert content_hash(normalise_item(changed)) != content_hash(here)


def test_a_refused_address_does_not_change_the_hash() -> None:
    item = normalise_item(raw_item())
    before = content_hash(item)
    item["assets"]["B02"][REFUSED_KEY] = "why"
    assert content_hash(item) == before


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_whole_number_is_the_same_with_and_without_its_point(value: float) -> None:
    whole = float(round(value)) if abs(value) < 1e15 else 0.0
    one, other = raw_item(), raw_item()
    one["properties"]["x"], other["properties"]["x"] = whole, int(whole)
    assert content_hash(one) == content_hash(other)


def test_ranges_have_a_begin_and_an_end() -> None:
    item = raw_item()
    item["properties"] = {
        "datetime": None,
        "start_datetime": "2020-01-01T00:00:00Z",
        "end_datetime": "2020-12-31 23:59:59+00:00",
    }
    assert item_times(item) == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert begin_of(item) == item_times(item)[0]
    item["properties"] = {"datetime": "2020-07-01T00:00:00Z", "start_datetime": "in spring"}
    assert begin_of(item) is None
    item["properties"] = {"datetime": None}
    assert begin_of(item) is None
    with pytest.raises(UnsupportedItemError, match="no datetime"):
        item_times(item)


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_time("2020-01-01T00:00:00") == datetime(2020, 1, 1, tzinfo=UTC)
    assert parse_time("2020-01-01t00:00:00z") == datetime(2020, 1, 1, tzinfo=UTC), "as RFC 3339 allows"


def test_without_a_geometry_the_box_is_the_footprint() -> None:
    assert item_geometry(raw_item()).bounds == (15.0, 45.13, 15.03, 45.15)
    with pytest.raises(UnsupportedItemError, match="no geometry and no bbox"):
        item_geometry(raw_item(bbox=None))


def test_equality_of_properties_is_lenient_about_case_and_number_text_only() -> None:
    item = normalise_item(raw_item())
    assert matches(item, {"sat:orbit_state": "Descending", "sat:relative_orbit": 65})
    assert not matches(item, {"sat:orbit_state": "ascending"})
    assert not matches(item, {"absent": "x"})


def test_a_band_of_another_wavelength_is_no_match() -> None:
    item = normalise_item(raw_item())
    item["assets"] = {
        "nir": {"href": "a", "eo:bands": [{"name": "B05", "common_name": "nir", "center_wavelength": 0.705}]}
    }
    with pytest.raises(AssetMissingError, match="B08; it has nir"):
        find_band(item, load_sensor("sentinel-2-l2a").band("B08"))


def test_a_band_inside_a_file_of_many_is_found_by_name_and_pictures_are_not_data() -> None:
    item = normalise_item(raw_item())
    rows = [{"name": n, "data_type": "int16"} for n in ("B03", "B02", "B04")]
    item["assets"] = {
        "visual": {"href": "v", "roles": ["visual"], "bands": rows},
        "image": {"href": "i", "roles": ["data"], "bands": rows, "raster:bands": [{"nodata": -1}] * 3},
    }
    found = find_band(item, Band(name="B02", common_name="blue", gsd_m=10))
    assert (found.asset_key, found.index, found.dtype, found.nodata) == ("image", 2, "int16", -1)


def test_a_file_of_one_band_may_say_with_the_asset_which_it_is() -> None:
    """STAC 1.1 puts what would stand in a list of one band with the asset."""
    item = normalise_item(raw_item())
    said = {"eo:common_name": "nir", "eo:center_wavelength": 0.8328, "data_type": "uint16", "nodata": 0}
    item["assets"] = {
        "layer-1": {"href": "a.tif", "type": "image/tiff", "eo:common_name": "red", "eo:center_wavelength": 0.6646},
        "layer-2": {"href": "b.tif", "type": "image/tiff", **said},
        "both": {"href": "c.tif", "type": "image/tiff", "eo:common_name": "nir", "bands": [{}, {}]},
    }
    found = find_band(item, load_sensor("sentinel-2-l2a").band("B08"))
    assert (found.asset_key, found.centre_nm, found.dtype, found.nodata) == ("layer-2", 832.8, "uint16", 0)
    item["assets"]["B08"] = item["assets"].pop("layer-1")  # a key that its own wavelength contradicts
    assert find_band(item, load_sensor("sentinel-2-l2a").band("B08")).asset_key == "layer-2"


def test_micrometres_and_nanometres_are_told_apart() -> None:
    for value in (0.6646, 664.6):
        asset = {"eo:bands": [{"name": 4, "center_wavelength": value, "full_width_half_max": value / 20}]}
        (band,) = asset_bands("x", asset)
        assert (band.centre_nm, band.fwhm_nm) == (664.6, pytest.approx(33.23))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proj:epsg": None, "proj:code": None, "proj:transform": [30, 0, 0, 0, -30, 0]}, "no proj:code"),
        ({"proj:transform": None}, "no proj:transform"),
        ({"proj:transform": [30, 1, 0, 0, -30, 0]}, "rotated"),
        ({"proj:transform": [30, 0, 0, 0, -20, 0]}, "not square"),
        ({"proj:epsg": 32620}, "away from the footprint"),
    ],
)
def test_a_lattice_that_cannot_be_believed_is_refused(change: dict[str, Any], words: str) -> None:
    item = normalise_item(raw_item())
    item["assets"]["B02"] |= change
    with pytest.raises(UnsupportedItemError, match=words):
        asset_georef(item, "B02")


def test_a_crs_that_is_not_stated_is_the_zone_in_which_the_raster_lies_on_the_footprint() -> None:
    item = normalise_item(raw_item())
    stated = asset_georef(item, "B02")
    item["assets"]["B02"] |= {"proj:epsg": None, "proj:code": None}
    assert asset_georef(item, "B02") == stated


def test_a_transform_that_is_not_stated_follows_from_box_and_shape() -> None:
    item = normalise_item(raw_item())
    stated = asset_georef(item, "B02")
    item["assets"]["B02"] |= {"proj:transform": None, "proj:bbox": list(stated.bounds_xyxy)}
    assert asset_georef(item, "B02") == stated


def test_a_lattice_is_read_with_edges_and_square_pixels() -> None:
    georef = asset_georef(normalise_item(raw_item()), "B02")
    assert (georef.x0, georef.y0, georef.pixel_size, georef.shape_yx) == (500_015.0, 5_000_025.0, 30.0, (100, 80))


def test_landsat_in_northern_numbers_south_of_the_equator_is_believed() -> None:
    item = normalise_item(raw_item(bbox=[11.976, -33.51, 12.0, -33.49]))
    item["assets"]["B02"] |= {"proj:epsg": 32633, "proj:transform": [30, 0, 219_015, 0, -30, -3_709_485]}
    assert asset_georef(item, "B02").epsg == 32633
