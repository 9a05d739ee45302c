"""Targets of the recipe, made of a chip's label layers and vectors: arrays, JSON and columns, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.degrade import degraded
from labelers.densities import building_density, road_density
from labelers.fuse import ABSTAINED
from labelers.graph import network
from labelers.squares import UNKNOWN, square_counts
from labelers.voters import vote_table
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.labels import FeatureTable, LabelLayer
from schemas.legend import Legend, load_legend
from schemas.recipe_labels import Labels
from schemas.recipe_targets import (
    LABEL,
    DegradedTarget,
    DensityTarget,
    DominantTarget,
    FractionsTarget,
    GraphTarget,
    MaskTarget,
    MultiLabelTarget,
    PairTarget,
)


@dataclass(frozen=True)
class Made:
    """Targets of one chip."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Name -> array: member ``target_<name>.npy``."""
    documents: dict[str, Any] = field(default_factory=dict)
    """Name -> JSON: member ``target_<name>.json``."""
    columns: dict[str, Any] = field(default_factory=dict)
    """``target.<name>`` -> value in chips.parquet."""


@dataclass(frozen=True)
class ChipLabels:
    """What targets are made of."""

    chip_id: str
    """Its id."""
    georef: GeoRef
    """Grid of the labels."""
    layers: Mapping[str, LabelLayer]
    """Source -> layer."""
    fused: LabelLayer | None
    """The fused layer."""
    features: FeatureTable | None
    """Vectors in the chip's coordinate system."""
    seed: int
    """The recipe's."""


def make_targets(labels: Labels, chip: ChipLabels) -> Made:
    """Every target of the recipe that the chip's layers allow; of a layer that a chip lacks there is none.

    Raises:
        RecipeError: a class that the legend lacks, or squares that no whole number of pixels makes.
    """
    made = Made()
    for name, target in labels.targets.items():
        if isinstance(target, DensityTarget):
            if chip.features is not None:
                count = building_density if target.of == "buildings" else road_density
                cell = _pixels(name, target.cell_m, chip.georef.pixel_size)
                made.arrays[name] = count(chip.features, chip.georef, cell)
        elif isinstance(target, GraphTarget):
            if chip.features is not None:
                made.documents[name] = network(chip.features, chip.georef, target.of)
        elif isinstance(target, PairTarget):
            before, after = (_target_map(layer, labels, chip) for layer in (target.before, target.after))
            if before is not None and after is not None:
                made.arrays[name] = _pair(before, after)
        elif isinstance(target, DegradedTarget):
            codes = _target_map(target.of, labels, chip)
            if codes is not None and labels.fuse is not None:
                dropped = [_index(name, load_legend(labels.fuse.legend), wanted) for wanted in target.drop]
                made.arrays[name] = degraded(
                    codes, target, dropped, chip.georef.pixel_size, f"{chip.seed} {chip.chip_id} {name}"
                )
        else:
            _of_layer(name, target, chip, made)
    return made


def check_targets(labels: Labels, gsd_m: float) -> None:
    """Stop before anything is read where a target cannot be made.

    Args:
        labels: the recipe's.
        gsd_m: pixel size of its labels.

    Raises:
        RecipeError: a class that the legend lacks, a legend of too many, squares that no whole number of pixels
            makes, or a shift or blur of less than a pixel.
    """
    for name, target in labels.targets.items():
        if isinstance(target, MaskTarget | MultiLabelTarget | FractionsTarget | DominantTarget):
            _legend_of(labels, target.of).require_indices(where=f"labels.targets.{name}")
        if isinstance(target, MaskTarget):
            legend = _legend_of(labels, target.of)
            for wanted in target.classes:
                _index(name, legend, wanted)
        elif isinstance(target, DegradedTarget):
            for wanted in target.drop:
                _index(name, _legend_of(labels, LABEL), wanted)
            _check_lengths(name, target, gsd_m)
        elif isinstance(target, DensityTarget | FractionsTarget) and target.cell_m is not None:
            _pixels(name, target.cell_m, gsd_m)


def _check_lengths(name: str, target: DegradedTarget, gsd_m: float) -> None:
    """A map is moved by whole pixels and coarsened to squares of them: what rounds to nothing would do nothing."""
    for key, metres, least in (("shift_m", target.shift_m, 1), ("blur_m", target.blur_m, 2)):
        if metres and round(metres / gsd_m) < least:
            raise RecipeError(
                f"{key} {metres:g} changes nothing on pixels of {gsd_m:g} m",
                where=f"labels.targets.{name}",
                mend=f"give at least {least * gsd_m:g}",
            )


