"""Tars of ``.zarr.zip``, as TerraMesh has them: a folder per modality, the same tar and key in each, so that they zip.

Form: published documentation of TerraMesh: ``<split>/<MODALITY>/<name>_<split>_<number>.tar``, a member
``<key>.zarr.zip`` per sample: Zarr version 2 with consolidated metadata, array ``bands`` (time, band, y, x), its
coordinates, ``time`` as nanoseconds in every modality, ``center_lat``, ``center_lon``, ``crs``, ``cloud_mask`` of
optical modalities.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from contextlib import suppress
from typing import Any

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.sample import Sample
from shards.export_layers import (
    SCENE_CODES,
    SCENE_NOTE,
    VALID_NOTE,
    Stack,
    band_names,
    centre_of,
    cloud_mask,
    stack,
    tables_of,
)
from shards.exporters import ExportJob
from shards.layout import canonical_json

SAMPLES_PER_TAR = 1000
CODEC = Blosc(cname="zstd", clevel=3, shuffle=Blosc.BITSHUFFLE)
NANOSECONDS = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}


class TerraMeshExporter:
    """A tar per split, number and modality."""

    title = "tars of .zarr.zip (TerraMesh)"
    members = ("label",)
    order = "shards"
    notes = (
        "A chip without a modality has an array of no dates there, so that keys stay the same over modalities.",
        "Bands of coarser groups are repeated onto the finest grid of their modality. Values are as stored; "
        "`scale` and "
        "`offset` per date turn them into physical values.",
        "LULC is the fused label: positions in its legend, 255 where it abstains.",
        "TerraMesh has one date for each sample, and its reader asks for one. The tars of SSL4EO-S12 v1.1 have the "
        "same form with four dates: its reader takes several.",
        SCENE_NOTE,
        VALID_NOTE,
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._per_tar = job.samples_per_file or SAMPLES_PER_TAR
        modalities = dict.fromkeys(job.dataset.layer(group).modality for group in job.groups)
        self._tables = {m: tables_of(job.dataset, job.groups, m) for m in modalities}
        self._names = [*(m.upper() for m in modalities), *(["LULC"] if job.dataset.has_label else [])]
        self._open: dict[str, dict[str, tarfile.TarFile]] = {}
        self._counts: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: a sample is written to the open tar of each modality."""
        tars = self._tars(sample.split)
        place = _place(sample)
        for modality, tables in self._tables.items():
            _append(
                tars[modality.upper()], sample.chip_id, zarr_zip(_arrays(sample, stack(sample, tables), tables, place))
            )
        if "LULC" in tars and sample.label is not None:
            bands = sample.label[None, None]
            arrays = {"bands": (bands, ("time", "band", "y", "x")), "time": _times(NO_TIME), **place}
            _append(tars["LULC"], sample.chip_id, zarr_zip(arrays))

    def _tars(self, split: str) -> dict[str, tarfile.TarFile]:
        count = self._counts.get(split, 0)
        if count % self._per_tar == 0:
            self._close(split)
            self._open[split] = {name: self._begin(split, name, count // self._per_tar) for name in self._names}
        self._counts[split] = count + 1
        return self._open[split]

    def _begin(self, split: str, name: str, number: int) -> tarfile.TarFile:
        folder = self._job.folder / split / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self._job.dataset.name}_{split}_{number + 1:05d}.tar"
        return tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)

    def _close(self, split: str) -> None:
        for tar in self._open.pop(split, {}).values():
            tar.close()

    def finish(self) -> None:
        """See `Exporter.finish`."""
        for split in list(self._open):
            self._close(split)

    def abandon(self) -> None:
        """See `Exporter.abandon`."""
        for tars in self._open.values():
            for tar in tars.values():
                with suppress(OSError):  # on a full disk even the end of a tar has no room
                    tar.close()

    def card(self) -> str:
        """See `Exporter.card`."""
        split = sorted(self._counts)[0]
        name = f"{split}/{self._names[0]}/{self._job.dataset.name}_{split}_00001.tar"
        return f"""```python
import fsspec, io, webdataset, zarr

for sample in webdataset.WebDataset("{name}", shardshuffle=False):
    files = fsspec.filesystem("zip", fo=io.BytesIO(sample["zarr.zip"]))
    store = zarr.storage.FsspecStore.from_mapper(files.get_mapper(""), read_only=True)
    pixels = zarr.open_group(store, mode="r", zarr_format=2)["bands"][...]  # (time, band, y, x)
```"""


