"""A build says which label sources its fused label does not rest on."""

from __future__ import annotations

from typing import Any

from flows.publishing import _unheard

SOURCES = [
    {"source": "cover", "is_context": False},
    {"source": "mine", "is_context": False},
    {"source": "osm", "is_context": True},
]


def fusion(trust: tuple[float, ...], weights: tuple[float, ...]) -> dict[str, Any]:
    names = [voter["source"] for voter in SOURCES]
    return {
        "sources": SOURCES,
        "trust": dict(zip(names, trust, strict=True)),
        "weights": dict(zip(names, weights, strict=True)),
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
