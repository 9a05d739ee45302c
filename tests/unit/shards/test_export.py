"""Every export, read with the public libraries of its form and compared with the dataset, pixel by pixel."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import tarfile
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import h5py
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray
import zarr

from schemas.chip import Valid
from schemas.dataset import BandTable, SourceTable
from schemas.errors import DatasetError, UserError
from schemas.sample import Sample
from shards.export import ExportOptions, export_dataset
from shards.export_huggingface import rows_per_group
from shards.export_layers import CLOUD_CODES, SCENE_CODES, band_names, cloud_mask, stack
from shards.export_zarr import ZarrExporter
from shards.exporters import EXPORTERS, find_exporter
from shards.filters import ChipFilter
from shards.layout import sha256_of
from shards.reader import Dataset, open_dataset
from shards.storage import open_storage
from shards.version import publish
from terraweft.cli import main
from tests.unit.shards import made_up

TEXTS = ("shards.export_texts:", "shards.export_text_tables:", "shards.export_pointing:")
FORMS = sorted(name for name, place in EXPORTERS.items() if not place.startswith(TEXTS))
"""Forms of pixels; those of texts want a dataset that has some (`test_export_texts`)."""

Export = Callable[..., Path]


@pytest.fixture(scope="module")
def dataset(published: Path) -> Dataset:
    return open_dataset(published)


@pytest.fixture
def export(dataset: Dataset, tmp_path: Path) -> Export:
    def run(form: str, **options: Any) -> Path:
        to = tmp_path / form
        export_dataset(dataset, to, ExportOptions(form, **options))
        return to

    return run


def samples(dataset: Dataset, split: str | None = None) -> list[Sample]:
    return list(dataset.iterate(split))


def s2_of(sample: Sample) -> np.ndarray:
    """(T, 3, H, W): both groups on the grid of 10 m, bands by name."""
    coarse = sample.layers["s2_20m"].data
    nearest = np.kron(coarse, np.ones((1, 1, 2, 2), coarse.dtype))
    return np.concatenate([sample.layers["s2_10m"].data, nearest], axis=1)


def valid_of(sample: Sample) -> np.ndarray:
    """(T, H, W): the mask of 10 m, and no data where the bands of 20 m have none."""
    coarse = np.kron(sample.layers["s2_20m"].valid, np.ones((1, 2, 2), np.uint8))
    return np.where(coarse == 0, np.uint8(0), sample.layers["s2_10m"].valid)


def test_a_mask_of_several_groups_says_what_is_lost_in_any() -> None:
    sample = made_up.sample(0)
    fine, coarse = (sample.layers[name] for name in ("s2_10m", "s2_20m"))
    valid = np.full_like(coarse.valid, Valid.CLEAR)
    valid[0, 5, 6], valid[0, 5, 7], valid[0, 5, 8] = Valid.NODATA, Valid.DEFECTIVE, Valid.CLOUD
    layers = {
        "s2_10m": replace(fine, valid=np.full_like(fine.valid, Valid.WATER)),
        "s2_20m": replace(coarse, valid=valid),
    }
    found = stack(replace(sample, layers=layers), made_up.LAYERS[:2])
    assert found is not None
    assert found.valid[0, 10, 10:20].tolist() == [6, 6, 0, 0, 7, 7, 6, 6, 6, 6]


def test_major_tom_rows_hold_each_band_as_a_geotiff(dataset: Dataset, export: Export) -> None:
    root = export("majortom", samples_per_file=7)
    table = geopandas.read_parquet(root / "Core-S2" / "metadata.parquet")
    assert list(table.columns[:13]) == [
        "grid_cell", "grid_row_u", "grid_col_r", "product_id", "timestamp", "cloud_cover", "nodata",
        "centre_lat", "centre_lon", "crs", "parquet_url", "parquet_row", "geometry",
    ]  # fmt: skip
    assert len(list((root / "Core-S2" / "images").iterdir())) > 1
    assert set(table["grid_row_u"]) == {506}
    found = 0
    for sample in samples(dataset):
        rows = table[table["chip_id"] == sample.chip_id]
        assert len(rows) == len(sample.layers["s2_10m"].data)
        for date, (_, row) in enumerate(rows.iterrows()):
            file = pq.ParquetFile(root / row["parquet_url"])
            assert file.metadata.num_row_groups == file.metadata.num_rows
            cell = file.read_row_group(row["parquet_row"]).to_pylist()[0]
            kept = (file.metadata.row_group(0).column(place) for place in range(3, file.metadata.num_columns))
            assert not any(one.is_stats_set for one in kept)  # pictures, least and most, in the footer
            assert list(cell)[:3] == ["product_id", "grid_cell", "product_datetime"]  # as the parts of Core have them
            assert cell["product_datetime"] == row["timestamp"]
            assert cell["product_id"] == f"{sample.row['s2.item_ids'][date]}_{sample.chip_id}"
            assert row["item_ids"] == sample.row["s2.item_ids"][date]
            for group, band, number in (("s2_10m", "B04", 1), ("s2_20m", "B11", 0)):
                layer = sample.layers[group]
                with rasterio.open(io.BytesIO(cell[band])) as picture:
                    np.testing.assert_array_equal(picture.read(1), layer.data[date, number], strict=True)
                    assert picture.crs.to_epsg() == layer.georef.epsg
                    assert tuple(picture.transform)[:6] == layer.georef.transform
                    assert picture.nodata == 0
            with rasterio.open(io.BytesIO(cell["cloud_mask"])) as mask:
                np.testing.assert_array_equal(mask.read(1), cloud_mask(sample.layers["s2_10m"].valid[date]))
            assert cell["thumbnail"].startswith(b"\x89PNG")
            found += 1
    assert found == len(table)
    # Core's own code unpacks a row into a folder of these two: rows that share both are one picture there.
    assert not table.duplicated(["grid_cell", "product_id"]).any()
    radar = pandas.read_parquet(root / "Core-S1" / "metadata.parquet")
    assert len(radar) == sum(len(sample.layers["s1"].data) for sample in samples(dataset))


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")  # webdataset leaves it to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_terramesh_tars_zip_over_modalities_and_hold_zarr(dataset: Dataset, export: Export) -> None:
    import webdataset

    root = export("terramesh", samples_per_file=4)
    assert sorted(path.name for path in (root / "train").iterdir()) == ["LULC", "S1", "S2"]
    found = 0
    for number in (1, 2):
        keys = []
        for modality in ("S2", "S1", "LULC"):
            path = root / "train" / modality / f"made-up_train_{number:05d}.tar"
            with tarfile.open(path) as tar:
                names = tar.getnames()
            keys.append(names)
            for read in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False):
                sample = dataset.sample(read["__key__"])
                pixels = zarr_of(read["zarr.zip"])
                if modality == "S2":
                    np.testing.assert_array_equal(pixels["bands"][...], s2_of(sample), strict=True)
                    assert pixels["band"][...].tolist() == ["B02", "B04", "B11"]
                    assert pixels["cloud_mask"].shape == sample.layers["s2_10m"].valid.shape
                elif modality == "S1":
                    np.testing.assert_array_equal(pixels["bands"][...], sample.layers["s1"].data)
                    assert "cloud_mask" not in pixels
                else:
                    np.testing.assert_array_equal(pixels["bands"][0, 0], sample.label)
                assert pixels["crs"][0] == made_up.EPSG
                group = {"S2": "s2_10m", "S1": "s1"}.get(modality)
                times = sample.layers[group].time_utc if group else np.array(["NaT"], "datetime64[ns]")
                np.testing.assert_array_equal(pixels["time"][...], times.astype(np.int64))  # nanoseconds
                found += 1
        assert keys[0] == keys[1] == keys[2]
    assert found == 3 * 6


def zarr_of(content: bytes) -> zarr.Group:
    """A zipped Zarr group, as Zarr's own library reads it, from consolidated metadata alone."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert set(json.loads(parts[".zmetadata"])["metadata"]) >= {".zgroup", "bands/.zarray"}
    buffers = {name: zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(v) for name, v in parts.items()}
    return zarr.open_consolidated(zarr.storage.MemoryStore(buffers), mode="r", zarr_format=2)


