"""What changed since the parent version: chips whose inputs are others now, and what of each must be read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chips.convert import stored_form
from chips.inputs import CAPTIONS, FUSE, LABELS, PLACE, REGISTER, SCREEN, WRITE, tied, tile_inputs, with_models
from chips.plan import LayerPlan
from flows.before import Before, Inputs
from flows.estimates import Estimates
from flows.plan_store import StoredPlan
from schemas.dataset import LayerTable
from schemas.errors import UserError
from schemas.recipe import Recipe
from shards.tar import StoredSample

NEW, FAILED, REFIT = "new", "failed before", "refit"
"""Why a chip is touched though none of its components changed."""
ALWAYS = frozenset((PLACE, REGISTER, SCREEN, FAILED))
"""What touches a chip in a way that could move whatever is estimated over it."""


@dataclass(frozen=True, slots=True)
class Touched:
    """A chip that must be made again."""

    read: frozenset[str]
    """Modalities that are read from their source."""
    why: frozenset[str]
    """Components that changed, or `NEW`, `FAILED`, `REFIT`."""
    sample: StoredSample | None = None
    """Where the other modalities are taken from; None where all are read."""
    are_shifts_found_again: bool = False
    """Whether shifts of acquisitions are not the parent's: every touched chip says what it measures."""
    are_twins_found_again: bool = False
    """Whether twins are not the parent's: every touched chip leaves fingerprints of all its layers."""

    def key(self, chip_id: str) -> list[Any]:
        """What of it decides the chip's fragment, beside the plan."""
        stored = self.sample.segment.sha256 if self.sample is not None else ""
        flags = [self.is_measured_again, self.is_screened_again, REFIT in self.why, self.are_twins_found_again]
        return [chip_id, sorted(self.read), stored, flags]

    def counts(self, modality: str) -> bool:
        """Whether the sums of the reduce need the pixels of a modality: of a chip that comes to train, too."""
        return modality in self.read or not self.why.isdisjoint({REFIT, PLACE})

    @property
    def is_measured_again(self) -> bool:
        """Whether shifts between its layers are measured anew."""
        return bool(self.read) or REGISTER in self.why or self.are_shifts_found_again

    @property
    def is_screened_again(self) -> bool:
        """Whether it may be rejected by its pixels."""
        return bool(self.read) or SCREEN in self.why


@dataclass(frozen=True)
class Outlook:
    """What a run has to do."""

    touched: Mapping[int, Mapping[str, Touched]] | None = None
    """Number of a tile -> its touched chips; tiles without any are not named. None: every chip, all of it."""
    untouched: Inputs = field(default_factory=Inputs)
    """Planned chips that stay as the parent has them, kept or rejected, with their inputs now, less what is
    estimated."""
    removed: tuple[str, ...] = ()
    """Chips of the parent that are not planned any more."""
    frozen: Estimates = field(default_factory=Estimates)
    """Parameters that are taken over."""
    same_recipe: bool = False
    """Whether the recipe is the parent's."""
    moved: Mapping[str, int] = field(default_factory=dict)
    """``train to test`` -> chips that the parent holds in the one split and the plan in the other."""

    @property
    def is_nothing_new(self) -> bool:
        """Whether the parent is what a build would make."""
        return self.touched == {} and self.same_recipe and not self.removed

    def of_tile(self, number: int) -> Mapping[str, Touched] | None:
        """The touched chips of a tile; None where all are, wholly."""
        return None if self.touched is None else self.touched.get(number, {})

    def numbers(self, planned: range) -> Sequence[int]:
        """Numbers of the tiles that are worked on."""
        return planned if self.touched is None else sorted(self.touched)

    def why(self) -> dict[str, int]:
        """Component -> chips that it touched."""
        counted: Counter[str] = Counter()
        for of_tile in (self.touched or {}).values():
            for chip in of_tile.values():
                counted.update(chip.why)
        return dict(sorted(counted.items()))

    def moving_estimates(self, modality_of: Mapping[str, str], before: Set[str], now: Set[str]) -> int:
        """How many kept chips could move what is frozen: came, went, or have others of the inputs that it is of.

        Args:
            modality_of: modality group -> modality.
            before: chips that the parent keeps.
            now: chips that are kept now.
        """
        bearing = self.frozen.components(modality_of)
        if not bearing:
            return 0
        of_tiles = (self.touched or {}).values()
        touched = {name for of_tile in of_tiles for name, chip in of_tile.items() if chip.why & (bearing | ALWAYS)}
        return len((before ^ now) | (touched & now))

    def notes(self) -> tuple[str, ...]:
        """What a person should be told beside it: what a model learned from is asked of it in the next version."""
        if not self.moved:
            return ()
        moved = ", ".join(f"{count} chip(s) from {ways}" for ways, count in sorted(self.moved.items()))
        mend = "grid: {kind: list, file: its chips.parquet} with split: {method: listed} keeps a version's splits"
        return (f"splits are others than in the current version: {moved}; {mend}",)

    def line(self) -> str:
        """For people."""
        total = sum(len(of_tile) for of_tile in (self.touched or {}).values())
        reasons = ", ".join(f"{name} {count}" for name, count in self.why().items())
        gone = f"; {len(self.removed)} not planned any more" if self.removed else ""
        return f"{total} of {total + len(self.untouched)} chips touched{f' ({reasons})' if reasons else ''}{gone}"


