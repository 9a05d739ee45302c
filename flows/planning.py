"""Hops 1 and 2 of a run: the catalog's answers become scene items, and the recipe becomes chips, layers and tiles."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable
from chips.estimate import Estimate, estimate
from chips.leakage import leakage_report, warnings_of
from chips.plan import LayerPlan, plan_chips, plan_layers, plan_tiles
from chips.splits import SPLITS, split_counts
from flows.catalogs import Catalogs
from flows.cells import planned_cells
from labelers.voters import setup_of
from schemas.chip import ChipSpec, Tile
from schemas.errors import RecipeError, SourceError
from schemas.legend import load_legend
from schemas.recipe import LabelSource, LonLatBox, Modality, Recipe, Terrain, Time, fill
from schemas.scene import Opener, SceneItem
from schemas.sensor import load_sensor
from sources.assets import is_refused
from sources.date_tables import with_dates
from sources.duplicates import resolve_duplicates
from sources.items import content_hash
from sources.labels_raster import choose_label_items
from sources.placing import placed_scene
from sources.sentinel1_grd import with_heights
from sources.withdrawn import UsedItem, withdrawn

log = logging.getLogger(__name__)


FAR_FROM_ASKED = 0.15
"""Share of the chips by which a split may miss its fraction before the plan says so."""
ALWAYS = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Label products are chosen by vintage, not by the time window."""


@dataclass(frozen=True)
class RunPlan:
    """Everything that a run is going to do."""

    recipe: Recipe
    """The recipe."""
    chips: tuple[ChipSpec, ...]
    """Ordered by id."""
    layers: tuple[LayerPlan, ...]
    """Modality groups."""
    tiles: tuple[Tile, ...]
    """Units of work, ordered by name."""
    items: Mapping[str, tuple[SceneItem, ...]]
    """Modality or label source -> items found."""
    notes: tuple[str, ...] = field(default=())
    """What a person should know: items that were refused or replaced, splits that are empty."""

    def estimate(self) -> Estimate:
        """Bytes, requests and disk."""
        return estimate(self.recipe, self.layers, self.tiles)


def make_plan(
    recipe: Recipe,
    folder: Path,
    variables: Mapping[str, str],
    opener: Opener | None = None,
    before: Sequence[UsedItem] = (),
) -> RunPlan:
    """The plan of a recipe: asks the catalogs, reads no pixel, writes nothing.

    Args:
        recipe: the recipe.
        folder: where relative paths in it begin.
        variables: values of ``${TERRAWEFT_...}``.
        opener: secrets and limits of the catalogs; made for this machine where absent.
        before: items of an earlier plan, to notice what was withdrawn since.
    """
    _check_labels(recipe)
    chips = plan_chips(recipe, {}, cells=with_dates(recipe, folder, planned_cells(recipe, folder, variables)))
    boxes = search_boxes(chips)
    catalogs = Catalogs(recipe, variables, opener)
    notes: list[str] = []
    items: dict[str, tuple[SceneItem, ...]] = {}
    for name, modality in recipe.modalities.items():
        items[name] = _search_modality(catalogs, recipe, name, modality, boxes, notes)
    for name, source in (recipe.labels.sources if recipe.labels else {}).items():
        if source.catalog and source.collection:
            items[name] = _search_labels(catalogs, name, source, boxes, notes)
            if not items[name]:
                notes.append(f"{name}: no item of {source.collection} lies here; the layer will hold no data")
    _refuse_closed(recipe, items)
    layers = plan_layers(recipe, items)
    tiles = plan_tiles(recipe, chips, items)
    notes += _split_notes(recipe, chips) + _leaks(chips) + _withdrawn(recipe, items, boxes, before, notes)
    return RunPlan(recipe, tuple(chips), tuple(layers), tuple(tiles), items, tuple(notes))


def _withdrawn(
    recipe: Recipe,
    items: Mapping[str, Sequence[SceneItem]],
    boxes: Sequence[LonLatBox],
    before: Sequence[UsedItem],
    notes: Sequence[str],
) -> list[str]:
    """What an earlier plan used and the catalogs no longer give; what a note names already was not withdrawn."""
    now: dict[str, set[str]] = defaultdict(set)
    for name in recipe.modalities:
        for scene in items[name]:
            now[scene.collection].add(scene.item_id)
    told = {item.item_id for item in before if any(item.item_id in note for note in notes)}
    return withdrawn(before, now, boxes, _window(recipe.time), told)