def test_ssl4eo_files_hold_so_many_samples_each(dataset: Dataset, export: Export) -> None:
    root = export("ssl4eo", samples_per_file=4)
    files = sorted((root / "train" / "S2").iterdir())
    assert [path.name for path in files] == [f"made-up_train_{n:06d}.zarr.zip" for n in (1, 2)]
    seen = []
    for path in files:
        with zarr.storage.ZipStore(path, mode="r") as store:
            read = xarray.open_zarr(store, zarr_format=2, consolidated=True).load()
        assert read["bands"].dims == ("sample", "time", "band", "y", "x")
        for index, chip_id in enumerate(read["sample"].values):
            sample = dataset.sample(str(chip_id))
            dates = len(sample.layers["s2_10m"].data)
            np.testing.assert_array_equal(read["bands"][index, :dates], s2_of(sample))
            np.testing.assert_array_equal(read["valid"][index, :dates], valid_of(sample))
            lost = (read["bands"][index, :dates] == 0).any("band").values  # of any group
            assert lost.any()
            assert not read["valid"][index, :dates].values[lost].any()
            assert (read["cloud_mask"][index, :dates].values[lost] == 255).all()
            assert not read["valid"][index, dates:].any()
            assert np.isnat(read["time_"].values[index, dates:]).all()
            np.testing.assert_array_equal(
                read["time_"].values[index, :dates].astype("datetime64[us]"),
                sample.layers["s2_10m"].time_utc.astype("datetime64[us]"),
            )
            assert int(read["crs"][index]) == made_up.EPSG
            seen.append(str(chip_id))
    assert sorted(seen) == sorted(dataset.chip_ids("train"))
    table = pandas.read_parquet(root / "metadata.parquet")
    assert (table["modality"] == "s2").sum() == sum(len(s.layers["s2_10m"].data) for s in samples(dataset))


