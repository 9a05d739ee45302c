"""Label products of a tile: class rasters on each chip's label grid, and the vector features around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from schemas.chip import ChipSpec, Tile
from schemas.georef import GeoRef
from schemas.labels import FeatureTable, RasterLayer
from schemas.legend import load_legend
from schemas.recipe import LabelSource, Recipe, fill
from schemas.scene import Opener, SceneItem
from sources.features import FeatureIndex, merged, to_crs
from sources.label_licences import licence_of_file
from sources.labels_raster import read_label_raster, to_label_item_of_file
from sources.labels_vector import read_label_vector
from sources.lattice import unions
from sources.openers import unsigned
from sources.osm import edition_of, fetch_extract, read_extract
from sources.overpass import query_area

MARGIN_DEG = 0.01
"""Degrees of surroundings that vector features are read with, so that what crosses an edge is whole."""

REACH_M = 50.0
"""Metres beyond a chip from which features still reach into it: half of the widest line that is painted."""

SMALL_EXTRACT = 24_000_000
"""Bytes of an extract that a worker holds whole: read once and not for every tile. Larger ones, whose features would
not fit into a worker's memory, are read through for each tile."""

EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)

Box = tuple[float, float, float, float]
Found = tuple[dict[str, RasterLayer], FeatureTable | None]


class LabelReader:
    """Reads the label sources of one recipe.

    Args:
        recipe: with labels.
        opener: how hrefs are opened.
        cache: folder for whole files (OSM extracts), kept between tiles.
        variables: values of ``${TERRAWEFT_...}``.
        tags: OSM tag keys to read; True for any value.
    """

    def __init__(
        self,
        recipe: Recipe,
        opener: Opener,
        cache: Path,
        variables: Mapping[str, str],
        tags: Mapping[str, bool],
    ) -> None:
        self.recipe, self.opener, self.cache, self.variables, self.tags = (
            recipe,
            opener,
            cache,
            variables,
            dict(tags),
        )
        self.sources: Mapping[str, LabelSource] = recipe.labels.sources if recipe.labels else {}

    def read(self, tile: Tile, specs: Sequence[ChipSpec]) -> dict[str, Found]:
        """Chip id -> class rasters by source, and vector features in the chip's CRS.

        A product that does not cover a chip gives a raster of its no-data code.

        Raises:
            SourceError: a source failed.
        """
        grids = {spec.chip_id: spec.georef(self.recipe.grid.gsd_m) for spec in specs}
        found: dict[str, Found] = {spec.chip_id: ({}, None) for spec in specs}
        for name, source in self.sources.items():
            items = over(self._items(name, source, tile), specs)
            if source.kind == "osm":
                table = self._features(name, source, items, tile, specs)
                index = None if table is None else FeatureIndex(table)
                for spec in specs:
                    near = None if index is None else index.near(spec.bounds_xyxy, REACH_M)
                    found[spec.chip_id] = (found[spec.chip_id][0], near)
                continue
            if source.column is not None:
                rasters = self._vectors(name, source, grids)
            else:
                rasters = self._rasters(name, source, items, grids)
            for chip_id, layer in rasters.items():
                found[chip_id][0][name] = layer
        return found

    def _items(self, name: str, source: LabelSource, tile: Tile) -> tuple[SceneItem, ...]:
        if source.href is None:
            return tile.items.get(name, ())
        if source.is_vector:
            return ()
        href = fill(source.href, self.variables, f"labels.sources.{name}.href")
        return (to_label_item_of_file(href, name, source, self.opener),)

    def _rasters(
        self, name: str, source: LabelSource, items: Sequence[SceneItem], grids: Mapping[str, GeoRef]
    ) -> dict[str, RasterLayer]:
        legend = source.legend_name()
        layers = {}
        for union, chip_ids in unions(grids):
            read = read_label_raster(items, union, self.opener, legend=legend, resampling=source.resampling)
            whole = read or _empty(name, source, legend, union)
            for chip_id in chip_ids:
                row, column = union.offset_yx(grids[chip_id])
                rows, columns = grids[chip_id].shape_yx
                codes = whole.codes[row : row + rows, column : column + columns].copy()
                layers[chip_id] = replace(whole, source=name, codes=codes, georef=grids[chip_id])
        return layers

    def _vectors(self, name: str, source: LabelSource, grids: Mapping[str, GeoRef]) -> dict[str, RasterLayer]:
        href = fill(str(source.href), self.variables, f"labels.sources.{name}.href")
        path = fetch_extract(href, self.cache, self.opener)
        legend = source.legend_name()
        return {
            chip_id: read_label_vector(path, grid, name, source, unsigned(href)) or _empty(name, source, legend, grid)
            for chip_id, grid in grids.items()
        }

    def _features(
        self,
        name: str,
        source: LabelSource,
        items: Sequence[SceneItem],
        tile: Tile,
        specs: Sequence[ChipSpec],
    ) -> FeatureTable | None:
        around = _around([shapely.from_wkb(spec.footprint_wkb) for spec in specs])
        wanted = tuple(self.tags)
        if source.href is not None:
            href = fill(source.href, self.variables, f"labels.sources.{name}.href")
            if source.by == "area":
                tables = [query_area(shapely.box(*box), self.tags, href, source=name) for box in around]
            else:
                tables = [_extract(href, "", self.cache, self.opener, box, wanted, name) for box in around]
            return to_crs(merged(tables), tile.epsg)
        tables = []
        for item in items:
            read = partial(_extract, item.refs[0].href, edition_of(item), self.cache, self.opener)
            tables += [read(box, wanted, name) for box in around]
        if not tables:
            return None
        table = merged(tables)
        return to_crs(replace(table, attribution=items[0].attribution or table.attribution), tile.epsg)


