"""Hop 3 with windows and composites: empty steps, medians of what is clear, one date in all layers, overviews first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

import sources.modality_reader
from chips.rows import chip_row
from schemas.chip import Valid
from schemas.errors import TransientSourceError
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources import item_reader
from sources.openers import PlainOpener
from sources.retry import PATIENCE
from tests.unit.sources.scenes_made_up import LEFT, TOP, WHEN, chip, item, reading, recipe
from tests.unit.sources.test_tile_reader import SCENE, clear, cut, numbers, s2

MakeRaster = Callable[..., SceneRef]
HERE = (slice(round((SCENE.y0 - TOP) / 10), round((SCENE.y0 - TOP) / 10) + 12),
        slice(round((LEFT - SCENE.x0) / 10), round((LEFT - SCENE.x0) / 10) + 12))  # fmt: skip
QUARTERS = {"start": "2022-01-01", "end": "2022-12-31", "windows": {"kind": "seasons", "calendar": "quarters"}}


def dates(make: MakeRaster, days: list[int], scls: list[Any] | None = None) -> list[Any]:
    return [
        s2(make, f"d{i}", numbers(seed=i), clear() if scls is None else scls[i], when=WHEN + timedelta(days=day))
        for i, day in enumerate(days)
    ]


def test_empty_steps_hold_no_data_and_no_time(make_raster: MakeRaster) -> None:
    items = dates(make_raster, [0, 5, 120])
    rules = recipe(bands=["B02"], time=QUARTERS, select={"max_dates": 1, "how": "closest", "keep_missing": True})
    (found,) = reading(rules, *items).read(chip()).chips
    layer = found.layers["m"]
    assert np.isnat(layer["time"].values).tolist() == [True, False, True, False]
    assert layer["valid"].values[[0, 2]].max() == 0
    assert layer["data"].values[[0, 2]].max() == 0
    np.testing.assert_array_equal(layer["data"].values[3, 0], cut(numbers(seed=2), SCENE))
    row = chip_row(found, rules)
    assert row["m.item_ids"] == ["", "d0", "", "d2"]
    assert row["m.window"] == ["2022-q1", "2022-q2", "2022-q3", "2022-q4"]
    assert row["m.datetimes"][0] is None
    assert row["m.gap_days"][2] is None
    assert row["m.clear_fraction"] == [0.0, 1.0, 0.0, 1.0]
    assert row["m.window_gap_days"][1] == pytest.approx(35.4, abs=1.0)


def test_median_is_of_the_dates_with_clear_ground_and_names_them_all(make_raster: MakeRaster) -> None:
    scls = [clear() for _ in range(4)]
    scls[1][HERE[0], HERE[1]] = 9
    scls[2][HERE[0].start, HERE[1].start] = 0
    items = dates(make_raster, [0, 1, 2, 3], scls)
    rules = recipe(bands=["B02"], select={"max_dates": 9}, composite={"how": "median"})
    for order in (items, items[::-1]):
        (found,) = reading(rules, *order).read(chip()).chips
        layer = found.layers["m"]
        used = np.stack([cut(numbers(seed=i), SCENE) for i in (0, 2, 3)]).astype(float)
        wanted = np.median(used, axis=0)
        wanted[0, 0] = used[[0, 2], 0, 0].mean()
        assert np.abs(layer["data"].values[0, 0] - wanted).max() <= 0.5
        assert layer["count"].values[0, 0, 0] == 2
        assert (layer["count"].values[0].ravel()[1:] == 3).all()
        assert (layer["valid"].values == Valid.CLEAR).all()
        row = chip_row(found, rules)
        assert (row["m.item_ids"], row["m.dates_used"], row["m.composite"]) == (["d0 d2 d3"], [3], ["median"])
        assert row["m.datetimes"] == [WHEN + timedelta(days=2)]
        assert row["m.last_datetimes"] == [WHEN + timedelta(days=3)]


@pytest.mark.parametrize("wish", [{"how": "medoid"}, {"how": "best", "best_by": "closest"}])
def test_one_date_is_taken_in_all_layers(make_raster: MakeRaster, wish: dict[str, Any]) -> None:
    """Every pixel of every layer is one date's, and of one date in both layers."""
    coarse = GeoRef(32632, SCENE.x0, SCENE.y0, 20.0, (45, 40))
    items = []
    for i in range(3):
        scl = clear()
        scl[:, i * 27 : i * 27 + 9] = 8
        scene = s2(
            make_raster, f"d{i}", np.full(SCENE.shape_yx, 1000 + i, np.uint16), scl, when=WHEN + timedelta(days=i)
        )
        second = make_raster(
            np.full(coarse.shape_yx, 2000 + i, np.uint16), coarse, name=f"d{i}-c", tag=0, nodata=0.0, band="B05"
        )
        second = replace(second, item_id=scene.item_id, unit="reflectance", scale=1e-4)
        items.append(replace(scene, refs=(*scene.refs, second)))
    rules = recipe(bands=["B02", "B05"], select={"max_dates": 9}, composite=wish)
    (found,) = reading(rules, *items).read(chip(left=LEFT)).chips
    fine, wide = found.layers["m_10m"], found.layers["m_20m"]
    seen, other = fine["data"].values[0, 0], wide["data"].values[0, 0]
    assert set(np.unique(seen)) <= {1000, 1001, 1002}
    assert set(np.unique(other)) <= {2000, 2001, 2002}
    blocks = seen.reshape(6, 2, 6, 2)
    agree = (blocks == (other - 1000)[:, None, :, None]).mean()
    assert agree > 0.9  # but where a coarse pixel straddles the edge of a cloud


