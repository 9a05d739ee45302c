"""What labels and terrain correction of a plan read beside imagery, from what items and local files say of themselves.

No address is asked: of a file on a server that no item describes nobody knows the size before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chips.estimate import METRES_PER_DEGREE, Beside, Touched, code_bytes, metres_of
from chips.estimate_beside import Lattice, Raster, Whole, beside
from flows.frozen_items import FrozenItems, terrain_of
from flows.label_files import local_path
from schemas.chip import ChipSpec
from schemas.errors import SourceError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource, Recipe, fill
from schemas.scene import SceneItem
from sources.label_pixels import opened
from sources.label_reader import MARGIN_DEG
from sources.labels_raster import NATIVE_GSD_M
from sources.stac_index_columns import Selection

QUERY_M = 50_000.0
"""osmnx asks for larger areas in squares of this edge (``settings.max_query_area_size``)."""
HEIGHT_BYTES = 4
"""Elevation is float32, or int16 in older products."""
NOWHERE = Touched(*(np.empty(0, np.int64) for _ in range(3)))
"""No pairs."""


@dataclass(frozen=True)
class Work:
    """T tiles of which labels are read: over all their chips, whichever of them are made again."""

    recipe: Recipe
    """The recipe."""
    items: FrozenItems
    """Of the plan."""
    chips: NDArray[np.int64]
    """(T,) chips of each tile."""
    touched: Mapping[str, Touched]
    """Label source, or `flows.frozen_items.terrain_of` a modality -> its pairs; none for files."""
    scenes: Mapping[str, Sequence[SceneItem]]
    """Label source -> its items: all of them where they are fetched whole, else one that stands for them."""
    sample: Sequence[ChipSpec]
    """Some chips, for their size."""
    examples: Sequence[SceneItem] = ()
    """A scene of each modality that is read."""
    is_kept: Callable[[SceneItem | str], bool] = lambda _: False
    """Whether a file was fetched whole already: by its item, or its address."""

    def everywhere(self) -> Touched:
        """One file over all tiles."""
        numbers = np.arange(len(self.chips))
        return Touched(numbers, self.chips, np.zeros_like(numbers))


def label_scenes(
    items: FrozenItems,
    offered: Mapping[str, Selection],
    touched: Mapping[str, Touched],
    examples: Mapping[str, SceneItem],
) -> dict[str, list[SceneItem]]:
    """`Work.scenes` of a whole plan.

    Args:
        items: of the plan.
        offered: modality or label source -> its items.
        touched: the same -> its pairs.
        examples: the same -> its first item that can be read.
    """
    found: dict[str, list[SceneItem]] = {}
    for name, source in (items.recipe.labels.sources if items.recipe.labels else {}).items():
        found[name] = [examples[name]] if name in examples else []
        if source.kind == "osm" and name in offered:
            rows = offered[name].rows[np.unique(touched[name].item)]
            scenes = (items.scene(name, row) for row in rows.tolist())
            found[name] = [scene for scene in scenes if scene is not None]
    return found


def read_beside(work: Work) -> Beside:
    """All of it."""
    if not len(work.chips):
        return Beside()
    grid, sources = work.recipe.grid, work.recipe.labels.sources if work.recipe.labels else {}
    edge_m = grid.gsd_m * float(np.mean([spec.georef(grid.gsd_m).shape_yx[1] for spec in work.sample]))
    rasters = [_raster(work, name, source) for name, source in sources.items() if not source.is_vector]
    rasters += [_heights(work, name) for name, modality in work.recipe.modalities.items()
                if modality.ground_range and modality.ground_range.terrain]  # fmt: skip
    whole = [file for name, source in sources.items() if source.is_vector for file in _whole(work, name, source)]
    areas = sum(source.by == "area" and source.href is not None for source in sources.values())
    across = math.ceil((edge_m * grid.tile_chips + 2 * MARGIN_DEG * METRES_PER_DEGREE) / QUERY_M)
    found = beside(rasters, whole, areas * len(work.chips) * across**2, edge_m, grid.tile_chips)
    annotated = [
        f"{scene.modality}'s annotation" for scene in work.examples if "annotation" in dict(scene.refs[0].needs)
    ]
    return replace(found, unknown=(*found.unknown, *annotated))


def _raster(work: Work, name: str, source: LabelSource) -> Raster:
    itemsize = code_bytes(source.legend_name())
    gsd_m = NATIVE_GSD_M.get(source.kind, 0.0)
    if source.href is not None:
        href = fill(source.href, work.items.variables, f"labels.sources.{name}.href")
        return Raster(name, work.everywhere(), _of_file(work, href) or _of_gsd(gsd_m), itemsize)
    if name not in work.touched or not work.scenes.get(name):
        return Raster(name, NOWHERE)
    item = work.scenes[name][0]
    lattice = _stated(item.refs[0].georef, float(dict(item.extra).get("gsd_m") or gsd_m))
    return Raster(name, work.touched[name], lattice or _of_file(work, item.refs[0].href), itemsize)


def _heights(work: Work, name: str) -> Raster:
    ground_range = work.recipe.modalities[name].ground_range
    href = ground_range.terrain.href if ground_range and ground_range.terrain else None
    if href is not None:
        where = f"modalities.{name}.ground_range.terrain.href"
        lattice = _of_file(work, fill(href, work.items.variables, where))
        return Raster(terrain_of(name), work.everywhere(), lattice, HEIGHT_BYTES)
    stated = work.items.height_lattice(name)
    pairs = work.touched.get(terrain_of(name), NOWHERE)
    return Raster(terrain_of(name), pairs, _stated(*stated) if stated is not None else None, HEIGHT_BYTES)


def _stated(georef: GeoRef, gsd_m: float) -> Lattice | None:
    """As far as an item says it."""
    return (metres_of(georef), georef.shape_yx) if all(georef.shape_yx) else _of_gsd(gsd_m)


def _of_gsd(gsd_m: float) -> Lattice | None:
    return (gsd_m, None) if gsd_m > 0 else None


def _of_file(work: Work, href: str) -> Lattice | None:
    """Of a raster on this machine; None elsewhere, and where it cannot be read: the build says why."""
    if (path := local_path(href)) is None:
        return None
    try:
        with opened(str(path), work.items.opener) as raster:
            unit_m = METRES_PER_DEGREE if raster.crs.is_geographic else 1.0
            return abs(raster.transform.a) * unit_m, raster.shape
    except SourceError:
        return None


def _whole(work: Work, name: str, source: LabelSource) -> list[Whole]:
    """Files of other machines that are not kept yet."""
    if source.href is not None:
        if source.by == "area":
            return []
        href = fill(source.href, work.items.variables, f"labels.sources.{name}.href")
        return [] if local_path(href) is not None or work.is_kept(href) else [Whole(name, None)]
    files = {item.refs[0].href: item for item in work.scenes.get(name, ())}
    sizes = {href: dict(item.extra).get("size", "") for href, item in files.items()}
    return [
        Whole(name, int(sizes[href]) if sizes[href].isdecimal() else None)
        for href, item in files.items()
        if local_path(href) is None and not work.is_kept(item)
    ]
