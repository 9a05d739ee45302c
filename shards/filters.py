"""Which chips, and which of their dates: chosen from chips.parquet before a shard is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from schemas.errors import DatasetError
from shards.columns import NO_TIME, list_column, sum_per_chip

_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d\d)?")
_DAY_OR_MOMENT = re.compile(r"\d{4}(-?)\d\d\1\d\d([T ].+)?")
DATE_ENDINGS = ("datetimes", "clear_fraction", "shift_dx_m", "shift_dy_m", "applied_dx_m", "applied_dy_m", "registered")
"""Columns of a modality that a `DateFilter` looks at."""


@dataclass(frozen=True)
class DateFilter:
    """Which dates of a modality count."""

    start: str = ""
    """ISO time, UTC: not before; any where empty."""
    end: str = ""
    """ISO time, UTC: before; any where empty."""
    min_clear_fraction: float | None = None
    """Of the chip, 0..1."""
    max_residual_m: float | None = None
    """Largest shift that is left after what was applied. A date that was measured as unreliable does not count; one
    that needs no measurement (the reference itself) does."""

    @property
    def is_open(self) -> bool:
        """Whether every date counts."""
        return not (self.start or self.end) and self.min_clear_fraction is None and self.max_residual_m is None


ChosenBy = Literal["clearest", "first", "last", "random"]
"""How dates are chosen among more."""


@dataclass(frozen=True)
class DateChoice:
    """Which dates of a chip are read; the others are passed over on disk.

    Raises:
        DatasetError: less than one date, or an unknown way to choose.
    """

    count: int | None = None
    """At most so many per modality, of those that are there; all, empty steps of a series too, where None."""
    by: ChosenBy = "clearest"
    """Which of more; ``random`` is another draw for each chip and epoch."""
    only: DateFilter = DateFilter()
    """Which count at all."""

    def __post_init__(self) -> None:
        if self.by not in get_args(ChosenBy):
            raise DatasetError(f"no choice of dates by {self.by!r}", mend=f"one of: {', '.join(get_args(ChosenBy))}")
        if self.count is not None and self.count < 1:
            raise DatasetError(
                f"{self.count} dates", mend="at least 1, or None for all; no modality where none is wanted"
            )


@dataclass(frozen=True)
class ChipFilter:
    """Which chips; conditions that are given must all hold."""

    splits: tuple[str, ...] = ()
    """Splits."""
    regions: tuple[str, ...] = ()
    """Regions of the recipe."""
    bbox: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees; footprints' boxes that touch it. West > east crosses the antimeridian; a
    footprint that is cut there has a box on either side."""
    classes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Class of the fused label -> least and largest share of the chip, 0..1."""
    dates: DateFilter = DateFilter()
    """Which dates count."""
    min_dates: int = 1
    """So many must count, of each of `modalities`; looked at where these or `dates` say something."""
    modalities: tuple[str, ...] = ()
    """Modalities that must have such dates; at least one of all where empty."""

    def columns(self, names: Sequence[str], modalities: Sequence[str]) -> list[str]:
        """Columns of chips.parquet that it looks at.

        Args:
            names: all columns.
            modalities: of the dataset.

        Raises:
            DatasetError: a modality that the dataset has not.
        """
        for modality in self.modalities:
            if modality not in modalities:
                raise DatasetError(f"no modality {modality!r}", mend=f"it has {', '.join(modalities)}")
        wanted = [
            *(["split"] if self.splits else []),
            *(["region"] if self.regions else []),
            *(["bbox"] if self.bbox is not None else []),
            *(["label.fractions"] if self.classes else []),
        ]
        if self._looks_at_dates:
            wanted += [f"{m}.{e}" for m in self.modalities or modalities for e in DATE_ENDINGS]
        return [name for name in wanted if name in names]

    @property
    def _looks_at_dates(self) -> bool:
        return bool(self.modalities) or not self.dates.is_open

    def mask(self, table: pa.Table, modalities: Sequence[str], legend: Sequence[str] = ()) -> NDArray[np.bool_]:
        """(chips,) whether each row passes.

        Args:
            table: the columns that `columns` names.
            modalities: of the dataset.
            legend: names of the fused label's classes, those that no chip shows too.

        Raises:
            DatasetError: the dataset has no fused label, or a condition that makes no sense.
        """
        passes = np.ones(table.num_rows, bool)
        if self.splits:
            passes &= _is_in(table["split"], self.splits)
        if self.regions:
            passes &= _is_in(table["region"], self.regions)
        if self.bbox is not None:
            passes &= _touches(table["bbox"], self.bbox)
        if self.classes:
            passes &= _shares(table, self.classes, legend)
        if self._looks_at_dates:
            counted = {m: self._counted(table, m) for m in self.modalities or modalities}
            enough = [counts >= self.min_dates for counts in counted.values()]
            passes &= np.logical_and.reduce(enough) if self.modalities else np.logical_or.reduce(enough)
        return passes

    def touched(self, footprints: pa.ChunkedArray) -> NDArray[np.bool_]:
        """(footprints,) whether a part of each has a box that touches `bbox`: asked of those that `is_cut` names.

        Args:
            footprints: WKB.
        """
        parts, rows = shapely.get_parts(shapely.from_wkb(footprints.to_numpy()), return_index=True)
        touching = np.zeros(len(footprints), bool)
        if self.bbox is not None:
            xmin, ymin, xmax, ymax = shapely.bounds(parts).T
            touching[rows[_boxes_touch(xmin, ymin, xmax, ymax, self.bbox)]] = True
        return touching

    def _counted(self, table: pa.Table, modality: str) -> NDArray[np.int64]:
        if f"{modality}.datetimes" not in table.column_names:
            return np.zeros(table.num_rows, np.int64)
        flags, first = date_flags(table, modality, self.dates)
        return sum_per_chip(flags, first)


def date_flags(table: pa.Table, modality: str, dates: DateFilter) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(all dates,) whether each counts, and (chips + 1,) where each chip's begin.

    A measure that the dataset does not hold counts as not met.
    """
    times = list_column(table, f"{modality}.datetimes")
    flags = times.values != NO_TIME
    if dates.start:
        flags &= times.values >= micros_of(dates.start)
    if dates.end:
        flags &= times.values < micros_of(dates.end)
    if dates.min_clear_fraction is not None:
        flags &= _floats(table, f"{modality}.clear_fraction", flags.size) >= dates.min_clear_fraction
    if dates.max_residual_m is not None:
        flags &= _residual(table, modality, flags.size) <= dates.max_residual_m
    return flags, times.first


