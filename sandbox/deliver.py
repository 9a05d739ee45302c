"""Turns scenes into the files that providers ship: digital numbers, quality rasters, metadata, one folder per item."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import items
from .clouds import CloudField, Sun, sun_at
from .cog import CogWriter, file_fields
from .imaging import Look, enmap_block, landsat_block, sentinel1_block, sentinel2_block
from .items import Item
from .noise import Array
from .place import Grid, QuadraticMap
from .scenes import Scene, mgrs_tiles
from .spectra import bands_of, table
from .world import Landscape

log = logging.getLogger(__name__)

BLOCK_M = 15_360
"""Side of a block of work, a multiple of every pixel size but Sentinel-2's 60 m, which takes 15,360 as 256 pixels."""

SENTINEL2_OFFSET_FROM = 4.0
"""Processing baseline from which digital numbers carry +1000 (ESA, Sentinel-2 processing baseline 04.00)."""

SAR_NODATA = -32768.0
ENMAP_NODATA = -32768

QUALITY_TITLES = {
    "quality_classes": ("QUALITY_CLASSES", "Quality classes"),
    "quality_cloud": ("QUALITY_CLOUD", "Quality cloud"),
    "quality_cloud_shadow": ("QUALITY_CLOUDSHADOW", "Quality cloud shadow"),
    "quality_haze": ("QUALITY_HAZE", "Quality haze"),
    "quality_cirrus": ("QUALITY_CIRRUS", "Quality cirrus"),
    "quality_snow": ("QUALITY_SNOW", "Quality snow"),
    "quality_testflags": ("QUALITY_TESTFLAGS", "Quality test flags"),
}


@dataclass(frozen=True)
class Made:
    """One item that was written, and what is true of it."""

    item: Item
    """With hrefs relative to the folder of files."""
    truth: dict[str, Any]
    """Its entry in ``truth.json``."""
    chapter: str = "items"
    """Which part of ``truth.json``."""


@dataclass
class Tally:
    """Sums over the blocks of a scene."""

    sums: dict[str, float] = field(default_factory=dict)

    def add(self, **amounts: float) -> None:
        """Adds to the named sums."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(amount)

    def share(self, name: str) -> float:
        """A sum over the number of pixels."""
        return self.sums.get(name, 0.0) / max(self.sums.get("pixels", 0.0), 1.0)


@dataclass(frozen=True)
class Job:
    """One scene to deliver."""

    scene: Scene
    land: Landscape
    sky: CloudField
    seed: int
    files: Path

    def looks(self) -> Iterator[tuple[int, int, Look]]:
        """Row, column and look of every block, at the scene's base pixel size."""
        grid = self.scene.grid
        side = BLOCK_M // round(grid.gsd)
        for row in range(0, grid.height, side):
            for col in range(0, grid.width, side):
                block = grid.part(row, col, min(side, grid.height - row), min(side, grid.width - col))
                yield row, col, Look.at(self.scene, self.land, block, self.sky, self.seed)

    def sun(self) -> Sun:
        """The sun over the region at the scene's time."""
        return sun_at(self.scene.time, *self.scene.region.centre_lonlat)

    def truth(self, grid: Grid, tally: Tally, **more: Any) -> dict[str, Any]:
        """Entry of ``truth.json``."""
        scene = self.scene
        return {
            "scene": scene.key,
            "sensor": scene.sensor,
            "region": scene.region.name,
            "grid": {"epsg": grid.epsg, "left": grid.left, "top": grid.top, "gsd": grid.gsd, "width": grid.width, "height": grid.height},
            "shift_m": list(scene.shift_m),
            "cloud_fraction": round(tally.share("cloud"), 5),
            "shadow_fraction": round(tally.share("shadow"), 5),
            "cirrus_fraction": round(tally.share("cirrus"), 5),
            **more,
        }


def deliver(scene: Scene, land: Landscape, sky: CloudField, seed: int, files: Path) -> list[Made]:
    """Writes all products of a scene under ``files/<collection>/<item id>/``."""
    made = DELIVERIES[scene.sensor](Job(scene, land, sky, seed, files))
    log.debug("%s: %d items", scene.key, len(made))
    return made


def _tally_sky(tally: Tally, look: Look) -> None:
    sky = look.sky
    tally.add(pixels=sky.cloud.size, cloud=(sky.cloud > 0.3).sum(), shadow=(sky.shadow > 0.35).sum(), cirrus=(sky.cirrus > 0.25).sum())


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


def _sentinel2(job: Job) -> list[Made]:
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
                    folder / f"{stem}_{band}_{gsd:.0f}m.tif", grid.at_gsd(gsd), "uint8" if band == "SCL" else "uint16",
                    nodata=0, categorical=band == "SCL",
                )
                for band, gsd in gsds.items()
            }
            tiles.append(_Tile(name, grid, baseline, made, writers, np.zeros(12, dtype=np.int64)))
    tally = Tally()
    for row, col, look in job.looks():
        _tally_sky(tally, look)
        bands = sentinel2_block(look)
        gone = {gsd: _missing(scene, look, gsd) for gsd in (10.0, 20.0, 60.0)}
        for tile in tiles:
            _write_tile_block(tile, scene.grid, row, col, bands, gsds, gone)
    return [_close_tile(job, tile, tally) for tile in tiles]