def test_geotiff_pairs_hold_all_steps_and_the_map(dataset: Dataset, export: Export) -> None:
    root = export("geotiff", modalities=("s2",))
    for split in ("train", "val", "test"):
        table = pandas.read_csv(root / f"{split}.csv")
        assert list(table.columns) == ["Input", "Label"]
        assert len(table) == len(dataset.chip_ids(split))
        for _, row in table.iterrows():
            sample = dataset.sample(re.sub(r"chips/chip_|\.tif", "", row["Input"]))
            wanted = s2_of(sample)
            with rasterio.open(root / row["Input"]) as chip, rasterio.open(root / row["Label"]) as seg_map:
                pixels, label = chip.read(), seg_map.read(1)
                assert chip.count == 9
                assert chip.descriptions[0] == "B02 2026-03-01T10:30:31Z"
                there = wanted.shape[0] * 3
                assert chip.scales == (0.0001,) * there + (1.0,) * (9 - there)
                assert chip.offsets == (-0.1,) * there + (0.0,) * (9 - there)
                assert (chip.crs, chip.transform, chip.shape) == (seg_map.crs, seg_map.transform, seg_map.shape)
                assert tuple(chip.transform)[:6] == sample.layers["s2_10m"].georef.transform
            np.testing.assert_array_equal(pixels[: wanted.shape[0] * 3], wanted.reshape(-1, 24, 36))
            assert not pixels[wanted.shape[0] * 3 :].any()
            np.testing.assert_array_equal(label, np.where(sample.label == 255, -1, sample.label.astype(np.int16)))


def test_chips_that_make_no_pair_are_counted_and_nothing_at_all_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = [replace(made_up.sample(number), label=None, confidence=None) for number in (0, 1)]
    root = tmp_path / "some"
    publish(open_storage(root), made_up.draft(root, [*bare, made_up.sample(2)], zarr_shard_chips=None))
    dataset = open_dataset(root)
    box = dataset.chips.set_index("chip_id").loc[bare[0].chip_id].geometry.centroid
    where = ChipFilter(bbox=(box.x, box.y, box.x, box.y))
    with pytest.raises(DatasetError, match="no chip has both s2 and a fused label"):
        export_dataset(dataset, tmp_path / "none", ExportOptions("geotiff", modalities=("s2",), where=where))
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(root), "--to", "geotiff", "--modality", "s2", "--out", str(tmp_path / "out")])
    assert "1 samples of" in (told := capsys.readouterr().out)
    assert "2 chip(s) hold nothing of this form" in told
    manifest = json.loads((tmp_path / "out/export.json").read_text())
    assert (manifest["samples"], manifest["left_out"]) == (1, 2)
    assert "2 chip(s) of the selection hold nothing of this form." in (tmp_path / "out/README.md").read_text()