def _around(footprints: Sequence[Any]) -> list[Box]:
    """The box around footprints with a margin, in degrees; two where they lie on both sides of the antimeridian."""
    hull = shapely.union_all(footprints)
    west, _, east, _ = hull.bounds
    sides = [hull]
    if east - west > 180.0:
        parts = shapely.get_parts(hull)
        in_the_east = np.array([part.bounds[0] >= 0.0 for part in parts])
        sides = [shapely.union_all(parts[in_the_east]), shapely.union_all(parts[~in_the_east])]
    margin = np.array([-MARGIN_DEG, -MARGIN_DEG, MARGIN_DEG, MARGIN_DEG])
    low, high = np.array([-180.0, -90.0] * 2), np.array([180.0, 90.0] * 2)  # servers refuse what lies beyond
    boxes = [np.clip(np.array(side.bounds) + margin, low, high) for side in sides if not side.is_empty]
    return [(float(box[0]), float(box[1]), float(box[2]), float(box[3])) for box in boxes]


def over(items: Sequence[SceneItem], specs: Sequence[ChipSpec]) -> tuple[SceneItem, ...]:
    """The items whose footprint meets that of a chip."""
    chips = shapely.union_all([shapely.from_wkb(spec.footprint_wkb) for spec in specs])
    return tuple(item for item in items if shapely.from_wkb(item.footprint_wkb).intersects(chips))


def by_items(sources: Mapping[str, LabelSource], tile: Tile, specs: Sequence[ChipSpec]) -> list[list[ChipSpec]]:
    """Chips in groups that need the same label items: what fails for one of a group fails for all of it."""
    groups: dict[tuple[str, ...], list[ChipSpec]] = defaultdict(list)
    for spec in specs:
        needed = (item.item_id for name in sources for item in over(tile.items.get(name, ()), [spec]))
        groups[tuple(needed)].append(spec)
    return list(groups.values())


def _extract(
    href: str, edition: str, cache: Path, opener: Opener, box: Box, tags: tuple[str, ...], name: str
) -> FeatureTable:
    path = fetch_extract(href, cache, opener, edition=edition or None)
    status = path.stat()
    state = status.st_size, status.st_mtime_ns
    if status.st_size <= SMALL_EXTRACT:
        return _whole_extract(path, tags, name, state).near(box)
    return _read_extract(path, box, tags, name, state)


@lru_cache(maxsize=2)
def _whole_extract(path: Path, tags: tuple[str, ...], name: str, _state: tuple[int, int]) -> FeatureIndex:
    """Held as long as the file's size and time stay."""
    return FeatureIndex(read_extract(path, EVERYWHERE, dict.fromkeys(tags, True), source=name))


@lru_cache(maxsize=16)
def _read_extract(path: Path, box: Box, tags: tuple[str, ...], name: str, _state: tuple[int, int]) -> FeatureTable:
    return read_extract(path, box, dict.fromkeys(tags, True), source=name)


def _empty(name: str, source: LabelSource, legend: str, grid: GeoRef) -> RasterLayer:
    """A product that does not reach here: its no-data code everywhere, and no licence to cite."""
    table = load_legend(legend)
    largest = max([*table.nodata, *(entry.code for entry in table.classes)])
    codes = np.full(grid.shape_yx, table.nodata[0], dtype=np.uint8 if largest < 256 else np.uint16)
    return RasterLayer(name, codes, grid, table.nodata[0], legend, "", licence_of_file(source))
