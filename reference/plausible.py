"""What a dataset's numbers say of themselves, gathered once from some of its samples: `gather` -> `Gathered`.

Means of bands per chip and date (`Spectrum`), backscatter, heights of the sun, and edges of chips of one acquisition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.sample import LayerArrays, Sample
from shards.reader import Dataset
from shards.samples import to_physical

Floats = NDArray[np.float64]

MOST_CHIPS = 400
"""So many chips are looked at, block by block, so that there are neighbours among them: what is asked is what all have
in common."""
LEAST_CLEAR = 0.05
"""Share of a picture that must be clear to count."""
SIDES = ("north", "south", "west", "east")


@dataclass(frozen=True)
class Spectrum:
    """One acquisition over one chip."""

    chip_id: str
    """Which chip."""
    day: float
    """Days since 1970; NaN where there is none, or several."""
    nm: Floats
    """(bands,) centre wavelengths, rising."""
    means: Floats
    """(bands,) mean reflectance of the clear pixels; NaN where there is none."""


@dataclass(frozen=True)
class Edges:
    """The two outermost rows or columns of a picture on each side, outermost first."""

    lines: Mapping[str, Floats]
    """Side -> (2, n) mean over the bands, from west to east or from north to south; NaN where it is not clear."""

    def mirrored(self) -> Edges:
        """Of the same picture upside down."""
        north, south, west, east = (self.lines[side] for side in SIDES)
        return Edges(dict(zip(SIDES, (south, north, west[:, ::-1], east[:, ::-1]), strict=True)))


@dataclass
class Gathered:
    """What `gather` found."""

    spectra: dict[str, list[Spectrum]] = field(default_factory=dict)
    """Optical modality -> one per chip and date."""
    radar: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """(modality, polarisation) -> mean of each chip and date, as stored."""
    in_db: set[str] = field(default_factory=set)
    """Radar modalities whose unit is decibel."""
    sun: list[tuple[str, float, float, np.datetime64, float]] = field(default_factory=list)
    """(modality, longitude, latitude, time, stated elevation in degrees) of each chip and date."""
    edges: dict[tuple[Any, ...], dict[tuple[float, float], Edges]] = field(default_factory=dict)
    """(group, EPSG, time, edge length) -> upper left corner -> the picture's edges."""


def gather(dataset: Dataset) -> Gathered:
    """Of `MOST_CHIPS` chips of train; of all where there is no such split."""
    document, found = dataset.document, Gathered()
    for sample in dataset.iterate(chip_ids=some_chips(dataset), members=[]):
        for modality in dict.fromkeys(table.modality for table in document.modalities):
            tables = [table for table in document.modalities if table.modality == modality]
            there = [t for t in tables if t.group in sample.layers and sample.layers[t.group].data.shape[0]]
            if not there:
                continue
            clear = document.clear_codes(modality)
            values = {t.group: _clear(t, sample.layers[t.group], clear) for t in there}
            _spectra(found, sample, tables, values)
            for table in there:
                _radar(found, table, values[table.group])
            if not there[0].composite:  # of several dates
                _sun(found, sample, modality, sample.layers[there[0].group].time_utc)
                _edges(found, sample, there[0], values[there[0].group])
    return found


def some_chips(dataset: Dataset, most: int = MOST_CHIPS) -> list[str]:
    """Chips of train, whole blocks of them evenly spread where there are more than are looked at."""
    chips = dataset.chips
    rows = chips[chips["split"] == "train"] if (chips["split"] == "train").any() else chips
    blocks = rows.groupby(rows["block_id"].astype(str), sort=True)["chip_id"].agg(list).tolist()
    step = max(1, round(len(rows) / most))
    return [str(chip_id) for block in blocks[::step] for chip_id in block][:most]


def _clear(table: LayerTable, layer: LayerArrays, clear: Iterable[int]) -> NDArray[np.float32]:
    """(T, C, h, w) physical values, NaN where the ground is not seen."""
    seen = np.isin(layer.valid, list(clear))  # (T, h, w)
    return np.where(seen[:, None], to_physical(layer, table.nodata), np.float32(np.nan))


