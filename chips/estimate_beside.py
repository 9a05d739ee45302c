"""What a plan reads beside its imagery: class rasters, elevation, files that are fetched whole, queries.

Apart from `chips.estimate`, whose figures stay comparable to a run's account, which counts imagery alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chips.estimate import GDAL_OPENS, Beside, Touched, blocks_over

Lattice = tuple[float, tuple[int, int] | None]
"""Edge of a stored pixel in metres, about; rows and columns of a file where they are known."""


@dataclass(frozen=True)
class Raster:
    """A label source or elevation that is read in windows, as GDAL does."""

    name: str
    """In the recipe."""
    pairs: Touched
    """Tiles and its files."""
    lattice: Lattice | None = None
    """None where nobody says it."""
    itemsize: int = 1
    """Bytes of a pixel."""


@dataclass(frozen=True)
class Whole:
    """A file that is fetched whole, once a machine."""

    name: str
    """Label source."""
    size: int | None
    """Bytes; None where nobody says it."""


def beside(rasters: Sequence[Raster], whole: Sequence[Whole], queries: int, edge_m: float, tile_chips: int) -> Beside:
    """All of it together; the names of what is in no figure, or in part of them, stand in `Beside.unknown`.

    Args:
        rasters: read in windows.
        whole: distinct files of other machines.
        queries: to servers that answer by area.
        edge_m: edge of a chip.
        tile_chips: chips along a tile's edge.
    """
    read = requests = 0.0
    unknown = [one.name for one in rasters if one.pairs.items and one.lattice is None]
    for one in rasters:
        if one.lattice is not None and one.pairs.items:
            pixel_m, shape_yx = one.lattice
            pixels, runs = blocks_over(one.pairs, edge_m, tile_chips, pixel_m, shape_yx, is_shared=False)
            read += pixels * one.itemsize
            requests += one.pairs.items * GDAL_OPENS + runs
    unknown += [one.name for one in whole if one.size is None]
    return Beside(
        read_bytes=round(read),
        requests=round(requests),
        files=len(whole),
        file_bytes=sum(one.size or 0 for one in whole),
        queries=queries,
        unknown=tuple(dict.fromkeys(unknown)),
    )
