"""Real pixels: the four recipes build, and agree with counts made here from the files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.support import Terraweft, current_version
from tests.integration.test_public_libraries import LIBRARIES_LEAVE_FILES_OPEN, check_with_public_libraries

pytestmark = pytest.mark.realdata
NAMES = ("real-wervik", "real-terramesh", "real-bigearthnet", "real-potsdam")


@pytest.fixture(scope="module")
def built(on_cluster: Terraweft, realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All four, built by the command line."""
    roots = {}
    for name in NAMES:
        roots[name] = tmp_path_factory.mktemp(name) / "dataset"
        done = on_cluster("build", name, "--out", roots[name], TERRAWEFT_REALDATA=str(realdata))
        assert done.returncode == 0, done.stderr
    return roots


def _chips(root: Path) -> pd.DataFrame:
    return pd.read_parquet(current_version(root) / "chips.parquet").set_index("chip_id")


def _items(realdata: Path, collection: str, site: str | None = None) -> list[dict[str, Any]]:
    """Items of a collection, read as plain JSON, hrefs as paths."""
    found = []
    for path in sorted((realdata / "catalog" / collection / "items").glob("*.json")):
        item = json.loads(path.read_text())
        if site is None or item["properties"]["site"] == site:
            for asset in item["assets"].values():
                asset["path"] = (path.parent / asset["href"]).resolve()
            found.append(item)
    return sorted(found, key=lambda item: (item["properties"]["datetime"] or "", item["id"]))


def _read(item: dict[str, Any], key: str, band: int = 1) -> Any:
    with rasterio.open(item["assets"][key]["path"]) as file:
        return file.read(band)


