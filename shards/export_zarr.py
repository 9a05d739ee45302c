"""Plain Zarr v3 with the sharding codec: the groups of the Icechunk repository, in a folder."""

from __future__ import annotations

import warnings
from typing import Any

import zarr

from schemas.sample import Sample
from shards.export_layers import VALID_NOTE
from shards.exporters import ExportJob
from shards.reader import Dataset
from shards.sample_request import ABSTAIN
from shards.zarr_arrays import Vectors
from shards.zarr_groups import LabelTable, ZarrPlan, label_flags, label_gsd_m

SHARD_CHIPS = 64


class ZarrExporter:
    """One store ``dataset.zarr``; the arrays and coordinates are those of the dataset's own Zarr."""

    title = "Zarr v3"
    members = ("labels", "label", "confidence")
    order = "table"
    notes = (
        "Chips with fewer dates or pixels than the group's largest are padded: times NaT, validity 0.",
        "Values are as stored; physical = data * scale + offset, both arrays (chip, time).",
        "Zarr's sharding is read by zarr from version 3 and xarray over it; zarr 2 and GDAL (3.10) do not know it.",
        VALID_NOTE,
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._held: list[Sample] = []
        self._start = 0
        dataset = job.dataset
        layers = tuple(dataset.layer(group) for group in job.groups)
        shard = max(1, min(job.samples_per_file or SHARD_CHIPS, len(job.chip_ids)))
        self._plan = ZarrPlan(layers, _label_tables(dataset), job.chip_ids, shard)
        attributes: dict[str, Any] = {"Conventions": "CF-1.11", "dataset": dataset.name, "version": dataset.version}
        self._store = zarr.storage.LocalStore(job.folder / "dataset.zarr")
        top = zarr.group(store=self._store, zarr_format=3, attributes=attributes)
        self._specs = self._plan.specs()
        self._groups: dict[str, Any] = {}
        self._vectors: dict[str, Vectors] = {}
        for spec in self._specs:
            spec.create(top, len(job.chip_ids))
            self._groups[spec.name], self._vectors[spec.name] = top[spec.name], spec.blank(len(job.chip_ids))

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: whole Zarr shards are written."""
        self._held.append(sample)
        if len(self._held) == self._plan.shard_chips:
            self._write()

    def _write(self) -> None:
        for spec in self._specs:
            for name, values in spec.write(self._groups[spec.name], self._start, self._held).items():
                self._vectors[spec.name][name][self._start : self._start + len(self._held)] = values
        self._start += len(self._held)
        self._held = []

    def finish(self) -> None:
        """See `Exporter.finish`."""
        if self._held:
            self._write()
        for spec in self._specs:
            spec.close(self._groups[spec.name], self._job.chip_ids, self._vectors[spec.name])
        with warnings.catch_warnings():
            # Zarr 3 has no word on it yet; xarray and zarr-python read it. A web server that lists no folders shows
            # nothing of a store without it: xarray opens a dataset of no variables there, and says nothing.
            warnings.simplefilter("ignore", UserWarning)
            zarr.consolidate_metadata(self._store)

    def abandon(self) -> None:
        """See `Exporter.abandon`: no file stays open between samples."""

    def card(self) -> str:
        """See `Exporter.card`."""
        group = self._job.groups[0]
        return f"""```python
import xarray

layer = xarray.open_zarr("dataset.zarr", group="{group}")
print(layer["data"].dims)  # (chip, time, band, y, x)
```"""


def _label_tables(dataset: Dataset) -> dict[str, LabelTable]:
    """Label groups of a dataset; codes beyond 255 take two bytes."""
    shape, gsd_m, found = dataset.label_shape_yx, label_gsd_m(dataset.document.recipe), {}
    legends = dataset.document.legends
    for source in dataset.label_sources():
        legend, flags = legends[source], label_flags(f"label_{source}", legends)
        codes = [int(entry.get("code", 0)) for entry in legend.get("classes", [])]
        wide = max([*codes, *legend.get("nodata", [])], default=0) > 255
        nodata, kind = dataset.label_nodata(source), "uint16" if wide else "uint8"
        found[f"label_{source}"] = LabelTable(kind, nodata, shape, str(legend.get("name", source)), gsd_m, flags)
    if dataset.has_label:
        name = str(legends["label"].get("name", "label"))
        found |= {"label": LabelTable("uint8", ABSTAIN, shape, name, gsd_m, label_flags("label", legends))}
        found |= {"confidence": LabelTable("uint8", 0, shape, gsd_m=gsd_m)}
    return found