def _split_notes(recipe: Recipe, chips: Sequence[ChipSpec]) -> list[str]:
    """What the hash of a few blocks made of the fractions: told where a split is empty or far from what was asked."""
    if recipe.split.method == "none":
        return []
    counts = split_counts([chip.split for chip in chips])
    far = [
        f"{name} {counts[name] / len(chips):.0%} instead of {fraction:.0%}"
        for name, fraction in zip(SPLITS, recipe.split.fractions, strict=True)
        if abs(counts[name] / len(chips) - fraction) > FAR_FROM_ASKED or (fraction > 0 and counts[name] == 0)
    ]
    if not far:
        return []
    return [f"the splits hold {', '.join(far)} of the chips: take a smaller split.block_m or another seed"]


def _leaks(chips: Sequence[ChipSpec]) -> list[str]:
    """What could leak between the splits, as far as places tell: before anything is read."""
    cells = CellTable(
        np.array([chip.chip_id for chip in chips], dtype=np.str_),
        np.array([chip.epsg for chip in chips], dtype=np.int32),
        np.array([chip.bounds_xyxy for chip in chips], dtype=np.float64).reshape(-1, 4),
        np.array([chip.region for chip in chips], dtype=np.str_),
        np.array([chip.majortom_cell for chip in chips], dtype=np.str_),
    )
    splits = np.array([chip.split for chip in chips], dtype=np.str_)
    units = np.array([chip.block_id for chip in chips], dtype=np.str_)
    return [f"splits: {line}" for line in warnings_of(leakage_report(cells, splits, units, []))]


def _check_labels(recipe: Recipe) -> None:
    """Stop before anything is read where a legend or crosswalk is missing.

    Raises:
        RecipeError: naming the known ones.
    """
    if recipe.labels is None:
        return
    for source in recipe.labels.sources.values():
        load_legend(source.legend_name())
    if recipe.labels.fuse is not None:
        load_legend(recipe.labels.fuse.legend)
        setup_of(recipe.labels)


def _refuse_closed(recipe: Recipe, items: Mapping[str, Sequence[SceneItem]]) -> None:
    """Stop before anything is read where a layer could not be published.

    Raises:
        RecipeError: naming the layer and its licence.
    """
    if recipe.publish.private:
        return
    for name, modality in recipe.modalities.items():
        closed = [i.licence for i in items[name] if not load_sensor(modality.sensor).may_be_given_on(i.licence)]
        if closed:
            raise RecipeError(
                f"items of licence {closed[0]} may not be given on",
                where=f"modalities.{name}",
                mend="leave it out, or set publish.private: true",
            )


def search_boxes(chips: Sequence[ChipSpec]) -> list[tuple[float, float, float, float]]:
    """Boxes of EPSG:4326 that hold all chips, one for each group of chips in the same degree of the graticule."""
    grouped: dict[tuple[str, int, int], list[BaseGeometry]] = defaultdict(list)
    for chip in chips:
        footprint = shapely.from_wkb(chip.footprint_wkb)
        centre = footprint.centroid
        grouped[chip.region, math.floor(centre.x), math.floor(centre.y)].append(footprint)
    boxes = [shapely.union_all(group).bounds for _, group in sorted(grouped.items(), key=lambda entry: entry[0])]
    return [(float(west), float(south), float(east), float(north)) for west, south, east, north in boxes]


def _window(window: Time) -> tuple[datetime, datetime]:
    return datetime.combine(window.start, time.min, UTC), datetime.combine(window.end, time.max, UTC)


def _search_modality(
    catalogs: Catalogs,
    recipe: Recipe,
    name: str,
    modality: Modality,
    boxes: Sequence[tuple[float, float, float, float]],
    notes: list[str],
) -> tuple[SceneItem, ...]:
    answer = catalogs.search_modality(modality, boxes, _window(modality.time or recipe.time))
    notes += [f"{name}: {line}" for line in answer.notes]
    catalog, found = answer.provider.catalog, answer.items
    scenes, refused = [], []
    for item_id in sorted(found):
        try:
            scenes.append(placed_scene(found[item_id], name, modality, catalog, catalogs.opener))
        except SourceError as error:
            refused.append(error.what)
    if refused and not scenes:
        raise RecipeError(
            f"all {len(refused)} items were refused, the first: {refused[0]}",
            where=f"modalities.{name}",
            mend=f"another collection; for this machine's own files catalogs.{catalog}.allow_local: true",
        )
    notes += [f"{name}: {reason}" for reason in refused]
    kept, dropped = resolve_duplicates(scenes)
    notes += [f"{name}: {line}" for line in dropped]
    terrain = modality.ground_range.terrain if modality.ground_range else None
    if terrain is not None:
        settings, heights = _heights(catalogs, name, terrain, boxes)
        kept = [with_heights(scene, settings, heights) if scene.refs[0].needs else scene for scene in kept]
    return tuple(kept)


