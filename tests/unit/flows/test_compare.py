"""Layers of a plan that are others than the parent holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from chips.inputs import PLACE, REGISTER, SCREEN, recipe_parts, tile_inputs, with_models
from chips.plan import LayerPlan
from flows.before import Before, Inputs
from flows.compare import FAILED, NEW, REFIT, Outlook, Touched, compare, may_be_kept, other_layers
from flows.estimates import Estimates, fusion_part, shifts_part, twins_part
from schemas.dataset import BandTable, LayerTable
from schemas.recipe import Recipe
from tests.unit.chips.test_inputs import STEPS, recipe, tile

S2 = LayerPlan("s2", "s2", "sentinel-2-l2a", 10.0, ("B02", "B03"), "uint16", 0.0, "reflectance")
LANDSAT = LayerPlan("landsat", "landsat", "landsat-c2-l2-sr", 30.0, ("red",), "float32", float("nan"), "reflectance")


def documented(layer: LayerPlan) -> LayerTable:
    """As a version's document gives it back."""
    said = {name: getattr(layer, name) for name in ("group", "modality", "sensor", "gsd_m", "dtype", "unit", "nodata")}
    bands = tuple(BandTable(name=name) for name in layer.bands)
    table = LayerTable(**said, bands=bands, max_dates=1, shape_yx=(3, 4))
    return LayerTable.model_validate_json(table.model_dump_json())


def test_layers_that_the_parent_documents_are_the_same() -> None:
    assert other_layers(recipe(), [S2, LANDSAT], [documented(S2), documented(LANDSAT)]) == set()
    converted = recipe(modalities__s2__offset="pre04")
    stored = replace(S2, dtype="int16", nodata=-32768)
    assert other_layers(converted, [S2, LANDSAT], [documented(stored), documented(LANDSAT)]) == set()


@pytest.mark.parametrize(
    "change", [{"bands": ("red", "nir08")}, {"dtype": "int16"}, {"nodata": 1.0}, {"gsd_m": 15.0}, {"group": "l"}]
)
def test_a_layer_of_another_form_is_another(change: dict[str, Any]) -> None:
    parent = [documented(S2), documented(LANDSAT)]
    assert other_layers(recipe(), [S2, replace(LANDSAT, **change)], parent) == {"landsat"}


def test_layers_come_go_and_are_forgotten_with_their_modality() -> None:
    assert other_layers(recipe(), [S2, LANDSAT], [documented(S2)]) == {"landsat"}
    assert other_layers(recipe(), [S2], [documented(S2), documented(LANDSAT)]) == {"landsat"}
    dropped = replace(LANDSAT, modality="dropped")
    assert other_layers(recipe(), [S2], [documented(S2), documented(dropped)]) == set()


def test_modalities_that_hang_together_are_read_together() -> None:
    assert other_layers(recipe(register__mode="correct"), [S2, LANDSAT], [documented(S2)]) == {"s2", "landsat"}


@pytest.mark.parametrize(
    ("frozen", "moving"),
    [
        (Estimates(bands_parts={"s2": "2"}, fusion_part="f"), {"c2", "c3", "c5", "c6", "gone"}),
        (Estimates(bands_parts={"s2": "2"}), {"c3", "c5", "c6", "gone"}),
        (Estimates(bands_parts={"landsat": "l"}), {"c4", "c5", "c6", "gone"}),  # s2 was edited: estimated anew
        (Estimates(shifts_part="m"), {"c3", "c4", "c5", "c6", "gone"}),
        (Estimates(), set()),
    ],
)
def test_estimates_are_moved_by_what_they_are_of_alone(frozen: Estimates, moving: set[str]) -> None:
    """Not by texts and files, by a modality whose statistics are new, nor by a chip that was and is rejected."""
    why = ({"captions"}, {"captions", "write"}, {"labels", "captions"}, {"s2"}, {"landsat"}, {NEW}, {FAILED}, {"s2"})
    of_tile = {f"c{place}": Touched(frozenset(), frozenset(one)) for place, one in enumerate(why)}
    kept = {f"c{place}" for place in range(7)}
    outlook = Outlook({0: of_tile}, removed=("gone", "rejected and gone"), frozen=frozen)
    found = outlook.moving_estimates({"s2": "s2", "landsat": "landsat"}, kept - {"c5", "c6"} | {"gone"}, kept)
    assert found == len(moving)


@pytest.mark.parametrize(
    ("reason", "changed", "answer"),
    [
        ("landsat.max_shift_m", {"register"}, True),  # which rejects nothing any more
        ("landsat.max_shift_m", {"s2"}, True),  # the reference is gone
        ("s2.near_duplicates", {"landsat"}, True),
        ("osm.optional", {"labels"}, True),
        ("landsat.min_dates", {"landsat"}, True),  # the recipe asks for it no more
        ("landsat.min_dates", {"s2", "labels", "register"}, False),
        ("landsat.max_shift_m", {"captions", "labels", "fuse", "place", "write"}, False),
        ("osm.optional", {"captions"}, False),
        ("", {"captions"}, False),
    ],
)
def test_what_rejected_a_chip_may_be_what_the_recipe_lost(reason: str, changed: set[str], answer: bool) -> None:
    assert may_be_kept(reason, changed) is answer


