"""One product in the many ways in which catalogs write it: the same answer, or a stated refusal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from sources.explain import explain_item
from tests.unit.sources.test_explain import S2, item

Document = dict[str, Any]
Change = Callable[[Document], None]


def landsat() -> Document:
    """Landsat 8, Collection 2, as USGS tells it."""
    assets = {key: {"eo:bands": [{"name": name, "common_name": key, "center_wavelength": centre}]}
              for key, name, centre in (("red", "OLI_B4", 0.65), ("nir08", "OLI_B5", 0.87))}  # fmt: skip
    properties = {"platform": "landsat-8", "landsat__collection_number": "02", "landsat__correction": "L2SP",
                  "eo__cloud_cover": 12.5}  # fmt: skip
    return item("LC08_L2SP_193029_20220601_20220603_02_T1", {**assets, "lwir11": {}, "qa_pixel": {}}, **properties)


def sentinel2() -> Document:
    bands = {key: {"eo:bands": [{"name": key, "common_name": name, "center_wavelength": centre}]}
             for key, name, centre in (("B02", "blue", 0.49), ("B08", "nir", 0.842))}  # fmt: skip
    return item(S2, {**bands, "SCL": {}}, "sentinel-2-l2a", platform="sentinel-2b", eo__cloud_cover=12.5)


def each(change: Callable[[dict[str, Any]], None]) -> Change:
    """The change made to every asset."""

    def made(document: Document) -> None:
        for asset in document["assets"].values():
            change(asset)

    return made


def as_1_1(asset: dict[str, Any]) -> None:
    """STAC 1.1: one list of bands, in nanometres here, as text."""
    bands = asset.pop("eo:bands", [])
    asset["bands"] = [
        {
            "name": b["name"],
            "eo:common_name": b["common_name"],
            "eo:center_wavelength": f"{b['center_wavelength'] * 1e3}",
        }
        for b in bands
    ]


def texts(document: Document) -> None:
    """Every number as text, but for the footprint."""

    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: text(part) for key, part in value.items()}
        if isinstance(value, list):
            return [text(part) for part in value]
        return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    document["properties"], document["assets"] = text(document["properties"]), text(document["assets"])


def crs(**fields: Any) -> Change:
    """The coordinate system written in another way."""

    def made(document: Document) -> None:
        del document["properties"]["proj:epsg"]
        document["properties"] |= {name.replace("__", ":"): value for name, value in fields.items()}

    return made


def as_rio_stac(asset: dict[str, Any]) -> None:
    """What rio-stac writes of every file that has neither scale nor offset."""
    asset["raster:bands"] = [{"scale": 1.0, "offset": 0.0, "data_type": "uint16", "sampling": "area"}]


def renamed(document: Document) -> None:
    document["collection"] = "my-mirror"


def untyped(asset: dict[str, Any]) -> None:
    asset.pop("type")


def with_alternates(asset: dict[str, Any]) -> None:
    asset["alternate"] = {"s3": {"href": "s3://bucket/a.tif"}, "broken": None}


def with_storage(document: Document) -> None:
    document["properties"] |= {"storage:schemes": {"s3": {"type": "aws-s3"}}, "auth:schemes": None}


CHANGES: dict[str, Change] = {
    "as it is": lambda document: None,
    "STAC 1.1 in nanometres": each(as_1_1),
    "numbers as text": texts,
    "proj:code": crs(proj__code="EPSG:32632"),
    "proj:code in small letters": crs(proj__code="epsg:32632"),
    "a CRS as URN": crs(proj__code="urn:ogc:def:crs:EPSG::32632"),
    "proj:epsg as text": crs(proj__epsg="EPSG:32632"),
    "a CRS that is null": crs(proj__epsg=None, proj__code=None),
    "no CRS": crs(),
    "rio-stac": each(as_rio_stac),
    "another collection": renamed,
    "no collection": lambda document: document.update(collection=None),
    "no media types": each(untyped),
    "alternates": each(with_alternates),
    "storage and log-in": with_storage,
    "no links": lambda document: document.pop("links"),
    "datetime as a range": lambda document: document["properties"].update(
        datetime=None, start_datetime="2022-06-01T10:00:00Z", end_datetime="2022-06-01T10:00:30Z"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_landsat_is_the_same_product_however_it_is_written(name: str) -> None:
    document = landsat()
    CHANGES[name](document)
    told = explain_item(document).to_json()
    assert (told["sensor"], told["platform"], told["verdict"]) == ("landsat-c2-l2-sr", "landsat-8", "use"), told["why"]
    assert (told["epsg"], told["cloud_cover"], told["datetime"]) == (32632, 12.5, "2022-06-01T10:00:00Z")
    assert told["mask"] == {"asset": "qa_pixel", "kind": "qa_pixel_c2"}
    found = {key: (m["common_name"], m["scale"], m["offset"], m["unit"]) for key, m in told["assets"].items()}
    assert found == {
        "red": ("red", 2.75e-5, -0.2, "reflectance"),
        "nir08": ("nir08", 2.75e-5, -0.2, "reflectance"),
        "lwir11": ("lwir11", 0.00341802, 149, "K"),
    }


@pytest.mark.parametrize("name", CHANGES)
def test_sentinel_2_is_the_same_product_however_it_is_written(name: str) -> None:
    document = sentinel2()
    CHANGES[name](document)
    told = explain_item(document).to_json()
    assert (told["sensor"], told["platform"], told["verdict"]) == ("sentinel-2-l2a", "sentinel-2b", "use"), told["why"]
    assert (told["epsg"], told["cloud_cover"], told["processing_baseline"]) == (32632, 12.5, "04.00")
    assert told["mask"] == {"asset": "SCL", "kind": "scl"}
    found = {key: (m["common_name"], m["scale"], m["offset"], m["nodata"]) for key, m in told["assets"].items()}
    assert found == {"B02": ("blue", 1e-4, -0.1, 0), "B08": ("nir", 1e-4, -0.1, 0)}


GRD = "S1A_EW_GRDM_1SDH_20220601T083614_20220601T083719_043466_053084"
NOTES = {"schema-product-hh": {"type": "application/xml", "href": "https://x.example.org/p.xml"},
         "schema-calibration-hh": {"type": "application/xml", "href": "https://x.example.org/c.xml"},
         "schema-noise-hh": {"type": "application/xml", "href": "https://x.example.org/n.xml"}}  # fmt: skip
SCALED = {"raster:bands": [{"scale": "0.01", "offset": -50, "unit": "dB", "data_type": "uint16", "nodata": "0"}]}
WITH_ASSET = {"raster:scale": 2.75e-5, "raster:offset": -0.2, "nodata": 0, "bands": [{"name": "red"}]}
MEANINGS: dict[str, tuple[Document, str, dict[str, Any]]] = {
    # name: item, asset, what must be said of it
    "landsat 7 temperature": (
        item("LE07_L2SP_193029_20100601_20200823_02_T1", {"lwir": {}, "qa_pixel": {}}),
        "lwir", {"scale": 0.00341802, "offset": 149, "unit": "K", "common_name": "lwir11"},
    ),
    "landsat 4 near infrared": (
        item("LT04_L2SP_193029_19890601_20200823_02_T1", {"SR_B4": {}}), "SR_B4",
        {"common_name": "nir08", "center_wavelength_nm": 830, "scale": 2.75e-5, "offset": -0.2},
    ),
    "landsat 9 by its old name of near infrared": (
        item("LC09_L2SP_193029_20220601_20220603_02_T1", {"nir": {}}), "nir",
        {"common_name": "nir08", "center_wavelength_nm": 864.7, "scale": 2.75e-5},
    ),
    "scale and offset with the asset": (
        item("LC09_L2SP_193029_20220601_20220603_02_T1", {"red": WITH_ASSET}), "red",
        {"scale": 2.75e-5, "offset": -0.2, "nodata": 0},
    ),
    "hls s30 without raster:bands": (
        item("HLS.S30.T32TMR.2022152T101559.v2.0", {"B8A": {}}, "HLSS30_2.0"), "B8A",
        {"common_name": "nir08", "scale": 1e-4, "offset": 0, "nodata": -9999},
    ),
    "sentinel-2c": (
        item("S2C_MSIL2A_20250601T101559_N0511_R065_T32TMR_20250601T130000", {"B02_10m": {}}), "B02_10m",
        {"scale": 1e-4, "offset": -0.1, "common_name": "blue"},
    ),
    "a band list of bare names": (
        item(S2, {"image": {"eo:bands": ["B04", "B03", "B02"]}}), "image",
        {"common_name": ["red", "green", "blue"], "center_wavelength_nm": [664.9, 558.9, 492.3]},
    ),
    "sentinel-2 pixels as the file's name says": (
        item(S2, {"B07_60m": {"href": "s3://eodata/R60m/T32TMR_20220601T101559_B07_60m.jp2",
                              "proj:transform": [20, 0, 500000, 0, -20, 5000000], "gsd": 20}}), "B07_60m",
        {"gsd_m": 60, "common_name": "rededge078"},
    ),
    "sentinel-2 pixels as a node's name says": (
        item(S2, {"B07_60m": {"href": "https://h.org/odata/v1/Products(7)/Nodes(T32TMR_20220601T101559_B07_60m.jp2)/$value",
                              "proj:transform": [20, 0, 500000, 0, -20, 5000000], "gsd": 20}}), "B07_60m",
        {"gsd_m": 60, "common_name": "rededge078"},
    ),
    "backscatter in scaled whole numbers": (
        item("S1A_IW_GRDH_1SDV_20220601T171500_20220601T171525_043466_053084_rtc", {"vv": SCALED}), "vv",
        {"scale": 0.01, "offset": -50, "unit": "dB", "nodata": 0},
    ),
    "radar in ground range by its spacing": (
        item(GRD, {"hh": {"proj:transform": None, "proj:shape": None}, **NOTES}, proj__epsg=None,
             sar__pixel_spacing_range=40, sar__pixel_spacing_azimuth="40"), "hh",
        {"gsd_m": 40, "unit": "amplitude", "scale": 1, "offset": 0},
    ),
    "no data that is no number": (
        item("Copernicus_DSM_COG_10_N45_00_E009_00_DEM", {"data": {"raster:bands": [{"nodata": "nan"}]}}), "data",
        {"nodata": "nan", "unit": "m"},
    ),
    "land cover made of enmap": (
        item("LANDCOVER_potsdam", {"classes": {}}, "enmap-landcover", platform="enmap"), "classes", {"unit": "class"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANINGS)
def test_what_a_stored_number_means_follows_from_the_product(name: str) -> None:
    document, key, expected = MEANINGS[name]
    told = explain_item(document).to_json()
    assert told["verdict"] == "use", told["why"]
    assert {field: told["assets"][key][field] for field in expected} == expected
    json.loads(json.dumps(told, allow_nan=False))


REFUSALS: dict[str, tuple[Document, str]] = {
    "two baselines": (item(S2, {"B02": {}}, s2__processing_baseline="02.14"), "baselines 02.14 and 04.00"),
    "a user's own processing": (item("x", {"B02": {}, "SCL": {}}, platform="sentinel-2a",
                                     s2__processing_baseline=99.99),
                                "no baseline, no flag"),
    "floating-point reflectance": (item("LC09_L2SP_193029_20220601_20220603_02_T1",
                                        {"red": {"raster:bands": [{"data_type": "float32"}]}}), "floating-point"),
    "assets as a list": (item(S2, {}) | {"assets": [{"href": "B02.tif"}]}, "no assets"),
    "landsat of no collection": (item("scene", {"red": {}}, platform="landsat-8"), "not stated"),
    "backscatter in watts": (item("S1A_IW_GRDH_1SDV_x_rtc", {"vv": {"raster:bands": [{"unit": "W"}]}},
                                  platform="sentinel-1a"), "'W'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_metadata_cannot_decide_is_refused(name: str) -> None:
    document, words = REFUSALS[name]
    told = explain_item(document).to_json()
    assert told["verdict"] == "refuse"
    assert any(words in line for line in told["why"]), told["why"]


@pytest.mark.parametrize(
    "href",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "http://127.0.0.1/a.tif",
        "http://169.254.169.254/a.tif",
        "http://[::1]/a.tif",
        "http://2130706433/a.tif",
    ],
)
def test_an_item_of_a_public_host_that_names_this_machine_is_refused(href: str) -> None:
    document = landsat()
    for asset in document["assets"].values():
        asset["href"] = href
    told = explain_item(copy.deepcopy(document), "https://stac.example.org/items/x")
    assert (told.verdict, told.mask_kind) == ("refuse", "none")
    assert any("refused" in line for line in told.why)
