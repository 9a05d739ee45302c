"""Shift of one picture against another, in metres, across lattices; and no answer where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage
from scipy.spatial import KDTree

from chips.shift import MIN_PIXELS, Estimate, Image, Reference, estimate_shift
from schemas.georef import GeoRef

Array = np.ndarray[Any, Any]
METRES = st.floats(-28, 28)


def fields(seed: int, shape: tuple[int, int]) -> Array:
    """Parcels of different brightness with a little texture, at 10 m."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, 1, (max(shape[0] * shape[1] // 150, 4), 2)) * shape * (1.0, 1.4)
    places = np.indices(shape).reshape(2, -1).T
    nearest = KDTree(seeds).query(places * (1.0, 1.4))[1].reshape(shape)
    parcels = rng.uniform(500, 3000, len(seeds))[nearest]
    texture = 60 * ndimage.gaussian_filter(rng.normal(size=shape), 1.0) * 3
    return np.asarray(ndimage.gaussian_filter(parcels + texture, 0.6))


def moved(scene: Array, dy: float, dx: float) -> Array:
    """The scene's content moved down and right by fractions of a pixel, as its Fourier series says."""
    spectrum = fft.fft2(scene - scene.mean())
    down, right = fft.fftfreq(scene.shape[0])[:, None], fft.fftfreq(scene.shape[1])
    return np.asarray(fft.ifft2(spectrum * np.exp(-2j * np.pi * (down * dy + right * dx))).real + scene.mean())


def image(
    pixels: Array, x0: float = 600_000.0, y0: float = 5_300_000.0, pixel: float = 10.0, valid: Array | None = None
) -> Image:
    known = np.ones(pixels.shape, bool) if valid is None else valid
    georef = GeoRef(32632, x0, y0, pixel, (pixels.shape[0], pixels.shape[1]))
    return Image(pixels[None].astype(np.float32), known, georef, pixel)


