"""Which slices of Sentinel-1 are one picture: those of one data take, on both sides of the equator too."""

from __future__ import annotations

from typing import Any

from sources.sentinel1 import datatake


def item(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "id": name,
        "properties": {"platform": "SENTINEL-1A", "datetime": "2022-10-04T15:40:11Z", **properties},
        "assets": {},
    }


def slice_of(start: str, end: str, orbit: int) -> str:
    return f"S1A_IW_GRDH_1SDV_20221004T{start}_20221004T{end}_{orbit:06d}_056A31"


SOUTH, NORTH = slice_of("154011", "154036", 45289), slice_of("154036", "154101", 45290)
"""An ascending pass: the orbit's number is that of a slice's start and changes at the equator, the data take's not."""


def test_slices_on_both_sides_of_the_equator_are_one_picture() -> None:
    stated = {
        datatake(item(f"{name}_rtc", **{"sat:absolute_orbit": orbit, "s1:datatake_id": str(0x056A31)}))
        for name, orbit in ((SOUTH, 45289), (NORTH, 45290))
    }
    by_name = {datatake(item(name, **{"sat:absolute_orbit": int(name[49:55])})) for name in (SOUTH, f"{NORTH}_6B1F")}
    assert stated == by_name == {"sentinel-1a_056A31"}


def test_without_a_data_take_the_orbit_tells_passes_apart() -> None:
    keys = [datatake(item("S1B_20161121_12SYJ_ASC", **{"sat:absolute_orbit": orbit})) for orbit in (3050, 3050, 3051)]
    assert keys == ["sentinel-1a_3050", "sentinel-1a_3050", "sentinel-1a_3051"]
    assert datatake(item("x", **{"sat:relative_orbit": 29, "s1:datatake_id": "0"})) == "sentinel-1a_29_20221004"
