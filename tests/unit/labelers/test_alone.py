"""Where no land cover map speaks, what is known of CORINE and OpenStreetMap stands, and is not estimated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from labelers import fuse
from labelers.alone import is_alone, known_of
from labelers.voters import SILENT, FusionSetup, setup_of
from schemas.recipe import Labels
from tests.unit.labelers.test_fuse import labels_of, layer, simulated

FARMLAND, FOREST, ARABLE, BROADLEAVED = 11, 8, 211, 311
CROPS, GRASS, TREES = 3, 2, 0


def setup_with(names: tuple[str, ...]) -> FusionSetup:
    return setup_of(labels_of(names=names, abstain_below=0.0))


def said(setup: FusionSetup, **codes: int) -> NDArray[np.int64]:
    """(1, voters) symbols of codes by source; a source that is not named is silent."""
    tables = zip(setup.voters, setup.tables(), strict=True)
    symbols = [table.codes.index(codes[v.source]) if v.source in codes else SILENT for v, table in tables]
    return np.array([symbols])


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
    assert set(np.unique(confidence[mapped])) == {round(0.9 * 255)}
    assert model.summary()["alone"] == (pytest.approx(0.15 / 0.65, abs=0.06) if beside else 1.0)


def test_what_another_source_says_alike_adds_nothing_and_what_it_contradicts_takes_away() -> None:
    setup = setup_with(("corine", "osm"))
    for corine, sure in ((ARABLE, 0.9), (BROADLEAVED, 0.9 * 0.25 / (0.9 * 0.25 + 0.1))):
        (shares,) = known_of(said(setup, corine=corine, osm=FARMLAND), setup, (1.0, 1.0))
        assert shares.argmax() == CROPS
        assert shares.max() == pytest.approx(sure)
        assert shares.sum() == pytest.approx(1.0)


def test_a_code_of_several_classes_is_right_less_often_and_the_rest_falls_to_them_first() -> None:
    setup = setup_with(("corine", "osm"))
    (shares,) = known_of(said(setup, corine=ARABLE), setup, (1.0, 1.0))
    assert shares[CROPS] == pytest.approx(0.75)
    assert shares[GRASS] == pytest.approx(0.125)
    sources = {"corine": {"kind": "corine", "href": "a.tif", "accuracy": 0.95}}
    told = setup_of(Labels.model_validate({"sources": sources, "fuse": {}}))
    assert known_of(said(told, corine=ARABLE), told, (1.0,)).max() == pytest.approx(0.95)


def test_what_the_recipe_names_first_decides_nothing() -> None:
    made = []
    for names in (("corine", "osm"), ("osm", "corine")):
        setup = setup_with(names)
        made.append(known_of(said(setup, corine=ARABLE, osm=FOREST), setup, (1.0, 1.0)))
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
        (shares,) = known_of(said(setup, corine=BROADLEAVED, osm=FARMLAND), setup, (1.0, 1.0))
        assert shares.argmax() == wanted


def test_alone_is_where_no_map_speaks_that_is_listened_to() -> None:
    setup = setup_with(("wc21", "osm"))
    rows = [said(setup, osm=FOREST), said(setup, wc21=10, osm=FOREST), said(setup, wc21=10), said(setup)]
    symbols = np.concatenate(rows)
    assert is_alone(symbols, setup, (1.0, 1.0)).tolist() == [True, False, False, False]
    assert is_alone(symbols, setup, (0.0, 1.0)).tolist() == [True, True, False, False]
    assert not is_alone(symbols, setup, (1.0, 0.0)).any()
