"""Band statistics: exact, mergeable in any order."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chips.statistics import finish, from_dict, measure_layer, merge, moments_of, to_dict
from schemas.georef import GeoRef


def layer(
    data: np.ndarray[Any, Any],
    valid: np.ndarray[Any, Any],
    scale: list[float],
    offset: list[float],
    nodata: float | None = 0,
) -> xr.Dataset:
    dates, bands, rows, columns = data.shape
    return xr.Dataset(
        {
            "data": (("time", "band", "y", "x"), data),
            "valid": (("time", "y", "x"), valid.astype(np.uint8)),
            "scale": (("time",), np.array(scale)),
            "offset": (("time",), np.array(offset)),
        },
        coords={
            "time": np.datetime64("2021-06-15", "ns") + np.arange(dates) * np.timedelta64(1, "D"),
            "band": [f"B{b:02d}" for b in range(bands)],
        },
        attrs={
            "modality": "s2",
            "group": "s2_10m",
            "georef": GeoRef(32632, 0.0, 0.0, 10.0, (rows, columns)),
            "gsd_m": 10.0,
            "nodata": nodata,
            "unit": "reflectance",
        },
    )


numbers = st.one_of(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    hnp.arrays(np.uint16, (3, 4)),
    hnp.arrays(np.int16, (3, 4)),
    hnp.arrays(np.int32, (3, 4)),
    hnp.arrays(np.uint32, (3, 4)),
)


@given(numbers)
def test_moments_are_the_exact_rational_sums(values: Any) -> None:
    exact = [Fraction(v) for v in values.ravel().tolist()]
    moments = moments_of(values)
    assert moments.count == 12
    assert moments.total == sum(exact)
    assert moments.squares == sum(v * v for v in exact)


def test_subnormal_and_largest_floats_are_summed_exactly() -> None:
    info = np.finfo(np.float32)
    values = np.array([info.smallest_subnormal, info.max, -info.tiny, 0.0, info.max], np.float32)
    exact = [Fraction(v) for v in values.tolist()]
    assert moments_of(values).total == sum(exact)
    assert moments_of(values).squares == sum(v * v for v in exact)


def test_nodata_and_values_that_are_not_finite_do_not_count() -> None:
    assert moments_of(np.array([-32768, 3, 4], np.int16), -32768).total == 7
    assert moments_of(np.array([np.nan, np.inf, -32768.0, 3.0]), -32768.0).count == 1
    assert moments_of(np.array([np.nan, 3.0], np.float32), float("nan")).count == 1


def test_other_kinds_of_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="complex64"):
        moments_of(np.zeros(3, np.complex64))


def test_each_date_is_scaled_by_its_own_offset() -> None:
    data = np.array([2000, 3000], np.uint16).reshape(2, 1, 1, 1) * np.ones((2, 1, 3, 4), np.uint16)
    summary = finish(measure_layer(layer(data, np.ones((2, 3, 4)), [1e-4, 1e-4], [0.0, -0.1])))
    assert summary["s2_10m", "B00"].mean == pytest.approx(0.2, abs=1e-15)
    assert summary["s2_10m", "B00"].std == pytest.approx(0.0, abs=1e-15)
    assert summary["s2_10m", "B00"].count == 24


def test_only_clear_pixels_count() -> None:
    data = np.arange(1, 25, dtype=np.uint16).reshape(1, 2, 3, 4)
    valid = np.array([[[0, 2, 3, 5], [7, 4, 1, 6], [1, 1, 1, 1]]])
    bands = layer(data, valid, [1.0], [0.0])
    summary = finish(measure_layer(bands))
    assert summary["s2_10m", "B00"].count == 6
    assert summary["s2_10m", "B00"].mean == np.mean([7, 8, 9, 10, 11, 12])
    snow = bands.assign_attrs({**bands.attrs, "snow_is_clear": True})
    assert finish(measure_layer(snow))["s2_10m", "B01"].count == 7


def test_a_band_without_pixels_is_absent() -> None:
    data = np.ones((1, 2, 3, 4), np.uint16)
    data[0, 1] = 0
    assert set(finish(measure_layer(layer(data, np.ones((1, 3, 4)), [1.0], [0.0])))) == {("s2_10m", "B00")}


def test_agrees_with_numpy_on_backscatter() -> None:
    rng = np.random.default_rng(3)
    data = rng.gamma(4.0, 0.02, (2, 2, 30, 40)).astype(np.float32)
    summary = finish(measure_layer(layer(data, np.ones((2, 30, 40)), [1.0, 1.0], [0.0, 0.0], -32768.0)))
    for b in range(2):
        values = data[:, b].astype(np.float64)
        assert summary["s2_10m", f"B{b:02d}"].mean == pytest.approx(values.mean(), rel=1e-12)
        assert summary["s2_10m", f"B{b:02d}"].std == pytest.approx(values.std(), rel=1e-12)


@given(st.lists(numbers, min_size=2, max_size=5), st.randoms())
def test_any_order_and_grouping_of_chips_gives_the_same_bytes(arrays: Any, random: Any) -> None:
    parts = [
        measure_layer(layer(array.reshape(1, 1, 3, 4), np.ones((1, 3, 4)), [1e-4], [offset], None))
        for array, offset in zip(arrays, [0.0, -0.1, 0.0, -0.1, 0.3], strict=False)
    ]
    together = merge(parts)
    shuffled = list(parts)
    random.shuffle(shuffled)
    regrouped = merge([merge(shuffled[:1]), merge(shuffled[1:])])
    assert json.dumps(to_dict(together)) == json.dumps(to_dict(regrouped))
    assert finish(together) == finish(regrouped)


@given(st.lists(numbers, min_size=1, max_size=3))
def test_from_dict_is_the_inverse_of_to_dict(arrays: Any) -> None:
    together = merge(
        measure_layer(layer(array.reshape(1, 1, 3, 4), np.ones((1, 3, 4)), [1e-4], [0.0], None)) for array in arrays
    )
    assert from_dict(json.loads(json.dumps(to_dict(together)))) == together


def test_nothing_measured_is_nothing_documented() -> None:
    assert merge([]) == {}
    assert finish({}) == {}