def test_no_modality_and_no_sample_per_file_are_one_line(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no modality to export"):
        export_dataset(dataset, tmp_path / "out", ExportOptions("zarr", modalities=()))
    with pytest.raises(UserError, match="at least 1"):
        export_dataset(dataset, tmp_path / "out", ExportOptions("huggingface", samples_per_file=-1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["hdf5", "majortom", "ssl4eo", "terramesh"])
def test_the_centre_of_a_chip_on_the_antimeridian_is_not_on_the_other_side_of_the_earth(
    tmp_path: Path, form: str
) -> None:
    parts = shapely.box(179.99, -16.51, 180.0, -16.5), shapely.box(-180.0, -16.51, -179.98, -16.5)
    sample = made_up.sample(0)
    sample = replace(sample, row={**sample.row, "geometry_wkb": shapely.to_wkb(shapely.MultiPolygon(parts))})
    root, out = tmp_path / "d", tmp_path / "out"
    publish(open_storage(root), made_up.draft(root, [sample], zarr_shard_chips=None))
    export_dataset(open_dataset(root), out, ExportOptions(form, modalities=("s2",)))
    if form == "hdf5":
        latitude, longitude = h5py.File(out / "sample_0.h5")["latlon"][:]
    elif form == "majortom":
        row = pq.read_table(out / "Core-S2/metadata.parquet").to_pylist()[0]
        latitude, longitude = row["centre_lat"], row["centre_lon"]
    else:
        path = next(out.rglob("*.zarr.zip" if form == "ssl4eo" else "S2/*.tar"))
        if form == "terramesh":
            with tarfile.open(path) as tar:
                tar.extractall(tmp_path, filter="data")
            path = next(tmp_path.glob("*.zarr.zip"))
        with zarr.storage.ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r", zarr_format=2)
            latitude, longitude = group["center_lat"][0], group["center_lon"][0]
    assert (latitude, longitude) == pytest.approx((-16.505, -179.995), abs=1e-4)


def test_a_pair_holds_one_modality(export: Export) -> None:
    with pytest.raises(DatasetError, match="holds one modality, not 2"):
        export("geotiff")


def test_a_pair_whose_grids_differ_is_refused(export: Export) -> None:
    with pytest.raises(DatasetError, match=r"label has .* pixels"):
        export("geotiff", modalities=("s1",))


def test_hdf5_holds_present_steps_and_says_which(dataset: Dataset, export: Export) -> None:
    root = export("hdf5")
    table = pandas.read_csv(root / "sample_metadata.csv")
    assert sorted(table["chip_id"]) == sorted(dataset.chip_ids())
    assert table["sample_index"].tolist() == list(range(len(table)))
    places = np.load(root / "latlon_distribution.npy")
    np.testing.assert_allclose(places, table[["latitude", "longitude"]], rtol=1e-6)
    for _, row in table.iterrows():
        sample = dataset.sample(row["chip_id"])
        assert row["file"] == f"sample_{row['sample_index']}.h5"
        assert (row["s2"], row["s1"]) == (1, int(len(sample.layers["s1"].data) > 0))
        with h5py.File(root / row["file"]) as file:
            stamps = file["timestamps"][:]
            assert len(stamps) == row["steps"] == len(sample.layers["s2_10m"].data)
            assert stamps[0].tolist() == [1, 2, 2026]  # the first of March
            masks = file["missing_timesteps_masks"]
            for modality, wanted in (("s2", s2_of(sample)), ("s1", sample.layers["s1"].data)):
                present = masks[modality][:]
                assert present.tolist() == [i < len(wanted) for i in range(len(stamps))]
                if not len(wanted):
                    assert modality not in file
                    continue
                full = np.zeros((*wanted.shape[2:], len(stamps), wanted.shape[1]), wanted.dtype)
                full[:, :, present] = file[modality][:]
                np.testing.assert_array_equal(full.transpose(2, 3, 0, 1)[: len(wanted)], wanted)
            assert file["s2"].attrs["bands"].tolist() == ["B02", "B04", "B11"]
            np.testing.assert_array_equal(file["label"][:], sample.label)
            left, _, _, top = sample.row["bounds_xyxy"]
            for name in ("label", "confidence", "label_worldcover"):
                assert file[name].attrs["transform"].tolist() == [10.0, 0.0, left, 0.0, -10.0, top]
                assert file[name].attrs["epsg"] == made_up.EPSG
            assert json.loads(file["texts"][()])[0]["kind"] == "caption"
            assert 50 < file["latlon"][0] < 51


def at(sample: Sample, group: str, times: list[str]) -> Sample:
    """With other times of a group's modality."""
    modality = group.partition("_")[0]
    stamps = np.array([time or "NaT" for time in times], "datetime64[ns]")
    layers = {
        name: replace(layer, time_utc=stamps) if name.startswith(modality) else layer
        for name, layer in sample.layers.items()
    }
    column = [f"{time}Z" if time else None for time in times]
    return replace(sample, layers=layers, row={**sample.row, f"{modality}.datetimes": column})


def test_hdf5_holds_bands_group_by_group_as_olmoearth_reads_them(tmp_path: Path) -> None:
    """It takes bands by their place: of Sentinel-2 those of 10 m, of 20 m, of 60 m."""
    sample = made_up.sample(1)
    coarser = made_up.LAYERS[1].model_copy(update={"bands": (BandTable(name="B01"),)})
    draft = made_up.draft(tmp_path / "d", [sample], zarr_shard_chips=None)
    publish(open_storage(tmp_path / "d"), replace(draft, layers=(made_up.LAYERS[0], coarser, made_up.LAYERS[2])))
    export_dataset(open_dataset(tmp_path / "d"), tmp_path / "out", ExportOptions("hdf5"))
    with h5py.File(tmp_path / "out/sample_0.h5") as file:
        assert file["s2"].attrs["bands"].tolist() == ["B02", "B04", "B01"]
        np.testing.assert_array_equal(file["s2"][:].transpose(2, 3, 0, 1), s2_of(sample))


def test_hdf5_holds_every_date_of_a_day(tmp_path: Path) -> None:
    sample = at(made_up.sample(2), "s2_10m", ["2026-03-01T10:30:31", "2026-03-01T10:30:46", "2026-03-06T10:30:31"])
    sample = at(sample, "s1", ["2026-03-01T06:00:00", "2026-03-06T17:00:00"])
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", [sample], zarr_shard_chips=None))
    export_dataset(open_dataset(tmp_path / "d"), tmp_path / "out", ExportOptions("hdf5"))
    with h5py.File(tmp_path / "out/sample_0.h5") as file:
        assert file["timestamps"][:].tolist() == [[1, 2, 2026], [1, 2, 2026], [6, 2, 2026]]
        assert file["missing_timesteps_masks/s2"][:].tolist() == [True, True, True]
        assert file["missing_timesteps_masks/s1"][:].tolist() == [True, False, True]
        np.testing.assert_array_equal(file["s2"][:].transpose(2, 3, 0, 1), s2_of(sample))
        np.testing.assert_array_equal(file["s1"][:].transpose(2, 3, 0, 1), sample.layers["s1"].data)
        assert len(file["s2_scale"]) == 3


LONG_ID = " ".join(
    f"S2B_MSIL2A_202603{day:02d}T103031_N0511_R108_T31UFQ_202603{day:02d}T154210" for day in range(1, 10)
)
"""Nine items behind one date of a composite."""


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Chips of one and three dates, of floats whose product names no value of no data; the items have long names."""
    layer = made_up.LAYERS[0].model_copy(update={"dtype": "float32", "nodata": None})
    made = []
    for sample in (made_up.sample(0), made_up.sample(2)):
        stored = sample.layers["s2_10m"]
        data = np.where(stored.valid[:, None] == 0, np.float32(np.nan), stored.data.astype(np.float32))
        stored.valid[0, 7, :6] = range(2, 8)
        row = {key: value for key, value in sample.row.items() if not key.startswith(("s1", "s2_20m"))}
        row["s2.item_ids"] = [LONG_ID] * len(data)
        made.append(replace(sample, layers={"s2_10m": replace(stored, data=data)}, row=row))
    root = tmp_path_factory.mktemp("floats") / "d"
    publish(open_storage(root), made_up.draft(root, made, layers=(layer,), zarr_shard_chips=None))
    return open_dataset(root)


def test_what_floats_lack_is_nan_for_gdal(floats: Dataset, tmp_path: Path) -> None:
    export_dataset(floats, tmp_path / "pairs", ExportOptions("geotiff"))
    with rasterio.open(tmp_path / f"pairs/chips/chip_{made_up.chip_id(0)}.tif") as chip:
        assert np.isnan(chip.nodata)
        assert np.isnan(chip.read()[2:]).all()  # two dates that this chip lacks, two bands each
        wanted = floats.sample(made_up.chip_id(0)).layers["s2_10m"].valid[0] != 0
        np.testing.assert_array_equal(chip.read_masks(1) != 0, wanted)
    export_dataset(floats, tmp_path / "cells", ExportOptions("majortom"))
    rows = pq.read_table(next((tmp_path / "cells/Core-S2/images").iterdir())).to_pylist()
    with rasterio.open(io.BytesIO(rows[0]["B02"])) as band:
        assert np.isnan(band.nodata)


def test_ssl4eo_pads_floats_with_nan_and_cuts_no_name(floats: Dataset, tmp_path: Path) -> None:
    export_dataset(floats, tmp_path / "out", ExportOptions("ssl4eo"))
    with zarr.storage.ZipStore(next((tmp_path / "out/train/S2").iterdir()), mode="r") as store:
        read = xarray.open_zarr(store, zarr_format=2, consolidated=True).load().set_index(sample="sample")
    short, long = read.sel(sample=made_up.chip_id(0)), read.sel(sample=made_up.chip_id(2))
    assert np.isnan(short["bands"].values[1:]).all()
    assert not np.isnan(long["bands"].values[1:]).any()
    assert short["file_id"].values.tolist() == [LONG_ID, "", ""]
    assert short["cloud_mask"].values[0, 7, :7].tolist() == OF_SCENES
    assert short["sample_id"].values.tolist() == [f"{made_up.chip_id(0)}_{time}" for time in range(3)]
    assert (read["time"].values.tolist(), read["x"].values[-1], read["y"].values[-1]) == ([0, 1, 2], 35, 23)
    table = geopandas.read_parquet(tmp_path / "out/metadata.parquet")
    assert (table.crs.to_epsg(), table["tile_crs"].tolist()) == (4326, [made_up.EPSG] * 4)


OF_SCENES = [4, 5, 2, 3, 1, 255, 0]
"""Cloud, shadow, snow, haze, water, defective and clear ground as TerraMesh and SSL4EO-S12 v1.1 write them."""


def test_terramesh_writes_clouds_in_its_own_codes(floats: Dataset, tmp_path: Path) -> None:
    export_dataset(floats, tmp_path / "out", ExportOptions("terramesh", modalities=("s2",)))
    with tarfile.open(next((tmp_path / "out/train/S2").iterdir())) as tar:
        member = tar.extractfile(tar.getmembers()[0])
        assert member is not None
        pixels = zarr_of(member.read())
    assert pixels["cloud_mask"][0, 7, :7].tolist() == OF_SCENES


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hugging_face_loads_the_folder(dataset: Dataset, export: Export, tmp_path: Path) -> None:
    import datasets

    root = export("huggingface", samples_per_file=4)
    loaded = datasets.load_dataset(str(root), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 6, "validation": 2, "test": 2}
    assert isinstance(loaded["train"].features["s2_10m"], datasets.Array4D)
    for part in loaded.values():
        for row in part.with_format("numpy"):
            sample = dataset.sample(str(row["chip_id"]))
            np.testing.assert_array_equal(np.asarray(row["s2_10m"]), sample.layers["s2_10m"].data)
            np.testing.assert_array_equal(np.asarray(row["s2_20m_valid"]), sample.layers["s2_20m"].valid)
            np.testing.assert_array_equal(np.asarray(row["label"]), sample.label)
            np.testing.assert_array_equal(np.asarray(row["label_worldcover"]), sample.labels["worldcover"])
            assert len(row["s1.scale"]) == len(sample.layers["s1"].data)
            left, _, _, top = sample.row["bounds_xyxy"]  # the layer s1 begins half a pixel outside of its chip
            assert row["s1.transform"].tolist() == [10.0, 0.0, left - 5.0, 0.0, -10.0, top + 5.0]
    streamed = datasets.load_dataset(str(root), split="train", streaming=True)
    assert sorted(row["chip_id"] for row in streamed) == sorted(dataset.chip_ids("train"))
    card = (root / "README.md").read_text()
    assert card.startswith("---\nconfigs:")
    assert "ODbL-1.0 (share alike)" in card


def test_row_groups_of_large_chips_hold_few_of_them() -> None:
    table = made_up.LAYERS[0]
    assert rows_per_group([table]) == 16
    assert rows_per_group([table, table.model_copy(update={"max_dates": 24, "shape_yx": (1024, 1024)})]) == 2
    assert rows_per_group([table.model_copy(update={"max_dates": 99, "shape_yx": (9000, 9000)})]) == 1


class Unlisted(zarr.storage.LocalStore):
    """A folder as a web server shows it: what is asked for by name, and no list of what is there."""

    supports_listing = False

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        for name in ():
            yield name


def test_plain_zarr_opens_where_nothing_lists_its_folders(dataset: Dataset, export: Export) -> None:
    store = Unlisted(export("zarr", split="val", modalities=("s2",)) / "dataset.zarr", read_only=True)
    assert xarray.open_zarr(store, group="s2_10m")["data"].sizes["chip"] == len(dataset.chip_ids("val"))
    assert "label" in zarr.open_group(store, mode="r")


def test_plain_zarr_equals_the_repository(dataset: Dataset, export: Export) -> None:
    root = export("zarr", samples_per_file=3)
    for group in ("s2_10m", "s2_20m", "s1", "label", "confidence", "label_worldcover"):
        plain = xarray.open_zarr(root / "dataset.zarr", group=group, consolidated=False)
        assert plain.load().identical(dataset.xarray(group).load())
    stored = zarr.open_array(root / "dataset.zarr" / "s2_10m" / "data", mode="r")
    assert stored.shards[0] == 3
    assert stored.chunks[0] == 1


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("form", FORMS)
def test_an_export_says_what_it_is_lists_its_files_and_shows_how_to_read_it(
    dataset: Dataset, export: Export, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = export(form, split="val", modalities=("s2",))
    manifest = json.loads((root / "export.json").read_text())
    assert (manifest["form"], manifest["version"], manifest["samples"]) == (form, dataset.version, 2)
    on_disk = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == on_disk - {"export.json"}
    for name, entry in manifest["files"].items():
        assert entry == {"bytes": (root / name).stat().st_size, "sha256": sha256_of(root / name)}
    assert "Made up for a test" in (root / "LICENCES.md").read_text()
    assert "s1" not in {source["layer"] for source in manifest["sources"]}
    card = (root / "README.md").read_text()
    assert ("- `label`: 0 Tree, 1 Water" in card) == ("label" in find_exporter(form).members)
    assert ("7 saturated or defective" in card) == (form not in ("geotiff", "majortom"))  # these hold no validity
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "README.md", "exec"), {})


CLOSED = SourceTable(
    layer="s1",
    catalog="made",
    collection="closed",
    licence="proprietary",
    attribution="Somebody",
    redistributable=False,
)


def test_an_export_tells_the_classes_of_its_labels(dataset: Dataset, export: Export) -> None:
    root = export("hdf5", split="val", modalities=("s2",))
    legends = json.loads((root / "export.json").read_text())["legends"]
    assert legends == {
        "label": [{"value": 0, "name": "Tree", "colour": ""}, {"value": 1, "name": "Water", "colour": ""}],
        "label_worldcover": [{"value": 10, "name": "Tree <cover>", "colour": "#006400"}],
    }
    assert "- `label_worldcover`: 10 Tree &lt;cover>\n" in (root / "README.md").read_text()


def test_an_export_tells_all_bands_with_wavelengths_and_statistics(dataset: Dataset, export: Export) -> None:
    root = export("huggingface", split="val", modalities=("s2",))
    layers = json.loads((root / "export.json").read_text())["layers"]
    assert layers == [dataset.layer(group).model_dump(mode="json") for group in ("s2_10m", "s2_20m")]
    assert [band["centre_nm"] for band in layers[0]["bands"]] == [492.4, 664.6]
    assert "physical values, not of stored ones" in (root / "README.md").read_text()


@pytest.mark.parametrize(("form", "layers"), [("ssl4eo", {"s2"}), ("majortom", {"s2"}), ("geotiff", {"s2", "osm"})])
def test_licences_of_labels_bind_only_forms_that_hold_labels(export: Export, form: str, layers: set[str]) -> None:
    manifest = json.loads((export(form, split="val", modalities=("s2",)) / "export.json").read_text())
    assert {source["layer"] for source in manifest["sources"]} == layers


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A private dataset whose Sentinel-1 may not be given on."""
    root = tmp_path_factory.mktemp("closed") / "dataset"
    draft = made_up.draft(
        root, [made_up.sample(n) for n in range(5)], zarr_shard_chips=None, private=True,
        sources=(*made_up.SOURCES, CLOSED),
    )  # fmt: skip
    publish(open_storage(root), draft)
    return open_dataset(root)


def test_what_may_not_be_given_on_is_refused_unless_the_export_is_private(closed: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="s1 may not be given on"):
        export_dataset(closed, tmp_path / "out", ExportOptions("hdf5"))
    with pytest.raises(DatasetError, match="the dataset is private"):
        export_dataset(closed, tmp_path / "out", ExportOptions("hdf5", modalities=("s2",)))
    assert not list(tmp_path.iterdir())
    export_dataset(closed, tmp_path / "out", ExportOptions("hdf5", private=True))
    assert "**Private**" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "export.json").read_text())["private"] is True


