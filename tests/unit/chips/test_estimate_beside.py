"""What is read beside imagery: windows of rasters, whole files, and what nobody says."""

from __future__ import annotations

import numpy as np
import pytest

from chips.estimate import BLOCK_PX, GDAL_OPENS, Beside, Estimate, Touched
from chips.estimate_beside import Lattice, Raster, Whole, beside

CHIP_M = 960.0
BIG = (100 * BLOCK_PX, 90 * BLOCK_PX)


def _tiles(count: int, chips: int = 1) -> Touched:
    """So many tiles over one file."""
    numbers = np.arange(count)
    return Touched(numbers, np.full(count, chips), np.zeros(count, np.int64))


def _read(tiles: int, lattice: Lattice | None, itemsize: int = 1) -> Beside:
    return beside([Raster("map", _tiles(tiles), lattice, itemsize)], [], 0, CHIP_M, 1)


def test_a_window_of_a_class_raster_costs_its_blocks() -> None:
    one, many = _read(1, (10.0, BIG)), _read(7, (10.0, BIG))
    assert 1 < one.read_bytes / BLOCK_PX**2 < 1.5, "a window of 96 pixels touches little more than one block"
    assert many.read_bytes == pytest.approx(7 * one.read_bytes, abs=7)
    assert _read(1, (10.0, BIG), 2).read_bytes == pytest.approx(2 * one.read_bytes, abs=2)
    assert (one.requests, many.requests) == (GDAL_OPENS + 1, GDAL_OPENS + 8)


def test_a_file_has_no_more_bytes_than_it_holds_but_each_tile_asks_for_them() -> None:
    found = _read(50, (10.0, (99, 98)))
    assert found.read_bytes == 99 * 98
    assert found.requests > 50, "GDAL's tiles share no block"


def test_what_nobody_says_is_named_once_and_in_no_figure() -> None:
    rasters = [Raster("map", _tiles(3)), Raster("sea", Touched(*[np.empty(0, np.int64)] * 3))]
    found = beside(rasters, [Whole("osm", 500), Whole("osm", None), Whole("plots", None)], 4, CHIP_M, 1)
    assert found == Beside(files=3, file_bytes=500, queries=4, unknown=("map", "osm", "plots"))
    (note,) = found.notes()
    assert "map, osm, plots" in note
    assert Beside().notes() == []


def test_a_plan_of_before_knows_nothing_beside_imagery() -> None:
    assert Estimate.of({"chips": 1, "tiles": 1, "items": 1, "read_bytes": 2, "requests": 3, "disk_bytes": 4}) == (
        Estimate(1, 1, 1, 2, 3, 4)
    )
