"""Columns of chips.parquet as flat arrays: asked of every chip without a Python object for each.

A list over dates is its values, all chips behind each other, and where each chip's begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import IntegrityError

NO_TIME = np.iinfo(np.int64).min
"""Microseconds of a date that is not there."""


@dataclass(frozen=True)
class ListColumn:
    """A column of lists of numbers."""

    first: NDArray[np.int64]
    """(chips + 1,) where each chip's values begin."""
    values: NDArray[Any]
    """All of them: float64, NaN where null; or int64 microseconds since 1970, `NO_TIME` where null."""

    def of(self, number: int) -> NDArray[Any]:
        """The values of one chip."""
        return self.values[self.first[number] : self.first[number + 1]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(chips,) how many values each chip has."""
        return np.diff(self.first)


def list_column(table: pa.Table, name: str) -> ListColumn:
    """A column of lists of numbers or of times, as flat arrays.

    Raises:
        IntegrityError: it holds something else.
    """
    column = table[name].combine_chunks()
    if not pa.types.is_list(column.type):
        raise IntegrityError(f"chips.parquet: {name} is {column.type}, wanted lists")
    counts = np.nan_to_num(column.value_lengths().to_numpy(zero_copy_only=False).astype(np.float64)).astype(np.int64)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    flat = column.flatten()
    if pa.types.is_timestamp(flat.type):
        micros = flat.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        return ListColumn(first, micros.fill_null(int(NO_TIME)).to_numpy(zero_copy_only=False))
    if pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type):
        return ListColumn(first, flat.cast(pa.float64()).to_numpy(zero_copy_only=False))
    raise IntegrityError(f"chips.parquet: {name} holds {flat.type}, wanted numbers or times")


def sum_per_chip(flags: NDArray[np.bool_], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """(chips,) how many of each chip's dates are flagged."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(flags, dtype=np.int64)])
    counted: NDArray[np.int64] = running[first[1:]] - running[first[:-1]]
    return counted


def column_of(names: Mapping[str, Any] | list[str], group: str, modality: str, ending: str) -> str | None:
    """The column of a layer: the group's own where there is one, else the modality's, else None."""
    for name in (f"{group}.{ending}", f"{modality}.{ending}"):
        if name in names:
            return name
    return None
