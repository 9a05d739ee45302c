"""Land-cover products made from the truth: ESA WorldCover with pinned, correlated errors, and CORINE at its mapping unit."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.features import sieve
from scipy import ndimage

from . import items, noise
from .cog import CogWriter
from .deliver import Made
from .noise import Array
from .place import Bounds, Grid, Lattice, QuadraticMap, outline_in, project, snapped_grid
from .spectra import VARIANTS, class_names, corine_codes, worldcover_codes
from .world import Landscape

WORLDCOVER_STEP_DEG = 1.0 / 12000.0
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 80, 90)
"""Codes that occur in the sandbox."""

WORLDCOVER_ACCURACY = {2020: 0.744, 2021: 0.767}
"""Published overall accuracy. Source: ESA WorldCover product validation reports, v100 (74.4 %) and v200 (76.7 %)."""

WORLDCOVER_COLOURS = {
    10: ("006400", "Tree cover"), 20: ("FFBB22", "Shrubland"), 30: ("FFFF4C", "Grassland"), 40: ("F096FF", "Cropland"),
    50: ("FA0000", "Built-up"), 60: ("B4B4B4", "Bare / sparse vegetation"), 70: ("F0F0F0", "Snow and ice"),
    80: ("0064C8", "Permanent water bodies"), 90: ("0096A0", "Herbaceous wetland"), 95: ("00CF75", "Mangroves"),
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
"""How error-prone classes are against each other: water and trees least, shrubland and wetland most, as in both reports."""

ERROR_REACH_M = 70.0
"""Correlation length of WorldCover's errors."""

CORINE_UNIT_CELLS = 25
"""25 ha at 100 m."""

CORINE_ERROR = 0.08
"""Share of CORINE's patches with a wrong class (published thematic accuracy is at least 85 %)."""

CORINE_MISTAKES = {211: (231, 242), 231: (211, 321), 311: (313, 324), 312: (313,), 313: (311, 312), 324: (313, 231), 112: (242, 121), 243: (231, 211), 411: (231, 512)}

CORINE_NAMES = {
    112: "Discontinuous urban fabric", 121: "Industrial or commercial units", 122: "Road and rail networks and associated land",
    131: "Mineral extraction sites", 211: "Non-irrigated arable land", 231: "Pastures", 242: "Complex cultivation patterns",
    243: "Land principally occupied by agriculture, with significant areas of natural vegetation", 311: "Broad-leaved forest",
    312: "Coniferous forest", 313: "Mixed forest", 321: "Natural grassland", 324: "Transitional woodland/shrub", 333: "Sparsely vegetated areas",
    411: "Inland marshes", 511: "Water courses", 512: "Water bodies",
}

Codes = npt.NDArray[np.uint16]


def write_land_cover(land: Landscape, seed: int, files: Path) -> list[Made]:
    """Both WorldCover editions, and CORINE where the region is in Europe."""
    made = []
    for year, version in ((2020, "v100"), (2021, "v200")):
        made += _worldcover(land, seed, files, year, version)
    if not land.region.southern:
        made.append(_corine(land, seed, files))
    return made


