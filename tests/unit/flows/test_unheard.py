"""A build says which label sources its fused label does not rest on."""

from __future__ import annotations

from typing import Any

from flows.publishing import _unheard

SOURCES = [
    {"source": "cover", "is_context": False},
    {"source": "mine", "is_context": False},
    {"source": "osm", "is_context": True},
]


def fusion(trust: tuple[float, ...], weights: tuple[float, ...], alone: float = 0.0) -> dict[str, Any]:
    names = [voter["source"] for voter in SOURCES]
    return {
        "sources": SOURCES,
        "trust": dict(zip(names, trust, strict=True)),
        "weights": dict(zip(names, weights, strict=True)),
        "alone": alone,
    }


def test_sources_that_agree_are_no_note() -> None:
    assert _unheard(fusion((0.9, 0.9, 0.8), (1.0, 1.0, 1.0))) == ()
    assert _unheard({}) == ()
    assert _unheard({"method": "vote", "sources": SOURCES}) == ()


def test_a_source_that_is_not_listened_to_is_named() -> None:
    (note,) = _unheard(fusion((0.9, 0.1, 0.9), (1.0, 0.0, 1.0)))
    assert "mine agrees with no other" in note


def test_maps_of_which_none_agrees_with_another_are_named_together() -> None:
    (note,) = _unheard(fusion((0.1, 0.0, 0.1), (1.0, 1.0, 1.0)))
    assert note.startswith("of cover, mine none agrees")


def test_how_much_of_the_label_no_land_cover_map_speaks_of_is_told() -> None:
    (note,) = _unheard(fusion((0.9, 0.1, 0.9), (1.0, 0.0, 1.0), alone=0.484))[1:]
    assert note.startswith("at 48% of the labelled pixels cover says nothing")
