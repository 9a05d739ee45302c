"""Every real item of our sensors becomes a scene or a stated refusal; every real pixel is read as rasterio reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from schemas.errors import AssetMissingError, SourceError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import Catalog, Modality
from schemas.scene import SceneItem
from sources.catalog import open_catalog
from sources.engine import ENGINES, open_engine
from sources.items import normalise_item
from sources.openers import PlainOpener
from sources.radiometry import dark_pixel_offset
from sources.scenes import scene_bands
from sources.sensors import to_scene_item

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
EARTH = (-180.0, -90.0, 180.0, 90.0)
BANDS_20M = ("B05", "B06", "B07", "B8A", "B11", "B12")
LOCAL: dict[str, tuple[str, tuple[str, ...], int, str, str, str]] = {
    # collection: sensor, bands asked for, items, unit, mask, first words of the reason
    "sentinel-2-l2a": ("sentinel-2-l2a", BANDS_20M, 23, "reflectance", "scl", "offset 0: raster:bands"),
    "sentinel-1-grd": ("sentinel-1-grd", (), 18, "dB", "none", "dB as raster:bands"),
    "landsat-8-c1-sr": ("landsat-c1", (), 15, "reflectance", "pixel_qa_c1", "scale and offset as the item"),
    "landsat-8-c2-st": ("landsat-c2-l2-st", (), 6, "K", "qa_pixel_c2", "scale and offset as the item"),
    "terramesh-s2-l2a": ("sentinel-2-l2a", (), 3, "reflectance", "none", "offset"),
    "terramesh-s2-l1c": ("sentinel-2-l1c", (), 3, "reflectance", "none", "offset"),
    "terramesh-s1-rtc": ("sentinel-1-rtc", (), 3, "dB", "none", "dB as raster:bands"),
    "terramesh-dem": ("dem", (), 3, "m", "none", "scale and offset of the product's document"),
    "terramesh-lulc": ("landcover", (), 3, "class", "none", "class codes"),
    "bigearthnet-s2": ("sentinel-2-l2a", (), 3, "reflectance", "none", "offset 0: raster:bands"),
    "bigearthnet-s1": ("sentinel-1-grd", (), 3, "dB", "none", "dB as raster:bands"),
    "enmap-l2a": ("enmap-l2a", (), 1, "reflectance", "none", "scale and offset as the item"),
    "dem-20m": ("dem", (), 2, "m", "none", "scale and offset of the product's document"),
}


def scenes(realdata: Path, collection: str) -> list[SceneItem]:
    sensor, bands, *_ = LOCAL[collection]
    modality = Modality(sensor=sensor, catalog="real", collection=collection, bands=bands)
    catalog = open_catalog(Catalog(kind="static", href="x"), str(realdata / "catalog" / "catalog.json"))
    items = catalog.search(collection, EARTH, datetime(2010, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    return [to_scene_item(item, "m", modality, "real") for item in items]


@pytest.mark.parametrize("collection", LOCAL)
def test_every_local_item_is_a_scene(realdata: Path, collection: str) -> None:
    sensor, _, count, unit, mask, why = LOCAL[collection]
    found = scenes(realdata, collection)
    assert len(found) == count
    for scene in found:
        assert scene.sensor == sensor
        assert scene.mask_kind == mask
        assert {ref.unit for ref in scene.refs} == {unit}
        assert scene.radiometry.startswith(why)
        assert len(scene.content_hash) == 64
        assert len(scene_bands(scene)) == len(scene.refs)
    assert [s.datetime_utc for s in found] == sorted(s.datetime_utc for s in found)


@pytest.mark.parametrize(
    ("sensor", "band", "older"),
    [("landsat-c2-l2-sr", "red", "qa_pixel_c2_tm"), ("landsat-c2-l2-st", "lwir11", "qa_pixel_c2")],
)
def test_bits_of_saturation_are_those_of_the_instrument(realdata: Path, sensor: str, band: str, older: str) -> None:
    path = realdata / "stac-items" / "stactools" / "landsat-c2-l2.items.json"
    modality = Modality(sensor=sensor, catalog="c", collection="landsat-c2-l2", bands=(band,))
    kinds = set()
    for item in map(normalise_item, json.loads(path.read_text())["features"]):
        kinds.add((item["id"][:4], to_scene_item(item, "m", modality, "c").mask_kind))
    assert kinds == {("LC08", "qa_pixel_c2"), ("LE07", older), ("LT05", older)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("collection", LOCAL)
def test_every_local_pixel_is_read_bit_for_bit(realdata: Path, collection: str, engine: str) -> None:
    scene = scenes(realdata, collection)[0]
    groups: dict[tuple[GeoRef, str], list[Any]] = {}
    for ref in (*scene.refs, *scene.masks):
        groups.setdefault((ref.georef, ref.dtype), []).append(ref)
    for (georef, dtype), refs in groups.items():
        rows, columns = georef.shape_yx
        x0, y0 = georef.x0 + 3 * georef.pixel_size, georef.y0 - 2 * georef.pixel_size
        target = GeoRef(georef.epsg, x0, y0, georef.pixel_size, (rows - 5, columns - 4))
        pixels = open_engine(engine).read(refs[:14], target, "bilinear", PlainOpener())
        assert pixels.dtype == np.dtype(dtype)
        for layer, ref in zip(pixels, refs, strict=False):
            with rasterio.open(ref.href) as file:
                whole = file.read(ref.band_index)
            np.testing.assert_array_equal(layer, whole[2 : rows - 3, 3 : columns - 1])


@pytest.mark.parametrize("collection", ["terramesh-s2-l2a", "terramesh-s2-l1c"])
def test_the_offset_of_every_terramesh_patch_agrees_with_its_pixels(realdata: Path, collection: str) -> None:
    decided = {}
    for scene in scenes(realdata, collection):
        pixels = open_engine("direct").read(scene.refs, scene.refs[0].georef, "nearest", PlainOpener())
        measured = dark_pixel_offset(pixels, [ref.band for ref in scene.refs])
        decided[scene.item_id.split("_", 1)[1]] = (round(scene.refs[0].offset / scene.refs[0].scale), measured)
    assert decided == {
        "433D_629L_3_1": (-1000, -1000),
        "282D_485L_3_3": (0, 0) if collection.endswith("l2a") else (-1000, -1000),
        "637U_59R_1_3": (0, 0),
    }


def test_a_site_without_10_m_bands_says_which_are_missing(realdata: Path) -> None:
    catalog = open_catalog(Catalog(kind="static", href="x"), str(realdata / "catalog"))
    modality = Modality(
        sensor="sentinel-2-l2a", catalog="real", collection="sentinel-2-l2a", bands=("B05", "B04", "B03")
    )
    item = catalog.search("sentinel-2-l2a", (3.37, 51.17, 3.39, 51.19))[0]
    with pytest.raises(AssetMissingError, match=r"no asset for B04, B03; it has B05"):
        to_scene_item(item, "s2", modality, "real")


def test_enmap_keeps_the_files_order_and_names_bad_bands(realdata: Path) -> None:
    (scene,) = scenes(realdata, "enmap-l2a")
    centres = [band.centre_nm or 0.0 for band in scene_bands(scene)]
    assert len(centres) == 224
    assert (centres[90], centres[91]) == (993.083, 902.257)
    assert dict(scene.extra)["bad_bands"].split() == [f"band_{i}" for i in range(130, 136)]
    pixels = open_engine("direct").read(scene.refs[128:136], scene.refs[0].georef, "nearest", PlainOpener())
    assert [(layer == -32768).all() for layer in pixels] == [False] + [True] * 6 + [False]


def test_enmap_bands_are_asked_for_by_wavelength_and_by_the_published_selection(realdata: Path) -> None:
    catalog = open_catalog(Catalog(kind="static", href="x"), str(realdata / "catalog"))
    (item,) = catalog.search("enmap-l2a", EARTH)
    modality = Modality(sensor="enmap-l2a", catalog="real", collection="enmap-l2a", bands=("655nm", "band_003"))
    chosen = scene_bands(to_scene_item(item, "e", modality, "real"))
    assert [band.name for band in chosen][1] == "band_003"
    assert abs((chosen[0].centre_nm or 0) - 655) < 4
    whole = modality.model_copy(update={"bands": ("published-202",)})
    published = scene_bands(to_scene_item(item, "e", whole, "real"))
    assert len(published) == 202
    assert not {band.name for band in published} & {f"band_{i}" for i in range(130, 136)}


def test_enmap_bands_are_sorted_by_wavelength_where_the_recipe_says_so(realdata: Path) -> None:
    catalog = open_catalog(Catalog(kind="static", href="x"), str(realdata / "catalog"))
    (item,) = catalog.search("enmap-l2a", EARTH)
    modality = Modality(sensor="enmap-l2a", catalog="real", collection="enmap-l2a", bands_order="wavelength")
    scene = to_scene_item(item, "e", modality, "real")
    centres = [band.centre_nm or 0.0 for band in scene_bands(scene)]
    assert centres == sorted(centres)
    backwards = [ref.band_index for ref in scene.refs][80:100]
    assert backwards != sorted(backwards)
    assert {ref.band_index for ref in scene.refs} == set(range(1, 225))


PUBLIC: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    # file: sensor, bands, scenes, what the refusals say
    "planetary-computer/sentinel-2-l2a": ("sentinel-2-l2a", (), 10, ""),
    "planetary-computer/sentinel-1-rtc": ("sentinel-1-rtc", (), 3, ""),
    "planetary-computer/sentinel-1-grd": ("sentinel-1-grd", (), 0, "no asset for vv, vh"),
    "planetary-computer/landsat-c2-l2": ("landsat-c2-l2-sr", (), 8, ""),
    "planetary-computer/landsat-8-c2-l2": ("landsat-c2-l2-sr", (), 10, ""),
    "planetary-computer/cop-dem-glo-30": ("dem", (), 2, ""),
    "earth-search/sentinel-2-l2a": ("sentinel-2-l2a", (), 10, ""),
    "earth-search/sentinel-2-c1-l2a": ("sentinel-2-l2a", (), 4, ""),
    "earth-search/sentinel-2-l1c": ("sentinel-2-l1c", (), 3, ""),
    "earth-search/sentinel-s2-l2a-cogs": ("sentinel-2-l2a", (), 1, ""),
    "earth-search/sentinel-1-grd": ("sentinel-1-grd", (), 0, "no asset for vv, vh"),
    "earth-search/landsat-c2-l2": ("landsat-c2-l2-sr", (), 0, "it has none"),
    "dlr-eoc/ENMAP_HSI_L2A": ("enmap-l2a", (), 5, ""),
    "usgs-landsatlook/landsat-c2l2-sr": ("landsat-c2-l2-sr", ("blue", "red"), 3, "no proj:transform and no proj:shape"),
    "usgs-landsatlook/landsat-c2l2-st": ("landsat-c2-l2-st", (), 1, "no proj:transform and no proj:shape"),
    "cdse/sentinel-2-l2a": ("sentinel-2-l2a", (), 3, ""),
    "nasa-cmr/HLSL30.v1.5": ("hls", (), 0, "no proj:transform and no proj:shape"),
    "stactools/sentinel1-rtc-aws": ("sentinel-1-rtc", (), 1, ""),
    "stactools/landsat-c2-l2": ("landsat-c2-l2-sr", ("blue", "red"), 3, ""),
}


def public(realdata: Path, file: str) -> tuple[list[SceneItem], list[SourceError]]:
    sensor, bands, *_ = PUBLIC[file]
    modality = Modality(sensor=sensor, catalog="public", collection="x", bands=bands)
    found, refused = [], []
    document = json.loads((realdata / "stac-items" / f"{file}.items.json").read_text())
    for item in document["features"]:
        try:
            found.append(to_scene_item(normalise_item(item), "m", modality, "public"))
        except (UnsupportedItemError, AssetMissingError) as error:
            refused.append(error)
    return found, refused


@pytest.mark.parametrize("file", PUBLIC)
def test_every_public_item_is_a_scene_or_a_stated_refusal(realdata: Path, file: str) -> None:
    found, refused = public(realdata, file)
    *_, count, why = PUBLIC[file]
    assert len(found) == count
    assert all(why and why in error.what and error.what.startswith("item ") for error in refused)


def test_the_offset_of_public_sentinel_2_items_follows_provider_and_baseline(realdata: Path) -> None:
    for scene in public(realdata, "planetary-computer/sentinel-2-l2a")[0]:
        assert scene.refs[0].offset == (-0.1 if scene.baseline == "05.10" else 0.0)
    for scene in public(realdata, "earth-search/sentinel-2-l2a")[0]:
        assert scene.refs[0].offset == 0.0
        is_shifted = scene.baseline >= "05"
        assert ("already shifted" in scene.radiometry) == is_shifted
        assert ("raster:bands beside it says -0.1" in scene.radiometry) == is_shifted
    assert {s.refs[0].offset for s in public(realdata, "earth-search/sentinel-2-c1-l2a")[0]} == {-0.1}


def test_bands_are_mapped_by_name_and_wavelength_on_every_catalog(realdata: Path) -> None:
    scene = public(realdata, "earth-search/sentinel-2-l2a")[0][0]
    assert [(r.band, r.asset_key) for r in scene.refs][4:9] == [
        ("B05", "rededge1"), ("B06", "rededge2"), ("B07", "rededge3"), ("B08", "nir"), ("B8A", "nir08"),
    ]  # fmt: skip
    tm = public(realdata, "usgs-landsatlook/landsat-c2l2-sr")[0][0]
    assert [r.href.rsplit("_", 1)[1] for r in tm.refs] == ["B1.TIF", "B3.TIF"]


def test_zone_1_written_without_its_zero_is_read_by_the_footprint(realdata: Path) -> None:
    found = {s.item_id: s for s in public(realdata, "planetary-computer/landsat-8-c2-l2")[0]}
    assert found["LC08_L2SR_067091_20170615_02_T1"].refs[0].georef.epsg == 32601


def test_enmap_of_dlr_has_numbers_masks_and_the_products_own_sun(realdata: Path) -> None:
    scene = public(realdata, "dlr-eoc/ENMAP_HSI_L2A")[0][0]
    assert scene.cloud_cover == 0.0
    assert scene.orbit_state == "descending"
    assert scene.refs[0].georef.epsg == 32736
    assert [m.band for m in scene.masks][:3] == ["quality_classes", "quality_cloud", "quality_cloud_shadow"]
    assert scene.sun_azimuth_deg == pytest.approx(26.674, abs=1e-3)  # the item's view:sun_azimuth says 206.67
