"""Hops 1 and 2 of a run: recipe and catalogs become a plan on disk. No pixel is read, no chip becomes an object."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.estimate import Touched, estimate, shard_notes
from chips.leakage import leakage_report, small_blocks, warnings_of
from chips.plan import PlannedCells, chip_specs, plan_cells, plan_layers
from chips.search_boxes import search_boxes
from chips.split_notes import split_notes
from chips.split_scenes import scene_groups
from chips.splits import split_counts
from chips.tiling import TileTable, hulls_of, tile_cells, touches
from chips.true_metres import check_true_metres
from flows.beside import Work, label_scenes, read_beside
from flows.catalogs import Catalogs
from flows.cells import planned_cells
from flows.frozen_items import ITEMS, FrozenItems, freeze, places_of, terrain_of, window_of
from flows.plan_checks import check_names, refuse_absent_files, refuse_closed, refuse_ndvi_of_nothing
from flows.plan_store import StoredPlan
from flows.plan_writer import PlanWriter, describe
from flows.steps import STEPS
from labelers.voters import fusion_notes
from schemas.recipe import LonLatBox, Recipe, fill
from schemas.scene import Opener, SceneItem
from sources.credentials import billed_by
from sources.date_tables import with_dates
from sources.openers import unsigned
from sources.stac_index_columns import Selection
from sources.withdrawn import UsedItem, used_items, withdrawn

SAMPLE = 64
"""Chips whose size stands for all in the estimate."""


def origin_of(recipe: Recipe, folder: Path, variables: Mapping[str, str]) -> str:
    """Hash of what a plan is made of beside the recipe and the items: by it a run knows whether it goes on with a plan.

    The catalogs' addresses (made of them elsewhere, a plan names files that may be gone), the files that the recipe
    names, by size and time, and the version of planning.
    """
    filled = {name: unsigned(fill(c.href, variables, f"catalogs.{name}.href")) for name, c in recipe.catalogs.items()}
    files = []
    for name in sorted(_files_of(recipe)):
        path = folder / fill(name, variables)
        if path.is_file():
            status = path.stat()
            files.append((name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr([sorted(filled.items()), files, STEPS["plan"]]).encode()).hexdigest()


def _files_of(recipe: Recipe) -> set[str]:
    """Names of the files that say where chips lie and when."""
    times = [recipe.time, *(modality.time for modality in recipe.modalities.values())]
    steps = [(getattr(step, "file", None), *getattr(step, "files", ())) for step in recipe.sample]
    named = [
        recipe.grid.file,
        *(region.geojson for region in recipe.regions),
        *(file for step in steps for file in step),
    ]
    named += [getattr(time.windows, "table", None) for time in times if time is not None]
    return {name for name in named if name}


def make_plan(
    recipe: Recipe,
    folder: Path,
    variables: Mapping[str, str],
    out: Path,
    opener: Opener | None = None,
    before: Sequence[UsedItem] = (),
) -> StoredPlan:
    """Plan a recipe: asks the catalogs, reads no pixel, writes the plan.

    Args:
        recipe: the recipe.
        folder: where relative paths in it begin.
        variables: values of ``${TERRAWEFT_...}``.
        out: the plan's folder.
        opener: secrets and limits of the catalogs; made for this machine where absent.
        before: items of an earlier plan, to notice what was withdrawn since.
    """
    check_names(recipe)
    refuse_absent_files(recipe, variables)
    catalogs = Catalogs(recipe, variables, opener)
    sampled = planned_cells(recipe, folder, variables, catalogs)
    cells = with_dates(recipe, folder, sampled.cells)
    has_map = recipe.labels is not None and any(source.kind == "osm" for source in recipe.labels.sources.values())
    if recipe.captions is not None or has_map:
        check_true_metres(cells, texts=recipe.captions is not None, where="grid.cells")
    chips = None if _waits_for_scenes(recipe, cells) else plan_cells(recipe, cells)
    boxes = search_boxes(cells if chips is None else chips.cells)
    with PlanWriter(out) as writer:
        came_from, notes = freeze(recipe, writer.making / ITEMS, boxes, catalogs, sampled.asked)
        frozen = FrozenItems(writer.making / ITEMS, recipe, variables, opener)
        frozen.find_heights(came_from, boxes)
        names = [*recipe.modalities, *(recipe.labels.sources if recipe.labels else {})]
        offered = {n: frozen.offered_to(n, came_from[n], boxes, notes) for n in names if n in came_from}
        refuse_closed(recipe, frozen, offered)
        chips = chips or plan_cells(recipe, cells, _scenes_of(recipe, cells, offered))
        rows = {name: first for name, found in offered.items() if (first := _first(frozen, name, found)) is not None}
        examples = {name: scene for name, row in rows.items() if (scene := frozen.scene(name, row)) is not None}
        layers = plan_layers(recipe, examples)
        refuse_ndvi_of_nothing(recipe, layers, examples)
        tiles = tile_cells(chips.cells, _size(recipe, chips.cells), recipe.grid.tile_chips)
        heights = {terrain_of(name): found for name, found in frozen.heights.items()}
        touched = _write_tiles(writer, chips.take(tiles.order), tiles, offered, heights)
        sample = chips.take(np.linspace(0, len(chips) - 1, min(SAMPLE, len(chips))).astype(int))
        specs = chip_specs(recipe, sample, shapely.to_wkb(sample.cells.footprints()))
        bands = {href: number for name, row in rows.items() for href, number in frozen.file_bands(name, row).items()}
        costs = estimate(recipe, layers, np.diff(tiles.first), touched, examples, bands, specs)
        scenes = label_scenes(frozen, offered, touched, examples)
        read = [examples[name] for name in recipe.modalities if name in examples]
        work = Work(recipe, frozen, np.diff(tiles.first), touched, scenes, specs, read)
        costs = replace(costs, beside=read_beside(work))
        report = leakage_report(chips.cells, chips.split, chips.block_id, [])
        leaks = warnings_of(report) + small_blocks(recipe.split, recipe.grid.chip_m, report)
        notes += shard_notes(recipe, costs, max(split_counts(chips.split.tolist()).values()))
        notes += split_notes(recipe, chips.split, len(cells) - len(chips)) + [f"splits: {line}" for line in leaks]
        notes += costs.beside.notes() + _billed(recipe, examples) + fusion_notes(recipe.labels)
        notes += _withdrawn(recipe, writer.making / ITEMS, boxes, before)
        writer.finish(
            {
                "recipe_hash": recipe.hash(),
                "name": recipe.name,
                "origin": origin_of(recipe, folder, variables),
                "notes": notes,
                "offered": {name: len(found) for name, found in offered.items()},
                "examples": rows,
                "heights": {name: found.rows.tolist() for name, found in frozen.heights.items()},
                "splits": dict(split_counts(chips.split.tolist())),
                **describe(layers, costs),
            }
        )
    return StoredPlan(out, recipe, variables)


def freeze_recipe(recipe: Recipe, folder: Path, variables: Mapping[str, str], path: Path) -> list[str]:
    """The items of a recipe's catalogs over its regions as an index, and notes; nothing else of the plan."""
    catalogs = Catalogs(recipe, variables)
    sampled = planned_cells(recipe, folder, variables, catalogs)
    _, notes = freeze(recipe, path, search_boxes(sampled.cells), catalogs, sampled.asked)
    return notes


