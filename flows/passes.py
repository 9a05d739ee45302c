"""What a Dask worker does with one tile or one shard: the hops of ARCHITECTURE.md, one call each.

Nothing large travels: a worker gets a `Job` and a `Tile`, leaves fragments on disk, and returns their path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from chips import statistics
from chips.decide import decide, screen_shifts
from chips.fingerprint import Fingerprint, fingerprints
from chips.inputs import input_hash, tile_inputs
from chips.register import measure_layers
from chips.scene_shift import Observation, observe
from chips.screen import screen
from flows.cluster import cancellation, freeze_imports, quieten_rasters
from flows.compare import Touched
from flows.fragments import FragmentWriter
from flows.job import Job
from flows.packing import pack_features, pack_layers, pack_source
from flows.readback import DraftChip, read_tile, row_of_draft
from labelers import fuse
from labelers.base import make_labeler
from labelers.marks import FusionStatistics, added
from labelers.osm import tags_wanted
from labelers.voters import setup_of
from schemas.chip import Chip, ChipSpec, Outcome, Tile
from schemas.errors import SourceError
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Recipe
from schemas.sample import LayerArrays
from schemas.sensor import load_sensor
from sources.correction import corrected
from sources.label_reader import LabelReader, by_items
from sources.retry import call_with_retries, is_garbled
from sources.tile_reader import failed

UNFINISHED = ".failed"
"""Ending of a tile's folder in which a chip failed: good for this run, done again by the next."""


@dataclass
class Sums:
    """What a tile's chips leave for the reduce."""

    pixels: list[statistics.Statistics] = field(default_factory=list)
    """Band sums of chips of the train split."""
    votes: list[FusionStatistics] = field(default_factory=list)
    """What the label sources said against each other."""
    shifts: list[Observation] = field(default_factory=list)
    """Reliable shifts, of rejected chips too."""
    prints: list[Fingerprint] = field(default_factory=list)
    """Fingerprints of kept chips, where the recipe looks for twins."""


def first_pass(job: Job, tile: Tile, touched: Mapping[str, Touched] | None = None) -> Path:
    """Hops 3 to 5 of a tile: read, register, screen, label; pixels, labels and sums into fragments.

    Labels are read over all chips of the tile, whichever are touched; pixels over the touched ones, which are the same
    whoever is read with them (`sources.engine.Engine.read_each`).

    Args:
        job: the run.
        tile: the tile.
        touched: what is to be done, about which of its chips; None: all of all.
    """
    final = job.first_folder(tile, touched)
    if final.exists():
        return final
    quieten_rasters()
    freeze_imports()
    began = time.monotonic()
    writer = FragmentWriter(final)
    inputs = tile_inputs(job.recipe, tile, job.parts)
    wanted = tile.only(touched)
    read = read_tile(job.recipe, job.layers, job.opener, job.storage, tile, touched or {}, cancellation())
    outcomes = list(read.outcomes)
    sums = Sums()
    labels = _labels_or_failures(job, tile) if read.drafts else {}
    for draft in read.drafts:
        spec = draft.chip.spec
        found = labels[spec.chip_id]
        if isinstance(found, Outcome):
            outcomes.append(found)
            continue
        draft = replace(draft, chip=replace(draft.chip, rasters=found[0], features=found[1]))
        try:
            outcomes.append(_finish_chip(job, tile, draft, inputs[spec.chip_id], writer, sums))
        except SourceError as error:
            outcomes.append(failed(spec, error))
    outcomes = [replace(outcome, inputs=inputs[outcome.chip_id]) for outcome in outcomes]
    splits = {chip.chip_id: chip.split for chip in wanted.chips}
    summary = {
        "tile": tile.tile_id,
        "kept": {o.chip_id: splits[o.chip_id] for o in outcomes if o.state == "kept"},
        "outcomes": [outcome_dict(outcome) for outcome in sorted(outcomes, key=lambda o: o.chip_id)],
        "pixels": statistics.to_dict(statistics.merge(sums.pixels)),
        "votes": total.to_dict() if (total := added(sums.votes)) is not None else None,
        "shifts": [asdict(observation) for observation in sums.shifts],
        "prints": [astuple(found) for found in sums.prints],
        "reads": read.steps,
        "seconds": round(time.monotonic() - began, 3),
    }
    if any(outcome.state == "failed" for outcome in outcomes):
        writer.final = final.with_name(f"{final.name}{UNFINISHED}")
    return writer.commit(summary)


