"""What two sources say alike is not overruled by what lies around it."""

from __future__ import annotations

import numpy as np
import pytest

from labelers import fuse
from labelers.unanimous import NONE, let_stand, said_alike
from labelers.voters import SILENT, setup_of
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Labels

SOURCES = {
    "new": {"kind": "worldcover", "href": "a", "year": 2021},
    "old": {"kind": "worldcover", "href": "b", "year": 2020},
    "osm": {"kind": "osm", "href": "c"},
}
OSM = {entry.name: entry.code for entry in load_legend("osm").classes}
SETUP = setup_of(Labels.model_validate({"sources": SOURCES, "fuse": {}}))
TREES, GRASS, CROPS, BUILT, WATER = 0, 2, 3, 4, 7
"""Positions in the target legend."""


def test_ponds_that_all_maps_name_stay_in_their_forest() -> None:
    rng = np.random.default_rng(1)
    truth = np.full((130, 160), 10, np.uint8)
    for row, column in rng.integers(0, (127, 157), (40, 2)):
        truth[row : row + 3, column : column + 3] = 80
    votes = []
    for name in ("new", "old"):
        errs = rng.random(truth.shape) < 0.01
        classes = np.where(errs, rng.choice(np.array([10, 30, 80], np.uint8), truth.shape), truth)
        votes.append(LabelLayer(name, classes, GeoRef(32632, 0.0, 0.0, 10.0, truth.shape), 0, "worldcover", "", ""))
    model = fuse.estimate(fuse.statistics(votes, SETUP), SETUP)
    classes, _ = fuse.apply(model, votes)
    ponds = (votes[0].classes == 80) & (votes[1].classes == 80) & (truth == 80)
    assert (classes[ponds] == WATER).all()
    assert (classes[truth == 10] == TREES).mean() > 0.99


@pytest.mark.parametrize(
    ("new", "old", "osm", "said"),
    [
        (WATER, WATER, "", WATER),
        (WATER, WATER, "Water", WATER),
        (WATER, WATER, "Forest", NONE),  # a third one contradicts
        (WATER, TREES, "", NONE),
        (WATER, None, "", NONE),  # one alone
        (None, None, "Water", NONE),
        (WATER, None, "Water", WATER),
        (CROPS, None, "Farmland", CROPS),  # cropland first, grass too
        (GRASS, None, "Farmland", NONE),  # admitted, and not what it names first
        (BUILT, GRASS, "Residential land", NONE),
    ],
)
def test_alike_is_what_two_name_first_and_all_admit(new: int | None, old: int | None, osm: str, said: int) -> None:
    worldcover, _, of_osm = SETUP.tables()
    codes = [entry.code for entry in load_legend("worldcover-11").classes]
    row = [SILENT if k is None else worldcover.codes.index(codes[k]) for k in (new, old)]
    row.append(of_osm.codes.index(OSM[osm]) if osm else SILENT)
    assert said_alike(np.array([row]), SETUP, (1.0, 1.0, 1.0)).tolist() == [said]


def test_a_source_that_is_not_listened_to_agrees_with_nobody() -> None:
    water = SETUP.tables()[0].codes.index(80)
    rows = np.array([[water, water, SILENT]])
    assert said_alike(rows, SETUP, (1.0, 0.0, 1.0)).tolist() == [NONE]


def test_what_is_said_alike_changes_places_with_the_likeliest() -> None:
    posterior = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    let_stand(posterior, np.array([1, NONE, 0]))
    assert posterior.tolist() == [[0.2, 0.7, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]
