"""Composites against plain loops: only clear pixels count, no data never bleeds, order changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chips.composite
from chips.composite import (
    NOBODY,
    Stack,
    blended,
    chosen,
    index_on,
    medoid_costs,
    ndvi_costs,
    red_and_nir,
    taken,
    time_costs,
)
from chips.convert import Stored
from schemas.chip import Valid
from schemas.georef import GeoRef


def stored(
    data: Any, scale: float = 1e-4, offset: float = 0.0, nodata: float | None = 0, unit: str = "reflectance"
) -> Stored:
    return Stored(np.asarray(data), scale, offset, nodata, unit)


numbers = hnp.arrays(np.uint16, (4, 2, 3, 5), elements=st.integers(0, 9000))
masks = hnp.arrays(np.uint8, (4, 3, 5), elements=st.sampled_from([0, 1, 2, 6, 7]))


def made(data: Any, valid: Any) -> tuple[Stack, Any, Any]:
    """A stack whose no-data pixels hold the value 0 and no others do."""
    data = np.where(data == 0, 1, data).astype(np.uint16)
    data[np.broadcast_to((valid == 0)[:, np.newaxis], data.shape)] = 0
    return Stack([stored(d) for d in data], list(valid)), data, np.isin(valid, (1, 6))


@settings(max_examples=30)
@given(numbers, masks, st.sampled_from(["median", "mean"]), st.integers(1, 3))
def test_blend_is_that_of_the_clear_pixels(data: Any, valid: Any, how: str, least: int) -> None:
    stack, data, clear = made(data, valid)
    done = blended(stack, how, least)
    np.testing.assert_array_equal(done.count, clear.sum(axis=0))
    for y, x in np.ndindex(3, 5):
        values = data[clear[:, y, x], :, y, x].astype(float)
        if len(values) < least:
            assert done.valid[y, x] == Valid.NODATA
            assert (done.stored.data[:, y, x] == 0).all()
            continue
        wanted = np.median(values, axis=0) if how == "median" else values.mean(axis=0)
        assert np.abs(done.stored.data[:, y, x] - wanted).max() <= 0.51
        assert done.valid[y, x] in (1, 6)


@settings(max_examples=30)
@given(numbers, masks, st.permutations(range(4)))
def test_order_of_the_dates_changes_no_blend(data: Any, valid: Any, order: list[int]) -> None:
    stack, _, _ = made(data, valid)
    turned = Stack([stack.stored[i] for i in order], [stack.valid[i] for i in order])
    for how in ("median", "mean"):
        first, second = blended(stack, how), blended(turned, how)
        np.testing.assert_array_equal(first.stored.data, second.stored.data)
        np.testing.assert_array_equal(first.valid, second.valid)


@settings(max_examples=30)
@given(numbers, masks)
def test_medoid_is_the_clear_date_nearest_to_the_others(data: Any, valid: Any) -> None:
    stack, data, clear = made(data, valid)
    done = taken(stack, chosen(stack, medoid_costs(stack)))
    for y, x in np.ndindex(3, 5):
        here = np.flatnonzero(clear[:, y, x])
        if not len(here):
            assert done.valid[y, x] == Valid.NODATA
            continue
        pixels = data[here, :, y, x].astype(float)
        sums = np.linalg.norm(pixels[:, np.newaxis] - pixels, axis=-1).sum(axis=1)
        candidates = pixels[np.isclose(sums, sums.min(), rtol=1e-4)]
        assert (candidates == done.stored.data[:, y, x]).all(axis=1).any()


def test_baselines_of_two_offsets_meet_on_one_scale() -> None:
    """DN 2000 before and DN 3000 after baseline 04.00 are one reflectance, 0.2; negatives survive."""
    before, after = stored(np.full((1, 1, 3), 2000, np.uint16)), stored([[[3000, 3002, 900]]], offset=-0.1)
    after = Stored(after.data.astype(np.uint16), 1e-4, -0.1, 0, "reflectance")
    valid = np.ones((1, 3), np.uint8)
    cloudy = np.array([[1, 1, 2]], np.uint8)
    done = blended(Stack([before, after], [cloudy, valid]), "median")
    np.testing.assert_array_equal(done.stored.data, [[[3000, 3001, 900]]])
    assert (done.stored.scale, done.stored.offset) == (1e-4, -0.1)
    picked = taken(Stack([before, after], [valid, valid]), np.array([[0, 1, 0]], np.int16))
    np.testing.assert_array_equal(picked.stored.data, [[[3000, 3002, 3000]]])


def test_decibel_is_averaged_as_power() -> None:
    powers = np.array([0.1, 0.4, 0.01], np.float32).reshape(3, 1, 1, 1)
    as_db = [stored(10 * np.log10(p), 1.0, 0.0, -32768.0, "dB") for p in powers]
    valid = [np.ones((1, 1), np.uint8)] * 3
    assert float(blended(Stack(as_db, valid), "mean").stored.data[0, 0, 0]) == pytest.approx(
        10 * np.log10(0.17), abs=1e-5
    )
    linear = [stored(p, 1.0, 0.0, -32768.0, "linear") for p in powers]
    assert float(blended(Stack(linear, valid), "mean").stored.data[0, 0, 0]) == pytest.approx(0.17)


def test_band_without_data_at_one_date_is_left_out_of_its_median_alone() -> None:
    data = np.array([[[[5.0]], [[1.0]]], [[[7.0]], [[np.nan]]]], np.float32)
    stack = Stack([stored(d, 1.0, 0.0, None, "x") for d in data], [np.ones((1, 1), np.uint8)] * 2)
    np.testing.assert_array_equal(blended(stack, "median").stored.data[:, 0, 0], [6.0, 1.0])


def test_best_pixel_by_greenness_by_time_and_by_mask() -> None:
    red, nir = [400, 900, 100], [3000, 1000, 3000]
    data = np.array([[[[r, r]], [[n, n]]] for r, n in zip(red, nir, strict=True)], np.uint16)
    valid = [np.array([[1, 1]], np.uint8), np.array([[1, 2]], np.uint8), np.array([[2, 3]], np.uint8)]
    stack = Stack([stored(d) for d in data], valid)
    np.testing.assert_array_equal(chosen(stack, ndvi_costs(stack, 0, 1)), [[0, 0]])  # the greenest is clouded
    np.testing.assert_array_equal(chosen(stack, time_costs([9, 1, 0])), [[1, 0]])
    np.testing.assert_array_equal(chosen(stack, time_costs([9, 1, 0]), min_count=2), [[1, NOBODY]])
    cloudy = Stack(stack.stored, [np.full((1, 2), c, np.uint8) for c in (Valid.CLOUD, Valid.SHADOW, Valid.NODATA)])
    np.testing.assert_array_equal(chosen(cloudy, time_costs([0, 1, 2])), [[NOBODY, NOBODY]])
    np.testing.assert_array_equal(chosen(cloudy, time_costs([0, 1, 2]), min_count=0), [[1, 1]])
    assert taken(cloudy, chosen(cloudy, time_costs([0, 1, 2]), min_count=0)).valid.tolist() == [[3, 3]]


def test_dark_ground_is_no_greener_than_a_crop_and_has_its_pixel() -> None:
    """Water of reflectance -0.002 and 0.003 would have an index of 5, and one of 0 and 0 none at all."""
    pairs = {"water": (980, 1030), "crop": (1400, 5000), "nothing": (1000, 1000), "negative": (990, 995)}
    given = {
        name: Stored(np.array([[[r]], [[n]]], np.uint16), 1e-4, -0.1, 0, "reflectance")
        for name, (r, n) in pairs.items()
    }
    clear = np.ones((1, 1), np.uint8)

    def greenest(*names: str) -> str:
        stack = Stack([given[name] for name in names], [clear] * len(names))
        return names[int(chosen(stack, ndvi_costs(stack, 0, 1))[0, 0])]

    assert greenest("water", "crop", "negative", "nothing") == "crop"
    stack = Stack([given["nothing"]], [clear])
    assert taken(stack, chosen(stack, ndvi_costs(stack, 0, 1))).valid.tolist() == [[Valid.CLEAR]]


def test_choice_of_the_finest_layer_holds_in_a_coarser_one_where_it_is_as_clear() -> None:
    fine, coarse = GeoRef(32632, 0.0, 120.0, 10.0, (4, 6)), GeoRef(32632, 0.0, 120.0, 20.0, (2, 3))
    index = np.zeros((4, 6), np.int16)
    index[:2, :2], index[2:, 4:], index[0, 5] = 1, NOBODY, 1
    np.testing.assert_array_equal(index_on(index, fine, coarse), [[1, 0, 0], [0, 0, NOBODY]])
    valid = [np.full((2, 3), 1, np.uint8), np.full((2, 3), 1, np.uint8)]
    valid[1][0, 0] = Valid.CLOUD
    stack = Stack([stored(np.full((1, 2, 3), v, np.uint16)) for v in (5, 9)], valid)
    preferred = np.full((2, 3), 1, np.int16)
    np.testing.assert_array_equal(chosen(stack, time_costs([0, 1]), 1, preferred), [[0, 1, 1], [1, 1, 1]])


@given(hnp.arrays(np.int16, (4, 6), elements=st.integers(-1, 2)), st.integers(-1, 1), st.integers(-1, 1))
def test_an_index_on_a_coarser_grid_is_the_most_frequent_of_those_within(index: Any, down: int, right: int) -> None:
    fine = GeoRef(32632, 0.0, 120.0, 10.0, (4, 6))
    coarse = GeoRef(32632, 20.0 * right, 120.0 - 20.0 * down, 20.0, (2, 3))
    around = np.pad(index, 2, constant_values=NOBODY)
    found = index_on(index, fine, coarse)
    for y, x in np.ndindex(2, 3):
        top, left = 2 + 2 * (y + down), 2 + 2 * (x + right)
        within = around[top : top + 2, left : left + 2]
        counts = [int((within == number).sum()) for number in range(3)]
        assert found[y, x] == (counts.index(max(counts)) if any(counts) else NOBODY)
    np.testing.assert_array_equal(index_on(index, fine, fine), index)


def test_where_no_date_is_clear_and_no_value_means_no_data_stands_zero() -> None:
    stack = Stack(
        [stored(np.full((1, 1, 2), 7, np.uint8), nodata=None)], [np.array([[Valid.CLEAR, Valid.CLOUD]], np.uint8)]
    )
    done = blended(stack, "median")
    assert done.stored.data.tolist() == [[[7, 0]]]
    assert done.valid.tolist() == [[Valid.CLEAR, Valid.NODATA]]


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    stack, _, _ = made(
        generator.integers(0, 9000, (4, 2, 3, 5)), generator.choice([0, 1, 2, 6], (4, 3, 5)).astype(np.uint8)
    )
    whole = [blended(stack, "median").stored.data, medoid_costs(stack)]
    monkeypatch.setattr(chips.composite, "STRIP_BYTES", 1)
    np.testing.assert_array_equal(blended(stack, "median").stored.data, whole[0])
    np.testing.assert_array_equal(medoid_costs(stack), whole[1])


def test_value_that_would_be_no_data_is_moved_beside_it() -> None:
    low = [stored(np.array([[[v]]], np.uint16)) for v in (1, 1)]
    shifted = [Stored(low[0].data, 1e-4, 1e-4, 0, "r"), Stored(low[1].data, 1e-4, 2e-4, 0, "r")]
    done = blended(Stack(shifted, [np.ones((1, 1), np.uint8)] * 2), "mean")
    assert int(done.stored.data[0, 0, 0]) in (1, 2)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["coastal", "blue", "green", "red", "nir08"], (3, 4)),  # Landsat
        (["red", "nir08", "nir"], (0, 2)),
        (["nir08", "swir16"], None),
        (["red"], None),
    ],
)
def test_near_infrared_is_the_broad_band_or_landsat_s(names: list[str], found: tuple[int, int] | None) -> None:
    assert red_and_nir(names) == found