Array = tuple[NDArray[Any], tuple[str, ...]]
NO_TIME = np.array(["NaT"], "datetime64[ns]")


def _times(times: NDArray[np.datetime64]) -> Array:
    """Nanoseconds since 1970: TerraMesh's readers take the numbers as such, whatever the units say."""
    return times.astype("datetime64[ns]").astype(np.int64), ("time",)


def _place(sample: Sample) -> dict[str, Array]:
    left, bottom, right, top = sample.row["bounds_xyxy"]
    longitude, latitude = centre_of(sample)
    return {
        "center_lat": (np.array([latitude]), ("sample",)),
        "center_lon": (np.array([longitude]), ("sample",)),
        "crs": (np.array([int(sample.row["epsg"])]), ("sample",)),
        "bounds": (np.array([left, bottom, right, top]), ("side",)),
    }


def _arrays(sample: Sample, found: Stack | None, tables: list[LayerTable], place: dict[str, Array]) -> dict[str, Array]:
    """Arrays of one sample and modality, with their dimensions."""
    names = band_names(tables)
    arrays: dict[str, Array]
    if found is None:
        empty = np.zeros((0, len(names), *tables[0].shape_yx), tables[0].dtype)
        arrays = {"bands": (empty, ("time", "band", "y", "x")), "band": (np.array(names), ("band",))}
        return arrays | {"time": _times(NO_TIME[:0])} | place
    layer = next(sample.layers[table.group] for table in tables if table.group in sample.layers)
    georef = found.georef
    rows, columns = georef.shape_yx
    arrays = {
        "bands": (found.data, ("time", "band", "y", "x")),
        "band": (np.array(names), ("band",)),
        "time": _times(found.time_utc),
        "y": (georef.y0 - georef.pixel_size * (np.arange(rows) + 0.5), ("y",)),
        "x": (georef.x0 + georef.pixel_size * (np.arange(columns) + 0.5), ("x",)),
        "scale": (layer.scale, ("time",)),
        "offset": (layer.offset, ("time",)),
        "valid": (found.valid, ("time", "y", "x")),
        **place,
    }
    if any(band.centre_nm is not None for table in tables for band in table.bands):
        arrays["cloud_mask"] = (cloud_mask(found.valid, SCENE_CODES), ("time", "y", "x"))
    return arrays


def zarr_zip(arrays: dict[str, Array], codec: Blosc = CODEC) -> bytes:
    """A Zarr group of version 2 with consolidated metadata in a zip, whose bytes follow from the arrays.

    One chunk per array, written by hand: ten small arrays a sample cost the library more in calls than in bytes.
    """
    files: dict[str, bytes] = {}
    metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": {}}
    for name, (values, dims) in arrays.items():
        metadata[f"{name}/.zarray"] = {
            "zarr_format": 2,
            "shape": list(values.shape),
            "chunks": [max(1, size) for size in values.shape],
            "dtype": values.dtype.str,
            "compressor": codec.get_config(),
            "filters": None,
            "fill_value": None,
            "order": "C",
        }
        metadata[f"{name}/.zattrs"] = {"_ARRAY_DIMENSIONS": list(dims), **(NANOSECONDS if name == "time" else {})}
        if values.size:
            files[f"{name}/{'.'.join('0' * values.ndim)}"] = codec.encode(np.ascontiguousarray(values))
    consolidated = {"zarr_consolidated_format": 1, "metadata": metadata}
    files |= {name: canonical_json(content) for name, content in {**metadata, ".zmetadata": consolidated}.items()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, part in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), part)
    return content.getvalue()


def _append(tar: tarfile.TarFile, key: str, content: bytes) -> None:
    info = tarfile.TarInfo(f"{key}.zarr.zip")
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
