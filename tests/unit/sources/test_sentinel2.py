"""Sentinel-2 items of any catalog: which tiles are one acquisition, and which numbers can change their baseline."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from sources.items import normalise_item
from sources.sensors import to_scene_item
from sources.sentinel2 import datatake

NAME = "S2B_MSIL2A_20250731T131909_N0511_R095_T20EPT_20250731T143919"


def item(item_id: str = "S2B_20EPT_20250731_0_L2A", **properties: Any) -> dict[str, Any]:
    named = {name.replace("__", ":"): value for name, value in properties.items()}
    return {
        "id": item_id,
        "properties": {"platform": "sentinel-2b", "datetime": "2025-07-31T13:19:22Z"} | named,
        "assets": {},
    }


@pytest.mark.parametrize(
    "document",
    [
        item(s2__product_uri=f"{NAME}.SAFE"),
        item(sentinel__product_id=NAME),
        item(s2__product_uri="2025/7/31/0", sentinel__product_id=NAME),
        item(title=f"{NAME}.SAFE"),
        item(NAME),
    ],
)
def test_the_acquisition_is_read_from_whatever_names_the_product(document: dict[str, Any]) -> None:
    assert datatake(document) == "sentinel-2b_20250731T131909"


def test_the_moment_of_the_tile_is_the_key_where_nothing_names_the_product() -> None:
    assert datatake(item()) == "sentinel-2b_20250731T131922"


def earth_search_v0(realdata: Path, **properties: Any) -> dict[str, Any]:
    """A real item of Earth Search v0 with some of its properties replaced."""
    file = realdata / "stac-items" / "earth-search" / "sentinel-s2-l2a-cogs.items.json"
    document = copy.deepcopy(json.loads(file.read_text())["features"][0])
    document["properties"] |= {name.replace("__", ":"): value for name, value in properties.items()}
    return normalise_item(document)


def modality(**wishes: Any) -> Modality:
    return Modality(sensor="sentinel-2-l2a", catalog="c", collection="sentinel-s2-l2a-cogs", bands=("B04",), **wishes)


@pytest.mark.realdata
def test_neighbouring_tiles_of_earth_search_v0_share_their_acquisition(realdata: Path) -> None:
    """Each tile has a moment of its own; the product's name has that of the datatake."""
    neighbour = earth_search_v0(
        realdata,
        datetime="2025-07-31T13:19:26Z",
        sentinel__utm_zone=9,
        sentinel__grid_square="PU",
        sentinel__product_id=NAME.replace("T20EPT", "T09EPU"),
    )
    one = to_scene_item(earth_search_v0(realdata), "m", modality(), "c")
    other = to_scene_item(neighbour, "m", modality(), "c")
    assert one.datatake == other.datatake == "sentinel-2b_20250731T131909"
    assert [dict(scene.extra)["tile"] for scene in (one, other)] == ["20EPT", "09EPU"]


@pytest.mark.realdata
def test_half_a_tile_name_is_none(realdata: Path) -> None:
    scene = to_scene_item(earth_search_v0(realdata, sentinel__grid_square=None, grid__code=None), "m", modality(), "c")
    assert "tile" not in dict(scene.extra)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("properties", "band", "words"),
    [
        ({}, {"data_type": "float32", "scale": 1.0, "offset": 0.0}, r"float32 of scale 1: set offset: as_delivered"),
        ({}, {"data_type": "float64", "scale": 1e-4, "offset": 0.0}, r"float64 of scale 0\.0001"),
        ({"s2__radiometric_offset_dn": 1000.3}, {"data_type": "uint16"}, "no whole number"),
    ],
)
@pytest.mark.parametrize("wanted", ["pre04", "post04"])
def test_numbers_without_a_baseline_are_refused_before_anything_is_read(
    realdata: Path, wanted: Any, properties: dict[str, Any], band: dict[str, Any], words: str
) -> None:
    document = earth_search_v0(realdata, **properties)
    for asset in document["assets"].values():
        asset["raster:bands"] = [band]
    assert to_scene_item(document, "m", modality(), "c").refs[0].dtype == band["data_type"]
    with pytest.raises(UnsupportedItemError, match=words) as caught:
        to_scene_item(document, "m", modality(offset=wanted), "c")
    assert caught.value.what.startswith("item S2B_20EPT_20250731_0_L2A: ")
    assert "\n" not in caught.value.what


@pytest.mark.realdata
def test_digital_numbers_may_change_their_baseline(realdata: Path) -> None:
    scene = to_scene_item(earth_search_v0(realdata), "m", modality(offset="pre04"), "c")
    assert (scene.refs[0].dtype, scene.refs[0].scale) == ("uint16", 1e-4)
