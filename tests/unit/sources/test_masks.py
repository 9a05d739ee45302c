"""Quality layers become codes by their documents, and codes move between lattices without being invented."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas.chip import VALID_PRECEDENCE, Valid
from schemas.errors import UnsupportedItemError
from schemas.georef import GeoRef
from schemas.scene import MaskKind
from sources.masks import MASK_LAYERS, pixel_codes, resample_valid, to_valid, worst_of

ROW = np.newaxis


def test_scl_follows_its_table() -> None:
    codes = to_valid("scl", {"scl": np.arange(13, dtype=np.uint8)[ROW]})
    assert codes.tolist() == [[0, 7, 1, 3, 1, 1, 6, 5, 2, 2, 5, 4, 7]]


@pytest.mark.parametrize(
    ("bits", "code"),
    [
        ([6], Valid.CLEAR), ([0], Valid.NODATA), ([1], Valid.CLOUD), ([2], Valid.HAZE), ([3], Valid.CLOUD),
        ([4], Valid.SHADOW), ([5], Valid.SNOW), ([6, 7], Valid.WATER), ([3, 4], Valid.CLOUD), ([4, 7], Valid.SHADOW),
        ([0, 3], Valid.NODATA), ([2, 5], Valid.HAZE), ([5, 7], Valid.SNOW),
    ],
)  # fmt: skip
def test_qa_pixel_of_collection_2(bits: list[int], code: Valid) -> None:
    qa = np.full((2, 3), sum(1 << bit for bit in bits), np.uint16)
    assert set(to_valid("qa_pixel_c2", {"qa_pixel": qa}).ravel()) == {code}


def test_saturated_bands_are_defective_but_never_fill() -> None:
    qa = np.array([[1 << 6, 1 << 3, 1]], np.uint16)
    radsat = np.array([[1 << 2, 1 << 0, 1 << 1]], np.uint16)
    assert to_valid("qa_pixel_c2", {"qa_pixel": qa, "qa_radsat": radsat}).tolist() == [[7, 7, 0]]
    terrain = np.array([[1 << 11]], np.uint16)
    assert to_valid("qa_pixel_c2", {"qa_pixel": qa[:, :1], "qa_radsat": terrain}).tolist() == [[1]]


def test_a_saturated_thermal_band_of_tm_says_nothing_of_reflectance_and_a_dropped_pixel_does() -> None:
    radsat = np.array([[1 << bit for bit in range(10)]], np.uint16)
    arrays = {"qa_pixel": np.full((1, 10), 1 << 6, np.uint16), "qa_radsat": radsat}
    assert to_valid("qa_pixel_c2_tm", arrays).tolist() == [[7, 7, 7, 7, 7, 1, 7, 1, 1, 7]]
    assert to_valid("qa_pixel_c2", arrays).tolist() == [[7] * 7 + [1] * 3]


@pytest.mark.parametrize(
    ("value", "code"),
    [(322, 1), (324, 6), (328, 3), (336, 4), (352, 2), (480, 2), (1, 0), (0, 0), (834, 5), (1346, 1)],
)
def test_pixel_qa_of_collection_1_has_other_bits(value: int, code: int) -> None:
    qa = np.full((2, 3), value, np.uint16)
    assert set(to_valid("pixel_qa_c1", {"pixel_qa": qa}).ravel()) == {code}


def test_enmap_layers_by_precedence() -> None:
    layers = {
        "quality_classes": np.array([[1, 2, 3, 1, 1, 2, 0]], np.uint8),
        "quality_cloud": np.array([[0, 0, 1, 1, 0, 0, 0]], np.uint8),
        "quality_cloud_shadow": np.array([[0, 0, 0, 1, 1, 0, 0]], np.uint8),
        "quality_haze": np.array([[0, 0, 0, 0, 1, 1, 0]], np.uint8),
    }
    assert to_valid("enmap_ql", layers).tolist() == [[1, 6, 0, 2, 3, 5, 1]]


def test_fmask_of_hls() -> None:
    values = np.array([[0, 1 << 1, 1 << 3, 1 << 4, 1 << 5, 255, 1 << 2, 0b11000000]], np.uint8)
    assert to_valid("fmask_hls", {"fmask": values}).tolist() == [[1, 2, 3, 4, 6, 0, 5, 1]]


@pytest.mark.parametrize("kind", [kind for kind, layers in MASK_LAYERS.items() if layers])
def test_ground_outside_a_quality_layer_is_fill_or_says_nothing(kind: MaskKind) -> None:
    outside = {name: np.full((3, 4), value, dtype) for name, (dtype, value) in MASK_LAYERS[kind].items()}
    first = next(iter(outside))
    assert (to_valid(kind, outside) == Valid.NODATA).all()
    ground = np.array([code for code in range(256) if code != outside[first][0, 0]]).astype(outside[first].dtype)
    others = {name: np.full(ground.shape, layer[0, 0]) for name, layer in outside.items() if name != first}
    np.testing.assert_array_equal(to_valid(kind, {first: ground, **others}), to_valid(kind, {first: ground}))


def test_no_mask_is_clear_everywhere() -> None:
    assert to_valid("none", {"any": np.zeros((4, 3, 2))}).tolist() == [[1, 1]] * 3


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="needs layer 'qa_pixel'"):
        to_valid("qa_pixel_c2", {"qa_radsat": np.zeros((2, 3), np.uint16)})
    with pytest.raises(ValueError, match="different shapes"):
        to_valid("qa_pixel_c2", {"qa_pixel": np.zeros((2, 3)), "qa_radsat": np.zeros((3, 2))})
    with pytest.raises(UnsupportedItemError, match="udm2"):
        to_valid("udm2", {"udm": np.zeros((2, 3))})  # type: ignore[arg-type]


@given(arrays(np.uint8, (2, 3), elements=st.integers(0, 7)), arrays(np.uint8, (2, 3), elements=st.integers(0, 7)))
def test_the_worst_of_two_is_the_first_in_precedence(one: Any, other: Any) -> None:
    wanted = [min(pair, key=VALID_PRECEDENCE.index) for pair in zip(one.flat, other.flat, strict=True)]
    assert worst_of(one, other).ravel().tolist() == wanted


def test_numbers_themselves_are_missing_or_defective() -> None:
    data = np.array([[[0, 5, 64_537, 9]], [[7, 0, 3, 20_000]]], np.uint16)
    assert pixel_codes(data, 0, "any", (0, 16_000)).tolist() == [[0, 0, 7, 7]]
    assert pixel_codes(data, 0, "all", (0, 16_000)).tolist() == [[1, 1, 7, 7]]
    assert pixel_codes(np.array([[[np.nan, 1.0, -np.inf, np.inf]]]), None).tolist() == [[0, 1, 0, 0]]
    assert pixel_codes(np.array([[[-np.inf, 1.0, -9.0]]]), -9.0).tolist() == [[0, 1, 0]], "0 power in decibel"


CODES = arrays(np.uint8, (4, 6), elements=st.integers(0, 7))
LATTICE_20 = GeoRef(32633, 500_000, 5_000_000, 20, (4, 6))


@given(CODES)
def test_a_finer_lattice_repeats_and_back_is_the_same(codes: Any) -> None:
    fine = GeoRef(32633, 500_000, 5_000_000, 10, (8, 12))
    repeated = resample_valid(codes, LATTICE_20, fine)
    np.testing.assert_array_equal(repeated, codes.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resample_valid(repeated, fine, LATTICE_20), codes)


@given(CODES)
def test_a_coarser_lattice_takes_the_worst(codes: Any) -> None:
    coarse = GeoRef(32633, 500_000, 5_000_000, 40, (2, 3))
    moved = resample_valid(codes, LATTICE_20, coarse)
    for row in range(2):
        for column in range(3):
            block = codes[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert moved[row, column] == min(block.flat, key=VALID_PRECEDENCE.index)


def test_half_shifted_lattices_take_the_pixel_under_the_centre() -> None:
    codes = np.array([[1, 2, 3, 4, 5, 6]] * 4, np.uint8)
    shifted = GeoRef(32633, 500_015, 4_999_985, 30, (2, 3))
    assert resample_valid(codes, LATTICE_20, shifted).tolist() == [[2, 4, 5], [2, 4, 5]]


def test_a_factor_that_is_not_whole_takes_the_pixel_under_the_centre() -> None:
    codes = np.array([[1, 2, 3, 4, 5, 6]] * 4, np.uint8)
    coarse = GeoRef(32633, 500_000, 5_000_000, 50, (1, 2))  # centres at 25 and 75 m, in the pixels from 20 and 60 m
    assert resample_valid(codes, LATTICE_20, coarse).tolist() == [[2, 4]]


def test_ground_outside_the_mask_is_no_data() -> None:
    beyond = GeoRef(32633, 500_080, 5_000_020, 20, (2, 4))
    assert resample_valid(np.ones((4, 6), np.uint8), LATTICE_20, beyond).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]


def test_a_coarser_pixel_that_sticks_out_is_no_data() -> None:
    wider = GeoRef(32633, 500_000, 5_000_000, 40, (3, 3))
    assert resample_valid(np.ones((4, 6), np.uint8), LATTICE_20, wider).tolist() == [[1] * 3, [1] * 3, [0] * 3]


def test_both_hemispheres_of_a_zone_are_one() -> None:
    south = GeoRef(32733, 500_020, 14_999_980, 20, (3, 5))
    codes = np.arange(24, dtype=np.uint8).reshape(4, 6) % 8
    np.testing.assert_array_equal(resample_valid(codes, LATTICE_20, south), codes[1:, 1:])
    with pytest.raises(ValueError, match="without a warp"):
        resample_valid(codes, LATTICE_20, GeoRef(32632, 500_020, 4_999_980, 20, (3, 5)))