def averaged(scene: Array, count: int) -> Array:
    rows, columns = (n // count * count for n in scene.shape)
    blocks = scene[:rows, :columns].reshape(rows // count, count, columns // count, count)
    return np.asarray(blocks.mean(axis=(1, 3)))


def estimate(moving: Image, reference: Image, **options: Any) -> Estimate:
    found = estimate_shift(moving, reference, **options)
    assert found is not None
    return found


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(METRES, METRES, st.integers(0, 50))
def test_a_shift_within_a_pixel_is_found_in_metres_east_and_north(east: float, north: float, seed: int) -> None:
    scene = fields(seed, (84, 104))
    off = moved(scene, north / 10, -east / 10)[10:-10, 10:-10]  # content lies too far west and north by these
    found = estimate(image(off), image(scene[10:-10, 10:-10]))
    assert (found.dx_m, found.dy_m) == pytest.approx((east, north), abs=1.0)
    assert found.reliability >= 0.5


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.floats(-45, 45), st.floats(-45, 45), st.integers(0, 50))
def test_30_m_on_odd_multiples_of_15_m_is_measured_against_10_m(east: float, north: float, seed: int) -> None:
    """The coarse picture overhangs by half of its pixel, as Landsat does on a Sentinel-2 chip."""
    scene = fields(seed, (480, 600))  # 5 m truth
    off = moved(scene, north / 5, -east / 5)
    fine = averaged(scene, 2)[30:-30, 30:-30]  # 10 m from (300 m, 300 m) of the scene's corner
    coarse = averaged(off[57:, 57:], 6)[:61, :81]  # 30 m from (285 m, 285 m)
    found = estimate(image(coarse, 600_285.0, 5_299_715.0, 30.0), image(fine, 600_300.0, 5_299_700.0))
    assert (found.dx_m, found.dy_m) == pytest.approx((east, north), abs=3.0)
    assert found.reliability >= 0.3


def test_the_half_pixel_between_two_lattices_is_not_a_shift() -> None:
    scene = fields(3, (480, 600))
    fine = image(averaged(scene, 2)[30:-30, 30:-30], 600_300.0, 5_299_700.0)
    coarse = image(averaged(scene[57:, 57:], 6)[:61, :81], 600_285.0, 5_299_715.0, 30.0)
    there, back = estimate(coarse, fine), estimate(fine, coarse)
    assert np.hypot(there.dx_m, there.dy_m) < 1.0
    assert np.hypot(back.dx_m, back.dy_m) < 1.0


def test_equal_pixels_on_lattices_apart_by_a_third_are_compared_without_resampling() -> None:
    scene = fields(4, (360, 420))
    one = image(averaged(scene, 3), 600_000.0, 5_300_000.0, 30.0)
    other = image(averaged(scene[2:, 1:], 3), 600_010.0, 5_299_980.0, 30.0)
    found = estimate(one, other)
    assert (found.dx_m, found.dy_m) == pytest.approx((0.0, 0.0), abs=2.0)


def test_a_product_resampled_to_10_m_is_compared_at_what_it_resolves() -> None:
    scene = fields(5, (90, 120))
    blocky = np.kron(averaged(scene, 3), np.ones((3, 3)))
    landsat = replace(image(blocky), gsd_m=30.0)
    found = estimate(landsat, image(scene))
    assert np.hypot(found.dx_m, found.dy_m) < 3.0
    assert found.reliability > 0.5


def test_the_two_halves_of_a_zone_are_one_place() -> None:
    scene = fields(6, (64, 80))
    south = image(scene, 600_000.0, 6_300_000.0)
    south = replace(south, georef=replace(south.georef, epsg=32734))
    north = replace(south, georef=replace(south.georef, epsg=32634, y0=6_300_000.0 - 10_000_000.0))
    assert np.hypot(*_metres(estimate(north, south))) < 0.2
    assert np.hypot(*_metres(estimate(south, north))) < 0.2
    with pytest.raises(ValueError, match=r"EPSG:32633 with EPSG:32734"):
        estimate_shift(replace(north, georef=replace(north.georef, epsg=32633)), south)


def test_bands_must_come_in_pairs() -> None:
    scene = image(fields(7, (40, 50)))
    with pytest.raises(ValueError, match="2 bands cannot match 1"):
        estimate_shift(replace(scene, pixels=np.repeat(scene.pixels, 2, axis=0)), scene)


def test_fields_that_turned_from_dark_to_bright_still_match() -> None:
    scene = fields(8, (84, 104))
    reversed_fields = 3500 - moved(scene, 1.3, -0.6)
    found = estimate(image(reversed_fields[10:-10, 10:-10]), image(scene[10:-10, 10:-10]))
    assert (found.dx_m, found.dy_m) == pytest.approx((6.0, 13.0), abs=1.5)


def test_clouds_under_the_mask_do_not_pull_the_estimate() -> None:
    rng = np.random.default_rng(9)
    scene = fields(9, (100, 120))
    off = moved(scene, -0.7, 1.4)[10:-10, 10:-10]
    cloud = ndimage.gaussian_filter(rng.normal(size=off.shape), 8) > 0.02
    seen = np.where(cloud, 9000.0, off)
    found = estimate(image(seen, valid=~cloud), image(scene[10:-10, 10:-10]))
    assert 0.2 < cloud.mean() < 0.6
    assert (found.dx_m, found.dy_m) == pytest.approx((-14.0, -7.0), abs=2.0)
    assert found.reliability >= 0.3


def test_too_few_common_pixels_give_no_estimate() -> None:
    scene = fields(10, (40, 50))
    left, right = np.zeros((40, 50), bool), np.zeros((40, 50), bool)
    left[:, :25], right[:, 45:] = True, True
    assert estimate_shift(image(scene, valid=left), image(scene, valid=right)) is None
    assert estimate_shift(image(scene), image(scene, x0=700_000.0)) is None
    few = image(fields(10, (9, 11)))
    assert few.valid.size < MIN_PIXELS
    assert estimate_shift(few, few) is None


def _metres(found: Estimate) -> tuple[float, float]:
    return found.dx_m, found.dy_m


def featureless(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Two dates of a place without anything to match; whatever is reliable there is false."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    noise = [rng.normal(0, 20, shape) for _ in range(2)]
    angle, period = rng.uniform(0, np.pi), rng.uniform(3, 7)
    wave = np.cos((np.cos(angle) * rows + np.sin(angle) * columns) * 2 * np.pi / period)
    across = np.cos((-np.sin(angle) * rows + np.cos(angle) * columns) * 2 * np.pi / period)
    trend = 900 + rng.uniform(-9, 9) * rows + rng.uniform(-9, 9) * columns
    bowl = trend + 0.05 * (rows - shape[0] * rng.random()) ** 2
    if kind == "constant":
        return np.full(shape, 400.0), np.full(shape, 400.0)
    if kind == "noise":
        return 400 + noise[0], 400 + noise[1]
    if kind == "smooth noise":
        return ndimage.gaussian_filter(noise[0], 2.5), ndimage.gaussian_filter(noise[1], 2.5)
    if kind == "speckle":
        return 10 * np.log10(rng.gamma(4, 1, shape)), 10 * np.log10(rng.gamma(4, 1, shape))
    if kind == "ramp":
        return trend + noise[0] / 4, trend + noise[1] / 4
    if kind == "quantised ramp":
        return np.round(trend), np.round(trend)
    if kind == "bowl":
        return bowl + noise[0] / 8, bowl + noise[1] / 8
    if kind == "stripes":
        return 400 + 100 * wave + noise[0], 400 + 100 * wave + noise[1]
    if kind == "orchard":
        return 400 + 100 * (wave + across) + noise[0] / 2, 400 + 100 * (wave + across) + noise[1] / 2
    edge = 400.0 * (columns > shape[1] / 2 + 5 * rng.normal())
    return edge + noise[0] / 2, edge + noise[1] / 2


KINDS = (
    "constant",
    "noise",
    "smooth noise",
    "speckle",
    "ramp",
    "quantised ramp",
    "bowl",
    "stripes",
    "orchard",
    "one edge",
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_featureless_pair_of_fifty_is_accepted(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    accepted = []
    for index in range(50):
        shape = [(48, 60), (64, 72), (96, 80)][index % 3]
        moving, reference = featureless(kind, rng, shape)
        mode: Any = "optical-sar" if index % 5 == 4 else "optical"
        holes = ndimage.gaussian_filter(rng.normal(size=shape), 4) > 0.1
        valid = ~holes if index % 2 else None
        found = estimate_shift(image(moving, valid=valid), image(reference, valid=valid), kind=mode)
        if found is not None and found.reliability >= 0.3:
            accepted.append((index, found))
    assert accepted == []


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
@pytest.mark.parametrize("length", [4.0, 7.0])
def test_even_rows_match_themselves_a_row_further_on_and_are_not_trusted(angle: float, length: float) -> None:
    rows, columns = np.indices((96, 120))
    along = 2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / length
    rng = np.random.default_rng(3)
    one, other = (1500 + 400 * np.sin(along + phase) + rng.normal(0, 60, along.shape) for phase in (0.0, 0.9))
    assert estimate(image(one), image(other)).reliability < 0.3


def test_a_reference_that_is_kept_gives_what_a_new_one_gives() -> None:
    scene = fields(9, (84, 104))
    valid = np.ones((64, 84), bool)
    valid[:20, :30] = False
    kept = Reference(image(scene[10:-10, 10:-10], valid=valid))
    for dy, dx in ((0.6, -1.2), (1.4, 0.3)):
        off = image(moved(scene, dy, dx)[10:-10, 10:-10])
        assert estimate_shift(off, kept) == estimate_shift(off, kept.image)
    assert len(kept.found) == 1
