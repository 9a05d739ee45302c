"""The landscape is the same however it is cut, and holds what a landscape holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import noise
from sandbox.clouds import sun_at
from sandbox.place import regions_of, truth_grid
from sandbox.products import SandboxIndex
from sandbox.scenes import mgrs_tiles, scenes_of
from sandbox.world import open_landscape, sizes
from schemas.errors import UserError


def test_named_sizes() -> None:
    assert sizes == ("tiny", "demo")


def test_truth_holds_every_common_class(tiny: SandboxIndex) -> None:
    with rasterio.open(tiny.root / "truth" / "north_classes.tif") as data:
        codes, counts = np.unique(data.read(1), return_counts=True)
        assert data.res == (5, 5)
    share = dict(zip(codes.tolist(), (counts / counts.sum()).tolist(), strict=True))
    assert {10, 30, 40, 50, 60, 80} <= set(share)
    assert share[10] > 0.05
    assert share[40] > 0.3
    assert 0.02 < share[50] < 0.15
    assert 0 not in share


def test_truth_covers_the_region_in_both_zones(tiny: SandboxIndex) -> None:
    for region in regions_of("tiny"):
        land = open_landscape(region, tiny.root / "truth")
        assert land.stratum.shape == truth_grid(region).shape_yx
        west, south, east, north = tiny.regions[region.name]
        assert west < region.centre_lonlat[0] < east
        assert south < region.centre_lonlat[1] < north


def test_a_world_elsewhere_lies_in_the_zones_and_under_the_sun_of_its_place() -> None:
    scenes = scenes_of("tiny", (-60.0, -3.1))
    assert {region.epsgs for region in regions_of("tiny", (-60.0, -3.1))} == {(32720, 32721)}
    assert {scene.grid.epsg for scene in scenes if scene.sensor == "sentinel-2"} == {32720, 32721}
    assert {scene.grid.epsg for scene in scenes if scene.sensor == "landsat"} == {32620}
    tiles = {name for scene in scenes if scene.sensor == "sentinel-2" for name, _ in mgrs_tiles(scene)}
    assert tiles == {"20MRB", "21MSS"}  # what GEOTRANS names 500 m west and east of 60 W
    for scene in scenes:
        if scene.sensor != "sentinel-1":
            assert 9.0 < scene.time.hour + scene.time.minute / 60 - 60.0 / 15.0 < 12.0  # local solar time
            assert sun_at(scene.time, -60.0, -3.1).elevation_deg > 40.0


def test_zones_of_the_table_are_elsewhere_too() -> None:
    tiles = {name for s in scenes_of("tiny", (18.0, -33.9)) if s.sensor == "sentinel-2" for name, _ in mgrs_tiles(s)}
    assert tiles == {"33HYC", "34HBH"}
    north = [s for s in scenes_of("tiny", (21.0, 79.5)) if s.sensor == "sentinel-2"]
    assert {name for s in north for name, _ in mgrs_tiles(s)} == {"33XXJ", "35XLJ"}  # Svalbard has no zone 34


@pytest.mark.parametrize("at", [(180.0, -17.0), (10.0, 89.0), (float("nan"), 0.0)])
def test_a_world_that_would_be_cut_by_the_antimeridian_is_refused(at: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="cannot lie at"):
        regions_of("tiny", at)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 39), wave=st.floats(12.0, 900.0), seed=st.integers(0, 10_000))
def test_a_field_is_the_same_in_every_block(cut: int, wave: float, seed: int) -> None:
    xs, ys = 300.0 + 5.0 * np.arange(41), 9000.0 - 5.0 * np.arange(23)
    whole = noise.fractal(xs, ys, wave, seed)
    parts = np.concatenate([noise.fractal(xs[:cut], ys, wave, seed), noise.fractal(xs[cut:], ys, wave, seed)], axis=1)
    assert np.array_equal(whole, parts)


def test_a_field_has_zero_mean_and_unit_variance() -> None:
    field = noise.plane(np.arange(0, 8000.0, 7), np.arange(0, 6000.0, 7), 40.0, 3)
    assert field.mean() == pytest.approx(0, abs=0.03)
    assert field.std() == pytest.approx(1, abs=0.05)


def test_hashed_numbers_are_uniform() -> None:
    numbers = noise.hash_uniform(4, np.arange(200)[:, None], np.arange(301)[None, :])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] / numbers.size == pytest.approx(0.1, abs=0.01)


def test_blocks_of_work_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox import world

    region = regions_of("tiny")[1]
    whole = world.build_landscape(region, 3, tmp_path / "a", workers=1)
    monkeypatch.setattr(world, "BLOCK_PX", 190)
    parts = world.build_landscape(region, 3, tmp_path / "b", workers=2)
    for name in ("stratum", "vigour", "tone"):
        same = np.asarray(getattr(whole, name)) == np.asarray(getattr(parts, name))
        assert same.mean() > 0.999, name
