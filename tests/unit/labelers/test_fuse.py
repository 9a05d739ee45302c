"""Fusion: exact sums, rules, and an estimate that finds the errors that were put in."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from labelers import derived, fuse
from labelers.estimate import BELIEF, posterior_of, posterior_rows
from labelers.marks import FusionStatistics, added, distinct, mark_sizes, packed, symbols_of_marks, to_marks, unpacked
from labelers.places import Lookup
from labelers.unanimous import said_alike
from labelers.voters import FusionSetup, Voter, setup_of, vote_table
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Labels

TARGET = load_legend("worldcover-11")
CODES = np.array([entry.code for entry in TARGET.classes], dtype=np.uint8)
PRESENT = (0, 2, 3, 4, 7)
SOURCES = {
    "wc20": {"kind": "worldcover", "catalog": "c", "collection": "w", "year": 2020},
    "wc21": {"kind": "worldcover", "catalog": "c", "collection": "w", "year": 2021, "weight": 2.0},
    "corine": {"kind": "corine", "catalog": "c", "collection": "k", "weight": 0.5},
    "osm": {"kind": "osm", "catalog": "c", "collection": "o"},
}


def labels_of(method: str = "dawid-skene", names: tuple[str, ...] = tuple(SOURCES), **fuse_more: Any) -> Labels:
    return Labels.model_validate(
        {"sources": {name: SOURCES[name] for name in names}, "fuse": {"method": method} | fuse_more}
    )


def layer(source: str, classes: Any, legend: str, nodata: int) -> LabelLayer:
    array = np.asarray(classes)
    licence = "ODbL-1.0" if legend == "osm" else "CC-BY-4.0"
    grid = GeoRef(32632, 0.0, 0.0, 10.0, array.shape)
    return LabelLayer(source, array, grid, nodata, legend, "2021", licence, share_alike=legend == "osm")


def small_votes() -> list[LabelLayer]:
    return [
        layer("wc20", np.array([[10, 10, 30, 0], [40, 40, 50, 80], [10, 30, 50, 0]], np.uint8), "worldcover", 0),
        layer("wc21", np.array([[10, 30, 30, 0], [40, 30, 50, 80], [10, 30, 40, 0]], np.uint8), "worldcover", 0),
        layer("corine", np.array([[311, 311, 231, 999], [211, 211, 112, 512], [311, 231, 112, 999]], np.uint16),
              "corine-44", 999),
        layer("osm", np.array([[0, 8, 0, 0], [0, 0, 1, 16], [0, 0, 0, 0]], np.uint8), "osm", 0),
    ]  # fmt: skip


def field(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    made = gaussian_filter(rng.standard_normal(shape), sigma)
    return np.asarray(made / made.std())


@cache
def simulated(seed: int, shape: tuple[int, int] = (200, 260)) -> tuple[NDArray[np.int64], list[LabelLayer]]:
    """A true map, and the four sources' pictures of it with errors that hang together in space."""
    rng = np.random.default_rng(seed)
    bias = {0: 0.6, 2: 0.5, 3: 0.8, 4: -0.2, 7: -0.3}
    truth = np.array(PRESENT)[np.stack([field(rng, shape, 8) + bias[k] for k in PRESENT]).argmax(axis=0)]

    def erring(accuracy: float) -> NDArray[np.uint8]:
        luck = field(rng, shape, 1.5)
        order = np.array(PRESENT)[np.argsort(-np.stack([field(rng, shape, 3) for _ in PRESENT]), axis=0)]
        other = np.where(order[0] == truth, order[1], order[0])
        return CODES[np.where(luck > np.quantile(luck, accuracy), other, truth)]

    shares = np.stack([uniform_filter((truth == k).astype(float), 21)[5::10, 5::10] for k in PRESENT])
    coarse = np.kron(
        np.array([311, 231, 211, 112, 512], np.uint16)[shares.argmax(axis=0)], np.ones((10, 10), np.uint16)
    )
    mapped = np.zeros(shape, np.uint8)
    for k, code in zip(PRESENT, (8, 10, 11, 1, 16), strict=True):
        mapped[truth == k] = code
    cover = field(rng, shape, 6)
    return truth, [
        layer("wc20", erring(0.744), "worldcover", 0),
        layer("wc21", erring(0.767), "worldcover", 0),
        layer("corine", coarse, "corine-44", 999),
        layer("osm", np.where(cover > np.quantile(cover, 0.7), mapped, 0).astype(np.uint8), "osm", 0),
    ]