def _heights(
    catalogs: Catalogs, name: str, terrain: Terrain, boxes: Sequence[tuple[float, float, float, float]]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Settings of a terrain correction, and address and content hash of the elevation rasters over the chips.

    Raises:
        RecipeError: there is no elevation here.
    """
    where = f"modalities.{name}.ground_range.terrain"
    settings = {
        "geoid": fill(terrain.geoid, catalogs.variables, f"{where}.geoid"),
        "missing_heights": terrain.missing,
    }
    if terrain.href is not None:
        href = fill(terrain.href, catalogs.variables, f"{where}.href")
        return settings, [(href, terrain.href)]
    found = catalogs.search(str(terrain.catalog), str(terrain.collection), boxes, ALWAYS)
    usable = {key: item for key, item in found.items() if terrain.asset in item["assets"]}
    closed = [reason for item in usable.values() if (reason := is_refused(item["assets"][terrain.asset]))]
    if closed:
        raise RecipeError(f"elevation refused: {closed[0]}", where=where)
    if not usable and terrain.missing == "nodata":
        raise RecipeError(
            f"no item of {terrain.collection} with an asset {terrain.asset!r} lies here",
            where=where,
            mend="check collection and asset; over the sea missing: sea_level",
        )
    return settings, [
        (usable[key]["assets"][terrain.asset]["href"], content_hash(usable[key])) for key in sorted(usable)
    ]


def _search_labels(
    catalogs: Catalogs,
    name: str,
    source: LabelSource,
    boxes: Sequence[tuple[float, float, float, float]],
    notes: list[str],
) -> tuple[SceneItem, ...]:
    found = catalogs.search(str(source.catalog), str(source.collection), boxes, ALWAYS)
    usable = []
    for key in sorted(found):
        try:
            choose_label_items([found[key]], name, source, str(source.catalog))
            usable.append(found[key])
        except SourceError as error:
            notes.append(f"{name}: {error.what}")
    return tuple(choose_label_items(usable, name, source, str(source.catalog)))


def write_plan(plan: RunPlan, folder: Path) -> None:
    """The plan as tables that a person can open: chips.parquet, items.parquet, plan.json."""
    folder.mkdir(parents=True, exist_ok=True)
    chips = geopandas.GeoDataFrame(
        {
            "chip_id": [chip.chip_id for chip in plan.chips],
            "epsg": [chip.epsg for chip in plan.chips],
            "bounds_xyxy": [list(chip.bounds_xyxy) for chip in plan.chips],
            "split": [chip.split for chip in plan.chips],
            "block_id": [chip.block_id for chip in plan.chips],
            "region": [chip.region for chip in plan.chips],
        },
        geometry=[shapely.from_wkb(chip.footprint_wkb) for chip in plan.chips],
        crs=4326,
    )
    chips.to_parquet(folder / "chips.parquet")
    scenes = [scene for found in plan.items.values() for scene in found]
    items = geopandas.GeoDataFrame(
        {
            "modality": [scene.modality for scene in scenes],
            "collection": [scene.collection for scene in scenes],
            "item_id": [scene.item_id for scene in scenes],
            "datetime": [scene.datetime_utc for scene in scenes],
            "content_hash": [scene.content_hash for scene in scenes],
            "radiometry": [scene.radiometry for scene in scenes],
        },
        geometry=[shapely.from_wkb(scene.footprint_wkb) for scene in scenes],
        crs=4326,
    )
    items.to_parquet(folder / "items.parquet")
    tiles = {tile.tile_id: [chip.chip_id for chip in tile.chips] for tile in plan.tiles}
    text = json.dumps(
        {"recipe_hash": plan.recipe.hash(), "tiles": tiles, "notes": list(plan.notes)},
        indent=1,
        sort_keys=True,
    )
    (folder / "plan.json").write_text(text + "\n", encoding="utf-8")
