"""Between the passes: what only the whole dataset tells about a chip, and chips read again or rejected by it.

The shift of an acquisition and the twin of a chip are known only when every tile has looked at its own, so they are
parameters of a reduce, like the fusion model. Tiles with a date to move or a chip to reject get a new folder of
fragments beside the first pass's: the moved dates come from the source on the moved grid, resampled once, everything
else is linked. The folder's key is a hash of the first pass's and of the findings that touch the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from chips import statistics
from chips.decide import decide, screen_shifts
from chips.fingerprint import Fingerprint, Twins, find_twins, to_reject
from chips.rows import chip_row
from chips.scene_shift import (
    REFERENCE,
    Acquisitions,
    Observation,
    SceneShift,
    combine_scene_shifts,
    from_rows,
    to_rows,
)
from chips.screen import screen
from flows.fragments import FragmentWriter, key_of, read_chip, read_facts, read_json
from flows.job import Job
from flows.layers import unpack_pixels
from flows.packing import unpack_source
from flows.passes import UNFINISHED, acquisitions, outcome_dict, pack_pixels, read_again
from flows.second_pass import labels_of
from flows.steps import FIRST_PASS, versions
from labelers import fuse
from labelers.voters import setup_of
from schemas.chip import Chip, ChipSpec, Outcome, Shift, Tile
from schemas.errors import SourceError
from schemas.recipe import Register
from sources.tile_reader import failed

Rows = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Findings:
    """What only the whole dataset tells: small, and hashed where it touches a tile."""

    scene_shifts: Rows = ()
    """Shifts of acquisitions (`chips.scene_shift.to_rows`)."""
    twins: Rows = ()
    """Chips that show a place again (`chips.fingerprint.find_twins`)."""

    @cached_property
    def _gone(self) -> dict[str, Twins]:
        return to_reject(Twins(**row) for row in self.twins)

    def of_tile(self, tile: Tile) -> Findings:
        """What touches a tile: shifts of its acquisitions, twins that are rejected in it."""
        here = {(name, item.datatake or item.item_id) for name, items in tile.items.items() for item in items}
        chips = {spec.chip_id for spec in tile.chips}

        def is_here(name: str, acquisition: str) -> bool:
            """Whether the tile has it: one acquisition, whose id may hold a plus, or all of a composite's."""
            return (name, acquisition) in here or all((name, part) in here for part in acquisition.split("+"))

        return Findings(
            tuple(row for row in self.scene_shifts if is_here(row["modality"], row["acquisition"])),
            tuple(asdict(pair) for chip_id, pair in self._gone.items() if chip_id in chips),
        )


@dataclass(frozen=True)
class Known:
    """What the parent found, as far as it holds."""

    scene_shifts: Rows | None = None
    """As in `Findings`; None: to be found anew."""
    twins: Rows | None = None
    """As in `Findings`; None: to be found anew."""


_NOTHING_KNOWN = Known()


def find_out(
    job: Job, first: Mapping[str, Path], tile_of: Callable[[str], Tile], known: Known = _NOTHING_KNOWN
) -> Findings:
    """Shifts of all pairs of acquisitions and all twins, from what the tiles left, in the order of their names.

    Args:
        job: the run.
        first: tile id -> its fragments.
        tile_of: the tile of an id; asked for those with twins where shifts of acquisitions reject chips.
        known: what the parent found, where that holds: taken as it is.
    """
    if known.scene_shifts is not None and known.twins is not None:
        return Findings(known.scene_shifts, known.twins)
    observations: list[Observation] = []
    prints: list[Fingerprint] = []
    for tile_id in sorted(first):
        summary = read_json(first[tile_id] / "tile.json")
        observations += [Observation(**{**o, "pair": Acquisitions(*o["pair"])}) for o in summary["shifts"]]
        prints += [Fingerprint(*fields) for fields in summary["prints"]]
    scenes, twins = known.scene_shifts, known.twins
    if scenes is None:
        scenes = tuple(to_rows(combine_scene_shifts(observations, job.recipe.register_shifts.min_scene_chips)))
    if twins is None:
        twins = tuple(asdict(pair) for pair in _twins(job, first, tile_of, prints, scenes))
    return Findings(scenes, twins)