@cache
def estimated(seed: int) -> fuse.FusionModel:
    """The model of `simulated`; no pixel abstains."""
    setup = setup_of(labels_of(abstain_below=0.0))
    return fuse.estimate(fuse.statistics(simulated(seed)[1], setup), setup)


def mean_iou(label: NDArray[Any], truth: NDArray[Any]) -> float:
    scores = [((label == k) & (truth == k)).sum() / ((label == k) | (truth == k)).sum() for k in np.unique(truth)]
    return float(np.mean(scores))


def calibration_error(confidence: NDArray[np.uint8], right: NDArray[np.bool_]) -> float:
    share = confidence.ravel() / 255
    bins = np.minimum((share * 15).astype(int), 14)
    parts = [(bins == i, (bins == i).mean()) for i in range(15) if (bins == i).any()]
    return float(sum(abs(share[b].mean() - right.ravel()[b].mean()) * w for b, w in parts))


# Statistics


def test_counts_are_those_of_the_pixels() -> None:
    setup = setup_of(labels_of())
    stats = fuse.statistics(small_votes(), setup)
    assert stats.pixels == 10  # two pixels have no source
    marks, counts = stats.marks("")
    assert counts.dtype == np.int64
    assert (marks[:, :-1] >= 0).any(axis=1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2**31), st.integers(1, 4))
def test_any_division_of_the_chips_among_workers_gives_the_same_sum(seed: int, workers: int) -> None:
    rng = np.random.default_rng(seed)
    setup = setup_of(labels_of(names=("wc21", "corine")))
    chips = []
    for _ in range(7):
        wc = layer("wc21", rng.choice(np.array([0, 10, 30, 40], np.uint8), (5, 6)), "worldcover", 0)
        clc = layer("corine", rng.choice(np.array([999, 311, 211], np.uint16), (5, 6)), "corine-44", 999)
        chips.append(fuse.statistics([wc, clc], setup, region=str(rng.integers(2))))
    whole = reduce(FusionStatistics.__add__, chips)
    shuffled = [chips[i] for i in rng.permutation(7)]
    parts = [reduce(FusionStatistics.__add__, shuffled[i::workers]) for i in range(workers)]
    assert reduce(FusionStatistics.__add__, parts) == whole == added(shuffled)
    assert FusionStatistics.from_dict(json.loads(json.dumps(whole.to_dict()))).to_dict() == whole.to_dict()


def test_statistics_of_other_sources_do_not_add() -> None:
    one = fuse.statistics(small_votes()[:1], setup_of(labels_of(names=("wc20",))))
    other = fuse.statistics(small_votes(), setup_of(labels_of()))
    with pytest.raises(ValueError, match="wc20"):
        _ = one + other
    with pytest.raises(ValueError, match="wc20"):
        fuse.estimate(one, setup_of(labels_of()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_packed_marks_come_back(seed: int) -> None:
    marks = np.random.default_rng(seed).integers(-1, 5, (3, 6, 7))
    sizes = (6, 7, 9)
    keys, inverse = distinct(marks, sizes)
    np.testing.assert_array_equal(unpacked(keys, sizes)[inverse].T.reshape(marks.shape), marks)
    assert (np.diff(keys) > 0).all()
    np.testing.assert_array_equal(packed(unpacked(keys, sizes).T, sizes), keys)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(6, 7, 9), (2000, 3000, 9, 40), (4000, 5000, 6000), (1 << 25, 6)]))
