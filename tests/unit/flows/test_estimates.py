"""Shifts and twins hold as long as what they were estimated under."""

from __future__ import annotations

from pathlib import Path

import pytest

from chips.fingerprint import Fingerprint
from chips.inputs import FUSE, LABELS, REGISTER, SCREEN
from chips.statistics import Summary
from flows.estimates import Estimates, fusion_part, shifts_part, twins_part
from flows.realign import Known, find_out
from flows.reduce import frozen_findings
from schemas.errors import DatasetError
from tests.unit.chips.test_inputs import recipe
from tests.unit.flows.test_realign import chip, first_pass, job

PARTS = {REGISTER: "r", SCREEN: "s", "s2": "2", "landsat": "l"}
MODALITY_OF = {"s2": "s2", "landsat": "landsat"}
SHIFTS, TWINS = ({"modality": "s2"},), ({"kept": "a", "other": "b"},)


def found() -> Estimates:
    return Estimates(
        scene_shifts=SHIFTS,
        shifts_part=shifts_part(PARTS, MODALITY_OF),
        twins=TWINS,
        twins_part=twins_part(PARTS, MODALITY_OF),
    )


@pytest.mark.parametrize(
    ("edited", "known"),
    [
        ("", Known(SHIFTS, TWINS)),
        (SCREEN, Known(SHIFTS, None)),
        (REGISTER, Known(None, None)),
        ("landsat", Known(None, None)),
    ],
)
def test_shifts_hold_when_the_screening_is_edited(edited: str, known: Known) -> None:
    parts = PARTS | ({edited: "other"} if edited else {})
    assert frozen_findings(found().holding(parts, MODALITY_OF)) == known
    assert Estimates.from_dict(found().to_dict()) == found()


def test_statistics_hold_of_the_groups_whose_modality_is_the_same_and_that_had_pixels() -> None:
    bands = {"s2": {"B02": Summary(3, 0.1, 0.2)}, "landsat": {"red": Summary(3, 0.1, 0.2)}, "s1": {}}
    known = Estimates(
        bands=bands,
        bands_parts={"s2": "2", "landsat": "l", "s1": "1"},
        fusion={"a": 1},
        fusion_part=fusion_part(PARTS),
        buckets={"train": 2},
    )
    parts, modality_of = PARTS | {"landsat": "other", "s1": "1"}, MODALITY_OF | {"s1": "s1"}
    held = known.holding(parts, modality_of)
    assert (held.bands, held.bands_parts) == ({"s2": bands["s2"]}, {"s2": "2"})
    assert (held.fusion, held.fusion_part) == (known.fusion, known.fusion_part)
    assert known.holding(parts | {FUSE: "other"}, modality_of).fusion is None
    assert known.holding(parts, modality_of, refit=True) == Estimates(buckets={"train": 2})


def test_a_group_of_no_modality_any_more_moves_nothing() -> None:
    known = Estimates(bands_parts={"s2": "2", "gone": "g"})
    assert known.components(MODALITY_OF) == {"s2"}
    assert Estimates(fusion_part="f").components(MODALITY_OF) == {LABELS, FUSE}
    assert found().components(MODALITY_OF) == {"s2", "landsat"}


def test_a_chip_goes_by_shifts_and_twins_only_where_the_recipe_moves_or_rejects_by_them() -> None:
    known = found()
    assert set(known.models(recipe(screen__near_duplicates="report"))) == {FUSE}
    by_scene = recipe(register__mode="correct", register__correct_by="scene")
    shifts = {name: known.models(by_scene)[name] for name in ("s2", "landsat")}
    assert len(set(shifts.values())) == 1
    assert all(shifts.values())
    assert set(known.models(recipe(register__mode="reject", register__correct_by="scene"))) == {FUSE, "s2", "landsat"}
    for unmoved in ({"register__mode": "correct"}, {"register__mode": "measure", "register__correct_by": "scene"}):
        assert set(known.models(recipe(**unmoved))) == {FUSE}
    rejecting = recipe(screen__near_duplicates="reject")
    assert known.models(rejecting)[SCREEN]
    assert set(Estimates().models(by_scene).values()) == {""}
    assert set(Estimates().models(rejecting).values()) == {""}


def test_of_format_1_shifts_and_twins_hold_together() -> None:
    document = found().to_dict()
    document |= {"format": 1, "findings_part": document.pop("twins_part")}
    del document["shifts_part"]
    earlier = Estimates.from_dict(document)
    assert frozen_findings(earlier.holding(PARTS, MODALITY_OF)) == Known(SHIFTS, TWINS)
    assert frozen_findings(earlier.holding(PARTS | {SCREEN: "other"}, MODALITY_OF)) == Known()
    with pytest.raises(DatasetError, match="format 3"):
        Estimates.from_dict(document | {"format": 3})


def test_what_is_known_is_taken_and_the_rest_is_found(tmp_path: Path) -> None:
    prints = [Fingerprint(f"c{n}", "s2", "ab" * 32) for n in range(2)]
    tile, first = first_pass(tmp_path, [chip(n, 3.0) for n in range(6)], prints)
    work, folders = job(tmp_path), {"t0": first}
    anew = find_out(work, folders, lambda _: tile)
    assert anew.scene_shifts
    assert anew.twins
    assert find_out(work, folders, lambda _: tile, Known(SHIFTS, None)).scene_shifts == SHIFTS
    assert find_out(work, folders, lambda _: tile, Known(SHIFTS, None)).twins == anew.twins
    assert find_out(work, folders, lambda _: tile, Known(None, TWINS)).scene_shifts == anew.scene_shifts