def compare(
    plan: StoredPlan,
    parts: Mapping[str, str],
    before: Before,
    *,
    refit: bool = False,
    redo: Collection[str] = (),
) -> Outlook:
    """Every planned chip's inputs against those of the parent.

    Args:
        plan: the plan.
        parts: see `chips.inputs.recipe_parts`; versions of steps are among it.
        before: the parent.
        refit: whether the estimated parameters are estimated anew: then every kept chip is touched.
        redo: components that are done again whatever their inputs, a modality with those that are tied to it.

    Raises:
        UserError: ``redo`` names a component that there is not.
    """
    recipe = plan.recipe
    unknown = sorted(set(redo) - set(parts))
    if unknown:
        known = ", ".join(sorted(parts))
        raise UserError(f"there is no {unknown[0]!r} to do again", where="--redo", mend=f"one of: {known}")
    others = other_layers(recipe, plan.layers, before.document.modalities)
    modality_of = {layer.group: layer.modality for layer in plan.layers}
    frozen = _of_same_layers(before.estimates.holding(parts, modality_of, refit), others, modality_of)
    models = frozen.models(recipe)
    judge = _Judge(recipe, before, others.union(redo), refit, frozen)
    touched: dict[int, dict[str, Touched]] = {}
    untouched = Inputs()
    moved: Counter[str] = Counter()
    seen = 0
    for number in plan.numbers:
        tile = plan.tile(number)
        split_of = {spec.chip_id: spec.split for spec in tile.chips}
        for chip_id, inputs in tile_inputs(recipe, tile, parts).items():
            seen += chip_id in before.inputs
            chip = judge.of(chip_id, with_models(inputs, models))
            if chip is None:
                untouched.put(chip_id, inputs)
                continue
            touched.setdefault(number, {})[chip_id] = chip
            stored = before.places.get(chip_id) if PLACE in chip.why else None
            if stored is not None and stored.split != split_of[chip_id]:
                moved[f"{stored.split} to {split_of[chip_id]}"] += 1
    return Outlook(
        touched=touched,
        untouched=untouched,
        removed=() if seen == len(before.inputs) else _removed(before, touched, untouched),
        frozen=frozen,
        same_recipe=before.document.recipe_hash == recipe.hash(),
        moved=moved,
    )


def other_layers(recipe: Recipe, planned: Sequence[LayerPlan], before: Sequence[LayerTable]) -> frozenset[str]:
    """Modalities of which the plan makes other layers than the parent holds: all chips get these, or lose theirs.

    What no chip's inputs tell: layers are those of a modality's first item, and an optional one without any has none.

    Args:
        recipe: the recipe.
        planned: the plan's layers.
        before: the parent's, as it documents them.
    """
    now: dict[str, list[Any]] = {name: [] for name in recipe.modalities}
    old: dict[str, list[Any]] = {name: [] for name in recipe.modalities}
    for layer in planned:
        form = stored_form(layer.dtype, layer.nodata, layer.unit, recipe.modalities[layer.modality])
        now[layer.modality].append([layer.group, layer.gsd_m, layer.bands, _as_documented(*form)])
    for known in before:
        if known.modality in old:
            bands, form = tuple(band.name for band in known.bands), (known.dtype, known.nodata, known.unit)
            old[known.modality].append([known.group, known.gsd_m, bands, _as_documented(*form)])
    together = tied(recipe)
    return frozenset(other for name in now if now[name] != old[name] for other in together[name])


