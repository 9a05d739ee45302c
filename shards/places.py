"""Where samples lie: shard, position and bytes of every row of chips.parquet, without an object per chip."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shards.layout import require_shard_path

COLUMNS = ("chip_id", "split", "shard", "shard_index", "shard_offset", "shard_length")
"""Columns that say where a sample lies."""


class Places:
    """Where each chip of a version lies; a chip's number is its row in chips.parquet.

    Args:
        table: chips.parquet, its `COLUMNS` at least.
    """

    def __init__(self, table: pa.Table) -> None:
        self.chip_ids = table["chip_id"].combine_chunks()
        """Arrow strings, by number."""
        shards = table["shard"].combine_chunks().dictionary_encode()
        self._paths: list[str] = [require_shard_path(path) for path in shards.dictionary.to_pylist()]
        self._shard = shards.indices.to_numpy()
        self._index = table["shard_index"].to_numpy()
        self._offset = table["shard_offset"].to_numpy()
        self.lengths: NDArray[np.int64] = table["shard_length"].to_numpy()
        """(chips,) bytes of each sample."""
        self._split = table["split"].combine_chunks()

    def __len__(self) -> int:
        return len(self.chip_ids)

    def of(self, number: int) -> tuple[str, str, int, int]:
        """Chip id, shard, first byte and bytes of a sample."""
        chip_id: str = self.chip_ids[number].as_py()
        return chip_id, self.path_of(number), int(self._offset[number]), int(self.lengths[number])

    def path_of(self, number: int) -> str:
        """The shard of a chip."""
        return str(self._paths[self._shard[number]])

    def bytes_of(self, numbers: NDArray[np.int64]) -> int:
        """Bytes of samples."""
        return int(self.lengths[numbers].sum())

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits that have chips, by name."""
        return tuple(sorted(pc.unique(self._split).to_pylist()))

    def in_order(self, split: str | None = None) -> NDArray[np.int64]:
        """Numbers of all chips, or of a split's, in the order of the shards."""
        ranks = np.argsort(np.argsort(np.array(self._paths, object), kind="stable"), kind="stable")
        order = np.lexsort((self._index, ranks[self._shard]))
        if split is not None:
            order = order[pc.equal(self._split, split).to_numpy(zero_copy_only=False)[order]]
        found: NDArray[np.int64] = order.astype(np.int64)
        return found

    def by_shard(self, numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Numbers apart by shard; both keep their order."""
        if not len(numbers):
            return []
        shards = self._shard[numbers]
        edges = np.flatnonzero(shards[1:] != shards[:-1]) + 1
        return np.split(numbers, edges)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {chip_id: number for number, chip_id in enumerate(self.chip_ids.to_pylist())}

    def number(self, chip_id: str) -> int | None:
        """Number of a chip; None where there is none of that id."""
        return self._number_of.get(chip_id)
