"""What the whole dataset tells about chips: twins and slips are rejected, everything else is linked as it was."""

from __future__ import annotations

from dataclasses import asdict, astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from chips.fingerprint import Fingerprint
from chips.scene_shift import Observation, observe
from flows.estimates import Estimates
from flows.fragments import FragmentWriter, read_json, record_of
from flows.job import Job
from flows.layers import unpack_pixels
from flows.packing import pack_source
from flows.passes import pack_pixels
from flows.realign import Findings, changes_chips, find_out, realign_tile, realigned_folder
from flows.second_pass import has_second_pass
from schemas.chip import Chip, ChipSpec, DateSource, Shift, Tile
from schemas.georef import GeoRef
from schemas.recipe import Recipe
from schemas.scene import SceneItem
from shards.storage import open_storage
from sources.openers import PlainOpener
from tests.unit.chips.test_register import layer

NOON = datetime(2021, 6, 15, 12, tzinfo=UTC)
FOOTPRINT = shapely.to_wkb(shapely.box(10, 47, 11, 48))


def item(item_id: str) -> SceneItem:
    return SceneItem("c", "s", item_id, "s2", "sentinel-2-l2a", NOON, None, FOOTPRINT, ())


def chip(number: int, dx: float) -> Chip:
    spec = ChipSpec(
        f"c{number}", 32632, (0.0, 0.0, 40.0, 30.0), "r", "train", "b", NOON, NOON, NOON, FOOTPRINT
    )  # fmt: skip
    pixels = [np.arange(12, dtype=np.uint16).reshape(3, 4) + 100 * number + date for date in range(2)]
    found = layer("s2", "s2", {"B04": pixels}, georef=GeoRef(32632, 0.0, 30.0, 10.0, (3, 4)))
    found = found.assign_coords(common_name=("band", ["red"]), wavelength_nm=("band", [665.0]))
    shifts = (
        Shift(0.0, 0.0, 1.0, "measured", "s2 a", "reference", 0.0),
        Shift(dx, 0.0, 0.9, "measured", "s2 a", "edges", 0.4, 10.0),
    )
    return Chip(spec, {"s2": found}, {"s2": (DateSource(((item("a"),),)), DateSource(((item("b"),),)))}, {"s2": shifts})


def job(tmp_path: Path, **sections: Any) -> Job:
    recipe = Recipe.model_validate(
        {
            "format": 1,
            "name": "small",
            "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
            "regions": [{"name": "r", "bbox": [10, 47, 11, 48]}],
            "grid": {"chip_m": 960},
            "time": {"start": "2021-01-01", "end": "2021-12-31"},
            "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}},
            **sections,
        }
    )
    storage = open_storage(tmp_path)
    return Job(recipe, (), PlainOpener(), storage, tmp_path / "work", tmp_path / "run", tmp_path / "cache", {})


def first_pass(folder: Path, chips: list[Chip], prints: list[Fingerprint]) -> tuple[Tile, Path]:
    writer = FragmentWriter(folder / "t0-first")
    observations: list[Observation] = []
    for one in chips:
        arrays, described = pack_pixels(one)
        shifts = {name: [asdict(shift) for shift in dates] for name, dates in one.shifts.items()}
        sources = {name: [pack_source(date) for date in dates] for name, dates in one.provenance.items()}
        row = {"s2.item_ids": ["a", "b"], "input_hash": "", "licences": []}
        facts = {"row": row, "labels": {}, "shifts": shifts, "sources": sources}
        writer.add(one.spec.chip_id, arrays, facts | described)
        observations += observe(one.spec.chip_id, one.shifts, {"s2": ["a", "b"]})
    summary = {
        "kept": {one.spec.chip_id: one.spec.split for one in chips},
        "outcomes": [{"chip_id": one.spec.chip_id, "state": "kept"} for one in chips],
        "shifts": [asdict(o) for o in observations],
        "prints": [astuple(p) for p in prints],
        "votes": None,
    }
    tile = Tile(
        "t0",
        32632,
        tuple(one.spec for one in chips),
        {"s2": (item("a"), item("b"))},
    )
    return tile, writer.commit(summary)


def realigned(work: Job, tile: Tile, first: Path) -> Path:
    here = find_out(work, {"t0": first}, lambda _: tile).of_tile(tile)
    return realign_tile(work, tile, first, realigned_folder(work, tile, first, here), here)


def test_layers_come_back_from_their_fragment(tmp_path: Path) -> None:
    one = chip(1, 3.0)
    arrays, described = pack_pixels(one)
    back = unpack_pixels(described, arrays)["s2"]
    assert back.identical(one.layers["s2"].assign_coords(y=back["y"], x=back["x"]))


