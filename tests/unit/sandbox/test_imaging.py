"""Pixels mean what their metadata say, and differ from the truth by no more than what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from sandbox.imaging import pool, speckle, true_reflectance
from sandbox.place import Grid, QuadraticMap, project
from sandbox.products import SandboxIndex
from sandbox.spectra import bands_of

Items = list[dict[str, Any]]


def band(files: Path, item: dict[str, Any], asset: str) -> np.ndarray:
    with rasterio.open(files / item["assets"][asset]["href"]) as data:
        return np.asarray(data.read(1))


def pick(items: Items, collection: str, text: str) -> list[dict[str, Any]]:
    return [one for one in items if one["collection"] == collection and text in one["id"]]


def test_reprocessed_duplicate_gives_the_same_reflectance_once_its_offset_is_taken(items: Items, files: Path) -> None:
    old, new = pick(items, "sentinel-2-l2a", "20210720T101031_R022_T32UQU")
    assert [one["properties"]["s2:processing_baseline"] for one in (old, new)] == ["03.01", "05.00"]
    assert old["properties"]["datetime"] == new["properties"]["datetime"] < "2022-01-25"
    for name in ("B02", "B11", "B01"):
        before, after = band(files, old, name).astype(int), band(files, new, name).astype(int)
        free = before > 1
        assert free.mean() > 0.99
        assert np.array_equal(before[free], after[free] - 1000)


def test_offset_follows_the_baseline_and_not_the_date(items: Items, files: Path, truth: dict[str, Any]) -> None:
    for one in pick(items, "sentinel-2-l2a", ""):
        offset = truth["items"][one["id"]]["offset_dn"]
        assert offset == (1000 if float(one["properties"]["s2:processing_baseline"]) >= 4 else 0)
        dark = np.percentile(band(files, one, "B12"), 0.5)
        assert offset <= dark < offset + 800
        text = (files / one["assets"]["product-metadata"]["href"]).read_text()
        assert ("BOA_ADD_OFFSET" in text) == bool(offset)


def test_clear_sentinel2_pixels_are_the_truth_plus_small_noise(tiny: SandboxIndex, items: Items, files: Path) -> None:
    (one,) = pick(items, "sentinel-2-l2a", "20220620T101039_R022_T32UQU")
    clear = np.repeat(np.repeat(np.isin(band(files, one, "SCL"), (4, 5, 6)), 2, 0), 2, 1)
    clean, grid = true_reflectance(tiny.root, one["id"], ["B04"])
    assert grid.transform == one["assets"]["B04"]["proj:transform"]
    seen = (band(files, one, "B04").astype(float) - 1000) / 10000
    error = (seen - clean[0])[ndimage.binary_erosion(clear, iterations=12)]
    assert abs(np.median(error)) < 0.002
    assert 0.0008 < error.std() < 0.004


def test_injected_shift_is_where_the_picture_lies(tiny: SandboxIndex, items: Items, truth: dict[str, Any]) -> None:
    (one,) = pick(items, "enmap-l2a", "20220619")
    moved, grid = true_reflectance(tiny.root, one["id"], ["46"])
    still, _ = true_reflectance(tiny.root, one["id"], ["46"], shifted=False)
    east, north = truth["items"][one["id"]]["shift_m"]
    assert (east, north) == (11.2, -6.4)
    back = ndimage.shift(moved[0], (north / grid.gsd, -east / grid.gsd), order=3, mode="nearest")
    inner = (slice(6, -6), slice(6, -6))
    assert np.abs(back - still[0])[inner].mean() < 0.4 * np.abs(moved[0] - still[0])[inner].mean()


def test_sizes_of_injected_shifts_are_realistic(truth: dict[str, Any]) -> None:
    limit = {"sentinel-2": 3.0, "landsat": 9.0, "enmap": 17.0, "sentinel-1": 10.0}
    for entry in truth["items"].values():
        assert 0 < np.hypot(*entry["shift_m"]) <= limit[entry["sensor"]]


def test_enmap_integrated_to_sentinel2_agrees_with_sentinel2(tiny: SandboxIndex, items: Items) -> None:
    (cube_item,) = pick(items, "enmap-l2a", "20220619")
    (optical,) = pick(items, "sentinel-2-l2a", "20220620T101039_R022_T32UQU")
    enmap = bands_of("enmap")
    cube, grid = true_reflectance(tiny.root, cube_item["id"], [b.name for b in enmap[:91]], shifted=False)
    centres = np.array([b.centre_nm for b in enmap[:91]])
    for name in ("B02", "B04", "B08"):
        want, fine = true_reflectance(tiny.root, optical["id"], [name], shifted=False)
        wide = next(b for b in bands_of("sentinel-2") if b.name == name)
        weight = np.exp(-4 * np.log(2) * ((centres - wide.centre_nm) / wide.fwhm_nm) ** 2)
        order = np.argsort(centres)
        weight[order] *= np.gradient(centres[order])
        got = np.tensordot(weight / weight.sum(), cube, axes=1)
        row, col = int((fine.top - grid.top + 60) / 10), int((grid.left - fine.left + 60) / 10)
        height, width = (size // 15 - 1 for size in want[0].shape)
        same = pool(got[2 : 2 + 5 * height, 2 : 2 + 5 * width], 5)
        part = pool(want[0][row : row + 15 * height, col : col + 15 * width], 15)
        inner = (slice(1, -1), slice(1, -1))
        assert abs((same - part)[inner].mean()) < 0.002
        assert np.corrcoef(same[inner].ravel(), part[inner].ravel())[0, 1] > 0.985


def test_both_zones_see_the_same_ground(items: Items, files: Path) -> None:
    (west,) = pick(items, "sentinel-2-l2a", "20220620T101039_R022_T32UQU")
    (east,) = pick(items, "sentinel-2-l2a", "20220620T101039_R022_T33UTP")
    a, b = band(files, west, "B08").astype(float), band(files, east, "B08").astype(float)
    left, _, _, top = west["assets"]["B08"]["proj:bbox"]
    left2, _, _, top2 = east["assets"]["B08"]["proj:bbox"]
    rows, cols = np.mgrid[5 : a.shape[0] - 5, a.shape[1] - 60 : a.shape[1] - 5]
    x, y = project(32632, 32633, left + (cols + 0.5) * 10, top - (rows + 0.5) * 10)
    r, c = ((top2 - y) / 10).astype(int), ((x - left2) / 10).astype(int)
    held = (r >= 0) & (c >= 0) & (r < b.shape[0]) & (c < b.shape[1])
    assert held.mean() > 0.5
    assert np.corrcoef(a[rows[held], cols[held]], b[r[held], c[held]])[0, 1] > 0.85


def test_landsat_numbers_give_reflectance_and_kelvin(items: Items, files: Path) -> None:
    (one,) = pick(items, "landsat-c2-l2", "193027_20220620")
    raster = one["assets"]["red"]["raster:bands"][0]
    assert (raster["scale"], raster["offset"]) == (2.75e-05, -0.2)
    red = band(files, one, "red") * raster["scale"] + raster["offset"]
    assert 0.02 < np.median(red) < 0.2
    warm = one["assets"]["lwir11"]["raster:bands"][0]
    kelvin = band(files, one, "lwir11") * warm["scale"] + warm["offset"]
    assert 285 < np.median(kelvin) < 315
    assert set(np.unique(band(files, one, "qa_pixel"))) <= {21824, 21952, 22280, 23888, 30048, 54596, 21762}


def test_quality_layers_find_the_clouds(items: Items, files: Path, truth: dict[str, Any]) -> None:
    (one,) = pick(items, "landsat-c2-l2", "192027_20220808")
    bits = band(files, one, "qa_pixel")
    cloudy = (bits >> 3) & 1 == 1
    assert cloudy.mean() == pytest.approx(truth["items"][one["id"]]["cloud_fraction"], abs=0.02)
    blue = band(files, one, "blue") * 2.75e-05 - 0.2
    assert np.median(blue[cloudy]) > 3 * np.median(blue[bits == 21824])


def test_speckle_has_unit_mean_and_the_looks_of_the_product() -> None:
    field = speckle((300, 400), 4.4, np.random.default_rng(3))
    assert field.mean() == pytest.approx(1.0, abs=0.01)
    assert 1 / field.var() == pytest.approx(4.4, rel=0.05)


def test_radar_is_linear_and_water_is_dark(items: Items, files: Path) -> None:
    for one in pick(items, "sentinel-1-rtc", ""):
        vv, vh = band(files, one, "vv"), band(files, one, "vh")
        assert vv.dtype == np.float32
        assert (vv > 0).all()
        assert -14 < 10 * np.log10(vv.mean()) < -4
        assert vv.mean() > 2 * vh.mean()


def test_map_between_zones_is_exact_to_two_centimetres() -> None:
    grid = Grid(32633, 270_000.0, 5_310_000.0, 1000.0, 20, 19)
    x, y = QuadraticMap.between(grid, 32632).on_grid(grid)
    cols, rows = np.meshgrid(grid.xs(), grid.ys())
    want_x, want_y = project(32633, 32632, cols, rows)
    assert np.hypot(x - want_x, y - want_y).max() < 0.02
