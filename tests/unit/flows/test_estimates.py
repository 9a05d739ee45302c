"""Shifts and twins hold as long as what they were estimated under."""

from __future__ import annotations

from pathlib import Path

import pytest

from chips.fingerprint import Fingerprint
from chips.inputs import REGISTER, SCREEN
from flows.estimates import Estimates, shifts_part, twins_part
from flows.realign import Known, find_out
from flows.reduce import frozen_findings
from schemas.errors import DatasetError
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
