"""What each sensor sees of the landscape: mixing, point spread, misregistration, sky, noise and speckle.

Every band is linear in cover, so a pixel is the point-spread-weighted mean of its 5 m cells' reflectances. The cells
hold a stratum, a vigour between two covers, and a tone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse, special

from .clouds import CloudField, Sky, through_sky
from .noise import Array
from .place import TRUTH_GSD_M, Grid, QuadraticMap
from .scenes import Scene, scene_named
from .spectra import (
    VARIANTS,
    Cover,
    bands_of,
    class_index,
    cover_on,
    endmember_backscatter,
    endmember_bands,
    endmember_kelvin,
    endmember_names,
    worldcover_codes,
)
from .world import Landscape, Strata, open_landscape

PSF_SIGMA = {"sentinel-2": 0.42, "landsat": 0.42, "enmap": 0.46, "sentinel-1": 0.80}
"""Gaussian part of the point spread in pixels, beside the pixel's own square; sets the MTF at Nyquist to about 0.25
(Sentinel-2 and Landsat), 0.2 (EnMAP), and Sentinel-1's 20 m resolution on 10 m pixels."""

LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRD (product specification)."""


@dataclass(frozen=True)
class Ground:
    """The truth's cells under a block of pixels, with a margin for the point spread."""

    stratum: Strata
    """(h, w) on the 5 m cells of the block, grown by ``pad``."""
    vigour: Array
    """(h, w) 0..1."""
    tone: Array
    """(h, w) about 1."""
    pad: int
    """Margin in cells."""


def ground_under(land: Landscape, block: Grid, pad: int = 16) -> Ground:
    """The truth's cells under ``block``, nearest neighbour where its zone is not the truth's."""
    fine = block.at_gsd(TRUTH_GSD_M).grown(pad)
    to_truth = QuadraticMap.between(fine, land.grid.epsg)
    x, y = to_truth.on_grid(fine.part(0, 0, 1, 1))
    turn = np.abs(to_truth.coefficients[:, 1:3] - np.eye(2)).max()
    height, width = land.grid.shape_yx
    if turn < 1e-7:
        row = math.floor((land.grid.top - y[0, 0]) / TRUTH_GSD_M + 1e-6)
        col = math.floor((x[0, 0] - land.grid.left) / TRUTH_GSD_M + 1e-6)
        rows = np.clip(np.arange(row, row + fine.height), 0, height - 1)[:, None]
        cols = np.clip(np.arange(col, col + fine.width), 0, width - 1)[None, :]
    else:
        x, y = to_truth.on_grid(fine)
        rows = np.clip(((land.grid.top - y) / TRUTH_GSD_M).astype(np.int32), 0, height - 1)
        cols = np.clip(((x - land.grid.left) / TRUTH_GSD_M).astype(np.int32), 0, width - 1)
    return Ground(
        np.ascontiguousarray(land.stratum[rows, cols]),
        land.vigour[rows, cols].astype(np.float32) / np.float32(255),
        land.tone[rows, cols].astype(np.float32) / np.float32(128),
        pad,
    )


def _kernel(pixels: int, gsd: float, sigma_m: float, shift_m: float, pad: int) -> sparse.csr_matrix:
    """(pixels, cells) weights of the point spread: the pixel's square through a Gaussian, moved by ``shift_m``."""
    ratio = round(gsd / TRUTH_GSD_M)
    centres = (np.arange(pixels) + 0.5) * gsd - shift_m
    reach = math.ceil((gsd / 2 + 3 * sigma_m + abs(shift_m)) / TRUTH_GSD_M) + 1
    offsets = np.arange(-reach, reach + 1)
    cells = (np.arange(pixels) * ratio + ratio // 2)[:, None] + offsets[None, :]
    away = (cells + 0.5) * TRUTH_GSD_M - centres[:, None]
    scale = 1.0 / (math.sqrt(2) * sigma_m)
    weights = special.erf((away + gsd / 2) * scale) - special.erf((away - gsd / 2) * scale)
    columns = np.clip(cells + pad, 0, pixels * ratio + 2 * pad - 1)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(pixels), len(offsets))
    shape = (pixels, pixels * ratio + 2 * pad)
    return sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, columns.ravel())), shape=shape)


