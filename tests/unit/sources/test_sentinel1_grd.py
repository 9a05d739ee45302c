"""Sentinel-1 GRD: tables of a real annotation, and an image drawn around it whose truth is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from chips.register import APPROXIMATE
from schemas.errors import AssetMissingError, DecodeError, RecipeError, UnsupportedItemError
from schemas.recipe import Modality
from schemas.sensor import load_sensor
from sources.engine import engine_for
from sources.engine_ground_range import GroundRangeEngine
from sources.heights import to_ellipsoid
from sources.items import normalise_item
from sources.openers import PlainOpener
from sources.sensors import to_scene_item
from sources.sentinel1_grd import with_heights
from sources.sentinel1_grd_annotation import Vectors, parse_annotation, parse_calibration, parse_noise
from sources.sentinel1_grd_calibration import border_noise
from sources.sentinel1_grd_geocode import solve_range_doppler
from sources.tiff_header import parse_header
from tests.unit.sources.damage import spoil
from tests.unit.sources.grd_made_up import BACKGROUND, GRID, NAME, PRODUCT, Product, hill, make_product

OPENER = PlainOpener()


@pytest.fixture(scope="module")
def safe(realdata: Path) -> Path:
    return realdata / "s1-safe-metadata" / PRODUCT


@pytest.fixture(scope="module")
def product(safe: Path, tmp_path_factory: pytest.TempPathFactory) -> Product:
    return make_product(safe, tmp_path_factory.mktemp("grd"))


def read(product: Product, resampling: str = "bilinear", **needs: str) -> np.ndarray:
    found: np.ndarray = GroundRangeEngine().read([product.ref(**needs)], GRID, resampling, OPENER)[0]
    return found


def found_places(power: np.ndarray, count: int) -> np.ndarray:
    """Rows and columns of the brightest local maxima."""
    peaks = np.where((power == maximum_filter(power, 9)) & (power > 10 * BACKGROUND), power, 0.0)
    order = np.argsort(peaks.ravel())[::-1][:count]
    return np.stack(np.unravel_index(order, power.shape), axis=1)


def offsets(product: Product, power: np.ndarray) -> list[float]:
    """Pixels between each target and the nearest bright place."""
    places = found_places(power, 3 * len(product.targets))
    wanted = [((GRID.y0 - y) / 10 - 0.5, (x - GRID.x0) / 10 - 0.5) for x, y in product.targets]
    return [float(np.abs(places - np.array(place)).max(axis=1).min()) for place in wanted]


@pytest.mark.realdata
def test_the_products_own_geolocation_grid_comes_out(safe: Path) -> None:
    annotation = parse_annotation((safe / "annotation" / f"{NAME}.xml").read_bytes())
    assert annotation.shape_yx == (16705, 26102)
    assert len(annotation.tie_points) == 210
    points = np.array([(p.line, p.pixel, p.longitude, p.latitude, p.height_m) for p in annotation.tie_points]).T
    assert points[4].max() > 1800, "there is relief under it"
    lines, samples = solve_range_doppler(annotation, *points[2:])
    assert np.abs(lines - points[0]).max() < 0.2
    assert np.abs(samples - points[1]).max() < 0.6
    assert abs((samples - points[1]).mean()) < 0.05


@pytest.mark.realdata
def test_point_targets_lie_within_a_pixel_in_relief(product: Product) -> None:
    away = offsets(product, read(product, "nearest", **product.terrain()))
    assert max(away) <= 1.0


@pytest.mark.realdata
def test_tie_points_alone_are_wrong_on_the_hill(product: Product) -> None:
    away = offsets(product, read(product, "nearest"))
    assert max(away) > 20.0


@pytest.mark.realdata
def test_sigma0_is_unbiased_within_speckle(product: Product) -> None:
    power = read(product, **product.terrain())
    ground = power[(power < 10 * BACKGROUND) & (power > 0)].astype(np.float64)
    assert ground.size > 0.95 * power.size
    assert np.isfinite(power).all()
    bound = 4 * BACKGROUND / np.sqrt(4.4 * ground.size / 4)  # neighbours share samples
    assert abs(ground.mean() - BACKGROUND) < bound + 1e-4


@pytest.mark.realdata
def test_noise_left_in_raises_the_mean(product: Product) -> None:
    clean, noisy = read(product, **product.terrain()), read(product, **product.terrain(), denoise="no")
    ground = noisy < 10 * BACKGROUND
    assert 1.01 < noisy[ground].mean() / clean[ground].mean() < 1.1


@pytest.mark.realdata
def test_beta0_and_gamma0_use_their_own_tables(product: Product, safe: Path) -> None:
    document = product.calibration.read_bytes()
    tables = {q: parse_calibration(document, q) for q in ("sigma0", "beta0", "gamma0")}
    here = {q: table.on(slice(8000, 8001), slice(13_000, 13_001))[0, 0] for q, table in tables.items()}
    assert here["beta0"] == pytest.approx(473.9733)
    incidence = np.degrees(np.arcsin((here["beta0"] / here["sigma0"]) ** 2))
    annotation = parse_annotation(product.annotation.read_bytes())
    near = min(annotation.tie_points, key=lambda p: abs(p.line - 8000) + abs(p.pixel - 13_000))
    assert incidence == pytest.approx(near.incidence_deg, abs=0.3), "sigma0 = beta0 sin(incidence)"
    assert (here["sigma0"] / here["gamma0"]) ** 2 == pytest.approx(1 / np.cos(np.radians(incidence)), rel=1e-3)


@pytest.mark.realdata
def test_noise_of_either_format_is_the_same_power(product: Product) -> None:
    document = product.noise.read_bytes()
    new = parse_noise(document)
    assert len(new.in_azimuth) == 3
    flat = replace(new, in_azimuth=())
    text = re.sub(rb"(?s)<noiseAzimuthVectorList.*</noiseAzimuthVectorList>", b"", document)
    for word in (b"VectorList", b"Vector", b"Lut"):
        text = text.replace(b"noiseRange" + word, b"noise" + word)
    old = parse_noise(text)
    rows, columns = slice(5000, 5003), slice(8888, 8892)
    np.testing.assert_array_equal(old.on(rows, columns), flat.on(rows, columns))
    ratio = new.on(rows, columns) / flat.on(rows, columns)
    assert (np.abs(np.diff(ratio, axis=1)) > 1e-9).any(), "the factor changes at the border of the sub-swaths"


def test_a_table_is_bilinear_between_its_vectors() -> None:
    pixels = np.array([0.0, 4.0, 10.0])
    table = Vectors(np.array([0.0, 8.0]), (pixels, pixels), (pixels * 2, pixels * 2 + 8))
    np.testing.assert_allclose(table.on(slice(2, 5), slice(3, 5)), [[8, 10], [9, 11], [10, 12]])
    np.testing.assert_allclose(table.on(slice(9, 10), slice(3, 5)), [[14, 16]])


def test_border_noise_is_masked_from_the_edge_to_the_first_echo() -> None:
    dn = np.full((40, 60), 200, dtype=np.uint16)
    dn[:, :7] = 3
    dn[20, 30] = 3
    dn[-2:, :] = 0
    border = border_noise(dn, slice(0, 40), slice(0, 60), (40, 60), None)
    assert border[:, :7].all()
    assert border[-2:, :].all()
    assert not border[:-2, 7:].any()
    inner = border_noise(dn, slice(900, 940), slice(900, 960), (5000, 5000), None)
    assert not inner.any()


@pytest.mark.realdata
def test_an_image_of_another_size_than_its_annotation_is_refused(product: Product, tmp_path: Path) -> None:
    other = tmp_path / "annotation.xml"
    text = product.annotation.read_text().replace("<numberOfLines>16705<", "<numberOfLines>16700<")
    other.write_text(text)
    with pytest.raises(DecodeError, match="the annotation says"):
        read(product, **product.terrain(), annotation=str(other))


@pytest.mark.realdata
def test_a_damaged_block_is_no_echo(product: Product, tmp_path: Path) -> None:
    """One that GDAL alone takes, and says nothing."""
    image = tmp_path / "vv.tiff"
    image.write_bytes(product.image.read_bytes())
    data = image.read_bytes()
    header = parse_header(data, lambda at, length: data[at : at + length])
    spoil(image, *divmod(int(np.argmax(header.counts)), header.grid_yx[1]))
    with pytest.raises(DecodeError, match="checksum"):
        read(replace(product, image=image))


@pytest.mark.realdata
def test_outside_the_heights_nothing_is_made_up(product: Product) -> None:
    grid = replace(GRID, x0=GRID.x0 - 2000)
    power = GroundRangeEngine().read([product.ref(**product.terrain())], grid, "bilinear", OPENER)[0]
    assert (power[:, :100] == -32768).all()
    assert (power[:, 210:] >= 0).all()


def test_a_geoid_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(RecipeError, match=r"us_nga_egm08_25\.tif"):
        to_ellipsoid(np.zeros(GRID.shape_yx), GRID, "egm2008")


def test_a_geoids_grid_is_added(tmp_path: Path) -> None:
    import rasterio

    path = tmp_path / "geoid.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=1, height=20, width=30, crs="EPSG:4979",
        transform=rasterio.Affine(0.2, 0, 10.0, 0, -0.2, 44.0),
    ) as file:  # fmt: skip
        file.write(np.full((20, 30), 48.5, np.float32), 1)
        file.update_tags(1, DESCRIPTION="geoid_undulation", UNITTYPE="metre")
        file.update_tags(TYPE="VERTICAL_OFFSET_GEOGRAPHIC_TO_VERTICAL", AREA_OR_POINT="Point")
        file.descriptions = ("geoid_undulation",)
    heights = hill(*np.meshgrid(GRID.x_centres(), GRID.y_centres()))
    heights[0, 0] = np.nan
    moved = to_ellipsoid(heights, GRID, str(path))
    assert np.isnan(moved[0, 0])
    np.testing.assert_allclose(np.nan_to_num(moved - heights, nan=48.5), 48.5, atol=1e-3)


def items(realdata: Path, name: str) -> list[dict[str, Any]]:
    text = (realdata / "stac-items" / f"{name}.items.json").read_text()
    return [normalise_item(item, "https://example.org/items/x.json") for item in json.loads(text)["features"]]


def modality(**more: Any) -> Modality:
    found = {"sensor": "sentinel-1-grd", "catalog": "c", "collection": "sentinel-1-grd", **more}
    return Modality.model_validate(found)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["planetary-computer/sentinel-1-grd", "earth-search/sentinel-1-grd", "stactools/sentinel1-grd"]
)
def test_real_items_name_the_documents_of_each_polarisation(realdata: Path, name: str) -> None:
    for item in items(realdata, name):
        keys = [band.name for band in load_sensor("sentinel-1-grd").bands if band.name in item["assets"]]
        assert keys
        wanted = modality(bands=[keys[0]], ground_range={"quantity": "gamma0"})
        scene = to_scene_item(item, "s1", wanted, "c")
        (ref,) = scene.refs
        needs = dict(ref.needs)
        stem = ref.href.rsplit("/", 1)[-1].removesuffix(".tiff")
        assert needs["annotation"].endswith(f"/annotation/{stem}.xml"), "never the annotation of interference"
        assert needs["calibration"].endswith(f"/annotation/calibration/calibration-{stem}.xml")
        assert needs["noise"].endswith(f"/annotation/calibration/noise-{stem}.xml")
        assert (needs["quantity"], needs["denoise"]) == ("gamma0", "yes")
        assert (ref.dtype, ref.nodata, ref.unit) == ("float32", -32768.0, "linear")
        assert ref.georef.x0 % 10 == ref.georef.y0 % 10 == 0
        assert dict(scene.extra)["geocoding"] == APPROXIMATE
        assert "approximate" in scene.radiometry
        placed = with_heights(scene, {"geoid": "egm2008", "missing_heights": "nodata"}, [("https://h/dem.tif", "a")])
        assert "range-Doppler" in placed.radiometry
        assert "geocoding" not in dict(placed.extra)
        assert placed.content_hash != scene.content_hash
        assert isinstance(engine_for([placed], "direct"), GroundRangeEngine)


@pytest.mark.realdata
def test_amplitude_without_a_rule_is_refused(realdata: Path) -> None:
    item = items(realdata, "earth-search/sentinel-1-grd")[0]
    with pytest.raises(UnsupportedItemError, match="ground_range"):
        to_scene_item(item, "s1", modality(bands=["hh"]), "c")


@pytest.mark.realdata
def test_a_missing_calibration_is_named(realdata: Path) -> None:
    item = items(realdata, "earth-search/sentinel-1-grd")[0]
    del item["assets"]["schema-calibration-hh"]
    item["assets"]["hh"]["href"] = "https://example.org/plain/hh.tiff"
    item["assets"]["schema-product-hh"]["href"] = "https://example.org/plain/hh.xml"
    with pytest.raises(AssetMissingError, match="schema-calibration-hh"):
        to_scene_item(item, "s1", modality(bands=["hh"], ground_range={}), "c")
