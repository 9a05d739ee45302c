"""HLS S30 as NASA's LP DAAC ships it: a Sentinel-2 tile at 30 m, one COG per band, Fmask beside them.

Opt-in: no world holds it. A test or a benchmark gives a Sentinel-2 scene's job to `deliver_hls`.

As in the product, bands of 10 m are averaged, those of 20 m by area, those of 60 m repeated; unlike it, nothing is
normalised to nadir or to Landsat's band passes, for the simulated ground looks alike from all sides. B10 is missing:
the sandbox simulates no cirrus band. Source: HLS Product User Guide, version 2.0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from . import items
from .cog import CogWriter
from .delivery import Job, Made, Tally
from .imaging import Look, pool, sentinel2_block
from .noise import Array
from .place import Grid, QuadraticMap
from .scenes import mgrs_tiles
from .spectra import bands_of

GSD_M = 30.0
NODATA = -9999
FMASK_FILL = 255
COLLECTION = "HLSS30_2.0"


def deliver_hls(job: Job) -> list[Made]:
    """All tiles of a Sentinel-2 scene, as S30."""
    scene = job.scene
    base = scene.grid.at_gsd(GSD_M)
    names = [band.name for band in bands_of("sentinel-2")]
    layers = {name: np.full(base.shape_yx, NODATA, np.int16) for name in names}
    fmask = np.full(base.shape_yx, FMASK_FILL, np.uint8)
    tally = Tally()
    for row, col, look in job.looks():
        tally.add_sky(look)
        block = look.block.at_gsd(GSD_M)
        here = (slice(row // 3, row // 3 + block.height), slice(col // 3, col // 3 + block.width))
        gone = scene.missing(*QuadraticMap.between(block, look.land.grid.epsg).on_grid(block))
        bands = sentinel2_block(look)
        for name in names:
            stored = np.clip(np.round(_at_30m(bands[name], look.block) * 10000), -2000, 16000)
            layers[name][here] = np.where(gone, NODATA, stored)
        fmask[here] = np.where(gone, FMASK_FILL, _fmask(look, bands))
    return [_tile(job, name, grid, {**layers, "Fmask": fmask}, base, tally) for name, grid in mgrs_tiles(scene)]


def _at_30m(band: Array, block: Grid) -> Array:
    """A band of 10, 20 or 60 m on pixels of 30 m."""
    ratio = block.height // band.shape[0]
    if ratio == 6:
        return np.repeat(np.repeat(band, 2, 0), 2, 1)
    return pool(np.repeat(np.repeat(band, ratio, 0), ratio, 1), 3)


def _fmask(look: Look, bands: dict[str, Array]) -> npt.NDArray[np.uint8]:
    """(H, W) bits: 1 cloud, 2 beside cloud or shadow, 3 shadow, 4 snow, 5 water, 6-7 aerosol (1 low, 2 moderate)."""
    cloud, shadow = pool(look.sky.cloud, 3) > 0.3, pool(look.sky.shadow, 3) > 0.35
    green, nir = _at_30m(bands["B03"], look.block), _at_30m(bands["B8A"], look.block)
    swir = _at_30m(bands["B11"], look.block)
    snow = ((green - swir) / np.maximum(green + swir, 0.01) > 0.22) & (green > 0.2) & ~cloud
    water = (nir < 0.09) & (green > nir)
    beside = ndimage.binary_dilation(cloud | shadow, iterations=5) & ~cloud & ~shadow
    bits = np.full(cloud.shape, (2 if look.scene.haze > 0.25 else 1) << 6, np.uint8)
    for bit, found in ((1, cloud), (2, beside), (3, shadow), (4, snow), (5, water)):
        bits |= found.astype(np.uint8) << np.uint8(bit)
    return bits


def _tile(
    job: Job, tile: str, grid: Grid, layers: dict[str, npt.NDArray[np.generic]], base: Grid, tally: Tally
) -> Made:
    """Files and item of one tile."""
    scene, coarse = job.scene, grid.at_gsd(GSD_M)
    row, col = round((base.top - coarse.top) / GSD_M), round((coarse.left - base.left) / GSD_M)
    product = f"HLS.S30.T{tile}.{scene.time:%Y%jT%H%M%S}.v2.0"
    folder = job.files / COLLECTION / product
    assets = {}
    for name, values in layers.items():
        is_mask = name == "Fmask"
        tags = {} if is_mask else {"scale_factor": "0.0001", "add_offset": "0.0"}
        writer = CogWriter(
            folder / f"{product}.{name}.tif",
            coarse,
            "uint8" if is_mask else "int16",
            nodata=FMASK_FILL if is_mask else NODATA,
            categorical=is_mask,
            tags=tags,
        )
        writer.write(values[row : row + coarse.height, col : col + coarse.width])
        writer.close()
        assets[name] = {"href": job.href(writer.path), "title": f"Download {product}.{name}.tif"}
    properties = {
        "datetime": items.utc(scene.time),
        "start_datetime": items.utc(scene.time),
        "end_datetime": items.utc(scene.time),
        "eo:cloud_cover": round(100 * tally.share("cloud")),
    }
    one = items.item(product, COLLECTION, items.footprint(grid, scene), properties, assets, ("eo/v1.0.0",))
    return Made(one, job.truth(coarse, tally))
