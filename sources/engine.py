"""Reading pixels: the `Engine` protocol, the table of engines, and what they all agree on.

Contract: the bands of ONE item on ONE target grid, as stored.

- Aligned lattices (same zone, in either hemisphere's numbers, same pixel size, whole pixels apart): copied, bit for
  bit.
- Others: one resampling, from the source window that is needed; no-data pixels never enter a weighted mean, and means
  of decibel are those of power.
- What the file itself marks as no data holds the item's no-data value, or what stands outside.
- Outside the raster stands ``fill`` if given, else the ref's no-data value, else NaN for floats and 0 for integers:
  where a product has no no-data value, `sources.lattice.coverage` tells what lies outside.

All engines give the same arrays. stackstac and odc-stac read what is copied, and ``nearest`` between zones; what they
would do otherwise the direct engine does for them (`by_direct`), since there they differ, measured:

- ``bilinear`` and ``cubic`` between zones: GDAL guesses the width of the kernel from extents, and smooths by up to a
  tenth what it should only move; the direct engine states it (`sources.warp.kernel_stretch`).
- Beside no-data pixels that only the catalog names: without a tag in the file they let them bleed.
- stackstac with a no-data tag: ``cubic`` deviates from the kernel everywhere (GDAL's warped VRT).
- odc-stac moves ``nearest`` reads on half-shifted lattices of one zone by whole pixels (each is as near).
- Neither reads several bands of one file here.

One difference is left: a mask inside a file (``GDAL_TIFF_INTERNAL_MASK``) hides pixels in the direct engine and
stackstac; odc-stac reads what lies below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneItem, SceneRef
from sources.base import load_target
from sources.lattice import unions

ENGINES: dict[str, str] = {
    "direct": "sources.engine_direct:DirectEngine",
    "stackstac": "sources.engine_stackstac:StackstacEngine",
    "odc-stac": "sources.engine_odc:OdcEngine",
}
"""Name in the recipe -> class without arguments."""
GROUND_RANGE = "sources.engine_ground_range:GroundRangeEngine"
"""Not chosen in a recipe: what reads images that lie on no map."""
ENTRY_POINTS = "terraweft.engines"
RESAMPLINGS = ("nearest", "bilinear", "cubic", "average")


class Engine(Protocol):
    """Reads the bands of one item onto a grid."""

    def read(
        self,
        refs: Sequence[SceneRef],
        target: GeoRef,
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> NDArray[Any]:
        """(refs, y, x) in the stored type; see the module's contract.

        Args:
            refs: bands of one item, of one stored type.
            target: grid of the answer.
            resampling: nearest, bilinear, cubic or average; used only where lattices differ.
            opener: how addresses are opened.
            fill: value outside the raster.

        Raises:
            SourceError: AssetMissingError, AccessDeniedError, ThrottledError, TransientSourceError or DecodeError, as
                `sources.faults` decides; UnsupportedItemError where the opener refuses the address.
        """
        ...

    @property
    def at_once(self) -> int:
        """How many items are worth reading at the same time, from threads."""
        ...

    def read_each(
        self,
        refs: Sequence[SceneRef],
        targets: Sequence[GeoRef],
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> list[NDArray[Any]]:
        """What `read` gives for each target, to the bit: for the chips of a tile, which share what was read.

        What is resampled is resampled for each target by itself: GDAL's kernels and coordinates follow from the extent
        of a warp, so that over other neighbours a chip would end in other digits.
        """
        ...


class UnionReads:
    """`Engine.read_each` for engines that read rectangles: over the union of the targets, and cut, where nothing is
    resampled.
    """

    at_once = 1

    def read_each(
        self: Engine,
        refs: Sequence[SceneRef],
        targets: Sequence[GeoRef],
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> list[NDArray[Any]]:
        """See `Engine.read_each`."""
        answers: dict[str, NDArray[Any]] = {}
        grids = {str(place): target for place, target in enumerate(targets)}
        for union, names in unions(grids):
            if not all(_is_copied(ref, union) for ref in refs):
                answers |= {name: self.read(refs, grids[name], resampling, opener, fill) for name in names}
                continue
            whole = self.read(refs, union, resampling, opener, fill)
            for name in names:
                row, column = union.offset_yx(grids[name])
                rows, columns = grids[name].shape_yx
                answers[name] = whole[:, row : row + rows, column : column + columns].copy()
        return [answers[name] for name in grids]


@cache
def open_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        RecipeError: unknown; lists the known ones.
    """
    targets = ENGINES | {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    if name not in targets:
        raise RecipeError(f"unknown engine {name!r}", mend=f"known: {', '.join(sorted(targets))}")
    return cast(Engine, load_target(targets[name])())


def engine_for(items: Sequence[SceneItem], name: str) -> Engine:
    """The engine that reads these items: the recipe's, or the one of radar geometry where their refs ask for it."""
    if any(ref.needs for item in items for ref in item.refs):
        return _ground_range()
    return open_engine(name)


@cache
def _ground_range() -> Engine:
    return cast(Engine, load_target(GROUND_RANGE)())


def outside_value(ref: SceneRef, fill: float | None) -> float:
    """What stands outside the raster: ``fill``, the no-data value, or NaN for floats and 0 for integers."""
    if fill is not None:
        return fill
    if ref.nodata is not None:
        return ref.nodata
    return float("nan") if np.dtype(ref.dtype).kind == "f" else 0.0


def blank(refs: Sequence[SceneRef], target: GeoRef, fill: float | None) -> NDArray[Any]:
    """(refs, y, x) of values outside, in the stored type of all refs.

    Raises:
        ValueError: no refs, refs of several types, or a fill that the type cannot hold.
    """
    dtype, values = outside_values(refs, fill)
    array = np.empty((len(refs), *target.shape_yx), dtype)
    for layer, value in zip(array, values, strict=True):
        layer[...] = value
    return array


def outside_values(refs: Sequence[SceneRef], fill: float | None) -> tuple[np.dtype[Any], list[float]]:
    """The stored type of all refs, and what stands outside each one's raster.

    Raises:
        ValueError: no refs, refs of several types, or a fill that the type cannot hold.
    """
    kinds = {np.dtype(ref.dtype) for ref in refs}
    if len(kinds) != 1:
        raise ValueError(f"one read is of one stored type, got {sorted(str(kind) for kind in kinds)}")
    dtype = kinds.pop()
    limits = np.iinfo(dtype) if dtype.kind != "f" else None
    values = [outside_value(ref, fill) for ref in refs]
    for ref, value in zip(refs, values, strict=True):
        if limits is not None and (value != value or not limits.min <= value <= limits.max):
            raise ValueError(f"band {ref.band}: {value} does not fit into {dtype}")
    return dtype, values


def by_direct(
    refs: Sequence[SceneRef], target: GeoRef, resampling: str, opener: Opener, fill: float | None
) -> tuple[NDArray[Any], list[int]]:
    """The answer with the layers that the direct engine reads for every engine, and which refs are left to the one that
    was asked; in their layers stands what lies outside. See the module's contract, and `Engine.read` for the arguments.
    """
    uses = Counter(ref.href for ref in refs)

    def is_left(ref: SceneRef) -> bool:
        if uses[ref.href] > 1 or ref.band_index != 1:
            return True
        is_zone_away = ref.georef.in_zone(target.epsg) is None
        return not _is_copied(ref, target) and not (resampling == "nearest" and is_zone_away)

    answer, is_its = blank(refs, target, fill), [is_left(ref) for ref in refs]
    places = [place for place, yes in enumerate(is_its) if yes]
    if places:
        answer[places] = open_engine("direct").read([refs[p] for p in places], target, resampling, opener, fill)
    return answer, [place for place, yes in enumerate(is_its) if not yes]


def _is_copied(ref: SceneRef, target: GeoRef) -> bool:
    return (ref.georef.in_zone(target.epsg) or ref.georef).is_aligned(target)
