"""ESA WorldCover made from the truth, with errors pinned from its published accuracy and correlated in space."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from . import items, noise
from .cog import CogWriter
from .corine import write_corine
from .delivery import Made
from .noise import Array
from .place import Bounds, Grid, Lattice, QuadraticMap, inscribed_bounds, snapped_grid
from .spectra import VARIANTS, worldcover_codes
from .world import Landscape

WORLDCOVER_STEP_DEG = 1.0 / 12000.0
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 80, 90)
"""Codes that occur in the sandbox."""

WORLDCOVER_ACCURACY = {2020: 0.744, 2021: 0.767}
"""Published overall accuracy. Source: ESA WorldCover product validation reports, v100 (74.4 %) and v200 (76.7 %)."""

WORLDCOVER_COLOURS = {
    10: ("006400", "Tree cover"),
    20: ("FFBB22", "Shrubland"),
    30: ("FFFF4C", "Grassland"),
    40: ("F096FF", "Cropland"),
    50: ("FA0000", "Built-up"),
    60: ("B4B4B4", "Bare / sparse vegetation"),
    70: ("F0F0F0", "Snow and ice"),
    80: ("0064C8", "Permanent water bodies"),
    90: ("0096A0", "Herbaceous wetland"),
    95: ("00CF75", "Mangroves"),
    100: ("FAE6A0", "Moss and lichen"),
}

CONFUSION_SHAPE: dict[int, dict[int, float]] = {
    10: {20: 0.30, 30: 0.45, 40: 0.15, 90: 0.10},
    20: {10: 0.35, 30: 0.40, 40: 0.15, 60: 0.10},
    30: {10: 0.14, 20: 0.12, 40: 0.60, 60: 0.06, 90: 0.08},
    40: {10: 0.08, 20: 0.06, 30: 0.74, 50: 0.04, 60: 0.08},
    50: {10: 0.20, 30: 0.30, 40: 0.30, 60: 0.20},
    60: {20: 0.15, 30: 0.35, 40: 0.35, 50: 0.15},
    80: {30: 0.25, 50: 0.10, 60: 0.15, 90: 0.50},
    90: {10: 0.15, 20: 0.10, 30: 0.50, 40: 0.05, 80: 0.20},
}
"""Which classes a wrong pixel of a class is given to; only the shares matter."""

CONFUSION_WEIGHT = {10: 0.75, 20: 2.1, 30: 1.35, 40: 0.95, 50: 1.0, 60: 1.5, 80: 0.35, 90: 1.9}
"""How error-prone classes are: water and trees least, shrubland and wetland most, as in both reports."""

ERROR_REACH_M = 70.0
"""Correlation length of WorldCover's errors."""


def write_land_cover(land: Landscape, seed: int, files: Path, by_look: float = 0.0) -> list[Made]:
    """Both WorldCover editions, and CORINE where the region is in Europe.

    Args:
        land: the truth.
        seed: of the errors.
        files: folder of the products.
        by_look: share of the variance of WorldCover's errors that follows from how the ground looks (`_looks`), each
            edition in its own way; the rest is by lot. Classes err as often either way.
    """
    made = []
    for year, version in ((2020, "v100"), (2021, "v200")):
        made += _worldcover(land, seed, files, year, version, by_look)
    if land.region.in_europe:
        made.append(write_corine(land, seed, files))
    return made


