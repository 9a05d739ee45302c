"""Spectra are physical, and calendars close over the year."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.spectra import (
    VARIANTS,
    WAVELENGTHS_NM,
    bands_of,
    class_index,
    class_names,
    cover_on,
    endmember_bands,
    endmember_curves,
    endmember_names,
    integrate,
)


def ndvi(values: np.ndarray) -> float:
    names = [b.name for b in bands_of("sentinel-2")]
    red, nir = values[names.index("B04")], values[names.index("B08")]
    return float((nir - red) / (nir + red))


def test_curves_are_reflectances() -> None:
    curves = endmember_curves()
    assert curves.shape == (len(endmember_names()), len(WAVELENGTHS_NM))
    assert curves.min() >= 0
    assert curves.max() <= 0.95


def test_a_flat_spectrum_is_the_same_in_every_band() -> None:
    flat = np.full((1, len(WAVELENGTHS_NM)), 0.3)
    for sensor in ("sentinel-2", "landsat", "enmap"):
        assert integrate(flat, bands_of(sensor)) == pytest.approx(0.3, abs=1e-6)


def test_vegetation_has_a_red_edge_and_water_is_dark_in_the_infrared() -> None:
    table = dict(zip(endmember_names(), endmember_bands("sentinel-2"), strict=True))
    assert ndvi(table["gv_crop"]) > 0.8
    assert 0.1 < ndvi(table["soil_loam"]) < 0.25
    assert ndvi(table["water_clear"]) < 0
    snow = table["snow"]
    assert snow[2] > 0.8 > 0.15 > snow[10]


def test_rape_flowers_in_spring_and_maize_is_bare_then() -> None:
    names = [b.name for b in bands_of("sentinel-2")]
    spectra = endmember_bands("sentinel-2")

    def seen(kind: str, day: int) -> np.ndarray:
        cover = cover_on(day, southern=False)
        row = class_index(kind) * VARIANTS + 3
        mean: np.ndarray = ((cover.low[row] + cover.high[row]) / 2) @ spectra
        return mean

    green, blue = names.index("B03"), names.index("B02")
    assert seen("rape", 122)[green] > 2 * seen("wheat", 122)[green]
    assert seen("rape", 122)[green] > 2.3 * seen("rape", 122)[blue]
    assert ndvi(seen("maize", 122)) < 0.4 < 0.75 < ndvi(seen("maize", 215))
    assert ndvi(seen("wheat", 222)) < 0.3 < 0.75 < ndvi(seen("wheat", 140))


def test_the_south_lives_half_a_year_apart() -> None:
    row = class_index("wheat") * VARIANTS + 3
    green = [n.startswith("gv_") for n in endmember_names()]
    north, south = cover_on(140, southern=False), cover_on(140 + 183, southern=True)
    assert north.high[row][green].sum() == pytest.approx(south.high[row][green].sum(), abs=0.05)


@settings(deadline=None, max_examples=40)
@given(day=st.integers(1, 366), southern=st.booleans(), snow=st.floats(0, 1))
def test_cover_never_exceeds_the_ground(day: int, southern: bool, snow: float) -> None:
    cover = cover_on(day, southern, snow)
    for part in (cover.low, cover.high):
        assert part.min() >= 0
        assert part[: len(class_names()) * VARIANTS].sum(axis=1).max() <= 1.25


def test_calendars_close_over_new_year() -> None:
    last, first = cover_on(365.9, southern=False), cover_on(1.0, southern=False)
    assert np.abs(last.high - first.high).max() < 0.05
