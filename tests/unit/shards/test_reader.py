from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import terraweft
from schemas.errors import DatasetError
from shards.reader import open_dataset
from tests.unit.shards import made_up


def test_a_sample_by_id_equals_what_was_written(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    for number in range(10):
        wanted, found = made_up.sample(number), dataset.sample(made_up.chip_id(number))
        assert found.split == wanted.split
        for group, layer in wanted.layers.items():
            np.testing.assert_array_equal(found.layers[group].data, layer.data, strict=True)
            np.testing.assert_array_equal(found.layers[group].time_utc, layer.time_utc)
            assert found.layers[group].georef == layer.georef
        assert found.label is not None
        np.testing.assert_array_equal(found.label, wanted.label)


def test_tables_are_what_the_format_says(dataset_root: Path) -> None:
    dataset = open_dataset(str(dataset_root))
    assert len(dataset) == len(dataset.chips) == 10
    assert dataset.chips.crs.to_epsg() == 4326
    assert dataset.chips["zarr_index"].tolist() == list(range(10))
    assert dataset.outcomes["state"].value_counts().to_dict() == {"kept": 10, "rejected": 1, "failed": 1}
    assert dataset.table("outcomes", ["state"]).to_pydict() == {"state": list(dataset.outcomes["state"])}
    assert len(dataset.texts) == 20
    assert dataset.texts["spans"].map(len).sum() == 10
    assert set(dataset.run["step"]) == {"read"}


def test_iterate_gives_every_chip_of_a_split_once(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    found = [sample.chip_id for sample in dataset.iterate("train")]
    assert sorted(found) == sorted(made_up.chip_id(n) for n in range(10) if made_up.SPLITS[n % 5] == "train")
    assert sorted(s.chip_id for s in dataset.iterate()) == [made_up.chip_id(n) for n in range(10)]
    with pytest.raises(DatasetError, match="it has test, train, val"):
        next(dataset.iterate("dev"))


def test_what_is_not_asked_for_is_not_decoded(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    by_group = dataset.sample(made_up.chip_id(1), modalities=["s2_20m"], members=["label"])
    assert list(by_group.layers) == ["s2_20m"]
    assert (by_group.labels, by_group.confidence, by_group.osm, by_group.texts) == ({}, None, None, ())
    assert by_group.label is not None
    by_modality = dataset.sample(made_up.chip_id(1), modalities=["s2"], members=["labels", "texts"])
    assert list(by_modality.layers) == ["s2_10m", "s2_20m"]
    assert list(by_modality.labels) == ["worldcover"]
    assert by_modality.label is None
    assert len(by_modality.texts) == 2
    with pytest.raises(DatasetError, match="no modality 's9'"):
        dataset.sample(made_up.chip_id(1), modalities=["s9"])
    with pytest.raises(DatasetError, match=r"modalities='s2' is a text .*\('s2',\)"):
        dataset.sample(made_up.chip_id(1), modalities="s2")
    with pytest.raises(DatasetError, match="no member 'lable'"):
        dataset.sample(made_up.chip_id(1), members=["lable"])


def test_xarray_holds_the_samples_padded_and_labelled(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    layer = dataset.xarray("s1")
    assert layer["data"].dims == ("chip", "time", "band", "y", "x")
    assert layer["valid"].dims == ("chip", "time", "y", "x")
    assert {"chip_id", "time", "band", "wavelength_nm", "fwhm_nm", "x0", "y0", "epsg"} <= set(layer.coords)
    assert layer["data"].attrs["dn_scale"] == 1.0
    assert layer["data"].attrs["units"] == "1"
    assert layer["data"].dtype == np.float32
    for index, chip_id in enumerate(layer["chip_id"].values):
        wanted = dataset.sample(str(chip_id)).layers["s1"]
        dates = len(wanted.time_utc)
        np.testing.assert_array_equal(layer["data"][index, :dates], wanted.data)
        np.testing.assert_array_equal(layer["time"][index, :dates], wanted.time_utc)
        assert (layer["data"][index, dates:] == -32768).all()
        assert (layer["valid"][index, dates:] == 0).all()
        assert np.isnat(layer["time"][index, dates:]).all()
    assert dataset.xarray("s2_10m")["data"].attrs["dn_scale"] == 0.0001
    assert dataset.xarray("label")["data"].dims == ("chip", "y", "x")
    assert dataset.xarray("label_worldcover")["data"].attrs["nodata"] == 0
    with pytest.raises(DatasetError, match="no Zarr group"):
        dataset.xarray("s9")


def test_a_dataset_pickles_and_reads_on(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    first = dataset.sample(made_up.chip_id(0))
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.sample(made_up.chip_id(0)).layers["s2_10m"].data, first.layers["s2_10m"].data)
    dataset.close()
    assert dataset.sample(made_up.chip_id(0)).chip_id == first.chip_id


def test_unknown_names_say_what_there_is(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    with pytest.raises(DatasetError, match="no chip 'x'"):
        dataset.sample("x")
    with pytest.raises(DatasetError, match="it has s2_10m, s2_20m, s1"):
        dataset.layer("s9")
    with pytest.raises(DatasetError, match="there is no dataset"):
        open_dataset(dataset_root / "elsewhere")


def test_the_lobby_offers_the_public_names(dataset_root: Path) -> None:
    assert terraweft.open_dataset(dataset_root).name == "made-up"
    assert terraweft.check(dataset_root).ok
    assert terraweft.__version__
    with pytest.raises(AttributeError, match="nothing_here"):
        terraweft.nothing_here  # noqa: B018
