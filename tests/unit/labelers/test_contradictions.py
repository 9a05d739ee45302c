"""Maps that contradict each other: nobody is believed for it, and sound maps are fused as if nothing was asked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from labelers import fuse
from labelers.contradictions import MOST, contradictions, unlearnt
from labelers.dawid_skene import _Estimation
from labelers.voters import SILENT, setup_of
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Labels

GRASS, SHRUBS, TREES, CROPS = 30, 20, 10, 40
SOURCES = {
    "old": {"kind": "worldcover", "href": "a", "year": 2020},
    "new": {"kind": "worldcover", "href": "b", "year": 2021},
    "osm": {"kind": "osm", "href": "c"},
}
OSM = {entry.name: entry.code for entry in load_legend("osm").classes}
SETUP = setup_of(Labels.model_validate({"sources": SOURCES, "fuse": {"abstain_below": 0.0}}))


def layer(source: str, classes: NDArray[np.uint8]) -> LabelLayer:
    legend = "osm" if source == "osm" else "worldcover"
    return LabelLayer(source, classes, GeoRef(32632, 0.0, 0.0, 10.0, classes.shape), 0, legend, "2021", "CC-BY-4.0")


def fused(*votes: LabelLayer) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Codes and confidence, 0..1."""
    model = fuse.estimate(fuse.statistics(votes, SETUP), SETUP)
    classes, confidence = fuse.apply(model, votes)
    return np.array([c.code for c in load_legend("worldcover-11").classes])[classes], confidence / 255


def field(seed: int, sigma: float) -> NDArray[np.float64]:
    made = gaussian_filter(np.random.default_rng(seed).standard_normal((130, 160)), sigma)
    return np.asarray(made / made.std())


def landscape() -> tuple[NDArray[np.bool_], NDArray[np.uint8], list[LabelLayer]]:
    """Where a steppe lies, the truth elsewhere, and two editions: it is grass in one and shrubs in the other."""
    land = field(1, 20)
    steppe, truth = land > np.median(land), np.where(field(2, 8) > 0, TREES, CROPS).astype(np.uint8)
    votes = []
    for seed, (name, called) in enumerate((("old", GRASS), ("new", SHRUBS)), start=3):
        luck = field(seed, 1.5)
        erring = np.where(luck > np.quantile(luck, 0.75), TREES + CROPS - truth, truth)
        votes.append(layer(name, np.where(steppe, called, erring).astype(np.uint8)))
    return steppe, truth, votes


@pytest.mark.parametrize("shape", [(3, 4), (60, 70)])
@pytest.mark.parametrize("codes", [(GRASS, SHRUBS), (SHRUBS, GRASS), (TREES, CROPS)])
def test_two_maps_that_differ_at_every_pixel_are_each_believed_by_half(
    shape: tuple[int, int], codes: tuple[int, int]
) -> None:
    votes = [layer(name, np.full(shape, code, np.uint8)) for name, code in zip(("old", "new"), codes, strict=True)]
    classes, confidence = fused(*votes)
    assert np.isin(classes, codes).all()
    assert ((confidence > 0.45) & (confidence < 0.6)).all()


def test_a_part_of_the_land_that_two_maps_read_apart_is_unsure_and_the_rest_as_sure_as_it_is_right() -> None:
    steppe, truth, votes = landscape()
    classes, confidence = fused(*votes)
    assert confidence[steppe].mean() < 0.65
    right = (classes == truth)[~steppe].mean()
    assert right > 0.8
    assert abs(confidence[~steppe].mean() - right) < 0.08


def test_maps_of_two_other_places_are_not_sure_of_anything() -> None:
    codes = np.array([TREES, CROPS, GRASS, SHRUBS], np.uint8)
    votes = [
        layer(name, codes[np.stack([field(seed + k, 3) for k in range(4)]).argmax(axis=0)])
        for name, seed in (("old", 10), ("new", 20))
    ]
    _, confidence = fused(*votes)
    assert (confidence < 0.5).mean() > 0.5
    assert (confidence < 0.8).all()


def test_what_a_third_source_settles_is_sure() -> None:
    steppe, truth, votes = landscape()
    known = np.where(truth == TREES, OSM["Forest"], OSM["Farmland"])
    mapped = layer("osm", np.where(steppe, OSM["Scrub"], known).astype(np.uint8))
    classes, confidence = fused(*votes, mapped)
    assert (classes[steppe] == SHRUBS).mean() > 0.9
    assert confidence[steppe].mean() > 0.8


def test_maps_that_err_as_their_reports_say_are_learnt_from_in_full() -> None:
    truth = np.where(field(2, 8) > 0, TREES, CROPS).astype(np.uint8)
    votes = []
    for seed, name in enumerate(("old", "new"), start=3):
        luck = field(seed, 1.5)
        votes.append(layer(name, np.where(luck > np.quantile(luck, 0.65), TREES + CROPS - truth, truth)))
    made = _Estimation(fuse.statistics(votes, SETUP), SETUP)
    assert not made.unlearnt.any()
    assert made.contradicted == 0.0


def test_a_contradiction_is_one_of_two_that_speak_admit_nothing_together_and_are_not_settled() -> None:
    worldcover, _, osm = SETUP.tables()
    trees, shrubs = worldcover.codes.index(TREES), worldcover.codes.index(SHRUBS)
    forest, scrub, water = (osm.codes.index(OSM[name]) for name in ("Forest", "Scrub", "Water"))
    rows = [
        (trees, shrubs, SILENT), (trees, trees, SILENT), (trees, SILENT, scrub), (trees, shrubs, forest),
        (trees, shrubs, scrub), (trees, shrubs, water),
    ]  # fmt: skip
    several, contrary = contradictions(np.array(rows, np.int16), SETUP.tables(), [0, 1], [2])
    assert several.tolist() == [True, True, False, True, True, True]
    assert contrary.tolist() == [True, False, False, False, True, True]


def test_shares_are_the_less_learnt_the_more_maps_contradict_and_few_pixels_follow_their_region() -> None:
    part = unlearnt(np.array([[900.0, 900.0, 0.0]]), np.array([[900.0, 0.0, 0.0]]), 0.0001)
    assert part[0, 0] == pytest.approx(1.0, abs=1e-5)
    assert part[0, 1] == part[0, 2] == 0.0
    half = unlearnt(np.array([[1000.0]]), np.array([[500 + 500 * MOST]]), 300.0)
    assert half[0, 0] == pytest.approx(0.5)