def _twins(
    job: Job, first: Mapping[str, Path], tile_of: Callable[[str], Tile], prints: Sequence[Fingerprint], rows: Rows
) -> list[Twins]:
    """The twins among chips that do not go for the shift of an acquisition."""
    asked: set[str] = set()
    while True:
        pairs = find_twins(prints, job.recipe.screen.max_similarity)
        chips = {one for pair in pairs for one in (pair.kept, pair.other)} - asked
        gone = _slipped(job, first, tile_of, chips, rows)
        if not gone:
            return pairs
        asked |= chips
        prints = [one for one in prints if one.chip_id not in gone]


def _slipped(
    job: Job, first: Mapping[str, Path], tile_of: Callable[[str], Tile], chips: set[str], rows: Rows
) -> set[str]:
    """Those of some chips that go for the shift of an acquisition."""
    register = job.recipe.register_shifts
    if register.mode != "reject" or register.correct_by != "scene" or not chips:
        return set()
    scenes = from_rows(rows)
    gone: set[str] = set()
    for tile_id in sorted(first):
        here = chips & set(read_json(first[tile_id] / "tile.json")["kept"])
        if not here:
            continue
        tile = tile_of(tile_id)
        for spec in tile.chips:
            if spec.chip_id in here:
                facts = read_facts(first[tile_id], spec.chip_id)
                chip = _without_pixels(spec, tile, facts)
                by_scene = _known_of(chip, facts, register, scenes)
                if by_scene and screen_shifts(spec.chip_id, chip.shifts, register, by_scene):
                    gone.add(spec.chip_id)
    return gone


def changes_chips(job: Job) -> bool:
    """Whether the recipe moves or rejects anything by what the whole dataset tells."""
    register = job.recipe.register_shifts
    by_scene = register.correct_by == "scene" and register.mode in ("correct", "reject")
    return by_scene or job.recipe.screen.near_duplicates == "reject"


def realigned_folder(job: Job, tile: Tile, first: Path, findings: Findings) -> Path:
    """Final path of a tile's fragments after its chips were moved or rejected.

    Args:
        job: the run.
        tile: the tile.
        first: its fragments of the first pass.
        findings: what touches the tile.
    """
    kept = sorted(read_json(first / "tile.json")["kept"])
    key = key_of(first.name, kept, asdict(findings), versions(FIRST_PASS))
    return job.folder / "realigned" / f"{tile.tile_id}-{key}"


def realign_tile(job: Job, tile: Tile, first: Path, final: Path, findings: Findings) -> Path:
    """One tile: the folder to go on with, ``first`` itself where no chip moves or falls.

    Args:
        job: the run.
        tile: the tile.
        first: its fragments of the first pass.
        final: where new fragments go.
        findings: what touches the tile.
    """
    if final.exists():
        return final
    specs = {spec.chip_id: spec for spec in tile.chips}
    before = read_json(first / "tile.json")
    decided = _decided(job, tile, first, sorted(before["kept"]), findings)
    if not decided:
        return first
    writer = FragmentWriter(final)
    outcomes = {o["chip_id"]: o for o in before["outcomes"]}
    for chip_id, what in decided.items():
        outcome = what if isinstance(what, Outcome) else _moved(job, tile, what, first, writer)
        outcomes[chip_id] = outcome_dict(replace(outcome, inputs=outcomes[chip_id].get("inputs", {})))
    writer.take_over(first, sorted(set(before["kept"]) - set(decided)))
    kept = {chip_id: split for chip_id, split in before["kept"].items() if outcomes[chip_id]["state"] == "kept"}
    ordered = [outcomes[chip_id] for chip_id in sorted(outcomes)]
    summary = {**before, "kept": kept, "outcomes": ordered, **_sums(job, kept, specs, writer)}
    if any(outcome["state"] == "failed" for outcome in ordered):
        writer.final = final.with_name(f"{final.name}{UNFINISHED}")
    return writer.commit(summary)


