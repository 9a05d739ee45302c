"""Fingerprints: the same place again is found among many, other places are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from chips.fingerprint import BITS, Fingerprint, Twins, find_twins, fingerprint, fingerprints, to_reject

Array = np.ndarray[Any, Any]
SHAPE = (96, 120)
KNOWN = np.ones(SHAPE, bool)


def place(seed: int, shape: tuple[int, int] = (106, 130)) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(1500 + 4000 * ndimage.gaussian_filter(rng.normal(size=shape), 2.5))


def equal(one: str, other: str) -> float:
    return 1 - (int(one, 16) ^ int(other, 16)).bit_count() / BITS


@settings(max_examples=30)
@given(st.integers(0, 500), st.floats(0.2, 5), st.floats(0, 900))
def test_another_light_and_a_little_noise_keep_the_print(seed: int, gain: float, bias: float) -> None:
    picture = place(seed)[5:-5, 5:-5]
    noisy = picture + np.random.default_rng(seed + 1).normal(0, 0.05 * picture.std(), SHAPE)
    assert fingerprint(picture * gain + bias, KNOWN) == fingerprint(picture * gain + bias, KNOWN)
    assert equal(fingerprint(picture, KNOWN), fingerprint(noisy * gain + bias, KNOWN)) > 0.94


@settings(max_examples=30)
@given(st.integers(0, 500), st.integers(501, 1000))
def test_two_places_share_about_half_of_the_bits(one: int, other: int) -> None:
    prints = [fingerprint(place(seed)[5:-5, 5:-5], KNOWN) for seed in (one, other)]
    assert 0.3 < equal(*prints) < 0.7


def test_too_little_ground_or_nothing_to_see_has_no_print() -> None:
    cloudy = KNOWN.copy()
    cloudy[:40] = False
    assert fingerprint(place(1)[5:-5, 5:-5], cloudy) == ""
    assert fingerprint(np.full(SHAPE, 7.0), KNOWN) == ""


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 15))
def test_twins_with_few_other_bits_are_always_found_and_nothing_else(seed: int, flipped: int) -> None:
    """The search by words misses none: against comparing all with all."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (60, BITS)).astype(np.uint8)
    bits[1] = bits[0]
    bits[1, rng.choice(BITS, flipped, replace=False)] ^= 1
    prints = [Fingerprint(f"c{i:02d}", "s2", np.packbits(row).tobytes().hex()) for i, row in enumerate(bits)]
    rng.shuffle(prints)  # type: ignore[arg-type]
    wanted = [
        (one.chip_id, other.chip_id)
        for one in sorted(prints, key=lambda p: p.chip_id)
        for other in sorted(prints, key=lambda p: p.chip_id)
        if one.chip_id < other.chip_id and equal(one.bits, other.bits) > 0.94
    ]
    found = find_twins(prints, 0.94)
    assert [(twins.kept, twins.other) for twins in found] == wanted == [("c00", "c01")]
    assert found[0].similarity == round(1 - flipped / BITS, 4)


def test_few_pixels_in_the_same_place_make_no_twins() -> None:
    """A rock in the sea and a clearing in the wood: maps of classes, elevation of a coast."""
    sea, wood = np.full(SHAPE, 80, np.uint8), np.full(SHAPE, 10, np.uint8)
    sea[3, 5:9], wood[3, 5:9] = 90, 60
    some = np.ones(SHAPE, np.bool_)
    some[-9:] = False
    for known in (KNOWN, some):
        assert fingerprint(sea, known) == fingerprint(wood.astype(np.float32), known) == ""
    sea[20:50, 10:40] = 60
    assert fingerprint(sea, KNOWN) != ""


