"""Hop 3 on small rasters: seams, zones, overhang, selection, no data, and which chips a failure ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer

from chips.decide import decide
from chips.plan import LayerPlan, plan_layers
from chips.screen import screen
from chips.statistics import measure_layer
from schemas.chip import Shift, Valid
from schemas.errors import TransientSourceError
from schemas.georef import GeoRef
from schemas.recipe import Screen
from schemas.scene import SceneRef
from sources.correction import corrected
from sources.dates import in_terms_of, validity
from sources.lattice import coverage_anywhere, unions
from sources.openers import PlainOpener
from tests.unit.sources.scenes_made_up import LEFT, TOP, WHEN, chip, item, reading, recipe

MakeRaster = Callable[..., SceneRef]
SCENE = GeoRef(32632, LEFT - 300, TOP + 300, 10.0, (90, 80))


def numbers(shape: tuple[int, int] = SCENE.shape_yx, seed: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(1000, 9000, shape).astype(np.uint16)


def s2(make: MakeRaster, name: str, pixels: Any, scl: Any, georef: GeoRef = SCENE, **more: Any) -> Any:
    ref = make(pixels, georef, name=f"{name}-b", tag=0, nodata=0.0, band="B02")
    mask = make(scl.astype(np.uint8), georef, name=f"{name}-scl", tag=0, nodata=0.0, band="scl")
    return item(name, [ref], [mask], "scl", **more)


def cut(pixels: Any, georef: GeoRef, left: float = LEFT, top: float = TOP, size: int = 12) -> Any:
    row, column = round((georef.y0 - top) / 10), round((left - georef.x0) / 10)
    return pixels[row : row + size, column : column + size]


def clear(shape: tuple[int, int] = SCENE.shape_yx) -> np.ndarray[Any, Any]:
    return np.full(shape, 4, np.uint8)


def test_two_parts_of_one_datatake_make_one_date_at_the_seam(make_raster: MakeRaster) -> None:
    west, east, scl_west, scl_east = numbers(seed=1), numbers(seed=2), clear(), clear()
    column = round((LEFT + 50 - SCENE.x0) / 10)
    west[:, column:], scl_west[:, column:] = 0, 0
    east[:, : column - 2], scl_east[:, : column - 2] = 0, 0
    parts = [
        s2(make_raster, "east", east, scl_east, datatake="d", when=WHEN + timedelta(seconds=9)),
        s2(make_raster, "west", west, scl_west, datatake="d"),
    ]
    for items in (parts, parts[::-1]):
        (found,) = reading(recipe(bands=["B02"]), *items).read(chip()).chips
        layer = found.layers["m"]
        assert [[part.item_id for part in date.items] for date in found.provenance["m"]] == [
            ["east", "west"]
        ]  # the fuller one
        assert layer["time"].values[0] == np.datetime64(parts[0].datetime_utc.replace(tzinfo=None))
        np.testing.assert_array_equal(layer["valid"].values, np.full((1, 12, 12), Valid.CLEAR))
        wanted = cut(east, SCENE).copy()
        wanted[:, :3] = cut(west, SCENE)[:, :3]
        np.testing.assert_array_equal(layer["data"].values[0, 0], wanted)


def test_a_part_that_adds_nothing_is_not_behind_the_date(make_raster: MakeRaster) -> None:
    """Where four tiles meet two cover a chip: the others were read and named, and a broken one failed the chip."""
    column = round((LEFT + 50 - SCENE.x0) / 10)
    parts = []
    for name, seen in (("west", slice(column)), ("east", slice(column - 2, None)), ("more", slice(column, column + 2))):
        scl = np.zeros_like(clear())
        scl[:, seen] = 4
        parts.append(s2(make_raster, name, numbers(), scl, datatake="d"))
    Path(parts[-1].refs[0].href).unlink()
    (found,) = reading(recipe(bands=["B02"]), *parts).read(chip()).chips
    assert [[part.item_id for part in date.items] for date in found.provenance["m"]] == [["east", "west"]]
    (failure,) = reading(recipe(bands=["B02"]), *parts[1:]).read(chip()).outcomes  # with a hole every part is needed
    assert failure.state == "failed"


@pytest.mark.parametrize(("offset", "items"), [("as_delivered", ["whole"]), ("pre04", ["east", "west"])])
def test_a_part_that_cannot_fill_a_hole_makes_no_date_fuller(
    make_raster: MakeRaster, offset: str, items: list[str]
) -> None:
    """Of a picture half reprocessed a chip over the seam got one half and the choice believed it whole."""
    west, east, later = clear(), clear(), clear()
    column = round((LEFT + 50 - SCENE.x0) / 10)
    west[:, column:], east[:, :column] = 0, 0
    later[:35, column:] = 8  # some cloud: the picture in two halves is the clearer one
    halves = [s2(make_raster, name, numbers(), scl, datatake="d") for name, scl in (("west", west), ("east", east))]
    refs = tuple(replace(ref, offset=-0.1) for ref in halves[1].refs)
    whole = s2(make_raster, "whole", numbers(), later, when=WHEN + timedelta(days=1))
    rules = recipe(bands=["B02"], offset=offset, select={"how": "least_cloudy", "max_dates": 1})
    (found,) = reading(rules, halves[0], replace(halves[1], refs=refs), whole).read(chip()).chips
    assert [sorted(part.item_id for part in date.items) for date in found.provenance["m"]] == [items]
    assert not (found.layers["m"]["valid"].values == Valid.NODATA).any()


def test_parts_without_a_common_datatake_stay_two_dates(make_raster: MakeRaster) -> None:
    items = [s2(make_raster, name, numbers(), clear()) for name in ("a", "b")]
    (found,) = reading(recipe(bands=["B02"]), *items).read(chip()).chips
    assert [[part.item_id for part in date.items] for date in found.provenance["m"]] == [["a"], ["b"]]


def test_native_chip_in_another_zone_is_resampled_with_its_mask(make_raster: MakeRaster) -> None:
    x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(LEFT + 60, TOP - 60)
    scl = clear()
    scl[:, : round((LEFT + 60 - SCENE.x0) / 10)] = 8
    scene = s2(make_raster, "a", numbers(), scl)
    here = chip(left=round(x / 60) * 60 - 60, top=round(y / 60) * 60 + 60, epsg=32633)
    (found,) = reading(recipe(bands=["B02"], resampling="nearest"), scene).read(here).chips
    layer = found.layers["m"]
    assert layer.attrs["georef"].epsg == 32633
    to_scene = Transformer.from_crs(32633, 32632, always_xy=True)
    xs, ys = to_scene.transform(*np.meshgrid(layer["x"].values, layer["y"].values))
    rows, columns = np.floor((SCENE.y0 - ys) / 10).astype(int), np.floor((xs - SCENE.x0) / 10).astype(int)
    np.testing.assert_array_equal(layer["data"].values[0, 0], numbers()[rows, columns])
    np.testing.assert_array_equal(layer["valid"].values[0] == Valid.CLOUD, scl[rows, columns] == 8)
    assert 0.2 < (layer["valid"].values[0] == Valid.CLOUD).mean() < 0.8


def test_outside_a_raster_of_another_zone_without_a_nodata_value_nothing_is_clear(make_raster: MakeRaster) -> None:
    dem = GeoRef(32632, LEFT, TOP, 10.0, (12, 12))
    ref = make_raster(np.full((12, 12), 7.0, np.float32), dem, band="elevation", nodata=None)
    ref = replace(ref, dtype="float32")
    x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(LEFT + 60, TOP - 60)
    target = GeoRef(32633, round(x, -1) - 200, round(y, -1) + 200, 10.0, (40, 37))
    inside = coverage_anywhere(ref.georef, target)
    xs, ys = Transformer.from_crs(32633, 32632, always_xy=True).transform(
        *np.meshgrid(target.x_centres(), target.y_centres())
    )
    wanted = (np.abs(xs - LEFT - 60) < 60) & (np.abs(ys - TOP + 60) < 60)
    np.testing.assert_array_equal(inside, wanted)
    assert 0.05 < inside.mean() < 0.2


def test_native_thirty_metres_overhang_the_chip_on_both_sides(make_raster: MakeRaster) -> None:
    lattice = GeoRef(32632, LEFT - 285, TOP + 315, 30.0, (40, 30))
    pixels = np.random.default_rng(1).integers(8000, 40_000, lattice.shape_yx).astype(np.uint16)
    ref = make_raster(pixels, lattice, band="blue", tag=0, nodata=0.0)
    qa = make_raster(np.full(lattice.shape_yx, 64, np.uint16), lattice, name="qa", tag=1, band="qa_pixel", nodata=1.0)
    scene = item("l", [ref], [qa], "qa_pixel_c2", "landsat-c2-l2-sr")
    rules = recipe("landsat-c2-l2-sr", bands=["blue"])
    (found,) = reading(rules, scene).read(chip()).chips
    georef = found.layers["m"].attrs["georef"]
    assert (georef.x0, georef.y0, georef.shape_yx) == (LEFT - 15, TOP + 15, (5, 5))
    np.testing.assert_array_equal(found.layers["m"]["data"].values[0, 0], pixels[10:15, 9:14])


def test_dates_are_chosen_by_what_is_clear_over_the_chip(make_raster: MakeRaster) -> None:
    """Of two chips side by side each takes the date that is clear over itself."""
    row, column = round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    scl_a, scl_b = clear(), clear()
    scl_a[row : row + 12, column : column + 12] = 9
    scl_b[row : row + 12, column + 12 : column + 24] = 9
    items = [
        s2(make_raster, "a", numbers(seed=1), scl_a),
        s2(make_raster, "b", numbers(seed=2), scl_b, when=WHEN + timedelta(days=5)),
    ]
    rules = recipe(bands=["B02"], select={"min_clear_fraction": 0.5})
    left, right = reading(rules, *items).read(chip("l"), chip("r", LEFT + 120)).chips
    assert [i.item_id for date in left.provenance["m"] for i in date.items] == ["b"]
    assert [i.item_id for date in right.provenance["m"] for i in date.items] == ["a"]


def test_chip_with_too_few_dates_is_rejected_unless_the_modality_is_optional(make_raster: MakeRaster) -> None:
    cloudy = s2(make_raster, "a", numbers(), np.full(SCENE.shape_yx, 9, np.uint8))
    select = {"min_clear_fraction": 0.5}
    done = reading(recipe(bands=["B02"], select=select), cloudy).read(chip())
    assert [(o.state, o.reason, o.measured) for o in done.outcomes] == [("rejected", "m.min_dates", 0.0)]
    (kept,) = reading(recipe(bands=["B02"], select=select, optional=True), cloudy).read(chip()).chips
    assert kept.layers["m"]["data"].shape == (0, 1, 12, 12)
    assert kept.provenance["m"] == ()


def test_layer_without_dates_has_the_type_of_the_others(make_raster: MakeRaster) -> None:
    cloudy = s2(make_raster, "a", numbers(), np.full(SCENE.shape_yx, 9, np.uint8))
    rules = recipe(bands=["B02"], select={"min_clear_fraction": 0.5}, optional=True, offset="pre04")
    (kept,) = reading(rules, cloudy).read(chip()).chips
    assert kept.layers["m"]["data"].dtype == np.int16
    assert kept.layers["m"].attrs["nodata"] == -32768


def test_zero_without_mask_is_no_data(make_raster: MakeRaster) -> None:
    pixels, row, column = numbers(), round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    pixels[row + 1, column + 2] = 0
    (found,) = reading(recipe(bands=["B02"]), s2(make_raster, "a", pixels, clear())).read(chip()).chips
    valid = found.layers["m"]["valid"].values[0]
    assert np.argwhere(valid == Valid.NODATA).tolist() == [[1, 2]]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_the_valid_range_is_one_of_reflectance_whatever_numbers_hold_it(dtype: str) -> None:
    """Landsat that its publisher brought to floats, or to ten thousandths: all of it was defective."""
    scale, offset = {"uint16": (2.75e-5, -0.2), "int16": (1e-4, 0.0), "float32": (1.0, 0.0)}[dtype]
    number = np.array([[[7273, 12_000, 43_636, 7000, 50_000]]])
    pixels = ((number * 2.75e-5 - 0.2 - offset) / scale).round(0 if dtype != "float32" else 7).astype(dtype)
    grid = GeoRef(32632, LEFT, TOP, 30.0, (1, 5))
    ref = SceneRef("l", "red", "x", "red", 1, grid, dtype, -9999.0 if dtype != "uint16" else 0.0, scale, offset)
    layer = LayerPlan("l", "l", "landsat-c2-l2-sr", 30.0, ("red",), dtype, ref.nodata, "reflectance")
    assert validity(pixels, None, [ref], grid, layer).tolist() == [[1, 1, 1, 7, 7]]


def test_no_data_that_an_item_states_for_some_bands_alone_is_no_data() -> None:
    """Where the first band stated none, what the others marked was clear."""
    grid = GeoRef(32632, LEFT, TOP, 10.0, (1, 4))
    vv, vh = (
        SceneRef("s", name, "x", name, 1, grid, "float32", nodata) for name, nodata in (("vv", None), ("vh", -9.0))
    )
    pixels = np.array([[[1, -9, 1, np.nan]], [[1, 1, -9, 1]]], np.float32)
    for refs, wanted in (([vv, vh], [[1, 1, 0, 0]]), ([vv, replace(vh, nodata=None)], [[1, 1, 1, 0]])):
        layer = LayerPlan("s", "s", "sentinel-1-grd", 10.0, ("vv", "vh"), "float32", None, "dB")
        assert validity(in_terms_of(layer, pixels.copy(), refs), None, refs, grid, layer).tolist() == wanted
    assert validity(pixels[::-1], None, [vh, vv], grid, layer).tolist() == [[1, 1, 0, 0]]


def test_no_power_has_no_decibel_and_is_no_data(make_raster: MakeRaster) -> None:
    power = np.full(SCENE.shape_yx, 0.1, np.float32)
    row, column = round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    power[row + 3, column + 1], power[row + 4, column + 1] = 0.0, -32768.0
    ref = make_raster(power, SCENE, band="vv", tag=-32768, nodata=-32768.0)
    scene = item("s", [ref], sensor="sentinel-1-rtc", unit="linear")
    (found,) = reading(recipe("sentinel-1-rtc", bands=["vv"], store="db"), scene).read(chip()).chips
    layer = found.layers["m"]
    seen = layer["valid"].values[0] != Valid.NODATA
    np.testing.assert_array_equal(seen, layer["data"].values[0, 0] != -32768)
    assert np.argwhere(~seen).tolist() == [[3, 1], [4, 1]]
    np.testing.assert_allclose(layer["data"].values[0, 0][seen], -10.0, atol=1e-5)


def test_items_own_nodata_value_becomes_the_layers(make_raster: MakeRaster) -> None:
    pixels, row, column = numbers(), round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    odd = pixels.copy()
    odd[row + 2, column + 5] = 65535
    first = s2(make_raster, "a", pixels, clear())
    second = s2(make_raster, "b", odd, clear(), when=WHEN + timedelta(days=1))
    second = replace(second, refs=(replace(second.refs[0], nodata=65535.0),))
    (found,) = reading(recipe(bands=["B02"]), first, second).read(chip()).chips
    layer = found.layers["m"]
    assert layer["data"].values[1, 0, 2, 5] == 0
    assert np.argwhere(layer["valid"].values == Valid.NODATA).tolist() == [[1, 2, 5]]


def test_item_of_another_type_fails_the_chip_and_is_not_cut_to_fit(make_raster: MakeRaster) -> None:
    first = s2(make_raster, "a", numbers(), clear())
    second = s2(make_raster, "b", numbers().astype(np.float32) + 0.5, clear(), when=WHEN + timedelta(days=1))
    done = reading(recipe(bands=["B02"]), first, second).read(chip())
    (outcome,) = done.outcomes
    assert (outcome.state, outcome.error_class) == ("failed", "UnsupportedItemError")
    assert "float32" in outcome.reason


def test_item_without_a_band_of_the_others_fails_the_chips_that_chose_it(make_raster: MakeRaster) -> None:
    full = s2(make_raster, "a", numbers(), clear())
    poor = replace(s2(make_raster, "b", numbers(), clear(), when=WHEN + timedelta(days=1)), refs=())
    poor = replace(poor, refs=(replace(full.refs[0], band="B03"),))
    (outcome,) = reading(recipe(bands=["B02"]), full, poor).read(chip()).outcomes
    assert (outcome.state, outcome.error_class) == ("failed", "AssetMissingError")
    assert "item b: no band B02" in outcome.reason


def test_missing_file_fails_the_chips_that_chose_its_date_and_no_other(make_raster: MakeRaster) -> None:
    """Both lie under both items; the mask says that only the right one would have taken the broken one."""
    row, column = round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    cloudy = clear()
    cloudy[row : row + 12, column : column + 12] = 9
    broken = s2(make_raster, "a", numbers(seed=1), cloudy)
    broken = replace(broken, refs=(replace(broken.refs[0], href="/nowhere/B02.tif"),))
    sound = s2(make_raster, "b", numbers(seed=2), clear(), when=WHEN + timedelta(days=5))
    rules = recipe(bands=["B02"], select={"min_clear_fraction": 0.5})
    done = reading(rules, broken, sound).read(chip("l"), chip("r", LEFT + 120))
    assert [found.spec.chip_id for found in done.chips] == ["l"]
    (outcome,) = done.outcomes
    assert (outcome.chip_id, outcome.state, outcome.error_class) == ("r", "failed", "AssetMissingError")
    assert outcome.url == "/nowhere/B02.tif"


def test_reads_that_were_tried_again_are_counted(make_raster: MakeRaster) -> None:
    first = s2(make_raster, "a", numbers(seed=1), clear())
    other = s2(make_raster, "b", numbers(seed=2), clear(), when=WHEN + timedelta(days=5))

    class Shaky(PlainOpener):
        left = 2

        def resolve(self, href: str) -> str:
            if href == first.refs[0].href and self.left:
                type(self).left -= 1
                raise TransientSourceError("connection reset", href)
            return super().resolve(href)

    done = reading(recipe(bands=["B02"]), first, other).read(chip(), opener=Shaky())
    assert [(step["item_id"], step["retries"]) for step in done.steps] == [("a", 2), ("b", 0)]


def test_missing_mask_fails_every_chip_under_it(make_raster: MakeRaster) -> None:
    broken = s2(make_raster, "a", numbers(), clear())
    broken = replace(broken, masks=(replace(broken.masks[0], href="/nowhere/SCL.tif"),))
    sound = s2(make_raster, "b", numbers(), clear(), when=WHEN + timedelta(days=5))
    done = reading(recipe(bands=["B02"]), broken, sound).read(chip("l"), chip("far", LEFT + 120))
    assert {o.chip_id: o.error_class for o in done.outcomes} == {"l": "AssetMissingError", "far": "AssetMissingError"}


def test_listed_cells_beside_each_others_lattice_are_read_together(make_raster: MakeRaster) -> None:
    scene = s2(make_raster, "a", numbers(), clear())
    rules = recipe(bands=["B02"], grid="common")
    done = reading(rules, scene).read(chip("l"), chip("r", LEFT + 125))
    np.testing.assert_array_equal(done.chips[0].layers["m"]["data"].values[0, 0], cut(numbers(), SCENE))
    assert done.chips[1].layers["m"].attrs["georef"].x0 == LEFT + 125


def test_grids_of_one_lattice_are_joined_and_others_are_not() -> None:
    grids = {name: GeoRef(32632, x, 900.0, 10.0, (2, 3)) for name, x in (("a", 0.0), ("b", 5.0), ("c", 60.0))}
    assert unions(grids) == [
        (GeoRef(32632, 0.0, 900.0, 10.0, (2, 9)), ["a", "c"]),
        (GeoRef(32632, 5.0, 900.0, 10.0, (2, 3)), ["b"]),
    ]


@pytest.mark.parametrize("seam", [False, True])
def test_shifted_date_is_read_again_with_one_resampling(make_raster: MakeRaster, seam: bool) -> None:
    """A shift of whole pixels gives a plain copy of what lies beside, masks and further parts of the picture too."""
    pixels, scl = numbers(), clear()
    row, column = round((SCENE.y0 - TOP) / 10), round((LEFT - SCENE.x0) / 10)
    scl[row + 5, column + 4] = 8
    items = [s2(make_raster, "a", pixels, scl, datatake="d")]
    if seam:
        west, east, scl_west, scl_east = pixels.copy(), pixels.copy(), scl.copy(), scl.copy()
        west[:, column + 8 :], scl_west[:, column + 8 :] = 0, 0
        east[:, : column + 6], scl_east[:, : column + 6] = 0, 0
        items = [
            s2(make_raster, "w", west, scl_west, datatake="d"),
            s2(make_raster, "e", east, scl_east, datatake="d"),
        ]
    rules = recipe(bands=["B02"], register={"mode": "correct", "correct_above_m": 5, "max_shift_m": 60})
    read = reading(rules, *items)
    (found,) = read.read(chip()).chips
    found = replace(found, shifts=decide({"m": (Shift(20.0, -10.0, 0.9, "measured", "x"),)}, rules.register_shifts))
    moved = corrected(found, rules, plan_layers(rules, {"m": items[0]}), PlainOpener(), {"m": items})
    layer = moved.layers["m"]
    assert moved.shifts["m"][0].status == "corrected"
    assert layer.attrs["georef"] == found.layers["m"].attrs["georef"]
    np.testing.assert_array_equal(layer["data"].values[0, 0], cut(pixels, SCENE, LEFT - 20, TOP + 10))
    assert np.argwhere(layer["valid"].values[0] != Valid.CLEAR).tolist() == [[6, 6]]
    assert found.shifts["m"][0].status == "measured"


def test_unreliable_or_small_shifts_leave_the_date_as_it_is(make_raster: MakeRaster) -> None:
    scene = s2(make_raster, "a", numbers(), clear())
    rules = recipe(bands=["B02"], register={"mode": "correct", "correct_above_m": 5, "max_shift_m": 60})
    read = reading(rules, scene)
    (found,) = read.read(chip()).chips
    for shift in (
        Shift(20.0, 0.0, 0.1, "unreliable"),
        Shift(3.0, 0.0, 0.9, "measured"),
        Shift(99.0, 0.0, 0.9, "measured"),
    ):
        given = replace(found, shifts=decide({"m": (shift,)}, rules.register_shifts))
        same = corrected(given, rules, read.layers, PlainOpener(), {"m": [scene]})
        assert same.shifts["m"] == (shift,)
        np.testing.assert_array_equal(same.layers["m"]["data"].values, found.layers["m"]["data"].values)


def test_a_coarse_layer_that_overhangs_its_chip_is_clear_where_its_mask_is(make_raster: MakeRaster) -> None:
    """A chip of any origin: the layer of 60 m reaches up to 59 m beyond it, further than the mask's pixels of 20 m."""
    left, top = 32632 * 6 + 17.0, 5_300_013.0
    coarse = GeoRef(32632, 180_000.0, 5_310_000.0, 60.0, (300, 400))
    fine = GeoRef(32632, 180_000.0, 5_310_000.0, 20.0, (900, 1200))
    b01 = make_raster(np.full(coarse.shape_yx, 1500, np.uint16), coarse, name="b01", tag=0, nodata=0.0, band="B01")
    codes = np.full(fine.shape_yx, 4, np.uint8)
    column, row = int((left - fine.x0) // 20), int((fine.y0 - top) // 20)
    codes[row : row + 3, column : column + 3] = 9  # a cloud over the chip's corner
    scl = make_raster(codes, fine, name="scl", tag=0, nodata=0.0, band="scl")
    scene = item("a", [b01], [scl], "scl")
    (found,) = reading(recipe(bands=["B01"]), scene).read(chip(left=left, top=top, size=1200.0)).chips
    layer = found.layers["m"]
    assert layer.attrs["georef"].shape_yx == (21, 21)
    assert set(np.unique(layer["valid"].values)) == {Valid.CLEAR, Valid.CLOUD}


def test_a_mask_in_degrees_is_read_at_the_pixels_of_the_layer(make_raster: MakeRaster) -> None:
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT, TOP)
    degrees = GeoRef(4326, round(lon - 0.01, 4), round(lat + 0.01, 4), 1e-4, (400, 400))
    ref = make_raster(np.full((400, 400), 1500, np.uint16), degrees, name="b", tag=0, nodata=0.0, band="B02")
    codes = np.full((400, 400), 4, np.uint8)
    codes[:, round((lon - degrees.x0) / 1e-4) + 9 :] = 9  # 9 pixels of a ten-thousandth are about 67 m
    scl = make_raster(codes, degrees, name="scl", tag=0, nodata=0.0, band="scl")
    (found,) = reading(recipe(bands=["B02"]), item("a", [ref], [scl], "scl")).read(chip()).chips
    valid = found.layers["m"]["valid"].values[0]
    assert valid.shape == (12, 12)
    assert (valid[:, :6] == Valid.CLEAR).all()
    assert (valid[:, 8:] == Valid.CLOUD).all()


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_class_codes_are_never_mixed_whatever_kernel_the_recipe_names(make_raster: MakeRaster, resampling: str) -> None:
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT, TOP)
    degrees = GeoRef(4326, round(lon - 0.01, 4), round(lat + 0.01, 4), 1e-4, (400, 300))
    codes = np.random.default_rng(3).choice(np.array([10, 30, 80], np.uint8), degrees.shape_yx)
    ref = make_raster(codes, degrees, name="map", tag=0, nodata=0.0, band="classes")
    scene = item("a", [ref], sensor="landcover", unit="class")
    (found,) = reading(recipe(sensor="landcover", grid="common", resampling=resampling), scene).read(chip()).chips
    layer = found.layers["m"]
    to_lonlat = Transformer.from_crs(32632, 4326, always_xy=True).transform
    places = np.meshgrid(layer["x"].values, layer["y"].values)
    with rasterio.open(ref.href) as file:
        wanted = np.array(list(file.sample(np.column_stack([c.ravel() for c in to_lonlat(*places)]))))
    assert (layer["data"].values[0, 0] == wanted.reshape(12, 12)).all()


def test_snow_is_clear_for_the_layer_too_where_the_recipe_says_so(make_raster: MakeRaster) -> None:
    snow = np.full(SCENE.shape_yx, 11, np.uint8)
    for is_clear in (True, False):
        rules = recipe(bands=["B02"], select={"snow_is_clear": is_clear, "min_dates": 1})
        (found,) = reading(rules, s2(make_raster, f"s{is_clear}", numbers(), snow)).read(chip()).chips
        rejected = screen("c", found.layers, Screen(min_clear_fraction=0.5))
        assert (rejected is None) is is_clear
        assert bool(measure_layer(found.layers["m"])) is is_clear
