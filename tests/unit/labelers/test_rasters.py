"""WorldCover, CORINE and other class rasters: cut to the chip, checked against the legend, at one coding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from labelers.corine import CorineLabeler
from labelers.raster import RasterLabeler, codes_in, crop_codes
from labelers.worldcover import WorldCoverLabeler
from schemas.errors import UnsupportedItemError
from schemas.georef import GeoRef
from schemas.labels import RasterLayer

GRID = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4))


def layer_of(codes: NDArray[Any], nodata: int = 0, legend: str = "worldcover", georef: GeoRef = GRID) -> RasterLayer:
    return RasterLayer("wc", codes, georef, nodata, legend, "2021 v200", "CC-BY-4.0", item_ids=("item-1",))


def test_worldcover_codes_pass_as_they_are() -> None:
    codes = np.array([[10, 20, 30, 40], [50, 60, 70, 80], [90, 95, 100, 0]], np.uint8)
    label = WorldCoverLabeler().label(layer_of(codes), GRID)
    np.testing.assert_array_equal(label.classes, codes)
    assert (label.nodata, label.legend, label.vintage, label.share_alike) == (0, "worldcover", "2021 v200", False)


def test_a_raster_under_a_share_alike_licence_binds_what_derives_from_it() -> None:
    codes = np.full((3, 4), 10, np.uint8)
    for licence, binds in (("CC-BY-SA-4.0", True), ("ODbL-1.0", True), ("CC-BY-4.0", False), ("", False)):
        layer = replace(layer_of(codes), licence=licence)
        assert WorldCoverLabeler().label(layer, GRID).share_alike == binds


def test_a_code_that_the_legend_lacks_is_refused_with_the_item() -> None:
    with pytest.raises(UnsupportedItemError, match=r"no code 7, 11 \(items item-1\)"):
        WorldCoverLabeler().label(layer_of(np.array([[7, 11, 10, 10]] * 3, np.uint8)), GRID)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_the_codes_that_occur_are_told_rising(dtype: type) -> None:
    assert codes_in(np.array([[30, 10, 10], [255, 0, 30]], dtype)) == [0, 10, 30, 255]


def test_a_layer_of_the_tile_is_cut_to_the_chip() -> None:
    tile = GeoRef(32632, 499_980.0, 5_000_010.0, 10.0, (6, 9))
    codes = np.arange(54, dtype=np.uint8).reshape(6, 9)
    np.testing.assert_array_equal(crop_codes(layer_of(codes, georef=tile), GRID), codes[1:4, 2:6])


@pytest.mark.parametrize(
    "chip",
    [
        GeoRef(32632, 500_005.0, 5_000_000.0, 10.0, (1, 1)),
        GeoRef(32633, 500_000.0, 5_000_000.0, 10.0, (1, 1)),
        GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (4, 4)),
        GeoRef(32632, 499_990.0, 5_000_000.0, 10.0, (1, 1)),
    ],
)
def test_a_chip_off_the_lattice_or_beyond_the_layer_is_an_error(chip: GeoRef) -> None:
    with pytest.raises(ValueError, match="wc: "):
        crop_codes(layer_of(np.full((3, 4), 10, np.uint8)), chip)


def test_raster_values_of_corine_become_clc_codes() -> None:
    values = np.array([[1, 2, 12, 18], [23, 44, 48, 49], [50, 255, 999, 41]], np.uint16)
    label = CorineLabeler().label(layer_of(values, 999, "corine-44"), GRID)
    expected = [[111, 112, 211, 231], [311, 523, 999, 999], [999, 999, 999, 512]]
    np.testing.assert_array_equal(label.classes, np.array(expected, np.uint16))
    assert label.nodata == 999


def test_clc_codes_of_corine_pass_and_what_is_outside_is_no_data() -> None:
    codes = np.array([[111, 523, 990, 995], [999, 312, 312, 312], [211, 211, 211, 211]], np.uint16)
    label = CorineLabeler().label(layer_of(codes, 999, "corine-44"), GRID)
    np.testing.assert_array_equal(label.classes, np.where(codes >= 990, 999, codes))


def test_both_codings_of_corine_give_the_same_layer() -> None:
    labeler = CorineLabeler()
    codes = np.array([entry.code for entry in labeler.legend.classes], np.uint16).reshape(4, 11)
    values = np.arange(1, 45, dtype=np.uint8).reshape(4, 11)
    grid = GeoRef(32632, 0.0, 0.0, 100.0, (4, 11))
    one = labeler.label(layer_of(values, 0, "corine-44", grid), grid)
    other = labeler.label(layer_of(codes, 999, "corine-44", grid), grid)
    np.testing.assert_array_equal(one.classes, other.classes)


@pytest.mark.parametrize("codes", [[1, 2, 211, 12], [45, 1, 1, 1], [113, 113, 113, 113]])
def test_what_is_neither_coding_of_corine_is_refused(codes: list[int]) -> None:
    with pytest.raises(UnsupportedItemError):
        CorineLabeler().label(layer_of(np.array([codes] * 3, np.uint16), 999, "corine-44"), GRID)


def test_any_raster_with_a_legend_is_a_label() -> None:
    codes = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]], np.uint8)
    label = RasterLabeler("terramesh-lulc").label(layer_of(codes, 0, "terramesh-lulc"), GRID)
    np.testing.assert_array_equal(label.classes, codes)
