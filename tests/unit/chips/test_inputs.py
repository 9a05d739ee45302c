"""What an edit of the recipe or a changed item touches, and what it leaves alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
import shapely

from chips.inputs import input_hash, recipe_parts, tied, tile_inputs, with_models
from schemas.chip import ChipSpec, Tile
from schemas.recipe import Recipe
from schemas.scene import SceneItem

NOON = datetime(2021, 6, 15, 12, tzinfo=UTC)
STEPS = dict.fromkeys(("plan", "read", "register", "screen", "label", "fuse", "caption", "write"), "1")


def recipe(**sections: Any) -> Recipe:
    sensor = {"catalog": "c", "collection": "s"}
    content: dict[str, Any] = {
        "format": 1,
        "name": "small",
        "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
        "regions": [{"name": "r", "bbox": [10, 47, 11, 48]}],
        "grid": {"chip_m": 960},
        "time": {"start": "2021-01-01", "end": "2021-12-31"},
        "modalities": {
            "s2": {"sensor": "sentinel-2-l2a", **sensor},
            "landsat": {"sensor": "landsat-c2-l2-sr", **sensor},
        },
        "labels": {
            "sources": {"cover": {"kind": "worldcover", **sensor}},
            "fuse": {"method": "vote", "legend": "worldcover-11"},
        },
        "captions": {"kinds": ["short"]},
    }
    for path, value in sections.items():
        *outer, last = path.split("__")
        place = content
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return Recipe.model_validate(content)


def item(item_id: str, west: float, content: str = "") -> SceneItem:
    ground = shapely.to_wkb(shapely.box(west, 47.0, west + 0.5, 48.0))
    return SceneItem("c", "s", item_id, "s2", "sentinel-2-l2a", NOON, None, ground, (), content_hash=content or item_id)


def tile(items: dict[str, tuple[SceneItem, ...]]) -> Tile:
    chips = tuple(
        ChipSpec(f"c{n}", 32632, (0.0, 0.0, 960.0, 960.0), "r", "train", "b", NOON, NOON, NOON,
                 shapely.to_wkb(shapely.box(west, 47.2, west + 0.01, 47.21)))
        for n, west in enumerate((10.1, 10.9))
    )  # fmt: skip
    return Tile("t", 32632, chips, items)


def at(of: Tile, wanted: Recipe) -> Tile:
    """The tile with the times that a plan of the recipe gives its chips."""
    start, end, reference = wanted.time.window_utc()
    chips = (replace(chip, start_utc=start, end_utc=end, reference_utc=reference) for chip in of.chips)
    return replace(of, chips=tuple(chips))


ITEMS = {"s2": (item("a", 10.0), item("b", 10.6)), "landsat": (item("l", 10.0),), "cover": (item("w", 10.0),)}


def inputs(wanted: Recipe, items: dict[str, tuple[SceneItem, ...]] = ITEMS) -> dict[str, dict[str, str]]:
    return tile_inputs(wanted, tile(items), recipe_parts(wanted, STEPS))


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("edit", "touches"),
    [
        ({"title": "Another"}, set()),
        ({"regions": [{"name": "r", "bbox": [10, 47, 12, 48]}]}, set()),
        ({"write__shard_bytes": 5}, set()),
        ({"modalities__s2__engine": "stackstac"}, set()),
        ({"modalities__s2__bands": ["B02"]}, {"s2"}),
        ({"register__min_reliability": 0.4}, {"register"}),
        ({"screen__max_nodata_fraction": 0.1}, {"screen"}),
        ({"captions__kinds": ["long"]}, {"captions"}),
        ({"labels__fuse__abstain_below": 0.6}, {"fuse"}),
        ({"labels__sources__cover__weight": 2.0}, {"fuse"}),
        ({"labels__sources__cover__accuracy": 0.95}, {"fuse"}),
        ({"labels__sources__cover__year": 2021}, {"labels", "fuse"}),
        ({"time__end": "2021-11-30"}, {"s2", "landsat"}),
        ({"register__mode": "correct"}, {"s2", "landsat", "register"}),
    ],
)
def test_an_edit_touches_its_component_alone(edit: dict[str, Any], touches: set[str]) -> None:
    before, after = inputs(recipe()), inputs(recipe(**edit))
    assert changed(before["c0"], after["c0"]) == touches
    assert (input_hash(before["c0"]) == input_hash(after["c0"])) == (not touches)


SOURCES = {name: {"kind": "worldcover", "catalog": "c", "collection": name} for name in ("one", "two")}


@pytest.mark.parametrize(
    ("of", "given", "touches"),
    [
        ("modalities", {}, {"register"}),
        ("modalities", {"register__reference": "s2"}, set()),
        ("modalities", {"register__mode": "off"}, set()),
        ("modalities", {"register__mode": "correct"}, {"register", "s2", "landsat"}),
        ("sources", {"labels__fuse__method": "priority"}, {"fuse"}),
        ("sources", {"labels__fuse": {"method": "priority", "priority": ["two", "one"]}}, set()),
        ("sources", {}, set()),
        ("sources", {"labels__fuse": None}, {"captions"}),
    ],
)
def test_names_in_another_order_touch_what_the_first_of_them_decides(
    of: str, given: dict[str, Any], touches: set[str]
) -> None:
    """The reference of shifts, the strongest source, the label that sentences speak of: JSON's keys are sorted."""
    one = recipe(labels__sources=SOURCES, **given).model_dump(mode="json", by_alias=True)
    other = copy.deepcopy(one)
    place = other["modalities"] if of == "modalities" else other["labels"]["sources"]
    turned = dict(reversed(place.items()))
    place.clear()
    place.update(turned)
    both = [Recipe.model_validate(content) for content in (one, other)]
    assert changed(*(inputs(wanted, {**ITEMS, "one": (), "two": ()})["c0"] for wanted in both)) == touches
    assert (both[0].hash() == both[1].hash()) == (not touches)