def test_what_a_band_lacks_makes_no_twins() -> None:
    found = []
    for seed, empty in ((1, np.nan), (2, np.nan), (3, -32768.0)):
        picture = place(seed).astype(np.float32)
        picture[:20, :30] = empty
        valid = np.ones((1, *picture.shape), np.uint8)
        layer = xr.Dataset(
            {"data": (("time", "band", "y", "x"), picture[None, None]), "valid": (("time", "y", "x"), valid)},
            attrs={"modality": "s1", "gsd_m": 10.0, "nodata": -32768.0},
        )
        found += fingerprints(f"c{seed}", {"s1": layer})
    assert [one.chip_id for one in found] == ["c1", "c2", "c3"]
    assert find_twins(found, 0.94) == []


def test_prints_of_one_chip_or_of_two_sensors_are_no_twins() -> None:
    bits = fingerprint(place(3)[5:-5, 5:-5], KNOWN)
    assert find_twins([Fingerprint("a", "s2", bits), Fingerprint("a", "s2", bits)], 0.94) == []
    assert find_twins([Fingerprint("a", "s2", bits), Fingerprint("b", "l8", bits)], 0.94) == []


@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["s2", "l8"]), st.integers(0, 7)), max_size=40))
def test_twins_are_what_walking_up_all_pairs_rejects(given: list[tuple[int, str, int]]) -> None:
    """Prints on a ring of places, 9 bits from one to the next: alike are neighbours, and not the next but one."""
    ring = [np.packbits(np.arange(BITS) // 9 < place).tobytes().hex() for place in range(8)]
    prints = [Fingerprint(f"c{chip:02d}", modality, ring[place]) for chip, modality, place in given]
    pairs = [
        Twins(one.chip_id, other.chip_id, one.modality, round(equal(one.bits, other.bits), 4))
        for one in prints
        for other in prints
        if one.chip_id < other.chip_id and one.modality == other.modality and equal(one.bits, other.bits) > 0.95
    ]
    wanted = to_reject(pairs)
    found = {pair.other: pair for pair in find_twins(prints, 0.95)}
    assert {key: (pair.kept, pair.modality) for key, pair in found.items()} == {
        key: (pair.kept, pair.modality) for key, pair in wanted.items()
    }
    for pair in found.values():
        assert pair.similarity == max(
            p.similarity for p in pairs if (p.kept, p.other, p.modality) == (pair.kept, pair.other, pair.modality)
        )


def test_many_dates_of_one_place_are_as_many_pairs() -> None:
    prints = [Fingerprint(f"c{n:04d}", "s2", fingerprint(place(3)[5:-5, 5:-5], KNOWN)) for n in range(300)]
    found = find_twins(prints, 0.94)
    assert [(pair.kept, pair.other) for pair in found] == [("c0000", f"c{n:04d}") for n in range(1, 300)]
    assert sorted(to_reject(found)) == [pair.other for pair in found]


def test_of_three_alike_one_stays_and_of_a_chain_no_more_go_than_must() -> None:
    three = [Twins("a", "b", "s2", 1.0), Twins("a", "c", "s2", 1.0), Twins("b", "c", "s2", 1.0)]
    assert sorted(to_reject(three)) == ["b", "c"]
    chain = [Twins("a", "b", "s2", 0.95), Twins("b", "c", "s2", 0.95)]
    assert sorted(to_reject(chain)) == ["b"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("shape", [(256, 256), (70, 200), (17, 19)])
def test_whole_numbers_have_the_fingerprint_of_their_values(kind: type[np.integer], shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape).astype(kind)
    known = np.ones(shape, np.bool_)
    assert fingerprint(picture, known) == fingerprint(picture.astype(np.float64), known) != ""


@settings(max_examples=30)
@given(st.integers(0, 500), st.sampled_from(["uint8", "int16", "uint16", "int32"]))
def test_whole_numbers_have_the_print_of_the_same_picture_in_floats(seed: int, dtype: str) -> None:
    picture = np.random.default_rng(seed).integers(0, 120, (163, 131)).astype(dtype)
    picture[0, 0] = np.iinfo(dtype).max
    known = np.ones(picture.shape, bool)
    assert fingerprint(picture, known) == fingerprint(picture.astype(np.float64), known)
