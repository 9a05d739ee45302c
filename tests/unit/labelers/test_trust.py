"""Which sources are listened to: sound ones whatever their accuracy, none that agrees with nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from labelers.trust import LEAST_AT_ALL, credit_of, trust_of, weights_of
from labelers.voters import SILENT, FusionSetup, setup_of
from schemas.recipe import Labels

SETUP = setup_of(
    Labels.model_validate(
        {
            "sources": {
                "new": {"kind": "worldcover", "href": "a", "year": 2021},
                "old": {"kind": "worldcover", "href": "b", "year": 2020},
                "clc": {"kind": "corine", "href": "c"},
            },
            "fuse": {},
        }
    )
)
CLASSES = (0, 2, 3, 4, 7)
CLC_OF = {0: 311, 2: 231, 3: 211, 4: 111, 7: 512}


def weights(setup: FusionSetup, *symbols: NDArray[np.int64]) -> tuple[float, ...]:
    rows = np.stack(symbols, axis=1)
    trust, pairs = trust_of(rows, np.ones(len(rows)), setup)
    return weights_of(trust, pairs, setup)


def world(accuracy: float = 0.75, seed: int = 1) -> tuple[NDArray[np.int64], ...]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(CLASSES), 30_000, p=[0.3, 0.2, 0.35, 0.1, 0.05])

    def erring() -> NDArray[np.int64]:
        return np.where(rng.random(truth.size) < accuracy, truth, rng.choice(np.array(CLASSES), truth.size))

    codes = SETUP.tables()[2].codes
    clc = np.array([codes.index(CLC_OF[k]) for k in range(8) if k in CLC_OF])
    place = {k: i for i, k in enumerate(sorted(CLC_OF))}
    return erring(), erring(), clc[[place[k] for k in truth.tolist()]]


@pytest.mark.parametrize("accuracy", [0.65, 0.75, 0.95])
def test_sound_sources_are_listened_to(accuracy: float) -> None:
    assert weights(SETUP, *world(accuracy)) == (1.0, 1.0, 1.0)


def test_a_source_that_agrees_with_nobody_is_not() -> None:
    new, old, clc = world()
    assert weights(SETUP, np.random.default_rng(3).permutation(new), old, clc) == (0.0, 1.0, 1.0)
    turned = np.array([2, 0, 3, 4, 7, 0, 0, 0])[new]
    assert weights(SETUP, np.where(turned == new, 0, turned), old, clc)[1:] == (1.0, 1.0)


def test_where_nobody_agrees_with_anybody_all_are_listened_to() -> None:
    rng = np.random.default_rng(4)
    assert weights(SETUP, *(rng.permutation(layer) for layer in world())) == (1.0, 1.0, 1.0)


def test_sources_that_hardly_meet_are_not_judged() -> None:
    new, old, clc = world()
    old[:] = SILENT
    clc[900:] = SILENT
    assert weights(SETUP, new, old, clc) == (1.0, 1.0, 1.0)


def test_a_mask_that_has_one_class_to_say_is_listened_to_where_the_others_say_so_too() -> None:
    new, old, _ = world()
    setup = replace(SETUP, voters=(*SETUP.voters[:2], replace(SETUP.voters[0], source="mask")))
    rng = np.random.default_rng(5)
    water = SETUP.tables()[0].codes.index(80)
    mask = np.where((new == water) & (rng.random(new.size) < 0.9), water, SILENT)
    elsewhere = rng.permutation(mask)
    assert weights(setup, new, old, mask) == (1.0, 1.0, 1.0)
    assert weights(setup, new, old, elsewhere) == (1.0, 1.0, 0.0)


def test_an_estimate_of_maps_that_agree_with_nobody_is_believed_the_less_where_two_of_them_speak() -> None:
    rows = np.array([[0, 1, SILENT], [0, SILENT, 1], [0, 1, 1]])
    assert credit_of(rows, (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), SETUP).tolist() == [0.0, 1.0, 0.0]
    half = LEAST_AT_ALL / 2
    assert credit_of(rows, (half, 0.0, 0.0), (1.0, 1.0, 1.0), SETUP).tolist() == [0.5, 1.0, 0.5]
    assert credit_of(rows, (0.4, 0.4, 0.0), (1.0, 1.0, 1.0), SETUP).tolist() == [1.0, 1.0, 1.0]
    assert credit_of(rows, (1.0, 0.0, 1.0), (1.0, 0.0, 1.0), SETUP).tolist() == [1.0, 1.0, 1.0]
