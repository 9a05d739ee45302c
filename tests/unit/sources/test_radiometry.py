"""Who says what about the offset, and what is made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from schemas.errors import UnsupportedItemError
from schemas.sensor import load_sensor
from sources.assets import BandInfo
from sources.radiometry import (
    dark_pixel_offset,
    decide_sentinel2,
    from_item_or_document,
)
from sources.sentinel1 import radiometry_of


def info(offset: float | None = None, scale: float | None = None, key: str = "B02", unit: str = "") -> BandInfo:
    return BandInfo(key, 1, 1, "B02", scale=scale, offset=offset, unit=unit)


def item(href: str = "B02.tif", **properties: Any) -> dict[str, Any]:
    named = {name.replace("__", ":"): value for name, value in properties.items()}
    return {"id": "x", "properties": named, "assets": {"B02": {"href": href}}}


FLAG, BASELINE, MEASURED = "earthsearch__boa_offset_applied", "s2__processing_baseline", "s2__radiometric_offset_dn"


@pytest.mark.parametrize(
    ("properties", "listed", "offset", "words"),
    [
        ({BASELINE: "03.01"}, None, 0.0, "before 04.00"),
        ({BASELINE: "04.00"}, None, -0.1, "04.00 or later"),
        ({BASELINE: "05.10"}, -0.1, -0.1, "04.00 or later"),
        ({BASELINE: "05.10"}, 0.0, -0.1, "raster:bands beside it says 0"),
        (
            {FLAG: True, BASELINE: "05.11"},
            -0.1,
            0.0,
            "already shifted (baseline 05.11); raster:bands beside it says -0.1",
        ),
        ({FLAG: False, BASELINE: "02.14"}, 0.0, 0.0, "false and baseline 02.14"),
        (
            {MEASURED: 1000, BASELINE: "02.14"},
            0.0,
            -0.1,
            "s2:radiometric_offset_dn is 1000; raster:bands beside it says 0",
        ),
        ({MEASURED: 0}, None, 0.0, "s2:radiometric_offset_dn is 0"),
        ({}, -0.1, -0.1, "raster:bands, no baseline"),
        ({}, -1000.0, -0.1, "raster:bands, no baseline"),
        ({FLAG: "true", BASELINE: "05.11"}, -0.1, 0.0, "already shifted"),
        ({FLAG: 1, BASELINE: "05.11"}, -0.1, 0.0, "already shifted"),
        ({FLAG: "False", BASELINE: "02.14"}, 0.0, 0.0, "false and baseline 02.14"),
        ({FLAG: "perhaps", BASELINE: "05.11"}, -0.1, -0.1, "04.00 or later"),
        ({MEASURED: "1000"}, None, -0.1, "s2:radiometric_offset_dn is 1000"),
        ({MEASURED: "dark", BASELINE: "05.11"}, None, -0.1, "04.00 or later"),
        ({BASELINE: "99.99"}, -0.1, -0.1, "raster:bands, no baseline"),
        ({}, 0.0, 0.0, "raster:bands, no baseline"),
        ({"s2__product_uri": "S2A_MSIL2A_20200302T102021_N0500_R065_T32UNU_20230101T000000.SAFE"}, None, -0.1, "05.00"),
    ],
)
def test_the_order_of_evidence(properties: dict[str, Any], listed: float | None, offset: float, words: str) -> None:
    decided = decide_sentinel2(item(**properties), [info(listed)])
    assert (decided.scale, decided.offset) == (1e-4, offset)
    assert words in decided.why


def test_a_date_alone_decides_nothing() -> None:
    with pytest.raises(UnsupportedItemError, match="no baseline, no flag and no raster:bands"):
        decide_sentinel2(item(datetime="2023-01-01T00:00:00Z"), [info()])


def test_an_unshifted_flag_with_a_new_baseline_is_refused() -> None:
    with pytest.raises(UnsupportedItemError, match=r"false with baseline 05\.09"):
        decide_sentinel2(item(**{FLAG: False, BASELINE: "05.09"}), [info(-0.1)])


def test_the_flag_speaks_of_geotiffs_and_not_of_their_jpeg_2000_twins() -> None:
    assert decide_sentinel2(item("B02.jp2", **{FLAG: True, BASELINE: "05.11"}), [info()]).offset == -0.1


def test_bands_that_state_different_offsets_are_refused() -> None:
    with pytest.raises(UnsupportedItemError, match="different offsets"):
        decide_sentinel2(item(**{BASELINE: "05.11"}), [info(-0.1), info(0.0)])


NAMED = "S2A_MSIL2A_20200302T102021_N0500_R065_T32UNU_20230101T000000.SAFE"


@pytest.mark.parametrize(
    ("properties", "band", "words"),
    [
        ({BASELINE: "02.14", "s2__product_uri": NAMED}, {}, "baselines 02.14 and 05.00 are both stated"),
        ({BASELINE: "99.99"}, {}, "no baseline, no flag and no raster:bands"),
        ({BASELINE: "05.11"}, {"scale": 0.01}, "scale 0.01 is stated"),
        ({}, {"offset": 0.2}, "offset 0.2 is stated"),
        ({BASELINE: "05.11"}, {"dtype": "float32"}, "floating-point numbers"),
        ({FLAG: "false", BASELINE: "05.11"}, {}, "metadata cannot tell"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_name(
    properties: dict[str, Any], band: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedItemError, match=words):
        decide_sentinel2(item(**properties), [replace(info(), **band)])


def test_scale_1_and_offset_0_of_whole_numbers_say_nothing() -> None:
    """rio-stac writes both for every file that has neither."""
    default = replace(info(0.0, 1.0), dtype="uint16")
    decided = decide_sentinel2(item(**{BASELINE: "05.11"}), [default])
    assert (decided.scale, decided.offset) == (1e-4, -0.1)
    for sensor, meaning in {"landsat-c2-l2-sr": (2.75e-5, -0.2), "landsat-c2-l2-st": (0.00341802, 149.0),
                            "landsat-c1": (1e-4, 0.0), "hls": (1e-4, 0.0), "hls-bt": (0.01, 273.15),
                            "enmap-l2a": (1e-4, 0.0), "dem": (1.0, 0.0)}.items():  # fmt: skip
        profile = load_sensor(sensor)
        decided = from_item_or_document("x", [default], profile, profile.unit)
        assert (decided.scale, decided.offset) == meaning


def test_floating_point_is_what_the_item_says_or_is_refused() -> None:
    stated = replace(info(0.0, 1.0), dtype="float32")
    assert decide_sentinel2(item(**{BASELINE: "05.11"}), [stated]).scale == 1.0
    profile = load_sensor("landsat-c2-l2-sr")
    assert from_item_or_document("x", [stated], profile, "reflectance").scale == 1.0
    for offset in (None, 0.0, -0.2):
        with pytest.raises(UnsupportedItemError, match="floating-point"):
            from_item_or_document("x", [replace(stated, scale=None, offset=offset)], profile, "reflectance")
    beside = replace(stated, scale=None, offset=None)  # one band of floating point among digital numbers
    with pytest.raises(UnsupportedItemError, match="floating-point"):
        from_item_or_document("x", [info(), beside], profile, "reflectance")


def test_an_offset_without_its_scale_is_the_products_or_is_refused() -> None:
    for sensor, offset in {"landsat-c2-l2-sr": -0.2, "landsat-c2-l2-st": 149.0, "hls": 0.0, "hls-bt": 273.15}.items():
        profile = load_sensor(sensor)
        for listed in (offset, 0.0):
            decided = from_item_or_document("x", [replace(info(listed), dtype="int16")], profile, profile.unit)
            assert (decided.scale, decided.offset) == (profile.scale, offset)
        with pytest.raises(UnsupportedItemError, match=r"item x: an offset of -0\.3 is stated, and no scale"):
            from_item_or_document("x", [replace(info(-0.3), dtype="int16")], profile, profile.unit)


def test_a_temperature_of_the_products_scale_and_offset_0_is_the_products() -> None:
    """HLS's files say a scale of 0.01 and no offset: items that tools make of them said 20 K for 20 degrees Celsius."""
    for sensor in ("hls-bt", "landsat-c2-l2-st"):
        profile = load_sensor(sensor)
        default = replace(info(0.0, profile.scale), dtype="int16")
        assert from_item_or_document("x", [default], profile, profile.unit).offset == profile.offset
    profile = load_sensor("hls-bt")
    own = replace(default, scale=0.01, unit="K")
    assert from_item_or_document("x", [own], profile, "K").offset == 0.0  # hundredths of a kelvin


