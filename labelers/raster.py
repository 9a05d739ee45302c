"""Any class raster with a legend."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnsupportedItemError
from schemas.georef import GeoRef
from schemas.labels import LabelLayer, RasterLayer
from schemas.legend import Legend, load_legend
from schemas.licences import is_share_alike


class RasterLabeler:
    """Passes the codes of a raster on, cut to the chip and checked against its legend."""

    def __init__(self, legend: str) -> None:
        self.legend = load_legend(legend)

    def label(self, layer: RasterLayer, georef: GeoRef) -> LabelLayer:
        """See `labelers.base.Labeler.label`."""
        codes = self.to_codes(crop_codes(layer, georef), layer)
        check_codes(codes, self.legend, layer)
        return LabelLayer(
            source=layer.source,
            classes=codes,
            georef=georef,
            nodata=self.legend.nodata[0],
            legend=self.legend.name,
            vintage=layer.vintage,
            licence=layer.licence,
            share_alike=is_share_alike(layer.licence),
        )

    def to_codes(self, codes: NDArray[Any], layer: RasterLayer) -> NDArray[Any]:
        """The legend's codes of the raster's: every no-data code becomes the first of them."""
        found = codes.copy()
        for missing in {*self.legend.nodata[1:], layer.nodata} - {self.legend.nodata[0]}:
            found[codes == missing] = self.legend.nodata[0]
        return found


def crop_codes(layer: RasterLayer, georef: GeoRef) -> NDArray[Any]:
    """The part of a layer's codes that lies on an aligned smaller grid.

    Raises:
        ValueError: another lattice, or the grid reaches beyond the layer.
    """
    if not layer.georef.is_aligned(georef):
        raise ValueError(f"{layer.source}: layer on {layer.georef}, chip on {georef}: not one lattice")
    row, column = layer.georef.offset_yx(georef)
    rows, columns = georef.shape_yx
    whole_rows, whole_columns = layer.georef.shape_yx
    if row < 0 or column < 0 or row + rows > whole_rows or column + columns > whole_columns:
        raise ValueError(f"{layer.source}: chip {georef} reaches beyond the layer {layer.georef}")
    return np.ascontiguousarray(layer.codes[row : row + rows, column : column + columns])


def codes_in(codes: NDArray[Any]) -> list[int]:
    """The values that occur, rising; of 8 and 16 bits they are counted, which is faster than sorting."""
    if codes.dtype in (np.uint8, np.uint16):
        found: list[int] = np.flatnonzero(np.bincount(codes.ravel())).tolist()
        return found
    return [int(code) for code in np.unique(codes)]


def check_codes(codes: NDArray[Any], legend: Legend, layer: RasterLayer) -> None:
    """Refuse codes that the legend does not name.

    Raises:
        UnsupportedItemError: lists the unknown codes and the items they come from.
    """
    known = {entry.code for entry in legend.classes} | set(legend.nodata)
    unknown = sorted(set(codes_in(codes)) - known)
    if unknown:
        raise UnsupportedItemError(
            f"{layer.source}: legend {legend.name} has no code {', '.join(map(str, unknown))}"
            f" (items {', '.join(layer.item_ids)})"
        )
