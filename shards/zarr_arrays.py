"""Arrays of Zarr groups: pixels in shards of whole chips, and vectors that hold a number or two per chip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from schemas.dataset import ZarrCodec
from shards.layout import canonical_json

NAT = int(np.iinfo(np.int64).min)
VECTOR_CHUNK = 1 << 16
"""Chips per chunk of the arrays that hold a number or two per chip."""
CHIP_COORDINATES = "chip_id x0 y0 epsg rows columns"
PLACE = {"x0": np.nan, "y0": np.nan, "epsg": 0, "rows": 0, "columns": 0}
"""Coordinates of a chip, and what stands where it has none."""
PLACE_TYPES = {"x0": "f8", "y0": "f8", "epsg": "i4", "rows": "i4", "columns": "i4"}
PLACE_NOTES: dict[str, dict[str, Any]] = {
    "x0": {"units": "m", "long_name": "left edge of the first column"},
    "y0": {"units": "m", "long_name": "top edge of the first row"},
    "epsg": {"long_name": "EPSG code of x0 and y0"},
    "rows": {"long_name": "rows that are not padding"},
    "columns": {"long_name": "columns that are not padding"},
}

Vectors = dict[str, NDArray[Any]]
"""Name -> values of several chips, one row per chip."""


def compressor(codec: ZarrCodec, dtype: str) -> BloscCodec:
    """Blosc for an array of a type."""
    level = {"lz4": 9, "zstd": 3}[codec]
    return BloscCodec(cname=codec, clevel=level, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize)


def signature_of(
    arrays: Mapping[str, tuple[int, ...]], dtype: str, fill: str, shard_chips: int, codec: ZarrCodec = "zstd"
) -> str:
    """Hash of what encoded chunks follow from, beside the pixels: shapes, type, fill, packing, codecs."""
    content = {
        "arrays": {name: list(shape) for name, shape in arrays.items()},
        "dtype": dtype,
        "fill": fill,
        "shard_chips": shard_chips,
        "codec": compressor(codec, dtype).to_dict(),
        "software": _software(),
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()[:16]


@cache
def _software() -> dict[str, str]:
    """What encodes chunks, and its versions: looked up once, as each look reads a file of the distribution's."""
    return {name: installed(name) for name in ("zarr", "numcodecs")}


def make_pixels(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    shard_chips: int,
    dtype: str,
    fill: float,
    dims: tuple[str, ...],
    codec: ZarrCodec = "zstd",
    **attributes: Any,
) -> None:
    """An array whose inner chunks are one chip and whose shards are several."""
    inner = (1, *(max(1, size) for size in shape[1:]))
    group.create_array(
        name,
        shape=shape,
        chunks=inner,
        shards=(shard_chips, *inner[1:]),
        dtype=dtype,
        fill_value=fill,
        compressors=compressor(codec, dtype),
        dimension_names=dims,
        attributes=attributes,
    )


def write_vector(
    group: zarr.Group, name: str, values: NDArray[Any], dims: tuple[str, ...], attributes: Mapping[str, Any]
) -> None:
    """Write a small array, in the place of one that is there."""
    text = values.dtype.kind == "O"
    made = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(1, min(size, VECTOR_CHUNK)) for size in values.shape),
        dtype="string" if text else values.dtype,
        fill_value=NAT if name == "time" else ("" if text else np.zeros((), values.dtype)[()]),
        dimension_names=dims,
        attributes=dict(attributes),
        overwrite=True,
    )
    if values.size:
        made[...] = values


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group."""
    found: Any = group[name]
    array: zarr.Array[Any] = found
    return array


def blank_places(chips: int) -> Vectors:
    """Coordinates of so many chips of which nothing is known."""
    return {name: np.full(chips, fill, PLACE_TYPES[name]) for name, fill in PLACE.items()}


def set_place(vectors: Vectors, index: int, epsg: int, x0: float, y0: float, shape_yx: tuple[int, int]) -> None:
    """Note where a chip lies."""
    vectors["epsg"][index], vectors["x0"][index], vectors["y0"][index] = epsg, x0, y0
    vectors["rows"][index], vectors["columns"][index] = shape_yx


def write_places(group: zarr.Group, vectors: Vectors) -> None:
    """Write the coordinates that `set_place` noted."""
    for name, note in PLACE_NOTES.items():
        write_vector(group, name, vectors[name], ("chip",), note)


def cf_unit(unit: str) -> str:
    """UDUNITS spelling of a unit."""
    known = {"reflectance": "1", "linear": "1", "index": "1", "": "1", "metre": "m", "kelvin": "K"}
    return known.get(unit, unit)


def numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Numbers with NaN for None."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def constant(values: NDArray[np.float64]) -> float | str:
    """The one value of an array, or where to look."""
    found = np.unique(values[np.isfinite(values)])
    return float(found[0]) if found.size == 1 else "differs by date: see the arrays scale and offset"