def outlook_of(
    asked: Recipe, redo: list[str], split: str = "train", then_steps: Mapping[str, str] = STEPS, fate: str = "kept"
) -> Outlook:
    """What `compare` says of two chips that the parent kept in a split under the same recipe, made by some steps; or
    that failed there, or were rejected for the reason ``fate``.
    """
    parts, before_parts, chips = (
        recipe_parts(asked, STEPS),
        recipe_parts(asked, then_steps),
        tile(dict.fromkeys(("s2", "landsat", "cover"), ())),
    )
    then = replace(chips, chips=tuple(replace(spec, split=split) for spec in chips.chips))
    modality_of = {"s2": "s2", "landsat": "landsat"}
    known = Estimates(
        fusion_part=fusion_part(parts),
        shifts_part=shifts_part(parts, modality_of),
        twins_part=twins_part(parts, modality_of),
    )
    inputs = Inputs()
    for chip_id, hashes in tile_inputs(asked, then, before_parts).items():
        inputs.put(chip_id, with_models(hashes, known.models(asked)))
    document: Any = SimpleNamespace(
        modalities=[documented(S2), documented(LANDSAT)], recipe_hash=asked.hash(), steps=then_steps
    )
    plan: Any = SimpleNamespace(recipe=asked, layers=[S2, LANDSAT], numbers=range(1), tile=lambda number: chips)
    sample: Any = SimpleNamespace(split=split)
    ids = tuple(inputs)
    fates: dict[str, Any] = {"kept": {"places": dict.fromkeys(ids, sample)}, "failed": {"failed": frozenset(ids)}}
    before = Before(document, known, inputs, **fates.get(fate, {"rejected": dict.fromkeys(ids, fate)}))
    return compare(plan, parts, before, redo=redo)


def touched_by(asked: Recipe, redo: list[str]) -> dict[str, Touched]:
    return dict((outlook_of(asked, redo).touched or {}).get(0, {}))


def test_a_step_that_no_chip_goes_by_is_nothing_new() -> None:
    """Imagery alone under a new version of fusion: every night was a whole run that published nothing."""
    older = {**STEPS, "fuse": "older"}
    assert outlook_of(recipe(labels=None, captions=None), [], then_steps=older).is_nothing_new
    assert outlook_of(recipe(), [], then_steps=older).why() == {"fuse": 2}


def test_chips_that_come_into_another_split_are_told() -> None:
    """As with ``by: scene``, where a scene joins two groups: what a model learned from would be asked of it."""
    assert outlook_of(recipe(), []).notes() == outlook_of(recipe(), ["captions"]).notes() == ()
    (note,) = outlook_of(recipe(), [], "test").notes()
    assert note.startswith("splits are others than in the current version: 2 chip(s) from test to train;")


@pytest.mark.parametrize(
    ("sections", "read"),
    [
        ({"register__mode": "measure"}, {"landsat"}),
        ({"register__mode": "correct"}, {"s2", "landsat"}),  # which is moved by the reference
        ({"modalities__landsat__select": {"near": {"modality": "s2", "max_gap_days": 3.0}}}, {"s2", "landsat"}),
    ],
)
def test_a_modality_is_done_again_with_those_that_it_hangs_on(sections: dict[str, Any], read: set[str]) -> None:
    asked = recipe(**sections)
    assert touched_by(asked, []) == {}
    touched = touched_by(asked, ["landsat"])
    assert [one.read for one in touched.values()] == [read, read]
    assert [one.sample is None for one in touched.values()] == [read == {"s2", "landsat"}] * 2


def test_what_is_done_again_to_a_chip_is_what_its_changes_ask_for() -> None:
    def asks(read: str = "", why: str = "", again: bool = False) -> list[bool]:
        chip = Touched(frozenset(read.split()), frozenset([why]), are_shifts_found_again=again)
        return [chip.is_measured_again, chip.is_screened_again, chip.counts("s2")]

    assert asks() == asks(why="captions") == [False, False, False]
    assert asks(read="s2") == [True, True, True]
    assert asks(read="landsat") == [True, True, False]
    assert asks(why=REGISTER) == asks(again=True) == [True, False, False]
    assert asks(why=SCREEN) == [False, True, False]
    assert asks(why=PLACE) == asks(why=REFIT) == [False, False, True]


def test_tiles_without_a_touched_chip_are_not_worked_on() -> None:
    of_tile = {"a": Touched(frozenset(), frozenset([NEW]))}
    assert Outlook({3: of_tile, 1: of_tile}).numbers(range(5)) == [1, 3]
    assert Outlook({3: of_tile}).of_tile(2) == {}
    assert Outlook().numbers(range(5)) == range(5)
    assert Outlook().of_tile(2) is None


def test_a_chip_that_failed_is_read_again_whatever_its_inputs() -> None:
    (of_tile,) = (outlook_of(recipe(), [], fate="failed").touched or {}).values()
    assert {chip.why for chip in of_tile.values()} == {frozenset([FAILED])}
    assert {chip.read for chip in of_tile.values()} == {frozenset(["s2", "landsat"])}


@pytest.mark.parametrize(
    ("mode", "redo", "touched"),
    [
        ("measure", [], 0),
        ("measure", ["captions"], 0),
        ("measure", ["landsat"], 2),
        ("measure", [SCREEN], 2),
        ("measure", [REGISTER], 0),
        ("reject", [REGISTER], 2),
    ],
)
def test_a_rejected_chip_is_judged_again_where_what_may_reject_it_is_another(
    mode: str, redo: list[str], touched: int
) -> None:
    found = outlook_of(recipe(register__mode=mode), redo, fate="s2.min_dates").touched or {}
    assert sum(len(of_tile) for of_tile in found.values()) == touched
