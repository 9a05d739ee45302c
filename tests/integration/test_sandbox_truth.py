"""What our sources read of the sandbox is what was simulated: reflectance, backscatter and clouds.

Items come from the catalog, their scale, offset and mask rule from `sources.sensors`, pixels through the direct engine;
only the truth is the sandbox's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from chips.convert import Stored, to_stored
from sandbox.clouds import CloudField, Sky, sun_at, through_sky
from sandbox.deliver_hls import deliver_hls
from sandbox.delivery import Job
from sandbox.imaging import (
    Look,
    clean_reflectance,
    cover_on,
    ground_under,
    pool,
    sentinel1_block,
    true_reflectance,
)
from sandbox.place import Grid
from sandbox.scenes import scene_named
from sandbox.spectra import bands_of
from sandbox.world import open_landscape
from schemas.chip import Valid
from schemas.recipe import Catalog, Modality
from schemas.scene import SceneItem
from sources.catalog_api import ApiCatalog
from sources.engine import open_engine
from sources.items import normalise_item
from sources.masks import to_valid
from sources.openers import PlainOpener
from sources.placing import placed_scene
from sources.scenes import scene_bands
from sources.sensors import to_scene_item
from tests.integration.support import World

OPENER = PlainOpener()
Floats = NDArray[np.float64]


def finder(stac_url: str) -> Callable[[str, str], dict[str, SceneItem]]:
    """(sensor, collection) -> the scenes of the catalog, as a recipe that asks for all bands has them."""
    catalog = ApiCatalog(
        Catalog.model_validate({"kind": "stac-api", "href": "x", "allow_local": True}), stac_url, OPENER
    )

    @cache
    def found(sensor: str, collection: str) -> dict[str, SceneItem]:
        modality = Modality.model_validate({"sensor": sensor, "catalog": "c", "collection": collection})
        items = catalog.search(collection, (-180.0, -90.0, 180.0, 90.0))
        return {item["id"]: to_scene_item(item, "m", modality, "c") for item in items}

    return found


@pytest.fixture(scope="module")
def scenes(world: World) -> Any:
    """See `finder`."""
    return finder(world.stac_url)


def one(scenes: dict[str, SceneItem], text: str) -> SceneItem:
    (found,) = [scene for item_id, scene in scenes.items() if text in item_id]
    return found


def physical(scene: SceneItem, band: str) -> Floats:
    """(y, x) of a whole band in its unit; NaN where there is no data."""
    ref = next(ref for ref in scene.refs if ref.band == band)
    stored = open_engine("direct").read([ref], ref.georef, "nearest", OPENER)[0]
    values = stored.astype(np.float64) * ref.scale + ref.offset
    return np.where(stored == ref.nodata, np.nan, values)


def codes(scene: SceneItem) -> NDArray[np.uint8]:
    """(y, x) validity of the whole scene on its mask's grid."""
    layers = {ref.band: open_engine("direct").read([ref], ref.georef, "nearest", OPENER)[0] for ref in scene.masks}
    return to_valid(scene.mask_kind, layers)


def clear_ground(scene: SceneItem, shape: tuple[int, int], away_px: int) -> NDArray[np.bool_]:
    """Clear pixels that lie so far from everything else, on a grid of that shape over the same ground."""
    clear = ndimage.binary_erosion(codes(scene) == Valid.CLEAR, iterations=2, border_value=1)
    ratio = shape[0] // clear.shape[0]
    wide: NDArray[np.bool_] = np.repeat(np.repeat(clear, ratio, 0), ratio, 1)
    return ndimage.binary_erosion(wide, iterations=away_px, border_value=0)


def through_air(truth: Any, scene: SceneItem, root: Path, centres_nm: list[float]) -> Any:
    """The truth with the aerosol that the simulated provider left in; no cloud, no shadow."""
    haze = scene_named(root, scene.item_id)[0].haze
    zero = np.zeros((1, 1), dtype=np.float32)
    return through_sky(truth, np.array(centres_nm), Sky(zero, zero, zero, zero), haze)