@pytest.mark.filterwarnings(*LIBRARIES_LEAVE_FILES_OPEN)
@pytest.mark.parametrize("name", NAMES)
def test_check_and_public_libraries_agree(
    built: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    assert check_dataset(built[name]).problems == []
    counted = check_with_public_libraries(built[name])
    assert counted["chips"] == counted["samples"] == len(_chips(built[name]))
    assert counted["zarr_chips"] >= counted["samples"]


def test_wervik_has_every_date_of_every_sensor(built: dict[str, Path], realdata: Path) -> None:
    row = _chips(built["real-wervik"]).loc["wervik"]
    for modality, collection in {"s2": "sentinel-2-l2a", "s1": "sentinel-1-grd", "l8": "landsat-8-c1-sr"}.items():
        days = {item["properties"]["datetime"][:10] for item in _items(realdata, collection, "wervik")}
        assert {str(moment)[:10] for moment in row[f"{modality}.datetimes"]} == days
    assert len(row["s2.datetimes"]) == 16
    assert len(row["s1.datetimes"]) == 12
    assert len(row["l8.datetimes"]) == 10  # 11 scenes; two of 2018-06-06 are neighbouring rows of one pass
    triple = [m for m in ("s2", "s1", "l8") if any(str(t).startswith("2018-08-02") for t in row[f"{m}.datetimes"])]
    assert triple == ["s2", "s1", "l8"]


def test_wervik_clear_pixels_are_those_of_the_scene_classification(built: dict[str, Path], realdata: Path) -> None:
    row = _chips(built["real-wervik"]).loc["wervik"]
    items = _items(realdata, "sentinel-2-l2a", "wervik")
    for fraction, item in zip(row["s2.clear_fraction"], items, strict=True):
        scl = np.kron(_read(item, "SCL"), np.ones((2, 2), int))
        bands = np.stack([_read(item, key) for key in ("B02", "B03", "B04", "B08")])
        clear = np.isin(scl, (2, 4, 5, 6)) & (bands != 0).all(axis=0)
        assert fraction == pytest.approx(clear.mean(), abs=1e-6), item["id"]


def test_wervik_landsat_clear_pixels_follow_collection_one_bits(built: dict[str, Path], realdata: Path) -> None:
    row = _chips(built["real-wervik"]).loc["wervik"]
    by_day: dict[str, list[dict[str, Any]]] = {}
    for item in _items(realdata, "landsat-8-c1-sr", "wervik"):
        by_day.setdefault(item["properties"]["datetime"][:10], []).append(item)
    for fraction, moment in zip(row["l8.clear_fraction"], row["l8.datetimes"], strict=True):
        items = by_day[str(moment)[:10]]
        if len(items) > 1:
            continue
        qa = _read(items[0], "pixel_qa")
        bands = np.stack([_read(items[0], key) for key in ("B02", "B03", "B04", "B05", "B06", "B07")])
        bad = (qa & 1 > 0) | (qa & 8 > 0) | (qa & 16 > 0) | (qa & 32 > 0) | ((qa >> 8) & 3 == 3)
        wrapped = ((bands == 0) | (bands > 16_000)).any(axis=0)
        assert fraction == pytest.approx((~bad & ~wrapped).mean(), abs=1e-6), items[0]["id"]


def test_wervik_labels_are_the_parcel_raster(built: dict[str, Path], realdata: Path) -> None:
    dataset = open_dataset(built["real-wervik"])
    (item,) = _items(realdata, "lc-label", "wervik")
    np.testing.assert_array_equal(dataset.sample("wervik").labels["lc"], _read(item, "LC"))
    fractions = dict(_chips(built["real-wervik"]).loc["wervik"]["label.fractions"])
    assert fractions["Cropland"] > 0.1
    dataset.close()


OFFSETS = {  # README of the samples: measured from dark pixels and B10
    ("chile", "s2l1c"): -0.1,
    ("chile", "s2l2a"): -0.1,
    ("brazil", "s2l1c"): -0.1,
    ("brazil", "s2l2a"): 0.0,
    ("denmark", "s2l1c"): 0.0,
    ("denmark", "s2l2a"): 0.0,
}


@pytest.mark.parametrize(("chip", "modality"), OFFSETS)
def test_offset_of_every_patch_is_decided_rightly(built: dict[str, Path], chip: str, modality: str) -> None:
    row = _chips(built["real-terramesh"]).loc[chip]
    assert row[f"{modality}.offset"].tolist() == [OFFSETS[chip, modality]]
    assert "1000" in row[f"{modality}.radiometry"][0] or "is 0" in row[f"{modality}.radiometry"][0]


def test_offsets_agree_with_the_pixels_themselves(built: dict[str, Path]) -> None:
    """The cirrus band of L1C sees almost nothing of the ground: its level is the offset."""
    dataset = open_dataset(built["real-terramesh"])
    cirrus = [band.name for band in dataset.layer("s2l1c").bands].index("B10")
    for chip in ("chile", "brazil", "denmark"):
        level = float(np.median(dataset.sample(chip).layers["s2l1c"].data[0, cirrus]))
        assert (level > 900) == (OFFSETS[chip, "s2l1c"] == -0.1)
    dataset.close()


PIXELS = {
    "real-wervik": {"s2_10m": "sentinel-2-l2a", "s2_20m": "sentinel-2-l2a", "s1": "sentinel-1-grd"},
    "real-terramesh": {
        "s2l2a": "terramesh-s2-l2a",
        "s2l1c": "terramesh-s2-l1c",
        "s1": "terramesh-s1-rtc",
        "dem": "terramesh-dem",
    },
    "real-bigearthnet": {
        "s2_10m": "bigearthnet-s2",
        "s2_20m": "bigearthnet-s2",
        "s2_60m": "bigearthnet-s2",
        "s1": "bigearthnet-s1",
    },
    "real-potsdam": {"enmap": "enmap-l2a"},
}


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_equal_a_direct_read_of_the_source(built: dict[str, Path], realdata: Path, name: str) -> None:
    dataset = open_dataset(built[name])
    chips = _chips(built[name])
    for group, collection in PIXELS[name].items():
        layer = dataset.layer(group)
        items = {item["id"]: item for item in _items(realdata, collection)}
        for chip_id in dataset.chip_ids():
            stored = dataset.sample(chip_id).layers[group].data
            for t, item_id in enumerate(chips.loc[chip_id][f"{layer.modality}.item_ids"]):
                for b, band in enumerate(layer.bands):
                    assets = items[item_id]["assets"]
                    key, index = (band.name, 1) if band.name in assets else ("image", b + 1)
                    source = _read(items[item_id], key, index)
                    if name == "real-potsdam":
                        source = source[:64] if chip_id.endswith("north") else source[64:]
                    np.testing.assert_array_equal(stored[t, b], source, err_msg=f"{chip_id} {item_id} {band.name}")
    dataset.close()


def test_potsdam_is_private_and_says_why(built: dict[str, Path]) -> None:
    dataset = open_dataset(built["real-potsdam"])
    assert dataset.document.private
    (enmap,) = (source for source in dataset.document.sources if source.layer == "enmap")
    assert not enmap.redistributable
    empty = [band.name for band in dataset.layer("enmap").bands if band.count == 0]
    assert empty == [f"band_{number:03d}" for number in range(130, 136)]  # nodata for the whole scene
    dataset.close()


def test_bigearthnet_pairs_keep_their_gap(built: dict[str, Path]) -> None:
    chips = _chips(built["real-bigearthnet"])
    gaps = {c: chips.loc[c]["s1.gap_days"][0] - chips.loc[c]["s2.gap_days"][0] for c in chips.index}
    assert round(gaps["finland"]) == 1  # a day apart
    assert abs(gaps["austria"]) < 1
    assert abs(gaps["portugal"]) < 1
