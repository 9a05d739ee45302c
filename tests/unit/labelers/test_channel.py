"""How a source of its own errs: what is published is held, the rest is free; and where tables are looked up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelers.channel import HELD, HELD_PIXELS, class_accuracies, held_channel, start_channel
from labelers.marks import LEVELS
from labelers.places import Lookup
from labelers.surroundings import DOMINANCE, INNER_M, OUTER_M, RING_LEVELS, SILENT_RING, STEPS, box_sums, ring_marks
from labelers.voters import SILENT, FusionSetup, setup_of
from schemas.recipe import Labels

WATER, WETLAND = 7, 8


def setup(*kinds: str) -> FusionSetup:
    sources = {f"{kind}{i}": {"kind": kind, "href": "a", "year": 2021} for i, kind in enumerate(kinds)}
    return setup_of(Labels.model_validate({"sources": sources, "fuse": {}}))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 0.95))
def test_accuracies_by_class_have_the_overall_one_as_their_mean(seed: int, overall: float) -> None:
    alone = setup("worldcover")
    shares = np.random.default_rng(seed).dirichlet(np.ones(11))
    found = class_accuracies(alone.voters[0], alone.tables()[0], shares, overall)
    assert shares @ found == pytest.approx(overall, abs=1e-6)
    assert found[WETLAND] < found[WATER]


def test_a_source_of_which_nothing_is_published_by_class_is_as_right_in_each() -> None:
    raster = setup_of(
        Labels.model_validate(
            {"sources": {"a": {"kind": "raster", "href": "a", "legend": "worldcover-11"}}, "fuse": {}}
        )
    )
    found = class_accuracies(raster.voters[0], raster.tables()[0], np.full(11, 1 / 11), 0.8)
    np.testing.assert_allclose(found, 0.8, atol=1e-6)


def test_the_start_says_so_often_what_is_said_wrongly() -> None:
    table = setup("worldcover").tables()[0]
    seen = np.arange(11.0)
    channel = start_channel(table, seen, np.full(11, 0.7))
    np.testing.assert_allclose(channel.sum(axis=0), 1)
    np.testing.assert_allclose(np.diag(channel), 0.7, atol=1e-4)
    assert channel[10, 3] == pytest.approx(2 * channel[5, 3], rel=1e-3)


def test_accuracy_is_held_and_what_is_said_in_its_place_is_free() -> None:
    table = setup("worldcover").tables()[0]
    rng = np.random.default_rng(2)
    cells = rng.dirichlet(np.ones(11), (4, 11)).transpose(0, 2, 1)
    pixels = rng.uniform(1e8, 2e8, (4, 11))
    accuracy = np.full(11, 0.75)
    held = held_channel(cells, pixels, table, accuracy, start_channel(table, np.ones(11), accuracy))
    np.testing.assert_allclose(held.sum(axis=1), 1)

    def summed(tables: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("csk,ck->sk", tables, pixels) / pixels.sum(axis=0))

    before, after = summed(cells), summed(held)
    np.testing.assert_allclose(np.diag(after), (1 - HELD) * np.diag(before) + HELD * 0.75, atol=0.02)
    off = ~np.eye(11, dtype=bool)
    apart = np.where(off, before, 0) / np.where(off, before, 0).sum(axis=0)
    np.testing.assert_allclose(np.where(off, after, 0) / np.where(off, after, 0).sum(axis=0), apart, atol=0.01)


def test_of_few_pixels_the_start_is_believed() -> None:
    table = setup("worldcover").tables()[0]
    accuracy = np.full(11, 0.75)
    start = start_channel(table, np.ones(11), accuracy)
    turned = np.roll(np.eye(11), 1, axis=0)[None] * 0.9 + 0.1 / 11
    held = held_channel(turned, np.full((1, 11), HELD_PIXELS / 1100), table, accuracy, start)
    np.testing.assert_allclose(held[0], start, atol=0.02)


def test_a_cell_that_was_never_counted_looks_at_the_last() -> None:
    both = setup("corine", "osm")
    marks = np.array([[3, 5, 7], [3, 6, 7], [4, SILENT, 7], [3, 5, SILENT]])
    lookup = Lookup.of(both, marks, 1)
    corine, osm = lookup.table_shape(0), lookup.table_shape(1)
    assert (corine[0], osm[0]) == (3, 3)  # two rings; two cells in which OSM speaks
    fresh = np.array([[9, 5, 7]])
    assert lookup.table_places(fresh, 0)[0] // corine[1] == 0  # the ring was met
    assert lookup.table_places(fresh, 0)[1] // osm[1] == 2  # not with this code of CORINE
    assert lookup.table_places(marks, 0)[1].tolist()[2] == SILENT


def test_steadiness_and_ring_make_the_place_of_the_class_shares() -> None:
    two = setup("worldcover", "worldcover")
    lookup = Lookup(two, 2, (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    marks = np.array([[1, 5, 3], [2, SILENT, 3], [2, 5, SILENT]])
    kinds, steps = 11 * RING_LEVELS + 1, 2 * (LEVELS - 1) + 1
    expected = [(1 * kinds + 3) * steps + 3, (1 * kinds + 3) * steps + 2, (1 * kinds + kinds - 1) * steps + 4]
    assert lookup.strata_places(marks, 1).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 9))
def test_sums_over_squares_are_those_of_the_pixels(seed: int, reach: int, other: int) -> None:
    values = np.random.default_rng(seed).integers(0, 64, (7, 9))
    for half, found in zip((reach, other), box_sums(values, (reach, other)), strict=True):
        for y in range(7):
            for x in range(9):
                window = values[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
                assert found[y, x] == window.sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 12), st.sampled_from([5.0, 10.0, 30.0, 100.0]))
def test_rings_are_those_of_a_count_pixel_by_pixel(seed: int, sources: int, classes: int, pixel_m: float) -> None:
    rng = np.random.default_rng(seed)
    shares, symbols = [], []
    for _ in range(sources):
        table = np.zeros((int(rng.integers(1, 9)), classes))
        for row in table:  # as crosswalks have it: each class that a code admits has half of what the one before has
            admitted = rng.permutation(classes)[: rng.integers(1, 4)]
            row[admitted] = 0.5 ** np.arange(len(admitted)) / (0.5 ** np.arange(len(admitted))).sum()
        shares.append(table)
        said = rng.integers(-1, len(table), (7, 5)).repeat(2, axis=1).astype(np.int16)
        symbols.append(np.where(rng.random(said.shape) < rng.random(), np.int16(SILENT), said))
    inner = max(round(INNER_M / pixel_m), 1)
    outer = max(round(OUTER_M / pixel_m), inner + 1)
    found = ring_marks(symbols, shares, pixel_m)
    rows, columns = np.indices(found.shape)
    for y, x in np.ndindex(found.shape):
        away = np.maximum(abs(rows - y), abs(columns - x))
        around = (away <= outer) & (away > inner)
        votes = np.zeros(classes, dtype=np.int64)
        for layer, table in zip(symbols, shares, strict=True):
            spoken = layer[around][layer[around] >= 0]
            votes += np.rint(table * STEPS).astype(np.int64)[spoken].sum(axis=0)
        share = np.float32(votes.max()) / np.float32(max(votes.sum(), 1))
        level = sum(int(share >= np.float32(least)) for least in DOMINANCE)
        assert found[y, x] == (votes.argmax() * RING_LEVELS + level if votes.sum() > STEPS // 2 else SILENT_RING)
