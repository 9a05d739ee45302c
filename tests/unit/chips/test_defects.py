"""Defects planted into sound pictures are measured, and sound pictures are left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from chips.defects import constant_band_fraction, equal_fraction, repeated_line_fraction, striping
from schemas.chip import Valid

Array = np.ndarray[Any, Any]
SHAPE = (96, 120)
CLEAR = np.ones(SHAPE, np.uint8)


def texture(seed: int, bands: int = 2) -> Array:
    noise = np.random.default_rng(seed).normal(size=(bands, *SHAPE))
    return np.asarray(1500 + 1500 * ndimage.gaussian_filter(noise, (0, 1.5, 1.5)))


def striped(picture: Array, strength: float, seed: int, axis: int) -> Array:
    """Offsets from line to line, ``strength`` times the typical difference of neighbours."""
    typical = np.median(np.abs(np.diff(picture, axis=-1)))
    offsets = np.random.default_rng(seed).normal(0, strength * typical, picture.shape[1 + axis])
    return np.asarray(picture + (offsets[:, None] if axis == 0 else offsets))


@settings(max_examples=40)
@given(st.integers(0, 200), st.sampled_from([0, 1]), st.floats(1e-4, 1e4), st.floats(-1e3, 1e3))
def test_stripes_are_told_from_texture_in_any_unit(seed: int, axis: int, gain: float, bias: float) -> None:
    picture = texture(seed, bands=1)
    sound, broken = (
        striping(picture * gain + bias, CLEAR),
        striping(striped(picture, 3.0, seed, axis) * gain + bias, CLEAR),
    )
    assert sound < 0.5 < 0.6 < broken


def test_one_striped_band_of_many_is_enough_and_clouds_do_not_hide_it() -> None:
    picture = texture(1, bands=3)
    picture[1] = striped(picture[1:2], 2.0, 1, 1)[0]
    valid = CLEAR.copy()
    valid[:30] = Valid.NODATA
    picture[:, :30] = 0
    assert striping(picture, valid) > 0.6
    assert striping(picture[[0, 2]], valid) < 0.35


def test_a_pixel_that_one_band_lacks_does_not_hide_its_stripes() -> None:
    picture = striped(texture(3), 1.0, 5, 0).astype(np.float32)
    whole = striping(picture, np.ones(picture.shape[1:], np.uint8))
    picture[:, 7, 9] = np.nan
    assert striping(picture, np.ones(picture.shape[1:], np.uint8)) == pytest.approx(whole, rel=0.05)


def test_a_single_edge_of_a_field_is_no_stripe() -> None:
    picture = texture(2, bands=1)
    picture[:, :, 60:] += 3000
    assert striping(picture, CLEAR) < 0.35


@pytest.mark.parametrize("axis", [0, 1])
def test_dropped_lines_are_counted_along_rows_and_columns(axis: int) -> None:
    picture = np.moveaxis(texture(3).astype(np.uint16), 1 + axis, 1).copy()
    picture[0, 10], picture[1, 20], picture[0, 30] = picture[0, 9], 7, picture[0, 29]
    picture = np.moveaxis(picture, 1, 1 + axis)
    assert repeated_line_fraction(picture, CLEAR) == pytest.approx(3 / SHAPE[axis])
    assert repeated_line_fraction(texture(3).astype(np.uint16), CLEAR) == 0.0


def test_a_product_repeated_to_a_finer_grid_repeats_its_lines() -> None:
    fine = np.repeat(np.repeat(texture(4)[:, :32, :40].astype(np.uint16), 3, 1), 3, 2)
    assert repeated_line_fraction(fine, CLEAR) == pytest.approx(2 / 3)


@given(st.integers(0, 5), st.integers(1, 6))
def test_constant_bands_are_counted(constant: int, varying: int) -> None:
    picture = texture(5, bands=constant + varying)
    picture[:constant] = 8
    assert constant_band_fraction(picture, CLEAR) == pytest.approx(constant / (constant + varying))


@given(st.floats(0, 1))
def test_dates_share_the_pixels_that_were_copied(share: float) -> None:
    one, other = texture(6).astype(np.uint16), texture(7).astype(np.uint16) + 5000
    rows = round(share * SHAPE[0])
    other[:, :rows] = one[:, :rows]
    assert equal_fraction(one, other, CLEAR, CLEAR) == pytest.approx(rows / SHAPE[0])
    assert equal_fraction(one, one, CLEAR, CLEAR) == 1.0


def test_what_is_missing_or_constant_on_both_dates_is_not_a_copy() -> None:
    one, other = texture(8).astype(np.uint16), texture(9).astype(np.uint16) + 5000
    one[0] = other[0] = 0
    assert equal_fraction(one, other, CLEAR, CLEAR) == 0.0
    nothing = np.zeros(SHAPE, np.uint8)
    assert equal_fraction(one, one, CLEAR, nothing) == 0.0


@pytest.mark.realdata
def test_real_pictures_are_not_striped(realdata: Path) -> None:
    measured = []
    for path in sorted(realdata.glob("catalog/terramesh-s2-l1c/data/*/B08.tif")):
        with rasterio.open(path) as raster:
            pixels = raster.read()
        measured.append(striping(pixels, np.ones(pixels.shape[1:], np.uint8)))
        worse = striped(pixels.astype(float), 1.0, 1, 0)
        assert striping(worse, np.ones(pixels.shape[1:], np.uint8)) > 0.5
    assert len(measured) >= 3
    assert max(measured) < 0.3, json.dumps(measured)
