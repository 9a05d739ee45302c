"""HDF5, a file per sample with masks of missing steps, as OlmoEarth pretraining reads them.

Form: published documentation and source of olmoearth_pretrain (every modality (H, W, T, C) over a common list of steps,
of which a modality holds the present ones; ``missing_timesteps_masks/<modality>`` says which those are; bands stand
group by group, the finest first; ``timestamps`` are day, month counted from 0, year; ``latlon`` in degrees;
``sample_metadata.csv`` has ``sample_index`` and per modality 1 or 0; ``latlon_distribution.npy``). A day on which a
modality has several dates has as many steps.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.sample import Sample
from shards.export_layers import VALID_NOTE, Stack, band_names, centre_of, stack, tables_of
from shards.exporters import ExportJob
from shards.layout import canonical_json
from shards.samples import label_arrays

IN_MEMORY: dict[str, Any] = {"driver": "core", "backing_store": False}
"""A full disk under HDF5's own file brings the process down: the bytes are written by us."""
STEP = np.dtype([("day", "datetime64[D]"), ("number", np.int64)])
"""One step of the common list: a day, and which of its dates."""


class Hdf5Exporter:
    """``sample_<n>.h5`` for each chip, ``sample_metadata.csv`` and ``latlon_distribution.npy``."""

    title = "HDF5 with masks of missing steps (OlmoEarth)"
    members = ("labels", "label", "confidence", "texts")
    order = "shards"
    takes_samples_per_file = False
    notes = (
        "Steps are the days on which any modality has a date, as many a day as the modality with most dates on it; "
        "missing_timesteps_masks/<modality> is True where it has one, and its array holds those alone, in order.",
        "timestamps are (day, month from 0, year). Bands of coarser groups are repeated onto the finest grid "
        "of a modality.",
        "Bands stand group by group, the finest first (B02, B03, B04, B08, B05, ... of Sentinel-2), as "
        "olmoearth_pretrain takes them without asking for names; `bands` of each array names them.",
        "olmoearth_pretrain takes at most 12 steps, and the number of samples from the name of the folder.",
        "<modality>_valid holds the validity codes, <modality>_scale and _offset turn numbers into physical values.",
        VALID_NOTE,
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        modalities = dict.fromkeys(job.dataset.layer(group).modality for group in job.groups)
        self._tables = {modality: tables_of(job.dataset, job.groups, modality) for modality in modalities}
        self._rows: list[tuple[object, ...]] = []
        self._places: list[tuple[float, float]] = []

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        stacks = {m: found for m, tables in self._tables.items() if (found := _stack(sample, tables)) is not None}
        steps = _steps(stacks.values())
        name = f"sample_{len(self._rows)}.h5"
        with h5py.File(name, "w", libver="v110", track_order=False, **IN_MEMORY) as file:
            longitude, latitude = centre_of(sample)
            place = (latitude, longitude)
            file["latlon"] = np.array(place, np.float32)
            file["timestamps"] = _timestamps(steps["day"])
            file.attrs["chip_id"], file.attrs["split"] = sample.chip_id, sample.split
            masks = file.create_group("missing_timesteps_masks")
            for modality in self._tables:
                found = stacks.get(modality)
                masks[modality] = np.zeros(len(steps), bool) if found is None else np.isin(steps, _steps([found]))
                if found is not None:
                    self._write(file, sample, modality, found)
            self._labels(file, sample)
            file.flush()
            content = file.id.get_file_image()
        (self._job.folder / name).write_bytes(content)
        there = (int(modality in stacks) for modality in self._tables)
        self._rows.append((len(self._rows), name, sample.chip_id, sample.split, *place, len(steps), *there))
        self._places.append(place)

    def _write(self, file: h5py.File, sample: Sample, modality: str, found: Stack) -> None:
        kept = _kept(found)
        layer = next(sample.layers[t.group] for t in self._tables[modality] if t.group in sample.layers)
        pixels = found.data[kept].transpose(2, 3, 0, 1)  # (H, W, T, C)
        data = file.create_dataset(modality, data=pixels, compression="gzip", compression_opts=1, shuffle=True)
        data.attrs["bands"] = band_names(self._tables[modality], by_name=False)
        data.attrs["epsg"], data.attrs["transform"] = found.georef.epsg, found.georef.transform
        valid = found.valid[kept].transpose(1, 2, 0)  # (H, W, T)
        file.create_dataset(f"{modality}_valid", data=valid, compression="gzip", compression_opts=1)
        file[f"{modality}_scale"], file[f"{modality}_offset"] = layer.scale[kept], layer.offset[kept]

    def _labels(self, file: h5py.File, sample: Sample) -> None:
        left, bottom, right, top = sample.row["bounds_xyxy"]
        for name, codes in label_arrays(sample).items():
            data = file.create_dataset(name, data=codes, compression="gzip", compression_opts=1)
            height, width = (top - bottom) / codes.shape[0], (right - left) / codes.shape[1]
            data.attrs["epsg"], data.attrs["transform"] = sample.row["epsg"], (width, 0.0, left, 0.0, -height, top)
        if sample.texts:
            file["texts"] = canonical_json(list(sample.texts)).decode()

    def finish(self) -> None:
        """See `Exporter.finish`."""
        np.save(self._job.folder / "latlon_distribution.npy", np.array(self._places, np.float32).reshape(-1, 2))
        with (self._job.folder / "sample_metadata.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            columns = ("sample_index", "file", "chip_id", "split", "latitude", "longitude", "steps", *self._tables)
            writer.writerow(columns)
            writer.writerows(self._rows)

    def abandon(self) -> None:
        """See `Exporter.abandon`: no file stays open between samples."""

    def card(self) -> str:
        """See `Exporter.card`."""
        modality = next(iter(self._tables))
        return f"""```python
import h5py, numpy

with h5py.File("sample_0.h5") as file:
    steps = len(file["timestamps"])
    present = file["missing_timesteps_masks"]["{modality}"][:]  # (T,) True where there is a date
    held = file["{modality}"][:]  # (H, W, dates, C)
full = numpy.zeros((*held.shape[:2], steps, held.shape[3]), held.dtype)
full[:, :, present] = held
```"""


def _stack(sample: Sample, tables: list[LayerTable]) -> Stack | None:
    """OlmoEarth reads bands by their place alone: those of 10 m, of 20 m, of 60 m."""
    return stack(sample, tables, by_name=False)


def _kept(found: Stack) -> NDArray[np.intp]:
    """Positions of the dates that are there, by time."""
    there = np.flatnonzero(~np.isnat(found.time_utc))
    return there[np.argsort(found.time_utc[there], kind="stable")]


def _steps(stacks: Iterable[Stack]) -> NDArray[np.void]:
    """Steps at which any of some stacks has a date, rising: ``day``, and ``number`` of the date on that day."""
    found = [np.zeros(0, STEP)]
    for one in stacks:
        days = one.time_utc[_kept(one)].astype("datetime64[D]")
        steps = np.zeros(len(days), STEP)
        steps["day"], steps["number"] = days, np.arange(len(days)) - np.searchsorted(days, days)
        found.append(steps)
    return np.unique(np.concatenate(found))


def _timestamps(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """(T, 3) day, month from 0, year.

    Example:
        >>> _timestamps(np.array(["2024-03-31"], "datetime64[D]")).tolist()
        [[31, 2, 2024]]
    """
    months = days.astype("datetime64[M]")
    years = months.astype("datetime64[Y]")
    day = (days - months.astype("datetime64[D]")).astype(int) + 1
    month = (months - years.astype("datetime64[M]")).astype(int)
    return np.stack([day, month, years.astype(int) + 1970], axis=1).reshape(-1, 3)
