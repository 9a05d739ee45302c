"""Landsat and EnMAP products: scenes of separate bands, and one cube of 224 with its quality layers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from . import items
from .cog import CogWriter, file_fields
from .delivery import Job, Made, Tally
from .imaging import enmap_block, landsat_block
from .spectra import bands_of, table

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


def deliver_landsat(job: Job) -> list[Made]:
    """All rasters of one Landsat scene."""
    scene, tally = job.scene, Tally()
    product = items.landsat_id(scene)
    made = scene.time + timedelta(days=9)
    stem = f"{product[:25]}_{made:%Y%m%d}_02_T1"
    rows = table("bands")["landsat"]
    files = {name: row["file"] for name, row in rows.items()} | {
        "lwir11": "ST_B10",
        "qa_pixel": "QA_PIXEL",
        "qa_radsat": "QA_RADSAT",
    }
    nodata = {"qa_pixel": 1, "qa_radsat": None}
    folder = job.files / "landsat-c2-l2" / product
    writers = {
        name: CogWriter(
            folder / f"{stem}_{file}.TIF",
            scene.grid,
            "uint16",
            nodata=nodata.get(name, 0),
            categorical=name.startswith("qa_"),
        )
        for name, file in files.items()
    }
    for row, col, look in job.looks():
        tally.add_sky(look)
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
    return items.cog_asset(job.href(writer.path), writer.close(), title, roles, **{"raster:bands": [raster]}, **more)


def deliver_enmap(job: Job) -> list[Made]:
    """Cube and quality layers of one EnMAP tile."""
    scene, tally = job.scene, Tally()
    product = items.enmap_id(scene)
    folder = job.files / "enmap-l2a" / product
    bands = bands_of("enmap")
    tags = [{"wavelength": f"{b.centre_nm}", "fwhm": f"{b.fwhm_nm}", "wavelength_units": "Nanometers"} for b in bands]
    cube = CogWriter(
        folder / f"{product}-SPECTRAL_IMAGE_COG.TIF",
        scene.grid,
        "int16",
        count=len(bands),
        nodata=ENMAP_NODATA,
        band_tags=tags,
    )
    layers = {
        key: CogWriter(
            folder / f"{product}-QL_{file}_COG.TIF",
            scene.grid,
            "uint8",
            nodata=3 if key == "quality_classes" else None,
            categorical=True,
        )
        for key, (file, _) in QUALITY_TITLES.items()
    }
    mask = CogWriter(
        folder / f"{product}-QL_PIXELMASK_COG.TIF", scene.grid, "uint8", count=len(bands), categorical=True
    )
    empty = [position - 1 for position in table("bands")["enmap"]["nodata_bands"]]
    for row, col, look in job.looks():
        tally.add_sky(look)
        image, quality = enmap_block(look)
        image[empty] = ENMAP_NODATA
        defects = (look.rng.random(image.shape, dtype=np.float32) < 2e-6).astype(np.uint8)
        cube.write(image, row=row, col=col)
        mask.write(defects, row=row, col=col)
        for key, layer in layers.items():
            layer.write(quality[key], row=row, col=col)
        tally.add(
            snow=quality["quality_snow"].sum(),
            haze=quality["quality_haze"].sum(),
            water=(quality["quality_classes"] == 2).sum(),
        )
    place = items.proj_fields(scene.grid) | items.crs_fields(scene.grid)
    assets = {
        "image": items.cog_asset(
            job.href(cube.path),
            cube.close(),
            "Spectral Image",
            ["data"],
            **place,
            **{"eo:bands": items.enmap_bands()},
        )
    }
    for key, layer in layers.items():
        note = [
            {"data_type": "uint8", "scale": 1.0, "offset": 0.0, "sampling": "area"}
            | ({"nodata": 3.0} if key == "quality_classes" else {})
        ]
        assets[key] = items.cog_asset(
            job.href(layer.path),
            layer.close(),
            QUALITY_TITLES[key][1],
            ["quality"],
            **place,
            **{"raster:bands": note},
        )
    assets["defective_pixel_mask"] = items.cog_asset(
        job.href(mask.path), mask.close(), "Defective pixel mask", ["quality", "data-mask"], **place
    )
    covers = {name: tally.share(name) for name in ("cloud", "snow", "haze", "cirrus", "shadow", "water")}
    path = folder / f"{product}-METADATA.XML"
    path.write_text(_enmap_xml(), encoding="utf-8")
    assets["metadata"] = {
        "href": job.href(path),
        "type": "application/xml",
        "title": "Metadata",
        "roles": ["metadata"],
        **file_fields(path),
    }
    return [Made(items.enmap_item(scene, assets, covers, job.sun()), job.truth(scene.grid, tally))]


def _enmap_xml() -> str:
    """The band table of the product's metadata."""
    rows = [
        f'<bandID number="{b.name}"><wavelengthCenterOfBand>{b.centre_nm}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{b.fwhm_nm}</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for b in bands_of("enmap")
    ]
    head = ['<?xml version="1.0" encoding="UTF-8"?>', "<level_X><specific><bandCharacterisation>"]
    tail = ["</bandCharacterisation><backgroundValue>-32768</backgroundValue></specific></level_X>"]
    return "\n".join(head + rows + tail) + "\n"