def _means(values: NDArray[np.float32]) -> Floats:
    """(T, C) of what is clear; NaN where that is too little."""
    there = np.isfinite(values)
    count = there.sum(axis=(2, 3))
    sums = np.where(there, values, 0.0).sum(axis=(2, 3), dtype=np.float64)
    enough = count >= LEAST_CLEAR * values.shape[2] * values.shape[3]
    return np.where(enough, sums / np.maximum(count, 1), np.nan)


def _spectra(
    found: Gathered, sample: Sample, tables: Sequence[LayerTable], values: Mapping[str, NDArray[np.float32]]
) -> None:
    """All bands of a modality, NaN of a group that the chip lacks."""
    if any(table.unit != "reflectance" for table in tables):
        return
    nm = np.array([band.centre_nm or np.nan for table in tables for band in table.bands])
    order = np.argsort(nm)[: int(np.isfinite(nm).sum())]
    times = sample.layers[next(iter(values))].time_utc
    lacking = {table.group: np.full((len(times), len(table.bands)), np.nan) for table in tables}
    means = np.concatenate(list((lacking | {g: _means(v) for g, v in values.items()}).values()), axis=1)[:, order]
    days = (times - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "D")
    days = np.full(len(times), np.nan) if tables[0].composite else days
    known = [
        Spectrum(sample.chip_id, float(day), nm[order], one)
        for day, one in zip(days, means, strict=True)
        if np.isfinite(one).any()
    ]
    if known:  # of a modality that nobody saw there is nothing to be judged
        found.spectra.setdefault(tables[0].modality, []).extend(known)


def _radar(found: Gathered, table: LayerTable, values: NDArray[np.float32]) -> None:
    """Of a unit that is known; amplitudes and digital numbers have no range of their own."""
    is_db = "db" in table.unit.lower()
    if not is_db and table.unit.lower() not in ("linear", "power"):
        return
    means = _means(values)
    for at, band in enumerate(table.bands):
        if band.polarisation:
            known = found.radar.setdefault((table.modality, band.polarisation.upper()), [])
            known += means[np.isfinite(means[:, at]), at].tolist()
            found.in_db |= {table.modality} if is_db else set()


def _sun(found: Gathered, sample: Sample, modality: str, times: NDArray[np.datetime64]) -> None:
    """Where the item states it. A time of midnight is a day without its hour."""
    stated, box = sample.row.get(f"{modality}.sun_elevation_deg") or (), sample.row.get("bbox")
    if not box or box["xmin"] > box["xmax"]:
        return
    lon, lat = (float(box["xmin"]) + float(box["xmax"])) / 2.0, (float(box["ymin"]) + float(box["ymax"])) / 2.0
    for time, height in zip(times, stated, strict=False):
        has_hour = not np.isnat(time) and time != time.astype("datetime64[D]")
        if has_hour and height is not None and np.isfinite(height):
            found.sun.append((modality, lon, lat, time, float(height)))


def _edges(found: Gathered, sample: Sample, table: LayerTable, values: NDArray[np.float32]) -> None:
    """Of pictures that lie exactly over their chip; speckle and codes of classes have no edges to be compared."""
    layer, (left, bottom, right, top) = sample.layers[table.group], (float(v) for v in sample.row["bounds_xyxy"])
    grid = layer.georef
    rows, columns = grid.shape_yx
    is_aligned = abs(grid.x0 - left) < 1e-3 and abs(grid.y0 - top) < 1e-3
    is_whole = abs(columns * grid.pixel_size - (right - left)) < 1e-3 and abs(right - left - (top - bottom)) < 1e-3
    if not (is_aligned and is_whole) or rows != columns or rows < 4 or table.unit in ("class", "code"):
        return
    if any(band.polarisation for band in table.bands):
        return
    pictures = values.mean(axis=1, dtype=np.float64)  # (T, h, w); NaN where any band has none
    for time, picture in zip(layer.time_utc, pictures, strict=True):
        lines = (picture[:2], picture[:-3:-1], picture[:, :2].T, picture[:, :-3:-1].T)
        key = (table.group, int(sample.row["epsg"]), str(time), right - left)
        found.edges.setdefault(key, {})[left, top] = Edges(dict(zip(SIDES, lines, strict=True)))