def test_a_slip_of_one_chip_does_not_reject_it_where_the_scene_lies_well(tmp_path: Path) -> None:
    chips = [chip(n, 3.0 + n / 10) for n in range(6)] + [chip(6, 80.0)]
    register = {"mode": "reject", "correct_by": "scene", "max_shift_m": 20.0}
    work = job(tmp_path, register=register)
    assert changes_chips(work)
    tile, first = first_pass(tmp_path, chips, [])
    assert realigned(work, tile, first) == first  # nothing changes: nothing is written
    off = job(tmp_path, register=register | {"max_shift_m": 2.0})
    after = read_json(realigned(off, tile, first) / "tile.json")
    assert after["kept"] == {}
    assert {o["reason"] for o in after["outcomes"]} == {"s2.max_shift_m"}
    assert all(o["measured"] == pytest.approx(3.25, abs=0.3) for o in after["outcomes"])


@pytest.mark.parametrize("acquisition", ["b", "2021-06-15T12:00:00+00:00", "a+b"])
def test_a_tile_has_the_shifts_of_its_acquisitions_whatever_they_are_called(acquisition: str) -> None:
    items = item("a"), item("b"), item("2021-06-15T12:00:00+00:00")
    rows = tuple({"modality": "s2", "acquisition": name} for name in (acquisition, "elsewhere", "a+elsewhere"))
    tile = Tile("t0", 32632, (), {"s2": items})
    assert [row["acquisition"] for row in Findings(rows).of_tile(tile).scene_shifts] == [acquisition]


def test_no_chip_goes_for_being_the_twin_of_one_that_its_scene_rejects(tmp_path: Path) -> None:
    slipped = [chip(n, 30.0 + n / 10) for n in range(6)]
    still = Shift(0.0, 0.0, 0.0, "unreliable", "s2 a", "edges", 0.4, 10.0)
    alone = replace(chip(6, 0.0), provenance={"s2": (DateSource(((item("a"),),)), DateSource(((item("c"),),)))})
    alone = replace(alone, shifts={"s2": (alone.shifts["s2"][0], still)})
    prints = [Fingerprint(name, "s2", "ab" * 32) for name in ("c0", "c6")]
    tile, first = first_pass(tmp_path, [*slipped, alone], prints)
    tile = replace(tile, items={"s2": (item("a"), item("b"), item("c"))})
    register = {"mode": "reject", "correct_by": "scene", "max_shift_m": 20.0}
    work = job(tmp_path, register=register, screen={"near_duplicates": "reject"})
    after = read_json(realigned(work, tile, first) / "tile.json")
    assert after["kept"] == {"c6": "train"}
    assert {o["reason"] for o in after["outcomes"] if o["state"] == "rejected"} == {"s2.max_shift_m"}
    gentle = job(tmp_path, register=register | {"max_shift_m": 50.0}, screen={"near_duplicates": "reject"})
    assert "c6" not in read_json(realigned(gentle, tile, first) / "tile.json")["kept"]


def test_the_twin_with_the_later_id_is_rejected_and_the_rest_is_linked(tmp_path: Path) -> None:
    bits = ["ab" * 32, "ab" * 32, "1c" * 32]
    prints = [Fingerprint(f"c{n}", "s2", bits[n]) for n in range(3)]
    tile, first = first_pass(tmp_path, [chip(n, 3.0) for n in range(3)], prints)
    quiet = job(tmp_path)
    assert not changes_chips(quiet)
    assert find_out(quiet, {"t0": first}, lambda _: tile).twins == (
        {"kept": "c0", "other": "c1", "modality": "s2", "similarity": 1.0},
    )
    work = job(tmp_path, screen={"near_duplicates": "reject"})
    folder = realigned(work, tile, first)
    after = read_json(folder / "tile.json")
    assert sorted(after["kept"]) == ["c0", "c2"]
    (gone,) = [o for o in after["outcomes"] if o["state"] == "rejected"]
    assert (gone["chip_id"], gone["reason"], gone["measured"], gone["limit"]) == ("c1", "s2.near_duplicates", 1.0, 0.94)
    assert Path(record_of(folder, "c0").path).samefile(record_of(first, "c0").path)
    with pytest.raises(OSError, match="holds no c1"):
        record_of(folder, "c1")
    assert realigned(work, tile, first) == folder  # done once


def test_only_what_nothing_later_changes_is_finished_by_the_first_pass(tmp_path: Path) -> None:
    def is_left(**sections: Any) -> bool:
        work = job(tmp_path, **sections)
        return has_second_pass(work, Estimates().models(work.recipe))

    assert not is_left()
    assert is_left(screen={"near_duplicates": "reject"})
    assert is_left(register={"mode": "correct", "correct_by": "scene"})
