"""Sentinel-2 and Sentinel-1 products as Planetary Computer ships them: one folder of COGs per item."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from . import items
from .cog import CogWriter, file_fields
from .delivery import Job, Made, Tally
from .imaging import Look, sentinel1_block, sentinel2_block
from .noise import Array
from .place import Grid, QuadraticMap
from .scenes import Scene, mgrs_tiles
from .spectra import bands_of

SENTINEL2_OFFSET_FROM = 4.0
"""Processing baseline from which digital numbers carry +1000 (ESA, Sentinel-2 processing baseline 04.00)."""

SAR_NODATA = -32768.0


@dataclass
class _Tile:
    """One Sentinel-2 tile in one processing."""

    name: str
    grid: Grid
    baseline: str
    made: datetime
    writers: dict[str, CogWriter]
    counts: npt.NDArray[np.int64]

    @property
    def offset(self) -> int:
        return 1000 if float(self.baseline) >= SENTINEL2_OFFSET_FROM else 0


def deliver_sentinel2(job: Job) -> list[Made]:
    """All tiles of one acquisition in one zone, each in every processing of it."""
    scene = job.scene
    gsds = {b.name: b.gsd_m for b in bands_of("sentinel-2")} | {"SCL": 20.0}
    tiles = []
    processings = [(scene.row["baseline"], scene.time + timedelta(hours=4, minutes=12))]
    if "reprocessed" in scene.row:
        processings.append((scene.row["reprocessed"], datetime.fromisoformat("2023-02-11T03:27:46+00:00")))
    for baseline, made in processings:
        for name, grid in mgrs_tiles(scene):
            product = items.sentinel2_item(scene, name, grid, baseline, made, {}, {}, job.sun())["id"]
            folder = job.files / "sentinel-2-l2a" / product
            stem = f"T{name}_{scene.time:%Y%m%dT%H%M%S}"
            writers = {
                band: CogWriter(
                    folder / f"{stem}_{band}_{gsd:.0f}m.tif",
                    grid.at_gsd(gsd),
                    "uint8" if band == "SCL" else "uint16",
                    nodata=0,
                    categorical=band == "SCL",
                )
                for band, gsd in gsds.items()
            }
            tiles.append(_Tile(name, grid, baseline, made, writers, np.zeros(12, dtype=np.int64)))
    tally = Tally()
    for row, col, look in job.looks():
        tally.add_sky(look)
        bands = sentinel2_block(look)
        gone = {gsd: _missing(scene, look, gsd) for gsd in (10.0, 20.0, 60.0)}
        for tile in tiles:
            _write_tile_block(tile, scene.grid, row, col, bands, gsds, gone)
    return [_close_tile(job, tile, tally) for tile in tiles]


def _missing(scene: Scene, look: Look, gsd: float) -> npt.NDArray[np.bool_]:
    grid = look.block.at_gsd(gsd)
    return scene.missing(*QuadraticMap.between(grid, look.land.grid.epsg).on_grid(grid))


def _write_tile_block(
    tile: _Tile,
    scene_grid: Grid,
    row: int,
    col: int,
    bands: dict[str, Array],
    gsds: dict[str, float],
    gone: dict[float, npt.NDArray[np.bool_]],
) -> None:
    """Writes what a block and a tile have in common."""
    first = round((scene_grid.top - tile.grid.top) / scene_grid.gsd)
    for name, values in bands.items():
        ratio = round(gsds[name] / scene_grid.gsd)
        top, begin = row // ratio, first // ratio
        lower, upper = max(top, begin), min(top + values.shape[0], begin + tile.grid.height // ratio)
        if lower >= upper:
            return
        part = values[lower - top : upper - top]
        lost = gone[gsds[name]][lower - top : upper - top]
        if name == "SCL":
            stored = np.where(lost, 0, part).astype(np.uint8)
            tile.counts += np.bincount(stored.ravel(), minlength=12)[:12]
        else:
            numbers = np.clip(np.round(part * 10000) + tile.offset, 1, 65535)
            stored = np.where(lost, 0, numbers).astype(np.uint16)
        tile.writers[name].write(stored, row=lower - begin, col=col // ratio)


def _close_tile(job: Job, tile: _Tile, tally: Tally) -> Made:
    scene, assets = job.scene, {}
    folder = next(iter(tile.writers.values())).path.parent
    for name, writer in tile.writers.items():
        fields = writer.close()
        more = {"title": "Scene classfication map (SCL)", "gsd": 20.0} if name == "SCL" else items.sentinel2_band(name)
        title = str(more.pop("title"))
        place = items.proj_fields(writer.grid) | {"proj:code": f"EPSG:{writer.grid.epsg}"}
        assets[name] = items.cog_asset(job.href(writer.path), fields, title, ["data"], **place, **more)
    shares = {i: float(c) / tile.counts.sum() for i, c in enumerate(tile.counts)}
    path = folder / "MTD_MSIL2A.xml"
    path.write_text(_sentinel2_xml(tile), encoding="utf-8")
    assets["product-metadata"] = {
        "href": job.href(path),
        "type": "application/xml",
        "title": "Product metadata",
        "roles": ["metadata"],
        **file_fields(path),
    }
    one = items.sentinel2_item(scene, tile.name, tile.grid, tile.baseline, tile.made, assets, shares, job.sun())
    return Made(one, job.truth(tile.grid, tally, offset_dn=tile.offset, baseline=tile.baseline))


def _sentinel2_xml(tile: _Tile) -> str:
    """The few lines of the product metadata that say how to turn numbers into reflectance."""
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(13)) if tile.offset else ""
    added = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if offsets else ""
    space = "https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd"
    quantum = '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<n1:Level-2A_User_Product xmlns:n1="{space}"><n1:General_Info>',
        f"<Product_Info><PROCESSING_BASELINE>{tile.baseline}</PROCESSING_BASELINE></Product_Info>",
        f"<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST>{quantum}</QUANTIFICATION_VALUES_LIST>",
        f"{added}</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>",
    ]
    return "\n".join(lines) + "\n"


def deliver_sentinel1(job: Job) -> list[Made]:
    """The VV and VH rasters of one scene."""
    scene, tally = job.scene, Tally()
    folder = job.files / "sentinel-1-rtc" / items.sentinel1_id(scene)
    writers = {
        p: CogWriter(folder / f"iw-{p}.rtc.tiff", scene.grid, "float32", nodata=SAR_NODATA) for p in ("vv", "vh")
    }
    for row, col, look in job.looks():
        for name, values in sentinel1_block(look).items():
            writers[name].write(values, row=row, col=col)
    words = {"vv": "VV: vertical transmit, vertical receive", "vh": "VH: vertical transmit, horizontal receive"}
    raster = [{"nodata": -32768, "data_type": "float32", "spatial_resolution": 10.0}]
    assets = {
        p: items.cog_asset(job.href(w.path), w.close(), words[p], ["data"], **{"raster:bands": raster})
        for p, w in writers.items()
    }
    return [Made(items.sentinel1_item(scene, assets), job.truth(scene.grid, tally))]
