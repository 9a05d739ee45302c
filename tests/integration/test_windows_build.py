"""Windows and composites through the command line, against the simulated truth and plain loops over the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac_client
import pytest
import rasterio
import yaml
from rasterio.windows import Window

from schemas.sample import split_ids
from shards.check import check_dataset
from shards.reader import Dataset, open_dataset
from tests.integration.support import Terraweft, World

RECIPE = Path(__file__).parents[2] / "recipes" / "sandbox-windows.yaml"


@pytest.fixture(scope="module")
def root(world: World, on_cluster: Terraweft, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recipe over two small regions, with one composite of everything besides."""
    folder = tmp_path_factory.mktemp("windows")
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["regions"] = [{"name": "north", "bbox": [11.985, 47.815, 12.015, 47.835]}]
    recipe["regions"] += [{"name": "south", "bbox": [18.985, -33.91, 19.015, -33.89]}]
    recipe["modalities"]["s2_all"] = {
        **recipe["modalities"]["s2"],
        "bands": ["B11", "B12"],
        "time": {"start": "2021-01-01", "end": "2022-12-31"},
        "optional": True,
    }
    path = folder / "windows.yaml"
    path.write_text(json.dumps(recipe, default=str))  # JSON is YAML, without aliases
    root = folder / "dataset"
    done = on_cluster("build", path, "--out", root, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr + done.stdout
    return root


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return open_dataset(root)


def test_check_finds_nothing(root: Path, dataset: Dataset) -> None:
    assert check_dataset(root).problems == []
    assert len(dataset) > 0


def test_all_chips_have_the_same_steps(dataset: Dataset) -> None:
    steps = {tuple(windows) for windows in dataset.chips["s2.window"]}
    assert steps == {("2021-first", "2021-second", "2022-first", "2022-second")}
    for chip_id in dataset.chip_ids():
        sample = dataset.sample(chip_id, modalities=["s2"])
        for layer in sample.layers.values():
            empty = np.isnat(layer.time_utc)
            assert not layer.valid[empty].any()
            assert [bool(ids) for ids in sample.row["s2.item_ids"]] == (~empty).tolist()


def _items(world: World) -> dict[str, Any]:
    client = pystac_client.Client.open(world.stac_url)
    return {item.id: item for item in client.search(collections=["sentinel-2-l2a"], max_items=500).items()}


def _cut(world: World, item: Any, key: str, transform: list[float], shape: tuple[int, int]) -> Any:
    """The item's pixels on the layer's grid, zeros outside."""
    path = world.path_of(item.assets[key].href)
    with rasterio.open(path) as file:
        row, column = (
            round((file.transform.f - transform[5]) / transform[0]),
            round((transform[2] - file.transform.c) / transform[0]),
        )
        return file.read(1, window=Window(column, row, shape[1], shape[0]), boundless=True, fill_value=0)


def test_median_is_that_of_the_clear_pixels_of_the_named_items(world: World, dataset: Dataset) -> None:
    """Made again here with plain arrays from the files, masks included: equal to half a digital number."""
    items, compared = _items(world), 0
    for chip_id in dataset.chip_ids():
        sample = dataset.sample(chip_id, modalities=["s2_all"])
        layer = sample.layers["s2_all"]
        band = [b.name for b in dataset.layer("s2_all").bands].index("B11")
        transform, shape = sample.row["s2_all.transform"], layer.data.shape[2:]
        for t, joined in enumerate(sample.row["s2_all.item_ids"]):
            used = [items[item_id] for item_id in split_ids(joined)]
            zones = {item.properties.get("proj:code", f"EPSG:{item.properties.get('proj:epsg')}") for item in used}
            if not used or zones != {f"EPSG:{sample.row['epsg']}"} or sample.row["s2_all.dates_used"][t] != len(used):
                continue
            scl = np.stack([_cut(world, item, "SCL", transform, shape) for item in used])
            dn = np.stack([_cut(world, item, "B11", transform, shape) for item in used]).astype(float)
            offsets = [-1000.0 if float(item.properties["s2:processing_baseline"]) >= 4.0 else 0.0 for item in used]
            reflectance = (dn + np.array(offsets)[:, None, None]) * 1e-4
            seen = np.isin(scl, (2, 4, 5, 6)) & (dn > 0)
            np.testing.assert_array_equal(layer.count[t], seen.sum(axis=0))  # type: ignore[index]
            with np.errstate(all="ignore"):
                wanted = np.ma.median(np.ma.masked_array(reflectance, ~seen), axis=0).filled(np.nan)
            stored = layer.data[t, band] * layer.scale[t] + layer.offset[t]
            clear = layer.valid[t] != 0
            np.testing.assert_array_equal(clear, seen.any(axis=0))
            assert np.abs(stored - wanted)[clear].max(initial=0.0) <= 0.51e-4
            compared += int(clear.sum())
    assert compared > 1000


def test_seasons_are_named_by_hemisphere(dataset: Dataset) -> None:
    names = {"north": ["spring", "summer", "autumn"], "south": ["autumn", "winter", "spring"]}  # from March on
    seen = 0
    for _, row in dataset.chips.iterrows():
        for window, moment in zip(row["s2_best.window"], pd.DatetimeIndex(row["s2_best.datetimes"]), strict=True):
            wanted = "summer" if row["region"] == "south" and moment.month in (1, 2) else ""
            assert window.endswith(wanted or names[row["region"]][(moment.month - 3) // 3])
            seen += 1
    assert seen > 0


def test_pair_lies_on_both_sides_and_radar_of_one_pass_close_to_it(dataset: Dataset) -> None:
    radar = 0
    for _, row in dataset.chips.iterrows():
        windows = list(row["s2_pair.window"])
        assert windows in ([], ["pre"], ["post"], ["pre", "post"])
        for window, moment in zip(windows, pd.DatetimeIndex(row["s2_pair.datetimes"]), strict=True):
            assert (moment.date().isoformat() < "2022-01-25") == (window == "pre")
        assert all(abs(gap) <= 20 for gap in row["s1.near_gap_days"])
        assert len(set(row["s1.orbit_state"])) <= 1
        assert set(row["s1_mean.orbit_state"]) <= {"ascending"}
        radar += len(row["s1.item_ids"])
    assert radar > 0


def test_zarr_holds_the_counts(dataset: Dataset) -> None:
    composites = {table.group: table.composite for table in dataset.document.modalities}
    assert composites["s2_20m"] == "median"
    assert composites["s1"] == ""
    assert composites["s1_mean"] == "mean"
    stored = dataset.xarray("s2_20m")
    chip = dataset.sample(str(stored["chip_id"].values[0]))
    np.testing.assert_array_equal(stored["count"].values[0], chip.layers["s2_20m"].count)
