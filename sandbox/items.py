"""STAC items and collections as the providers write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import shapely
from shapely.geometry import Polygon

from .clouds import Sun
from .cog import COG_TYPE
from .place import Grid, outline_in, project
from .scenes import TRACK_NORMAL, Scene
from .spectra import bands_of, table

Item = dict[str, Any]

EXT = "https://stac-extensions.github.io"
LICENCES = {
    "sentinel-2-l2a": ("proprietary", "contains modified Copernicus Sentinel data (simulated)"),
    "sentinel-1-rtc": ("proprietary", "contains modified Copernicus Sentinel data (simulated)"),
    "landsat-c2-l2": ("proprietary", "Landsat image courtesy of the U.S. Geological Survey (simulated)"),
    "enmap-l2a": ("proprietary", "EnMAP data (c) DLR (simulated)"),
    "esa-worldcover": ("CC-BY-4.0", "(c) ESA WorldCover project (simulated)"),
    "corine-clc2018": ("proprietary", "(c) European Union, Copernicus Land Monitoring Service 2018, EEA (simulated)"),
    "osm-extract": ("ODbL-1.0", "(c) OpenStreetMap contributors (simulated)"),
}

SIMULATED = {
    "license": "CC0-1.0",
    "attribution": "Simulated by the Terraweft sandbox, no real measurement",
    "providers": [{"name": "Terraweft sandbox (simulated)", "roles": ["producer", "licensor"]}],
}
"""What every item says of itself, so that nobody credits or blames a real provider."""


def utc(moment: datetime) -> str:
    """RFC 3339 with Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def footprint(grid: Grid, scene: Scene | None = None) -> Polygon:
    """Longitude/latitude outline of a raster; without the missing part where the scene is a partial datatake."""
    ring = Polygon(np.stack(outline_in(grid.bounds_xyxy, grid.epsg, 4326, points=5), axis=1)).normalize()
    if scene is None or not scene.row.get("partial"):
        return ring
    region = scene.region
    cx, cy = (float(v) for v in project(4326, region.truth_epsg, *region.centre_lonlat))
    edge = (0.5 - float(scene.row["partial"])) * region.size_m[0]
    nx, ny = TRACK_NORMAL
    far = 4 * max(region.size_m)
    base = (cx + nx * edge, cy + ny * edge)
    corners = [(base[0] - ny * far, base[1] + nx * far), (base[0] + ny * far, base[1] - nx * far)]
    corners += [
        (corners[1][0] - nx * far, corners[1][1] - ny * far),
        (corners[0][0] - nx * far, corners[0][1] - ny * far),
    ]
    kept = Polygon(np.stack(project(region.truth_epsg, 4326, *np.array(corners).T), axis=1))
    cut = ring.intersection(kept)
    return cut if cut.geom_type == "Polygon" and not cut.is_empty else ring


