"""Water, field blocks and parcels of the landscape: everything that the vectors of settlements lie on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy.spatial import Voronoi
from shapely.geometry import LineString, Point, Polygon, box

from . import noise
from .noise import Array, hash_uniform
from .place import Bounds, Grid
from .settlement import Feature, Taken

Floats = npt.NDArray[np.float64]

CELL_M = 5.0
"""Pixel of the map of field blocks."""

BLOCK_M = 640.0
"""Mean distance of the middles of field blocks."""

WARP_M, WARP_WAVE_M = 34.0, 760.0
"""How far, and over what distance, straight field borders are bent."""


def meander(
    start: tuple[float, float], heading: float, length_m: float, wave_m: float, swing: float, rng: np.random.Generator
) -> LineString:
    """A river's course: a sine-generated curve with changing swing, in steps of 12 m.

    Source: Langbein and Leopold 1966, USGS Professional Paper 422-H.
    """
    step = 12.0
    s = np.arange(0, length_m, step)
    slow = np.interp(s, np.linspace(0, length_m, 9), rng.normal(0, 0.16, 9))
    strength = np.interp(s, np.linspace(0, length_m, 24), rng.uniform(0.45, 1.15, 24)) * swing
    phase = np.cumsum(
        step * 2 * math.pi / wave_m * np.interp(s, np.linspace(0, length_m, 30), rng.uniform(0.7, 1.35, 30))
    )
    angle = heading + slow - slow[0] + strength * np.sin(phase)
    x = start[0] + np.cumsum(step * np.cos(angle))
    y = start[1] + np.cumsum(step * np.sin(angle))
    return LineString(np.stack([x, y], axis=1))


def _blob(x: float, y: float, radius: float, rng: np.random.Generator) -> Polygon:
    """A lake's outline: an ellipse with five harmonics."""
    t = np.linspace(0, 2 * math.pi, 90, endpoint=False)
    r = np.ones_like(t)
    for order in range(2, 7):
        r += 0.26 / order * rng.normal() * np.cos(order * t + rng.uniform(0, 6.3))
    r = radius * np.clip(r, 0.45, 1.8)
    stretch, turn = rng.uniform(0.5, 0.85), rng.uniform(0, 3.14)
    u, v = r * np.cos(t), r * np.sin(t) * stretch
    ring = np.stack([x + u * math.cos(turn) - v * math.sin(turn), y + u * math.sin(turn) + v * math.cos(turn)], axis=1)
    return Polygon(ring).buffer(0)


def rivers_of(bounds: Bounds, southern: bool, rng: np.random.Generator) -> list[Feature]:
    """Rivers from west to east, one per 9 km of height, and brooks that run into them."""
    out: list[Feature] = []
    x0, y0, x1, y1 = bounds
    count = max(1, round((y1 - y0) / 9000))
    width_m = 16.0 if southern else 34.0
    for number in range(count):
        y = y0 + (y1 - y0) * (number + 0.42) / count
        tilt = float(rng.uniform(-0.12, 0.12))
        start = (x0 - 900.0, y - math.tan(tilt) * (x1 - x0) / 2)
        line = meander(start, tilt, (x1 - x0 + 1800) * 1.45, 1150.0 if not southern else 700.0, 1.0, rng)
        name = "Berg" if southern else ("Ache", "Alz", "Traun", "Inn")[number % 4]
        out.append(Feature("river", line, "river", width_m, {"waterway": "river", "name": name}))
    for number in range(max(2, int((x1 - x0) * (y1 - y0) / 9e6))):
        river = out[number % count].geometry
        mouth = river.interpolate(float(rng.uniform(0.15, 0.85)) * river.length)
        up = (math.pi / 2 if rng.random() < 0.5 else -math.pi / 2) + float(rng.normal(0, 0.4))
        brook = meander((mouth.x, mouth.y), up, float(rng.uniform(1800, 4200)), 260.0, 0.8, rng)
        out.append(Feature("stream", brook, "river", 4.0, {"waterway": "stream"}))
    return out


def lakes_of(bounds: Bounds, taken: Taken, southern: bool, rng: np.random.Generator) -> list[Feature]:
    """Lakes and ponds away from roads and rivers."""
    out: list[Feature] = []
    x0, y0, x1, y1 = bounds
    area_km2 = (x1 - x0) * (y1 - y0) / 1e6
    wanted = [("pond", 45.0)] * max(2, int(area_km2 / 7)) + [("lake", 330.0)] * (
        0 if southern else round(area_km2 / 38)
    )
    wanted = [("pond", 75.0)] * (4 if southern else 0) + [("lake", 150.0)] * max(1, round(area_km2 / 30)) + wanted
    for kind, size in wanted:
        for _ in range(60):
            radius = size * float(rng.uniform(0.75, 1.3))
            x, y = float(rng.uniform(x0 + radius, x1 - radius)), float(rng.uniform(y0 + radius, y1 - radius))
            disc = Point(x, y).buffer(radius * 1.45)
            if taken.meets(disc) or any(f.geometry.intersects(disc) for f in out):
                continue
            tags = {"natural": "water", "water": kind}
            if kind == "lake":
                tags["name"] = f"{'Dam' if southern else 'Weiher'} {len(out) + 1}"
            out.append(Feature(kind, _blob(x, y, radius, rng), kind, 0.0, tags))
            break
    return out


