"""Pairs of pictures whose shift is known: the sandbox drawn with one, real pictures resampled by one, and none at all.

Everything is seeded; a case is a moving chip, its reference, and how far the moving content must go in metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from chips.matched_bands import response_weights
from chips.shift import Image
from sandbox.clouds import CloudField, sun_at
from sandbox.imaging import Look, enmap_block, ground_under, landsat_block, sentinel1_block, sentinel2_block
from sandbox.place import Grid, project, regions_of
from sandbox.scenes import Scene, scenes_of
from sandbox.spectra import bands_of
from sandbox.world import Landscape, build_landscape, open_landscape
from schemas.georef import GeoRef
from sources.masks import to_valid

SIZE, SEED = "11x11", 7
SIDE_M = 2_580.0
"""Edge of a place: 258 pixels of 10 m, 86 of 30 m."""
ZONE = 32632


@dataclass(frozen=True)
class Case:
    """A pair with a known shift."""

    kind: str
    """``sentinel-2 on sentinel-2``, ..."""
    moving: Image
    """Bands red and near infrared (radar: mean of both polarisations in dB, twice)."""
    reference: Image
    """Bands red and near infrared."""
    dx_m: float
    """The moving content must go this far east."""
    dy_m: float
    """And this far north."""
    pixel_m: float
    """Pixel of the coarser native grid."""


@cache
def landscape(folder: Path) -> Landscape:
    """The sandbox's northern landscape, drawn once."""
    region = regions_of(SIZE)[0]
    if not (folder / f"{region.name}_tone.npy").exists():
        build_landscape(region, SEED, folder)
    return open_landscape(region, folder)


def places() -> list[tuple[float, float]]:
    """Left and top of 12 places, edges on multiples of 60 m; radar and Sentinel-2 share them, 30 m sensors overhang."""
    x0, y0, x1, y1 = _inner(regions_of(SIZE)[0])
    lefts = np.linspace(x0 + 300, x1 - SIDE_M - 300, 4) // 60 * 60
    tops = np.linspace(y1 - 300, y0 + SIDE_M + 300, 3) // 60 * 60
    return [(float(left), float(top)) for top in tops for left in lefts]


def _inner(region: Any) -> tuple[float, float, float, float]:
    x, y = (float(v) for v in project(4326, ZONE, *region.centre_lonlat))
    width, height = region.size_m
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def scene(sensor: str, time: str) -> Scene:
    """A scene of the acquisition table."""
    return next(
        s for s in scenes_of(SIZE) if s.sensor == sensor and s.region.name == "north" and f"{s.time:%Y-%m-%d}" == time
    )