def _missing(scene: Scene, look: Look, gsd: float) -> npt.NDArray[np.bool_]:
    grid = look.block.at_gsd(gsd)
    return scene.missing(*QuadraticMap.between(grid, look.land.grid.epsg).on_grid(grid))


def _write_tile_block(
    tile: _Tile, scene_grid: Grid, row: int, col: int, bands: dict[str, Array], gsds: dict[str, float],
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
        assets[name] = items.cog_asset(_href(job, writer.path), fields, title, ["data"], **place, **more)
    shares = {i: float(c) / tile.counts.sum() for i, c in enumerate(tile.counts)}
    path = folder / "MTD_MSIL2A.xml"
    path.write_text(_sentinel2_xml(tile), encoding="utf-8")
    assets["product-metadata"] = {
        "href": _href(job, path), "type": "application/xml", "title": "Product metadata", "roles": ["metadata"], **file_fields(path)
    }
    one = items.sentinel2_item(scene, tile.name, tile.grid, tile.baseline, tile.made, assets, shares, job.sun())
    return Made(one, job.truth(tile.grid, tally, offset_dn=tile.offset, baseline=tile.baseline))


def _sentinel2_xml(tile: _Tile) -> str:
    """The few lines of the product metadata that say how to turn numbers into reflectance."""
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(13)) if tile.offset else ""
    added = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>" if offsets else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">'
        f"<n1:General_Info><Product_Info><PROCESSING_BASELINE>{tile.baseline}</PROCESSING_BASELINE></Product_Info>"
        "<Product_Image_Characteristics><QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit=\"none\">10000</BOA_QUANTIFICATION_VALUE>"
        f"</QUANTIFICATION_VALUES_LIST>{added}</Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>\n"
    )


def _landsat(job: Job) -> list[Made]:
    scene, tally = job.scene, Tally()
    product = items.landsat_id(scene)
    made = scene.time + timedelta(days=9)
    stem = f"{product[:25]}_{made:%Y%m%d}_02_T1"
    rows = table("bands")["landsat"]
    files = {name: row["file"] for name, row in rows.items()} | {"lwir11": "ST_B10", "qa_pixel": "QA_PIXEL", "qa_radsat": "QA_RADSAT"}
    nodata = {"qa_pixel": 1, "qa_radsat": None}
    folder = job.files / "landsat-c2-l2" / product
    writers = {
        name: CogWriter(folder / f"{stem}_{file}.TIF", scene.grid, "uint16", nodata=nodata.get(name, 0), categorical=name.startswith("qa_"))
        for name, file in files.items()
    }
    for row, col, look in job.looks():
        _tally_sky(tally, look)
        for name, values in landsat_block(look).items():
            if name in rows:
                values = np.clip(np.round((values + 0.2) / 0.0000275), 7273, 65535)
            elif name == "lwir11":
                values = np.clip(np.round((values - 149.0) / 0.00341802), 293, 65535)
            writers[name].write(values.astype(np.uint16), row=row, col=col)
    assets = {name: _landsat_asset(job, name, writer, rows) for name, writer in writers.items()}
    one = items.landsat_item(scene, assets, tally.share("cloud"), job.sun())
    return [Made(one, job.truth(scene.grid, tally))]


def _landsat_asset(job: Job, name: str, writer: CogWriter, rows: dict[str, Any]) -> dict[str, Any]:
    """An asset with the fields of the real items."""
    raster: dict[str, Any] = {"data_type": "uint16", "spatial_resolution": 30}
    more: dict[str, Any] = {}
    if name in rows:
        label, centre, width = rows[name]["stac"]
        band = {"name": label, "center_wavelength": centre, "full_width_half_max": width, "common_name": name}
        more = {"eo:bands": [band]}
        raster |= {"scale": 2.75e-05, "offset": -0.2, "nodata": 0}
        title, roles = rows[name]["title"], ["data", "reflectance"]
    elif name == "lwir11":
        band = {"name": "TIRS_B10", "common_name": "lwir11", "center_wavelength": 10.9, "full_width_half_max": 0.59}
        more = {"eo:bands": [band], "gsd": 100}
        raster |= {"unit": "kelvin", "scale": 0.00341802, "offset": 149.0, "nodata": 0}
        title, roles = "Surface Temperature Band", ["data", "temperature"]
    elif name == "qa_pixel":
        raster |= {"unit": "bit index", "nodata": 1}
        title, roles = "Pixel Quality Assessment Band", ["cloud", "cloud-shadow", "snow-ice", "water-mask"]
    else:
        raster |= {"unit": "bit index"}
        title, roles = "Radiometric Saturation and Terrain Occlusion Quality Assessment Band", ["saturation"]
    return items.cog_asset(_href(job, writer.path), writer.close(), title, roles, **{"raster:bands": [raster]}, **more)


