from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chips.render import INVALID_RGB, VIEWS, fit, pick, possible, render, render_labels, to_png
from schemas.chip import Valid
from schemas.legend import Legend, LegendClass

SHAPE = (3, 4)


def flat(value: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.full(shape, value, dtype=np.float32)


def legend() -> Legend:
    classes = (
        LegendClass(code=10, name="Trees", colour="#006400"),
        LegendClass(code=80, name="Water", colour="#0064c8"),
    )
    return Legend(name="two", title="Two", version="1", nodata=(0,), classes=classes, source="test")


def test_true_colour_puts_bands_into_their_channels() -> None:
    rgb = render("true_colour", {"red": flat(0.3), "green": flat(0.0), "blue": flat(0.15)})
    assert rgb.shape == (3, 4, 3)
    assert rgb.dtype == np.uint8
    assert rgb[0, 0].tolist() == [255, 0, round(255 * 0.5 ** (1 / 1.5))]


def test_the_same_reflectance_has_the_same_colour_in_every_chip() -> None:
    rng = np.random.default_rng(1)
    dark, bright = rng.uniform(0, 0.1, SHAPE), rng.uniform(0.2, 0.9, SHAPE)
    dark[1, 2] = bright[1, 2] = 0.12
    one, two = (render("true_colour", dict.fromkeys(("red", "green", "blue"), x)) for x in (dark, bright))
    assert one[1, 2].tolist() == two[1, 2].tolist()


def test_missing_pixels_are_neutral_grey_in_every_view() -> None:
    rng = np.random.default_rng(2)
    names = ("blue", "green", "red", "nir", "swir16", "swir22", "vv", "vh", "elevation")
    bands = {name: rng.uniform(0.01, 0.4, SHAPE).astype(np.float32) for name in names}
    for name in names:
        bands[name][0, 3] = np.nan
    valid = np.full(SHAPE, Valid.CLEAR, dtype=np.uint8)
    valid[2, 0], valid[2, 1], valid[1, 1] = Valid.NODATA, Valid.DEFECTIVE, Valid.CLOUD
    for view in VIEWS:
        rgb = render(view, bands, valid)
        grey = {(y, x) for y, x in np.argwhere((rgb == INVALID_RGB).all(axis=-1)).tolist()}
        assert {(0, 3), (2, 0), (2, 1)} <= grey, view
        assert (1, 1) not in grey, f"{view}: a cloud is data"
        boolean = render(view, bands, ~np.isin(valid, (0, 7)))
        assert np.array_equal(rgb, boolean)


def test_infinite_values_are_missing_too() -> None:
    bands = {"vv": np.array([[np.inf, -12.0]]), "vh": np.array([[-20.0, -20.0]])}
    assert render("sar", bands)[0, 0].tolist() == list(INVALID_RGB)


def test_radar_in_linear_power_and_in_db_looks_the_same() -> None:
    vv_db, vh_db = np.linspace(-22, 0, 12).reshape(SHAPE), np.linspace(-28, -6, 12).reshape(SHAPE)
    in_db = render("sar", {"vv": vv_db, "vh": vh_db})
    linear = render("sar", {"VV": 10 ** (vv_db / 10), "VH": 10 ** (vh_db / 10)})
    assert np.abs(in_db.astype(int) - linear.astype(int)).max() <= 1
    assert np.array_equal(render("sar", {"vv": vv_db, "vh": vh_db}, unit="dB"), in_db)
    with pytest.raises(ValueError, match="unit of backscatter"):
        render("sar", {"vv": vv_db, "vh": vh_db}, unit="watt")


def test_zero_power_has_no_decibel_and_is_grey() -> None:
    rgb = render("sar", {"vv": np.array([[0.0, 0.1]]), "vh": np.array([[0.02, 0.02]])})
    assert rgb[0, 0].tolist() == list(INVALID_RGB)
    assert rgb[0, 1].tolist() != list(INVALID_RGB)


def test_vegetation_is_green_in_ndvi_and_water_blue_in_ndwi() -> None:
    red, green, blue = render("ndvi", {"nir": flat(0.5), "red": flat(0.03)})[0, 0].astype(int)
    assert green > red
    assert green > blue
    red, green, blue = render("ndwi", {"green": flat(0.1), "nir": flat(0.01)})[0, 0].astype(int)
    assert blue > green > red


def test_coarser_bands_are_repeated_onto_the_finest() -> None:
    red = np.arange(4 * 6, dtype=np.float32).reshape(4, 6) / 100
    nir = np.arange(2 * 3, dtype=np.float32).reshape(2, 3) / 10 + 0.01
    rgb = render("ndvi", {"red": red, "nir": nir}, np.ones((2, 3), dtype=np.uint8))
    assert rgb.shape == (4, 6, 3)
    by_hand = render("ndvi", {"red": red, "nir": np.kron(nir, np.ones((2, 2)))})
    assert np.array_equal(rgb, by_hand)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="whole multiples"):
        render("ndvi", {"red": flat(0.1, (4, 6)), "nir": flat(0.1, (3, 6))})