def picture(
    land: Landscape,
    seen: Scene,
    place: tuple[float, float],
    shift_m: tuple[float, float],
    *,
    cloud: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Image:
    """A place as a scene shows it when it lies off by ``shift_m``, with the sensor's noise, clouds and masks.

    Args:
        land: the ground.
        seen: the scene; its own shift and clouds are replaced.
        place: left and top.
        shift_m: the content lies this far (east, north) of where it is.
        cloud: share of the place under clouds and their shadows, masked as the sensor's product does.
        noise: further noise, in standard deviations of the clean picture.
        seed: of clouds and noise.
    """
    gsd = {"landsat": 30.0, "enmap": 30.0}.get(seen.sensor, 10.0)
    phase = 15.0 if gsd == 30.0 else 0.0
    count = round(SIDE_M / gsd) + (1 if phase else 0)
    block = Grid(ZONE, place[0] - phase, place[1] + phase, gsd, count, count)
    moved = replace(seen, row={**seen.row, "shift_m": list(shift_m), "partial": 0.0})
    sun = sun_at(seen.time, *seen.region.centre_lonlat)
    sky = CloudField.over(block, seed, cloud, 0.0, sun)
    look = Look.at(moved, land, block, sky, seed)
    look = replace(look, ground=ground_under(land, block, 48))
    pixels, valid = BANDS[seen.sensor](look)
    if noise:
        grain = np.random.default_rng(seed).normal(0, 1, pixels.shape)
        pixels = pixels + noise * pixels.std(axis=(1, 2), keepdims=True) * grain
    georef = GeoRef(ZONE, block.left, block.top, gsd, (count, count))
    return Image(np.ascontiguousarray(pixels, np.float32), valid, georef, gsd)


def _sentinel2(look: Look) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    out = sentinel2_block(look)
    codes = to_valid("scl", {"scl": out["SCL"].astype(np.uint8)})
    valid = np.isin(np.repeat(np.repeat(codes, 2, 0), 2, 1), (1, 6))
    return np.stack([out["B04"], out["B08"]]), valid


def _landsat(look: Look) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    out = landsat_block(look)
    codes = to_valid("qa_pixel_c2", {"qa_pixel": out["qa_pixel"].astype(np.uint16)})
    return np.stack([out["red"], out["nir08"]]), np.isin(codes, (1, 6))


def _enmap(look: Look) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The 224 bands are put together over Sentinel-2's red and near infrared, as the chips' register does."""
    image, quality = enmap_block(look)
    bands = [(band.centre_nm, band.fwhm_nm) for band in bands_of("enmap")]
    wanted = [(band.centre_nm, band.fwhm_nm) for band in bands_of("sentinel-2") if band.name in ("B04", "B08")]
    pixels = [np.tensordot(response_weights(bands, one), image.astype(np.float32), axes=1) for one in wanted]
    hidden = (quality["quality_cloud"] > 0) | (quality["quality_cloud_shadow"] > 0)
    return np.stack(pixels), ~hidden


def _sentinel1(look: Look) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    out = sentinel1_block(look)
    decibel = (10 * np.log10(np.maximum(np.stack([out["vv"], out["vh"]]), 1e-5))).mean(axis=0)
    return np.stack([decibel, decibel]), np.ones(decibel.shape, np.bool_)


BANDS = {"sentinel-2": _sentinel2, "landsat": _landsat, "enmap": _enmap, "sentinel-1": _sentinel1}
DATES = {
    "sentinel-2": ("2021-09-08", "2022-06-20"),
    "landsat": ("2022-06-20", "2021-09-05"),
    "enmap": (),
    "sentinel-1": ("2022-06-20", "2021-09-05"),
}
REFERENCE = "2022-04-26"
"""Sentinel-2's date that all others are compared with: another season than any of them."""


def sandbox_cases(folder: Path, sensor: str, repeats: int, *, cloud: float = 0.0, noise: float = 0.0) -> list[Case]:
    """Shifts of 0.1 to 3 pixels of the coarser native grid, in all directions, over all places."""
    land, rng = landscape(folder), np.random.default_rng([SEED, len(sensor), round(cloud * 100), round(noise * 100)])
    dates = [s for s in scenes_of(SIZE) if s.sensor == sensor and s.region.name == "north"]
    dates = [s for s in dates if not DATES[sensor] or f"{s.time:%Y-%m-%d}" in DATES[sensor]][:2]
    pixel = 30.0 if sensor in ("landsat", "enmap") else 10.0
    found = []
    for repeat in range(repeats):
        for number, place in enumerate(places()):
            size = rng.uniform(0.1, 3.0) * pixel
            angle = rng.uniform(0, 2 * np.pi)
            east, north = size * np.cos(angle), size * np.sin(angle)
            seed = 1000 * repeat + number
            reference = _reference(folder, number, cloud)
            shown = dates[(repeat + number) % len(dates)]
            moving = picture(land, shown, place, (east, north), cloud=cloud, noise=noise, seed=seed + 500)
            found.append(Case(f"{sensor} on sentinel-2", moving, reference, -east, -north, pixel))
    return found


@cache
def _reference(folder: Path, number: int, cloud: float) -> Image:
    """Sentinel-2's picture of a place, the same for all that is compared with it."""
    shown = scene("sentinel-2", REFERENCE)
    return picture(landscape(folder), shown, places()[number], (0.0, 0.0), cloud=cloud, seed=number)


def moved(pixels: NDArray[Any], dy: float, dx: float) -> NDArray[np.float32]:
    """Content moved down and right by fractions of a pixel, by cubic splines."""
    shifted = [ndimage.shift(band.astype(np.float64), (dy, dx), order=3, mode="mirror") for band in pixels]
    return np.asarray(shifted, np.float32)


def featureless(count: int) -> Iterator[tuple[Image, Image]]:
    """Pairs with nothing in common: sea, ramps, sun glint, haze, speckle, and swell in step with nothing."""
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        shape = (258, 258) if number % 2 else (128, 128)
        one, other = (_nothing(rng, shape, number % 5) for _ in range(2))
        georef = GeoRef(ZONE, 700_000.0, 5_300_000.0, 10.0, shape)
        known = np.ones(shape, np.bool_)
        if number % 3 == 0:
            known = ndimage.gaussian_filter(rng.normal(size=shape), 20) > 0
        yield Image(one, known, georef, 10.0), Image(other, known, georef, 10.0)


def _nothing(rng: np.random.Generator, shape: tuple[int, int], kind: int) -> NDArray[np.float32]:
    rows, columns = np.indices(shape) / max(shape)
    grain = rng.normal(0, 6, (2, *shape))
    if kind == 0:
        flat = np.zeros((2, *shape)) + 300
    elif kind == 1:
        flat = 300 + 200 * (rng.normal() * rows + rng.normal() * columns)[None].repeat(2, 0)
    elif kind == 2:
        flat = 300 + 400 * ndimage.gaussian_filter(rng.normal(size=shape), 25)[None].repeat(2, 0)
    elif kind == 3:
        flat, grain = np.zeros((2, *shape)) + 300, grain * 0
        flat = flat + 40 * ndimage.gaussian_filter(rng.normal(size=shape), 1.2)[None]
    else:
        length, angle = rng.uniform(4, 12), rng.uniform(0, np.pi)
        swell = np.sin(2 * np.pi * max(shape) * (rows * np.sin(angle) + columns * np.cos(angle)) / length)
        flat = 300 + 8 * swell[None].repeat(2, 0)
    return np.asarray(flat + grain, np.float32)


def real_pair(folder: Path, count: int) -> list[tuple[NDArray[Any], NDArray[Any], GeoRef]]:
    """Windows of the two real Sentinel-2 dates with a margin of 16 pixels: moving, reference, georeference."""
    found = []
    names = sorted((folder / "s2-pair").glob("*.tif"))
    with rasterio.open(names[0]) as reference, rasterio.open(names[1]) as moving:
        for top in range(16, 3200 - 300, 288):
            for left in range(16, 2400 - 300, 288):
                x, y = reference.transform * (left, top)
                windows = []
                for file in (moving, reference):
                    column, row = ~file.transform * (x, y)
                    window = Window(round(column) - 16, round(row) - 16, 288, 288)
                    windows.append(file.read(1, window=window, boundless=True, fill_value=0).astype(np.float32))
                if min(float((w > 0).mean()) for w in windows) == 1.0 and len(found) < count:
                    found.append((*windows, GeoRef(32633, x, y, 10.0, (256, 256))))
    return found


def wervik(folder: Path) -> dict[str, Image]:
    """The same-day triple of 2018-08-02 over Wervik: red and near infrared, or backscatter in dB twice."""
    items = {
        "sentinel-2": ("sentinel-2-l2a", "S2A_MSIL2A_20180802T105938_R094_T31UDS_wervik", ("B04", "B08"), 10.0),
        "landsat": ("landsat-8-c1-sr", "LC08_SR_20180802T103944_C1_wervik", ("B04", "B05"), 30.0),
    }
    radar = next((folder / "catalog" / "sentinel-1-grd" / "items").glob("*20180802*wervik.json")).stem
    items["sentinel-1"] = ("sentinel-1-grd", radar, ("vv", "vh"), 20.0)
    found = {}
    for sensor, (collection, item, assets, gsd) in items.items():
        planes = []
        for name in assets:
            with rasterio.open(folder / "catalog" / collection / "data" / item / f"{name}.tif") as file:
                planes.append(file.read(1).astype(np.float32))
                a, x0, y0 = file.transform.a, file.transform.c, file.transform.f
        pixels = np.stack(planes)
        if sensor == "sentinel-1":
            pixels = np.repeat(pixels.mean(axis=0, keepdims=True), 2, axis=0)
        shape = (pixels.shape[1], pixels.shape[2])
        found[sensor] = Image(pixels, np.ones(shape, np.bool_), GeoRef(32631, x0, y0, a, shape), gsd)
    return found
