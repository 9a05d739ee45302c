"""One modality group of a sample: which dates and bands are read, and where their values go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.errors import DatasetError, IntegrityError
from shards.columns import NO_TIME, ListColumn, column_of, list_column
from shards.filters import DATE_ENDINGS, DateChoice, date_flags
from shards.npy_pieces import Stored, as_bytes, runs
from shards.pixels import convert, linear
from shards.sample_request import SampleRequest, band_numbers
from shards.segment_source import SegmentSource

if TYPE_CHECKING:
    from shards.reader import Dataset

Arrays = Mapping[str, NDArray[Any]]
Memory = Callable[[str, int], memoryview]
"""(purpose, bytes) -> scratch memory of this thread."""


PADDED_BYTES, PADDED_RATIO = 256 << 20, 64
"""A sample padded to the group's largest may take so many bytes, or so many times the largest stored sample's."""


@dataclass(slots=True)
class Placed:
    """What has been read of a layer so far."""

    data: NDArray[Any] | None = None
    """(T, C, H, W) stored numbers, where they still wait for their mask."""
    has_data: bool = False
    """Whether pixels were read."""
    has_valid: bool = False
    """Whether the mask was read."""


class LayerReader:
    """Reads one modality group into given arrays.

    Args:
        dataset: an open version.
        group: which.
        request: what is wanted of it.
        table: the columns that `columns` names.

    Raises:
        DatasetError: a band that the group has not, or no statistics to normalise by.
    """

    def __init__(self, dataset: Dataset, group: str, request: SampleRequest, table: pa.Table) -> None:
        self.table: LayerTable = dataset.layer(group)
        self.bands = band_numbers(self.table, request.bands.get(group))
        self.values, self.choice = request.values, request.dates or DateChoice()
        self._mean, self._std = statistics_of(self.table, self.bands, request.values, dataset.name)
        names = table.column_names
        self._shapes = list_column(table, f"{group}.shape_yx") if f"{group}.shape_yx" in names else None
        found = {
            ending: column_of(names, group, self.table.modality, ending)
            for ending in ("datetimes", "scale", "offset", "clear_fraction")
        }
        self._columns = {ending: list_column(table, name) for ending, name in found.items() if name is not None}
        self._counting = None
        if not self.choice.only.is_open and f"{self.table.modality}.datetimes" in names:
            self._counting = date_flags(table, self.table.modality, self.choice.only)[0]
        limit = self.table.max_dates if self.choice.count is None else min(self.table.max_dates, self.choice.count)
        self.max_dates = max(1, limit)

    @staticmethod
    def columns(dataset: Dataset, request: SampleRequest) -> list[str]:
        """Columns of chips.parquet that the layers of a request need."""
        wanted: dict[str, None] = {}
        for group in request.groups:
            modality = dataset.layer(group).modality
            endings = ["datetimes", "scale", "offset", "clear_fraction"]
            if request.dates is not None and not request.dates.only.is_open:
                endings += DATE_ENDINGS
            wanted[f"{group}.shape_yx"] = None
            wanted |= {f"{name}.{ending}": None for ending in endings for name in (group, modality)}
        return [name for name in wanted if name in dataset.column_names]

    def require_room(self, lengths: NDArray[np.int64]) -> None:
        """Refuse a table that promises more pixels than its samples have bytes, before any memory is taken for them.

        Args:
            lengths: (chips,) bytes of each sample.

        Raises:
            IntegrityError: a chip, or the band table, promises more.
        """
        times, bands = self._columns.get("datetimes"), len(self.table.bands)
        if times is None or self._shapes is None:
            return
        shapes = np.zeros((len(lengths), 2))
        known = self._shapes.counts == 2
        shapes[known] = self._shapes.values.reshape(-1, 2) if known.sum() * 2 == len(self._shapes.values) else -1
        size = np.dtype(self.table.dtype).itemsize
        promised = times.counts * bands * shapes.prod(1) * size
        if (promised > lengths).any() or (shapes < 0).any():
            raise IntegrityError(f"chips.parquet promises more pixels of {self.table.group} than a sample has bytes")
        padded = max(1, self.table.max_dates) * bands * int(np.prod(self.table.shape_yx)) * size
        if padded > max(PADDED_BYTES, PADDED_RATIO * int(lengths.max(initial=0))):
            raise IntegrityError(f"dataset.json says {self.table.shape_yx} pixels for {self.table.group}: refused")

    def shape_of(self, number: int) -> tuple[int, int]:
        """Rows and columns of a chip; none where it has no such layer."""
        shape = self._shapes.of(number) if self._shapes is not None else np.zeros(0)
        return (int(shape[0]), int(shape[1])) if len(shape) else (0, 0)

    def dates_of(self, number: int, seed: int) -> NDArray[np.int64]:
        """Positions of the dates that are read of a chip, rising.

        Args:
            number: row of chips.parquet.
            seed: of a random choice.
        """
        times = self._columns.get("datetimes")
        if times is None:
            return np.zeros(0, np.int64)
        begin, stop = int(times.first[number]), int(times.first[number + 1])
        positions = np.arange(stop - begin)
        if self._counting is not None:
            positions = positions[self._counting[begin:stop]]
        elif self.choice.count is not None:
            positions = positions[times.values[begin:stop] != NO_TIME]
        if self.choice.count is None or len(positions) <= self.choice.count:
            return positions
        return np.sort(self._chosen(positions, number, seed))

    def _chosen(self, positions: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
        count = self.choice.count
        if self.choice.by == "first":
            return positions[:count]
        if self.choice.by == "last":
            return positions[-count:] if count else positions[:0]
        if self.choice.by == "random":
            return np.random.Generator(np.random.PCG64(seed)).permutation(positions)[:count]
        clear = self._columns.get("clear_fraction")
        share = np.zeros(len(positions)) if clear is None else np.nan_to_num(clear.of(number)[positions], nan=-1.0)
        return positions[np.argsort(-share, kind="stable")][:count]

    def take(
        self,
        part: str,
        array: Stored,
        source: SegmentSource,
        dates: NDArray[np.int64],
        number: int,
        into: Arrays,
        placed: Placed,
        memory: Memory,
    ) -> None:
        """Read pixels, mask or counts of a chip; values are made as soon as pixels and mask are there.

        Raises:
            IntegrityError: another shape or type than the table says.
        """
        height, width = self.shape_of(number)
        stored_dates = self._stored_dates(number)
        pixels = part == "data"
        wanted = (stored_dates, len(self.table.bands), height, width) if pixels else (stored_dates, height, width)
        dtype = np.dtype(self.table.dtype) if pixels else np.dtype(np.uint8)
        if array.shape != wanted or array.dtype != dtype:
            name = self.table.group if pixels else f"{self.table.group}_{part}"
            raise IntegrityError(f"{name} is {array.dtype} {array.shape}, the table says {dtype} {wanted}")
        if pixels:
            placed.has_data = True
            placed.data = self._pixels(array, source, dates, into[self.table.group], memory)
        else:
            self._bytes(array, source, dates, into[f"{self.table.group}_{part}"], memory)
            placed.has_valid |= part == "valid"
        if placed.data is not None and placed.has_valid:
            self._convert(placed.data, number, dates, into)
            placed.data = None

    def _pixels(
        self, array: Stored, source: SegmentSource, dates: NDArray[np.int64], target: NDArray[Any], memory: Memory
    ) -> NDArray[Any] | None:
        """Read the planes wanted; None where they are where they belong, as stored."""
        shape = (len(dates), len(self.bands), *array.shape[2:])
        plane = array.shape[2] * array.shape[3] * array.dtype.itemsize
        straight = self.values == "stored" and shape[2:] == target.shape[2:] and target.flags.c_contiguous
        size = len(dates) * len(self.bands) * plane
        room = as_bytes(target[: len(dates)]) if straight else memory("pixels", size)
        done = 0
        for begin, length in runs(dates.tolist(), self.bands, (array.shape[0], array.shape[1]), plane):
            source.into(array.start + begin, room[done : done + length])
            done += length
        return None if straight else np.frombuffer(room, array.dtype).reshape(shape)

    def _bytes(
        self, array: Stored, source: SegmentSource, dates: NDArray[np.int64], target: NDArray[Any], memory: Memory
    ) -> None:
        """Read the (T, H, W) bytes of the dates wanted into a padded target."""
        rows, columns = array.shape[1:]
        plane = rows * columns
        straight = (rows, columns) == target.shape[1:] and target.flags.c_contiguous
        room = as_bytes(target[: len(dates)]) if straight else memory("mask", len(dates) * plane)
        done = 0
        for begin, length in runs(dates.tolist(), (0,), (array.shape[0], 1), plane):
            source.into(array.start + begin, room[done : done + length])
            done += length
        if not straight:
            target[: len(dates)] = 0
            target[: len(dates), :rows, :columns] = np.frombuffer(room, np.uint8).reshape(len(dates), rows, columns)

    def _convert(self, data: NDArray[Any], number: int, dates: NDArray[np.int64], into: Arrays) -> None:
        target = into[self.table.group]
        rows, columns = data.shape[2:]
        inner = target[: len(dates), :, :rows, :columns]
        if inner.shape != target[: len(dates)].shape:
            target[: len(dates)] = 0
        if self.values == "stored":
            inner[...] = data
            return
        scale, offset = (self._per_date(name, number)[dates] for name in ("scale", "offset"))
        valid = into[f"{self.table.group}_valid"][: len(dates), :rows, :columns]
        with np.errstate(invalid="ignore", over="ignore"):
            how = linear(scale, offset, self._mean, self._std)
            convert(data, valid, how, self.table.nodata, inner)

    def _per_date(self, name: str, number: int) -> NDArray[np.float64]:
        """Scale or offset of a chip's dates.

        Raises:
            IntegrityError: the table has not one for each date.
        """
        column: ListColumn | None = self._columns.get(name)
        values = np.zeros(0) if column is None else column.of(number)
        if len(values) != self._stored_dates(number):
            raise IntegrityError(f"chips.parquet has {len(values)} {name} for {self._stored_dates(number)} date(s)")
        return values

    def _stored_dates(self, number: int) -> int:
        times = self._columns.get("datetimes")
        return 0 if times is None else int(times.first[number + 1] - times.first[number])

    def finish(self, number: int, dates: NDArray[np.int64], into: Arrays, placed: Placed | None) -> None:
        """Write times, and zeros where the chip has no date or no such layer.

        Raises:
            IntegrityError: pixels without a mask, or a layer that the table promises.
        """
        group = self.table.group
        promised = self._stored_dates(number) > 0 and self.shape_of(number) != (0, 0)
        if placed is None and promised:
            raise IntegrityError(f"{group} is missing")
        if placed is not None and placed.has_data != placed.has_valid:
            raise IntegrityError(f"{group} has no validity mask" if placed.has_data else f"{group}_valid has no pixels")
        count = len(dates) if placed is not None and promised else 0
        into[group][count:] = 0
        into[f"{group}_valid"][count:] = 0
        if self.table.composite:
            into[f"{group}_count"][count:] = 0
        times, present = into[f"{group}_time"], into[f"{group}_present"]
        times[:], present[:] = 0, False
        if count:
            micros = self._columns["datetimes"].of(number)[dates]
            present[:count] = micros != NO_TIME
            times[:count] = np.where(present[:count], micros // 1_000_000, 0)


def statistics_of(
    table: LayerTable, bands: tuple[int, ...], values: str, dataset_name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) mean and standard deviation of the train split, or 0 and 1 where values are not normalised.

    A band that is constant there or has no clear pixel (EnMAP leaves bands empty in the water vapour's absorption)
    gets an infinite deviation: it is 0 throughout.

    Raises:
        DatasetError: the dataset holds none for any band.
    """
    if values != "normalised":
        return np.zeros(len(bands)), np.ones(len(bands))
    if all(band.mean is None for band in table.bands):
        raise DatasetError(
            f"no mean and deviation for {table.group} {table.bands[0].name}", where=dataset_name, mend="normalise=False"
        )
    chosen = [table.bands[number] for number in bands]
    mean = np.array([band.mean or 0.0 for band in chosen])
    return mean, np.array([band.std or np.inf for band in chosen])
