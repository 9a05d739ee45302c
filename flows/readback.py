"""A tile's chips for the first pass: what is touched comes from its source, everything else from the parent's shards.

A chip of which nothing but labels or texts is made again opens no imagery at all. What is taken back equals what a
read would give, since no input of it changed: pixels, masks, dates, the columns of its row.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import xarray as xr

from chips.convert import stored_form
from chips.inputs import tied
from chips.plan import LayerPlan
from chips.register import APPROXIMATE
from chips.rows import chip_row, shift_columns
from chips.screen import SNOW_IS_CLEAR
from flows.compare import NEW, Touched
from flows.layers import layer_of
from schemas.chip import Chip, ChipSpec, DateSource, Outcome, Tile
from schemas.errors import IntegrityError
from schemas.recipe import Recipe
from schemas.sample import LayerArrays, Sample, split_ids
from schemas.scene import Opener, SceneItem
from schemas.sensor import load_sensor
from shards.samples import decode_sample
from shards.storage import Storage
from shards.tar import StoredSample
from shards.tar_reader import ShardFiles, members_in
from sources.layer_bands import layer_bands
from sources.tile_reader import TileReader


@dataclass(frozen=True)
class DraftChip:
    """A chip with all its layers, and what the parent says of those that were not read."""

    chip: Chip
    """Layers in the recipe's order; provenance of all modalities."""
    touched: Touched
    """What is made again."""
    before: Mapping[str, Any] | None = None
    """The parent's row; None where everything was read."""


@dataclass
class ReadBack:
    """What became of a tile's chips in hop 3."""

    drafts: list[DraftChip] = field(default_factory=list)
    """Chips with all the layers that the recipe demands."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Chips that are rejected or failed."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Reads done: item, bytes, for the run table."""


def read_tile(
    recipe: Recipe,
    layers: Sequence[LayerPlan],
    opener: Opener,
    storage: Storage,
    tile: Tile,
    touched: Mapping[str, Touched],
    is_stopped: Callable[[], bool],
) -> ReadBack:
    """All chips of a tile, each modality from where it is to come.

    Args:
        recipe: the recipe.
        layers: the modality groups.
        opener: how hrefs are opened.
        storage: root of the dataset.
        tile: the tile.
        touched: chip id -> what is to be read, and with it every modality of which the parent lacks a layer; chips that
            are not named stay as they are. Empty: all of all.
        is_stopped: see `TileReader`.
    """
    whole = Touched(frozenset(recipe.modalities), frozenset([NEW]))
    todo = {spec.chip_id: touched.get(spec.chip_id, whole) for spec in tile.chips}
    todo = {chip_id: one for chip_id, one in todo.items() if not touched or chip_id in touched}
    groups: dict[frozenset[str], list[ChipSpec]] = defaultdict(list)
    result = ReadBack()
    with ShardFiles(storage) as files:
        stored = {i: stored_sample(files, one.sample, layers) for i, one in todo.items() if one.sample is not None}
        todo |= {chip_id: _with_lacking(todo[chip_id], sample, recipe, layers) for chip_id, sample in stored.items()}
        for spec in tile.chips:
            if spec.chip_id in todo:
                groups[todo[spec.chip_id].read].append(spec)
        for read, specs in sorted(groups.items(), key=lambda group: sorted(group[0])):
            for chip in _chips(recipe, layers, opener, tile, specs, read, is_stopped, result):
                one = todo[chip.spec.chip_id]
                if one.sample is None:
                    result.drafts.append(DraftChip(chip, one))
                else:
                    sample = stored.pop(chip.spec.chip_id)
                    filled = _filled(chip, sample, recipe, layers, tile)
                    result.drafts.append(DraftChip(filled, one, sample.row))
    result.drafts.sort(key=lambda draft: draft.chip.spec.chip_id)
    return result


def _with_lacking(one: Touched, sample: Sample, recipe: Recipe, layers: Sequence[LayerPlan]) -> Touched:
    """What is to be read, with the modalities of which the parent's sample lacks a layer and those tied to them."""
    lacking = {layer.modality for layer in layers if layer.group not in sample.layers} - one.read
    if not lacking:
        return one
    together = tied(recipe)
    read = one.read.union(*(together[name] for name in lacking))
    return replace(one, read=read, sample=one.sample if read < frozenset(recipe.modalities) else None)


def _chips(
    recipe: Recipe,
    layers: Sequence[LayerPlan],
    opener: Opener,
    tile: Tile,
    specs: Sequence[ChipSpec],
    read: frozenset[str],
    is_stopped: Callable[[], bool],
    result: ReadBack,
) -> Sequence[Chip]:
    """Some of a tile's chips with the modalities that are read from their source."""
    wanted = [layer for layer in layers if layer.modality in read]
    if not wanted:
        return [Chip(spec, {}, {}) for spec in specs]
    found = TileReader(recipe, wanted, opener, is_stopped=is_stopped).read(replace(tile, chips=tuple(specs)))
    result.outcomes += found.outcomes
    result.steps += found.steps
    return found.chips