def _labels_or_failures(job: Job, tile: Tile) -> dict[str, Any]:
    """Chip id -> (rasters, features), or the failure that its label sources met: of the products over it alone."""
    specs = list(tile.chips)
    if job.recipe.labels is None or not specs:
        return {spec.chip_id: ({}, None) for spec in specs}

    def read(group: Sequence[ChipSpec]) -> dict[str, Any]:
        reader = LabelReader(job.recipe, job.opener, job.fetched, job.variables, tags_wanted())
        return dict(reader.read(tile, group))

    def read_or_fail(group: Sequence[ChipSpec]) -> dict[str, Any]:
        try:
            return call_with_retries(
                lambda: read(group), sleep=time.sleep, once_if=is_garbled, refresh=job.opener.refresh
            )
        except SourceError as error:
            return {spec.chip_id: failed(spec, error) for spec in group}

    found = read_or_fail(specs)
    groups = by_items(job.recipe.labels.sources, tile, specs)
    if len(groups) > 1 and any(isinstance(one, Outcome) for one in found.values()):
        found = {chip_id: one for group in groups for chip_id, one in read_or_fail(group).items()}
    return found


def _finish_chip(
    job: Job, tile: Tile, draft: DraftChip, inputs: Mapping[str, str], writer: FragmentWriter, sums: Sums
) -> Outcome:
    """Register, screen and label one chip, and store what is kept.

    Raises:
        SourceError: a second read of a shifted date failed.
    """
    recipe, chip, touched = job.recipe, draft.chip, draft.touched
    chip_id, register = chip.spec.chip_id, recipe.register_shifts
    by_chip = register.correct_by == "chip"  # the scene's shift is not known before the reduce: `flows.realign`
    is_settled = draft.before is not None and not (touched.is_measured_again and register.mode in ("measure", "reject"))
    if register.mode != "off" and not is_settled:
        profiles = {name: load_sensor(modality.sensor) for name, modality in recipe.modalities.items()}
        chip = replace(chip, shifts=measure_layers(chip.layers, register, profiles))
        sums.shifts += observe(chip_id, chip.shifts, acquisitions(chip))
    if register.mode == "correct" and by_chip and not is_settled:
        chip = read_again(job, tile, replace(chip, shifts=decide(chip.shifts, register)))
    rejected = screen(chip_id, chip.layers, recipe.screen) if touched.is_screened_again else None
    rejected = rejected or (screen_shifts(chip_id, chip.shifts, register) if by_chip else None)
    rejected = rejected or _uncovered(recipe, chip)
    if rejected is not None:
        return rejected
    if recipe.labels is not None:
        chip = replace(chip, labels=_label(job, chip))
        if recipe.labels.fuse is not None:
            sums.votes.append(fuse.statistics(list(chip.labels.values()), setup_of(recipe.labels), chip.spec.region))
    counted = {g: x for g, x in chip.layers.items() if touched.counts(x.attrs["modality"])}
    if chip.spec.split == "train":
        sums.pixels += [statistics.measure_layer(layer) for layer in counted.values()]
    if recipe.screen.near_duplicates != "off":
        sums.prints += fingerprints(chip_id, chip.layers if touched.are_twins_found_again else counted)
    _store(job, replace(draft, chip=chip), inputs, is_settled, writer)
    return Outcome(chip_id, "kept")


def acquisitions(chip: Chip) -> dict[str, list[str]]:
    """Modality -> key of the acquisition behind each date; of a composite the keys of all, of an empty step none."""
    return {
        name: ["+".join(parts[0].datatake or parts[0].item_id for parts in date.pictures) for date in dates]
        for name, dates in chip.provenance.items()
    }


