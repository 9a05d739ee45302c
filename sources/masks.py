"""Quality layers of the products as `Valid` codes: `to_valid`, and `resample_valid` onto another lattice.

Codes and their precedence are those of schemas/chip.py. Codes are never interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.convert import holds
from schemas.chip import VALID_PRECEDENCE, Valid
from schemas.errors import UnsupportedItemError
from schemas.georef import GeoRef
from schemas.scene import MaskKind
from sources.assets import plain_key

Codes = NDArray[np.uint8]
Layers = Mapping[str, NDArray[Any]]

MASK_LAYERS: dict[MaskKind, dict[str, tuple[str, float]]] = {
    "scl": {"scl": ("uint8", 0)},
    "qa_pixel_c2": {"qa_pixel": ("uint16", 1), "qa_radsat": ("uint16", 0)},
    "qa_pixel_c2_tm": {"qa_pixel": ("uint16", 1), "qa_radsat": ("uint16", 0)},
    "pixel_qa_c1": {"pixel_qa": ("uint16", 1)},
    "fmask_hls": {"fmask": ("uint8", 255)},
    "enmap_ql": {
        "quality_classes": ("uint8", 3),
        "quality_cloud": ("uint8", 0),
        "quality_cloud_shadow": ("uint8", 0),
        "quality_haze": ("uint8", 0),
        "quality_cirrus": ("uint8", 0),
        "quality_snow": ("uint8", 0),
    },
    "none": {},
}
"""Mask kind -> layer -> stored type and the value that stands outside the raster.