def stored_sample(files: ShardFiles, stored: StoredSample, layers: Sequence[LayerPlan]) -> Sample:
    """A sample of the parent.

    Raises:
        IntegrityError: the shard does not hold what the parent's table says, to the byte.
    """
    content = files.segment(stored.shard, stored.segment.offset, stored.segment.length)
    if hashlib.sha256(content).hexdigest() != stored.segment.sha256:
        raise IntegrityError(f"{stored.shard}: the bytes of {stored.chip_id} are not those of sample_sha256")
    members = {member.suffix: part for member, part in members_in(content, stored.chip_id)}
    return decode_sample(stored.chip_id, members, {layer.group: layer.modality for layer in layers})


def _filled(chip: Chip, sample: Sample, recipe: Recipe, layers: Sequence[LayerPlan], tile: Tile) -> Chip:
    """The chip with the parent's layers where it has none of its own, in the recipe's order."""
    taken = [layer for layer in layers if layer.modality not in chip.provenance]
    provenance: dict[str, tuple[DateSource, ...]] = dict(chip.provenance)
    for name in dict.fromkeys(layer.modality for layer in taken):
        provenance[name] = sources_of(sample.row, name, tile.items.get(name, ()))
    filled: dict[str, xr.Dataset] = {}
    for layer in layers:
        if layer.modality in chip.provenance:
            filled[layer.group] = chip.layers[layer.group]
        else:
            filled[layer.group] = _layer(sample.layers[layer.group], layer, recipe, tile, provenance[layer.modality])
    ordered = {name: provenance[name] for name in recipe.modalities if name in provenance}
    return replace(chip, layers=filled, provenance=ordered)


def sources_of(row: Mapping[str, Any], modality: str, items: Sequence[SceneItem]) -> tuple[DateSource, ...]:
    """Where the dates of a modality came from, by the parent's row: items of one datatake are one picture.

    Raises:
        IntegrityError: an item of it is not in the plan, although no input changed.
    """
    by_id = {item.item_id: item for item in items}
    dates = []
    windows = row.get(f"{modality}.window")
    for index, joined in enumerate(row.get(f"{modality}.item_ids") or ()):
        try:
            behind = [by_id[item_id] for item_id in split_ids(joined)]
        except KeyError as error:
            raise IntegrityError(f"{row.get('chip_id')}: item {error.args[0]} of {modality} is not planned") from error
        pictures = tuple(tuple(parts) for _, parts in groupby(behind, key=lambda item: item.datatake or item.item_id))
        dates.append(DateSource(pictures, windows[index] if windows else ""))
    return tuple(dates)


def _layer(
    stored: LayerArrays, layer: LayerPlan, recipe: Recipe, tile: Tile, dates: Sequence[DateSource]
) -> xr.Dataset:
    modality = recipe.modalities[layer.modality]
    _, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, modality)
    attrs = {
        "modality": layer.modality,
        "group": layer.group,
        "gsd_m": layer.gsd_m,
        "kind": load_sensor(layer.sensor).kind,
        "nodata": nodata,
        "unit": unit,
    }
    if any(dict(item.extra).get("geocoding") == APPROXIMATE for date in dates for item in date.items):
        attrs["geocoding"] = APPROXIMATE
    if modality.select.snow_is_clear:
        attrs[SNOW_IS_CLEAR] = True
    lead = next((date.lead for date in dates if date.lead is not None), None)
    bands = layer_bands(layer, modality, tile.items.get(layer.modality, ()), lead)
    return layer_of(
        stored, attrs, layer.bands, [band.common_name for band in bands], [band.centre_nm or None for band in bands]
    )


def row_of_draft(draft: DraftChip, recipe: Recipe) -> dict[str, Any]:
    """The row of a finished chip: anew for what was read, the parent's for what was taken back.

    Shifts are anew wherever they were measured anew.
    """
    chip, before = draft.chip, draft.before
    if before is None:
        return chip_row(chip, recipe)
    read = {name: dates for name, dates in chip.provenance.items() if name in draft.touched.read}
    row = chip_row(replace(chip, provenance=read), recipe)
    taken = [name for name in chip.provenance if name not in read]
    for name in taken:
        row |= {key: value for key, value in before.items() if _is_of(name, key) and key not in row}
        if draft.touched.is_measured_again:
            row |= shift_columns(name, chip.shifts.get(name, ()), len(chip.provenance[name]))
    licences = {entry["layer"]: entry for entry in row["licences"]}
    licences |= {entry["layer"]: entry for entry in before["licences"] if entry["layer"] in taken}
    return row | {"licences": [licences[layer] for layer in sorted(licences)]}


def _is_of(modality: str, key: str) -> bool:
    """Whether a column holds lists over the dates of a modality."""
    name, _, ending = key.rpartition(".")
    return name == modality and ending not in ("transform", "shape_yx")