@pytest.mark.parametrize("form", FORMS)
def test_an_export_that_dies_leaves_nothing_under_its_name(dataset: Dataset, tmp_path: Path, form: str) -> None:
    class Died(Exception):
        pass

    def die(done: int, total: int) -> None:
        if done == 3:
            raise Died

    to = tmp_path / "out"
    with pytest.raises(Died):
        export_dataset(dataset, to, ExportOptions(form, modalities=("s2",)), on_sample=die)
    assert not to.exists()
    assert list(tmp_path.iterdir()) == []
    export_dataset(dataset, to, ExportOptions(form, modalities=("s2",)))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_the_user_s_own_beside_the_export_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out.tmp").mkdir()
    (tmp_path / "out.tmp" / "mine.txt").write_text("mine")
    export_dataset(dataset, tmp_path / "out", ExportOptions("zarr"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.tmp"]
    assert (tmp_path / "out.tmp" / "mine.txt").read_text() == "mine"


def test_what_a_killed_export_left_is_removed_and_one_that_lives_is_not(dataset: Dataset, tmp_path: Path) -> None:
    left = tmp_path / f".out.{'0a' * 6}.tmp"
    (left / "data").mkdir(parents=True)
    other = tmp_path / f".out.more.{'0a' * 6}.tmp"  # of an export called out.more
    other.mkdir()

    def again(done: int, total: int) -> None:
        if done == 1:
            with pytest.raises(DatasetError, match="another export to this folder is under way"):
                export_dataset(dataset, tmp_path / "out", ExportOptions("hdf5"))

    export_dataset(dataset, tmp_path / "out", ExportOptions("hdf5", modalities=("s2",)), on_sample=again)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out"]


def test_a_refused_export_leaves_nothing(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds one modality"):
        export_dataset(dataset, tmp_path / "out", ExportOptions("geotiff"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["geotiff", "hdf5", "texts", "llava"])
def test_samples_per_file_of_a_form_that_has_no_use_for_them_are_refused(
    dataset: Dataset, tmp_path: Path, form: str
) -> None:
    with pytest.raises(UserError, match=f"--samples-per-file: has no effect on the form {form}"):
        export_dataset(dataset, tmp_path / "out", ExportOptions(form, samples_per_file=3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["os:path", "pathlib:Path", "shards.export_geotiff:GeoTiffExporter.add"])
def test_what_is_no_exporter_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match="--to: "):
        find_exporter(name)


def test_a_folder_that_is_taken_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something is there already"):
        export_dataset(dataset, tmp_path / "out", ExportOptions("zarr"))
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    export_dataset(dataset, tmp_path / "out", ExportOptions("zarr"))


def test_only_chips_that_pass_are_exported(dataset: Dataset, export: Export) -> None:
    root = export("hdf5", split="train", where=ChipFilter(modalities=("s1",)))
    wanted = dataset.chip_ids("train", where=ChipFilter(modalities=("s1",)))
    assert sorted(pandas.read_csv(root / "sample_metadata.csv")["chip_id"]) == sorted(wanted)
    with pytest.raises(DatasetError, match="no chip to export"):
        export("zarr", where=ChipFilter(regions=("elsewhere",)))


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=f"known: {', '.join(sorted(EXPORTERS))}"):
        find_exporter("shapefile")
    with pytest.raises(UserError, match="cannot be imported"):
        find_exporter("nowhere.to:Be")


def test_every_validity_code_has_a_cloud_code_and_bands_stand_in_the_sensors_order() -> None:
    assert cloud_mask(np.arange(8, dtype=np.uint8)).tolist() == [255, 0, 1, 3, 0, 2, 0, 255]
    assert len(CLOUD_CODES) == len(SCENE_CODES) == 8
    assert band_names(made_up.LAYERS[:2]) == ["B02", "B04", "B11"]
    own = made_up.LAYERS[0].model_copy(  # a sensor of the user's own
        update={"bands": tuple(BandTable(name=name) for name in ("B8A", "B11", "B9", "B8", "red", "nir08"))}
    )
    coarser = made_up.LAYERS[1].model_copy(update={"bands": (BandTable(name="pan"),)})
    assert band_names([own, coarser]) == ["B8", "B8A", "B9", "B11", "nir08", "pan", "red"]


def test_the_command_says_where(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from terraweft.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["export", str(published), "--to", "zarr", "--out", str(tmp_path / "z"), "--split", "val"])
    assert ended.value.code == 0
    assert "2 samples of made-up" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as ended:
        main(["export", str(published), "--to", "zarr", "--out", str(tmp_path / "y"), "--bbox", "1,2"])
    assert ended.value.code == 2


class KilledExporter(ZarrExporter):
    """One whose process is asked to end at its first sample."""

    def add(self, sample: Sample) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_polite_kill_leaves_nothing(published: Path, tmp_path: Path) -> None:
    def nobody_listens(*_: object) -> None:
        raise AssertionError

    before = {number: signal.signal(number, nobody_listens) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as ended:
            main(["export", str(published), "--to", f"{__name__}:KilledExporter", "--out", str(tmp_path / "out")])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 130
    assert list(tmp_path.iterdir()) == []
