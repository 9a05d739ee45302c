"""Conversions of stored numbers: what is physical stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.convert import Stored, holds, is_missing, stored_form, to_stored
from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality


def _modality(**fields: str) -> Modality:
    return Modality(sensor="sentinel-2-l2a", catalog="c", collection="s", **fields)  # type: ignore[arg-type]


def _dn(offset: float) -> Stored:
    data = np.array([[[0, 1, 999, 1000], [1001, 5000, 10_000, 20_000], [0, 1200, 1300, 1400]]], dtype=np.uint16)
    return Stored(data, 1e-4, offset, 0, "reflectance")


@pytest.mark.parametrize("offset", [0.0, -0.1])
@pytest.mark.parametrize("wanted", ["pre04", "post04"])
def test_baseline_changes_numbers_but_not_reflectance(offset: float, wanted: str) -> None:
    given_ = _dn(offset)
    missing = is_missing(given_.data, 0)
    stored = to_stored(given_, missing, _modality(offset=wanted))
    physical = stored.data.astype(float) * stored.scale + stored.offset
    expected = given_.data.astype(float) * given_.scale + given_.offset
    kept = ~missing if wanted == "pre04" else ~missing & (expected >= -0.0999)
    np.testing.assert_allclose(physical[kept], expected[kept], atol=1e-9)
    assert (stored.data[missing] == stored.nodata).all()


def test_pre04_keeps_negative_reflectance_and_a_valid_thousand() -> None:
    given_ = _dn(-0.1)
    stored = to_stored(given_, is_missing(given_.data, 0), _modality(offset="pre04"))
    assert stored.data.dtype == np.int16
    assert stored.nodata == -32768
    assert stored.data[0, 0].tolist() == [-32768, -999, -1, 0]


@given(st.floats(1e-4, 10.0))
def test_decibel_and_linear_are_inverses(power: float) -> None:
    data = np.full((2, 3, 4), power, np.float32)
    none = np.zeros(data.shape, bool)
    db = to_stored(Stored(data, 1.0, 0.0, -32768.0, "linear"), none, _modality(store="db"))
    assert db.unit == "dB"
    back = to_stored(db, none, _modality(store="linear"))
    np.testing.assert_allclose(back.data, data, rtol=1e-5)


def test_power_of_zero_has_no_decibel_and_becomes_no_data() -> None:
    data = np.array([[[0.0, -1.0, 1.0]]], np.float32)
    stored = to_stored(Stored(data, 1.0, 0.0, -32768.0, "linear"), is_missing(data, -32768.0), _modality(store="db"))
    assert stored.data.tolist() == [[[-32768.0, -32768.0, 0.0]]]


def test_as_delivered_changes_nothing() -> None:
    given_ = _dn(-0.1)
    assert to_stored(given_, is_missing(given_.data, 0), _modality()) is given_


def test_offset_that_is_no_whole_number_is_refused() -> None:
    given_ = Stored(np.ones((1, 2, 3), np.uint16), 1e-4, -0.10003, 0, "reflectance")
    with pytest.raises(UnsupportedItemError, match="no whole number"):
        to_stored(given_, is_missing(given_.data, 0), _modality(offset="post04"))


@pytest.mark.parametrize("wanted", ["pre04", "post04"])
@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("float32", 1e-4), ("uint16", 1.0), ("uint16", 1e-3)])
def test_numbers_that_have_no_baseline_are_refused_and_not_cut(dtype: str, scale: float, wanted: str) -> None:
    given_ = Stored(np.full((1, 3, 4), 0.25 / scale, dtype), scale, 0.0, 0, "reflectance")
    with pytest.raises(UnsupportedItemError, match=rf"offset: {wanted} .* {dtype} of scale {scale:g}: set offset"):
        to_stored(given_, is_missing(given_.data, 0), _modality(offset=wanted))


def test_a_scale_in_single_precision_is_that_of_digital_numbers() -> None:
    given_ = Stored(np.full((1, 3, 4), 700, np.uint16), float(np.float32(1e-4)), 0.0, 0, "reflectance")
    stored = to_stored(given_, is_missing(given_.data, 0), _modality(offset="pre04"))
    assert (stored.data == 700).all()


@pytest.mark.parametrize("fields", [{}, {"offset": "pre04"}, {"offset": "post04"}])
def test_documented_form_is_the_stored_form(fields: dict[str, str]) -> None:
    given_, modality = _dn(0.0), _modality(**fields)
    stored = to_stored(given_, is_missing(given_.data, 0), modality)
    assert stored_form("uint16", 0, "reflectance", modality) == (str(stored.data.dtype), stored.nodata, stored.unit)


@pytest.mark.parametrize("nodata", [np.nan, np.inf])
def test_no_data_that_json_cannot_hold_is_not_named(nodata: float) -> None:
    assert stored_form("float32", nodata, "m", _modality()) == ("float32", None, "m")
    assert stored_form("float32", nodata, "linear", _modality(store="db")) == ("float32", -32768.0, "dB")


@given(st.sampled_from(["uint8", "int16", "uint16", "int32"]), st.data())
def test_a_value_is_found_among_whole_numbers_as_among_floats(dtype: str, data: st.DataObject) -> None:
    numbers = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)).map(float)
    pixels = np.array(data.draw(st.lists(numbers, min_size=3, max_size=3)), dtype)
    value = data.draw(st.one_of(st.sampled_from([float(p) for p in pixels]), st.floats(), st.integers().map(float)))
    assert holds(pixels, value).tolist() == (pixels.astype(np.float64) == value).tolist()
