"""Sampling: the same seed gives the same cells in any order, and every step keeps what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from chips.cell_table import CellTable
from chips.grid_utm import to_table
from chips.overview import Overview, class_shares
from chips.places import Places
from chips.sampling import SampleData, find_sampler, priorities, sample_cells
from chips.sampling_classes import assign_classes, equal_quotas
from chips.sampling_spacing import spaced
from schemas.errors import RecipeError
from schemas.recipe_samples import Sample

STEP: TypeAdapter[Any] = TypeAdapter(Sample)


def _cells(columns: int = 30, rows: int = 20) -> CellTable:
    at = np.indices((columns, rows)).reshape(2, -1)
    return to_table(600 + at[0], 5500 + at[1], 32632, 960.0, "r")


def _sample(cells: CellTable, data: SampleData | None = None, seed: int = 7, **step: Any) -> CellTable:
    return sample_cells(cells, [STEP.validate_python(step)], [data or SampleData()], seed)


def _places(geometry: list[Any], **columns: list[Any]) -> Places:
    held = {name: np.array(values) for name, values in columns.items()}
    return Places(np.array(geometry, dtype=object), held, "places.csv")


def _middles(cells: CellTable, *index: int) -> list[shapely.Point]:
    lon, lat = cells.centres_lonlat()
    return [shapely.Point(lon[i], lat[i]) for i in index]


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "all"},
        {"kind": "random", "n": 50},
        {"kind": "random", "fraction": 0.3},
        {"kind": "spacing", "min_distance_m": 2500.0},
    ],
)
def test_order_of_the_cells_changes_nothing_and_the_seed_does(step: dict[str, Any]) -> None:
    cells = _cells()
    chosen = _sample(cells, **step)
    shuffled = _sample(cells.take(np.random.default_rng(3).permutation(len(cells))), **step)
    assert chosen.chip_id.tolist() == shuffled.chip_id.tolist()
    other = _sample(cells, seed=8, **step)
    assert (other.chip_id.tolist() == chosen.chip_id.tolist()) == (step["kind"] == "all")
    assert _sample(cells, seed=8, **step).chip_id.tolist() == other.chip_id.tolist()


def test_random_takes_what_was_asked() -> None:
    assert len(_sample(_cells(), kind="random", n=50)) == 50
    assert 0.25 < len(_sample(_cells(60, 50), kind="random", fraction=0.3)) / 3000 < 0.35


def test_a_larger_region_keeps_the_cells_that_a_fraction_drew() -> None:
    small = set(_sample(_cells(10, 20), kind="random", fraction=0.3).chip_id.tolist())
    large = set(_sample(_cells(30, 20), kind="random", fraction=0.3).chip_id.tolist())
    assert small == large & set(_cells(10, 20).chip_id.tolist())


def test_priorities_do_not_hang_on_the_width_of_the_array() -> None:
    names = np.array(["a", "32N_1_2"])
    assert priorities(names, 7).tolist() == priorities(names.astype("U40"), 7).tolist()
    spread = priorities(np.array([f"32N_{i}_7" for i in range(20_000)]), 7)
    assert np.abs(np.histogram(spread, 10, (0, 1))[0] - 2000).max() < 200


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 3000), st.floats(0.005, 0.3))
def test_spacing_is_what_a_greedy_walk_gives(seed: int, count: int, distance: float) -> None:
    random = np.random.default_rng(seed)
    points = np.column_stack([random.random((count, 2)), np.zeros(count)])
    order = random.permutation(count)
    taken: list[int] = []
    for index in order:
        if not taken or np.linalg.norm(points[taken] - points[index], axis=1).min() >= distance:
            taken.append(int(index))
    assert sorted(spaced(points, order, distance).tolist()) == sorted(taken)


def test_classes_are_balanced_over_an_overview() -> None:
    cells = _cells()
    left, bottom, right, top = (
        *cells.bounds[:, :2].min(axis=0).tolist(), *cells.bounds[:, 2:].max(axis=0).tolist(),
    )  # fmt: skip
    codes = np.full((40, 60), 40, np.uint8)  # pixels of 480 m: crops, some water, a little town, no data in a corner
    codes[:, 40:54], codes[30:34, 2:8], codes[:4, :4] = 80, 50, 0
    view = Overview(codes, "EPSG:32632", ((right - left) / 60, 0.0, left, 0.0, (bottom - top) / 40, top), 0)
    chosen = _sample(cells, SampleData(overviews=(view,)), kind="classes", files=["x.tif"], n=40)
    names, counts = np.unique(chosen.columns["class"], return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"40": 17, "50": 6, "80": 17}
    few = _sample(cells, SampleData(overviews=(view,)), kind="classes", files=["x.tif"], per_class=3, classes=[80, 50])
    assert sorted(few.columns["class"].tolist()) == ["50"] * 3 + ["80"] * 3


def test_shares_of_classes_are_those_of_the_pixels() -> None:
    cells = _cells(3, 2)
    left, top = cells.bounds[0, 0], cells.bounds[:, 3].max()
    codes = np.array([[1] * 6 + [2] * 9] * 10, np.uint8)  # 192 m: one and a fifth cells of class 1, then class 2
    view = Overview(codes, "EPSG:32632", (192.0, 0.0, left, 0.0, -192.0, top))
    kinds, shares = class_shares(cells, [view])
    assert kinds.tolist() == [1, 2]
    assert shares[:, 0].reshape(3, 2)[:, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * 6)


def _even(code: int, column: int, nodata: int | None) -> Overview:
    """One code on the cell of a column of `_cells`."""
    left, bottom, right, top = _cells(column + 1, 1).bounds[-1].tolist()
    transform = ((right - left) / 4, 0.0, left, 0.0, (bottom - top) / 4, top)
    return Overview(np.full((4, 4), code, np.uint8), "EPSG:32632", transform, nodata)


@pytest.mark.parametrize(("code", "nodata", "other"), [(20, 0, 0), (10, 255, 255)])
def test_no_data_of_one_overview_may_be_a_class_in_another(code: int, nodata: int, other: int) -> None:
    cells = _cells(3, 1)
    kinds, shares = class_shares(cells, [_even(code, 0, nodata), _even(other, 1, None)])
    at = {kind: shares[:, index].tolist() for index, kind in enumerate(kinds.tolist())}
    assert at == {code: [1.0, 0.0, 0.0], other: [0.0, 1.0, 0.0]}


def test_no_data_of_every_overview_is_no_class() -> None:
    kinds, shares = class_shares(_cells(3, 1), [_even(20, 0, 0), _even(0, 1, 0), _even(255, 2, 255)])
    assert kinds.tolist() == [20]
    assert shares[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_rarest_class_counts_where_it_fills_enough() -> None:
    shares = np.array([[0.9, 0.1], [0.95, 0.05], [1.0, 0.0], [0.0, 0.0]])
    assert assign_classes(shares, "rarest", 0.1)[0].tolist()[:3] == [1, 0, 0]
    assert assign_classes(shares, "dominant", 0.1)[1].tolist() == [True, True, True, False]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 200))
def test_quotas_are_as_equal_as_they_can_be(counts: list[int], total: int) -> None:
    quotas = equal_quotas(np.array(counts), total)
    assert quotas.sum() == min(total, sum(counts))
    assert (quotas <= counts).all()
    for quota, count in zip(quotas, counts, strict=True):
        assert quota == count or quota >= quotas.max() - 1


def test_categories_are_capped_and_the_rare_one_counts() -> None:
    cells = _cells(10, 2)
    points = _middles(cells, *range(20), 4, 9)
    kinds = ["house"] * 20 + ["mill"] * 2
    chosen = _sample(cells, SampleData(_places(points, kind=kinds)), kind="features", file="x", column="kind", cap=5)
    assert sorted(chosen.columns["kind"].tolist()) == ["house"] * 5 + ["mill"] * 2
    assert {cells.chip_id[4], cells.chip_id[9]} <= set(chosen.chip_id.tolist())


def test_cities_draw_the_near_ones() -> None:
    cells = _cells(100, 3)
    city = SampleData(_places(_middles(cells, 0), name=["a"]))
    ring = _sample(cells, city, kind="cities", file="x", min_km=5, max_km=10)
    assert ring.columns["city_km"].min() >= 5
    assert ring.columns["city_km"].max() <= 10
    near = _sample(cells, city, kind="cities", file="x", n=40, sigma_km=20)
    assert len(near) == 40
    assert near.columns["city_km"].mean() < 25  # of a uniform draw: 48


def test_ecoregions_have_quotas() -> None:
    cells = _cells(10, 4)
    lon, lat = cells.centres_lonlat()
    middle = float(np.median(lon))
    areas = [shapely.box(lon.min() - 1, 40, middle, 50), shapely.box(middle, 40, lon.max() + 1, 50)]
    data = SampleData(_places(areas, biome=["moor", "wood"]))
    chosen = _sample(cells, data, kind="ecoregions", file="x", column="biome", quota={"moor": 3})
    assert chosen.columns["biome"].tolist() == ["moor"] * 3
    assert len(_sample(cells, data, kind="ecoregions", file="x", column="biome", quota=4)) == 8
    assert lat.size == 40


def test_points_and_footprints_lend_their_columns() -> None:
    cells = _cells(10, 4)
    point, footprint = _middles(cells, 7)[0], cells.take(np.array([20])).footprints()[0].buffer(-0.002)
    data = SampleData(_places([point, footprint], event=["flood", "fire"]))
    chosen = _sample(cells, data, kind="points", file="x")
    assert dict(zip(chosen.chip_id.tolist(), chosen.columns["event"].tolist(), strict=True)) == {
        str(cells.chip_id[7]): "flood",
        str(cells.chip_id[20]): "fire",
    }


def test_lists_name_chips_or_major_tom_cells() -> None:
    cells = _cells()
    names = [str(cells.chip_id[3]), str(cells.chip_id[5])]
    assert _sample(cells, kind="list", names=names).chip_id.tolist() == sorted(names)
    by_cell = _sample(cells, kind="list", names=[str(cells.majortom[0])])
    assert (by_cell.majortom == cells.majortom[0]).all()
    with pytest.raises(RecipeError, match=r"1 of 2 names, the first 'nowhere'"):
        _sample(cells, kind="list", names=[names[0], "nowhere"])


def every_other(cells: CellTable, step: Any, data: SampleData, seed: int) -> CellTable:
    """A sampler from outside."""
    return cells.take(np.arange(0, len(cells), int(step.options["every"])))


def made_up(cells: CellTable, step: Any, data: SampleData, seed: int) -> CellTable:
    """A sampler that breaks its promise."""
    return to_table(np.array([1]), np.array([1]), 32632, 960.0, "r")


def test_samplers_of_others_are_named_by_module() -> None:
    kind = f"{__name__}:every_other"
    assert len(_sample(_cells(), kind=kind, options={"every": 4})) == 150
    with pytest.raises(RecipeError, match="cells that it was not given"):
        _sample(_cells(), kind=f"{__name__}:made_up")


def no_table(cells: CellTable, step: Any, data: SampleData, seed: int) -> Any:
    """A sampler that gives names."""
    return list(cells.chip_id)


def test_a_sampler_of_others_that_fails_or_gives_no_table_is_one_line() -> None:
    with pytest.raises(RecipeError, match=r"sample.0: the sampler 'os:system' failed: TypeError"):
        _sample(_cells(), kind="os:system")
    with pytest.raises(RecipeError, match="gave list, no CellTable"):
        _sample(_cells(), kind=f"{__name__}:no_table")


def test_unknown_sampler_names_the_known() -> None:
    with pytest.raises(RecipeError, match=r"unknown sampler 'hexagons' .*known: all, cities, classes"):
        find_sampler("hexagons")
    with pytest.raises(RecipeError, match="cannot be imported"):
        find_sampler("no.such.module:name")


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "points"},
        {"kind": "features", "column": "name", "cap": 5},
        {"kind": "cities", "n": 5, "max_km": 3},
        {"kind": "ecoregions", "column": "name", "quota": 5},
    ],
)
def test_a_step_that_leaves_nothing_is_one_line(step: dict[str, Any]) -> None:
    far = SampleData(_places([shapely.Point(100.0, 10.0)], name=["a"]))
    with pytest.raises(RecipeError, match=rf"sample.0: the step '{step['kind']}' leaves none of 600 cells"):
        _sample(_cells(), far, file="x", **step)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"kind": "random"}, "needs n or fraction"),
        ({"kind": "classes", "files": ["x"]}, "needs n or per_class"),
        ({"kind": "cities", "file": "x", "min_km": 5, "max_km": 3}, "not above"),
        ({"kind": "cities", "file": "x", "sigma_km": 5}, "needs n"),
        ({"kind": "list"}, "needs a file or names"),
        ({"kind": "random", "n": 5, "m": 5}, "Extra inputs"),
    ],
)
def test_nonsense_is_refused(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STEP.validate_python(step)
