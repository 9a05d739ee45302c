"""Items that say nothing of their lattice are placed by the headers of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject

from schemas.errors import AssetMissingError
from schemas.georef import GeoRef
from schemas.recipe import Modality
from sources.engine import open_engine
from sources.epsg import epsg_of
from sources.items import normalise_item
from sources.openers import PlainOpener
from sources.placing import placed_scene
from sources.sensors import to_scene_item


def write(path: Path, epsg: int, left: float, top: float, width: float, height: float, data: Any) -> None:
    profile = {"driver": "GTiff", "width": data.shape[1], "height": data.shape[0], "count": 1, "dtype": data.dtype}
    place = from_origin(left, top, width, height)
    with rasterio.open(path, "w", crs=f"EPSG:{epsg}", transform=place, **profile) as file:
        file.write(data, 1)


def hls(folder: Path) -> dict[str, Any]:
    """An item as NASA's CMR publishes it: keys and addresses, and nothing else."""
    for number, name in enumerate(("B02", "B04", "B05", "Fmask")):
        data = np.full((40, 30), 10 * number, "uint8" if name == "Fmask" else "int16")
        write(folder / f"HLS.L30.T33UUU.2021001T101113.v2.0.{name}.tif", 32633, 300000, 5800020, 30, 30, data)
    keys = ("B02", "B04", "B05", "Fmask")
    return {
        "stac_version": "1.0.0-rc.4",
        "type": "Feature",
        "id": "G1-LPCLOUD",
        "collection": "HLSL30.v2.0",
        "geometry": None,
        "bbox": [12.065, 52.30, 12.085, 52.32],
        "properties": {"datetime": "2021-01-01T10:11:13Z"},
        "assets": {k: {"href": str(folder / f"HLS.L30.T33UUU.2021001T101113.v2.0.{k}.tif")} for k in keys},
    }


def test_an_item_without_projection_is_placed_by_its_files(tmp_path: Path) -> None:
    modality = Modality(sensor="hls", catalog="c", collection="x", bands=("nir08", "blue"))
    item = normalise_item(hls(tmp_path))
    scene = placed_scene(item, "hls", modality, "c", PlainOpener())
    assert {ref.georef for ref in (*scene.refs, *scene.masks)} == {GeoRef(32633, 300000, 5800020, 30, (40, 30))}
    assert [(ref.band, ref.asset_key, ref.scale, ref.nodata) for ref in scene.refs] == [
        ("nir08", "B05", 0.0001, -9999),
        ("blue", "B02", 0.0001, -9999),
    ]
    assert (scene.mask_kind, scene.masks[0].asset_key) == ("fmask_hls", "Fmask")
    assert "proj:transform" not in item["assets"]["B05"]


HLS_WKT = (
    'PROJCS["UTM Zone {zone}, Northern Hemisphere",GEOGCS["Unknown datum based upon the WGS 84 ellipsoid",'
    'DATUM["Not specified (based on WGS 84 spheroid)",SPHEROID["WGS 84",6378137,{flat}]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",{middle}],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",{northing}],UNIT["metre",1]]'
)
"""As files of HLS say it, but for the numbers."""
WGS_84, GRS_80 = 298.257223563, 298.257222101


def test_a_zone_of_no_datum_on_the_ellipsoid_of_wgs_84_has_its_code(tmp_path: Path) -> None:
    def text(zone: int, northing: float = 0, flat: float = WGS_84, turn: float = 0) -> str:
        return HLS_WKT.format(zone=zone, middle=6 * zone - 183 + turn, northing=northing, flat=flat)

    zones = [text(13), text(1), text(60), text(33, 10_000_000)]
    assert [epsg_of(CRS.from_wkt(zone)) for zone in zones] == [32613, 32601, 32660, 32733]
    others = [text(13, turn=1), text(13, 5), text(13, flat=GRS_80)]
    assert [epsg_of(CRS.from_wkt(other)) for other in others] == [None] * 3
    item = normalise_item(hls(tmp_path))
    for asset in item["assets"].values():
        with rasterio.open(asset["href"], "r+") as file:
            file.crs = rasterio.CRS.from_wkt(text(33))
    modality = Modality(sensor="hls", catalog="c", collection="x", bands=("nir08",))
    (ref,) = placed_scene(item, "hls", modality, "c", PlainOpener()).refs
    assert ref.georef == GeoRef(32633, 300000, 5800020, 30, (40, 30))
    assert open_engine("direct").read([ref], ref.georef, "nearest", PlainOpener())[0].mean() == 20


