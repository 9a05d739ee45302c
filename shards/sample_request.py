"""What a stream wants of every sample, and the arrays that it becomes: names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from schemas.dataset import LayerTable
from schemas.errors import DatasetError
from shards.filters import DateChoice

ABSTAIN = 255
"""Fused label of a pixel, or of a chip, that has none."""


@dataclass(frozen=True)
class SampleRequest:
    """What is read of a sample."""

    groups: tuple[str, ...]
    """Modality groups."""
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Group -> bands, in the order wanted; all of a group that is not named."""
    dates: DateChoice | None = None
    """Which dates; all where None."""
    values: Literal["stored", "physical", "normalised"] = "physical"
    """Numbers as stored; float32 physical values; or (x - mean) / std of the train split."""
    label: bool = True
    """The fused label and its confidence."""
    sources: tuple[str, ...] = ()
    """Label sources, at their own codes."""
    texts: bool = False
    """Text records."""
    osm: bool = False
    """OSM features."""


@dataclass(frozen=True)
class Field:
    """One array of a sample."""

    shape: tuple[int, ...]
    """Without the batch."""
    dtype: np.dtype[np.generic]
    """NumPy type."""
    fill: int = 0
    """What stands where the sample has nothing."""


def band_numbers(table: LayerTable, wanted: tuple[str, ...] | None) -> tuple[int, ...]:
    """Positions of bands in a group, in the order wanted.

    Raises:
        DatasetError: a band that the group has not, or one that is asked for twice.
    """
    names = [band.name for band in table.bands]
    if wanted is None:
        return tuple(range(len(names)))
    for band in wanted:
        if band not in names:
            raise DatasetError(f"no band {band!r} in {table.group}", mend=f"it has {', '.join(names)}")
    if not wanted or len(set(wanted)) != len(wanted):
        raise DatasetError(f"bands of {table.group} are {wanted}", mend="each band once, at least one")
    return tuple(names.index(band) for band in wanted)


def group_fields(table: LayerTable, bands: int, dates: int, shape_yx: tuple[int, int], values: str) -> dict[str, Field]:
    """Arrays of one modality group: pixels, validity, times, which dates are there, and counts of a composite."""
    kind = np.dtype(table.dtype) if values == "stored" else np.dtype(np.float32)
    byte = np.dtype(np.uint8)
    found = {
        table.group: Field((dates, bands, *shape_yx), kind),
        f"{table.group}_valid": Field((dates, *shape_yx), byte),
        f"{table.group}_time": Field((dates,), np.dtype(np.int64)),
        f"{table.group}_present": Field((dates,), np.dtype(np.bool_)),
    }
    if table.composite:
        found[f"{table.group}_count"] = Field((dates, *shape_yx), byte)
    return found
