"""What is said of every real item, against what the products' own documents say.

The expected values were written by hand from the documents named beside them, not read off the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sources.explain import explain_item

pytestmark = pytest.mark.realdata

S2 = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60,
      "B11": 20, "B12": 20}  # fmt: skip
"""Native GSD: Sentinel-2 Products Specification Document, table of spectral bands."""
S2_KEYS = {"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge2": "B06",
           "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09", "swir16": "B11",
           "swir22": "B12"}  # fmt: skip
"""Asset keys of Earth Search v1 (its collection document, item_assets)."""
OLI = {"coastal": 443, "blue": 482, "green": 561, "red": 655, "nir08": 865, "swir16": 1609, "swir22": 2201}
"""Centre nm: Landsat 8 (L8) Data Users Handbook LSDS-1574, table of spectral bands."""
TM = {"blue": 485, "green": 560, "red": 660, "nir08": 830, "swir16": 1650, "swir22": 2215}
"""Middle of the nominal pass bands of Landsat 4-5 TM (USGS, band designations for the Landsat satellites)."""
SR, ST = (0.0000275, -0.2, "reflectance"), (0.00341802, 149.0, "K")
"""Landsat 8-9 Collection 2 Level-2 Science Product Guide LSDS-1619, tables of scale factors."""
USED: dict[str, tuple[str, int, str, str]] = {
    # file: sensor, items used, kind of mask, licence
    "cdse/sentinel-2-l2a": ("sentinel-2-l2a", 3, "scl", "copernicus-sentinel"),
    "dlr-eoc/ENMAP_HSI_L2A": ("enmap-l2a", 5, "enmap_ql", "enmap-dlr"),
    "earth-search/cop-dem-glo-30": ("dem", 5, "none", "copernicus-dem"),
    "earth-search/sentinel-1-grd": ("sentinel-1-grd", 7, "none", "copernicus-sentinel"),
    "planetary-computer/sentinel-1-grd": ("sentinel-1-grd", 1, "none", "copernicus-sentinel"),
    "stactools/sentinel1-grd": ("sentinel-1-grd", 1, "none", "copernicus-sentinel"),
    "earth-search/sentinel-2-c1-l2a": ("sentinel-2-l2a", 4, "scl", "copernicus-sentinel"),
    "earth-search/sentinel-2-l1c": ("sentinel-2-l1c", 3, "none", "copernicus-sentinel"),
    "earth-search/sentinel-2-l2a": ("sentinel-2-l2a", 10, "scl", "copernicus-sentinel"),
    "earth-search/sentinel-s2-l2a-cogs": ("sentinel-2-l2a", 1, "scl", "copernicus-sentinel"),
    "nasa-cmr/HLSL30.v1.5": ("hls", 5, "fmask_hls", "nasa-open"),
    "planetary-computer/cop-dem-glo-30": ("dem", 2, "none", "copernicus-dem"),
    "planetary-computer/esa-worldcover": ("landcover", 1, "none", "CC-BY-4.0"),
    "planetary-computer/io-lulc": ("landcover", 2, "none", "CC-BY-4.0"),
    "planetary-computer/io-lulc-9-class": ("landcover", 1, "none", "CC-BY-4.0"),
    "planetary-computer/io-lulc-annual-v02": ("landcover", 2, "none", "CC-BY-4.0"),
    "planetary-computer/landsat-8-c2-l2": ("landsat-c2-l2-sr", 10, "qa_pixel_c2", "usgs-public-domain"),
    "planetary-computer/landsat-c2-l2": ("landsat-c2-l2-sr", 8, "qa_pixel_c2", "usgs-public-domain"),
    "planetary-computer/nasadem": ("dem", 1, "none", "nasa-open"),
    "planetary-computer/sentinel-1-rtc": ("sentinel-1-rtc", 3, "none", "copernicus-sentinel"),
    "planetary-computer/sentinel-2-l2a": ("sentinel-2-l2a", 10, "scl", "copernicus-sentinel"),
    "stactools/esa-worldcover": ("landcover", 1, "none", "CC-BY-4.0"),
    "stactools/landsat-c2-l2": ("landsat-c2-l2-sr", 3, "qa_pixel_c2", "usgs-public-domain"),
    "stactools/sentinel1-rtc-aws": ("sentinel-1-rtc", 1, "none", "copernicus-sentinel"),
    "usgs-landsatlook/landsat-c2l2-sr": ("landsat-c2-l2-sr", 7, "qa_pixel_c2", "usgs-public-domain"),
    "usgs-landsatlook/landsat-c2l2-st": ("landsat-c2-l2-st", 4, "qa_pixel_c2", "usgs-public-domain"),
}
REFUSED = {
    # file: sensor, items, words of the reason
    "dlr-eoc/ENMAP_HSI_L0_QL": (None, 6, "level 0"),
    "earth-search/landsat-c2-l2": ("landsat-c2-l2-sr", 1, "no assets"),
    "planetary-computer/landsat-c2-l1": (None, 2, "MSS"),
    "stactools/landsat-c2-l1": (None, 3, "MSS"),
    "stactools/sentinel-2-c1-l2a": ("sentinel-2-l2a", 5, "no assets"),
    "stactools/sentinel1-slc": (None, 1, "SLC"),
    "usgs-landsatlook/landsat-c2l1": (None, 3, "MSS"),
}


def told(realdata: Path, file: str) -> dict[str, dict[str, Any]]:
    document = json.loads((realdata / "stac-items" / f"{file}.items.json").read_text())
    return {f"{place}:{item['id']}": explain_item(item).to_json() for place, item in enumerate(document["features"])}


def numbers(meaning: dict[str, Any]) -> tuple[float, float, str]:
    return pytest.approx(meaning["scale"]), pytest.approx(meaning["offset"]), meaning["unit"]


def test_every_file_of_real_items_stands_in_a_table(realdata: Path) -> None:
    files = {
        f"{path.parent.name}/{path.name.removesuffix('.items.json')}"
        for path in (realdata / "stac-items").rglob("*.items.json")
    }
    assert files == USED.keys() | REFUSED.keys()


@pytest.mark.parametrize("file", USED)
def test_items_of_products_that_can_be_read_are_used(realdata: Path, file: str) -> None:
    sensor, count, mask, licence = USED[file]
    found = told(realdata, file)
    assert len(found) == count
    for item in found.values():
        assert (item["sensor"], item["verdict"], item["mask"]["kind"], item["licence"]) == (
            sensor,
            "use",
            mask,
            licence,
        )
        assert set(item) == {
            "sensor", "platform", "datetime", "processing_baseline", "epsg", "cloud_cover", "assets", "mask", "licence",
            "verdict", "why",
        }  # fmt: skip


@pytest.mark.parametrize("file", REFUSED)
def test_items_that_cannot_be_read_are_refused_with_the_reason(realdata: Path, file: str) -> None:
    sensor, count, words = REFUSED[file]
    found = told(realdata, file)
    assert len(found) == count
    for item in found.values():
        assert (item["sensor"], item["verdict"]) == (sensor, "refuse")
        assert any(words in line for line in item["why"])


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("earth-search/sentinel-2-c1-l2a", S2_KEYS),
        ("earth-search/sentinel-2-l2a", S2_KEYS),
        ("earth-search/sentinel-s2-l2a-cogs", {band: band for band in S2}),
        ("planetary-computer/sentinel-2-l2a", {band: band for band in S2}),
        ("cdse/sentinel-2-l2a", {f"{band}_{gsd}m": band for band, gsd in S2.items()}),
    ],
)
def test_sentinel_2_bands_at_their_own_gsd(realdata: Path, file: str, keys: dict[str, str]) -> None:
    for item in told(realdata, file).values():
        assert keys.keys() <= item["assets"].keys()
        assert {key: item["assets"][key]["gsd_m"] for key in keys} == {key: S2[band] for key, band in keys.items()}
        assert {item["assets"][key]["nodata"] for key in keys} == {0}
        assert not {key for key in item["assets"] if key.lower().startswith(("visual", "tci", "aot", "wvp", "scl"))}


def test_the_sentinel_2_offset_by_provider_and_baseline(realdata: Path) -> None:
    """BOA_ADD_OFFSET -1000 from baseline 04.00 (Products Specification Document); Earth Search says what it shifted."""
    for item in told(realdata, "planetary-computer/sentinel-2-l2a").values():
        expected = {"02.12": 0.0, "05.10": -0.1}[item["processing_baseline"]]
        assert {(m["scale"], m["offset"]) for m in item["assets"].values()} == {(0.0001, expected)}
    for file in ("cdse/sentinel-2-l2a", "earth-search/sentinel-2-c1-l2a", "earth-search/sentinel-2-l1c"):
        for item in told(realdata, file).values():
            assert {(m["scale"], m["offset"]) for m in item["assets"].values()} == {(0.0001, -0.1)}
    for item in told(realdata, "earth-search/sentinel-2-l2a").values():
        twins = {"02.14": 0.0}.get(item["processing_baseline"], -0.1)
        for key, meaning in item["assets"].items():
            assert meaning["offset"] == (twins if key.endswith("-jp2") else 0.0)


def test_landsat_bands_follow_the_instrument_and_temperature_has_its_own_scale(realdata: Path) -> None:
    for file in ("planetary-computer/landsat-c2-l2", "stactools/landsat-c2-l2", "usgs-landsatlook/landsat-c2l2-sr"):
        for item in told(realdata, file).values():
            centres = OLI if item["platform"] in ("landsat-8", "landsat-9") else TM
            found = {m["common_name"]: m for m in item["assets"].values()}
            heat = found.pop("lwir11", None)
            assert found.keys() == centres.keys()
            for name, meaning in found.items():
                assert meaning["center_wavelength_nm"] == pytest.approx(centres[name], abs=6)
                assert numbers(meaning) == SR
                assert (meaning["nodata"], meaning["gsd_m"]) == (0, 30)
            assert heat is None or numbers(heat) == ST
    for item in told(realdata, "usgs-landsatlook/landsat-c2l2-st").values():
        assert [numbers(meaning) for meaning in item["assets"].values()] == [ST]


def test_the_file_behind_a_landsat_band_is_that_of_its_instrument(realdata: Path) -> None:
    path = realdata / "stac-items" / "usgs-landsatlook" / "landsat-c2l2-sr.items.json"
    for item in json.loads(path.read_text())["features"]:
        is_oli = item["id"].startswith(("LC08", "LC09"))
        for key, meaning in explain_item(item).assets.items():
            number = int(item["assets"][key]["href"].rsplit("_B", 1)[1][0])
            expected = {"blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7, "coastal": 1}
            if not is_oli:
                expected = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}
            assert number == expected[str(meaning.common_name)]


def test_enmap_is_one_file_of_224_bands(realdata: Path) -> None:
    """EnMAP product specification EN-PCV-ICD-2009-2: reflectance x 10000, no data -32768, 30 m."""
    for item in told(realdata, "dlr-eoc/ENMAP_HSI_L2A").values():
        (meaning,) = item["assets"].values()
        centres = meaning["center_wavelength_nm"]
        assert (len(centres), meaning["gsd_m"], meaning["nodata"]) == (224, 30, -32768)
        assert (meaning["scale"], meaning["offset"], meaning["unit"]) == (0.0001, 0, "reflectance")
        assert centres[0] == pytest.approx(418.416)
        assert item["mask"] == {"asset": "quality_classes", "kind": "enmap_ql"}
        assert 32600 < item["epsg"] < 32800
        assert isinstance(item["cloud_cover"], (int, float))


def test_hls_l30_numbers_its_bands_as_its_guide_does(realdata: Path) -> None:
    """HLS Product User Guide: L30 B05 is near infrared; int16 x 0.0001, fill -9999; B10 and B11 in 0.01 Celsius."""
    names = {"B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "nir08", "B06": "swir16",
             "B07": "swir22", "B09": "cirrus", "B10": "lwir11", "B11": "lwir12"}  # fmt: skip
    for item in told(realdata, "nasa-cmr/HLSL30.v1.5").values():
        assert {key: meaning["common_name"] for key, meaning in item["assets"].items()} == names
        assert item["assets"]["B05"]["scale"] == 0.0001
        assert {meaning["nodata"] for meaning in item["assets"].values()} == {-9999}
        assert (item["assets"]["B10"]["scale"], item["assets"]["B10"]["offset"]) == (0.01, 273.15)
        assert item["mask"] == {"asset": "Fmask", "kind": "fmask_hls"}


def test_backscatter_is_linear_gamma0_with_its_publishers_no_data_value(realdata: Path) -> None:
    for file, nodata in (("planetary-computer/sentinel-1-rtc", -32768), ("stactools/sentinel1-rtc-aws", 0)):
        for item in told(realdata, file).values():
            assert {(m["scale"], m["offset"], m["unit"], m["nodata"]) for m in item["assets"].values()} == {
                (1, 0, "linear", nodata)
            }


def test_a_crs_of_a_zone_without_its_zero_is_mended(realdata: Path) -> None:
    """Bounds of the item's footprint: 177 to 174 degrees west, 45 to 43 south: UTM zone 1."""
    found = {
        item["epsg"] for name, item in told(realdata, "planetary-computer/landsat-8-c2-l2").items() if "067091" in name
    }
    assert found == {32601}
