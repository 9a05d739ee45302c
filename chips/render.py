"""Pictures of a chip: arrays -> RGB by named view, or labels in their official colours.

Every view (`chips/views.py`) has a fixed physical stretch, never one taken from the chip itself, so that two
chips compare and the same reflectance has the same colour everywhere. Missing pixels are neutral grey.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chips.views import RAMPS, ROLES, VIEWS, View
from schemas.chip import Valid
from schemas.errors import MissingExtraError
from schemas.legend import Legend

__all__ = [
    "INVALID_RGB",
    "VIEWS",
    "View",
    "fit",
    "normalised_difference",
    "pick",
    "possible",
    "render",
    "render_labels",
    "to_png",
]

Rgb = NDArray[np.uint8]
Bands = Mapping[str, NDArray[Any]]

INVALID_RGB = (128, 128, 128)
"""Colour of pixels without data, defective pixels, and pixels without a class."""
_NOT_SHOWN = (int(Valid.NODATA), int(Valid.DEFECTIVE))


def pick(role: str, bands: Mapping[str, Any], wavelengths_nm: Mapping[str, float] | None = None) -> str | None:
    """Name of the band that fills a role, or None.

    Common names win; else the band whose centre wavelength is nearest, within the role's reach, among those
    that hold any data (EnMAP's water-vapour bands are empty for whole scenes).

    Args:
        role: a key of `ROLES`.
        bands: band name -> pixels (only asked for when wavelengths decide).
        wavelengths_nm: band name -> centre wavelength in nm, for sensors whose band names say nothing.
    """
    wanted = ROLES[role]
    for name in wanted.names:
        if name in bands:
            return name
    if not (wanted.centre_nm and wavelengths_nm):
        return None
    near = sorted(
        (abs(centre - wanted.centre_nm), name)
        for name, centre in wavelengths_nm.items()
        if name in bands and abs(centre - wanted.centre_nm) <= wanted.reach_nm
    )
    return next((name for _, name in near if bool(np.isfinite(bands[name]).any())), None)


def possible(bands: Bands, wavelengths_nm: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """Names of the views that these bands can show, in the order of `VIEWS`."""
    return tuple(
        name
        for name, view in VIEWS.items()
        if all(pick(role, bands, wavelengths_nm) for role in view.roles)
        and (not name.startswith("enmap_") or (wavelengths_nm is not None and len(wavelengths_nm) > 30))
    )


def render(
    view: str,
    bands: Bands,
    valid: NDArray[Any] | None = None,
    *,
    wavelengths_nm: Mapping[str, float] | None = None,
    unit: str = "",
    pixel_size_m: float = 10.0,
) -> Rgb:
    """(H, W, 3) uint8 picture of a view.

    Args:
        view: a key of `VIEWS`.
        bands: band name -> (H, W) physical values (reflectance; linear power or dB; metres), NaN = missing.
            Keys are common names (``red``, ``nir08``, ``vv``, ``elevation``), or any names with
            ``wavelengths_nm``. Bands may differ in GSD when one shape is a whole multiple of the other: the
            coarser is repeated.
        valid: (H, W) bool, or codes of `schemas.chip.Valid` (0 and 7 are not shown).
        wavelengths_nm: band name -> centre wavelength in nm.
        unit: SAR only: ``dB`` or ``linear``; where empty, negative values say dB (power is never negative).
        pixel_size_m: elevation only: edge of a pixel in metres, for the shading.

    Raises:
        ValueError: unknown view, a band is missing, or shapes do not fit each other.
    """
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}; known: {', '.join(VIEWS)}")
    entry = VIEWS[view]
    picked = {role: pick(role, bands, wavelengths_nm) for role in entry.roles}
    missing = [role for role, name in picked.items() if name is None]
    if missing:
        raise ValueError(f"view {view!r} needs {', '.join(missing)}; got {', '.join(sorted(bands)[:20])}")
    planes = [np.asarray(bands[str(picked[role])], dtype=np.float32) for role in entry.roles]
    rows, columns = max(plane.shape[0] for plane in planes), max(plane.shape[1] for plane in planes)
    planes = [_repeat(plane, (rows, columns)) for plane in planes]
    shown = np.logical_and.reduce([np.isfinite(plane) for plane in planes])
    if entry.kind == "composite":
        rgb = _composite(planes, entry)
    elif entry.kind == "index":
        index = normalised_difference(planes[0], planes[1])
        shown &= np.isfinite(index)
        rgb = _ramp(view, _stretch(index, *entry.stretch[0]))
    elif entry.kind == "sar":
        vv, vh = _decibel(planes, unit)
        shown &= np.isfinite(vv) & np.isfinite(vh)
        rgb = _composite([vv, vh, vv - vh], entry)
    else:
        low, high = entry.stretch[0]
        shade = _hillshade(planes[0], pixel_size_m)[..., None]  # (H, W, 1)
        rgb = _ramp(view, np.sqrt(_stretch(planes[0], low, high))) * shade
    if valid is not None:
        mask = _repeat(np.asarray(valid), (rows, columns))
        shown &= mask if mask.dtype == np.bool_ else ~np.isin(mask, _NOT_SHOWN)
    out: Rgb = np.clip(np.rint(np.nan_to_num(rgb)), 0, 255).astype(np.uint8)
    out[~shown] = INVALID_RGB
    return out


def normalised_difference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """(a - b) / (a + b) as float32 in -1..1; NaN where the sum is not positive or an input is missing.

    Negative reflectances (over-corrected dark pixels) count as 0, so that the index stays inside -1..1.
    """
    first = np.maximum(np.asarray(a, dtype=np.float32), 0)
    second = np.maximum(np.asarray(b, dtype=np.float32), 0)
    total = first + second
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 1e-6, (first - second) / total, np.nan).astype(np.float32)


def render_labels(classes: NDArray[Any], legend: Legend, by: Literal["code", "index"] = "code") -> Rgb:
    """(H, W, 3) uint8 label map in the legend's official colours.

    Args:
        classes: (H, W) product codes, or class indices of a fused layer.
        legend: names the colours.
        by: what the values are. Values that the legend does not list (no data, abstention) are `INVALID_RGB`.
    """
    values = np.asarray(classes)
    out = np.full((*values.shape, 3), INVALID_RGB, dtype=np.uint8)
    for index, entry in enumerate(legend.classes):
        out[values == (entry.code if by == "code" else index)] = _hex(entry.colour)
    return out


def fit(rgb: Rgb, size: int, *, classes: bool = False) -> Rgb:
    """The picture with its longer edge at ``size`` pixels, proportions kept.

    Enlarged by repetition (a pixel stays a square); shrunk by area averages, or by nearest for label maps.

    Args:
        rgb: (H, W, 3) uint8.
        size: longer edge of the result in pixels.
        classes: whether colours stand for classes and must not be mixed.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    image = _pillow()
    rows, columns = rgb.shape[:2]
    scale = size / max(rows, columns)
    target = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    method = image.Resampling.NEAREST if scale >= 1 or classes else image.Resampling.BOX
    return np.asarray(image.fromarray(rgb).resize(target, method), dtype=np.uint8)


def to_png(rgb: Rgb, effort: int = 6) -> bytes:
    """A PNG of (H, W, 3) uint8 without any metadata: the same pixels give the same bytes.

    Args:
        rgb: the picture.
        effort: of deflate, 1 to 9.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    out = io.BytesIO()
    _pillow().fromarray(np.ascontiguousarray(rgb)).save(out, format="PNG", compress_level=effort, optimize=False)
    return out.getvalue()


def _pillow() -> Any:
    """Pillow's image module; pillow comes with the extra ``build``, reading a dataset does not need it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError.of("pillow", "build") from error
    return Image


def _repeat(plane: NDArray[Any], shape_yx: tuple[int, int]) -> NDArray[Any]:
    """The plane on a finer grid of the same extent, each pixel repeated."""
    rows, columns = plane.shape
    if shape_yx[0] % rows or shape_yx[1] % columns or shape_yx[0] // rows != shape_yx[1] // columns:
        raise ValueError(f"shapes {plane.shape} and {shape_yx} are not whole multiples of each other")
    step = shape_yx[0] // rows
    return plane if step == 1 else plane.repeat(step, axis=0).repeat(step, axis=1)


def _stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Position 0..1 between two physical values."""
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)


def _composite(planes: list[NDArray[Any]], view: View) -> NDArray[Any]:
    """(H, W, 3) float 0..255 of three channels."""
    channels = [_stretch(p, low, high) for p, (low, high) in zip(planes, view.stretch, strict=True)]
    return 255.0 * np.stack(channels, axis=-1) ** (1.0 / view.gamma)


def _ramp(name: str, position: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) float 0..255 of a colour ramp."""
    stops = np.array([stop for stop, _ in RAMPS[name]])
    colours = np.array([colour for _, colour in RAMPS[name]], dtype=np.float64)  # (stops, 3)
    return np.stack([np.interp(position, stops, colours[:, channel]) for channel in range(3)], axis=-1)


def _decibel(planes: list[NDArray[Any]], unit: str) -> list[NDArray[Any]]:
    """Backscatter in dB; zero or negative power has none (NaN)."""
    if unit not in ("", "dB", "linear"):
        raise ValueError(f"unit of backscatter is {unit!r}, wanted dB or linear")
    if unit == "dB" or (not unit and any(bool((plane < 0).any()) for plane in planes)):
        return planes
    with np.errstate(divide="ignore", invalid="ignore"):
        return [np.where(plane > 0, 10.0 * np.log10(plane), np.nan) for plane in planes]


def _hillshade(height: NDArray[Any], pixel_size_m: float) -> NDArray[Any]:
    """Brightness 0.45..1.15 under a sun in the north-west, 45 degrees high; relief 3-fold, to show hills."""
    if min(height.shape) < 2:
        return np.ones(height.shape, dtype=np.float32)
    filled = np.nan_to_num(height, nan=float(np.nanmean(height)) if np.isfinite(height).any() else 0.0)
    down, right = np.gradient(3.0 * filled, pixel_size_m)
    normal = np.sqrt(1.0 + down**2 + right**2)
    light = (right + down) / np.sqrt(2.0) * np.sqrt(0.5) + np.sqrt(0.5)  # light from the north-west: (-x, +y, up)
    return np.asarray(np.clip(0.45 + 0.7 * light / normal, 0.45, 1.15))


def _hex(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` -> (r, g, b)."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
