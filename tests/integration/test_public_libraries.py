"""Promise 1: a dataset is read with public libraries alone, and agrees with its manifest.

`check_with_public_libraries` imports nothing of Terraweft; it runs on any finished dataset:

    python tests/integration/test_public_libraries.py build/demo/dataset
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import geopandas
import icechunk
import numpy as np
import pandas
import pystac
import pystac.validation
import pytest
import webdataset
import xarray

LIBRARIES_LEAVE_FILES_OPEN = (
    "ignore:.*unclosed file:ResourceWarning",  # webdataset and mlcroissant leave closing to the garbage collector
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
LIBRARIES = ("webdataset", "icechunk + xarray", "geopandas", "pystac", "mlcroissant")


def check_with_public_libraries(root: Path) -> dict[str, int]:
    """Read everything, compare with ``dataset.json``; what was counted.

    Raises:
        AssertionError: a library reads something else than the manifest says.
    """
    pointer = json.loads((root / "terraweft.json").read_text())
    folder = root / "versions" / pointer["current"]
    manifest = json.loads((folder / "dataset.json").read_text())
    assert manifest["name"] == pointer["name"]
    for name, entry in manifest["tables"].items():
        content = (folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"]), name
    chips = geopandas.read_parquet(folder / "chips.parquet")
    counted = _tables(folder, manifest, chips)
    samples = _shards(root, manifest, chips)
    counted["samples"] = len(samples)
    counted["zarr_chips"] = _zarr(root, manifest, chips, samples)
    counted["stac_assets"] = _stac(folder, manifest, chips)
    counted["croissant_records"] = _croissant(folder, manifest, chips)
    return counted


def _tables(folder: Path, manifest: dict[str, Any], chips: geopandas.GeoDataFrame) -> dict[str, int]:
    outcomes = pandas.read_parquet(folder / "outcomes.parquet")
    texts = pandas.read_parquet(folder / "texts.parquet")
    counts = manifest["counts"]
    assert len(chips) == counts["kept"] == (outcomes["state"] == "kept").sum()
    assert len(outcomes) == counts["planned"]
    assert counts["planned"] == counts["kept"] + sum(counts["rejected"].values()) + sum(counts["failed"].values())
    assert set(chips["chip_id"]) == set(outcomes.loc[outcomes["state"] == "kept", "chip_id"])
    assert chips["split"].value_counts().to_dict() == manifest["splits"]["counts"]
    assert chips.crs.to_epsg() == 4326
    assert chips.geometry.is_valid.all()
    assert set(texts["chip_id"]) <= set(chips["chip_id"])
    assert len(texts) == manifest["tables"]["texts.parquet"]["rows"]
    return {"chips": len(chips), "outcomes": len(outcomes), "texts": len(texts)}


def _shards(root: Path, manifest: dict[str, Any], chips: geopandas.GeoDataFrame) -> dict[str, dict[str, Any]]:
    """Every sample through webdataset; arrays fit band tables, rows and masks."""
    rows = chips.set_index("chip_id")
    found: dict[str, dict[str, Any]] = {}
    for record in manifest["shards"]:
        path = root / record["path"]
        assert path.stat().st_size == record["bytes"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record["sha256"]
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).decode())
        assert [sample["__key__"] for sample in samples] == record["chip_ids"]
        for number, sample in enumerate(samples):
            row = rows.loc[sample["__key__"]]
            assert (row["shard"], row["shard_index"], row["split"]) == (record["path"], number, record["split"])
            assert sample["meta.json"]["input_hash"] == row["input_hash"]
            with path.open("rb") as file:
                file.seek(row["shard_offset"])
                segment = file.read(row["shard_length"])
            assert hashlib.sha256(segment).hexdigest() == row["sample_sha256"]
            _layers(manifest, sample, row)
            found[sample["__key__"]] = sample
    assert set(found) == set(chips["chip_id"])
    return found


def _layers(manifest: dict[str, Any], sample: dict[str, Any], row: pandas.Series[Any]) -> None:
    for layer in manifest["modalities"]:
        group = layer["group"]
        if f"{group}.npy" not in sample:
            continue
        data, valid = sample[f"{group}.npy"], sample[f"{group}_valid.npy"]
        dates = len(row[f"{layer['modality']}.datetimes"])
        assert data.dtype == layer["dtype"]
        assert data.shape == (dates, len(layer["bands"]), *row[f"{group}.shape_yx"])
        assert valid.shape == (dates, *row[f"{group}.shape_yx"])
        assert valid.dtype == np.uint8
        shown = np.broadcast_to(np.isin(valid, (1, 6))[:, None], data.shape)
        assert np.isfinite(data[shown]).all()
        if layer["nodata"] is not None:
            empty = (data == layer["nodata"]).all(axis=1)
            assert not (empty & np.isin(valid, (1, 6))).any()


def _zarr(
    root: Path, manifest: dict[str, Any], chips: geopandas.GeoDataFrame, samples: dict[str, dict[str, Any]]
) -> int:
    """Every chip of every group through icechunk and xarray equals its sample."""
    if not manifest["zarr"]:
        return 0
    icechunk.set_logs_filter("error")
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(root / manifest["zarr"]["path"])))
    store = repository.readonly_session(tag=manifest["zarr"]["tag"]).store
    count = 0
    for group in manifest["zarr"]["groups"]:
        layer = xarray.open_zarr(store, group=group, consolidated=False, chunks=None)
        assert layer["chip_id"].values.tolist() == chips["chip_id"].tolist()
        for index, chip_id in zip(chips["zarr_index"], chips["chip_id"], strict=True):
            array = samples[chip_id].get(f"{group}.npy")
            if array is None:
                continue
            stored = layer["data"][index].values
            inner = tuple(slice(0, size) for size in array.shape)
            assert np.array_equal(stored[inner], array, equal_nan=array.dtype.kind == "f"), (group, chip_id)
            if "valid" in layer:
                mask = samples[chip_id][f"{group}_valid.npy"]
                valid = layer["valid"][index].values
                assert np.array_equal(valid[tuple(slice(0, size) for size in mask.shape)], mask)
                assert valid.astype(bool).sum() == mask.astype(bool).sum()
                dates = chips[f"{layer.attrs['modality']}.datetimes"].iloc[index]
                empty = valid.shape[0] - pandas.notna(dates).sum()  # steps without a date, and padding
                assert np.isnat(layer["time"][index].values).sum() == empty
            count += 1
    return count


def _stac(folder: Path, manifest: dict[str, Any], chips: geopandas.GeoDataFrame) -> int:
    collection = pystac.Collection.from_file(str(folder / "collection.json"))
    pystac.validation.JsonSchemaSTACValidator().validate_core(
        json.loads((folder / "collection.json").read_text()), pystac.STACObjectType.COLLECTION, "1.1.0"
    )
    assert collection.id == manifest["name"]
    np.testing.assert_allclose(collection.extent.spatial.bboxes[0], chips.total_bounds)
    present = 0
    for asset in collection.assets.values():
        target = (folder / asset.href).resolve()
        assert target.exists(), asset.href
        present += 1
    assert sum(name.startswith("shard-") for name in collection.assets) == len(manifest["shards"])
    return present


def _croissant(folder: Path, manifest: dict[str, Any], chips: geopandas.GeoDataFrame) -> int:
    """The record sets load: tables by column, and each sample's row out of the shards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # rdflib's, inside mlcroissant
        import mlcroissant

        dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
        assert not dataset.metadata.issues.errors
        rows = list(dataset.records("chips"))
        texts = list(dataset.records("texts"))
        samples = list(dataset.records("samples"))
    assert sorted(row["chips/chip_id"].decode() for row in rows) == sorted(chips["chip_id"])
    assert len(texts) == manifest["tables"]["texts.parquet"]["rows"]
    found = {row["samples/key"].decode(): json.loads(row["samples/meta"]) for row in samples}
    assert sorted(found) == sorted(chips["chip_id"])
    assert all(meta["chip_id"] == key for key, meta in found.items())
    return len(rows) + len(texts) + len(samples)


@pytest.mark.filterwarnings(*LIBRARIES_LEAVE_FILES_OPEN)
def test_public_libraries_read_a_dataset_and_agree_with_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shards.storage import open_storage
    from shards.version import publish
    from tests.unit.shards import made_up

    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path / "croissant"))
    root = tmp_path / "dataset"
    publish(open_storage(root), made_up.draft(root, [made_up.sample(n) for n in range(10)]))
    counted = check_with_public_libraries(root)
    assert counted["chips"] == counted["samples"] == 10
    assert counted["zarr_chips"] == 60
    assert counted["croissant_records"] == 10 + 20 + 10


if __name__ == "__main__":
    sys.stdout.write(f"{', '.join(LIBRARIES)} read {check_with_public_libraries(Path(sys.argv[1]))}\n")
