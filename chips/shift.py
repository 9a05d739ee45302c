"""Residual shift between two pictures of one place, in metres on the ground, from any two lattices.

A 30 m picture and a 10 m picture lie half a fine pixel apart by construction, not by error. So neither is
resampled to the other: the finer one is averaged over the coarse pixel's area *at every place the coarse
pixel might be shifted to*, and the coarse samples are looked up there (`Lattice`). What is then measured is a
shift on the ground, whatever the origins of the two grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from chips.correlation import NO_MATCH, Match, correlate, find_match
from chips.edges import Edges, find_edges
from schemas.georef import GeoRef

Kind = Literal["optical", "optical-sar"]

SEARCH_PIXELS = (4, 10)
"""Least and largest search radius, in pixels of the coarser picture; between them a quarter of the chip."""
MIN_PIXELS = 100
"""Fewer common valid pixels of the coarser picture cannot be matched."""
MIN_COVER = 0.5
"""Share of a window that must be valid for its average to count."""
MAX_STEP = 3
"""Densest sampling of the finer picture: samples per coarse pixel."""
MAX_SAMPLES = 200
"""Pictures that would have more samples along an edge are sampled less densely: they have pixels enough."""
SMOOTHING: dict[Kind, int] = {"optical": 1, "optical-sar": 2}
"""How often a picture is smoothed before its gradients are taken (`chips.edges.find_edges`); speckle needs more."""
TOLERANCE: dict[Kind, float] = {"optical": 0.3, "optical-sar": 0.6}
"""Standard deviation at which an estimate is worth nothing, in pixels of the coarser picture."""


@dataclass(frozen=True)
class Image:
    """Bands of one date with where they lie."""

    pixels: NDArray[np.float32]
    """(band, y, x) in any linear unit; SAR in dB."""
    valid: NDArray[np.bool_]
    """(y, x) where the ground is seen in every band."""
    georef: GeoRef
    """Where the pixels lie."""
    gsd_m: float
    """What the sensor resolves; may be more than the pixel size of a resampled product."""


Placed = tuple[Edges, tuple[float, float]]
"""Edges on a lattice, and how far (rows down, columns right) the true samples lie off it."""


@dataclass(frozen=True)
class Reference:
    """A picture that many others are compared with: its edges are found once per lattice."""

    image: Image
    """The picture."""
    found: dict[tuple[Lattice, int], Placed] = field(default_factory=dict, repr=False)
    """Edges by lattice and smoothing."""

    def edges_on(self, lattice: Lattice, smoothing: int) -> Placed:
        """Its edges on a lattice."""
        if (lattice, smoothing) not in self.found:
            self.found[lattice, smoothing] = _edges_on(self.image, lattice, smoothing)
        return self.found[lattice, smoothing]


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far the moving picture lies from the reference."""

    dx_m: float
    """Its content must move this far east."""
    dy_m: float
    """Its content must move this far north."""
    reliability: float
    """0..1."""
    match: Match
    """What was found, in samples of the search."""
    pixel_m: float
    """Pixel of the coarser picture."""

    @property
    def sigma_m(self) -> float:
        """Standard deviation of the shift in its worst direction, as the peak's shape and the noise around it say."""
        return self.match.sigma * self.pixel_m


@dataclass(frozen=True, slots=True)
class Lattice:
    """The samples on which two pictures are compared."""

    x: float
    """Easting of the first sample."""
    y: float
    """Northing of the first sample, the northernmost."""
    pixel_m: float
    """Pixel of the coarser picture."""
    step: int
    """Samples per coarse pixel."""
    shape_yx: tuple[int, int]
    """Samples down and across; both pictures lie inside."""

    @property
    def spacing_m(self) -> float:
        """Distance of two samples."""
        return self.pixel_m / self.step


