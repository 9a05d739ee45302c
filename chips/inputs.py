"""What decides a chip, component by component, as hashes: by them a refresh knows what it must do again.

    place           id, split, block, region and the columns of its place
    <modality>      the modality's part of the recipe, the chip's square and windows, the items over it
    register, screen
    labels          the label sources and their items over the chip
    fuse            how they become one and which targets are derived, and the estimated model (`with_models`)
    captions, write

A recipe that is edited in one part leaves the hashes of the others as they were. Items count by content, so that a
catalog that has moved changes nothing, while a scene that was processed anew touches the chips that it covers. Where
gaps are counted from a day that the recipe names, its first and last day decide nothing but which items there are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely

from schemas.chip import ChipSpec, Tile
from schemas.recipe import Recipe

PLACE, REGISTER, SCREEN, LABELS, FUSE, CAPTIONS, WRITE = (
    "place", "register", "screen", "labels", "fuse", "captions", "write",
)  # fmt: skip
OF_IMAGERY = ("plan", "read")
"""Steps whose versions count for every modality."""
DIGITS = 16
"""Hex digits kept of a component's hash: two values of one chip are compared, never many."""


def digest(value: Any) -> str:
    """First hex digits of the sha256 of some JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def tied(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Modality -> those whose dates or pixels hang together with its own, itself among them.

    Dates of modalities that are ``near`` each other are chosen together; with ``register.mode: correct``, or by scenes,
    the pixels of every modality hang on those of the reference.
    """
    register = recipe.register_shifts
    names = list(recipe.modalities)
    if register.mode == "correct" or (register.mode == "reject" and register.correct_by == "scene"):
        return {name: tuple(names) for name in names}
    group = {name: name for name in names}
    for name, modality in recipe.modalities.items():
        if modality.select.near is not None:
            ends = group[name], group[modality.select.near.modality]
            group = {one: min(ends) if root in ends else root for one, root in group.items()}
    return {name: tuple(other for other in names if group[other] == group[name]) for name in names}


def anchored(recipe: Recipe) -> frozenset[str]:
    """Modalities of which the first and the last day of the time decide nothing but which items there are: gaps are
    counted from a day that the recipe names, not from the middle, and there are no windows that the time cuts.
    """
    if recipe.time.reference is None:
        return frozenset()
    times = {name: modality.time or recipe.time for name, modality in recipe.modalities.items()}
    return frozenset(name for name, time in times.items() if time.reference is not None and time.windows is None)


def recipe_parts(recipe: Recipe, steps: Mapping[str, str], files: Mapping[str, str] | None = None) -> dict[str, str]:
    """Component -> hash of what recipe and step versions say of it, for all chips alike.

    Args:
        recipe: the recipe.
        steps: step -> declared version.
        files: label source -> hash of the file that it names, where it names one.
    """
    said = recipe.hashed()
    versions = {name: {step: steps[step] for step in names} for name, names in _STEPS.items()}
    register = said.get("register") if recipe.register_shifts.mode == "correct" else None
    common = [recipe.grid.gsd_m, said.get("sensors"), versions["imagery"], register]
    times = {name: said.get("time") for name in said["modalities"]}
    for name in anchored(recipe):
        times[name] = said["time"]["reference"]
        if "time" in said["modalities"][name]:
            said["modalities"][name]["time"] = said["modalities"][name]["time"]["reference"]
    parts = {name: digest([name, said["modalities"][name], [times[name], *common]]) for name in said["modalities"]}
    parts[PLACE] = digest(versions["place"])
    parts[REGISTER] = digest([said.get("register"), versions["register"]])
    parts[SCREEN] = digest([said.get("screen"), versions["screen"]])
    parts[WRITE] = digest(versions["write"])
    labels = said.get("labels")
    if labels is not None:
        fused_by = ("weight", "accuracy")
        sources = {n: {k: v for k, v in s.items() if k not in fused_by} for n, s in labels["sources"].items()}
        legends = [said.get("legends"), *([said["crosswalks"]] if said.get("crosswalks") else [])]
        parts[LABELS] = digest([sources, dict(files or {}), legends, recipe.grid.gsd_m, versions["labels"]])
        if labels.get("fuse") is not None or labels.get("targets"):
            year = recipe.time.window_utc()[2].year  # vintages are judged by their distance from it
            seed = recipe.seed if labels.get("targets") else None
            parts[FUSE] = digest([labels, legends, year, versions["fuse"], seed])
    if said.get("captions") is not None:
        parts[CAPTIONS] = digest([said["captions"], recipe.seed, versions["captions"]])
    return parts