def read_again(job: Job, tile: Tile, chip: Chip) -> Chip:
    """The chip with every date that `chips.decide.decide` moves, read on its moved grid.

    Raises:
        SourceError: the second read failed.
    """
    return call_with_retries(
        lambda: corrected(chip, job.recipe, job.layers, job.opener, tile.items),
        sleep=time.sleep,
        once_if=is_garbled,
        refresh=job.opener.refresh,
    )


def _uncovered(recipe: Recipe, chip: Chip) -> Outcome | None:
    """The rejection of a chip that lies outside a label product which the recipe calls not optional, or None."""
    for name, source in (recipe.labels.sources if recipe.labels else {}).items():
        if source.optional:
            continue
        raster = chip.rasters.get(name)
        covered = chip.features is not None if source.kind == "osm" else False
        if raster is not None:
            covered = not np.isin(raster.codes, load_legend(raster.legend).nodata).all()
        if not covered:
            return Outcome(chip.spec.chip_id, "rejected", f"{name}.optional", 0.0)
    return None


def _label(job: Job, chip: Chip) -> dict[str, LabelLayer]:
    """The label layer of every source, in the recipe's order."""
    labels = job.recipe.labels
    georef = chip.spec.georef(job.recipe.grid.gsd_m)
    found: dict[str, LabelLayer] = {}
    for name, source in (labels.sources if labels else {}).items():
        given = chip.features if source.kind == "osm" else chip.rasters.get(name)
        if given is not None:
            found[name] = make_labeler(source).label(given, georef)
    return found


def _store(job: Job, draft: DraftChip, inputs: Mapping[str, str], is_settled: bool, writer: FragmentWriter) -> None:
    chip = draft.chip
    facts = {
        "row": row_of_draft(draft, job.recipe) | {"input_hash": input_hash(inputs)},
        "inputs": dict(inputs),
        "labels": {name: _label_fields(label) for name, label in chip.labels.items()},
        "features": pack_features(chip.features),
        "split": chip.spec.split,
        "shifts": {name: [asdict(shift) for shift in dates] for name, dates in chip.shifts.items()},
        "sources": {name: [pack_source(date) for date in dates] for name, dates in chip.provenance.items()},
        "settled": is_settled,
    }
    arrays, described = pack_pixels(chip)
    for name, label in chip.labels.items():
        arrays[f"label/{name}"] = label.classes
    writer.add(chip.spec.chip_id, arrays, facts | described)


def pack_pixels(chip: Chip) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chip's layers as arrays and JSON for its fragment. Inverse: `flows.realign.unpack_pixels`."""
    layers = {name: to_arrays(layer) for name, layer in chip.layers.items()}
    arrays, georefs = pack_layers(layers)
    return arrays, {
        "georefs": georefs,
        "layer_attrs": {n: {k: v for k, v in x.attrs.items() if k != "georef"} for n, x in chip.layers.items()},
        "bands": {n: [str(b) for b in x.variables["band"].values] for n, x in chip.layers.items()},
        "common_names": {n: [str(b) for b in x.variables["common_name"].values] for n, x in chip.layers.items()},
        "wavelengths_nm": {
            n: [None if np.isnan(w) else float(w) for w in x.variables["wavelength_nm"].values]
            for n, x in chip.layers.items()
        },
    }


def to_arrays(layer: xr.Dataset) -> LayerArrays:
    """A layer as the writers take it."""
    return LayerArrays(
        data=layer.variables["data"].values,
        valid=layer.variables["valid"].values,
        time_utc=layer.variables["time"].values.astype("datetime64[ns]"),
        scale=layer.variables["scale"].values,
        offset=layer.variables["offset"].values,
        georef=layer.attrs["georef"],
        count=layer.variables["count"].values if "count" in layer else None,
    )


def _label_fields(label: LabelLayer) -> dict[str, Any]:
    fields = ("source", "nodata", "legend", "vintage", "licence", "share_alike")
    georef = label.georef
    return {name: getattr(label, name) for name in fields} | {
        "georef": [georef.epsg, georef.x0, georef.y0, georef.pixel_size, list(georef.shape_yx)]
    }


def outcome_dict(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    return {name: getattr(outcome, name) for name in Outcome.__slots__}