def quarry_of(bounds: Bounds, taken: Taken, rng: np.random.Generator) -> list[Feature]:
    """One quarry per 60 square kilometres, at least one, with a pond on its floor."""
    out: list[Feature] = []
    x0, y0, x1, y1 = bounds
    for _ in range(max(1, round((x1 - x0) * (y1 - y0) / 6e7))):
        for _ in range(80):
            x, y = float(rng.uniform(x0 + 300, x1 - 300)), float(rng.uniform(y0 + 300, y1 - 300))
            if taken.meets(Point(x, y).buffer(260)):
                continue
            pit = _blob(x, y, 165.0, rng)
            out.append(Feature("quarry", pit, "quarry", 0.0, {"landuse": "quarry"}))
            out.append(Feature("pond", _blob(x + 20, y - 15, 38.0, rng), "pond", 0.0, {"natural": "water"}))
            break
    return out


def field_tracks(bounds: Bounds, seed: int) -> list[Feature]:
    """Tracks along a third of the borders of the field blocks, bent as the fields are."""
    x, y, _ = block_seeds(bounds, seed)
    cells = Voronoi(np.stack([x, y], axis=1))
    inside = box(*bounds)
    paths = []
    for number, (a, b) in enumerate(cells.ridge_vertices):
        ends = cells.vertices[[a, b]]
        length = float(np.hypot(*(ends[1] - ends[0])))
        if min(a, b) < 0 or length < 60 or not inside.intersects(LineString(ends)):
            continue
        if hash_uniform(seed + 21, number) < 0.34:
            t = np.linspace(0, 1, max(2, int(length / 30)))[:, None]
            paths.append(ends[0] * (1 - t) + ends[1] * t)
    if not paths:
        return []
    straight = np.concatenate(paths)
    world = straight.copy()
    for _ in range(3):
        world = straight - np.stack([warp_at(world[:, 0], world[:, 1], seed, axis) for axis in (0, 1)], axis=1)
    pieces = np.split(world, np.cumsum([len(p) for p in paths])[:-1])
    tags = {"highway": "track", "tracktype": "grade2"}
    return [Feature("track", LineString(piece), "track", 3.8, tags) for piece in pieces]


def warp_at(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], seed: int, axis: int) -> Array:
    """Offset in metres along ``axis`` that turns world coordinates into those with straight field borders."""
    return noise.scattered(x, y, WARP_WAVE_M, seed + 501 + axis, 2) * np.float32(WARP_M)


