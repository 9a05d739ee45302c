"""Shifts of whole chips: choice of the reference and bands, states, decisions; and real pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.windows import Window
from scipy import fft, ndimage

from chips.decide import decide, shifted_georef
from chips.register import measure_layers
from chips.screen import SNOW_IS_CLEAR
from chips.shift import Image, estimate_shift
from schemas.chip import Shift, Valid, check_layer
from schemas.georef import GeoRef
from schemas.recipe import Register
from schemas.sensor import Band, SensorProfile, load_sensor

Array = np.ndarray[Any, Any]
SHAPE = (64, 80)
OPTICAL = load_sensor("sentinel-2-l2a")
LANDSAT = load_sensor("landsat-c2-l2-sr")
RADAR = load_sensor("sentinel-1-rtc")


def scene(seed: int, shape: tuple[int, int] = (84, 100)) -> Array:
    noise = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(1500 + 2500 * ndimage.gaussian_filter(noise, 1.3))


def moved(pixels: Array, dy: float, dx: float) -> Array:
    """Content moved down and right, as its Fourier series says."""
    down, right = fft.fftfreq(pixels.shape[0])[:, None], fft.fftfreq(pixels.shape[1])
    return np.asarray(fft.ifft2(fft.fft2(pixels) * np.exp(-2j * np.pi * (down * dy + right * dx))).real)


def layer(
    modality: str,
    group: str,
    bands: dict[str, list[Array]],
    *,
    valid: list[Array] | None = None,
    georef: GeoRef | None = None,
    **attrs: Any,
) -> xr.Dataset:
    data = np.stack([np.stack(dates) for dates in bands.values()], axis=1)
    dates, _, rows, columns = data.shape
    masks = np.stack(valid) if valid else np.ones((dates, rows, columns))
    where = georef or GeoRef(32632, 600_000.0, 5_300_000.0, 10.0, (rows, columns))
    return check_layer(
        xr.Dataset(
            {
                "data": (("time", "band", "y", "x"), data),
                "valid": (("time", "y", "x"), masks.astype(np.uint8)),
                "scale": (("time",), np.full(dates, 1e-4 if data.dtype == np.uint16 else 1.0)),
                "offset": (("time",), np.zeros(dates)),
            },
            coords={
                "time": np.datetime64("2021-06-15T10:00", "ns") + np.arange(dates) * np.timedelta64(1, "D"),
                "band": list(bands),
            },
            attrs={
                "modality": modality,
                "group": group,
                "georef": where,
                "gsd_m": where.pixel_size,
                "nodata": 0,
                "unit": "reflectance",
                **attrs,
            },
        )
    )


def sentinel2(shifts: list[tuple[float, float]], valid: list[Array] | None = None) -> xr.Dataset:
    """Dates whose content lies off by (rows down, columns right)."""

    def band(seed: int) -> list[Array]:
        return [moved(scene(seed), *shift)[10:-10, 10:-10].astype(np.uint16) for shift in shifts]

    return layer("s2", "s2_10m", {"B02": band(1), "B04": band(2), "B08": band(3)}, valid=valid)


def test_dates_of_the_reference_modality_are_measured_against_its_clearest() -> None:
    cloudy = np.ones(SHAPE)
    cloudy[:20] = Valid.CLOUD
    layers = {"s2_10m": sentinel2([(0, 0), (0.8, -1.2)], [cloudy, np.ones(SHAPE)])}
    first, second = measure_layers(layers, Register(), {"s2": OPTICAL})["s2"]
    assert (second.dx_m, second.dy_m, second.reliability, second.status) == (0.0, 0.0, 1.0, "measured")
    assert first.reference == second.reference == "s2 2021-06-16T10:00:00Z"
    assert (first.dx_m, first.dy_m) == pytest.approx((-12.0, -8.0), abs=1.5)
    assert first.status == "measured"
    assert first.method == "edges nir+red s2_10m on s2_10m"


def test_a_layer_of_bands_of_several_resolutions_is_compared_at_that_of_the_bands_compared() -> None:
    """As ``grid: common`` makes it: aerosols of 60 m beside red and near infrared of 10 m."""
    fine = sentinel2([(0, 0), (0.8, -1.2)])
    coarse = fine.isel(band=[0]).assign_coords(band=["B01"])
    whole = xr.concat([coarse, fine], dim="band", data_vars="minimal", combine_attrs="override")
    alone, beside = (measure_layers({"s2_10m": found}, Register(), {"s2": OPTICAL})["s2"][1] for found in (fine, whole))
    assert beside.pixel_m == 10.0
    assert beside == alone


def test_equally_clear_dates_take_the_first_as_reference() -> None:
    shifts = measure_layers({"s2_10m": sentinel2([(0, 0), (0, 1)])}, Register(), {"s2": OPTICAL})["s2"]
    assert [shift.method == "reference" for shift in shifts] == [True, False]


def test_landsat_is_measured_on_its_own_lattice_by_wavelength_and_not_by_name() -> None:
    truth = [scene(seed, (400, 460)) for seed in (2, 3)]  # 10 m, red and near infrared

    def coarse(picture: Array, dy: int, dx: int) -> Array:
        cut = np.roll(picture, (dy, dx), (0, 1))[95:, 95:]  # begins 50 m before the chip, then 15 m into it
        fine = np.kron(cut, np.ones((2, 2)))[7:]  # 5 m
        fine = fine[:, 7:]
        rows, columns = 66, 82
        return fine[: rows * 6, : columns * 6].reshape(rows, 6, columns, 6).mean(axis=(1, 3)).astype(np.uint16)

    fine = [picture[100:292, 100:340].astype(np.uint16) for picture in truth]
    blurred = [ndimage.uniform_filter(p.astype(float), 3) for p in truth]
    reference = layer("s2", "s2_10m", {"B04": [fine[0]], "B08": [fine[1]]})
    red, nir = (coarse(p, 2, -1) for p in blurred)
    where = GeoRef(32632, 600_000.0 - 15.0, 5_300_000.0 + 15.0, 30.0, (66, 82))
    names = {band.common_name: band.name for band in LANDSAT.bands}
    landsat = layer("l8", "l8_30m", {names["nir08"]: [nir], names["red"]: [red]}, georef=where)
    layers = {"s2_10m": reference, "l8_30m": landsat}
    (shift,) = measure_layers(layers, Register(), {"s2": OPTICAL, "l8": LANDSAT})["l8"]
    assert shift.method == "edges nir+red l8_30m on s2_10m"
    assert (shift.dx_m, shift.dy_m) == pytest.approx((10.0, 20.0), abs=3.0)


def test_hyperspectral_bands_inside_a_window_are_averaged_and_empty_ones_left_out() -> None:
    picture = scene(3)[10:-10, 10:-10]
    names = [f"band_{i:03d}" for i in range(6)]
    bands = {name: [(picture * (0.9 + 0.04 * i)).astype(np.int16)] for i, name in enumerate(names)}
    bands[names[2]] = [np.full(SHAPE, -32768, np.int16)]
    enmap = layer("enmap", "enmap_10m", bands, nodata=-32768)
    enmap = enmap.assign_coords(wavelength_nm=("band", [810.0, 833.0, 850.0, 870.0, 930.0, 1300.0]))
    profile = load_sensor("enmap-l2a")
    reference = layer("s2", "s2_10m", {"B08": [moved(scene(3), 0.5, 0.5)[10:-10, 10:-10].astype(np.uint16)]})
    shifts = measure_layers({"e": enmap, "s2_10m": reference}, Register(), {"s2": OPTICAL, "enmap": profile})
    assert (shifts["enmap"][0].dx_m, shifts["enmap"][0].dy_m) == pytest.approx((5.0, -5.0), abs=1.0)


def test_radar_is_matched_in_decibel() -> None:
    rng = np.random.default_rng(4)
    wide = scene(3, (160, 180))
    fields = np.where(wide > 1500, 0.2, 0.03)
    speckled = (np.roll(fields, (2, -1), (0, 1)) * rng.gamma(8, 1 / 8, fields.shape)).astype(np.float32)
    optical = layer("s2", "s2_10m", {"B08": [wide.astype(np.uint16)], "B04": [(4000 - wide).astype(np.uint16)]})
    sar = layer("s1", "s1_10m", {"vv": [speckled], "vh": [speckled * 0.2]}, unit="linear", nodata=-32768)
    shifts = measure_layers({"s2_10m": optical, "s1_10m": sar}, Register(), {"s2": OPTICAL, "s1": RADAR})
    assert (shifts["s1"][0].dx_m, shifts["s1"][0].dy_m) == pytest.approx((10.0, 20.0), abs=5.0)
    assert shifts["s1"][0].status == "measured"
    sar.attrs["geocoding"] = "approximate"
    shifts = measure_layers({"s2_10m": optical, "s1_10m": sar}, Register(), {"s2": OPTICAL, "s1": RADAR})
    assert shifts["s1"][0].status == "not_applicable"


def test_what_cannot_be_measured_says_so() -> None:
    thermal = load_sensor("landsat-c2-l2-st")
    picture = scene(5)[10:-10, 10:-10].astype(np.uint16)
    layers = {
        "s2_10m": sentinel2([(0, 0), (0, 0)], [np.ones(SHAPE), np.full(SHAPE, Valid.CLOUD)]),
        "st_30m": layer("st", "st_30m", {thermal.bands[0].name: [picture]}, unit="K"),
    }
    shifts = measure_layers(layers, Register(), {"s2": OPTICAL, "st": thermal})
    assert [shift.status for shift in shifts["s2"]] == ["measured", "unreliable"]
    assert [shift.status for shift in shifts["st"]] == ["not_applicable"]
    empty = layers["s2_10m"].assign_coords(time=[layers["s2_10m"]["time"].values[0], np.datetime64("NaT")])
    series = measure_layers({"s2_10m": empty}, Register(), {"s2": OPTICAL})["s2"]
    assert series[1].status == "not_applicable", "an empty step of a series"
    off = measure_layers(layers, Register(mode="off"), {"s2": OPTICAL, "st": thermal})
    assert {shift.status for dates in off.values() for shift in dates} == {"not_applicable"}


def test_snow_is_ground_to_match_where_the_recipe_takes_it_for_clear() -> None:
    snow = np.full(SHAPE, Valid.SNOW)
    layers = {"s2_10m": sentinel2([(0, 0), (0.8, -1.2)], [snow, snow])}
    shifts = measure_layers(layers, Register(), {"s2": OPTICAL})["s2"]
    assert [shift.status for shift in shifts] == ["not_applicable", "not_applicable"]
    layers["s2_10m"].attrs[SNOW_IS_CLEAR] = True
    shifts = measure_layers(layers, Register(), {"s2": OPTICAL})["s2"]
    assert (shifts[0].method, shifts[1].status) == ("reference", "measured")
    assert (shifts[1].dx_m, shifts[1].dy_m) == pytest.approx((12.0, 8.0), abs=1.5)


def test_an_estimate_below_the_limit_is_unreliable() -> None:
    noise = [np.random.default_rng(i).normal(2000, 50, SHAPE).astype(np.uint16) for i in range(4)]
    layers = {"s2_10m": layer("s2", "s2_10m", {"B04": noise[:2], "B08": noise[2:]})}
    assert measure_layers(layers, Register(), {"s2": OPTICAL})["s2"][1].status == "unreliable"


def test_the_reference_can_be_named_and_needs_a_clear_date() -> None:
    other = sentinel2([(0, 0)])
    other.attrs.update(modality="s2b", group="s2b_10m")
    layers = {"s2_10m": sentinel2([(1, 0)]), "s2b_10m": other}
    profiles = {"s2": OPTICAL, "s2b": OPTICAL}
    shifts = measure_layers(layers, Register(reference="s2b"), profiles)
    assert shifts["s2b"][0].method == "reference"
    assert shifts["s2"][0].dy_m == pytest.approx(10.0, abs=1.0)
    other["valid"][:] = Valid.CLOUD
    shifts = measure_layers(layers, Register(reference="s2b"), profiles)
    assert shifts["s2"][0].status == "not_applicable"
    assert measure_layers(layers, Register(), profiles)["s2"][0].method == "reference"


def test_reading_on_the_shifted_grid_brings_the_content_to_the_reference() -> None:
    """A grid moved against the shift, read and laid on the old georeference, matches."""
    wide = scene(6)
    georef = GeoRef(32632, 600_000.0, 5_300_000.0, 10.0, SHAPE)
    reference = Image(wide[None, 10:-10, 10:-10].astype(np.float32), np.ones(SHAPE, bool), georef, 10.0)
    seen = np.roll(wide, (3, -2), (0, 1))  # 30 m too far south, 20 m too far west
    found = estimate_shift(
        Image(seen[None, 10:-10, 10:-10].astype(np.float32), np.ones(SHAPE, bool), georef, 10.0), reference
    )
    assert found is not None
    shift = Shift(found.dx_m, found.dy_m, found.reliability, "measured")
    ((shift,),) = decide({"s2": (shift,)}, Register(mode="correct")).values()
    target = shifted_georef(georef, shift)
    row, column = round((georef.y0 - target.y0) / 10), round((target.x0 - georef.x0) / 10)
    read = seen[10 + row : 10 + row + SHAPE[0], 10 + column : 10 + column + SHAPE[1]]
    assert np.array_equal(read, wide[10:-10, 10:-10])


def test_a_new_sensor_needs_only_its_wavelengths() -> None:
    profile = SensorProfile(
        sensor="new", title="New", kind="optical", unit="reflectance", licence="CC0-1.0", attribution="", source="",
        bands=(Band(name="x", centre_nm=850.0, gsd_m=10.0),),
    )  # fmt: skip
    reference = sentinel2([(0, 0)])
    layers = {"s2_10m": reference, "new_10m": layer("new", "new_10m", {"x": [reference["data"].values[0, 2]]})}
    (shift,) = measure_layers(layers, Register(), {"s2": OPTICAL, "new": profile})["new"]
    assert shift.method == "edges nir new_10m on s2_10m"
    assert np.hypot(shift.dx_m, shift.dy_m) < 0.1


@pytest.mark.realdata
def test_real_pair_of_two_sentinel2_dates(realdata: Path) -> None:
    """The target's content must move 1.9 px south and 0.8 px west (measured upstream, 29 windows)."""
    with (
        rasterio.open(next((realdata / "s2-pair").glob("ref_*"))) as reference_file,
        rasterio.open(next((realdata / "s2-pair").glob("tgt_*"))) as target_file,
    ):
        found = []
        for top in range(5_866_000 - 4_000, 5_836_000, -5_120):
            for left in range(336_000, 351_000, 5_120):
                pair = [_window(file, left, top, (200, 256)) for file in (target_file, reference_file)]
                if min(image.valid.mean() for image in pair) > 0.9:
                    estimate = estimate_shift(*pair)
                    assert estimate is not None
                    found.append((estimate.dx_m, estimate.dy_m, estimate.reliability))
    values = np.array(found)
    kept = values[values[:, 2] >= 0.3, :2]
    assert len(kept) >= 10
    assert np.median(kept, axis=0) == pytest.approx((-8.0, -19.0), abs=3.0)
    assert np.hypot(*(kept - np.median(kept, axis=0)).T).max() < 5.0