@pytest.mark.parametrize("said", ["ft", "US survey foot", "feet", "cm", "decimeters"])
def test_heights_in_feet_are_refused(said: str) -> None:
    own = replace(info(0.0, 1.0, unit=said), dtype="float32")
    with pytest.raises(UnsupportedItemError, match=rf"elevation in '{said}', where a dataset holds m"):
        from_item_or_document("x", [own], load_sensor("dem"), "m")


@pytest.mark.parametrize("said", ["degrees Celsius", "°C", "degC", "celsius"])
def test_temperatures_in_celsius_are_made_kelvin(said: str) -> None:
    profile = load_sensor("hls-bt")
    own = replace(info(0.0, 1.0, unit=said), dtype="float32")
    assert from_item_or_document("x", [own], profile, "K").offset == 273.15
    for offset in (None, 0.0):
        products = replace(info(offset, 0.01, unit=said), dtype="int16")
        assert from_item_or_document("x", [products], profile, "K").offset == 273.15
    with pytest.raises(UnsupportedItemError, match="thermal in '°F', where a dataset holds K"):
        from_item_or_document("x", [replace(own, unit="°F")], profile, "K")


@pytest.mark.parametrize(("sensor", "said"), [("dem", "meter"), ("dem", "metres"), ("dem", "1"), ("hls-bt", "Kelvin")])
def test_units_that_are_the_datasets_or_say_nothing_pass(sensor: str, said: str) -> None:
    profile, own = load_sensor(sensor), replace(info(0.0, 1.0, unit=said), dtype="float32")
    assert from_item_or_document("x", [own], profile, profile.unit).scale == 1.0