@pytest.mark.parametrize(("min_count", "code"), [(0, Valid.HAZE), (1, Valid.NODATA)])
def test_a_pixel_that_no_date_sees_is_the_least_bad_one_s_where_it_is_asked_for(
    make_raster: MakeRaster, min_count: int, code: Valid
) -> None:
    scls = [clear() for _ in range(2)]
    scls[0][HERE][0, 0], scls[1][HERE][0, 0] = 9, 10  # cloud, cirrus
    items = dates(make_raster, [0, 1], scls)
    rules = recipe(bands=["B02"], select={"max_dates": 9}, composite={"how": "best", "min_count": min_count})
    (found,) = reading(rules, *items).read(chip()).chips
    layer = found.layers["m"]
    assert layer["valid"].values[0, 0, 0] == code
    assert layer["data"].values[0, 0, 0, 0] == (cut(numbers(seed=1), SCENE)[0, 0] if code == Valid.HAZE else 0)
    assert (layer["valid"].values[0].ravel()[1:] == Valid.CLEAR).all()


def test_composites_are_made_in_bounded_batches(make_raster: MakeRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    items = dates(make_raster, [0, 1, 2])
    rules = recipe(bands=["B02"], select={"max_dates": 9}, composite={"how": "median"})
    chips = [chip("a"), chip("b", LEFT + 120), chip("c", LEFT, TOP - 120)]
    whole = reading(rules, *items).read(*chips)
    monkeypatch.setattr(sources.modality_reader, "HELD_BYTES", 1)
    one_by_one = reading(rules, *items).read(*chips)
    for first, second in zip(whole.chips, one_by_one.chips, strict=True):
        assert first.layers["m"].identical(second.layers["m"])
    assert [step["chips"] for step in one_by_one.steps] == [["a", "b", "c"]] * 3


def test_an_item_that_fails_for_one_batch_is_read_for_the_next(
    make_raster: MakeRaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is gone for a minute: chips whose pixels came afterwards had failed with what was wrong before."""
    items = dates(make_raster, [0, 1])

    class Away(PlainOpener):
        tries = 0

        def resolve(self, href: str) -> str:
            if href == items[0].refs[0].href and self.tries < PATIENCE.attempts:
                self.tries += 1
                raise TransientSourceError("connection reset", href)
            return super().resolve(href)

    rules = recipe(bands=["B02"], select={"max_dates": 9}, composite={"how": "median"})
    monkeypatch.setattr(sources.modality_reader, "HELD_BYTES", 1)
    done = reading(rules, *items).read(chip("a"), chip("b", LEFT + 120), opener=Away())
    assert [outcome.chip_id for outcome in done.outcomes] == ["a"]
    assert [found.spec.chip_id for found in done.chips] == ["b"]


def test_radar_is_averaged_as_power_and_passes_do_not_mix(make_raster: MakeRaster) -> None:
    items = []
    for i, (power, state) in enumerate([(0.1, "ascending"), (0.4, "ascending"), (9.0, "descending")]):
        ref = make_raster(
            np.full(SCENE.shape_yx, power, np.float32), SCENE, name=f"s{i}", tag=-32768, nodata=-32768.0, band="vv"
        )
        scene = item(f"s{i}", [ref], sensor="sentinel-1-rtc", unit="linear", when=WHEN + timedelta(days=i))
        items.append(replace(scene, orbit_state=state, platform="sentinel-1a"))
    rules = recipe("sentinel-1-rtc", bands=["vv"], store="db", composite={"how": "mean"})
    (found,) = reading(rules, *items).read(chip()).chips
    layer = found.layers["m"]
    np.testing.assert_allclose(layer["data"].values, 10 * np.log10(0.25), atol=1e-5)
    assert (layer.attrs["unit"], layer["count"].values.min()) == ("dB", 2)
    assert chip_row(found, rules)["m.orbit_state"] == ["ascending"]
    asked = recipe("sentinel-1-rtc", bands=["vv"], orbit_state="descending")
    (found,) = reading(asked, *items).read(chip()).chips
    assert [date.lead.item_id for date in found.provenance["m"] if date.lead] == ["s2"]
    none = reading(recipe("sentinel-1-rtc", bands=["vv"], platforms=["sentinel-1c"]), *items).read(chip())
    assert [outcome.reason for outcome in none.outcomes] == ["m.min_dates"]


def test_overviews_are_enough_to_choose_by(make_raster: MakeRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten dates the clearest is kept; whole masks are read of that one alone, and it is judged by its whole mask."""
    grid = GeoRef(32632, LEFT - 300, TOP + 300, 10.0, (160, 190))
    items = []
    for i in range(10):
        scl = np.full(grid.shape_yx, 4, np.uint8)
        scl[: 16 * (1 + (i * 7) % 10)] = 9
        scene = s2(make_raster, f"d{i}", numbers(grid.shape_yx, i), scl, grid, when=WHEN + timedelta(days=i))
        with rasterio.open(scene.masks[0].href, "r+") as file:
            file.build_overviews([2, 4], Resampling.nearest)
        items.append(scene)
    whole: list[str] = []
    plain = item_reader.ItemReader.masks
    monkeypatch.setattr(
        item_reader.ItemReader, "masks", lambda self, i, chips: whole.append(i.item_id) or plain(self, i, chips)
    )
    rules = recipe(bands=["B02"], select={"how": "least_cloudy", "max_dates": 1, "min_clear_fraction": 0.5})
    (found,) = reading(rules, *items).read(chip(size=1280.0)).chips
    clears = [float((cutting(items[i], grid) == 4).mean()) for i in range(10)]
    assert [date.lead.item_id for date in found.provenance["m"] if date.lead] == [f"d{int(np.argmax(clears))}"]
    assert whole == [f"d{int(np.argmax(clears))}"]
    assert chip_row(found, rules)["m.clear_fraction"] == [pytest.approx(max(clears), abs=1e-6)]


def cutting(scene: Any, grid: GeoRef) -> Any:
    """The mask over the chip of 1280 m, read by another library's window."""
    with rasterio.open(scene.masks[0].href) as file:
        window = rasterio.windows.from_bounds(LEFT, TOP - 1280, LEFT + 1280, TOP, file.transform)
        return file.read(1, window=window)
