"""A build that goes by scenes: acquisitions measured over all chips, moved dates read again from the source."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pystac_client
import pytest
import rasterio
import yaml
from scipy import ndimage

from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.support import Terraweft, World, current_document


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load(sandbox_recipe.read_text())
    del recipe["labels"], recipe["captions"]
    recipe["modalities"] = {name: recipe["modalities"][name] for name in ("s2", "landsat")}
    recipe["modalities"]["s2"] |= {"bands": ["B04", "B08"], "optional": True}
    recipe["modalities"]["landsat"] |= {"bands": ["red", "nir08"], "optional": True, "engine": "direct"}
    recipe["write"]["kinds"] = ["webdataset"]
    return recipe


def _build(on_cluster: Terraweft, world: World, recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    done = on_cluster("build", path, "--out", folder / "data", TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    assert check_dataset(folder / "data").problems == []
    return current_document(folder / "data")


def test_dates_move_with_their_acquisition_in_one_resampling(
    on_cluster: Terraweft, world: World, recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe["register"] = {
        "mode": "correct", "correct_by": "scene", "correct_above_m": 1.0, "min_scene_chips": 3, "reference": "s2",
    }  # fmt: skip
    document = _build(on_cluster, world, recipe, tmp_path)
    truth = json.loads((world.index.root / "truth" / "truth.json").read_text())["items"]
    scenes = [row for row in document["registration"]["scene_shifts"] if row["agrees"]]
    assert scenes
    moved, errors = 0, []
    with closing(open_dataset(tmp_path / "data")) as dataset:
        for row in dataset.chips.to_dict("records"):
            sample = dataset.sample(row["chip_id"])
            for t, item_id in enumerate(row["s2.item_ids"]):
                if row["s2.applied_by"][t] != "scene":
                    continue
                moved += 1
                dx, dy = row["s2.applied_dx_m"][t], row["s2.applied_dy_m"][t]
                reference = next(i for i, s in zip(row["s2.item_ids"], row["s2.shift_sigma_m"], strict=True) if s == 0)
                ours, theirs = (np.array(truth[name]["shift_m"]) for name in (item_id, reference))
                errors.append(np.hypot(*(theirs - ours - (dx, dy))))
                assert row["s2.registered"][t] == "corrected"
                assert any((scene["dx_m"], scene["dy_m"]) == (dx, dy) for scene in scenes)
                source = world.path_of(_href(world, item_id, "B04"))
                x0, y0 = row["s2.transform"][2] - dx, row["s2.transform"][5] - dy
                wanted, known = _bilinear(source, x0, y0, tuple(row["s2.shape_yx"]))
                found = sample.layers["s2"].data[t, 0].astype(float)
                known &= sample.layers["s2"].valid[t] > 0
                assert known.mean() > 0.5
                assert np.abs(found - wanted)[known].max() <= 1.0  # rounded to whole numbers once
    assert moved >= 3
    assert np.median(errors) < 1.5


def _href(world: World, item_id: str, name: str) -> str:
    """Address of a band in the served items."""
    (item,) = pystac_client.Client.open(world.stac_url).search(collections=["sentinel-2-l2a"], ids=[item_id]).items()
    return next(asset.href for key, asset in item.assets.items() if key in (name, "red"))


def _bilinear(source: Path, x0: float, y0: float, shape: tuple[int, int]) -> tuple[Any, Any]:
    """A band on the 10 m grid that begins at (x0, y0), and where all four neighbours hold data; by SciPy alone."""
    with rasterio.open(source) as raster:
        pixels, transform = raster.read(1).astype(float), raster.transform
    rows = (transform.f - (y0 - 10 * (np.arange(shape[0]) + 0.5))) / -transform.e - 0.5
    columns = ((x0 + 10 * (np.arange(shape[1]) + 0.5)) - transform.c) / transform.a - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    known = ndimage.map_coordinates((pixels > 0).astype(float), places, order=1, cval=0.0) > 0.999
    return ndimage.map_coordinates(pixels, places, order=1, mode="nearest"), known
