"""What a plan says it will read, in whole blocks, and store: windows, composites, labels and documents as well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely

from chips.estimate import BLOCK_PX, Estimate, Touched, estimate, shard_notes
from chips.plan import plan_layers
from schemas.chip import ChipSpec
from schemas.georef import GeoRef
from schemas.recipe import Recipe
from schemas.scene import SceneItem, SceneRef

PIXELS = 12 * 12
HERE = bytes(shapely.to_wkb(shapely.box(11.95, 47.80, 12.05, 47.85)))


def _recipe(time: dict[str, Any], modality: dict[str, Any], write: dict[str, Any], **changes: Any) -> Recipe:
    """One modality over one region."""
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "x",
            "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
            "regions": [{"name": "north", "bbox": [11.95, 47.80, 12.05, 47.85]}],
            "grid": {"chip_m": 120},
            "time": {"start": "2021-01-01", "end": "2021-12-31", **time},
            "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s", **modality}},
            "write": write,
            **changes,
        }
    )


def _estimate(
    pairs: Touched,
    *,
    shape_yx: tuple[int, int] = (99, 98),
    masks: tuple[SceneRef, ...] = (),
    file_bands: int = 1,
    time: dict[str, Any] | None = None,
    **changes: Any,
) -> Estimate:
    """Of chips of 12 by 12 pixels over items of one band."""
    recipe = _recipe(time or {}, changes.pop("modality", {}), {"kinds": ["webdataset"]}, **changes)
    noon = datetime(2021, 6, 1, tzinfo=UTC)
    ref = SceneRef("i", "B02", "a.tif", "B02", 1, GeoRef(32632, 600_000.0, 5_300_040.0, 10.0, shape_yx), "uint16", 0)
    item = SceneItem("c", "s", "i", "s2", "sentinel-2-l2a", noon, None, HERE, (ref,), masks=masks)
    spec = ChipSpec(
        "a", 32632, (600_000.0, 5_299_920.0, 600_120.0, 5_300_040.0), "r", "train", "b", noon, noon, noon, HERE
    )
    layers, tiles = plan_layers(recipe, {"s2": item}), np.zeros(pairs.tile.max() + 1, np.int64)
    np.maximum.at(tiles, pairs.tile, pairs.chips)
    return estimate(recipe, layers, tiles, {"s2": pairs}, {"s2": item}, {"a.tif": file_bands}, [spec])


def _disk(offered: int, time: dict[str, Any] | None = None, **changes: Any) -> int:
    """Bytes of one chip over which so many items lie."""
    pairs = Touched(np.zeros(offered, np.int64), np.ones(offered, np.int64), np.arange(offered))
    return _estimate(pairs, time=time, **changes).disk_bytes


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


TILES = {"chip_m": 120, "tile_chips": 4}
SCENE_YX = (20 * BLOCK_PX, 21 * BLOCK_PX)


def _over(*chips_of_tiles: int, items: int = 1) -> Touched:
    """So many items over tiles of so many chips."""
    tile = np.tile(np.arange(len(chips_of_tiles)), items)
    return Touched(tile, np.tile(chips_of_tiles, items), np.repeat(np.arange(items), len(chips_of_tiles)))


def test_a_far_chip_costs_its_whole_block() -> None:
    one, many = (_estimate(_over(*[1] * tiles), shape_yx=SCENE_YX) for tiles in (1, 50))
    assert 1 <= one.read_bytes / (BLOCK_PX**2 * 2) < 1.1
    assert many.read_bytes == pytest.approx(50 * one.read_bytes, abs=50)
    assert (one.requests, many.requests) == (2, 52)
    assert one.window_bytes == PIXELS * 2


def test_chips_of_a_tile_share_blocks_and_no_file_is_read_twice() -> None:
    one, full = (_estimate(_over(chips), shape_yx=SCENE_YX, grid=TILES).read_bytes for chips in (1, 16))
    assert one < full < 1.3 * one
    tiles = _over(*[16] * 5000, items=3)
    dense = _estimate(tiles, shape_yx=SCENE_YX, grid=TILES)
    assert dense.read_bytes == 3 * SCENE_YX[0] * SCENE_YX[1] * 2
    assert dense.requests == 3 * (1 + 20 * 21)


def test_blocks_hold_all_bands_of_their_file_and_masks_are_read_too() -> None:
    plain = _estimate(_over(1), shape_yx=SCENE_YX)
    assert _estimate(_over(1), shape_yx=SCENE_YX, file_bands=224).read_bytes == pytest.approx(
        224 * plain.read_bytes, abs=224
    )
    scl = SceneRef("i", "SCL", "m.tif", "SCL", 1, GeoRef(32632, 6e5, 5_300_040.0, 20.0, SCENE_YX), "uint8", 0)
    masked = _estimate(_over(1), shape_yx=SCENE_YX, masks=(scl,))
    assert 0.4 < (masked.read_bytes - plain.read_bytes) / plain.read_bytes <= 0.5
    assert masked.requests == 2 * plain.requests


def _told(chips: int, chip_bytes: int, **write: Any) -> list[str]:
    """What is told of the shards of so many chips of one split."""
    recipe = _recipe({}, {}, write)
    disk = chips * chip_bytes * len(recipe.write.kinds)
    return shard_notes(recipe, Estimate(chips, 1, 1, 0, 0, disk), chips)


def test_shards_that_nobody_wants_are_told_with_what_makes_them_smaller() -> None:
    assert _told(1000, 10_000_000) == []
    (tar,) = _told(1000, 10_000_000, shard_bytes=10**12)
    assert "a tar holds up to 10 GB" in tar
    assert tar.endswith("take a smaller write.shard_bytes")
    (tar,) = _told(1000, 10_000_000, shard_chips=500)
    assert "5 GB" in tar
    assert tar.endswith("write.shard_chips")
    (cube,) = _told(1000, 200_000_000)
    assert "a Zarr shard holds up to 3 GB" in cube
    assert cube.endswith("write.zarr_shard_chips")
    assert _told(1000, 200_000_000, kinds=["webdataset"]) == []


def test_shards_hold_no_more_than_there_is() -> None:
    assert _told(100, 10_000_000, shard_bytes=10**12, zarr_shard_chips=10**6) == []


def test_a_chip_larger_than_any_shard_is_told_once() -> None:
    (note,) = _told(3, 159_000_000_000)
    assert "one chip holds up to 159 GB" in note
    assert "select.max_dates" in note


def test_engines_that_read_through_gdal_ask_for_blocks_tile_by_tile() -> None:
    """Landsat by stackstac was 767 requests on the sandbox where the plan said 126."""
    shared, apart = (
        _estimate(_over(*[16] * 500), shape_yx=(5 * BLOCK_PX, 4 * BLOCK_PX), grid=TILES, modality={"engine": engine})
        for engine in ("direct", "stackstac")
    )
    assert shared.requests == 1 + 5 * 4
    assert apart.requests > 500
    assert apart.read_bytes == shared.read_bytes


def test_a_file_that_comes_with_its_header_is_one_request() -> None:
    """The chips of Wervik are 64 pixels wide: 277 files were 277 requests, and 554 planned."""
    small, large = (_estimate(_over(1, items=5), shape_yx=shape_yx) for shape_yx in ((64, 63), (640, 639)))
    assert (small.requests, large.requests) == (5, 10)
    assert small.read_bytes == 5 * 64 * 63 * 2
