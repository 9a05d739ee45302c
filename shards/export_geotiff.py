"""GeoTIFF pairs and a CSV, as InstaGeo and Prithvi fine-tuning read them: ``chips/``, ``seg_maps/``, ``<split>.csv``.

Form: published documentation of InstaGeo (one GeoTIFF per chip with the bands of all time steps, oldest first, one
segmentation map, a CSV of two columns).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from schemas.errors import DatasetError
from schemas.georef import GeoRef
from schemas.sample import Sample
from shards.export_layers import band_names, iso, no_data, stack, tables_of
from shards.exporters import ExportJob, one_modality
from shards.sample_request import ABSTAIN

NO_LABEL = -1
"""What a segmentation map holds where nothing is known."""


class GeoTiffExporter:
    """A picture and a map per chip; a table per split."""

    title = "GeoTIFF pairs and CSV (InstaGeo, Prithvi)"
    members = ("label",)
    order = "shards"
    left_out = 0
    takes_samples_per_file = False
    notes = (
        "Values are as stored; scale and offset stand with every band, as GDAL has them, and turn them into physical "
        "values.",
        "Bands of all time steps stand in one file, step by step, oldest first; steps that a chip lacks are no data.",
        "Segmentation maps hold class indices; -1 where the label abstains.",
        "No validity mask goes with a pair: clouds and shadows stand in it as stored.",
        "Bands of coarser groups are repeated onto the finest grid of the modality.",
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._modality = one_modality(job, "a GeoTIFF pair")
        self._tables = tables_of(job.dataset, job.groups, self._modality)
        self._steps = max(table.max_dates for table in self._tables)
        self._rows: dict[str, list[tuple[str, str]]] = {}
        if not job.dataset.has_label:
            raise DatasetError("a GeoTIFF pair needs a fused label", where=job.dataset.name, mend="another form")
        for name in ("chips", "seg_maps"):
            (job.folder / name).mkdir()

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`; a chip without this modality or without a label makes no pair."""
        found = stack(sample, self._tables)
        if found is None or sample.label is None:
            self.left_out += 1
            return
        names = band_names(self._tables)
        count = self._steps * len(names)
        nodata = no_data(self._tables[0])
        fill = 0 if nodata is None else nodata
        pixels = np.full((self._steps, len(names), *found.georef.shape_yx), fill, found.data.dtype)
        pixels[: len(found.data)] = found.data
        dates = [iso(time) for time in found.time_utc] + [""] * (self._steps - len(found.data))
        texts = [f"{name} {date}".strip() for date in dates for name in names]
        chip = Path("chips") / f"chip_{sample.chip_id}.tif"
        seg_map = Path("seg_maps") / f"seg_map_{sample.chip_id}.tif"
        _write(
            self._job.folder / chip,
            pixels.reshape(count, *pixels.shape[2:]),
            found.georef,
            nodata,
            texts,
            self._linear(sample, len(names)),
        )
        if sample.label.shape != found.georef.shape_yx:
            raise DatasetError(
                f"{sample.chip_id}: the label has {sample.label.shape} pixels, "
                f"{self._modality} {found.georef.shape_yx}",
                mend="--modality one on the labels' grid",
            )
        codes = sample.label.astype(np.int16)
        codes[sample.label == ABSTAIN] = NO_LABEL
        _write(self._job.folder / seg_map, codes[None], found.georef, NO_LABEL, ["label"])
        self._rows.setdefault(sample.split, []).append((chip.as_posix(), seg_map.as_posix()))

    def _linear(self, sample: Sample, bands: int) -> tuple[list[float], list[float]]:
        """Scales and offsets, band by band of all steps; 1 and 0 of steps that the chip lacks."""
        layer = next(sample.layers[table.group] for table in self._tables if table.group in sample.layers)
        scales, offsets = np.ones(self._steps), np.zeros(self._steps)
        scales[: len(layer.scale)], offsets[: len(layer.offset)] = layer.scale, layer.offset
        return scales.repeat(bands).tolist(), offsets.repeat(bands).tolist()

    def finish(self) -> None:
        """See `Exporter.finish`.

        Raises:
            DatasetError: no chip makes a pair.
        """
        if not self._rows:
            what = f"no chip has both {self._modality} and a fused label"
            raise DatasetError(what, where=self._job.dataset.name, mend="another modality, or more chips")
        for split, rows in self._rows.items():
            with (self._job.folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("Input", "Label"))
                writer.writerows(rows)

    def abandon(self) -> None:
        """See `Exporter.abandon`: no file stays open between samples."""

    def card(self) -> str:
        """See `Exporter.card`."""
        return f"""```python
import pandas, rasterio

row = pandas.read_csv("{sorted(self._rows)[0]}.csv").iloc[0]
with rasterio.open(row["Input"]) as chip, rasterio.open(row["Label"]) as seg_map:
    pixels, label = chip.read(), seg_map.read(1)  # (steps x bands, H, W), (H, W)
    print(chip.descriptions)
```"""


def _write(
    path: Path,
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    georef: GeoRef,
    nodata: float | None,
    descriptions: list[str],
    linear: tuple[list[float], list[float]] | None = None,
) -> None:
    """A deflated GeoTIFF of (bands, H, W)."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=pixels.shape[0],
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype.name,
        crs=CRS.from_epsg(georef.epsg),
        transform=Affine(*georef.transform),
        nodata=nodata,
        compress="deflate",
        predictor=3 if pixels.dtype.kind == "f" else 2,
        interleave="band",
        BIGTIFF="IF_SAFER",
    ) as file:
        file.write(pixels)
        file.descriptions = tuple(descriptions)
        if linear is not None:
            file.scales, file.offsets = linear