def estimate_shift(moving: Image, reference: Image | Reference, *, kind: Kind = "optical") -> Estimate | None:
    """How far the content of ``moving`` must go, in metres east and north, to match ``reference``.

    Args:
        moving: its bands are matched one by one with those of ``reference``.
        reference: same number of bands; another pixel size or origin is fine. As a `Reference` it keeps what was
            found in it for the next call.
        kind: ``optical-sar`` where one of the two is radar.

    Returns:
        None where too few common pixels are valid; reliability 0 where there is no texture or no clear peak.

    Raises:
        ValueError: different zones, or different numbers of bands.
    """
    against = reference if isinstance(reference, Reference) else Reference(reference)
    reference = against.image
    if moving.pixels.shape[0] != reference.pixels.shape[0]:
        raise ValueError(f"{moving.pixels.shape[0]} bands cannot match {reference.pixels.shape[0]}")
    here = moving.georef.in_zone(reference.georef.epsg)
    if here is None:
        raise ValueError(f"cannot compare EPSG:{moving.georef.epsg} with EPSG:{reference.georef.epsg}")
    if here is not moving.georef:
        moving = replace(moving, georef=here)
    if not _overlap(here, reference.georef):
        return None
    lattice = _lattice(here, reference.georef, max(moving.gsd_m, reference.gsd_m))
    least, largest = SEARCH_PIXELS
    search = min(max(min(lattice.shape_yx) // lattice.step // 4, least), largest) * lattice.step
    edges, remainder = _edges_on(moving, lattice, SMOOTHING[kind])
    reference_edges, reference_remainder = against.edges_on(lattice, SMOOTHING[kind])
    correlation, overlap = correlate(edges, reference_edges, search)
    if overlap.max() < MIN_PIXELS:
        return None
    match = find_match(correlation, lattice.step)
    if match is NO_MATCH:
        return Estimate(0.0, 0.0, 0.0, NO_MATCH, lattice.pixel_m)
    down = match.dy - remainder[0] + reference_remainder[0]
    right = match.dx - remainder[1] + reference_remainder[1]
    reliability = match.reliability(TOLERANCE[kind])
    return Estimate(right * lattice.spacing_m, -down * lattice.spacing_m, reliability, match, lattice.pixel_m)


def _overlap(one: GeoRef, other: GeoRef) -> bool:
    """Whether two grids of one CRS share any ground."""
    here, there = one.bounds_xyxy, other.bounds_xyxy
    return all(max(here[i], there[i]) < min(here[i + 2], there[i + 2]) for i in (0, 1))


@lru_cache(maxsize=32)
def _lattice(moving: GeoRef, reference: GeoRef, gsd_m: float) -> Lattice:
    """Samples at the coarser picture's pixel centres, and between them where the other one is finer.

    Args:
        moving: where the one picture lies.
        reference: where the other one does.
        gsd_m: the larger of what the two sensors resolve.
    """
    pixel_m = max(moving.pixel_size, reference.pixel_size, gsd_m)
    anchor = moving if moving.pixel_size > reference.pixel_size else reference
    finest = min(moving.pixel_size, reference.pixel_size)
    ends = list(zip(moving.bounds_xyxy, reference.bounds_xyxy, strict=True))
    left, bottom, right, top = min(ends[0]), min(ends[1]), max(ends[2]), max(ends[3])
    densest = MAX_SAMPLES * pixel_m / max(right - left, top - bottom)
    step = min(max(min(round(pixel_m / finest), int(densest)), 1), MAX_STEP)
    unit = pixel_m if _is_coarse(anchor, pixel_m) else pixel_m / step
    x, y = anchor.x0 + anchor.pixel_size / 2, anchor.y0 - anchor.pixel_size / 2
    x -= math.ceil((x - left) / unit - 0.5) * unit
    y += math.ceil((top - y) / unit - 0.5) * unit
    rows, columns = math.ceil((y - bottom) / unit + 0.5), math.ceil((right - x) / unit + 0.5)
    if unit == pixel_m:
        rows, columns = rows * step, columns * step
    return Lattice(x, y, pixel_m, step, (rows, columns))


def _is_coarse(georef: GeoRef, pixel_m: float) -> bool:
    """Whether a picture's own pixels are the coarse ones, and not averaged to be."""
    return georef.pixel_size > 0.99 * pixel_m


def _edges_on(image: Image, lattice: Lattice, smoothing: int) -> Placed:
    """Edges on the lattice, and how far (rows down, columns right) the true samples lie off it."""
    if _is_coarse(image.georef, lattice.pixel_m):
        return _placed(find_edges(image.pixels, image.valid, smoothing=smoothing), image.georef, lattice)
    pixels, valid = _averaged(image, lattice)
    if image.valid.all() and valid.any():  # a rectangle: its outer border is no gap
        window = tuple(slice(int(k[0]), int(k[-1]) + 1) for k in (np.flatnonzero(valid.any(axis=a)) for a in (1, 0)))
        return _set_in(
            find_edges(pixels[:, *window], valid[window], step=lattice.step, smoothing=smoothing), window, valid.shape
        ), (0.0, 0.0)
    return find_edges(pixels, valid, step=lattice.step, smoothing=smoothing), (0.0, 0.0)


def _set_in(edges: Edges, window: tuple[slice, ...], shape: tuple[int, ...]) -> Edges:
    """Edges in a window of a larger lattice without weight around it."""
    if edges.weight.shape == shape:
        return edges
    values, weight = np.zeros((edges.values.shape[0], *shape), np.float32), np.zeros(shape, np.bool_)
    values[:, *window], weight[window] = edges.values, edges.weight
    return Edges(values, weight)


def _placed(edges: Edges, georef: GeoRef, lattice: Lattice) -> Placed:
    """Edges of a coarse picture on every step-th sample of the lattice."""
    row = (lattice.y - (georef.y0 - georef.pixel_size / 2)) / lattice.pixel_m
    column = (georef.x0 + georef.pixel_size / 2 - lattice.x) / lattice.pixel_m
    first, (rows, columns) = (round(row), round(column)), edges.weight.shape
    remainder = ((row - first[0]) * lattice.step, (column - first[1]) * lattice.step)
    shape = (lattice.shape_yx[0] // lattice.step, lattice.shape_yx[1] // lattice.step)
    window = slice(first[0], first[0] + rows), slice(first[1], first[1] + columns)
    return _set_in(edges, window, shape), remainder


def _averaged(image: Image, lattice: Lattice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means of a fine picture over windows of the coarse pixel's size, one around each sample."""
    georef, pixel = image.georef, image.georef.pixel_size
    down, right = (
        _Windows(round(first / pixel, 6), lattice.spacing_m / pixel, lattice.pixel_m / pixel, windows, count)
        for first, windows, count in (
            (georef.y0 - lattice.y, lattice.shape_yx[0], georef.shape_yx[0]),
            (lattice.x - georef.x0, lattice.shape_yx[1], georef.shape_yx[1]),
        )
    )
    down_weights, right_weights = _weights(down), _weights(right)

    def averaged(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((right_weights @ np.ascontiguousarray((down_weights @ plane).T)).T)

    if image.valid.all():
        cover, valid = _whole_cover(down, right)
        level = image.pixels.mean(axis=(1, 2), keepdims=True)
        planes = image.pixels - level
    else:
        cover = averaged(image.valid.astype(np.float32))
        valid = cover >= MIN_COVER
        cover = np.where(valid, cover, np.float32(1))
        level = np.zeros((len(image.pixels), 1, 1), np.float32)
        if image.valid.any():
            level = image.pixels.mean(axis=(1, 2), keepdims=True, where=image.valid)
        planes = np.where(image.valid, image.pixels - level, np.float32(0))
    means = np.stack([averaged(plane) for plane in planes])
    means /= cover
    means += level
    np.copyto(means, 0, where=~valid)
    return means, valid


class _Windows(NamedTuple):
    """Windows along one axis of a picture."""

    first: float
    """Centre of the first one, in pixels from the first pixel's edge."""
    spacing: float
    """Pixels from one to the next."""
    width: float
    """Pixels of one."""
    windows: int
    """How many."""
    pixels: int
    """How many pixels there are."""


@lru_cache(maxsize=32)
def _weights(axis: _Windows) -> sparse.csr_array:
    """(window, pixel) share of each window that lies in a pixel; chips of one layout share it."""
    low = axis.first - axis.width / 2 + np.arange(axis.windows) * axis.spacing
    pixels = np.floor(low).astype(np.int64)[:, None] + np.arange(math.ceil(axis.width) + 1)
    inside = np.minimum(low[:, None] + axis.width, pixels + 1) - np.maximum(low[:, None], pixels)
    shares = np.where((pixels >= 0) & (pixels < axis.pixels), np.maximum(inside, 0), 0) / axis.width
    places = np.clip(pixels, 0, axis.pixels - 1).ravel(), np.arange(axis.windows + 1) * pixels.shape[1]
    return sparse.csr_array((shares.astype(np.float32).ravel(), *places), shape=(axis.windows, axis.pixels))


@lru_cache(maxsize=32)
def _whole_cover(down: _Windows, right: _Windows) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(y, x) by what the sums over a picture without gaps are to be divided, and which windows lie inside it."""
    covers = [weights @ np.ones(weights.shape[1], np.float32) for weights in (_weights(down), _weights(right))]
    valid = np.logical_and.outer(*(cover > 0.999 for cover in covers))
    divisors = np.where(valid, np.outer(*covers), np.float32(1))
    divisors.flags.writeable = valid.flags.writeable = False  # every chip of the layout has these
    return divisors, valid