def micros_of(text: str) -> int:
    """Microseconds since 1970 of an ISO time, in UTC where it names no other offset.

    A year or a month is its first moment. NumPy is not asked: to it 20240501 is a year.

    Raises:
        DatasetError: it is none.

    Example:
        >>> micros_of("1970-01-01T00:00:01Z"), micros_of("19700102") == micros_of("1970-01-02")
        (1000000, True)
    """
    try:
        day = f"{text}-01-01"[:10] if _YEAR_OR_MONTH.fullmatch(text) else text
        if not _DAY_OR_MOMENT.fullmatch(day):  # Python takes any letter, even a digit, for the T
            raise ValueError(text)
        moment = datetime.fromisoformat(day)
        since = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return since // timedelta(microseconds=1)
    except ValueError as error:
        raise DatasetError(f"{text!r} is no ISO time", mend="2024-05-01 or 2024-05-01T10:30:00Z") from error


def _floats(table: pa.Table, name: str, size: int) -> NDArray[np.float64]:
    """The values of a list column; NaN throughout where the table has none, which passes no comparison."""
    if name not in table.column_names:
        return np.full(size, np.nan)
    return list_column(table, name).values


def _residual(table: pa.Table, modality: str, size: int) -> NDArray[np.float64]:
    """Metres left between a date and its reference; NaN where nobody knows, 0 where nothing was to be measured."""
    dx, dy = (_floats(table, f"{modality}.shift_{axis}_m", size) for axis in ("dx", "dy"))
    moved_x, moved_y = (np.nan_to_num(_floats(table, f"{modality}.applied_{a}_m", size)) for a in ("dx", "dy"))
    residual = np.hypot(dx - moved_x, dy - moved_y)
    if f"{modality}.registered" in table.column_names:
        how = np.asarray(table[f"{modality}.registered"].combine_chunks().flatten().to_pylist(), object)
        residual = np.where(how == "unreliable", np.nan, np.where(how == "not_applicable", 0.0, residual))
    return residual


def _is_in(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(column, value_set=pa.array(list(names))).to_numpy(zero_copy_only=False)
    return found


def is_cut(table: pa.Table) -> NDArray[np.bool_]:
    """(chips,) whether a footprint lies on both sides of the antimeridian: its one box then goes around the Earth.

    Args:
        table: ``bbox`` at least.
    """
    boxes = table["bbox"].combine_chunks()
    cut: NDArray[np.bool_] = boxes.field("xmax").to_numpy() - boxes.field("xmin").to_numpy() > 180
    return cut


def _touches(column: pa.ChunkedArray, bbox: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    boxes = column.combine_chunks()
    xmin, ymin, xmax, ymax = (boxes.field(side).to_numpy() for side in ("xmin", "ymin", "xmax", "ymax"))
    return _boxes_touch(xmin, ymin, xmax, ymax, bbox)


def _boxes_touch(
    xmin: NDArray[np.float64],
    ymin: NDArray[np.float64],
    xmax: NDArray[np.float64],
    ymax: NDArray[np.float64],
    bbox: tuple[float, float, float, float],
) -> NDArray[np.bool_]:
    west, south, east, north = bbox
    across = (xmax >= west) & (xmin <= east) if west <= east else (xmax >= west) | (xmin <= east)
    touching: NDArray[np.bool_] = across & (ymax >= south) & (ymin <= north)
    return touching


def _shares(table: pa.Table, classes: Mapping[str, tuple[float, float]], legend: Sequence[str]) -> NDArray[np.bool_]:
    if "label.fractions" not in table.column_names:
        raise DatasetError("this dataset has no fused label to choose classes by", mend="leave classes out")
    column = table["label.fractions"].combine_chunks()
    lengths = np.diff(column.offsets.to_numpy())
    rows = np.repeat(np.arange(table.num_rows), lengths)
    keys = np.asarray(column.keys.to_pylist(), object)[column.offsets[0].as_py() :][: rows.size]
    items = column.items.to_numpy(zero_copy_only=False)[column.offsets[0].as_py() :][: rows.size]
    known = {*keys.tolist(), *legend}
    passes = np.ones(table.num_rows, bool)
    for name, (least, most) in classes.items():
        if known and name not in known:
            raise DatasetError(f"no chip has the class {name!r}", mend=f"classes: {', '.join(sorted(known))}")
        share = np.zeros(table.num_rows)
        here = keys == name
        share[rows[here]] = items[here]
        passes &= (share >= least) & (share <= most)
    return passes