def test_an_item_that_contradicts_the_document_wins_and_says_so() -> None:
    profile = load_sensor("landsat-c2-l2-st")
    decided = from_item_or_document("x", [info(0.0, 1.0, unit="K")], profile, "K")
    assert (decided.scale, decided.offset) == (1.0, 0.0)
    assert decided.why.endswith("the product's document has 0.00341802 and 149")
    assert from_item_or_document("x", [info()], profile, "K").offset == 149.0


@pytest.mark.parametrize(
    ("levels", "offset"),
    [
        ({"B02": 300, "B04": 200, "B10": 12}, 0),
        ({"B02": 1300, "B04": 1200, "B10": 1012}, -1000),
        ({"B02": 300, "B04": 200}, 0),
        ({"B02": 1080, "B12": 1020}, -1000),
        ({"B02": 1080, "B12": 4000}, None),  # a bright desert whose blue happens to be 0.108
        ({"B02": 7000, "B12": 5000}, None),  # cloud over all
        ({"B02": 0, "B12": 0}, None),  # nothing but no data
    ],
)
def test_dark_pixels_tell_the_offset_or_nothing(levels: dict[str, int], offset: int | None) -> None:
    spread = np.random.default_rng(0).integers(0, 60, (len(levels), 30, 40))
    dn = np.array(list(levels.values()))[:, None, None] + np.where(
        np.array(list(levels.values()))[:, None, None], spread, 0
    )
    assert dark_pixel_offset(dn.astype(np.uint16), list(levels)) == offset


def test_radar_in_whole_numbers_says_its_unit_or_is_refused() -> None:
    """Gamma0 as int16 holds decibel times 100, or amplitude: read as linear power it was -1234, or 350."""
    profile, radar = load_sensor("sentinel-1-rtc"), {"id": "x", "properties": {}, "assets": {}}
    assert radiometry_of(radar, [replace(info(), dtype="float32")], profile).unit == "linear"
    stated = radiometry_of(radar, [replace(info(0.0, 0.01, unit="dB"), dtype="int16")], profile)
    assert (stated.scale, stated.unit) == (0.01, "dB")
    for scale in (None, 1.0, 0.01):
        with pytest.raises(UnsupportedItemError, match="whole numbers of which the item states no unit"):
            radiometry_of(radar, [replace(info(None, scale), dtype="int16")], profile)