def _billed(recipe: Recipe, examples: Mapping[str, SceneItem]) -> list[str]:
    """What is paid for beside texts: files in buckets whose owner lets the reader pay."""
    return [
        f"{name}: who reads its files pays for them (credentials.{paying[0]}, requester_pays): requests and bytes are "
        f"billed at the bucket's prices, and what is transferred is what is to read, compressed"
        for name, scene in examples.items()
        if (paying := billed_by(recipe, [ref.href for ref in scene.refs]))
    ]


def _waits_for_scenes(recipe: Recipe, cells: CellTable) -> bool:
    """Whether splits can be told only once the items are known."""
    return recipe.split.by == "scene" and "scene" not in cells.columns


def _scenes_of(recipe: Recipe, cells: CellTable, offered: Mapping[str, Selection]) -> NDArray[np.str_] | None:
    """(N,) group of scenes of every cell, where splits go by it."""
    if not _waits_for_scenes(recipe, cells):
        return None
    found = [offered[name] for name in recipe.split.scenes_of or list(recipe.modalities)[:1]]
    footprints = np.concatenate([selection.footprint for selection in found])
    return scene_groups(cells, footprints, np.concatenate([selection.item_id for selection in found]).astype(np.str_))


def _withdrawn(recipe: Recipe, items: Path, boxes: Sequence[LonLatBox], before: Sequence[UsedItem]) -> list[str]:
    """What an earlier plan held and the catalogs no longer give."""
    searched = {place.collection for name in recipe.modalities for place in places_of(recipe, name)}
    now: dict[str, set[str]] = {collection: set() for collection in searched}
    for item in used_items(items) if before else ():
        if item.collection in now:
            now[item.collection].add(item.item_id)
    return withdrawn(before, now, boxes, window_of(recipe.time))


