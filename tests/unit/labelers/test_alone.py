"""Where no land cover map speaks, what is known of CORINE and OpenStreetMap stands, and is not estimated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelers import fuse
from labelers.alone import FEW_PIXELS, MOST_LEFT, NEAR_STEP, is_alone, known_of, left_of
from labelers.voters import SILENT, FusionSetup, setup_of
from schemas.recipe import Labels
from tests.unit.labelers.test_fuse import labels_of, layer, simulated

FARMLAND, FOREST, ROAD, ARABLE, URBAN, BROADLEAVED, CONIFEROUS = 11, 8, 2, 211, 112, 311, 312
CROPS, GRASS, TREES, BUILT = 3, 2, 0, 4


def setup_with(names: tuple[str, ...]) -> FusionSetup:
    return setup_of(labels_of(names=names, abstain_below=0.0))


def said(setup: FusionSetup, **codes: int) -> NDArray[np.int64]:
    """(1, voters) symbols of codes by source; a source that is not named is silent."""
    tables = zip(setup.voters, setup.tables(), strict=True)
    symbols = [table.codes.index(codes[v.source]) if v.source in codes else SILENT for v, table in tables]
    return np.array([symbols])


def known(setup: FusionSetup, near: bool = False, **codes: int) -> NDArray[np.float64]:
    """(classes,) of `known_of` where the sources say these codes, near a border of CORINE or not."""
    symbols = said(setup, **codes)
    is_near = np.array([[near and voter.source == "corine" for voter in setup.voters]])
    return known_of(symbols, is_near, setup, (1.0,) * symbols.shape[1])[0]


@pytest.mark.parametrize("beside", [(), ("wc21",)])
def test_openstreetmap_s_classes_stand_where_no_map_tells_how_it_errs(beside: tuple[str, ...]) -> None:
    """Half of the chips have the map, or none has; every class was taken for another one in part of them."""
    truth, votes = simulated(1)
    setup, half = setup_with((*beside, "osm")), truth.shape[0] // 2
    chips = [
        [
            layer(vote.source, vote.classes[rows], vote.legend, vote.nodata)
            for vote in votes
            if vote.source == "osm" or (vote.source in beside and not rows.start)
        ]
        for rows in (slice(0, half), slice(half, None))
    ]
    model = fuse.estimate(fuse.statistics(chips[0], setup) + fuse.statistics(chips[1], setup), setup)
    classes, confidence = fuse.apply(model, chips[1])
    mapped = chips[1][-1].classes > 0
    np.testing.assert_array_equal(classes[mapped], truth[half:][mapped])
    assert set(np.unique(confidence[mapped])) == {round(0.94 * 255)}
    assert model.summary()["alone"] == (pytest.approx(0.15 / 0.65, abs=0.06) if beside else 1.0)


def test_what_another_source_says_alike_adds_nothing_and_what_it_contradicts_takes_away() -> None:
    setup = setup_with(("corine", "osm"))
    for corine, sure in ((ARABLE, 0.94), (BROADLEAVED, 0.94 * 0.28 / (0.94 * 0.28 + 0.06))):
        shares = known(setup, corine=corine, osm=FARMLAND)
        assert shares.argmax() == CROPS
        assert shares.max() == pytest.approx(sure)
        assert shares.sum() == pytest.approx(1.0)


def test_a_code_of_several_classes_is_right_less_often_and_the_rest_falls_to_them_first() -> None:
    setup = setup_with(("corine", "osm"))
    shares = known(setup, corine=ARABLE)
    assert shares[CROPS] == pytest.approx(0.72)
    assert shares[GRASS] == pytest.approx(0.14)
    sources = {"corine": {"kind": "corine", "href": "a.tif", "accuracy": 0.95}}
    told = setup_of(Labels.model_validate({"sources": sources, "fuse": {}}))
    for code in (ARABLE, URBAN, BROADLEAVED):
        assert known(told, corine=code).max() == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("codes", "first", "sure"),
    [
        ({"corine": BROADLEAVED}, TREES, 0.9),
        ({"corine": URBAN}, BUILT, 0.35),
        ({"osm": ROAD}, BUILT, 0.5),
        ({"osm": ROAD, "corine": URBAN}, BUILT, 0.5),
    ],
)
def test_a_code_is_as_right_as_its_definition_lets_expect(codes: dict[str, int], first: int, sure: float) -> None:
    shares = known(setup_with(("corine", "osm")), **codes)
    assert shares.argmax() == first
    assert shares.max() == pytest.approx(sure)
    assert shares.sum() == pytest.approx(1.0)


def test_near_a_border_of_corine_confidence_is_less_and_the_class_stands() -> None:
    setup = setup_with(("corine", "osm"))
    assert known(setup, near=True, corine=ARABLE)[CROPS] == pytest.approx(NEAR_STEP * 0.72)
    assert known(setup, near=True, corine=URBAN).argmax() == BUILT
    here, beyond = (known(setup, near, corine=BROADLEAVED, osm=FARMLAND).max() for near in (True, False))
    assert here > beyond


def test_a_border_is_where_the_class_changes_within_half_a_pixel_of_corine() -> None:
    setup, codes = setup_with(("corine",)), np.full((3, 40), ARABLE)
    codes[:, :20], codes[:, 30:] = BROADLEAVED, CONIFEROUS
    votes = [layer("corine", codes, "corine-44", 999)]
    model = fuse.estimate(fuse.statistics(votes, setup), setup)
    classes, confidence = fuse.apply(model, votes)
    np.testing.assert_array_equal(np.unique(classes[:, :20]), [TREES])
    inside, border = confidence[0, 10], confidence[0, 15:20]
    assert set(border) == {round(NEAR_STEP * int(inside))}


def test_two_forests_have_no_border_between_them() -> None:
    setup, codes = setup_with(("corine",)), np.full((3, 40), BROADLEAVED)
    codes[:, 20:] = CONIFEROUS
    votes = [layer("corine", codes, "corine-44", 999)]
    model = fuse.estimate(fuse.statistics(votes, setup), setup)
    assert len(np.unique(fuse.apply(model, votes)[1])) == 1


def left(osm: int, share: float) -> float:
    """How often CORINE's arable land is right where the map is silent, of which it has drawn this share."""
    setup = setup_with(("corine", "osm"))
    symbols = np.concatenate([said(setup, corine=ARABLE, osm=osm), said(setup, corine=ARABLE)])
    counts, near = 1e7 * np.array([share, 1 - share]), np.zeros(symbols.shape, dtype=bool)
    found = left_of(symbols, near, counts, (np.zeros(2, dtype=np.intp), 1), setup, (1.0, 1.0))
    known = known_of(symbols, near, setup, (1.0, 1.0), found, 0)
    assert known[1].argmax() == CROPS
    return float(known[1].max())


