"""Which items a recipe's wishes leave, and which of a picture's parts a chip needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from schemas.chip import ChipSpec, Valid
from schemas.recipe import Modality
from sources.choose import Chooser, View, is_wanted, unmet_wish, why_none_is_wanted
from tests.unit.chips.test_inputs import NOON, recipe
from tests.unit.sources.test_duplicates import scene

SEEN = replace(
    scene("seen"), orbit_state="ascending", relative_orbit=65, platform="sentinel-2a", sun_elevation_deg=30.0,
    incidence_deg=38.0,
)  # fmt: skip
"""What an item says of itself."""


def wish(**fields: Any) -> Modality:
    return recipe().modalities["s2"].model_copy(update=fields)


@pytest.mark.parametrize(
    ("key", "met", "unmet"),
    [
        ("orbit_state", ["ascending", "any"], ["descending"]),
        ("relative_orbits", [(65,), (7, 65), ()], [(7,)]),
        ("platforms", [("Sentinel-2A",), ("sentinel-2b", "sentinel-2a")], [("sentinel-2b",)]),
        ("min_sun_elevation_deg", [30.0, 10.0], [30.1]),
        ("incidence_deg", [(38.0, 45.0), (30.0, 38.0), (30.0, 45.0)], [(20.0, 37.9), (38.1, 45.0)]),
    ],
)
def test_an_item_is_as_asked_for_or_says_where_it_is_not(key: str, met: list[Any], unmet: list[Any]) -> None:
    field = {"relative_orbits": "relative_orbit", "platforms": "platform", "min_sun_elevation_deg": "sun_elevation_deg"}
    name = field.get(key, key)
    for value in met:
        assert is_wanted(SEEN, wish(**{key: value}))
    for value in unmet:
        assert unmet_wish(SEEN, wish(**{key: value})) == (key, getattr(SEEN, name))
        silent = replace(SEEN, **{name: None})
        assert unmet_wish(silent, wish(**{key: value})) == (key, None), "who says nothing is not as asked for"


def test_the_key_that_most_items_fail_at_is_told_where_all_do() -> None:
    asked = wish(relative_orbits=(7,), min_sun_elevation_deg=40.0)
    low = [replace(SEEN, item_id=f"low{n}", relative_orbit=7, sun_elevation_deg=float(n)) for n in range(7)]
    assert why_none_is_wanted([SEEN, *low], asked) == (
        "min_sun_elevation_deg",
        "none of 8 items is as asked for: of min_sun_elevation_deg they say 0.0, 1.0, 2.0, 3.0, 4.0, ...",
    )
    unsaid = replace(SEEN, relative_orbit=None)
    assert why_none_is_wanted([unsaid], asked) == (
        "relative_orbits",
        "none of 1 items is as asked for: of relative_orbits they say nothing",
    )
    assert why_none_is_wanted([SEEN, replace(low[0], sun_elevation_deg=50.0)], asked) is None
    assert why_none_is_wanted([], asked) is None


def test_parts_are_needed_until_the_chip_is_full_and_all_where_one_lies_in_another_zone() -> None:
    names = ("a", "b", "c")
    here = tuple(replace(scene(name), masks=scene(name).refs) for name in names)
    there = replace(scene("z", epsg=32633), masks=here[0].masks)
    full, half = np.full((3, 4), Valid.CLEAR, np.uint8), np.zeros((3, 4), np.uint8)
    half[:, :2] = Valid.CLEAR
    views = {"a": half, "b": half[:, ::-1], "c": full, "z": full}
    spec = ChipSpec("chip", 32632, (0.0, 0.0, 1.0, 1.0), "r", "train", "b", NOON, NOON, NOON, b"")
    chooser = Chooser([], {}, lambda _, item: View(views[item.item_id]), snow_is_clear=False)
    a, b, c = here
    assert chooser.needed(spec, (a, b, c)) == (a, b)
    assert chooser.needed(spec, (c, a)) == (c,)
    assert chooser.needed(spec, (a, there, b)) == (a, there, b), "what it adds is not known before it is warped"
    assert chooser.needed(spec, (a, b, there)) == (a, b)
    assert chooser.needed(spec, (a, replace(b, masks=()), c)) == (a, replace(b, masks=()), c)