def item(
    item_id: str,
    collection: str,
    shape: Polygon,
    properties: Mapping[str, Any],
    assets: Mapping[str, Any],
    extensions: tuple[str, ...],
) -> Item:
    """A STAC item of version 1.0.0, the version that these providers serve."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [f"{EXT}/{name}/schema.json" for name in extensions],
        "id": item_id,
        "collection": collection,
        "geometry": shapely.geometry.mapping(shape),
        "bbox": [round(v, 8) for v in shape.bounds],
        "properties": {**SIMULATED, **properties},
        "assets": dict(assets),
        "links": [],
    }


def proj_fields(grid: Grid) -> dict[str, Any]:
    """Projection fields of an asset or an item."""
    return {
        "proj:bbox": list(grid.bounds_xyxy),
        "proj:shape": list(grid.shape_yx),
        "proj:transform": grid.transform,
    }


def crs_fields(grid: Grid) -> dict[str, Any]:
    """Both spellings of the CRS."""
    return {"proj:epsg": grid.epsg, "proj:code": f"EPSG:{grid.epsg}"}


def cog_asset(href: str, fields: Mapping[str, Any], title: str, roles: list[str], **more: Any) -> dict[str, Any]:
    """An asset that is a COG."""
    return {"href": href, "type": COG_TYPE, "title": title, "roles": roles, **more, **fields}


def sentinel2_item(
    scene: Scene,
    tile: str,
    grid: Grid,
    baseline: str,
    made: datetime,
    assets: Mapping[str, Any],
    shares: Mapping[int, float],
    sun: Sun,
) -> Item:
    """Item of a Sentinel-2 tile, in the form of Planetary Computer."""
    row = scene.row
    name = f"S2{row['platform']}_MSIL2A_{scene.time:%Y%m%dT%H%M%S}"
    number = baseline.replace(".", "")
    tail = f"R{row['orbit']:03d}_T{tile}_{made:%Y%m%dT%H%M%S}"
    valid = max(1e-9, 1.0 - shares.get(0, 0.0))
    percent = {k: round(100.0 * shares.get(k, 0.0) / valid, 6) for k in range(1, 12)}
    datatake = f"GS2{row['platform']}_{scene.time:%Y%m%dT%H%M%S}_{row['absolute']:06d}_N{baseline}"
    properties = {
        "datetime": utc(scene.time),
        "platform": f"Sentinel-2{row['platform']}",
        **crs_fields(grid),
        "instruments": ["msi"],
        "s2:mgrs_tile": tile,
        "constellation": "Sentinel 2",
        "eo:cloud_cover": round(percent[8] + percent[9] + percent[10], 6),
        "s2:datatake_id": datatake,
        "s2:product_uri": f"{name}_N{number}_{tail}.SAFE",
        "s2:product_type": "S2MSI2A",
        "sat:orbit_state": "descending",
        "s2:datatake_type": "INS-NOBS",
        "s2:generation_time": utc(made),
        "sat:relative_orbit": row["orbit"],
        "s2:processing_baseline": baseline,
        "s2:mean_solar_zenith": round(90 - sun.elevation_deg, 6),
        "s2:mean_solar_azimuth": round(sun.azimuth_deg, 6),
        "s2:nodata_pixel_percentage": round(100.0 * shares.get(0, 0.0), 6),
        "s2:saturated_defective_pixel_percentage": percent[1],
        "s2:dark_features_percentage": percent[2],
        "s2:cloud_shadow_percentage": percent[3],
        "s2:vegetation_percentage": percent[4],
        "s2:not_vegetated_percentage": percent[5],
        "s2:water_percentage": percent[6],
        "s2:unclassified_percentage": percent[7],
        "s2:medium_proba_clouds_percentage": percent[8],
        "s2:high_proba_clouds_percentage": percent[9],
        "s2:thin_cirrus_percentage": percent[10],
        "s2:snow_ice_percentage": percent[11],
    }
    extensions = ("eo/v1.0.0", "sat/v1.0.0", "projection/v1.1.0", "file/v2.1.0")
    return item(f"{name}_{tail}", "sentinel-2-l2a", footprint(grid, scene), properties, assets, extensions)


def sentinel2_band(name: str) -> dict[str, Any]:
    """Title and ``eo:bands`` of a Sentinel-2 asset."""
    row = table("bands")["sentinel-2"][name]
    common, centre, width = row["stac"]
    text = row["title"]
    band = {"name": name, "description": text, "center_wavelength": centre, "full_width_half_max": width}
    if common:
        band["common_name"] = common
    return {"title": f"{text} - {row['gsd_m']}m", "eo:bands": [band], "gsd": float(row["gsd_m"])}


def landsat_item(scene: Scene, assets: Mapping[str, Any], cloud: float, sun: Sun) -> Item:
    """Item of a Landsat scene, in the form of Planetary Computer."""
    row = scene.row
    item_id = landsat_id(scene)
    properties = {
        "gsd": 30,
        "created": utc(scene.time + timedelta(days=9)),
        "sci:doi": "10.5066/P9OGBGM6",
        "datetime": utc(scene.time),
        "platform": f"landsat-{row['platform']}",
        **crs_fields(scene.grid),
        "proj:shape": list(scene.grid.shape_yx),
        "proj:transform": scene.grid.transform,
        "description": "Landsat Collection 2 Level-2",
        "instruments": ["oli", "tirs"],
        "eo:cloud_cover": round(100 * cloud, 2),
        "view:off_nadir": 0,
        "view:sun_azimuth": round(sun.azimuth_deg, 6),
        "view:sun_elevation": round(sun.elevation_deg, 6),
        "landsat:wrs_path": f"{row['path']:03d}",
        "landsat:wrs_row": f"{row['row']:03d}",
        "landsat:wrs_type": "2",
        "landsat:scene_id": f"LC{row['platform']}{row['path']:03d}{row['row']:03d}{scene.time:%Y%j}LGN00",
        "landsat:correction": "L2SP",
        "landsat:cloud_cover_land": round(100 * cloud, 2),
        "landsat:collection_number": "02",
        "landsat:collection_category": "T1",
    }
    extensions = ("raster/v1.0.0", "eo/v1.0.0", "view/v1.0.0", "projection/v1.1.0", "file/v2.1.0")
    return item(item_id, "landsat-c2-l2", footprint(scene.grid), properties, assets, extensions)


def landsat_id(scene: Scene) -> str:
    """Product identifier without the processing date, as Planetary Computer names items."""
    row = scene.row
    return f"LC0{row['platform']}_L2SP_{row['path']:03d}{row['row']:03d}_{scene.time:%Y%m%d}_02_T1"


def sentinel1_id(scene: Scene) -> str:
    """Item id of an RTC scene."""
    row, end = scene.row, scene.time + timedelta(seconds=25)
    times = f"{scene.time:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
    return f"S1A_IW_GRDH_1SDV_{times}_{row['absolute']:06d}_{row['datatake']}_rtc"


def sentinel1_item(scene: Scene, assets: Mapping[str, Any]) -> Item:
    """Item of a Sentinel-1 RTC scene, in the form of Planetary Computer."""
    row, end = scene.row, scene.time + timedelta(seconds=25)
    middle = scene.time + (end - scene.time) / 2
    properties = {
        "datetime": utc(middle),
        "platform": "SENTINEL-1A",
        **proj_fields(scene.grid),
        **crs_fields(scene.grid),
        "end_datetime": f"{end:%Y-%m-%d %H:%M:%S}.219437+00:00",
        "start_datetime": f"{scene.time:%Y-%m-%d %H:%M:%S}.220673+00:00",
        "constellation": "Sentinel-1",
        "s1:resolution": "high",
        "s1:shape": [scene.grid.width, scene.grid.height],
        "s1:datatake_id": str(int(row["datatake"], 16)),
        "s1:orbit_source": "RESORB",
        "s1:processing_level": "1",
        "s1:product_timeliness": "Fast-24h",
        "sar:looks_range": 5,
        "sar:looks_azimuth": 1,
        "sar:looks_equivalent_number": 4.4,
        "sar:product_type": "GRD",
        "sar:polarizations": ["VV", "VH"],
        "sar:frequency_band": "C",
        "sar:center_frequency": 5.405,
        "sar:instrument_mode": "IW",
        "sar:resolution_range": 20,
        "sar:resolution_azimuth": 22,
        "sar:pixel_spacing_range": 10,
        "sar:pixel_spacing_azimuth": 10,
        "sar:observation_direction": "right",
        "sat:orbit_state": row["pass"],
        "sat:absolute_orbit": row["absolute"],
        "sat:relative_orbit": row["orbit"],
        "sat:platform_international_designator": "2014-016A",
    }
    extensions = ("sar/v1.0.0", "sat/v1.0.0", "projection/v1.1.0", "file/v2.1.0", "raster/v1.1.0")
    return item(sentinel1_id(scene), "sentinel-1-rtc", footprint(scene.grid), properties, assets, extensions)


def enmap_id(scene: Scene) -> str:
    """Product identifier of an EnMAP tile."""
    row = scene.row
    taken = f"DT{row['datatake']:010d}_{scene.time:%Y%m%dT%H%M%S}Z_{row['tile']:03d}"
    return f"ENMAP01-____L2A-{taken}_V010402_20240115T094512Z"


def enmap_item(scene: Scene, assets: Mapping[str, Any], covers: Mapping[str, float], sun: Sun) -> Item:
    """Item of an EnMAP tile, in the form of DLR's catalog: numbers are strings, ``proj:epsg`` is null."""
    row, end = scene.row, scene.time + timedelta(seconds=4.4)
    properties = {
        "version": "01.04.02",
        "created": "2024-01-15T10:10:34.815+00:00",
        "updated": "2024-01-15T10:10:34.815+00:00",
        "datetime": f"{scene.time:%Y-%m-%dT%H:%M:%S}Z",
        "start_datetime": f"{scene.time:%Y-%m-%dT%H:%M:%S}.211167Z",
        "end_datetime": f"{end:%Y-%m-%dT%H:%M:%S}.658941Z",
        "platform": "enmap",
        "proj:epsg": None,
        "sat:relative_orbit": str(row["orbit"]),
        "sat:orbit_state": "DESCENDING",
        "eo:cloud_cover": str(round(100 * covers["cloud"])),
        "eo:snow_cover": str(round(100 * covers["snow"])),
        "view:sun_azimuth": round(sun.azimuth_deg, 6),
        "view:sun_elevation": round(sun.elevation_deg, 6),
        "processing:facility": "NZ",
        "processing:level": "L2A",
        "eop:sensorType": "OPTICAL",
        "enmap:nodata": "-32768",
        "enmap:datatakeID": f"{row['datatake']:010d}",
        "enmap:tileID": f"{row['tile']:02d}",
        "enmap:haze_cover": str(round(100 * covers["haze"])),
        "enmap:cirrus_cover": str(round(100 * covers["cirrus"])),
        "enmap:cloud_shadow": str(round(100 * covers["shadow"])),
        "enmap:water_cover": str(round(100 * covers["water"])),
        "enmap:overallQuality": "0",
        "enmap:sunElevationAngle": f"{sun.elevation_deg:.6f}",
        "enmap:sunAzimuthAngle": f"{sun.azimuth_deg:.6f}",
        "enmap:acrossOffNadirAngle": "-1.44623917683",
        "enmap:alongOffNadirAngle": "-0.152092114807",
        "enmap:swirNumberChannelsMissing": "0",
        "enmap:vnirNumberChannelsMissing": "0",
        "eo:instrument": "HSI",
    }
    extensions = ("eo/v1.1.0", "view/v1.0.0", "projection/v1.0.0", "processing/v1.0.0", "sat/v1.0.0", "file/v2.1.0")
    return item(enmap_id(scene), "enmap-l2a", footprint(scene.grid), properties, assets, extensions)