def test_tiles_of_hls_of_one_pass_are_one_picture_whatever_minute_their_scene_began_in(tmp_path: Path) -> None:
    """Times of a real item of two scenes; its neighbour bears the second, in the next minute: two dates of one pass."""
    modality = Modality(sensor="hls", catalog="c", collection="x", bands=("blue",))
    item = hls(tmp_path)

    def datatake(time: str) -> str:
        here = normalise_item(item | {"properties": {"datetime": f"2021-01-14T{time}Z"}})
        return placed_scene(here, "hls", modality, "c", PlainOpener()).datatake

    assert datatake("22:18:46.319") == datatake("22:19:10.219") != datatake("23:09:10")
    assert "_L30_" in datatake("22:18:46.319")  # Sentinel-2 may pass in the same half hour


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    item = normalise_item(hls(tmp_path))
    item["assets"]["B05"]["href"] = str(tmp_path / "gone.tif")
    modality = Modality(sensor="hls", catalog="c", collection="x", bands=("nir08",))
    with pytest.raises(AssetMissingError, match=r"gone\.tif"):
        placed_scene(item, "hls", modality, "c", PlainOpener())


def test_the_same_number_is_another_band_in_the_other_product(tmp_path: Path) -> None:
    item = hls(tmp_path)
    text = {k: {"href": a["href"].replace("L30", "S30")} for k, a in item["assets"].items()}
    for asset in text.values():
        Path(asset["href"].replace("S30", "L30")).rename(asset["href"])
    item |= {"assets": text, "collection": "HLSS30.v2.0"}
    modality = Modality(sensor="hls", catalog="c", collection="x", bands=("nir08",))
    with pytest.raises(AssetMissingError, match="no asset for nir08"):
        placed_scene(normalise_item(item), "hls", modality, "c", PlainOpener())
    edge = modality.model_copy(update={"bands": ("rededge071",)})
    assert placed_scene(normalise_item(item), "hls", edge, "c", PlainOpener()).refs[0].asset_key == "B05"


def test_elevation_in_degrees_with_flat_pixels_is_warped_as_gdal_warps_it(tmp_path: Path) -> None:
    """Copernicus DEM beyond 50 degrees: pixels twice as wide as high, in degrees."""
    rows, columns = np.mgrid[0:300, 0:200]
    heights = (100 + 0.1 * rows + 0.3 * columns).astype("float32")
    path = tmp_path / "Copernicus_DSM_COG_10_N52_00_E013_00_DEM.tif"
    write(path, 4326, 13.0, 52.5, 1 / 1800, 1 / 3600, heights)
    raw = {
        "type": "Feature",
        "id": path.stem,
        "collection": "cop-dem-glo-30",
        "geometry": None,
        "bbox": [13.0, 52.4166, 13.1111, 52.5],
        "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326},
        "assets": {
            "data": {
                "href": str(path),
                "type": "image/tiff; application=geotiff",
                "proj:shape": [300, 200],
                "proj:transform": [1 / 1800, 0, 13.0, 0, -1 / 3600, 52.5],
            }
        },
    }
    modality = Modality(sensor="dem", catalog="c", collection="cop-dem-glo-30")
    scene = to_scene_item(normalise_item(raw), "dem", modality, "c")
    assert (scene.licence, scene.refs[0].unit) == ("copernicus-dem", "m")
    assert scene.refs[0].georef.bounds_xyxy == pytest.approx((13.0, 52.5 - 300 / 3600, 13.0 + 200 / 1800, 52.5))
    target = GeoRef(32633, 366000, 5816000, 30.0, (60, 50))
    found = open_engine("direct").read(scene.refs, target, "bilinear", PlainOpener())[0]
    expected = np.full(target.shape_yx, np.nan, "float32")
    reproject(
        heights,
        expected,
        src_transform=from_origin(13.0, 52.5, 1 / 1800, 1 / 3600),
        src_crs="EPSG:4326",
        dst_transform=from_origin(target.x0, target.y0, 30, 30),
        dst_crs="EPSG:32633",
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
        tolerance=0.0,
    )
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, atol=1e-3)