The first layer of a kind is needed, and its value outside means fill; the others are used where they are.
"""

SCL_CODES = np.full(256, Valid.DEFECTIVE, np.uint8)
"""Scene classification 0..11 -> code: 2 (dark) counts as clear, 7 (unclassified) as haze; others do not exist."""
SCL_CODES[:12] = [
    Valid.NODATA, Valid.DEFECTIVE, Valid.CLEAR, Valid.SHADOW, Valid.CLEAR, Valid.CLEAR,
    Valid.WATER, Valid.HAZE, Valid.CLOUD, Valid.CLOUD, Valid.HAZE, Valid.SNOW,
]  # fmt: skip

_RANK = np.full(256, len(VALID_PRECEDENCE), np.uint8)
_RANK[list(VALID_PRECEDENCE)] = np.arange(len(VALID_PRECEDENCE), dtype=np.uint8)
_BY_RANK = np.array([*VALID_PRECEDENCE, Valid.DEFECTIVE], np.uint8)


def layer_of_key(asset_key: str) -> str:
    """Name of the mask layer that an asset key means.

    >>> layer_of_key("QA_PIXEL.TIF"), layer_of_key("SCL_20m"), layer_of_key("QL_QUALITY_CLOUDSHADOW")
    ('qa_pixel', 'scl', 'quality_cloud_shadow')
    """
    layer = plain_key(asset_key).removeprefix("ql_")
    return "quality_cloud_shadow" if layer == "quality_cloudshadow" else layer


def to_valid(kind: MaskKind, arrays: Layers) -> Codes:
    """`Valid` codes of the quality layers of one item.

    Args:
        kind: how the layers are to be read.
        arrays: layer name (see `MASK_LAYERS`) -> (y, x) as stored, all of one shape. For ``none`` any array gives the
            shape, and everything is clear.

    Returns:
        (y, x) uint8 codes; where several hold, the first of `VALID_PRECEDENCE`.

    Raises:
        ValueError: the needed layer is missing, or shapes differ.
        UnsupportedItemError: a kind without rules.
    """
    if not arrays:
        raise ValueError(f"mask {kind!r} needs at least one array")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1:
        raise ValueError(f"mask layers of different shapes: {sorted(shapes)}")
    if kind == "none":
        return np.full(shapes.pop()[-2:], Valid.CLEAR, np.uint8)
    if kind not in _RULES:
        raise UnsupportedItemError(f"no rules for masks of kind {kind!r}")
    needed = next(iter(MASK_LAYERS[kind]))
    if needed not in arrays:
        raise ValueError(f"mask {kind!r} needs layer {needed!r}, got {sorted(arrays)}")
    return _RULES[kind](arrays)


def worst_of(*codes: Codes) -> Codes:
    """Pixel by pixel the code that comes first in `VALID_PRECEDENCE`."""
    ranks = np.stack([_RANK[code] for code in codes])
    worst: Codes = _BY_RANK[ranks.min(axis=0)]
    return worst


def pixel_codes(
    data: NDArray[Any],
    nodata: float | Sequence[float | None] | None,
    rule: str = "any",
    valid_range: tuple[float, float] | None = None,
) -> Codes:
    """What the stored numbers themselves say: no data, defective (outside the valid range), else clear.

    Args:
        data: (bands, y, x) as stored. What is not finite (the decibel of no power) counts as no data.
        nodata: stored no-data value, None where there is none; or one for each band.
        rule: ``any`` or ``all`` bands must hold it (`SensorProfile.nodata_rule`).
        valid_range: stored values outside are defective; bands that are no data do not count.
    """
    codes = np.full(data.shape[-2:], int(Valid.CLEAR), np.uint8)
    if isinstance(nodata, Sequence):
        missing = np.stack([_missing(band, value) for band, value in zip(data, nodata, strict=True)])
    else:
        missing = _missing(data, nodata)
    if valid_range is not None:
        low, high = valid_range
        codes[((data < low) | (data > high)).__and__(~missing).any(axis=0)] = Valid.DEFECTIVE
    if missing.any():
        codes[missing.all(axis=0) if rule == "all" else missing.any(axis=0)] = Valid.NODATA
    return codes


def _missing(data: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    if data.dtype.kind != "f":
        return np.zeros(data.shape, bool) if nodata is None else holds(data, nodata)
    missing: NDArray[np.bool_] = ~np.isfinite(data)
    return missing if nodata is None else missing | np.asarray(data == nodata)


def resample_valid(valid: Codes, from_georef: GeoRef, to_georef: GeoRef) -> Codes:
    """The codes on another lattice of the same CRS, never interpolated.

    A finer lattice repeats them; a coarser one by a whole factor on the same edges takes the worst inside each pixel
    (`VALID_PRECEDENCE`); any other takes the pixel under the centre. Pixels outside the source are no data.

    Raises:
        ValueError: another CRS (two hemispheres of one zone are the same), or a shape that does not fit.
    """
    if valid.shape != tuple(from_georef.shape_yx):
        raise ValueError(f"codes of shape {valid.shape} on a lattice of {from_georef.shape_yx}")
    source = from_georef.in_zone(to_georef.epsg)
    if source is None:
        raise ValueError(f"masks of EPSG:{from_georef.epsg} cannot be put on EPSG:{to_georef.epsg} without a warp")
    factor = to_georef.pixel_size / source.pixel_size
    whole = round(factor)
    if whole >= 2 and abs(factor - whole) < 1e-9 * whole:
        fine_shape = (to_georef.shape_yx[0] * whole, to_georef.shape_yx[1] * whole)
        fine = GeoRef(to_georef.epsg, to_georef.x0, to_georef.y0, source.pixel_size, fine_shape)
        if fine.is_aligned(source):
            codes = _nearest(valid, source, fine)
            blocks = _RANK[codes].reshape(to_georef.shape_yx[0], whole, to_georef.shape_yx[1], whole)
            worst: Codes = _BY_RANK[blocks.min(axis=(1, 3))]
            return worst
    return _nearest(valid, source, to_georef)


def _nearest(valid: Codes, source: GeoRef, target: GeoRef) -> Codes:
    rows = np.floor((source.y0 - target.y_centres()) / source.pixel_size + 1e-6).astype(np.int64)
    columns = np.floor((target.x_centres() - source.x0) / source.pixel_size + 1e-6).astype(np.int64)
    inside_y = (rows >= 0) & (rows < valid.shape[0])
    inside_x = (columns >= 0) & (columns < valid.shape[1])
    codes = np.full(target.shape_yx, Valid.NODATA, np.uint8)
    codes[np.ix_(inside_y, inside_x)] = valid[np.ix_(rows[inside_y], columns[inside_x])]
    return codes


def _paint(codes: Codes, hits: list[tuple[Valid, NDArray[np.bool_]]]) -> Codes:
    """Codes painted so that the worst of several wins."""
    for code, where in sorted(hits, key=lambda hit: -int(_RANK[hit[0]])):
        codes[where] = code
    return codes


def _scl(arrays: Layers) -> Codes:
    codes: Codes = SCL_CODES[arrays["scl"].astype(np.uint8)]
    return codes


SATURATED_OLI = 0b111_1111
"""QA_RADSAT of Landsat 8-9: bands 1 to 7."""
DEFECTIVE_TM = 0b10_0101_1111
"""QA_RADSAT of Landsat 4-7: bands 1 to 5 and 7, and bit 9, a dropped pixel. Bits 5 and 8 are the thermal band, which
hot ground saturates and which says nothing of reflectance."""


def _qa_pixel_c2(arrays: Layers, radsat: int = SATURATED_OLI) -> Codes:
    """Bits: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 shadow, 5 snow, 7 water; QA_RADSAT: which bits are defects.

    Source: Landsat 8-9 and Landsat 4-7 Collection 2 Level-2 Science Product Guides (USGS LSDS-1619 and LSDS-1618),
    tables of QA_PIXEL and QA_RADSAT.
    """
    qa = arrays["qa_pixel"].astype(np.uint16)
    hits = [
        (Valid.WATER, _bit(qa, 7)),
        (Valid.SNOW, _bit(qa, 5)),
        (Valid.HAZE, _bit(qa, 2)),
        (Valid.SHADOW, _bit(qa, 4)),
        (Valid.CLOUD, _bit(qa, 3) | _bit(qa, 1)),
        (Valid.NODATA, _bit(qa, 0)),
    ]
    if "qa_radsat" in arrays:
        hits.append((Valid.DEFECTIVE, (arrays["qa_radsat"].astype(np.uint16) & radsat) != 0))
    return _paint(np.full(qa.shape, Valid.CLEAR, np.uint8), hits)


def _pixel_qa_c1(arrays: Layers) -> Codes:
    """Bits: 0 fill, 1 clear, 2 water, 3 shadow, 4 snow, 5 cloud, 8-9 cirrus confidence (3 is high).

    0 is the wrapped fill of resampled samples: no bit at all, not even clear. Source: USGS LSDS-1368.
    """
    qa = arrays["pixel_qa"].astype(np.uint16)
    return _paint(
        np.full(qa.shape, Valid.CLEAR, np.uint8),
        [
            (Valid.WATER, _bit(qa, 2)),
            (Valid.SNOW, _bit(qa, 4)),
            (Valid.HAZE, ((qa >> 8) & 3) == 3),
            (Valid.SHADOW, _bit(qa, 3)),
            (Valid.CLOUD, _bit(qa, 5)),
            (Valid.NODATA, _bit(qa, 0) | (qa == 0)),
        ],
    )


def _fmask_hls(arrays: Layers) -> Codes:
    """Bits: 0 cirrus, 1 cloud, 2 beside cloud or shadow, 3 shadow, 4 snow, 5 water; 255 fill.

    Source: HLS user guide 2.0.
    """
    qa = arrays["fmask"].astype(np.uint8)
    return _paint(
        np.full(qa.shape, Valid.CLEAR, np.uint8),
        [
            (Valid.WATER, _bit(qa, 5)),
            (Valid.SNOW, _bit(qa, 4)),
            (Valid.HAZE, _bit(qa, 0) | _bit(qa, 2)),
            (Valid.SHADOW, _bit(qa, 3)),
            (Valid.CLOUD, _bit(qa, 1)),
            (Valid.NODATA, qa == 255),
        ],
    )


def _enmap_ql(arrays: Layers) -> Codes:
    """Classes: 1 land, 2 water, 3 background. Cloud, shadow, haze and snow are 1 where they are; cirrus 1-3 by density.

    Test flags and the mask of defective pixels are left aside: they speak of single bands, not of the pixel.
    Source: EnMAP Level 1B/1C/2A Product Specification, quality layers.
    """
    classes = arrays["quality_classes"]
    hits = [(Valid.WATER, classes == 2), (Valid.NODATA, classes == 3)]
    for layer, code in (
        ("quality_snow", Valid.SNOW),
        ("quality_haze", Valid.HAZE),
        ("quality_cirrus", Valid.HAZE),
        ("quality_cloud_shadow", Valid.SHADOW),
        ("quality_cloud", Valid.CLOUD),
    ):
        if layer in arrays:
            hits.append((code, arrays[layer] > 0))
    return _paint(np.full(classes.shape, Valid.CLEAR, np.uint8), hits)


def _bit(values: NDArray[Any], place: int) -> NDArray[np.bool_]:
    is_set: NDArray[np.bool_] = (values >> place) & 1 == 1
    return is_set


_RULES: dict[MaskKind, Callable[[Layers], Codes]] = {
    "scl": _scl,
    "qa_pixel_c2": _qa_pixel_c2,
    "qa_pixel_c2_tm": lambda arrays: _qa_pixel_c2(arrays, DEFECTIVE_TM),
    "pixel_qa_c1": _pixel_qa_c1,
    "fmask_hls": _fmask_hls,
    "enmap_ql": _enmap_ql,
}