def _window(file: Any, left: float, top: float, shape: tuple[int, int]) -> Image:
    row, column = file.index(left + 5, top - 5)
    window = Window(column, row, shape[1], shape[0])
    pixels = file.read(1, window=window, boundless=True, fill_value=0).astype(np.float32)
    georef = GeoRef(32633, float(left), float(top), 10.0, shape)
    return Image(pixels[None], pixels > 0, georef, 10.0)


@pytest.mark.realdata
@pytest.mark.parametrize(("dy", "dx"), [(1.0, 0.0), (0.0, -1.0), (0.4, 1.7), (-2.3, 0.6)])
def test_estimates_between_sentinel2_and_landsat_follow_an_injected_shift(realdata: Path, dy: float, dx: float) -> None:
    optical = _site(realdata, "sentinel-2-l2a", "S2A_MSIL2A_20180802T105938_R094_T31UDS_wervik", ["B08", "B04"])
    landsat = _site(realdata, "landsat-8-c1-sr", "LC08_SR_20180802T103944_C1_wervik", ["B05", "B04"])
    before, after = (
        estimate_shift(
            Image(pixels.astype(np.float32), np.ones(pixels.shape[1:], bool), optical.georef, 10.0),
            Image(landsat.pixels[:, 4:-4, 4:-4], landsat.valid[4:-4, 4:-4], _inner(landsat.georef), 30.0),
        )
        for pixels in (optical.pixels, np.stack([moved(band, dy, dx) for band in optical.pixels]))
    )
    assert before is not None
    assert after is not None
    assert np.hypot(before.dx_m, before.dy_m) < 6.0
    assert min(before.reliability, after.reliability) > 0.5
    change = after.dx_m - before.dx_m, after.dy_m - before.dy_m
    assert change == pytest.approx((-10 * dx, 10 * dy), abs=3.0)  # 0.1 px of 30 m


def _site(realdata: Path, collection: str, item_id: str, assets: list[str]) -> Image:
    folder = realdata / "catalog" / collection / "items"
    item = json.loads((folder / f"{item_id}.json").read_text())
    planes = []
    for name in assets:
        with rasterio.open(folder / item["assets"][name]["href"]) as file:
            planes.append(file.read(1).astype(np.float32))
            a, _, x0, _, _, y0 = list(file.transform)[:6]
    georef = GeoRef(32631, x0, y0, a, (planes[0].shape[0], planes[0].shape[1]))
    return Image(np.stack(planes), np.ones(georef.shape_yx, bool), georef, 30.0 if a > 10 else 10.0)


def _inner(georef: GeoRef) -> GeoRef:
    rows, columns = georef.shape_yx
    return GeoRef(georef.epsg, georef.x0 + 40, georef.y0 - 40, georef.pixel_size, (rows - 8, columns - 8))