@dataclass(frozen=True)
class Optics:
    """The point spread of a sensor over one block, as two sparse matrices."""

    along_y: sparse.csr_matrix
    along_x: sparse.csr_matrix

    @classmethod
    def of(cls, sensor: str, block: Grid, shift_m: tuple[float, float], pad: int) -> Optics:
        """For ``block`` at its own pixel size; ``shift_m`` is (east, north)."""
        sigma = PSF_SIGMA[sensor] * (block.gsd if sensor != "sentinel-1" else 10.0)
        return cls(
            _kernel(block.height, block.gsd, sigma, -shift_m[1], pad),
            _kernel(block.width, block.gsd, sigma, shift_m[0], pad),
        )

    def see(self, cells: Array) -> Array:
        """(H, W) pixels of (h, w) cells."""
        half = self.along_y @ cells
        return np.ascontiguousarray((self.along_x @ np.ascontiguousarray(half.T)).T)


def mixed(ground: Ground, optics: Optics, low: Array, high: Array, toned: bool = True) -> Array:
    """Area-weighted means of per-stratum values.

    Args:
        ground: cells under the block.
        optics: their weights.
        low: (256, P) values where vigour is 0.
        high: (256, P) values where vigour is 1.
        toned: whether brightness varies with the cells' tone.

    Returns:
        (P, H, W) float32.
    """
    out = []
    for p in range(low.shape[1]):
        spread = high[:, p] - low[:, p]
        cells = low[:, p][ground.stratum]
        if np.abs(spread).max() > 1e-6:
            cells = cells + ground.vigour * spread[ground.stratum]
        out.append(optics.see(cells * ground.tone if toned else cells))
    return np.stack(out)


def _noisy(reflectance: Array, floor: float, share: float, rng: np.random.Generator) -> Array:
    """Reflectance with noise of one sigma ``floor + share x reflectance``."""
    grain = rng.standard_normal(reflectance.shape, dtype=np.float32)
    out: Array = reflectance + grain * (np.float32(floor) + np.float32(share) * np.clip(reflectance, 0, 1))
    return out


