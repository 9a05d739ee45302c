"""Screening of chips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from chips.defects import is_constant
from chips.screen import (
    RULES,
    clear_fraction,
    nodata_fraction,
    saturated_fraction,
    screen,
)
from schemas.chip import Valid, check_layer
from schemas.georef import GeoRef
from schemas.recipe import Screen


def layer(
    data: np.ndarray[Any, Any], valid: np.ndarray[Any, Any], modality: str = "s2", unit: str = "reflectance"
) -> xr.Dataset:
    dates, bands, rows, columns = data.shape
    return check_layer(
        xr.Dataset(
            {
                "data": (("time", "band", "y", "x"), data),
                "valid": (("time", "y", "x"), valid.astype(np.uint8)),
                "scale": (("time",), np.full(dates, 1e-4)),
                "offset": (("time",), np.zeros(dates)),
            },
            coords={
                "time": np.datetime64("2021-06-15", "ns") + np.arange(dates) * np.timedelta64(1, "D"),
                "band": [f"B{b:02d}" for b in range(bands)],
            },
            attrs={
                "modality": modality,
                "group": f"{modality}_10m",
                "georef": GeoRef(32632, 0.0, 0.0, 10.0, (rows, columns)),
                "gsd_m": 10.0,
                "nodata": 0,
                "unit": unit,
                "kind": "elevation" if unit == "m" else "optical",
            },
        )
    )


def textured(dates: int = 1) -> np.ndarray[Any, Any]:
    return np.arange(1, 1 + dates * 2 * 3 * 4, dtype=np.uint16).reshape(dates, 2, 3, 4)


def test_fractions_are_of_the_whole_chip() -> None:
    valid = np.array([[0, 0, 1, 2], [3, 4, 5, 6], [7, 7, 7, 1]], np.uint8)
    assert clear_fraction(valid) == 3 / 12
    assert clear_fraction(valid, snow_is_clear=True) == 4 / 12
    assert nodata_fraction(valid) == 2 / 12
    assert saturated_fraction(valid) == 3 / 12


def test_an_empty_mask_has_fraction_zero() -> None:
    assert clear_fraction(np.zeros((0, 4), np.uint8)) == 0.0


def test_constant_means_every_band_holds_one_value_where_there_is_data() -> None:
    valid = np.ones((3, 4), np.uint8)
    flat = np.full((2, 3, 4), 7, np.uint16)
    assert is_constant(flat, valid)
    one_band_varies = flat.copy()
    one_band_varies[1, 2, 3] = 8
    assert not is_constant(one_band_varies, valid)
    valid[2, 3] = Valid.NODATA
    assert is_constant(one_band_varies, valid)


def test_fewer_than_two_pixels_are_not_constant() -> None:
    valid = np.zeros((3, 4), np.uint8)
    valid[0, 0] = 1
    assert not is_constant(np.full((1, 3, 4), 7), valid)


def test_a_sound_chip_passes() -> None:
    assert screen("c1", {"s2_10m": layer(textured(2), np.ones((2, 3, 4)))}, Screen()) is None


def test_the_worst_date_of_all_layers_is_what_is_measured() -> None:
    some, most = np.ones((2, 3, 4)), np.ones((2, 3, 4))
    some[0, 0] = Valid.NODATA
    most[1, :2] = Valid.NODATA
    layers = {"s2_10m": layer(textured(2), some), "s1_10m": layer(textured(2), most, "s1")}
    outcome = screen("c1", layers, Screen(max_nodata_fraction=0.3))
    assert outcome is not None
    assert outcome.chip_id == "c1"
    assert outcome.reason == "s1.max_nodata_fraction"
    assert (outcome.measured, outcome.limit) == (8 / 12, 0.3)


def test_a_share_at_its_limit_passes() -> None:
    valid = np.ones((1, 3, 4))
    valid[0, :, 0] = Valid.DEFECTIVE
    layers = {"s2_10m": layer(textured(), valid)}
    assert screen("c1", layers, Screen(max_saturated_fraction=0.25)) is None
    outcome = screen("c1", layers, Screen(max_saturated_fraction=0.24))
    assert outcome is not None
    assert outcome.reason == "s2.max_saturated_fraction"


def test_a_constant_date_rejects_unless_it_is_elevation_or_allowed() -> None:
    data = textured(2)
    data[1] = 5
    layers = {"s2_10m": layer(data, np.ones((2, 3, 4)))}
    outcome = screen("c1", layers, Screen())
    assert outcome is not None
    assert outcome.reason == "s2.reject_constant"
    assert screen("c1", layers, Screen(reject_constant=False)) is None
    assert screen("c1", {"dem": layer(data, np.ones((2, 3, 4)), "dem", "m")}, Screen()) is None


def test_a_map_of_classes_may_be_one_class_and_the_same_in_two_years() -> None:
    strict = Screen(
        min_clear_fraction=1.0, max_constant_band_fraction=0.0, max_repeated_line_fraction=0.0, max_equal_fraction=0.5,
        max_striping=0.01,
    )  # fmt: skip
    wood = np.full((2, 1, 20, 24), 10, np.uint8)
    belts = wood + 10 * np.arange(20, dtype=np.uint8)[:, None]
    valid = np.ones((2, 20, 24))
    valid[:, 0, 0] = Valid.NODATA
    for codes in (wood, belts):
        found = layer(codes, valid, "cover")
        assert screen("c", {"cover": found}, strict) is not None
        assert screen("c", {"cover": found.assign_attrs(kind="classes")}, strict) is None


def test_a_modality_without_dates_is_not_screened() -> None:
    assert screen("c1", {"s1_10m": layer(textured()[:0], np.ones((0, 3, 4)), "s1")}, Screen()) is None


def big(seed: int, dates: int = 1) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(500, 3000, (dates, 2, 40, 48)).astype(np.uint16)


def planted() -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, Any]]]:
    """Rule -> pixels, mask and the recipe's limit that the plant breaks."""
    stripes = big(1)
    stripes[0, 1] = stripes[0, 1] // 10 + np.arange(40, dtype=np.uint16)[:, None] % 2 * 900
    lines, flat, twice = big(2), big(3), big(4, dates=2)
    lines[0, 0, 10:20] = lines[0, 0, 9]
    flat[0, 1] = 77
    twice[1] = twice[0]
    cloudy = np.ones((1, 40, 48), np.uint8)
    cloudy[0, :30] = Valid.CLOUD
    one, two = np.ones((1, 40, 48), np.uint8), np.ones((2, 40, 48), np.uint8)
    return {
        "max_striping": (stripes, one, {"max_striping": 0.6}),
        "max_repeated_line_fraction": (lines, one, {"max_repeated_line_fraction": 0.1}),
        "max_constant_band_fraction": (flat, one, {"max_constant_band_fraction": 0.4}),
        "max_equal_fraction": (twice, two, {"max_equal_fraction": 0.99}),
        "min_clear_fraction": (big(5), cloudy, {"min_clear_fraction": 0.5}),
        "max_gap_days": (big(6, dates=2), two, {"max_gap_days": 0.5}),
    }


