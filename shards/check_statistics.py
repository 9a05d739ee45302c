"""Mean and standard deviation of every band, measured again from the samples of the train split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schemas.dataset import DatasetDocument
from schemas.sample import Sample

TOLERANCE = 1e-5
"""Largest difference from the manifest, relative to the band's standard deviation; sums here are float64."""


class StatisticsCheck:
    """Sums over clear pixels, a sample at a time, of the groups whose statistics were taken in this version.

    Clear are validity 1 and 6, and 4 where the modality's ``select.snow_is_clear`` says so; a band's own no data and
    values that are not finite are left out.
    """

    def __init__(self, document: DatasetDocument) -> None:
        self.tables = [t for t in document.modalities if document.statistics_of(t.group) == document.version]
        self.clear = {table.group: document.clear_codes(table.modality) for table in self.tables}
        self._sums: dict[tuple[str, str], tuple[int, float, float]] = {}

    def add(self, sample: Sample) -> None:
        """Count a sample, if it is of the train split."""
        if sample.split != "train":
            return
        for table in self.tables:
            layer = sample.layers.get(table.group)
            if layer is None:
                continue
            for date in range(layer.data.shape[0]):
                clear = np.isin(layer.valid[date], self.clear[table.group])
                for band, stored in zip(table.bands, layer.data[date], strict=True):
                    values = stored[clear].astype(np.float64)
                    keep = np.isfinite(values)
                    if table.nodata is not None:
                        keep &= values != float(np.asarray(table.nodata).astype(stored.dtype))
                    values = values[keep] * layer.scale[date] + layer.offset[date]
                    count, total, squares = self._sums.get((table.group, band.name), (0, 0.0, 0.0))
                    part = (values.size, float(values.sum()), float(np.square(values).sum()))
                    self._sums[table.group, band.name] = (count + part[0], total + part[1], squares + part[2])

    def faults(self) -> Iterator[str]:
        """Bands whose statistics in ``dataset.json`` are not those of the samples."""
        for table in self.tables:
            for band in table.bands:
                count, total, squares = self._sums.get((table.group, band.name), (0, 0.0, 0.0))
                name = f"{table.group} {band.name}"
                if band.count != count:
                    yield f"{name}: {count} clear pixels in train, dataset.json says {band.count}"
                elif not count:
                    continue
                elif band.mean is None or band.std is None:
                    yield f"{name}: no mean and deviation, but {count} clear pixels in train"
                else:
                    mean = total / count
                    std = float(np.sqrt(max(0.0, squares / count - mean**2)))
                    off = max(abs(mean - band.mean), abs(std - band.std))
                    if off > TOLERANCE * max(std, abs(mean), 1e-12):
                        stated = f"{band.mean:.6g}, {band.std:.6g}"
                        yield f"{name}: mean {mean:.6g}, deviation {std:.6g}; dataset.json says {stated}"
