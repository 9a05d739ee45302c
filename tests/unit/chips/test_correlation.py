"""Matching of edges on arrays: place of the peak, masks, and when nothing is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from chips.correlation import NO_MATCH, Match, correlate, find_match
from chips.edges import Edges, find_edges

Array = np.ndarray[Any, Any]


def blobs(seed: int, shape: tuple[int, int], blur: float = 1.5) -> Array:
    noise = np.random.default_rng(seed).normal(size=shape)
    return (100 * ndimage.gaussian_filter(noise, blur)).astype(np.float32)


def edges(picture: Array, valid: Array | None = None, **options: Any) -> Edges:
    return find_edges(picture[None], np.ones(picture.shape, bool) if valid is None else valid, **options)


def planes(values: Array) -> Array:
    """(channel, y, x) complex -> what `Edges` holds."""
    parts = np.stack([values.real, values.imag], axis=1)
    return np.asarray(parts.reshape(-1, *values.shape[1:]), np.float32)


def complex_of(found: Edges) -> Array:
    """The inverse of `planes`."""
    return np.asarray(found.values[::2] + 1j * found.values[1::2])


def test_a_ramp_has_the_same_edge_everywhere_whatever_its_sign() -> None:
    rows, columns = np.mgrid[:30, :40].astype(np.float32)
    up, down = edges(columns), edges(-columns)
    inside = (0, slice(4, -4), slice(4, -4))
    found = complex_of(up)
    assert np.allclose(found[inside], found[0, 10, 10], atol=1e-5)
    assert np.allclose(up.values, down.values, atol=1e-5)
    across = complex_of(edges(rows))[inside]
    assert np.allclose(across / np.abs(across), -found[inside] / np.abs(found[inside]), atol=1e-5)


def test_a_constant_has_no_edges() -> None:
    assert not edges(np.full((20, 30), 7.0, np.float32)).values.any()


def test_what_lies_under_an_invalid_pixel_changes_nothing() -> None:
    picture, valid = blobs(1, (40, 50)), np.ones((40, 50), bool)
    valid[10:20, 15:30] = False
    spoilt = np.where(valid, picture, np.float32(1e6))
    ours, theirs = edges(picture, valid), edges(spoilt, valid)
    assert np.array_equal(ours.values, theirs.values)
    assert ours.weight[0].all()  # the outer border keeps its weight
    assert not ours.weight[9:21, 14:31][1:-1, :].any()
    assert not ours.values[:, ~ours.weight].any()


def test_a_denser_sampling_gives_the_same_edges() -> None:
    columns = np.arange(120, dtype=np.float32)
    fine = np.repeat(np.sin(columns / 9)[None], 90, axis=0)
    coarse = fine[::3, ::3]
    assert np.allclose(edges(fine, step=3).values[:, 9:-9:3, 9:-9:3], edges(coarse).values[:, 3:-3, 3:-3], atol=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(-8, 8), st.integers(-8, 8), st.integers(0, 99))
def test_a_whole_shift_is_found_in_rows_and_columns(dy: int, dx: int, seed: int) -> None:
    scene = blobs(seed, (90, 110))
    reference, moving = scene[10:70, 10:90], scene[10 + dy : 70 + dy, 10 + dx : 90 + dx]
    match = find_match(correlate(edges(moving), edges(reference), 12)[0])
    assert (match.dy, match.dx) == pytest.approx((dy, dx), abs=0.1)
    assert match.reliability(0.3) > 0.9


def test_correlation_agrees_with_its_definition_under_masks() -> None:
    rng = np.random.default_rng(5)
    shape = (17, 23)
    pair = []
    for _ in range(2):
        weight = rng.random(shape) > 0.3
        values = (rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape))) * weight
        pair.append(Edges(planes(values), weight))
    moving, reference = pair
    correlation, overlap = correlate(moving, reference, 3)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            ours = (slice(max(-dy, 0), shape[0] - max(dy, 0)), slice(max(-dx, 0), shape[1] - max(dx, 0)))
            theirs = (slice(max(dy, 0), shape[0] - max(-dy, 0)), slice(max(dx, 0), shape[1] - max(-dx, 0)))
            both = moving.weight[ours] & reference.weight[theirs]
            a, b = complex_of(moving)[:, *ours][:, both], complex_of(reference)[:, *theirs][:, both]
            wanted = (b * a.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())
            assert overlap[dy + 3, dx + 3] == both.sum()
            assert correlation[dy + 3, dx + 3] == pytest.approx(wanted, abs=1e-5)


def test_shifts_with_little_overlap_are_not_searched() -> None:
    picture = blobs(2, (30, 40))
    left = np.zeros((30, 40), bool)
    left[:, :8] = True
    correlation, overlap = correlate(edges(picture, left), edges(picture, left), 7)
    assert (np.isnan(correlation) == (overlap < 0.4 * overlap.max())).all()


def test_a_few_clear_pixels_of_two_places_are_never_a_reliable_match() -> None:
    """Holes in the clouds that are the same on both dates: most shifts leave too little overlap to be searched."""
    for seed in range(12):
        clear = blobs(900 + seed, (48, 56), 6.0)
        clear = clear > np.quantile(clear, 0.9)
        pair = edges(blobs(seed, (48, 56)), clear), edges(blobs(300 + seed, (48, 56)), clear)
        assert find_match(correlate(*pair, 10)[0]).reliability(0.3) < 0.3


def test_a_shift_that_was_not_searched_is_no_rival_and_no_noise() -> None:
    rows, columns = np.mgrid[-10:11, -10:11]
    noise = 0.05 * ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(21, 21)), 1.0) / 0.28
    surface = noise + np.exp(-(rows**2 + columns**2) / 3)
    whole = find_match(surface)
    searched = np.hypot(rows, columns) < 7
    part = find_match(np.where(searched, surface, np.nan))
    assert (part.dy, part.dx, part.correlation) == pytest.approx((whole.dy, whole.dx, whole.correlation))
    assert part.significance == pytest.approx(whole.significance, rel=0.25)
    assert part.sigma == pytest.approx(whole.sigma, rel=0.25)
    assert find_match(np.where(np.hypot(rows, columns) < 4.0, surface, np.nan)) is NO_MATCH
    assert find_match(np.where(columns < 2, surface, np.nan)) is NO_MATCH  # at the border of what was searched


def test_a_maximum_at_the_border_of_the_search_is_no_match() -> None:
    surface = np.zeros((21, 21))
    surface[20, 10] = 1.0
    assert find_match(surface) is NO_MATCH
    assert find_match(np.zeros((21, 21))) is NO_MATCH
    assert NO_MATCH.reliability(0.3) == 0.0


def test_a_ridge_is_not_sharp() -> None:
    rows, columns = np.mgrid[-10:11, -10:11]
    ridge = np.exp(-((columns / 1.5) ** 2)) * (1 - 1e-4 * rows**2)
    assert find_match(ridge).reliability(0.3) == 0.0


def test_two_equal_peaks_are_not_reliable() -> None:
    rows, columns = np.mgrid[-10:11, -10:11]

    def peak(y: int, x: int) -> Array:
        return np.asarray(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 3))

    noise = 0.02 * np.random.default_rng(0).normal(size=(21, 21))
    assert find_match(peak(1, 2) + noise).reliability(0.3) == 1.0
    assert find_match(peak(1, 2) + peak(-5, -6) + noise).reliability(0.3) == 0.0


def test_reliability_is_the_worst_of_its_three_parts() -> None:
    good = Match(0, 0, 0.9, significance=20, rival=0.1, sigma=0.01)
    assert good.reliability(0.3) == 1.0
    for bad in ({"significance": 4.4}, {"rival": 0.85}, {"sigma": 0.3}):
        spoilt = Match(0, 0, 0.9, **{"significance": 20.0, "rival": 0.1, "sigma": 0.01, **bad})
        assert spoilt.reliability(0.3) == pytest.approx(0.0, abs=1e-12)


def test_pictures_without_gaps_give_what_the_masked_sums_give() -> None:
    """The rectangles of whole pictures against the general way, with one pixel masked far from everything."""
    rng = np.random.default_rng(8)
    one, other = (
        find_edges(rng.normal(size=(2, 41, 53)).astype(np.float32), np.ones((41, 53), bool)) for _ in range(2)
    )
    whole = correlate(one, other, 6)
    padded = [
        Edges(np.pad(e.values, ((0, 0), (0, 1), (0, 0))), np.pad(e.weight, ((0, 1), (0, 0)))) for e in (one, other)
    ]
    general = correlate(padded[0], padded[1], 6)
    np.testing.assert_allclose(whole[0], general[0], atol=2e-6)
    np.testing.assert_array_equal(whole[1], general[1])


@pytest.mark.parametrize("masked", [False, True])
def test_a_denser_picture_gives_at_every_shift_what_the_coarse_one_spread_out_gives(masked: bool) -> None:
    rng = np.random.default_rng(9)
    coarse_weight, dense_weight = np.ones((15, 19), bool), np.ones((30, 38), bool)
    dense_weight[:3] = False
    if masked:
        coarse_weight[4:7, 5:9], dense_weight[20:24, 11:20] = False, False
    coarse, dense = (
        Edges(planes(((rng.normal(size=w.shape) + 1j * rng.normal(size=w.shape)) * w)[None]), w)
        for w in (coarse_weight, dense_weight)
    )
    spread = Edges(np.zeros((2, 30, 38), np.float32), np.zeros((30, 38), bool))
    spread.values[:, ::2, ::2], spread.weight[::2, ::2] = coarse.values, coarse.weight
    for pair, wanted in (((coarse, dense), (spread, dense)), ((dense, coarse), (dense, spread))):
        for ours, theirs in zip(correlate(*pair, 6), correlate(*wanted, 6), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=3e-6)