_STEPS = {
    "imagery": OF_IMAGERY, "place": ("plan",), "register": ("register",), "screen": ("screen",),
    "labels": ("label",), "fuse": ("fuse",), "captions": ("caption",), "write": ("write",),
}  # fmt: skip


def steps_of(parts: Iterable[str]) -> frozenset[str]:
    """Steps that components go by.

    >>> sorted(steps_of(["s2", "captions"]))
    ['caption', 'plan', 'read']

    Args:
        parts: names of components, as `recipe_parts` has them.
    """
    return frozenset(step for name in parts for step in _STEPS.get(name, OF_IMAGERY))


def tile_inputs(recipe: Recipe, tile: Tile, parts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Chip id -> component -> hash, for every chip of a tile; still without what is estimated.

    Args:
        recipe: the recipe.
        tile: chips, and the items that may lie over them.
        parts: see `recipe_parts`.
    """
    over = {name: _over(tile, name) for name in tile.items}
    together, is_anchored = tied(recipe), anchored(recipe)
    sources = list(recipe.labels.sources) if recipe.labels else []
    found: dict[str, dict[str, str]] = {}
    for index, spec in enumerate(tile.chips):
        here = {name: column[index] for name, column in over.items()}
        square = [spec.epsg, list(spec.bounds_xyxy)]
        times = [spec.start_utc.isoformat(), spec.end_utc.isoformat(), spec.reference_utc.isoformat()]
        days = [[key, day.isoformat()] for key, day in spec.dates]
        inputs = {
            PLACE: digest([parts[PLACE], *_place(spec), square]),
            REGISTER: parts[REGISTER],
            SCREEN: parts[SCREEN],
            WRITE: parts[WRITE],
        }
        for name in recipe.modalities:
            seen = [[other, parts[other], here.get(other, [])] for other in together[name]]
            inputs[name] = digest([seen, square, times[2:] if name in is_anchored else times, days])
        if LABELS in parts:
            inputs[LABELS] = digest([parts[LABELS], square, {name: here.get(name, []) for name in sources}])
        inputs |= {name: parts[name] for name in (FUSE, CAPTIONS) if name in parts}
        found[spec.chip_id] = inputs
    return found


def with_models(inputs: Mapping[str, str], models: Mapping[str, str]) -> dict[str, str]:
    """The inputs of a chip, now that what was estimated over the whole dataset is known.

    Args:
        inputs: see `tile_inputs`.
        models: component -> hash of the estimated parameters that it goes by.
    """
    return {name: digest([found, models[name]]) if name in models else found for name, found in inputs.items()}


def input_hash(inputs: Mapping[str, str]) -> str:
    """sha256 over all components of a chip: its ``input_hash``."""
    text = json.dumps(dict(inputs), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _place(spec: ChipSpec) -> list[Any]:
    columns = [list(pair) for pair in spec.columns]
    return [spec.chip_id, spec.split, spec.block_id, spec.region, spec.majortom_cell, columns]


def _over(tile: Tile, name: str) -> list[list[str]]:
    """Per chip, the hashes of the items of one modality or label source that touch it, in order of the hashes."""
    items: Sequence[Any] = tile.items[name]
    if not items:
        return [[] for _ in tile.chips]
    chips = shapely.from_wkb([spec.footprint_wkb for spec in tile.chips])
    grounds = shapely.from_wkb([item.footprint_wkb for item in items])
    hashes = [item.content_hash or item.item_id for item in items]
    touch = shapely.intersects(np.asarray(chips)[:, None], np.asarray(grounds)[None, :])
    return [sorted({hashes[column] for column in np.flatnonzero(row)}) for row in touch]