def _decided(job: Job, tile: Tile, first: Path, kept: Sequence[str], findings: Findings) -> dict[str, Chip | Outcome]:
    """Chips that change: with the shifts to apply and no pixels yet, or their rejection."""
    recipe = job.recipe
    register, screening = recipe.register_shifts, recipe.screen
    scenes, specs = from_rows(findings.scene_shifts), {spec.chip_id: spec for spec in tile.chips}
    twins = {row["other"]: row for row in findings.twins} if screening.near_duplicates == "reject" else {}
    decided: dict[str, Chip | Outcome] = {}
    for chip_id in kept:
        facts = read_facts(first, chip_id)
        chip = _without_pixels(specs[chip_id], tile, facts)
        by_scene = _known_of(chip, facts, register, scenes)
        rejected = screen_shifts(chip_id, chip.shifts, register, by_scene) if by_scene else None
        if rejected is None and chip_id in twins:
            row = twins[chip_id]
            reason = f"{row['modality']}.near_duplicates"
            rejected = Outcome(chip_id, "rejected", reason, row["similarity"], screening.max_similarity)
        if rejected is not None:
            decided[chip_id] = rejected
        elif by_scene:
            chip = replace(chip, shifts=decide(chip.shifts, register, by_scene))
            if any(shift.applied_by and shift.status != "corrected" for d in chip.shifts.values() for shift in d):
                decided[chip_id] = chip
    return decided


def _known_of(
    chip: Chip, facts: Mapping[str, Any], register: Register, scenes: Mapping[Acquisitions, SceneShift]
) -> dict[str, list[SceneShift | None]] | None:
    """`scenes_of` a chip that the recipe judges by them; None of imagery of the parent, moved as it was then."""
    if register.correct_by != "scene" or facts.get("settled", False):
        return None
    return scenes_of(chip, scenes)


def scenes_of(chip: Chip, scenes: Mapping[Acquisitions, SceneShift]) -> dict[str, list[SceneShift | None]]:
    """Modality -> per date, the shift of its acquisition against that of the chip's reference date."""
    keys = acquisitions(chip)
    reference = next(
        (
            (name, keys[name][i])
            for name, dates in chip.shifts.items()
            for i, shift in enumerate(dates)
            if shift.method == REFERENCE
        ),
        None,
    )
    if reference is None:
        return {name: [None] * len(dates) for name, dates in keys.items()}
    return {name: [scenes.get(Acquisitions(name, key, *reference)) for key in dates] for name, dates in keys.items()}


def _without_pixels(spec: ChipSpec, tile: Tile, facts: Mapping[str, Any]) -> Chip:
    """A chip of a fragment with its items and shifts, and no layers yet."""
    provenance = {}
    for name in facts["shifts"]:
        by_id = {item.item_id: item for item in tile.items[name]}
        provenance[name] = tuple(unpack_source(packed, by_id) for packed in facts["sources"][name])
    shifts = {name: tuple(Shift(**fields) for fields in dates) for name, dates in facts["shifts"].items()}
    return Chip(spec, {}, provenance, shifts)


def _moved(job: Job, tile: Tile, chip: Chip, first: Path, writer: FragmentWriter) -> Outcome:
    """Read a chip's moved dates again, screen it once more, and store it."""
    chip_id = chip.spec.chip_id
    facts, arrays = read_chip(first, chip_id)
    chip = replace(chip, layers=unpack_pixels(facts, arrays))
    try:
        chip = read_again(job, tile, chip)
    except SourceError as error:
        return failed(chip.spec, error)
    rejected = screen(chip_id, chip.layers, job.recipe.screen)
    if rejected is not None:
        return rejected
    row = chip_row(chip, job.recipe) | {"licences": facts["row"]["licences"]}
    again, described = pack_pixels(chip)
    shifts = {name: [_fields(shift) for shift in dates] for name, dates in chip.shifts.items()}
    writer.add(chip_id, {**arrays, **again}, {**facts, **described, "row": row, "shifts": shifts})
    return Outcome(chip_id, "kept")


def _fields(shift: Shift) -> dict[str, Any]:
    return {name: getattr(shift, name) for name in Shift.__slots__}


def _sums(job: Job, kept: Mapping[str, str], specs: Mapping[str, ChipSpec], writer: FragmentWriter) -> dict[str, Any]:
    """Band sums and votes of the chips that are kept now."""
    pixels: list[statistics.Statistics] = []
    votes = []
    labels = job.recipe.labels
    for chip_id in sorted(kept):
        facts, arrays = writer.read(chip_id)
        if kept[chip_id] == "train":
            pixels += [statistics.measure_layer(layer) for layer in unpack_pixels(facts, arrays).values()]
        if labels is not None and labels.fuse is not None:
            said = list(labels_of(facts, arrays).values())
            votes.append(fuse.statistics(said, setup_of(labels), specs[chip_id].region))
    return {
        "pixels": statistics.to_dict(statistics.merge(pixels)),
        "votes": sum(votes[1:], votes[0]).to_dict() if votes else None,
    }