def _legend_of(labels: Labels, layer: str) -> Legend:
    """Legend of a layer's classes."""
    if layer == LABEL and labels.fuse is not None:
        return load_legend(labels.fuse.legend)
    return load_legend(labels.sources[layer].legend_name())


def _of_layer(
    name: str,
    target: MaskTarget | MultiLabelTarget | FractionsTarget | DominantTarget,
    chip: ChipLabels,
    made: Made,
) -> None:
    """A target of one layer at its own classes."""
    found = _classes(target.of, chip)
    if found is None:
        return
    classes, legend = found
    if isinstance(target, MaskTarget):
        wanted = [_index(name, legend, entry) for entry in target.classes]
        is_wanted = np.zeros(UNKNOWN + 1, dtype=np.uint8)
        is_wanted[wanted] = 1
        is_wanted[UNKNOWN] = UNKNOWN
        made.arrays[name] = is_wanted.take(classes)
        return
    if isinstance(target, FractionsTarget) and target.cell_m is not None:
        cell = _pixels(name, target.cell_m, chip.georef.pixel_size)
        made.arrays[name] = square_fractions(classes, len(legend.classes), cell)
        return
    counts = np.bincount(classes.ravel(), minlength=UNKNOWN + 1)[: len(legend.classes)]
    shares = counts / counts.sum() if counts.any() else counts.astype(np.float64)
    names = [entry.name for entry in legend.classes]
    if isinstance(target, FractionsTarget):
        made.columns[f"target.{name}"] = [round(float(share), 6) for share in shares] if counts.any() else None
    elif isinstance(target, DominantTarget):
        made.columns[f"target.{name}"] = names[int(shares.argmax())] if counts.any() else ""
    else:
        present = [n for n, share in zip(names, shares, strict=True) if share >= target.min_fraction and share > 0]
        made.columns[f"target.{name}"] = present if counts.any() else None


def _classes(layer: str, chip: ChipLabels) -> tuple[NDArray[np.uint8], Legend] | None:
    """(H, W) position of the class in the layer's own legend, 255 unknown; None where the chip has no such layer."""
    if layer == LABEL:
        if chip.fused is None:
            return None
        return np.where(chip.fused.classes == ABSTAINED, UNKNOWN, chip.fused.classes).astype(np.uint8), load_legend(
            chip.fused.legend
        )
    held = chip.layers.get(layer)
    if held is None:
        return None
    legend = load_legend(held.legend)
    return legend.positions(UNKNOWN)[held.classes], legend


def _target_map(layer: str, labels: Labels, chip: ChipLabels) -> NDArray[np.uint8] | None:
    """(H, W) class index of the fusion's legend: of a source only where its code admits one class alone."""
    if layer == LABEL or labels.fuse is None:
        found = _classes(LABEL, chip)
        return None if found is None else found[0]
    held = chip.layers.get(layer)
    if held is None:
        return None
    table = vote_table(held.legend, labels.fuse.legend)
    certain = np.where((table.shares > 0).sum(axis=1) == 1, table.shares.argmax(axis=1), UNKNOWN)
    symbols = table.symbol_of[held.classes]
    return np.where(symbols < 0, UNKNOWN, certain[np.maximum(symbols, 0)]).astype(np.uint8)


def _pair(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, H, W) before, after, changed."""
    unknown = (before == UNKNOWN) | (after == UNKNOWN)
    changed = np.where(unknown, UNKNOWN, before != after).astype(np.uint8)
    return np.stack([before, after, changed])


def square_fractions(classes: NDArray[np.uint8], count: int, cell_px: int) -> NDArray[np.float32]:
    """(classes, rows, columns) share of each class among the known pixels of squares; NaN where none is known.

    Args:
        classes: (H, W) class index, 255 unknown. Squares at the lower and right edge are cut off where they do not fit.
        count: classes of the legend.
        cell_px: side of a square in pixels.
    """
    counts, _ = square_counts(classes, count, cell_px)
    total = counts.sum(axis=0)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan).astype(np.float32)


def _index(name: str, legend: Legend, wanted: str) -> int:
    for index, entry in enumerate(legend.classes):
        if entry.name == wanted:
            return index
    known = ", ".join(entry.name for entry in legend.classes)
    raise RecipeError(
        f"legend {legend.name} has no class {wanted!r}", where=f"labels.targets.{name}", mend=f"it has {known}"
    )


def _pixels(name: str, cell_m: float, pixel_m: float) -> int:
    cells = cell_m / pixel_m
    if round(cells) < 1 or abs(cells - round(cells)) > 1e-6:
        raise RecipeError(
            f"squares of {cell_m:g} m are no whole number of pixels of {pixel_m:g} m",
            where=f"labels.targets.{name}",
            mend=f"give a multiple of {pixel_m:g}",
        )
    return round(cells)