def majority_worldcover(land: Landscape, rows: slice, cols: slice) -> npt.NDArray[np.uint8]:
    """WorldCover code that covers most of each 10 m (2 x 2 cells of the truth)."""
    codes = worldcover_codes()[np.asarray(land.stratum[rows, cols])]
    height, width = codes.shape[0] // 2 * 2, codes.shape[1] // 2 * 2
    four = codes[:height, :width].reshape(height // 2, 2, width // 2, 2)
    best, count = np.zeros((height // 2, width // 2), dtype=np.uint8), np.zeros((height // 2, width // 2), dtype=np.uint8)
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


def confused(truth: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64], luck: Array) -> npt.NDArray[np.uint8]:
    """Mapped codes of true codes.

    Args:
        truth: (H, W) codes.
        matrix: of :func:`confusion_matrix`.
        luck: (H, W) uniform numbers; their correlation is that of the errors.
    """
    out = truth.copy()
    for i, code in enumerate(WORLDCOVER_CODES):
        here = truth == code
        if not here.any():
            continue
        order = [i] + [j for j in range(len(WORLDCOVER_CODES)) if j != i]
        edges = np.cumsum(matrix[i, order])
        pick = np.minimum(np.searchsorted(edges, luck[here], side="right"), len(order) - 1)
        out[here] = np.array(WORLDCOVER_CODES, dtype=np.uint8)[np.array(order)[pick]]
    return out


def _worldcover(land: Landscape, seed: int, files: Path, year: int, version: str) -> list[Made]:
    """One edition: a COG for each 3 x 3 degree tile that the region lies in, cut to the region."""
    lon, lat = outline_in(land.grid.bounds_xyxy, land.grid.epsg, 4326)
    inset = 4 * WORLDCOVER_STEP_DEG
    west, east = lon[lon < lon.mean()].max() + inset, lon[lon > lon.mean()].min() - inset
    bounds = (float(min(np.median(lon[:9]), west)), float(lat.min()), float(east), float(lat.max()))
    bounds = _inscribed(land.grid)
    out = []
    for tile_west in range(math.floor(bounds[0] / 3) * 3, math.ceil(bounds[2] / 3) * 3, 3):
        for tile_south in range(math.floor(bounds[1] / 3) * 3, math.ceil(bounds[3] / 3) * 3, 3):
            box = (max(bounds[0], tile_west), max(bounds[1], tile_south), min(bounds[2], tile_west + 3), min(bounds[3], tile_south + 3))
            out.append(_worldcover_tile(land, seed, files, year, version, box, _tile_name(tile_west, tile_south)))
    return out


def _inscribed(grid: Grid) -> Bounds:
    """A longitude/latitude box inside a UTM grid."""
    x0, y0, x1, y1 = grid.bounds_xyxy
    steps = np.linspace(0, 1, 9)
    west = project(grid.epsg, 4326, np.full(9, x0), y0 + (y1 - y0) * steps)[0].max()
    east = project(grid.epsg, 4326, np.full(9, x1), y0 + (y1 - y0) * steps)[0].min()
    south = project(grid.epsg, 4326, x0 + (x1 - x0) * steps, np.full(9, y0))[1].max()
    north = project(grid.epsg, 4326, x0 + (x1 - x0) * steps, np.full(9, y1))[1].min()
    return (float(west), float(south), float(east), float(north))


def _tile_name(west: int, south: int) -> str:
    return f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"


def _worldcover_tile(
    land: Landscape, seed: int, files: Path, year: int, version: str, box: Bounds, tile: str
) -> Made:
    step = WORLDCOVER_STEP_DEG
    shrunk = (math.ceil(box[0] / step - 1e-6) * step, math.ceil(box[1] / step - 1e-6) * step, math.floor(box[2] / step + 1e-6) * step, math.floor(box[3] / step + 1e-6) * step)
    grid = snapped_grid(4326, shrunk, Lattice(step), step)
    item_id = f"ESA_WorldCover_10m_{year}_{version}_{tile}"
    path = files / "esa-worldcover" / item_id / f"{item_id}_Map.tif"
    colours = {c: (*(int(h[i : i + 2], 16) for i in (0, 2, 4)), 255) for c, (h, _) in WORLDCOVER_COLOURS.items()}
    writer = CogWriter(path, grid, "uint8", nodata=0, categorical=True, colours=colours, tags={"legend": ", ".join(f"{c} {n}" for c, (_, n) in WORLDCOVER_COLOURS.items())})  # type: ignore[arg-type]
    shares = class_shares(land)
    matrix = confusion_matrix(shares, WORLDCOVER_ACCURACY[year])
    seen = np.zeros((len(WORLDCOVER_CODES), len(WORLDCOVER_CODES)), dtype=np.int64)
    metres = (np.cos(math.radians((box[1] + box[3]) / 2)) * 111_320.0, 111_150.0)
    for row in range(0, grid.height, 1024):
        block = grid.part(row, 0, min(1024, grid.height - row), grid.width)
        true = _true_on(land, block)
        mapped = confused(true, matrix, _luck(block, metres, seed * 101 + year))
        codes = np.array(WORLDCOVER_CODES)
        np.add.at(seen, (np.searchsorted(codes, true.ravel()), np.searchsorted(codes, mapped.ravel())), 1)
        writer.write(mapped, row=row)
    fields = writer.close()
    classes = [{"value": c, "color-hint": h, "description": n} for c, (h, n) in WORLDCOVER_COLOURS.items()]
    place = {"proj:shape": list(grid.shape_yx), "proj:transform": grid.transform, "proj:code": "EPSG:4326"}
    raster = [{"name": "Band1", "nodata": 0, "sampling": "area", "data_type": "uint8", "description": "Classification values", "spatial_resolution": 10}]
    asset = items.cog_asset(
        path.relative_to(files).as_posix(), fields, "Land Cover Classes", ["data"], **place,
        **{"raster:bands": raster, "classification:classes": classes},
    )
    properties = {
        "created": f"{year + 1}-10-24T12:37:50.971960Z", "mission": "sentinel-1, sentinel-2", "datetime": None,
        "platform": "sentinel-1a, sentinel-1b, sentinel-2a, sentinel-2b", "grid:code": f"ESAWORLDCOVER-{tile}", **items.crs_fields(grid),
        "description": "ESA WorldCover product at 10m resolution", "instruments": ["c-sar", "msi"],
        "start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T23:59:59Z",
        "esa_worldcover:product_tile": tile, "esa_worldcover:product_version": f"{version[1]}.0.0",
    }
    extensions = ("projection/v1.1.0", "grid/v1.1.0", "raster/v1.1.0", "classification/v1.0.0", "file/v2.1.0")
    one = items.item(item_id, "esa-worldcover", items.footprint(grid), properties, {"map": asset}, extensions)
    truth = {
        "region": land.region.name, "codes": list(WORLDCOVER_CODES), "confusion": np.round(matrix, 6).tolist(), "counts": seen.tolist(),
        "accuracy_pinned": WORLDCOVER_ACCURACY[year], "accuracy": round(float(np.trace(seen) / seen.sum()), 5), "correlation_m": ERROR_REACH_M,
    }
    return Made(one, truth, "labels")


def class_shares(land: Landscape) -> npt.NDArray[np.float64]:
    """(8,) share of each WorldCover class in the truth's cells."""
    counts = np.zeros(256, dtype=np.int64)
    for row in range(0, land.grid.height, 2048):
        counts += np.bincount(np.asarray(land.stratum[row : row + 2048]).ravel(), minlength=256)
    codes = worldcover_codes()
    held = np.array([counts[codes == c].sum() for c in WORLDCOVER_CODES], dtype=np.float64)
    return held / held.sum()


def _true_on(land: Landscape, block: Grid) -> npt.NDArray[np.uint8]:
    """Code of the truth's 10 m majority at the pixels of a block in degrees."""
    x, y = QuadraticMap.between(block, land.grid.epsg).on_grid(block)
    rows, cols = ((land.grid.top - y) / 10.0).astype(np.int64), ((x - land.grid.left) / 10.0).astype(np.int64)
    rows, cols = np.clip(rows, 0, land.grid.height // 2 - 1), np.clip(cols, 0, land.grid.width // 2 - 1)
    first, last = int(rows.min()), int(rows.max()) + 1
    codes = majority_worldcover(land, slice(first * 2, last * 2), slice(None))
    return codes[rows - first, cols]


def _luck(block: Grid, metres: tuple[float, float], seed: int) -> Array:
    """Uniform numbers, correlated over :data:`ERROR_REACH_M`, exactly uniform in distribution."""
    xs, ys = block.xs() * metres[0], block.ys() * metres[1]
    field = 0.8 * noise.plane(xs, ys, ERROR_REACH_M, seed) + 0.6 * noise.plane(xs, ys, ERROR_REACH_M / 3, seed + 1)
    ranks = np.argsort(np.argsort(field.ravel(), kind="stable"), kind="stable")
    return ((ranks + 0.5) / field.size).reshape(field.shape).astype(np.float32)


def _corine(land: Landscape, seed: int, files: Path) -> Made:
    """CLC 2018: 100 m in EPSG:3035, three-digit codes, patches of 25 ha and more."""
    bounds = _inscribed_in(land.grid, 3035)
    grid = snapped_grid(3035, bounds, Lattice(100.0), 100.0)
    raw = np.zeros(grid.shape_yx, dtype=np.uint16)
    for row in range(0, grid.height, 128):
        part = grid.part(row, 0, min(128, grid.height - row), grid.width)
        raw[row : row + part.height] = _dominant(_class_shares_100m(land, part))
    smooth = _majority_filter(raw)
    general = sieve(smooth.astype(np.int16), size=CORINE_UNIT_CELLS, connectivity=4).astype(np.uint16)
    mapped = _with_mistakes(general, np.random.default_rng([seed, 2018]))
    path = files / "corine-clc2018" / "clc2018_v2020_20u1" / "U2018_CLC2018_V2020_20u1.tif"
    writer = CogWriter(path, grid, "uint16", nodata=999, categorical=True)
    writer.write(mapped)
    fields = writer.close()
    classes = [{"value": c, "name": f"clc_{c}", "description": n} for c, n in CORINE_NAMES.items()]
    raster = [{"nodata": 999, "data_type": "uint16", "sampling": "area", "spatial_resolution": 100, "description": "CLC level-3 code, three digits"}]
    place = items.proj_fields(grid) | items.crs_fields(grid)
    asset = items.cog_asset(
        path.relative_to(files).as_posix(), fields, "CORINE Land Cover 2018, level-3 codes", ["data"], **place,
        **{"raster:bands": raster, "classification:classes": classes},
    )
    properties = {
        "datetime": None, "start_datetime": "2017-01-01T00:00:00Z", "end_datetime": "2018-12-31T23:59:59Z", **items.crs_fields(grid),
        "gsd": 100, "description": "CORINE Land Cover 2018, simulated: minimum mapping unit 25 ha",
    }
    extensions = ("projection/v1.1.0", "raster/v1.1.0", "classification/v1.0.0", "file/v2.1.0")
    one = items.item("clc2018_v2020_20u1", "corine-clc2018", items.footprint(grid), properties, {"clc": asset}, extensions)
    wrong = float((mapped != general).mean())
    found = {str(c): int(n) for c, n in zip(*np.unique(mapped, return_counts=True), strict=True)}
    truth = {"region": land.region.name, "minimum_unit_ha": 25, "miscoded_area": round(wrong, 5), "generalised_away": round(float((raw != general).mean()), 5), "cells": found, "created": datetime(2020, 6, 14, tzinfo=UTC).isoformat()}
    return Made(one, truth, "labels")


def _inscribed_in(grid: Grid, epsg: int) -> Bounds:
    """A box of another CRS inside a grid (its sides are nearly parallel to the grid's)."""
    x0, y0, x1, y1 = grid.bounds_xyxy
    steps = np.linspace(0, 1, 9)
    west = project(grid.epsg, epsg, np.full(9, x0), y0 + (y1 - y0) * steps)[0].max()
    east = project(grid.epsg, epsg, np.full(9, x1), y0 + (y1 - y0) * steps)[0].min()
    south = project(grid.epsg, epsg, x0 + (x1 - x0) * steps, np.full(9, y0))[1].max()
    north = project(grid.epsg, epsg, x0 + (x1 - x0) * steps, np.full(9, y1))[1].min()
    inward = 100.0
    return (float(west) + inward, float(south) + inward, float(east) - inward, float(north) - inward)


def _class_shares_100m(land: Landscape, part: Grid) -> Array:
    """(classes, H, W) share of each ground class in 100 m cells, from 8 x 8 samples."""
    fine = part.at_gsd(12.5)
    x, y = QuadraticMap.between(fine, land.grid.epsg).on_grid(fine)
    rows = np.clip(((land.grid.top - y) / land.grid.gsd).astype(np.int64), 0, land.grid.height - 1)
    cols = np.clip(((x - land.grid.left) / land.grid.gsd).astype(np.int64), 0, land.grid.width - 1)
    kinds = np.asarray(land.stratum)[rows, cols] // VARIANTS
    blocks = kinds.reshape(part.height, 8, part.width, 8)
    return np.stack([(blocks == i).mean(axis=(1, 3), dtype=np.float32) for i in range(len(class_names()))])


def _dominant(shares: Array) -> Codes:
    """(H, W) CORINE class of cells, by the nomenclature's rules for mixtures.

    Source: Kosztra et al. 2017, Updated CLC illustrated nomenclature guidelines (EEA).
    """
    names = list(class_names())

    def of(*chosen: str) -> Array:
        return np.asarray(sum(shares[names.index(n)] for n in chosen), dtype=np.float32)

    codes = corine_codes()[:: VARIANTS]
    by_code = {int(c): np.asarray(sum(shares[i] for i in range(len(names)) if codes[i] == c)) for c in set(codes[: len(names)].tolist()) if c}
    for quiet in (122, 511):
        by_code.pop(quiet, None)
    keys = sorted(by_code)
    best = np.array(keys, dtype=np.uint16)[np.argmax(np.stack([by_code[k] for k in keys]), axis=0)]
    arable = of("wheat", "barley", "rape", "maize", "beet", "clover")
    grass, wood = of("meadow"), of("broadleaf", "conifer", "mixed_forest", "trees", "shrub")
    best[(arable > 0.3) & (grass > 0.3) & (wood < 0.15)] = 242
    best[(arable + grass > 0.35) & (wood > 0.3) & (wood < 0.6)] = 243
    best[of("roof_tile", "roof_dark", "lawn", "yard", "road") > 0.32] = 112
    best[of("roof_metal", "yard") > 0.5] = 121
    best[of("river") > 0.6] = 511
    best[(best == 324) & (of("shrub") < 0.3)] = 313
    return best


def _majority_filter(codes: Codes) -> Codes:
    """Most frequent code in 3 x 3 cells; built-up and water hold their ground with a third."""
    out, count = codes.copy(), np.zeros(codes.shape, dtype=np.float32)
    for code in np.unique(codes):
        favour = 1.5 if code in (112, 121, 512, 131) else 1.0
        here = ndimage.uniform_filter((codes == code).astype(np.float32), 3, mode="nearest") * favour
        out, count = np.where(here > count + 1e-6, code, out).astype(np.uint16), np.maximum(here, count)
    return out


def _with_mistakes(codes: Codes, rng: np.random.Generator) -> Codes:
    """Some patches with a wrong code, and borders that wander by up to a cell."""
    out = codes.copy()
    for code in np.unique(codes):
        patches, count = ndimage.label(codes == code)
        for number in range(1, count + 1):
            if int(code) in CORINE_MISTAKES and rng.random() < CORINE_ERROR:
                out[patches == number] = int(rng.choice(CORINE_MISTAKES[int(code)]))
    rows, cols = np.indices(codes.shape)
    step = rng.random(codes.shape) < 0.06
    rows = np.clip(rows + step * rng.integers(-1, 2, codes.shape), 0, codes.shape[0] - 1)
    cols = np.clip(cols + step * rng.integers(-1, 2, codes.shape), 0, codes.shape[1] - 1)
    moved: Codes = out[rows, cols]
    return sieve(moved.astype(np.int16), size=CORINE_UNIT_CELLS, connectivity=4).astype(np.uint16)


def code_counts(values: npt.NDArray[Any]) -> dict[int, int]:
    """How often each value occurs."""
    found, counts = np.unique(values, return_counts=True)
    return {int(v): int(n) for v, n in zip(found, counts, strict=True)}