def test_errors_name_what_is_known_and_what_is_missing() -> None:
    with pytest.raises(ValueError, match="unknown view 'infrared'; known: true_colour"):
        render("infrared", {})
    with pytest.raises(ValueError, match="needs nir; got red"):
        render("ndvi", {"red": flat(0.1)})


def test_bands_are_found_by_wavelength_and_empty_ones_are_passed_over() -> None:
    wavelengths = {f"b{i}": 420.0 + 6.5 * i for i in range(90)}
    bands = {name: flat(0.1 + 0.001 * i) for i, name in enumerate(wavelengths)}
    nearest = min(wavelengths, key=lambda name: abs(wavelengths[name] - 660))
    assert pick("red", bands, wavelengths) == nearest
    bands[nearest] = flat(np.nan)
    second = pick("red", bands, wavelengths)
    assert second != nearest
    assert second is not None
    assert abs(wavelengths[second] - 660) < 10
    assert pick("swir22", bands, wavelengths) is None
    assert "enmap_true_colour" in possible(bands, wavelengths)
    assert "enmap_true_colour" not in possible({"red": flat(1), "green": flat(1), "blue": flat(1)})


def test_labels_take_the_legends_colours_by_code_and_by_index() -> None:
    codes = np.array([[10, 80, 0], [80, 10, 255]], dtype=np.uint8)
    by_code = render_labels(codes, legend())
    assert by_code[0, 0].tolist() == [0, 100, 0]
    assert by_code[0, 1].tolist() == [0, 100, 200]
    assert by_code[0, 2].tolist() == by_code[1, 2].tolist() == list(INVALID_RGB)
    indices = np.array([[0, 1, 255], [1, 0, 255]], dtype=np.uint8)
    assert np.array_equal(render_labels(indices, legend(), by="index"), by_code)


def test_fit_keeps_proportions_and_squares() -> None:
    rgb = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3)
    large = fit(rgb, 8)
    assert large.shape == (6, 8, 3)
    assert np.array_equal(large, rgb.repeat(2, axis=0).repeat(2, axis=1))
    assert fit(rgb, 2).shape == (2, 2, 3)


def test_shrunk_label_maps_mix_no_colours() -> None:
    rgb = render_labels(np.tile(np.array([[10, 80]], dtype=np.uint8), (6, 5)), legend())
    small = fit(rgb, 4, classes=True)
    assert set(map(tuple, small.reshape(-1, 3).tolist())) <= {(0, 100, 0), (0, 100, 200)}


def test_png_round_trips_and_is_the_same_twice() -> None:
    rgb = np.random.default_rng(3).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    png = to_png(rgb)
    assert png == to_png(rgb.copy())
    with Image.open(io.BytesIO(png)) as image:
        assert np.array_equal(np.asarray(image), rgb)


def test_hills_are_lit_from_the_north_west() -> None:
    y, x = np.mgrid[0:9, 0:11]
    north_west, south_east = 100.0 + 3.0 * (x + y), 400.0 - 3.0 * (x + y)
    one = render("elevation", {"elevation": north_west})
    two = render("elevation", {"elevation": south_east})
    assert one.astype(int).sum() > two.astype(int).sum()


def test_every_view_explains_itself() -> None:
    for name, view in VIEWS.items():
        assert view.title, name
        assert view.formula, name
        assert len(view.guide.split()) > 15, name
        assert len(view.stretch) in (1, 3), name


@pytest.mark.realdata
def test_a_real_enmap_scene_shows_water_dark_and_fields_green(realdata: Path) -> None:
    import rasterio

    path = next((realdata / "catalog" / "enmap-l2a" / "data").glob("*/*.tif"))
    with rasterio.open(path) as source:
        data = source.read().astype(np.float32)
        wavelengths = {f"b{i:03d}": float(source.tags(i)["wavelength"]) for i in range(1, source.count + 1)}
    data[data == -32768] = np.nan
    bands = dict(zip(wavelengths, data * 1e-4, strict=True))
    assert {"enmap_true_colour", "enmap_swir", "ndvi"} <= set(possible(bands, wavelengths))
    rgb = render("enmap_true_colour", bands, wavelengths_nm=wavelengths)
    assert rgb.shape == (128, 64, 3)
    nir = bands[str(pick("nir", bands, wavelengths))]
    assert rgb[nir < 0.02].mean() < 40 < rgb[nir > 0.15].mean()
