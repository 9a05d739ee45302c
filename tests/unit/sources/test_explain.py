"""What is said of items whose layouts stand in no sample: other providers, other versions, broken fields."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from schemas.errors import UnsupportedItemError
from sources.explain import explain_item

TIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
PLACE = {"proj:shape": [100, 80], "proj:transform": [30, 0, 500000, 0, -30, 5000000]}


def item(item_id: str, assets: dict[str, Any], collection: str = "mirror", **properties: Any) -> dict[str, Any]:
    """An item of a provider that nobody knows, over the north-west of Italy."""
    named = {name.replace("__", ":"): value for name, value in properties.items()}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "collection": collection,
        "geometry": None,
        "bbox": [9.0, 45.125, 9.03, 45.152],
        "properties": {"datetime": "2022-06-01T10:00:00Z", "proj:epsg": 32632} | named,
        "assets": {
            key: {"type": TIFF, "href": f"https://x.example.org/{key}.tif", **PLACE} | a for key, a in assets.items()
        },
        "links": [],
    }


def files(*names: str) -> dict[str, Any]:
    return {name: {"href": f"https://x.example.org/{name}.tif"} for name in names}


S2 = "S2B_MSIL2A_20220601T101559_N0400_R065_T32TMR_20220601T130000"
CASES: dict[str, tuple[dict[str, Any], str | None, str, str, set[str]]] = {
    # name: item, sensor, verdict, mask, keys of the assets that hold bands
    "copy of sentinel-2 under unknown names": (
        item(S2, {"B02_10m": {}, "B8A_20m": {}, "AOT_10m": {}, "TCI_10m": {}, "SCL_20m": {}}),
        "sentinel-2-l2a", "use", "scl", {"B02_10m", "B8A_20m"},
    ),
    "sentinel-2 at top of atmosphere": (
        item(S2.replace("L2A", "L1C"), {"B10": {}, "B02": {}}), "sentinel-2-l1c", "use", "none", {"B10", "B02"},
    ),
    "sentinel-2 as zarr": (
        item(S2, {"SR_10m": {"type": "application/vnd+zarr"}}), "sentinel-2-l2a", "refuse", "none", set(),
    ),
    "sentinel-2 quarterly mosaic": (
        item("Sentinel-2_mosaic_2022_Q3_31TCJ_0_0", {"B02": {}}, "sentinel-2-global-mosaics"),
        None, "refuse", "none", set(),
    ),
    "landsat 5 by its file names": (
        item("LT05_L2SP_193029_20100601_20200823_02_T1", files("SR_B1", "SR_B4", "SR_B7", "ST_B6", "QA_PIXEL")),
        "landsat-c2-l2-sr", "use", "qa_pixel_c2", {"SR_B1", "SR_B4", "SR_B7", "ST_B6"},
    ),
    "landsat 9 temperature alone": (
        item("LC09_L2SP_193029_20220601_20220603_02_T1_ST", {"lwir11": {}, "qa_pixel": {}, "emis": {}}, "c2l2-st"),
        "landsat-c2-l2-st", "use", "qa_pixel_c2", {"lwir11"},
    ),
    "landsat collection 1 reflectance": (
        item("LC08_L1TP_193029_20170601_20170615_01_T1", files("sr_band4", "sr_band5", "pixel_qa"), "espa-sr"),
        "landsat-c1", "use", "pixel_qa_c1", {"sr_band4", "sr_band5"},
    ),
    "landsat collection 1 level 1": (
        item("LC08_L1TP_193029_20170601_20170615_01_T1", {"B4": {}, "BQA": {}}, "landsat-8-l1-c1"),
        "landsat-c1", "refuse", "none", set(),
    ),
    "landsat of another producer": (
        item("ga_ls8c_ard_3-1-0_088080", {"nbart_red": {}, "oa_fmask": {}}, "ga_ls8c_ard_3", platform="landsat-8"),
        None, "refuse", "none", set(),
    ),
    "hls s30": (
        item("HLS.S30.T32TMR.2022152T101559.v2.0", {"B05": {}, "B8A": {}, "Fmask": {}, "SZA": {}}, "hls2-s30"),
        "hls", "use", "fmask_hls", {"B05", "B8A"},
    ),
    "sentinel-1 ground range with keys in capitals": (
        item(
            "S1A_IW_GRDH_1SDV_20220601T171500_20220601T171525_043466_053084",
            files("VV", "VH", "schema-product-vv", "schema-calibration-vv"),
        ),
        "sentinel-1-grd", "refuse", "none", {"VV", "VH"},
    ),
    "opera rtc": (
        item("OPERA_L2_RTC-S1_T064-135518-IW1_20220601T171500Z_S1A_30_v1.0", {"VV": {}, "mask": {}}, "OPERA_RTC"),
        "sentinel-1-rtc", "use", "none", {"VV"},
    ),
    "modis": (
        item("MOD09A1.A2022153.h18v04.061", {"sur_refl_b01": {}}, "modis-09A1-061", platform="terra"),
        None, "refuse", "none", set(),
    ),
    "aerial photographs": (item("ia_m_4209301", {"image": {}}, "naip"), None, "refuse", "none", set()),
    "alos elevation": (item("N045E009", {"data": {}}, "alos-dem"), "dem", "use", "none", {"data"}),
    "dynamic world": (
        item("20220601T101559_T32TMR", {"label": {}}, "dynamic-world"), "landcover", "use", "none", {"label"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_items_of_providers_that_nobody_listed(name: str) -> None:
    document, sensor, verdict, mask, keys = CASES[name]
    told = explain_item(document).to_json()
    assert (told["sensor"], told["verdict"], told["mask"]["kind"]) == (sensor, verdict, mask), told["why"]
    assert set(told["assets"]) == keys
    assert told["why"]


def test_the_band_behind_a_number_hangs_on_the_instrument() -> None:
    names = {}
    for product in ("LT05", "LC08"):
        document = item(f"{product}_L2SP_193029_20100601_20200823_02_T1", files("SR_B4", "QA_PIXEL"))
        names[product] = explain_item(document).assets["SR_B4"].common_name
    assert names == {"LT05": "nir08", "LC08": "red"}
    edge = {}
    for product in ("L30", "S30"):
        edge[product] = (
            explain_item(item(f"HLS.{product}.T32TMR.2022152T101559.v2.0", {"B05": {}})).assets["B05"].common_name
        )
    assert edge == {"L30": "nir08", "S30": "rededge071"}


def test_twins_of_one_band_have_their_own_offsets() -> None:
    twins = {"blue": {}, "blue-jp2": {"type": "image/jp2", "href": "s3://x/B02.jp2"}, "scl": {}}
    told = explain_item(item(S2, twins, earthsearch__boa_offset_applied=True)).to_json()
    assert {key: meaning["offset"] for key, meaning in told["assets"].items()} == {"blue": 0, "blue-jp2": -0.1}
    assert told["processing_baseline"] == "04.00"


def test_what_cannot_be_decided_is_refused_and_not_guessed() -> None:
    told = explain_item(item(S2, {"blue": {}, "scl": {}}, earthsearch__boa_offset_applied=False)).to_json()
    assert (told["verdict"], told["assets"]["blue"]["offset"]) == ("refuse", None)
    assert any("metadata cannot tell" in line for line in told["why"])


def test_bands_of_stac_1_1_and_of_stac_0_7_are_the_same() -> None:
    new = item(
        "LC08_L2SP_193029_20200601_20200823_02_T1", {"x": {"bands": [{"name": "B5", "eo:common_name": "nir08"}]}}
    )
    old = item("LC08_L2SP_193029_20200601_20200823_02_T1", {"x": {"eo:bands": [1]}})
    old["stac_version"] = "0.7.0"
    old["properties"]["eo:bands"] = [{"name": "SR_B4", "common_name": "red"}, {"name": "SR_B5", "common_name": "nir08"}]
    assert explain_item(new).assets == explain_item(old).assets
    assert explain_item(new).assets["x"].common_name == "nir08"


def test_a_crs_as_text_or_projjson_is_read() -> None:
    for key, value in (("proj:wkt2", CRS(32632).to_wkt()), ("proj:projjson", CRS(32632).to_json_dict())):
        document = item(S2, {"B02": {}}, **{"proj:epsg": None, key: value})
        assert explain_item(document).epsg == 32632


def test_a_document_without_any_time_is_no_item() -> None:
    document = item(S2, {"B02": {}}, datetime=None)
    with pytest.raises(UnsupportedItemError, match="no datetime"):
        explain_item(document)


VALUES = st.sampled_from(
    [None, "", [], {}, 0, -1, "x", "12.5", 1e300, True, [1, 2], {"a": 1}, "2020-13-45", "EPSG:99999"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_broken_field_ends_in_anything_but_an_answer_or_a_stated_refusal(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CASES)))
    document = copy.deepcopy(CASES[name][0])
    document["assets"]["B02"] = {"eo:bands": [{"name": "B02", "center_wavelength": 0.49}], "roles": ["data"], **PLACE}
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        key = data.draw(st.sampled_from(["bbox", "geometry", "properties", "assets"]))
        while isinstance(place[key], dict) and place[key] and data.draw(st.integers(0, 3)):
            place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
        if place is not document or key in ("bbox", "geometry"):
            place[key] = copy.deepcopy(data.draw(VALUES))
    with contextlib.suppress(UnsupportedItemError):
        told = explain_item(document).to_json()
        assert json.loads(json.dumps(told))["verdict"] in ("use", "refuse")