def majority_worldcover(land: Landscape, rows: slice, cols: slice) -> npt.NDArray[np.uint8]:
    """WorldCover code that covers most of each 10 m (2 x 2 cells of the truth)."""
    codes = worldcover_codes()[np.asarray(land.stratum[rows, cols])]
    height, width = codes.shape[0] // 2 * 2, codes.shape[1] // 2 * 2
    four = codes[:height, :width].reshape(height // 2, 2, width // 2, 2)
    best, count = (
        np.zeros((height // 2, width // 2), dtype=np.uint8),
        np.zeros((height // 2, width // 2), dtype=np.uint8),
    )
    for code in WORLDCOVER_CODES:
        here = (four == code).sum(axis=(1, 3), dtype=np.uint8)
        best, count = np.where(here > count, code, best).astype(np.uint8), np.maximum(here, count)
    return best


def confusion_matrix(shares: npt.NDArray[np.float64], accuracy: float) -> npt.NDArray[np.float64]:
    """Rows: true, columns: mapped; its diagonal weighted with ``shares`` sums to ``accuracy``.

    Args:
        shares: (8,) area of each class of :data:`WORLDCOVER_CODES`, summing to 1.
        accuracy: wanted overall accuracy.
    """
    weight = np.array([CONFUSION_WEIGHT[c] for c in WORLDCOVER_CODES])
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        error = np.clip(weight * middle, 0, 0.6)
        low, high = (middle, high) if shares @ error < 1 - accuracy else (low, middle)
    error = np.clip(weight * low, 0, 0.6)
    matrix = np.diag(1 - error)
    for i, code in enumerate(WORLDCOVER_CODES):
        row = CONFUSION_SHAPE[code]
        for other, share in row.items():
            matrix[i, WORLDCOVER_CODES.index(other)] += error[i] * share / sum(row.values())
    return matrix


def confused(
    truth: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], luck: Array, choice: Array
) -> npt.NDArray[np.uint8]:
    """Mapped codes of true codes.

    Args:
        truth: (H, W) codes.
        matrix: of :func:`confusion_matrix`.
        luck: (H, W) uniform numbers that decide where there is an error; their correlation is that of the errors.
        choice: (H, W) uniform numbers that decide which class is mapped instead.
    """
    out = truth.copy()
    codes = np.array(WORLDCOVER_CODES, dtype=np.uint8)
    for i, code in enumerate(WORLDCOVER_CODES):
        wrong = (truth == code) & (luck > matrix[i, i])
        if not wrong.any():
            continue
        others = np.delete(matrix[i], i)
        edges = np.cumsum(others / others.sum())
        pick = np.minimum(np.searchsorted(edges, choice[wrong], side="right"), len(others) - 1)
        out[wrong] = np.delete(codes, i)[pick]
    return out


def _worldcover(land: Landscape, seed: int, files: Path, year: int, version: str, by_look: float) -> list[Made]:
    """One edition: a COG for each 3 x 3 degree tile that the region lies in, cut to the region."""
    bounds = inscribed_bounds(land.grid, 4326, 0.0)
    out = []
    for tile_west in range(math.floor(bounds[0] / 3) * 3, math.ceil(bounds[2] / 3) * 3, 3):
        for tile_south in range(math.floor(bounds[1] / 3) * 3, math.ceil(bounds[3] / 3) * 3, 3):
            box = (
                max(bounds[0], tile_west),
                max(bounds[1], tile_south),
                min(bounds[2], tile_west + 3),
                min(bounds[3], tile_south + 3),
            )
            tile = _tile_name(tile_west, tile_south)
            out.append(_worldcover_tile(land, seed, files, year, version, box, tile, by_look))
    return out


def _rgba(hexadecimal: str) -> tuple[int, int, int, int]:
    """An opaque colour of six hexadecimal digits."""
    red, green, blue = bytes.fromhex(hexadecimal)
    return (red, green, blue, 255)


def _tile_name(west: int, south: int) -> str:
    return f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"


def _worldcover_tile(
    land: Landscape, seed: int, files: Path, year: int, version: str, box: Bounds, tile: str, by_look: float
) -> Made:
    step = WORLDCOVER_STEP_DEG
    shrunk = (
        math.ceil(box[0] / step - 1e-6) * step,
        math.ceil(box[1] / step - 1e-6) * step,
        math.floor(box[2] / step + 1e-6) * step,
        math.floor(box[3] / step + 1e-6) * step,
    )
    grid = snapped_grid(4326, shrunk, Lattice(step), step)
    item_id = f"ESA_WorldCover_10m_{year}_{version}_{tile}"
    path = files / "esa-worldcover" / item_id / f"{item_id}_Map.tif"
    colours = {c: _rgba(h) for c, (h, _) in WORLDCOVER_COLOURS.items()}
    writer = CogWriter(
        path,
        grid,
        "uint8",
        nodata=0,
        categorical=True,
        colours=colours,
        tags={"legend": ", ".join(f"{c} {n}" for c, (_, n) in WORLDCOVER_COLOURS.items())},
    )
    shares = class_shares(land)
    matrix = confusion_matrix(shares, WORLDCOVER_ACCURACY[year])
    seen = np.zeros((len(WORLDCOVER_CODES), len(WORLDCOVER_CODES)), dtype=np.int64)
    metres = (np.cos(math.radians((box[1] + box[3]) / 2)) * 111_320.0, 111_150.0)
    for row in range(0, grid.height, 1024):
        block = grid.part(row, 0, min(1024, grid.height - row), grid.width)
        cells = _cells_of(land, block)
        true = _true_on(land, *cells)
        looks = _stratum_on(land, *cells) if by_look else None
        draws = []
        for number in (seed * 101 + year, seed * 101 + year + 50):
            field = _field(block, metres, number)
            draws.append(_luck(field) if looks is None else luck_by_look(field, true, looks, by_look, number))
        mapped = confused(true, matrix, *draws)
        codes = np.array(WORLDCOVER_CODES)
        np.add.at(seen, (np.searchsorted(codes, true.ravel()), np.searchsorted(codes, mapped.ravel())), 1)
        writer.write(mapped, row=row)
    fields = writer.close()
    classes = [{"value": c, "color-hint": h, "description": n} for c, (h, n) in WORLDCOVER_COLOURS.items()]
    place = {"proj:shape": list(grid.shape_yx), "proj:transform": grid.transform, "proj:code": "EPSG:4326"}
    raster = [
        {
            "name": "Band1",
            "nodata": 0,
            "sampling": "area",
            "data_type": "uint8",
            "description": "Classification values",
            "spatial_resolution": 10,
        }
    ]
    asset = items.cog_asset(
        path.relative_to(files).as_posix(),
        fields,
        "Land Cover Classes",
        ["data"],
        **place,
        **{"raster:bands": raster, "classification:classes": classes},
    )
    properties = {
        "created": f"{year + 1}-10-24T12:37:50.971960Z",
        "mission": "sentinel-1, sentinel-2",
        "datetime": None,
        "platform": "sentinel-1a, sentinel-1b, sentinel-2a, sentinel-2b",
        "grid:code": f"ESAWORLDCOVER-{tile}",
        **items.crs_fields(grid),
        "description": "ESA WorldCover product at 10m resolution",
        "instruments": ["c-sar", "msi"],
        "start_datetime": f"{year}-01-01T00:00:00Z",
        "end_datetime": f"{year}-12-31T23:59:59Z",
        "esa_worldcover:product_tile": tile,
        "esa_worldcover:product_version": f"{version[1]}.0.0",
    }
    extensions = ("projection/v1.1.0", "grid/v1.1.0", "raster/v1.1.0", "classification/v1.0.0", "file/v2.1.0")
    one = items.item(item_id, "esa-worldcover", items.footprint(grid), properties, {"map": asset}, extensions)
    truth = {
        "region": land.region.name,
        "codes": list(WORLDCOVER_CODES),
        "confusion": np.round(matrix, 6).tolist(),
        "counts": seen.tolist(),
        "accuracy_pinned": WORLDCOVER_ACCURACY[year],
        "accuracy": round(float(np.trace(seen) / seen.sum()), 5),
        "correlation_m": ERROR_REACH_M,
        "by_look": by_look,
    }
    return Made(one, truth, "labels")


def class_shares(land: Landscape) -> npt.NDArray[np.float64]:
    """(8,) share of each WorldCover class in the truth's cells."""
    counts = np.zeros(256, dtype=np.int64)
    for row in range(0, land.grid.height, 2048):
        counts += np.bincount(np.asarray(land.stratum[row : row + 2048]).ravel(), minlength=256)
    codes = worldcover_codes()
    held = np.array([counts[codes == c].sum() for c in WORLDCOVER_CODES], dtype=np.float64)
    return np.asarray(held / held.sum())


def _cells_of(land: Landscape, block: Grid) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row and column of the truth's 10 m (2 x 2 of its cells) at the pixels of a block in degrees."""
    x, y = QuadraticMap.between(block, land.grid.epsg).on_grid(block)
    rows, cols = ((land.grid.top - y) / 10.0).astype(np.int64), ((x - land.grid.left) / 10.0).astype(np.int64)
    return np.clip(rows, 0, land.grid.height // 2 - 1), np.clip(cols, 0, land.grid.width // 2 - 1)


def _true_on(land: Landscape, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Code of the truth's 10 m majority."""
    first, last = int(rows.min()), int(rows.max()) + 1
    codes = majority_worldcover(land, slice(first * 2, last * 2), slice(None))
    return codes[rows - first, cols]


def _stratum_on(land: Landscape, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Stratum of one of the four cells."""
    first = int(rows.min())
    return np.asarray(land.stratum[first * 2 : int(rows.max()) * 2 + 2])[(rows - first) * 2, cols * 2]


def _field(block: Grid, metres: tuple[float, float], seed: int) -> Array:
    """Numbers of unit variance, correlated over :data:`ERROR_REACH_M`."""
    xs, ys = block.xs() * metres[0], block.ys() * metres[1]
    return 0.8 * noise.plane(xs, ys, ERROR_REACH_M, seed) + 0.6 * noise.plane(xs, ys, ERROR_REACH_M / 3, seed + 1)


def _looks(seed: int) -> npt.NDArray[np.float64]:
    """(256,) normal score of each stratum: of a class's eight variants, which differ in season and in radar, some are
    taken for another class more often than others, by lot of the map.
    """
    order = noise.hash_uniform(seed, np.arange(256)).reshape(-1, VARIANTS).argsort(axis=1).argsort(axis=1)
    scores = special.ndtri((order + 0.5) / VARIANTS)
    return np.asarray(scores / scores.std()).ravel()


def luck_by_look(
    field: Array, true: npt.NDArray[np.uint8], stratum: npt.NDArray[Any], share: float, seed: int
) -> Array:
    """Uniform numbers within each class, ``share`` of whose variance follows from the stratum."""
    mixed = (1 - share) ** 0.5 * field + share**0.5 * _looks(seed)[stratum]
    out = np.empty(field.shape, np.float32)
    for code in np.unique(true):
        out[true == code] = _luck(mixed[true == code])
    return out


def _luck(field: Array) -> Array:
    """Numbers that are uniform in distribution: ranks within a sample of the field."""
    sample = np.sort(field.ravel()[:: max(1, field.size // 40_000)])
    return np.interp(field, sample, np.linspace(0, 1, sample.size)).astype(np.float32)