def block_seeds(bounds: Bounds, seed: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Middles of the field blocks around ``bounds`` (x, y) and their numbers."""
    c0, c1 = math.floor(bounds[0] / BLOCK_M) - 3, math.floor(bounds[2] / BLOCK_M) + 4
    r0, r1 = math.floor(bounds[1] / BLOCK_M) - 3, math.floor(bounds[3] / BLOCK_M) + 4
    col, row = (a.ravel() for a in np.meshgrid(np.arange(c0, c1), np.arange(r0, r1)))
    x = (col + 0.5 + 0.84 * (hash_uniform(seed + 11, col, row).astype(np.float64) - 0.5)) * BLOCK_M
    y = (row + 0.5 + 0.84 * (hash_uniform(seed + 12, col, row).astype(np.float64) - 0.5)) * BLOCK_M
    return x, y, col * 1_000_003 + row


def _nearest_block(sx: Floats, sy: Floats, x: Floats, y: Floats) -> npt.NDArray[np.int32]:
    """(H, W) position of the nearest of the points (x, y), to 5 m: cells are burnt once and looked up."""
    left = (math.floor(sx.min() / CELL_M) - 2) * CELL_M
    top = (math.ceil(sy.max() / CELL_M) + 2) * CELL_M
    width, height = int((sx.max() - left) / CELL_M) + 4, int((top - sy.min()) / CELL_M) + 4
    cells = Voronoi(np.stack([x, y], axis=1))
    shapes = []
    for point, region in enumerate(cells.point_region):
        corners = cells.regions[region]
        if corners and min(corners) >= 0:
            shapes.append((Polygon(cells.vertices[corners]), point))
    transform = Affine(CELL_M, 0, left, 0, -CELL_M, top)
    burnt = rasterize(shapes, (height, width), fill=0, transform=transform, dtype="int32")
    rows, cols = ((top - sy) / CELL_M).astype(np.int32), ((sx - left) / CELL_M).astype(np.int32)
    out: npt.NDArray[np.int32] = burnt[rows, cols]
    return out


def field_blocks(grid: Grid, seed: int) -> npt.NDArray[np.int32]:
    """(H, W) number of the field block of each pixel, its borders left straight."""
    xs, ys = np.meshgrid(grid.xs(), grid.ys())
    x, y, _ = block_seeds(grid.bounds_xyxy, seed)
    return _nearest_block(xs, ys, x, y)


@dataclass(frozen=True)
class Parcels:
    """Which parcel each pixel of a block lies in, and what is known of each parcel."""

    index: npt.NDArray[np.int32]
    """(H, W) position in the lists below."""
    key: npt.NDArray[np.int64]
    """(N,) number of the parcel, the same whatever the block of work."""
    x: Floats
    """(N,) x of its middle."""
    y: Floats
    """(N,) y of its middle."""
    edge_m: Array
    """(H, W) distance to the nearest long side."""
    hedged: npt.NDArray[np.bool_]
    """(H, W) whether that side carries a hedge."""
    furrow: Array
    """(H, W) -1..1, streaks along the rows of the field."""

    def luck(self, seed: int) -> Array:
        """(N,) one uniform number per parcel."""
        return hash_uniform(seed, self.key)


def _cut(t: Array, key: npt.NDArray[np.int64], seed: int) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """Number of the jittered interval that ``t`` lies in, distance to its nearest end, and that end's number."""
    near = np.round(t).astype(np.int64)
    end = near + np.float32(0.62) * (hash_uniform(seed, key, near) - np.float32(0.5))
    return np.where(t >= end, near, near - 1), np.abs(t - end).astype(np.float32), near


def parcels_of(xs: Floats, ys: Floats, seed: int, strip_scale: float = 1.0) -> Parcels:
    """Field parcels: blocks are the cells of jittered points, each cut into strips of its own direction and width.

    Args:
        xs: (W,) world x of the columns.
        ys: (H,) world y of the rows.
        seed: of the landscape.
        strip_scale: factor on the width and the length of parcels.

    Returns:
        parcels of every pixel.
    """
    sx = xs[None, :] + noise.fractal(xs, ys, WARP_WAVE_M, seed + 501, 2) * np.float32(WARP_M)
    sy = ys[:, None] + noise.fractal(xs, ys, WARP_WAVE_M, seed + 502, 2) * np.float32(WARP_M)
    bx, by, number = block_seeds((sx.min(), sy.min(), sx.max(), sy.max()), seed)
    near = _nearest_block(sx, sy, bx, by)
    lean = noise.scattered(bx, by, 3600.0, seed + 31, 2)
    turn = 0.9 * lean + 0.5 * (hash_uniform(seed + 32, number) - 0.5)
    turn = turn + np.where(hash_uniform(seed + 33, number) < 0.38, math.pi / 2, 0.0)
    cos, sin = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
    wide_m = (strip_scale * (48.0 + 130.0 * hash_uniform(seed + 34, number) ** 1.3)).astype(np.float32)
    long_m = (strip_scale * (200.0 + 320.0 * hash_uniform(seed + 35, number))).astype(np.float32)
    dx, dy = (sx - bx[near]).astype(np.float32), (sy - by[near]).astype(np.float32)
    c, s = cos[near], sin[near]
    u, v = dx * c + dy * s, dy * c - dx * s
    strip, edge, side = _cut(v / wide_m[near], number[near], seed + 36)
    lane = near.astype(np.int64) * 4_099 + strip
    piece, _, _ = _cut(u / long_m[near], number[near] * 4_099 + strip, seed + 37)
    _, first, index = np.unique(lane * 8_209 + piece, return_index=True, return_inverse=True)
    at, i, j = near.ravel()[first], strip.ravel()[first], piece.ravel()[first]
    mu, mv = (j + 0.5) * long_m[at], (i + 0.5) * wide_m[at]
    key = (number[at] * 4_099 + i) * 8_209 + j
    hedges = hash_uniform(seed + 47, number[near] * 16_411 + side) < 0.12
    index = index.reshape(near.shape).astype(np.int32)
    return Parcels(
        index=index,
        key=key,
        x=bx[at] + mu * cos[at] - mv * sin[at],
        y=by[at] + mu * sin[at] + mv * cos[at],
        edge_m=edge * wide_m[near],
        hedged=hedges,
        furrow=_streaks(v, hash_uniform(seed + 38, key)[index], seed),
    )


def _streaks(v: Array, start: Array, seed: int) -> Array:
    """Streaks of about 11 m along a field's rows, from a list of 4096 numbers entered at a parcel's own place."""
    numbers = hash_uniform(seed + 39, np.arange(4096)) * 2 - 1
    step = v * np.float32(1 / 11.0) + start * np.float32(2000.0) + np.float32(2048.0)
    i = step.astype(np.int32)
    f = step - i
    out: Array = numbers[i & 4095] * (1 - f) + numbers[(i + 1) & 4095] * f
    return out