def pool(array: Array, ratio: int) -> Array:
    """Means over ratio x ratio pixels of the last two axes."""
    *lead, height, width = array.shape
    shape = (*lead, height // ratio, ratio, width // ratio, ratio)
    out: Array = array.reshape(shape).mean(axis=(-3, -1), dtype=np.float32)
    return out


@dataclass(frozen=True)
class Look:
    """One block of one scene, with all that its sensors share."""

    scene: Scene
    land: Landscape
    block: Grid
    """At the sensor's base pixel size: 10 m, or 30 m."""
    ground: Ground
    cover: Cover
    sky: Sky
    """On the block's own pixels."""
    rng: np.random.Generator

    @classmethod
    def at(cls, scene: Scene, land: Landscape, block: Grid, clouds: CloudField, seed: int) -> Look:
        """Gathers what lies under ``block`` on the day of ``scene``."""
        day = scene.time.timetuple().tm_yday
        cover = cover_on(day, land.region.southern, scene.snow)
        x, y = QuadraticMap.between(block, land.grid.epsg).on_grid(block)
        rng = np.random.default_rng([seed, scene.number, round(block.left), round(block.top) + 20_000_000])
        return cls(scene, land, block, ground_under(land, block), cover, clouds.on(x, y), rng)


def clean_reflectance(look: Look, sensor: str, grid: Grid, names: list[str], shift_m: tuple[float, float]) -> Array:
    """(B, H, W) surface reflectance of the named bands on ``grid``, before sky and noise."""
    bands = [b.name for b in bands_of(sensor)]
    spectra = endmember_bands(sensor)[:, [bands.index(n) for n in names]]
    optics = Optics.of(sensor, grid, shift_m, look.ground.pad)
    return mixed(look.ground, optics, look.cover.low @ spectra, look.cover.high @ spectra)


def _sky_at(sky: Sky, ratio: int) -> Sky:
    """The sky on pixels ``ratio`` times as large."""
    if ratio == 1:
        return sky
    return Sky(pool(sky.cloud, ratio), pool(sky.bright, ratio), pool(sky.shadow, ratio), pool(sky.cirrus, ratio))


def sentinel2_block(look: Look) -> dict[str, Array]:
    """Reflectance of the 12 bands at their own pixel sizes, and SCL as float.

    Noise: 0.0012 plus 0.6 % of the signal (SNR near 100 at reflectance 0.2; MSI requirements are 89-174).
    """
    out: dict[str, Array] = {}
    table = {b.name: b for b in bands_of("sentinel-2")}
    for gsd in (10.0, 20.0, 60.0):
        names = [n for n, b in table.items() if b.gsd_m == gsd]
        grid = look.block.at_gsd(gsd)
        clean = clean_reflectance(look, "sentinel-2", grid, names, look.scene.shift_m)
        nm = np.array([table[n].centre_nm for n in names])
        seen = through_sky(clean, nm, _sky_at(look.sky, round(gsd / 10)), look.scene.haze)
        out.update(zip(names, _noisy(seen, 0.0012, 0.006, look.rng), strict=True))
    out["SCL"] = _scene_classes(look, out)
    return out


def _scene_classes(look: Look, bands: dict[str, Array]) -> Array:
    """(H, W) SCL at 20 m, by the rules of thumb of Sen2Cor and with its kind of errors (dilated cloud, dark woods)."""
    sky = _sky_at(look.sky, 2)
    red, green, nir = pool(bands["B04"], 2), pool(bands["B03"], 2), bands["B8A"]
    swir = bands["B11"]
    ndvi = (nir - red) / np.maximum(nir + red, 0.01)
    ndsi = (green - swir) / np.maximum(green + swir, 0.01)
    scl = np.where(ndvi > 0.42, 4, 5).astype(np.float32)
    scl[(nir < 0.11) & (red < 0.035)] = 2
    scl[(nir < 0.09) & (green > nir)] = 6
    scl[(ndsi > 0.22) & (green > 0.2)] = 11
    scl[sky.shadow > 0.35] = 3
    scl[sky.cirrus > 0.25] = 10
    near = ndimage.maximum_filter(sky.cloud, 5)
    scl[(near > 0.25) & (sky.shadow < 0.35)] = 7
    scl[sky.cloud > 0.25] = 8
    scl[sky.cloud > 0.65] = 9
    return scl


def landsat_block(look: Look) -> dict[str, Array]:
    """Reflectance of the seven bands, ``lwir11`` in kelvin, and the two quality rasters as float."""
    bands = bands_of("landsat")
    names = [b.name for b in bands]
    clean = clean_reflectance(look, "landsat", look.block, names, look.scene.shift_m)
    seen = through_sky(clean, np.array([b.centre_nm for b in bands]), look.sky, look.scene.haze)
    out = dict(zip(names, _noisy(seen, 0.0008, 0.004, look.rng), strict=True))
    optics = Optics.of("landsat", look.block, look.scene.shift_m, look.ground.pad)
    kelvin = endmember_kelvin()
    warm = mixed(look.ground, optics, look.cover.low @ kelvin, look.cover.high @ kelvin, toned=False)[0]
    surface = look.scene.air_kelvin + look.scene.heating * ndimage.gaussian_filter(warm, 1.4, mode="nearest")
    cold = look.sky.cloud * 26.0 + look.sky.cirrus * 9.0 + look.sky.shadow * 3.0
    out["lwir11"] = surface - cold + look.rng.standard_normal(surface.shape, dtype=np.float32) * np.float32(0.25)
    out["qa_pixel"] = _quality_bits(look, out)
    out["qa_radsat"] = (out["blue"] > 1.25).astype(np.float32) * 2
    return out


def _quality_bits(look: Look, bands: dict[str, Array]) -> Array:
    """(H, W) QA_PIXEL with the confidence values that the product writes.

    Source: Landsat 8-9 Collection 2 Level 2 Science Product Guide, table of QA_PIXEL bits and common values.
    """
    green, swir, nir = bands["green"], bands["swir16"], bands["nir08"]
    ndsi = (green - swir) / np.maximum(green + swir, 0.01)
    bits = np.full(green.shape, 21824.0, dtype=np.float32)
    bits[(nir < 0.08) & (green > nir)] = 21952
    bits[(ndsi > 0.22) & (nir > 0.15) & (green > 0.2)] = 30048
    bits[look.sky.cirrus > 0.3] = 54596
    bits[look.sky.shadow > 0.35] = 23888
    bits[ndimage.maximum_filter(look.sky.cloud, 5) > 0.3] = 21762
    bits[look.sky.cloud > 0.3] = 22280
    return bits


def enmap_block(look: Look) -> tuple[npt.NDArray[np.int16], dict[str, Strata]]:
    """The 224 bands as stored (reflectance x 10000), and the quality layers of one block.

    Noise: 0.15 % of reflectance in the VNIR, 0.25 % in the SWIR, five times that in the water-vapour windows, and
    column stripes of a third of it (a push-broom's detectors). Water gives 0 where the product has nothing to say.
    """
    active = np.flatnonzero((look.cover.low.max(axis=0) > 1e-5) | (look.cover.high.max(axis=0) > 1e-5))
    optics = Optics.of("enmap", look.block, look.scene.shift_m, look.ground.pad)
    parts = mixed(look.ground, optics, look.cover.low[:, active], look.cover.high[:, active])
    bands = bands_of("enmap")
    spectra = endmember_bands("enmap")[active]
    height, width = look.block.shape_yx
    nm = np.array([b.centre_nm for b in bands])
    floor = _enmap_noise(nm)
    image = np.empty((len(bands), height, width), dtype=np.int16)
    step = 32
    for first in range(0, len(bands), step):
        chosen = slice(first, first + step)
        clean = np.tensordot(spectra[:, chosen].T, parts, axes=1).astype(np.float32)
        seen = through_sky(clean, nm[chosen], look.sky, look.scene.haze)
        sigma = floor[chosen, None, None]
        stripes = look.rng.standard_normal((seen.shape[0], 1, width), dtype=np.float32) * sigma * np.float32(0.35)
        seen += look.rng.standard_normal(seen.shape, dtype=np.float32) * sigma + stripes
        image[chosen] = np.clip(np.round(seen * 10000), -1000, 20000).astype(np.int16)
    return image, _enmap_quality(look, parts, active)


def _enmap_noise(nm: npt.NDArray[np.float64]) -> Array:
    """(B,) one sigma of the noise in reflectance."""
    floor = np.where(nm < 1000, 0.0015, 0.0025)
    for centre, width in ((1400.0, 45.0), (1880.0, 90.0), (2450.0, 70.0), (940.0, 20.0), (1130.0, 25.0)):
        floor = floor * (1 + 5 * np.exp(-(((nm - centre) / width) ** 2)))
    return np.asarray(floor, dtype=np.float32)


def _enmap_quality(look: Look, parts: Array, active: npt.NDArray[np.int64]) -> dict[str, Strata]:
    """Quality layers by asset key. Classes: 1 land, 2 water, 3 background (EnMAP L2A product specification)."""
    names = [endmember_names()[i] for i in active]
    water = sum((parts[i] for i, n in enumerate(names) if n.startswith("water")), np.zeros(look.block.shape_yx))
    snow = sum((parts[i] for i, n in enumerate(names) if n == "snow"), np.zeros(look.block.shape_yx))
    sky = look.sky
    empty = np.zeros(look.block.shape_yx, dtype=np.uint8)
    thin = sky.cirrus
    return {
        "quality_classes": np.where(water > 0.5, 2, 1).astype(np.uint8),
        "quality_cloud": (sky.cloud > 0.3).astype(np.uint8),
        "quality_cloud_shadow": (sky.shadow > 0.35).astype(np.uint8),
        "quality_haze": ((sky.cloud > 0.06) & (sky.cloud <= 0.3)).astype(np.uint8),
        "quality_cirrus": np.where(thin > 0.5, 3, np.where(thin > 0.3, 2, np.where(thin > 0.12, 1, 0))).astype(
            np.uint8
        ),
        "quality_snow": (snow > 0.4).astype(np.uint8),
        "quality_testflags": empty,
    }


def sentinel1_block(look: Look) -> dict[str, Array]:
    """Linear gamma0 in ``vv`` and ``vh``: moist soil, corner reflectors, forest edges, speckle of 4.4 looks."""
    scene, ground = look.scene, look.ground
    table = endmember_backscatter()
    wet = 10 ** (0.35 * scene.wet)
    names = endmember_names()
    table = table * np.array([wet if n.startswith("soil_") else 1.0 for n in names], dtype=np.float32)[:, None]
    low, high = look.cover.low @ table, look.cover.high @ table
    facing = _facing(scene.ascending)
    optics = Optics.of("sentinel-1", look.block, scene.shift_m, ground.pad)
    trees = (worldcover_codes() == 10)[ground.stratum].astype(np.float32)
    toward = -3 if scene.ascending else 3
    edge = trees - np.roll(trees, toward, axis=1)
    relief = np.where(edge > 0.5, 1.5, 1.0) * np.where(edge < -0.5, 0.45, 1.0)
    out = {}
    for p, key in enumerate(("vv", "vh")):
        cells = (low[:, p] * facing)[ground.stratum]
        cells = cells + ground.vigour * ((high[:, p] - low[:, p]) * facing)[ground.stratum]
        mean = optics.see((cells * relief).astype(np.float32))
        out[key] = mean * speckle(mean.shape, LOOKS, look.rng)
    return out


def _facing(ascending: bool) -> Array:
    """(256,) factor on the echo of roofs, whose walls face one pass or the other."""
    factor = np.ones(256, dtype=np.float32)
    for name in ("roof_tile", "roof_dark", "roof_metal"):
        for variant in range(VARIANTS):
            turned = (variant / (VARIANTS - 1) - 0.5) * (1 if ascending else -1)
            factor[class_index(name) * VARIANTS + variant] = 10 ** (0.9 * turned)
    return factor


def speckle(shape: tuple[int, ...], looks: float, rng: np.random.Generator) -> Array:
    """Multiplicative speckle of mean 1 and variance 1/looks, correlated over neighbours as in resampled data."""
    weights = np.array([0.25, 0.5, 0.25])
    single = looks * float((weights**2).sum()) ** 2
    raw = rng.standard_gamma(single, size=shape, dtype=np.float32) / np.float32(single)
    raw = ndimage.correlate1d(raw, weights, axis=0, mode="reflect")
    out: Array = ndimage.correlate1d(raw, weights, axis=1, mode="reflect")
    return out


def true_reflectance(
    root: Path, item_id: str, names: list[str] | None = None, shifted: bool = True
) -> tuple[Array, Grid]:
    """Surface reflectance that an item would show without sky and without noise.

    Args:
        root: a sandbox.
        item_id: an optical item of it.
        names: bands of one pixel size; default: the sensor's first size.
        shifted: with the item's misregistration, as the item itself; else where things truly are.

    Returns:
        (B, H, W) float32, and its grid.

    Raises:
        KeyError: the sandbox has no such optical item.
    """
    scene, region, grid = scene_named(root, item_id)
    land = open_landscape(region, root / "truth")
    table = bands_of(scene.sensor)
    chosen = names or [b.name for b in table if b.gsd_m == table[0].gsd_m]
    gsd = next(b.gsd_m for b in table if b.name == chosen[0])
    cover = cover_on(scene.time.timetuple().tm_yday, region.southern, scene.snow)
    zero = np.zeros((1, 1), dtype=np.float32)
    look = Look(
        scene, land, grid, ground_under(land, grid), cover, Sky(zero, zero, zero, zero), np.random.default_rng(0)
    )
    shift = scene.shift_m if shifted else (0.0, 0.0)
    target = grid.at_gsd(gsd)
    return clean_reflectance(look, scene.sensor, target, chosen, shift), target