def _sentinel1(job: Job) -> list[Made]:
    scene, tally = job.scene, Tally()
    folder = job.files / "sentinel-1-rtc" / items.sentinel1_id(scene)
    writers = {p: CogWriter(folder / f"iw-{p}.rtc.tiff", scene.grid, "float32", nodata=SAR_NODATA) for p in ("vv", "vh")}
    for row, col, look in job.looks():
        for name, values in sentinel1_block(look).items():
            writers[name].write(values, row=row, col=col)
    words = {"vv": "VV: vertical transmit, vertical receive", "vh": "VH: vertical transmit, horizontal receive"}
    raster = [{"nodata": -32768, "data_type": "float32", "spatial_resolution": 10.0}]
    assets = {
        p: items.cog_asset(_href(job, w.path), w.close(), words[p], ["data"], **{"raster:bands": raster})
        for p, w in writers.items()
    }
    return [Made(items.sentinel1_item(scene, assets), job.truth(scene.grid, tally))]


def _enmap(job: Job) -> list[Made]:
    scene, tally = job.scene, Tally()
    product = items.enmap_id(scene)
    folder = job.files / "enmap-l2a" / product
    bands = bands_of("enmap")
    tags = [{"wavelength": f"{b.centre_nm}", "fwhm": f"{b.fwhm_nm}", "wavelength_units": "Nanometers"} for b in bands]
    cube = CogWriter(
        folder / f"{product}-SPECTRAL_IMAGE_COG.TIF", scene.grid, "int16", count=len(bands), nodata=ENMAP_NODATA, band_tags=tags
    )
    layers = {
        key: CogWriter(folder / f"{product}-QL_{file}_COG.TIF", scene.grid, "uint8", nodata=3 if key == "quality_classes" else None, categorical=True)
        for key, (file, _) in QUALITY_TITLES.items()
    }
    mask = CogWriter(folder / f"{product}-QL_PIXELMASK_COG.TIF", scene.grid, "uint8", count=len(bands), categorical=True)
    empty = [position - 1 for position in table("bands")["enmap"]["nodata_bands"]]
    for row, col, look in job.looks():
        _tally_sky(tally, look)
        image, quality = enmap_block(look)
        image[empty] = ENMAP_NODATA
        defects = (look.rng.random(image.shape, dtype=np.float32) < 2e-6).astype(np.uint8)
        cube.write(image, row=row, col=col)
        mask.write(defects, row=row, col=col)
        for key, layer in layers.items():
            layer.write(quality[key], row=row, col=col)
        tally.add(snow=quality["quality_snow"].sum(), haze=quality["quality_haze"].sum(), water=(quality["quality_classes"] == 2).sum())
    place = items.proj_fields(scene.grid) | items.crs_fields(scene.grid)
    assets = {"image": items.cog_asset(_href(job, cube.path), cube.close(), "Spectral Image", ["data"], **place, **{"eo:bands": items.enmap_bands()})}
    for key, layer in layers.items():
        note = [{"data_type": "uint8", "scale": 1.0, "offset": 0.0, "sampling": "area"} | ({"nodata": 3.0} if key == "quality_classes" else {})]
        assets[key] = items.cog_asset(_href(job, layer.path), layer.close(), QUALITY_TITLES[key][1], ["quality"], **place, **{"raster:bands": note})
    assets["defective_pixel_mask"] = items.cog_asset(_href(job, mask.path), mask.close(), "Defective pixel mask", ["quality", "data-mask"], **place)
    covers = {name: tally.share(name) for name in ("cloud", "snow", "haze", "cirrus", "shadow", "water")}
    path = folder / f"{product}-METADATA.XML"
    path.write_text(_enmap_xml(), encoding="utf-8")
    assets["metadata"] = {"href": _href(job, path), "type": "application/xml", "title": "Metadata", "roles": ["metadata"], **file_fields(path)}
    return [Made(items.enmap_item(scene, assets, covers, job.sun()), job.truth(scene.grid, tally))]


def _enmap_xml() -> str:
    """The band table of the product's metadata."""
    rows = "".join(
        f'<bandID number="{b.name}"><wavelengthCenterOfBand>{b.centre_nm}</wavelengthCenterOfBand><FWHMOfBand>{b.fwhm_nm}</FWHMOfBand>'
        "<GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for b in bands_of("enmap")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<level_X><specific><bandCharacterisation>' + rows
        + "</bandCharacterisation><backgroundValue>-32768</backgroundValue></specific></level_X>\n"
    )


def _href(job: Job, path: Path) -> str:
    """Relative to the folder of files."""
    return path.relative_to(job.files).as_posix()


DELIVERIES: dict[str, Callable[[Job], list[Made]]] = {
    "sentinel-2": _sentinel2, "landsat": _landsat, "sentinel-1": _sentinel1, "enmap": _enmap,
}
"""Sensor -> what writes its products."""
