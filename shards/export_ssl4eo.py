"""``.zarr.zip`` of 64 samples each, as SSL4EO-S12 v1.1 has them, and a table of samples and times.

Form: published documentation of SSL4EO-S12 v1.1: Zarr version 2, ``bands`` (sample, time, band, y, x) chunked by time,
``center_lat``, ``center_lon``, ``crs``, ``file_id``, ``sample``, ``sample_id``, ``time_``, ``x_``, ``y_``,
``cloud_mask``; a GeoParquet table with ``tile_crs`` as a number.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray

from schemas.dataset import LayerTable
from schemas.errors import DatasetError
from schemas.sample import Sample
from shards.export_layers import (
    SCENE_CODES,
    SCENE_NOTE,
    VALID_NOTE,
    Stack,
    band_names,
    centre_of,
    cloud_mask,
    iso,
    no_data,
    stack,
    tables_of,
)
from shards.exporters import ExportJob
from shards.tables import as_geoparquet

SAMPLES_PER_FILE = 64
METADATA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("time_id", pa.int32()),
        ("time", pa.string()),
        ("tile_id", pa.string()),
        ("geometry", pa.binary()),
        ("tile_crs", pa.int64()),
        ("file", pa.string()),
        ("modality", pa.string()),
        ("split", pa.string()),
    ]
)


class Ssl4eoExporter:
    """``<split>/<MODALITY>/<name>_<split>_<number>.zarr.zip``."""

    title = ".zarr.zip of 64 samples (SSL4EO-S12 v1.1)"
    members = ()
    order = "shards"
    notes = (
        "v1.1 has four dates for every sample. Here samples may have fewer: time_ is NaT and valid is 0 for those that "
        "are missing, and nothing is repeated in their place.",
        "Bands of coarser groups are repeated onto the finest grid of their modality. Values are as stored; scale_ and "
        "offset_ (sample, time) turn them into physical values.",
        SCENE_NOTE,
        VALID_NOTE,
        "tile_id is the nearest Major TOM cell; in v1.1 it is the tile of Sentinel-2, which file_id names here.",
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._per_file = job.samples_per_file or SAMPLES_PER_FILE
        modalities = dict.fromkeys(job.dataset.layer(group).modality for group in job.groups)
        self._tables = {m: tables_of(job.dataset, job.groups, m) for m in modalities}
        self._held: dict[str, list[tuple[Sample, dict[str, Stack | None]]]] = {}
        self._numbers: dict[str, int] = {}
        self._metadata: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: a file's samples are held."""
        held = self._held.setdefault(sample.split, [])
        held.append((sample, {m: stack(sample, tables) for m, tables in self._tables.items()}))
        if len(held) == self._per_file:
            self._write(sample.split)

    def _write(self, split: str) -> None:
        held = self._held.pop(split, [])
        if not held:
            return
        number = self._numbers[split] = self._numbers.get(split, 0) + 1
        for modality, tables in self._tables.items():
            name = f"{split}/{modality.upper()}/{self._job.dataset.name}_{split}_{number:06d}.zarr.zip"
            path = self._job.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            found = self._batch(held, modality, tables)
            chunks = (len(held), 1, *found["bands"].shape[2:])
            encoding: dict[str, Any] = {"bands": {"chunks": chunks}}
            with tempfile.TemporaryDirectory(dir=self._job.folder) as folder:
                found.to_zarr(folder, mode="w", zarr_format=2, consolidated=True, encoding=encoding)
                zip_folder(Path(folder), path)
            self._note(held, modality, split, name)

    def _batch(
        self, held: list[tuple[Sample, dict[str, Stack | None]]], modality: str, tables: list[LayerTable]
    ) -> xarray.Dataset:
        count, times = len(held), max(1, *(table.max_dates for table in tables))
        names = band_names(tables)
        rows, columns = tables[0].shape_yx
        nodata = no_data(tables[0])
        bands = np.full((count, times, len(names), rows, columns), 0 if nodata is None else nodata, tables[0].dtype)
        valid = np.zeros((count, times, rows, columns), np.uint8)
        time = np.full((count, times), "NaT", "datetime64[ns]")
        scale, offset = np.full((count, times), np.nan), np.full((count, times), np.nan)
        x, y = np.full((count, columns), np.nan), np.full((count, rows), np.nan)
        ids = np.full((count, times), "", object)
        for i, (sample, stacks) in enumerate(held):
            found = stacks[modality]
            if found is None:
                continue
            t, _, h, w = found.data.shape
            bands[i, :t, :, :h, :w], valid[i, :t, :h, :w], time[i, :t] = found.data, found.valid, found.time_utc
            layer = next(sample.layers[table.group] for table in tables if table.group in sample.layers)
            scale[i, :t], offset[i, :t] = layer.scale, layer.offset
            x[i, :w] = found.georef.x0 + found.georef.pixel_size * (np.arange(w) + 0.5)
            y[i, :h] = found.georef.y0 - found.georef.pixel_size * (np.arange(h) + 0.5)
            ids[i, :t] = [str(one) for one in sample.row.get(f"{modality}.item_ids") or [""] * t]
        centres = [centre_of(sample) for sample, _ in held]
        variables: dict[str, Any] = {
            "bands": (("sample", "time", "band", "y", "x"), bands),
            "valid": (("sample", "time", "y", "x"), valid),
            "center_lat": ("sample", np.array([lat for _, lat in centres])),
            "center_lon": ("sample", np.array([lon for lon, _ in centres])),
            "crs": ("sample", np.array([int(sample.row["epsg"]) for sample, _ in held])),
            "file_id": (("sample", "time"), ids.astype(str)),
            "time_": (("sample", "time"), time),
            "x_": (("sample", "x"), x),
            "y_": (("sample", "y"), y),
            "scale_": (("sample", "time"), scale),
            "offset_": (("sample", "time"), offset),
        }
        if any(band.centre_nm is not None for table in tables for band in table.bands):
            variables["cloud_mask"] = (("sample", "time", "y", "x"), cloud_mask(valid, SCENE_CODES))
        chips = [sample.chip_id for sample, _ in held]
        variables["sample_id"] = (("sample", "time"), np.array([[f"{one}_{t}" for t in range(times)] for one in chips]))
        numbers = {name: np.arange(size) for name, size in (("time", times), ("y", rows), ("x", columns))}
        coordinates = {"sample": np.array(chips), "band": np.array(names), **numbers}
        return xarray.Dataset(variables, coords=coordinates)

    def _note(self, held: list[tuple[Sample, dict[str, Stack | None]]], modality: str, split: str, name: str) -> None:
        for sample, stacks in held:
            found = stacks[modality]
            for number, time in enumerate(() if found is None else found.time_utc):
                self._metadata.append(
                    {
                        "sample_id": sample.chip_id,
                        "time_id": number,
                        "time": iso(time),
                        "tile_id": sample.row.get("majortom_cell") or "",
                        "geometry": sample.row["geometry_wkb"],
                        "tile_crs": int(sample.row["epsg"]),
                        "file": name,
                        "modality": modality,
                        "split": split,
                    }
                )

    def finish(self) -> None:
        """See `Exporter.finish`."""
        for split in list(self._held):
            self._write(split)
        table = as_geoparquet(pa.Table.from_pylist(self._metadata, METADATA))
        pq.write_table(table, self._job.folder / "metadata.parquet")

    def abandon(self) -> None:
        """See `Exporter.abandon`: no file stays open between samples."""

    def card(self) -> str:
        """See `Exporter.card`."""
        if not self._numbers:
            raise DatasetError("nothing was exported", where=self._job.dataset.name)
        split, modality = sorted(self._numbers)[0], next(iter(self._tables)).upper()
        name = f"{split}/{modality}/{self._job.dataset.name}_{split}_000001.zarr.zip"
        return f"""```python
import xarray, zarr

with zarr.storage.ZipStore("{name}", mode="r") as store:
    samples = xarray.open_zarr(store, zarr_format=2)
    print(samples["bands"].dims)  # (sample, time, band, y, x)
```"""


def zip_folder(folder: Path, path: Path) -> None:
    """Put the files of a folder into a zip, by name, without compressing them again and without the time of day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            with archive.open(entry, "w") as member, file.open("rb") as part:
                shutil.copyfileobj(part, member)