def enmap_bands() -> list[dict[str, Any]]:
    """``eo:bands`` of the image: integer names and wavelengths in nanometres, as DLR writes them."""
    return [
        {
            "name": int(b.name),
            "center_wavelength": b.centre_nm,
            "full_width_half_max": b.fwhm_nm,
            "enmap:gain_of_band": 0.0001,
            "enmap:offset_of_band": 0,
        }
        for b in bands_of("enmap")
    ]


def collection(collection_id: str, title: str, items: list[Item]) -> dict[str, Any]:
    """The collection document that fits its items."""
    licence, credit = LICENCES[collection_id]
    boxes = np.array([i["bbox"] for i in items])
    starts = sorted(i["properties"].get("start_datetime") or i["properties"]["datetime"] for i in items)
    ends = sorted(i["properties"].get("end_datetime") or i["properties"]["datetime"] for i in items)
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    keys = sorted({key for i in items for key in i["assets"]})
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": collection_id,
        "title": title,
        "description": f"{title}: simulated products of the sandbox, in the form that the provider ships.",
        "license": licence,
        "providers": [{"name": "Terraweft sandbox", "roles": ["producer", "host"], "description": credit}],
        "keywords": ["simulated"],
        "extent": {
            "spatial": {"bbox": [[float(west), float(south), float(east), float(north)]]},
            "temporal": {"interval": [[_rfc3339(starts[0]), _rfc3339(ends[-1])]]},
        },
        "summaries": {"sandbox:asset_keys": keys},
        "links": [],
    }


def _rfc3339(text: str) -> str:
    """The moment in the spelling that collections want (Sentinel-1 items write blanks and offsets)."""
    return utc(datetime.fromisoformat(text.replace(" ", "T")))