def test_combinations_are_those_of_a_sort_whatever_the_size_of_the_tables(seed: int, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    few = [rng.integers(-1, size - 1, int(rng.integers(1, 30))) for size in sizes]
    marks = np.stack([rng.choice(values, (6, 7)) for values in few])
    keys, which = distinct(marks, sizes)
    expected, inverse = np.unique(packed(marks.reshape(len(marks), -1), sizes), return_inverse=True)
    np.testing.assert_array_equal(keys, expected)
    np.testing.assert_array_equal(which, inverse)
    assert [len(part) for part in distinct(marks[:, :0], sizes)] == [0, 0]


def test_more_sources_than_a_key_holds_are_refused() -> None:
    sources = {f"wc{i}": SOURCES["wc20"] for i in range(14)}
    labels = Labels.model_validate({"sources": sources, "fuse": {"method": "vote"}})
    with pytest.raises(RecipeError, match="14 label sources"):
        mark_sizes(setup_of(labels))


def test_marks_tell_middle_edge_and_speck_apart() -> None:
    codes = np.full((7, 9), 30, np.uint8)
    codes[:, 6:] = 40
    codes[2, 2] = 10
    levels = to_marks([layer("wc21", codes, "worldcover", 0)], setup_of(labels_of(names=("wc21",))))[0] % 3
    assert levels[2, 2] == 0
    assert levels[5, 5] == 1
    assert levels[5, 2] == 2


# Rules


def test_priority_takes_the_strongest_that_speaks_and_lets_the_next_narrow_its_set() -> None:
    setup = setup_of(labels_of("priority", priority=("osm", "corine", "wc21"), abstain_below=0.0))
    model = fuse.estimate(fuse.statistics(small_votes(), setup), setup)
    classes, confidence = fuse.apply(model, small_votes())
    names = [[TARGET.classes[i].name if i != 255 else "" for i in row] for row in classes]
    assert names[0][1] == "Tree cover"  # osm forest over worldcover grassland
    assert names[1][2] == "Built-up"
    assert names[1][1] == "Grassland"  # corine 211 admits cropland and grassland, worldcover 2021 says grassland
    assert names[0][3] == ""
    assert confidence[0, 3] == 0


def test_vote_divides_the_weight_among_what_a_code_admits() -> None:
    setup = setup_of(labels_of("vote", abstain_below=0.0, names=("wc20", "wc21", "corine")))
    votes = [
        layer("wc20", np.array([[40, 10]], np.uint8), "worldcover", 0),
        layer("wc21", np.array([[30, 30]], np.uint8), "worldcover", 0),
        layer("corine", np.array([[211, 999]], np.uint16), "corine-44", 999),
    ]
    model = fuse.estimate(fuse.statistics(votes, setup), setup)
    classes, confidence = fuse.apply(model, votes)
    assert classes.tolist() == [[2, 2]]
    shares = vote_table("corine-44", "worldcover-11").shares[vote_table("corine-44", "worldcover-11").symbol_of[211]]
    assert confidence[0, 0] == round((2.0 + 0.5 * shares[2]) / 3.5 * 255)
    assert confidence[0, 1] == round(2.0 / 3.0 * 255)  # CORINE ends between the two, and changes nowhere
    votes[2] = layer("corine", np.array([[211, 231]], np.uint16), "corine-44", 999)
    _, confidence = fuse.apply(model, votes)  # its border lies somewhere in its own pixel of 100 m
    assert confidence[0, 0] == round(fuse.EDGE_FACTOR * (2.0 + 0.5 * shares[2]) / 3.5 * 255)


@pytest.mark.parametrize("method", ["priority", "vote", "dawid-skene"])
def test_confidence_is_lower_where_classes_meet(method: str) -> None:
    truth, votes = simulated(3)
    setup = setup_of(labels_of(method, abstain_below=0.0))
    model = fuse.estimate(fuse.statistics(votes, setup), setup)
    classes, confidence = fuse.apply(model, votes)
    edge = np.zeros(truth.shape, dtype=bool)
    edge[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    edge[:, :-1] |= classes[:, 1:] != classes[:, :-1]
    assert confidence[edge].mean() < confidence[~edge].mean() - 10


@pytest.mark.parametrize("method", ["priority", "vote"])
@pytest.mark.parametrize("code", [10, 30])
def test_beside_a_pixel_of_which_nobody_speaks_no_class_meets_another(method: str, code: int) -> None:
    """Whatever the class: silence has none, not even the first of the legend."""
    setup = setup_of(labels_of(method, names=("wc21",)))
    gap = np.full((3, 7), code, np.uint8)
    gap[:, 3] = 0
    votes = [layer("wc21", gap, "worldcover", 0)]
    _, confidence = fuse.apply(fuse.estimate(fuse.statistics(votes, setup), setup), votes)
    assert len(np.unique(confidence[gap != 0])) == 1
    assert not confidence[:, 3].any()


def test_a_step_of_a_coarse_source_reaches_half_its_pixel_and_no_farther() -> None:
    setup = setup_of(labels_of("priority", names=("wc21",)))
    halves = np.full((15, 24), 10, np.uint8)
    halves[:, 12:] = 30
    (one,) = [layer("wc21", halves, "worldcover", 0)]
    votes = [replace(one, georef=GeoRef(32632, 0.0, 0.0, 2.0, halves.shape))]  # 5 m are two pixels and a half
    _, confidence = fuse.apply(fuse.estimate(fuse.statistics(votes, setup), setup), votes)
    lower = confidence < confidence.max()
    assert np.flatnonzero(lower.all(axis=0)).tolist() == [10, 11, 12, 13]
    assert not lower[:, [*range(10), *range(14, 24)]].any()


def test_a_pixel_below_the_threshold_abstains_and_keeps_its_confidence() -> None:
    _, votes = simulated(3)
    model = estimated(3)
    strict = replace(model, setup=replace(model.setup, abstain_below=0.8))
    everything, confidence = fuse.apply(model, votes)
    classes, same = fuse.apply(strict, votes)
    np.testing.assert_array_equal(confidence, same)
    abstained = classes == fuse.ABSTAINED
    assert 0 < abstained.mean() < 1
    assert confidence[abstained].max() <= 0.8 * 255 <= confidence[~abstained].min() + 1
    np.testing.assert_array_equal(classes[~abstained], everything[~abstained])


# Estimate


@pytest.mark.parametrize("seed", [1, 2])
def test_the_fused_map_beats_the_best_source_and_knows_how_sure_it_is(seed: int) -> None:
    truth, votes = simulated(seed)
    model = estimated(seed)
    classes, confidence = fuse.apply(model, votes)
    best = max(mean_iou(np.searchsorted(CODES, vote.classes), truth) for vote in votes[:2])
    assert mean_iou(classes, truth) > best + 0.1
    assert calibration_error(confidence, classes == truth) < 0.05


@pytest.mark.parametrize("position", [0, 1])
def test_the_confusion_that_was_put_in_is_found(position: int) -> None:
    truth, votes = simulated(1)
    model = estimated(1)
    assert model.estimate is not None
    found = model.estimate.confusion_of(position)[list(PRESENT)]
    put_in = np.zeros((11, 11))
    np.add.at(put_in, (truth.ravel(), np.searchsorted(CODES, votes[position].classes).ravel()), 1)
    put_in = put_in[list(PRESENT)] / put_in[list(PRESENT)].sum(axis=1, keepdims=True)
    assert np.abs(found - put_in).mean() < 0.03
    shares = model.estimate.shares[-1]
    assert np.abs(shares - np.bincount(truth.ravel(), minlength=11) / truth.size).max() < 0.05


def test_one_source_of_its_own_is_not_made_worse_by_coarse_ones() -> None:
    truth, votes = simulated(2)
    setup = setup_of(labels_of(names=("wc21", "corine", "osm"), abstain_below=0.0))
    model = fuse.estimate(fuse.statistics(votes[1:], setup), setup)
    classes, _ = fuse.apply(model, votes[1:])
    assert mean_iou(classes, truth) >= mean_iou(np.searchsorted(CODES, votes[1].classes), truth)


def test_what_osm_maps_by_choice_makes_the_ground_beside_it_no_worse() -> None:
    """Nearly all fields and houses are mapped and little else: where OSM is silent there is less of them."""
    truth, votes = simulated(1)
    known = field(np.random.default_rng(51), truth.shape, 6)
    speaks = known > np.where(np.isin(truth, (3, 4)), np.quantile(known, 0.25), np.quantile(known, 0.95))
    codes = np.select([truth == k for k in PRESENT], [8, 10, 11, 1, 16])
    osm = layer("osm", np.where(speaks, codes, 0).astype(np.uint8), "osm", 0)
    right = []
    for names, said in ((("wc21",), votes[1:2]), (("wc21", "osm"), [votes[1], osm])):
        setup = setup_of(labels_of(names=names, abstain_below=0.0))
        classes, _ = fuse.apply(fuse.estimate(fuse.statistics(said, setup), setup), said)
        right.append((classes == truth)[~speaks].mean())
    assert right[1] > right[0] + 0.015


def test_a_source_that_is_noise_loses_its_weight() -> None:
    truth, votes = simulated(1)
    rng = np.random.default_rng(0)
    noise = layer("wc20", CODES[rng.choice(np.array(PRESENT), truth.shape)], "worldcover", 0)
    setup = setup_of(labels_of(abstain_below=0.0))
    bad = [noise, *votes[1:]]
    classes, _ = fuse.apply(fuse.estimate(fuse.statistics(bad, setup), setup), bad)
    assert mean_iou(classes, truth) > mean_iou(np.searchsorted(CODES, votes[1].classes), truth)


def test_a_source_that_speaks_nowhere_changes_nothing_and_is_believed_where_it_speaks_later() -> None:
    votes = simulated(3)[1]
    setups = [setup_of(labels_of(names=names, abstain_below=0.0)) for names in (("wc21",), ("wc20", "wc21"))]
    silent = replace(votes[0], classes=np.zeros_like(votes[0].classes))
    alone = fuse.estimate(fuse.statistics(votes[1:2], setups[0]), setups[0])
    model = fuse.estimate(fuse.statistics([silent, votes[1]], setups[1]), setups[1])
    model = fuse.FusionModel.from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    for found, expected in zip(fuse.apply(model, [silent, votes[1]]), fuse.apply(alone, votes[1:2]), strict=True):
        np.testing.assert_array_equal(found, expected)
    truth, later = simulated(3)[0], fuse.apply(model, votes[:2])[0]
    assert (later == truth).mean() > (fuse.apply(alone, votes[1:2])[0] == truth).mean() + 0.05


def test_how_a_source_errs_that_is_not_listened_to_is_found_too() -> None:
    truth, votes = simulated(1)
    rng = np.random.default_rng(0)
    turned = np.roll(np.array(PRESENT), 1)[np.searchsorted(np.array(PRESENT), truth)]
    wrong = np.where(rng.random(truth.shape) < 0.5, turned, rng.choice(np.array(PRESENT), truth.shape))
    bad = [layer("wc20", CODES[wrong], "worldcover", 0), *votes[1:]]
    setup = setup_of(labels_of(abstain_below=0.0))
    model = fuse.estimate(fuse.statistics(bad, setup), setup)
    assert model.estimate is not None
    assert model.estimate.weights == (0.0, 1.0, 1.0, 1.0)
    found = model.estimate.confusion_of(0)[np.ix_(PRESENT, PRESENT)]
    put_in = np.array([[((truth == k) & (wrong == m)).sum() / (truth == k).sum() for m in PRESENT] for k in PRESENT])
    assert np.abs(found - put_in).mean() < 0.05


def test_absence_in_osm_is_no_evidence() -> None:
    _, votes = simulated(1)
    model = estimated(1)
    silent = [*votes[:3], layer("osm", np.zeros(votes[0].classes.shape, np.uint8), "osm", 0)]
    for one, other in zip(fuse.apply(model, votes[:3]), fuse.apply(model, silent), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_counts_give_the_same_model_through_json_too() -> None:
    _, votes = simulated(1)
    setup = setup_of(labels_of())
    stats = fuse.statistics(votes, setup, "north")
    model = fuse.estimate(stats, setup)
    again = fuse.estimate(FusionStatistics.from_dict(json.loads(json.dumps(stats.to_dict()))), setup)
    back = fuse.FusionModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert model.to_dict() == again.to_dict() == back.to_dict()
    for one, other in zip(fuse.apply(model, votes, "north"), fuse.apply(back, votes, "north"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_fused_does_not_hang_on_the_order_of_the_sources() -> None:
    _, votes = simulated(1)
    made = []
    for names in (tuple(SOURCES), tuple(reversed(SOURCES))):
        setup = setup_of(labels_of(names=names))
        made.append(fuse.apply(fuse.estimate(fuse.statistics(votes, setup), setup), votes))
    (classes, confidence), (again, sure) = made
    np.testing.assert_array_equal(again, classes)
    np.testing.assert_allclose(sure, confidence, atol=1)  # sums of another order


def test_marks_that_were_never_counted_speak_through_the_crosswalk() -> None:
    model = estimated(1)
    fresh = [
        layer("osm", np.full((3, 4), 16, np.uint8), "osm", 0),
        layer("corine", np.full((3, 4), 521, np.uint16), "corine-44", 999),
    ]
    classes, _ = fuse.apply(model, fresh)
    assert (classes == 7).all()


def test_the_summary_is_small_and_names_classes_and_sources() -> None:
    _, votes = simulated(1)
    summary = estimated(1).summary()
    text = json.dumps(summary)
    assert len(text) < 60_000
    assert set(summary["confusion"]) == set(SOURCES)
    assert len(summary["disagreement"]) == 6
    pair = next(p for p in summary["disagreement"] if (p["first"], p["second"]) == ("wc20", "wc21"))
    expected = np.mean(votes[0].classes != votes[1].classes)
    assert pair["share"] == pytest.approx(expected)
    assert np.array(pair["matrix"]).sum() == pair["pixels"] == votes[0].classes.size


def test_regions_have_class_shares_of_their_own() -> None:
    setup = setup_of(labels_of(names=("wc20", "wc21")))
    wood = [layer(n, np.full((9, 11), 10, np.uint8), "worldcover", 0) for n in ("wc20", "wc21")]
    lake = [layer(n, np.full((9, 11), 80, np.uint8), "worldcover", 0) for n in ("wc20", "wc21")]
    model = fuse.estimate(fuse.statistics(wood, setup, "a") + fuse.statistics(lake, setup, "b"), setup)
    assert model.estimate is not None
    shares = model.estimate.shares
    assert shares[model.estimate.place_of("a")][0] > 0.9
    assert shares[model.estimate.place_of("b")][7] > 0.9
    assert shares[model.estimate.place_of("elsewhere")][0] == pytest.approx(0.5, abs=0.05)


def test_the_posterior_s_best_class_and_its_share_are_those_of_the_tables_looked_up_one_by_one() -> None:
    _, votes = simulated(2)
    model = estimated(1)
    found = model.estimate
    assert found is not None
    sizes = mark_sizes(model.setup)
    rows = unpacked(distinct(to_marks(votes, model.setup), sizes)[0], sizes)
    lookup = Lookup(model.setup, len(found.regions) + 1, found.cells)
    plain, _ = posterior_rows(
        found.strata.reshape(-1, 11),
        lookup.strata_places(rows, found.place_of("")),
        [table.reshape(-1, 11) for table in found.tables],
        lookup.table_places(rows, found.place_of("")),
        found.weights,
    )
    plain = plain**BELIEF
    plain /= plain.sum(axis=1, keepdims=True)
    posterior = posterior_of(found, model.setup, rows)
    alike = said_alike(symbols_of_marks(rows, model.setup), model.setup, found.weights)
    np.testing.assert_array_equal(posterior.argmax(axis=1), np.where(alike < 0, plain.argmax(axis=1), alike))
    np.testing.assert_array_equal(posterior.max(axis=1), plain.max(axis=1))


# Layers and recipes


def test_the_fused_layer_carries_the_share_alike_licence() -> None:
    setup = setup_of(labels_of())
    model = fuse.estimate(fuse.statistics(small_votes(), setup), setup)
    found = fuse.fused_layer(model, small_votes())
    assert found.share_alike
    assert found.licence == "ODbL-1.0"
    assert (found.legend, found.nodata, found.classes.dtype) == ("worldcover-11", 255, np.uint8)
    assert not fuse.fused_layer(model, small_votes()[:2]).share_alike


def test_votes_that_do_not_fit_are_an_error() -> None:
    setup = setup_of(labels_of())
    votes = small_votes()
    with pytest.raises(ValueError, match="stranger"):
        fuse.statistics([replace(votes[0], source="stranger")], setup)
    with pytest.raises(ValueError, match="wc21"):
        fuse.statistics([votes[0], replace(votes[1], georef=GeoRef(32633, 0, 0, 10, (3, 4)))], setup)


def test_a_recipe_without_a_crosswalk_or_with_an_unknown_source_is_refused() -> None:
    with pytest.raises(RecipeError, match="crosswalk"):
        setup_of(labels_of(legend="lc-label"))
    with pytest.raises(RecipeError, match="priority names 'xy'"):
        setup_of(labels_of("priority", priority=("xy",)))


def test_the_start_is_the_published_accuracy() -> None:
    setup = setup_of(labels_of())
    assert [voter.accuracy for voter in setup.voters] == [0.744, 0.767, 0.85, 0.9]
    assert isinstance(setup, FusionSetup)
    assert isinstance(setup.voters[0], Voter)


def test_a_lone_map_is_changed_no_more_than_the_accuracy_that_the_recipe_tells_of_it() -> None:
    truth, _ = simulated(1)
    kept = []
    for told in ({}, {"accuracy": 0.98}):
        source = {"kind": "raster", "legend": "worldcover", "href": "a"} | told
        setup = setup_of(Labels.model_validate({"sources": {"mine": source}, "fuse": {}}))
        votes = [layer("mine", CODES[truth], "worldcover", 0)]
        classes, _ = fuse.apply(fuse.estimate(fuse.statistics(votes, setup), setup), votes)
        kept.append((classes == truth).mean())
    assert kept[0] < 0.95 < 0.99 < kept[1]


# Derived


def test_agreement_counts_a_class_that_all_admit() -> None:
    setup = setup_of(labels_of(names=("wc20", "wc21", "corine")))
    votes = [
        layer("wc20", np.array([[40, 40, 10, 10]], np.uint8), "worldcover", 0),
        layer("wc21", np.array([[40, 30, 10, 0]], np.uint8), "worldcover", 0),
        layer("corine", np.array([[211, 211, 512, 999]], np.uint16), "corine-44", 999),
    ]
    assert derived.agreement(votes, setup) == pytest.approx(1 / 3)
    assert derived.agreement(votes[:1], setup) is None


def test_a_source_of_another_year_counts_the_less_the_farther_it_is() -> None:
    labels = labels_of("vote", abstain_below=0.0, names=("wc20", "wc21"))
    assert [voter.freshness for voter in setup_of(labels).voters] == [1.0, 1.0]
    near, far = setup_of(labels, 2021), setup_of(labels, 2041)
    assert [voter.freshness for voter in near.voters] == pytest.approx([0.995, 1.0])
    votes = small_votes()[:2]
    confidence = [fuse.apply(fuse.estimate(fuse.statistics(votes, s), s), votes)[1] for s in (near, far)]
    assert confidence[1][0, 0] < confidence[0][0, 0]
