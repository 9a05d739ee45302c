"""One modality of a sample as forms with a single grid want it: its groups on the finest grid, and views of masks."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image

from schemas.antimeridian import centre
from schemas.chip import Valid
from schemas.dataset import LayerTable
from schemas.errors import DatasetError
from schemas.georef import GeoRef
from schemas.sample import Sample
from shards.reader import Dataset

CLOUD_CODES = {
    Valid.NODATA: 255,
    Valid.CLEAR: 0,
    Valid.CLOUD: 1,
    Valid.SHADOW: 3,
    Valid.SNOW: 0,
    Valid.HAZE: 2,
    Valid.WATER: 0,
    Valid.DEFECTIVE: 255,
}
"""Validity -> codes as cloud masks beside Major TOM Core have them: 0 clear, 1 thick cloud, 2 thin cloud, 3 shadow."""
CLOUD_NOTE = (
    "cloud_mask: 0 clear (snow and clear water too), 1 cloud, 2 haze or cirrus, 3 cloud shadow, 255 no "
    "data or defective."
)
SCENE_CODES = {
    Valid.NODATA: 255,
    Valid.CLEAR: 0,
    Valid.CLOUD: 4,
    Valid.SHADOW: 5,
    Valid.SNOW: 2,
    Valid.HAZE: 3,
    Valid.WATER: 1,
    Valid.DEFECTIVE: 255,
}
"""Validity -> codes of the cloud masks in TerraMesh and SSL4EO-S12 v1.1: 0 land, 1 water, 2 snow, 3 thin cloud, 4 thick
cloud, 5 shadow. Their code of no data is not verified: 255 is none of theirs, and as bad as any that is not 0 to 2."""
SCENE_NOTE = (
    "cloud_mask: 0 clear land, 1 clear water (where the sensor's mask tells), 2 snow, 3 haze or cirrus, 4 cloud, "
    "5 cloud shadow, 255 no data or defective."
)
VALID_NOTE = (
    "Validity codes: 0 no data, 1 clear, 2 cloud, 3 cloud shadow, 4 snow, 5 haze or cirrus, 6 clear water, "
    "7 saturated or defective."
)


_NUMBERED = re.compile(r"([A-Za-z_]+)(\d+)(A?)")


@dataclass(frozen=True)
class Stack:
    """All bands of a modality on one grid."""

    data: NDArray[np.generic]
    """(T, C, H, W) as stored."""
    valid: NDArray[np.uint8]
    """(T, H, W) of the finest group; no data or defective where any group is."""
    time_utc: NDArray[np.datetime64]
    """(T,), NaT where there is no date."""
    georef: GeoRef
    """The grid."""


def tables_of(dataset: Dataset, groups: Sequence[str], modality: str) -> list[LayerTable]:
    """Exported groups of a modality, finest first."""
    tables = [dataset.layer(group) for group in groups if dataset.layer(group).modality == modality]
    return sorted(tables, key=lambda table: table.gsd_m)


def no_data(table: LayerTable) -> float | None:
    """Stored value of no data: of floats without one it is NaN; None of whole numbers without one."""
    return float("nan") if table.nodata is None and np.dtype(table.dtype).kind == "f" else table.nodata


def band_names(tables: Sequence[LayerTable], by_name: bool = True) -> list[str]:
    """Bands of a modality in the order of a `Stack`: by name where it has several groups, else group by group."""
    names = [band.name for table in tables for band in table.bands]
    return sorted(names, key=_band_order) if by_name and len(tables) > 1 else names


def _band_order(name: str) -> tuple[str, float, str]:
    """B8A stands between B08 and B09; sensors of the user's own call their bands what they like (`red`, `pan_1`)."""
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        return name, 0.0, name
    return numbered[1], int(numbered[2]) + (0.5 if numbered[3] else 0.0), name


def stack(sample: Sample, tables: Sequence[LayerTable], by_name: bool = True) -> Stack | None:
    """All bands of a modality on its finest grid, by repetition, in the order of `band_names`; None where the chip has
    none.

    Raises:
        DatasetError: groups whose grids do not nest.
    """
    layers = [(table, sample.layers[table.group]) for table in tables if table.group in sample.layers]
    if not layers or not any(layer.data.shape[0] for _, layer in layers):
        return None
    finest = layers[0][1]
    dtype = layers[0][0].dtype
    planes: dict[str, NDArray[np.generic]] = {}
    valid = finest.valid
    for table, layer in layers:
        rows, columns = (
            fine / coarse for fine, coarse in zip(finest.data.shape[2:], layer.data.shape[2:], strict=True)
        )
        if rows != columns or rows != int(rows) or table.dtype != dtype:
            raise DatasetError(
                f"{sample.chip_id}: {table.group} ({table.dtype}, {layer.data.shape[2:]}) does not nest in "
                f"{layers[0][0].group} ({dtype}, {finest.data.shape[2:]})",
                mend=f"--modality {layers[0][0].group}",
            )
        factor = int(rows)
        for number, band in enumerate(table.bands):
            plane = layer.data[:, number]
            planes[band.name] = plane if factor == 1 else plane.repeat(factor, 1).repeat(factor, 2)
        if factor > 1:
            valid = _with_lost(valid, layer.valid.repeat(factor, 1).repeat(factor, 2))
    data = np.stack([planes[name] for name in band_names([table for table, _ in layers], by_name)], axis=1)
    return Stack(data, valid, finest.time_utc, finest.georef)


def _with_lost(valid: NDArray[np.uint8], coarser: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask that speaks for the bands of a coarser group, too: what is lost there is lost; its clouds are its own."""
    found = np.where((coarser == Valid.DEFECTIVE) & (valid != Valid.NODATA), np.uint8(Valid.DEFECTIVE), valid)
    return np.where(coarser == Valid.NODATA, np.uint8(Valid.NODATA), found)


def cloud_mask(valid: NDArray[np.uint8], codes: Mapping[Valid, int] = CLOUD_CODES) -> NDArray[np.uint8]:
    """Validity as codes of a cloud mask: `CLOUD_CODES` or `SCENE_CODES`."""
    table = np.full(256, 255, np.uint8)
    for value, code in codes.items():
        table[int(value)] = code
    return table[valid]


def thumbnail(planes: NDArray[np.generic], valid: NDArray[np.uint8]) -> bytes:
    """PNG of one or three planes, stretched between the 2nd and 98th percentile of what is valid; black elsewhere.

    Args:
        planes: (1 or 3, H, W).
        valid: (H, W).
    """
    seen = valid != 0
    values = planes.astype(np.float32)
    low, high = np.percentile(values[:, seen], (2, 98)) if seen.any() else (0.0, 1.0)
    scaled = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1) * 255
    shown = np.where(seen, np.nan_to_num(scaled), 0).astype(np.uint8)
    picture = Image.fromarray(shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def shown_bands(tables: Sequence[LayerTable]) -> list[str]:
    """Red, green and blue where the modality has them, else its first band."""
    by_colour = {band.common_name: band.name for table in tables for band in table.bands}
    colours = [by_colour[name] for name in ("red", "green", "blue") if name in by_colour]
    return colours if len(colours) == 3 else band_names(tables)[:1]


def centre_of(sample: Sample) -> tuple[float, float]:
    """Longitude and latitude of the middle of a chip's footprint, also of one that the antimeridian cuts."""
    middle = centre(shapely.from_wkb(sample.row["geometry_wkb"]))
    return float(middle.x), float(middle.y)


def iso(time: np.datetime64) -> str:
    """A date as text, UTC, to the second; empty for none."""
    return "" if np.isnat(time) else f"{np.datetime_as_string(time, 's')}Z"