@pytest.mark.parametrize("rule", planted())
def test_a_planted_defect_breaks_its_rule_and_no_other(rule: str) -> None:
    data, valid, limit = planted()[rule]
    every = {name: value for _, _, limits in planted().values() for name, value in limits.items()}
    outcome = screen("c1", {"s2_10m": layer(data, valid)}, Screen(**limit))
    assert outcome is not None
    assert (outcome.reason, outcome.limit) == (f"s2.{rule}", limit[rule])
    assert outcome.measured is not None
    assert (outcome.measured < limit[rule]) is (rule == "min_clear_fraction")
    others = {
        name: value for name, value in every.items() if name != rule and not (name == "max_gap_days" and len(data) > 1)
    }
    assert screen("c1", {"s2_10m": layer(data, valid)}, Screen(**others)) is None
    assert screen("c1", {"s2_10m": layer(data, valid)}, Screen()) is None


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "reject_constant"])
def test_a_limit_rests_only_where_it_lets_all_pass(rule: str) -> None:
    for limit in (0.01, 0.5, 0.99):
        assert RULES[rule].limit(Screen.model_validate({rule: limit})) == limit


def test_radar_is_not_asked_for_clear_ground() -> None:
    found = layer(big(7), np.full((1, 40, 48), Valid.SNOW), "s1")
    found.attrs["kind"] = "sar"
    assert screen("c1", {"s1": found}, Screen(min_clear_fraction=0.9)) is None