def blue_sky(root: Path, item_id: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where no cloud, shadow or cirrus was put in, on pixels of the scene's base size or whole multiples."""
    sky = look_at(root, item_id, True, np.random.default_rng(0)).sky
    veiled = (sky.cloud > 0.002) | (sky.shadow > 0.002) | (sky.cirrus > 0.002)
    veiled = ndimage.binary_dilation(veiled, iterations=2)
    ratio = round(veiled.shape[1] / shape[1])
    whole = np.zeros(shape, dtype=bool)
    rows, columns = min(shape[0], veiled.shape[0] // ratio), min(shape[1], veiled.shape[1] // ratio)
    part = veiled[: rows * ratio, : columns * ratio].reshape(rows, ratio, columns, ratio)
    whole[:rows, :columns] = ~part.any(axis=(1, 3))
    return whole


CASES = [
    ("sentinel-2-l2a", "sentinel-2-l2a", "20210720T101031_R022_T32UQU_20210720", ("B02", "B04", "B08", "B11"), 0.0),
    ("sentinel-2-l2a", "sentinel-2-l2a", "20210720T101031_R022_T32UQU_20230211", ("B02", "B04", "B08", "B11"), -0.1),
    ("sentinel-2-l2a", "sentinel-2-l2a", "20220620T101039_R022_T32UQU", ("B03", "B04", "B08", "B12"), -0.1),
    ("landsat-c2-l2-sr", "landsat-c2-l2", "193027_20220620", ("blue", "red", "nir08", "swir16"), -0.2),
]


@pytest.mark.parametrize(("sensor", "collection", "text", "bands", "offset"), CASES)
def test_reflectance_is_that_of_the_ground(
    scenes: Any, world: World, sensor: str, collection: str, text: str, bands: tuple[str, ...], offset: float
) -> None:
    scene = one(scenes(sensor, collection), text)
    for name in bands:
        assert next(ref for ref in scene.refs if ref.band == name).offset == pytest.approx(offset)
        error, mean, share = reflectance_error(scene, world.index.root, name)
        assert share > 0.1
        assert abs(error) < 0.01 * mean, name


def reflectance_error(scene: SceneItem, root: Path, name: str) -> tuple[float, float, float]:
    """Mean error and mean truth of a band where the ground is clear, and which share of the scene that is."""
    theirs = [band.name for band in bands_of("sentinel-2" if "sentinel" in scene.sensor else "landsat")]
    ref = next(ref for ref in scene.refs if ref.band == name)
    known = next(band for band in scene_bands(scene) if band.name == name)
    truth, grid = true_reflectance(root, scene.item_id, [name if name in theirs else known.common_name])
    assert (grid.height, grid.width) == ref.georef.shape_yx
    seen = physical(scene, name)
    truth = through_air(truth, scene, root, [float(known.centre_nm or 0)])
    inside = clear_ground(scene, seen.shape, 3) & np.isfinite(seen)
    inside &= blue_sky(root, scene.item_id, seen.shape)
    return float((seen - truth[0])[inside].mean()), float(truth[0][inside].mean()), float(inside.mean())


HLS_BANDS = {"blue": "B02", "red": "B04", "rededge071": "B05", "nir": "B08", "swir16": "B11"}
"""Band of the HLS profile -> band of the simulated Sentinel-2."""


@pytest.mark.parametrize("day", ["20210720", "20220620"])
def test_hls_is_the_ground_and_its_mask_finds_the_clouds(world: World, tmp_path: Path, day: str) -> None:
    root = world.index.root
    path = next((root / "files" / "sentinel-2-l2a").glob(f"S2?_MSIL2A_{day}T*_T32UQU_*"))
    scene, region, _ = scene_named(root, path.name)
    land = open_landscape(region, root / "truth")
    row = scene.row
    field = CloudField.over(
        land.grid, 7 * 7919 + scene.sky_number, float(row.get("cloud", 0)), float(row.get("cirrus", 0)),
        sun_at(scene.time, *region.centre_lonlat),
    )  # fmt: skip
    made = next(one for one in deliver_hls(Job(scene, land, field, 7, tmp_path)) if "T32UQU" in one.item["id"])
    item = normalise_item(made.item, (tmp_path / "item.json").as_uri())
    for asset in item["assets"].values():
        asset["href"] = str(tmp_path / made.item["assets"][asset["title"].split(".")[-2]]["href"])
    modality = Modality.model_validate(
        {"sensor": "hls", "catalog": "c", "collection": "HLSS30_2.0", "bands": list(HLS_BANDS)}
    )
    found = placed_scene(item, "hls", modality, "c", OPENER)
    assert found.mask_kind == "fmask_hls"
    grid = Grid(**made.truth["grid"])
    assert found.refs[0].georef.bounds_xyxy == grid.bounds_xyxy
    look = Look.at(scene, land, scene.grid, field, 7)
    cloud, shadow = (pool(layer, 3) for layer in (look.sky.cloud, look.sky.shadow))
    first = round((scene.grid.top - grid.top) / 30)
    here = (slice(first, first + grid.height), slice(0, grid.width))
    cloud, shadow, validity = cloud[here], shadow[here], codes(found)
    clear = ndimage.binary_erosion(validity == Valid.CLEAR, iterations=2, border_value=0)
    clear &= ~ndimage.binary_dilation(pool(look.sky.cirrus, 3)[here] + cloud + shadow > 0.002, iterations=2)
    assert clear.mean() > 0.1
    bare = Look(scene, land, scene.grid, look.ground, look.cover, Sky(*(np.zeros((1, 1), np.float32),) * 4), look.rng)
    centres = {band.name: float(band.centre_nm or 0) for band in scene_bands(found)}
    for name, theirs in HLS_BANDS.items():
        gsd = next(band.gsd_m for band in bands_of("sentinel-2") if band.name == theirs)
        truth = clean_reflectance(bare, "sentinel-2", scene.grid.at_gsd(gsd), [theirs], scene.shift_m)[0]
        ratio = round(gsd / 10)
        truth = pool(np.repeat(np.repeat(truth, ratio, 0), ratio, 1), 3)[here]
        seen = physical(found, name)
        want = through_sky(truth[None], np.array([centres[name]]), bare.sky, scene.haze)[0]
        error = (seen - want)[clear]
        assert abs(error.mean()) < 0.01 * want[clear].mean(), name
    if (cloud > 0.6).mean() > 0.01:
        assert (validity == Valid.CLOUD)[cloud > 0.6].mean() > 0.97
    assert cloud[validity == Valid.CLEAR].mean() < 0.02


def test_enmap_is_the_ground_in_every_good_band(scenes: Any, world: World) -> None:
    scene = one(scenes("enmap-l2a", "enmap-l2a"), "20220619")
    table = [band.name for band in bands_of("enmap")]
    picked = [ref for ref in scene.refs if ref.band_index in (10, 46, 80, 91, 92, 120, 160, 200)]
    names = [table[ref.band_index - 1] for ref in picked]
    truth, _ = true_reflectance(world.index.root, scene.item_id, names)
    known = {band.name: band for band in scene_bands(scene)}
    truth = through_air(truth, scene, world.index.root, [float(known[ref.band].centre_nm or 0) for ref in picked])
    inside = clear_ground(scene, truth.shape[1:], 2) & blue_sky(world.index.root, scene.item_id, truth.shape[1:])
    assert inside.mean() > 0.3
    for ref, want in zip(picked, truth, strict=True):
        seen = physical(scene, ref.band)
        assert abs((seen - want)[inside].mean()) < 0.01 * want[inside].mean(), ref.band


def test_enmap_integrated_to_sentinel2s_bands_agrees_with_sentinel2(scenes: Any, world: World) -> None:
    narrow = one(scenes("enmap-l2a", "enmap-l2a"), "20220619")
    wide = one(scenes("sentinel-2-l2a", "sentinel-2-l2a"), "20220620T101039_R022_T32UQU")
    centres = np.array([band.centre_nm for band in scene_bands(narrow)], dtype=np.float64)
    for name in ("B02", "B04", "B08"):
        band = next(one for one in scene_bands(wide) if one.name == name)
        assert band.centre_nm is not None
        near = np.flatnonzero(np.abs(centres - band.centre_nm) < 1.3 * float(band.fwhm_nm or 0))
        order = near[np.argsort(centres[near])]
        weight = np.exp(-4 * np.log(2) * ((centres[order] - band.centre_nm) / float(band.fwhm_nm or 0)) ** 2)
        weight *= np.gradient(centres[order])
        cube = np.stack([physical(narrow, narrow.refs[i].band) for i in order])
        got = np.tensordot(weight / weight.sum(), cube, axes=1)
        fine_ref = next(ref for ref in wide.refs if ref.band == name)
        coarse = narrow.refs[0].georef
        pixels = open_engine("direct").read([fine_ref], coarse, "average", OPENER)[0].astype(np.float64)
        want = np.where(pixels == 0, np.nan, pixels * fine_ref.scale + fine_ref.offset)
        mask = wide.masks[0]
        scl = open_engine("direct").read([mask], coarse, "nearest", OPENER)[0]
        inside = np.isin(scl, (4, 5)) & (codes(narrow) == Valid.CLEAR) & np.isfinite(want) & np.isfinite(got)
        inside = ndimage.binary_erosion(inside, iterations=3)
        assert inside.sum() > 500
        assert abs((got - want)[inside].mean()) < 0.02 * want[inside].mean(), name


class NoSpeckle(np.random.Generator):
    """Draws the mean of every gamma distribution."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_gamma(self, shape: Any, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return np.full(size, shape, dtype=dtype)


def look_at(root: Path, item_id: str, sky: bool, rng: np.random.Generator) -> Look:
    """The whole scene as the sandbox sees it."""
    scene, region, grid = scene_named(root, item_id)
    land = open_landscape(region, root / "truth")
    zero = np.zeros((1, 1), dtype=np.float32)
    if sky:
        row = scene.row
        field = CloudField.over(
            land.grid, 7 * 7919 + scene.sky_number, float(row.get("cloud", 0)), float(row.get("cirrus", 0)),
            sun_at(scene.time, *region.centre_lonlat),
        )  # fmt: skip
        return Look.at(scene, land, grid, field, 7)
    cover = cover_on(scene.time.timetuple().tm_yday, region.southern, scene.snow)
    return Look(scene, land, grid, ground_under(land, grid), cover, Sky(zero, zero, zero, zero), rng)


def test_backscatter_in_decibel_is_unbiased_within_speckle(scenes: Any, world: World) -> None:
    modality = Modality.model_validate({"sensor": "sentinel-1-rtc", "catalog": "c", "collection": "x", "store": "db"})
    for scene in scenes("sentinel-1-rtc", "sentinel-1-rtc").values():
        truth = sentinel1_block(look_at(world.index.root, scene.item_id, False, NoSpeckle()))
        for ref in scene.refs:
            linear = open_engine("direct").read([ref], ref.georef, "nearest", OPENER)
            missing = linear == ref.nodata
            stored = to_stored(Stored(linear, ref.scale, ref.offset, ref.nodata, ref.unit), missing, modality)
            assert stored.unit == "dB"
            ground = ~missing[0]
            mean = (10 ** (stored.data[0][ground].astype(np.float64) / 10)).mean()
            away_db = 10 * np.log10(mean / truth[ref.band][ground].mean())
            # 4.4 looks, correlated over about four neighbours: the relative error of the mean of n pixels
            bound = 10 / np.log(10) * 4 * np.sqrt(4 / (4.4 * ground.sum()))
            assert abs(away_db) < bound + 0.01, (scene.item_id, ref.band)


@pytest.mark.parametrize(
    ("sensor", "collection", "text", "finer"),
    [
        ("sentinel-2-l2a", "sentinel-2-l2a", "20210720T101031_R022_T33TTN_20210720", 2),
        ("landsat-c2-l2-sr", "landsat-c2-l2", "192027_20220808", 1),
    ],
)
def test_masks_find_the_clouds_that_were_put_in(
    scenes: Any, world: World, sensor: str, collection: str, text: str, finer: int
) -> None:
    scene = one(scenes(sensor, collection), text)
    sky = look_at(world.index.root, scene.item_id, True, np.random.default_rng(0)).sky.cloud
    height, width = (size // finer for size in sky.shape)
    thick = sky[: height * finer, : width * finer].reshape(height, finer, width, finer).mean(axis=(1, 3))
    found = codes(scene)[:height, :width]
    cloudy = found == Valid.CLOUD
    thick = thick[: cloudy.shape[0], : cloudy.shape[1]]
    assert (thick > 0.5).mean() > 0.02
    assert cloudy[thick > 0.6].mean() > 0.97, "thick clouds are found"
    assert (found == Valid.CLEAR)[thick > 0.4].mean() < 0.03, "and not called clear"
    assert thick[found == Valid.CLEAR].mean() < 0.02
