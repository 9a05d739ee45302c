"""Reference maps to measure against: rasters of class codes, cut to the label grids of chips.

A map is a GeoTIFF whose values are codes of the dataset's fused legend, in any CRS and of any pixel size; several cover
the ground together, the first that has data at a place counts. It is never learned from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.data import ABSTAIN
from schemas.errors import DatasetError, MissingExtraError
from schemas.georef import GeoRef
from schemas.legend import stored_legend
from shards.reader import Dataset

NOTHING = -1
"""Where a map says nothing."""
FINER = 1.1
"""Pixels of a map along one of the label's from which on they are counted out."""


def read_truth(files: Sequence[Path], dataset: Dataset, chip_ids: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """Chip -> (H, W) class index on its label grid, 255 where the maps hold nothing; chips without any are left out.

    Args:
        files: GeoTIFFs, the one that counts most first.
        dataset: whose legend and grids hold.
        chip_ids: which chips.

    Raises:
        DatasetError: no such map, one that is no raster of a known CRS, or a dataset without a fused legend.
        MissingExtraError: rasterio is not installed.
    """
    check_maps(files)
    if "label" not in dataset.document.legends:
        raise DatasetError("there is no fused label to compare", where=dataset.name, mend="leave --truth out")
    try:
        import rasterio
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("rasterio", "build") from error
    indices = stored_legend(dataset.document.legends, "label").positions(ABSTAIN)
    rows = dataset.chips.set_index("chip_id")
    found: dict[str, NDArray[np.uint8]] = {}
    sources: list[Any] = []
    try:
        for file in files:
            sources.append(_opened(rasterio, file))
        for chip_id in chip_ids:
            grid = label_grid(dataset, rows.loc[chip_id].to_dict() | {"chip_id": chip_id})
            layers = [_indices(_cut(source, grid), indices) for source in sources]
            truth = np.full(grid.shape_yx, ABSTAIN, np.uint8)
            for layer in reversed(layers):
                truth = np.where(layer != ABSTAIN, layer, truth)
            if (truth != ABSTAIN).any():
                found[chip_id] = truth
    finally:
        for source in sources:
            source.close()
    return found


def check_maps(files: Sequence[Path]) -> None:
    """Nothing, where all the maps are there.

    Raises:
        DatasetError: one is not.
    """
    for file in files:
        if not file.is_file():
            raise DatasetError("there is no map of the truth", where=str(file), mend="--truth names a GeoTIFF")


def label_grid(dataset: Dataset, row: dict[str, Any]) -> GeoRef:
    """The grid of a chip's labels: over its bounds, in as many rows and columns as its label has."""
    left, bottom, _, top = (float(value) for value in row["bounds_xyxy"])
    number = dataset.places.number(str(row["chip_id"]))
    shape_yx = dataset.label_shape_yx if number is None else dataset.label_shape_of(number)
    return GeoRef(int(row["epsg"]), left, top, (top - bottom) / shape_yx[0], shape_yx)


def _indices(codes: NDArray[np.int32], indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) class index of codes, 255 of those that no legend can have."""
    possible = (codes >= 0) & (codes < len(indices))
    return np.where(possible, indices[np.where(possible, codes, 0)], np.uint8(ABSTAIN))


def _opened(rasterio: Any, file: Path) -> Any:
    """A map, open."""
    try:
        source = rasterio.open(file)
    except rasterio.errors.RasterioIOError as error:
        raise DatasetError("no raster that can be read", where=str(file), mend="--truth names a GeoTIFF") from error
    if source.crs is None:
        source.close()
        raise DatasetError("the map of the truth has no CRS", where=str(file), mend="write it with one")
    return source


def _cut(source: Any, grid: GeoRef) -> NDArray[np.int32]:
    """(H, W) codes of a map on a grid: the most frequent where its pixels are finer, else the nearest; -1 where it says
    nothing: 0 may be a class.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.transform import Affine
    from rasterio.warp import reproject

    codes = np.full(grid.shape_yx, NOTHING, np.int32)
    is_real = np.issubdtype(np.dtype(source.dtypes[0]), np.floating)
    reproject(
        rasterio.band(source, 1),
        codes,
        src_nodata=np.nan if is_real and source.nodata is None else None,
        dst_transform=Affine(*grid.transform),
        dst_crs=f"EPSG:{grid.epsg}",
        dst_nodata=NOTHING,
        resampling=Resampling.mode if _pixels_below(source, grid) > FINER else Resampling.nearest,
    )
    return codes


def _pixels_below(source: Any, grid: GeoRef) -> float:
    """Pixels of a map along the edge of one in the middle of a grid, whatever the map's CRS and unit."""
    from rasterio.warp import transform

    h, w = grid.shape_yx
    x, y = grid.x0 + w / 2 * grid.pixel_size, grid.y0 - h / 2 * grid.pixel_size
    corners = [x, x + grid.pixel_size, x], [y, y, y - grid.pixel_size]
    away = [
        ~source.transform * place for place in zip(*transform(f"EPSG:{grid.epsg}", source.crs, *corners), strict=True)
    ]
    (x0, y0), (x1, y1), (x2, y2) = away
    return math.sqrt(abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)))
