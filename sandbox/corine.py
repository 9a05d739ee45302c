"""CORINE Land Cover 2018 made from the truth: 100 m in EPSG:3035, level-3 codes, patches of 25 ha and more."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.features import sieve
from scipy import ndimage

from . import items
from .cog import CogWriter
from .delivery import Made
from .noise import Array
from .place import Grid, Lattice, QuadraticMap, inscribed_bounds, snapped_grid
from .spectra import VARIANTS, class_names, corine_codes
from .world import Landscape

CORINE_UNIT_CELLS = 25
"""25 ha at 100 m."""

CORINE_ERROR = 0.08
"""Share of CORINE's patches with a wrong class (published thematic accuracy is at least 85 %)."""

CORINE_MISTAKES = {
    211: (231, 242),
    231: (211, 321),
    311: (313, 324),
    312: (313,),
    313: (311, 312),
    324: (313, 231),
    112: (242, 121),
    243: (231, 211),
    411: (231, 512),
}

CORINE_NAMES = {
    112: "Discontinuous urban fabric",
    121: "Industrial or commercial units",
    122: "Road and rail networks and associated land",
    131: "Mineral extraction sites",
    211: "Non-irrigated arable land",
    231: "Pastures",
    242: "Complex cultivation patterns",
    243: "Land principally occupied by agriculture, with significant areas of natural vegetation",
    311: "Broad-leaved forest",
    312: "Coniferous forest",
    313: "Mixed forest",
    321: "Natural grassland",
    324: "Transitional woodland/shrub",
    333: "Sparsely vegetated areas",
    411: "Inland marshes",
    511: "Water courses",
    512: "Water bodies",
}

Codes = npt.NDArray[np.uint16]


def write_corine(land: Landscape, seed: int, files: Path) -> Made:
    """CLC 2018: 100 m in EPSG:3035, three-digit codes, patches of 25 ha and more."""
    bounds = inscribed_bounds(land.grid, 3035, 100.0)
    grid = snapped_grid(3035, bounds, Lattice(100.0), 100.0)
    raw = np.zeros(grid.shape_yx, dtype=np.uint16)
    for row in range(0, grid.height, 128):
        part = grid.part(row, 0, min(128, grid.height - row), grid.width)
        raw[row : row + part.height] = _dominant(_class_shares_100m(land, part))
    smooth = _majority_filter(raw)
    general = _sieved(smooth)
    mapped = _with_mistakes(general, np.random.default_rng([seed, 2018]))
    path = files / "corine-clc2018" / "clc2018_v2020_20u1" / "U2018_CLC2018_V2020_20u1.tif"
    writer = CogWriter(path, grid, "uint16", nodata=999, categorical=True)
    writer.write(mapped)
    fields = writer.close()
    classes = [{"value": c, "name": f"clc_{c}", "description": n} for c, n in CORINE_NAMES.items()]
    raster = [
        {
            "nodata": 999,
            "data_type": "uint16",
            "sampling": "area",
            "spatial_resolution": 100,
            "description": "CLC level-3 code, three digits",
        }
    ]
    place = items.proj_fields(grid) | items.crs_fields(grid)
    asset = items.cog_asset(
        path.relative_to(files).as_posix(),
        fields,
        "CORINE Land Cover 2018, level-3 codes",
        ["data"],
        **place,
        **{"raster:bands": raster, "classification:classes": classes},
    )
    properties = {
        "datetime": None,
        "start_datetime": "2017-01-01T00:00:00Z",
        "end_datetime": "2018-12-31T23:59:59Z",
        **items.crs_fields(grid),
        "gsd": 100,
        "description": "CORINE Land Cover 2018, simulated: minimum mapping unit 25 ha",
    }
    extensions = ("projection/v1.1.0", "raster/v1.1.0", "classification/v1.0.0", "file/v2.1.0")
    one = items.item(
        "clc2018_v2020_20u1", "corine-clc2018", items.footprint(grid), properties, {"clc": asset}, extensions
    )
    wrong = float((mapped != general).mean())
    found = {str(c): int(n) for c, n in zip(*np.unique(mapped, return_counts=True), strict=True)}
    truth = {
        "region": land.region.name,
        "minimum_unit_ha": 25,
        "miscoded_area": round(wrong, 5),
        "generalised_away": round(float((raw != general).mean()), 5),
        "cells": found,
        "created": datetime(2020, 6, 14, tzinfo=UTC).isoformat(),
    }
    return Made(one, truth, "labels")


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

    codes = corine_codes()[::VARIANTS]
    by_code = {
        int(c): np.asarray(sum(shares[i] for i in range(len(names)) if codes[i] == c))
        for c in set(codes[: len(names)].tolist())
        if c
    }
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
    return np.asarray(best, dtype=np.uint16)


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
    return _sieved(moved)


def _sieved(codes: Codes) -> Codes:
    """Codes in which patches under the mapping unit have gone to their largest neighbour."""
    return np.asarray(sieve(codes.astype(np.int16), size=CORINE_UNIT_CELLS, connectivity=4), dtype=np.uint16)