def _first(frozen: FrozenItems, name: str, found: Selection) -> int | None:
    """Row of the first item that can be read."""
    rows = (row for row in found.rows.tolist() if frozen.scene(name, row) is not None)
    return next(rows, None)


def _size(recipe: Recipe, cells: CellTable) -> float:
    return float(recipe.grid.chip_m or 0) or float(np.max(cells.bounds[:, 2] - cells.bounds[:, 0]))


def _write_tiles(
    writer: PlanWriter,
    chips: PlannedCells,
    tiles: TileTable,
    offered: Mapping[str, Selection],
    beside: Mapping[str, Selection],
) -> dict[str, Touched]:
    """Chips, tiles and pairs batch by batch; who touches what.

    Args:
        writer: takes the tables.
        chips: in the order of the tiles.
        tiles: the tiles.
        offered: modality or label source -> its items.
        beside: the same of what goes into no table: elevation.
    """
    both = {**offered, **beside}
    trees = {name: shapely.STRtree(found.footprint) for name, found in both.items()}
    parts: dict[str, list[tuple[NDArray[np.int64], ...]]] = {name: [] for name in both}
    for start, stop in tiles.batches():
        low, high = int(tiles.first[start]), int(tiles.first[stop])
        batch = chips.take(np.arange(low, high))
        outlines = batch.cells.footprints()
        tile_of = np.repeat(np.arange(stop - start), np.diff(tiles.first[start : stop + 1]))
        hulls = hulls_of(outlines, tile_of)
        writer.chips(batch, outlines, (tile_of + start).astype(np.int32))
        over = {name: touches(outlines, tile_of, hulls, both[name].footprint, trees[name]) for name in both}
        found = {name: over[name] for name in offered}
        nothing = np.zeros(stop - start, np.int64)
        counts = sum((np.bincount(pairs[0], minlength=stop - start) for pairs in found.values()), nothing)
        writer.tiles(tiles, start, stop, hulls, counts)
        _write_pairs(writer, start, found, offered)
        for name, (tile, item, count) in over.items():
            parts[name].append((tile + start, item, count))
    return {name: _touched(found) for name, found in parts.items()}


def _write_pairs(
    writer: PlanWriter,
    start: int,
    found: Mapping[str, tuple[NDArray[np.int64], ...]],
    offered: Mapping[str, Selection],
) -> None:
    if not found:
        return
    tile = np.concatenate([pairs[0] for pairs in found.values()])
    layer = np.repeat(np.arange(len(found)), [len(pairs[0]) for pairs in found.values()])
    rows = np.concatenate([offered[name].rows[pairs[1]] for name, pairs in found.items()])
    order = np.lexsort([layer, tile])  # stable: items stay in their order of preference
    names = np.array(list(found), dtype=np.str_)
    writer.pairs(tile[order] + start, names[layer[order]], rows[order])


def _touched(parts: Sequence[tuple[NDArray[np.int64], ...]]) -> Touched:
    tile, item, count = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Touched(tile, count, item)
