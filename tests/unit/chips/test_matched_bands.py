"""Bands of two sensors are matched by their light, and narrow bands put together respond as a broad one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.matched_bands import Light, overlap, pair_bands, response_weights
from sandbox.spectra import bands_of, endmember_bands
from schemas.sensor import load_sensor


def lights(sensor: str) -> dict[str, Light]:
    return {band.name: (band.centre_nm, band.fwhm_nm) for band in load_sensor(sensor).bands}


def test_sentinel2_and_landsat_are_compared_where_both_see() -> None:
    landsat, sentinel2 = lights("landsat-c2-l2-sr"), lights("sentinel-2-l2a")
    chosen = {
        pairing.window: (
            list(landsat)[int(np.argmax(pairing.moving))],
            list(sentinel2)[int(np.argmax(pairing.reference))],
        )
        for pairing in pair_bands(list(landsat.values()), list(sentinel2.values()))
    }
    assert list(chosen) == ["nir", "red", "green", "swir16"]
    assert chosen == {
        "nir": ("nir08", "B08"), "red": ("red", "B04"), "green": ("green", "B03"), "swir16": ("swir16", "B11"),
    }  # fmt: skip


def test_bands_without_light_are_never_chosen() -> None:
    assert (
        pair_bands([(None, None), (float("nan"), None), (443.0, 20.0)], list(lights("sentinel-2-l2a").values())) == []
    )


@pytest.mark.parametrize("name", ["B04", "B08", "B8A"])
def test_enmap_put_together_sees_what_sentinel2_sees(name: str) -> None:
    """Against the sandbox's spectra seen through both sensors' own responses."""
    enmap = [(band.centre_nm, band.fwhm_nm) for band in bands_of("enmap")]
    names = [band.name for band in bands_of("sentinel-2")]
    target = lights("sentinel-2-l2a")[name]
    made = endmember_bands("enmap") @ response_weights(enmap, target)
    seen = endmember_bands("sentinel-2")[:, names.index(name)]
    assert np.abs(made - seen).max() < 0.02
    single = endmember_bands("enmap")[:, int(np.argmin([abs(centre - target[0]) for centre, _ in enmap]))]
    assert np.abs(made - seen).mean() <= np.abs(single - seen).mean() + 1e-3


@given(st.floats(400, 2400), st.floats(12, 120), st.integers(3, 60), st.floats(2, 15))
def test_weights_add_up_and_lie_around_the_target(centre: float, width: float, count: int, spacing: float) -> None:
    bands: list[Light] = [(centre + (i - count // 2) * spacing, 5.0) for i in range(count)]
    weights = response_weights(bands, (centre, width))
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert (weights >= 0).all()
    places = np.array([float(band[0] or 0) for band in bands])
    assert np.abs(places[weights > 0] - centre).max() <= width
    shuffled = np.random.default_rng(1).permutation(count)
    again = response_weights([bands[i] for i in shuffled], (centre, width))
    assert again == pytest.approx(weights[shuffled], abs=1e-6)


@given(st.floats(400, 900), st.floats(10, 100), st.floats(400, 900), st.floats(10, 100))
def test_overlap_does_not_ask_which_comes_first(a: float, wide_a: float, b: float, wide_b: float) -> None:
    assert overlap((a, wide_a), (b, wide_b)) == pytest.approx(overlap((b, wide_b), (a, wide_a)))
    assert 0.0 <= overlap((a, wide_a), (b, wide_b)) <= 1.0