def may_be_kept(reason: str, changed: Collection[str]) -> bool:
    """Whether a chip may have lost what it was rejected by, of which the recipe may know nothing any more.

    >>> may_be_kept("osm.optional", ["labels"]), may_be_kept("s2.min_dates", ["landsat"])
    (True, False)

    Args:
        reason: that the parent gave.
        changed: components of the chip that are others now.
    """
    name, _, limit = reason.rpartition(".")
    if limit == "optional":
        return LABELS in changed
    if limit in ("max_shift_m", "near_duplicates"):  # told by one layer against others, whichever they were
        return bool(set(changed) - {PLACE, LABELS, FUSE, CAPTIONS, WRITE})
    return name in changed


def _as_documented(dtype: str, nodata: float | None, unit: str) -> tuple[str, float | None, str]:
    """A layer's stored form; JSON holds no NaN."""
    return dtype, nodata if nodata is not None and np.isfinite(nodata) else None, unit


def _of_same_layers(frozen: Estimates, others: Collection[str], modality_of: Mapping[str, str]) -> Estimates:
    """The parameters without the statistics of bands whose layers are others now."""
    same = {group for group in frozen.bands_parts if modality_of.get(group) not in others}
    return replace(
        frozen,
        bands={group: bands for group, bands in frozen.bands.items() if group in same},
        bands_parts={group: part for group, part in frozen.bands_parts.items() if group in same},
    )


def _removed(before: Before, touched: Mapping[int, Mapping[str, Touched]], untouched: Inputs) -> tuple[str, ...]:
    planned = {chip_id for of_tile in touched.values() for chip_id in of_tile}
    return tuple(sorted(one for one in before.inputs if one not in planned and one not in untouched))


class _Judge:
    """Says of a chip what must be done about it."""

    def __init__(self, recipe: Recipe, before: Before, again: frozenset[str], refit: bool, frozen: Estimates) -> None:
        self.before, self.again, self.refit = before, again, refit
        self.new_shifts, self.new_twins = not frozen.shifts_part, not frozen.twins_part
        self.modalities, self.together = frozenset(recipe.modalities), tied(recipe)
        self.asks = recipe.captions is not None and recipe.captions.may_ask
        labels = recipe.labels.sources.values() if recipe.labels else ()
        self.rejecting = self.modalities | {SCREEN}
        register = recipe.register_shifts
        self.rejecting |= {REGISTER} if register.mode in ("correct", "reject") else set()
        self.moves = register.mode == "correct"
        self.needs_unmoved = {REGISTER, SCREEN} if register.correct_by == "scene" else {REGISTER}
        self.rejecting |= {LABELS} if any(not source.optional for source in labels) else set()

    def of(self, chip_id: str, now: Mapping[str, str]) -> Touched | None:
        """None where it stays as it is."""
        if chip_id not in self.before.inputs:
            return Touched(self.modalities, frozenset([NEW]))
        old = self.before.inputs.of(chip_id)
        changed = frozenset(name for name in {*now, *old} if now.get(name) != old.get(name)) | (self.again & now.keys())
        if chip_id in self.before.failed:
            return Touched(self.modalities, changed | {FAILED})
        sample = self.before.places.get(chip_id)
        if sample is None:  # what was rejected stays so as long as nothing that decides it is another
            reason = self.before.rejected.get(chip_id, "")
            is_open = bool(changed & self.rejecting) or may_be_kept(reason, changed)
            return Touched(self.modalities, changed) if is_open else None
        if self.refit:
            changed = (changed - {FUSE}) | {REFIT}
        if self.asks and chip_id in self.before.unasked:
            changed |= {CAPTIONS}
        if not changed:
            return None
        read = frozenset(other for name in self.modalities & changed for other in self.together[name])
        if self.moves and (self.new_shifts or changed & self.needs_unmoved):  # the parent holds it as it was moved
            read = self.modalities
        return Touched(read, changed, None if read == self.modalities else sample, self.new_shifts, self.new_twins)