def test_where_the_map_has_drawn_the_fields_less_of_the_rest_is_fields() -> None:
    assert left(FARMLAND, 0.0) == pytest.approx(0.72)
    assert left(FARMLAND, 0.4) == pytest.approx((0.72 - 0.4 * 0.94) / 0.6, abs=FEW_PIXELS / 1e6)
    assert left(FARMLAND, 0.9) == pytest.approx(0.36)


def test_a_map_that_contradicts_nearly_everything_leaves_little_more_than_was_supposed() -> None:
    assert left(FOREST, 0.9) == pytest.approx(0.72 + MOST_LEFT * 0.28)


def test_where_two_sources_agree_no_better_than_chance_either_may_be_the_wrong_one() -> None:
    setup, truth = setup_with(("corine", "osm")), np.random.default_rng(3).integers(0, 2, (64, 128))
    drawn, mapped = np.array([FARMLAND, FOREST])[truth], np.array([ARABLE, BROADLEAVED])
    sure = []
    for codes in (mapped[truth], mapped[np.roll(truth, 31, axis=1)]):
        votes = [layer("corine", codes, "corine-44", 999), layer("osm", drawn, "osm", 0)]
        classes, confidence = fuse.apply(fuse.estimate(fuse.statistics(votes, setup), setup), votes)
        np.testing.assert_array_equal(classes, np.array([CROPS, TREES])[truth])
        sure.append(confidence.max() / 255)
    assert sure[0] == pytest.approx(0.94, abs=0.01)
    assert sure[1] == pytest.approx(0.5 * 0.94 + 0.5 * 0.5, abs=0.05)


def test_what_the_recipe_names_first_decides_nothing() -> None:
    made = []
    for names in (("corine", "osm"), ("osm", "corine")):
        setup = setup_with(names)
        made.append(known(setup, corine=ARABLE, osm=FOREST))
    np.testing.assert_array_equal(*made)
    assert made[0].argmax() == TREES


@pytest.mark.parametrize(
    ("corine", "osm", "wanted"), [(0.95, 0.8, TREES), (0.8, 0.95, CROPS), (0.8, 0.8, TREES)], ids=str
)
def test_the_source_that_is_right_most_often_decides_and_of_equals_the_first_by_name(
    corine: float, osm: float, wanted: int
) -> None:
    sources = {"corine": {"kind": "corine", "href": "a.tif", "accuracy": corine},
               "osm": {"kind": "osm", "href": "a.osm.pbf", "accuracy": osm}}  # fmt: skip
    for names in (("corine", "osm"), ("osm", "corine")):
        setup = setup_of(Labels.model_validate({"sources": {name: sources[name] for name in names}, "fuse": {}}))
        assert known(setup, corine=BROADLEAVED, osm=FARMLAND).argmax() == wanted


def test_alone_is_where_no_map_speaks_that_is_listened_to() -> None:
    setup = setup_with(("wc21", "osm"))
    rows = [said(setup, osm=FOREST), said(setup, wc21=10, osm=FOREST), said(setup, wc21=10), said(setup)]
    symbols = np.concatenate(rows)
    assert is_alone(symbols, setup, (1.0, 1.0)).tolist() == [True, False, False, False]
    assert is_alone(symbols, setup, (0.0, 1.0)).tolist() == [True, True, False, False]
    assert not is_alone(symbols, setup, (1.0, 0.0)).any()