ANCHOR = {"start": "2021-01-01", "end": "2021-12-31", "reference": "2021-07-01"}


@pytest.mark.parametrize(
    ("time", "edit", "touches"),
    [
        (ANCHOR, {"end": "2021-11-30"}, set()),
        (ANCHOR, {"start": "2020-01-01"}, set()),
        (ANCHOR, {"reference": "2021-07-02"}, {"s2", "landsat"}),
        (ANCHOR | {"reference": None}, {"end": "2021-11-30"}, {"s2", "landsat"}),
        (ANCHOR | {"windows": {"kind": "every", "days": 90}}, {"end": "2021-11-30"}, {"s2", "landsat"}),
    ],
)
def test_the_last_day_decides_nothing_but_the_items_where_gaps_are_counted_from_a_day_of_the_recipe(
    time: dict[str, Any], edit: dict[str, Any], touches: set[str]
) -> None:
    """Else each day of a back-fill, and the refresh after it, reads the region anew."""
    for times in (["time"], ["time", "modalities__landsat__time"]):
        both = [recipe(**dict.fromkeys(times, one)) for one in (time, time | edit)]
        found = [tile_inputs(one, at(tile(ITEMS), one), recipe_parts(one, STEPS))["c0"] for one in both]
        assert changed(*found) == touches
    later = {**ITEMS, "s2": (*ITEMS["s2"], item("new", 10.0))}
    assert changed(inputs(recipe(time=time))["c0"], inputs(recipe(time=time), later)["c0"]) == {"s2"}


def test_a_modality_s_own_middle_or_windows_move_with_its_last_day() -> None:
    for own in ({}, {"reference": "2021-03-01", "windows": {"kind": "every", "days": 90}}):
        one, other = (
            recipe(time=ANCHOR, modalities__landsat__time={"start": "2021-01-01", "end": end, **own})
            for end in ("2021-06-30", "2021-05-31")
        )
        assert changed(inputs(one)["c0"], inputs(other)["c0"]) == {"landsat"}


def test_an_item_touches_the_chips_under_it_by_its_content() -> None:
    before = inputs(recipe())
    moved = {**ITEMS, "s2": (replace(item("a", 10.0), catalog="other"), item("b", 10.6))}
    assert inputs(recipe(), moved) == before
    processed = inputs(recipe(), {**ITEMS, "s2": (item("a", 10.0, "anew"), item("b", 10.6))})
    assert changed(before["c0"], processed["c0"]) == {"s2"}
    assert before["c1"] == processed["c1"]
    withdrawn = inputs(recipe(), {**ITEMS, "s2": ITEMS["s2"][:1]})
    assert before["c0"] == withdrawn["c0"]
    assert changed(before["c1"], withdrawn["c1"]) == {"s2"}


def test_a_step_touches_what_it_makes() -> None:
    before = inputs(recipe())["c0"]
    for step, touches in {"caption": {"captions"}, "read": {"s2", "landsat"}, "write": {"write"}}.items():
        parts = recipe_parts(recipe(), {**STEPS, step: "2"})
        assert changed(before, tile_inputs(recipe(), tile(ITEMS), parts)["c0"]) == touches


def test_a_day_of_the_chip_touches_its_imagery() -> None:
    chip = tile(ITEMS)
    dated = replace(chip, chips=tuple(replace(c, dates=(("event", date(2021, 5, 1)),)) for c in chip.chips))
    parts = recipe_parts(recipe(), STEPS)
    found = [tile_inputs(recipe(), one, parts)["c0"] for one in (chip, dated)]
    assert changed(*found) == {"s2", "landsat"}


def test_modalities_that_are_chosen_or_moved_together_are_tied() -> None:
    assert tied(recipe()) == {"s2": ("s2",), "landsat": ("landsat",)}
    near = {"select": {"near": {"modality": "s2", "max_gap_days": 3}}}
    both = ("s2", "landsat")
    joint = recipe(modalities__landsat={"sensor": "landsat-c2-l2-sr", "catalog": "c", "collection": "s", **near})
    assert tied(joint) == {"s2": both, "landsat": both}
    assert tied(recipe(register__mode="correct")) == {"s2": both, "landsat": both}


def test_estimated_parameters_are_inputs_of_what_goes_by_them() -> None:
    before = inputs(recipe())["c0"]
    assert changed(with_models(before, {"fuse": "x"}), with_models(before, {"fuse": "y"})) == {"fuse"}
    assert "landsat" not in changed(before, with_models(before, {"s2": "x"}))
