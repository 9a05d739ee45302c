"""The landscape: what covers each 5 m of the simulated regions, drawn from a seed and nothing else."""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine
from scipy import ndimage

from . import noise, settlement, terrain
from .noise import Array, hash_uniform
from .place import SIZES_KM, TRUTH_GSD_M, Grid, Region, project, truth_grid
from .settlement import Feature
from .spectra import VARIANTS, class_index, table
from .threads import drawing_threads

log = logging.getLogger(__name__)

sizes: tuple[str, ...] = tuple(SIZES_KM)
"""Named sizes; any ``WxH`` in kilometres is a size too."""

BLOCK_PX = 1280
"""Side of a block of work."""

MARGIN_PX = 72
"""What a block looks at beyond its edge: 360 m, for distances to water."""

CROPS_NORTH = (
    ("wheat", 0.30),
    ("maize", 0.24),
    ("barley", 0.13),
    ("rape", 0.13),
    ("beet", 0.06),
    ("clover", 0.08),
    ("meadow", 0.06),
)
CROPS_SOUTH = (("vineyard", 0.40), ("wheat", 0.22), ("clover", 0.08), ("orchard", 0.12), ("veld", 0.13), ("bare", 0.05))

Strata = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """The truth of one region on its 5 m grid."""

    region: Region
    """Which region."""
    grid: Grid
    """Georeference of the arrays."""
    stratum: Strata
    """(H, W) class x 8 + variant."""
    vigour: Strata
    """(H, W) 0..255: how well things grow within their parcel."""
    tone: Strata
    """(H, W) brightness x 128."""
    features: tuple[Feature, ...]
    """Vectors that were painted into it; empty when read back."""

    def classes(self) -> Strata:
        """(H, W) index of the ground class."""
        return self.stratum // VARIANTS


def features_of(region: Region, seed: int) -> tuple[Feature, ...]:
    """All vectors of a region's landscape, in the order in which they are painted."""
    rng = np.random.default_rng([seed, zlib.crc32(region.name.encode())])
    bounds = truth_grid(region).bounds_xyxy
    cx, cy = (float(v) for v in project(4326, region.truth_epsg, *region.centre_lonlat))
    rivers = terrain.rivers_of(bounds, region.southern, rng)
    water = shapely.union_all([f.geometry.buffer(f.width_m / 2 + 12) for f in rivers if f.kind == "river"])
    anchor = _dry_spot(cx - 620.0, cy + 380.0, water)
    villages = settlement.place_villages(bounds, anchor, region.southern, rng)
    roads = settlement.link_villages(villages, rng)
    if not region.southern:
        roads += settlement.motorway_through(bounds, rng)
    frame = shapely.box(*bounds).buffer(700)
    roads_at = settlement.Near(roads)
    inside = [v for v in villages if frame.contains(shapely.Point(v.x, v.y))]
    here = [settlement.leaning(v, roads_at.to(v.outline())) for v in inside]
    streets = [street for v in here for street in settlement.village_streets(v, roads_at.to(v.outline()), rng)]
    ways = [f.geometry.buffer(f.width_m / 2 + 2.5, quad_segs=2) for f in roads + streets]
    taken = settlement.Taken([*ways, water])
    houses: list[Feature] = []
    paved = [f for f in roads + streets if f.tags["highway"] != "motorway"]
    paved_at = settlement.Near(paved)
    for village in here:
        disc = village.outline(1.2)
        near = paved_at.to(disc)
        houses += settlement.buildings_along(village, near, taken, region.southern, rng)
        houses += settlement.works_beside(village, roads_at.to(village.outline()), taken, rng)
    towns = [v.outline().buffer(60) for v in here]
    taken.add(*towns)
    farms = settlement.farmsteads(bounds, roads, taken, region.southern, rng)
    lakes = terrain.lakes_of(bounds, taken, region.southern, rng)
    taken.add(*(f.geometry.buffer(40) for f in lakes))
    pits = terrain.quarry_of(bounds, taken, rng)
    blocked = [f.geometry for f in lakes + pits] + [*getattr(water, "geoms", [water]), *towns]
    blocked_at = shapely.STRtree(blocked)
    tracks = []
    for track in terrain.field_tracks(bounds, seed):
        path = track.geometry
        for i in sorted(blocked_at.query(path, predicate="intersects")):
            path = path.difference(blocked[i])
        parts = [path] if path.geom_type == "LineString" else list(getattr(path, "geoms", []))
        tracks += [Feature("track", p, "track", track.width_m, track.tags) for p in parts if p.length > 40]
    yards = [f for f in houses + farms if f.kind == "yard"]
    roofs = [f for f in houses + farms if f.kind == "building"]
    lanes = [f for f in farms if f.kind == "track"]
    return tuple(rivers + lakes + pits + tracks + lanes + yards + roads + streets + roofs)


def _dry_spot(x: float, y: float, water: shapely.Geometry) -> tuple[float, float]:
    """The nearest of a few places northwards that is not in the river's bed."""
    for step in range(12):
        if water.distance(shapely.Point(x, y + 60.0 * step)) > 150:
            return x, y + 60.0 * step
    return x, y


def build_landscape(region: Region, seed: int, folder: Path, workers: int = 2) -> Landscape:
    """Draws a region's landscape into three arrays on disk, block by block.

    Args:
        region: what to draw.
        seed: of everything.
        folder: receives ``<region>_{stratum,vigour,tone}.npy``.
        workers: threads.

    Returns:
        the landscape, its arrays mapped from disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = truth_grid(region)
    features = features_of(region, seed)
    names = ("stratum", "vigour", "tone")
    layers = [
        np.lib.format.open_memmap(folder / f"{region.name}_{n}.npy", mode="w+", dtype=np.uint8, shape=grid.shape_yx)
        for n in names
    ]
    tree = shapely.STRtree([f.geometry for f in features])
    rows = [(r, min(BLOCK_PX, grid.height - r)) for r in range(0, grid.height, BLOCK_PX)]
    cols = [(c, min(BLOCK_PX, grid.width - c)) for c in range(0, grid.width, BLOCK_PX)]

    def paint(job: tuple[int, int, int, int]) -> None:
        row, height, col, width = job
        block = grid.part(row, col, height, width)
        for layer, values in zip(layers, _paint_block(region, block, features, tree, seed), strict=True):
            layer[row : row + height, col : col + width] = values

    with drawing_threads(workers) as pool:
        list(pool.map(paint, [(r, h, c, w) for r, h in rows for c, w in cols]))
    for layer in layers:
        layer.flush()
    log.info(
        "landscape %s: %d x %d at %g m, %d vectors", region.name, grid.width, grid.height, TRUTH_GSD_M, len(features)
    )
    return Landscape(region, grid, layers[0], layers[1], layers[2], features)


def open_landscape(region: Region, folder: Path) -> Landscape:
    """The landscape that :func:`build_landscape` left in ``folder``, without its vectors."""
    arrays = [np.load(folder / f"{region.name}_{n}.npy", mmap_mode="r") for n in ("stratum", "vigour", "tone")]
    return Landscape(region, truth_grid(region), arrays[0], arrays[1], arrays[2], ())


def _burn(features: list[Feature], grid: Grid, values: list[int]) -> npt.NDArray[np.int16]:
    """(H, W) the value of the last feature that covers a pixel's centre, -1 for none."""
    if not features:
        return np.full(grid.shape_yx, -1, dtype=np.int16)
    shapes = [
        (f.geometry.buffer(f.width_m / 2, cap_style="flat") if f.width_m else f.geometry, v)
        for f, v in zip(features, values, strict=True)
    ]
    transform = Affine(*grid.transform)
    burnt: npt.NDArray[np.int16] = rasterize(shapes, grid.shape_yx, fill=-1, transform=transform, dtype="int16")
    return burnt


def _distance(mask: npt.NDArray[np.bool_]) -> Array:
    """(H, W) metres to the nearest True; 999 everywhere when there is none."""
    if not mask.any():
        return np.full(mask.shape, 999.0, dtype=np.float32)
    out: Array = (ndimage.distance_transform_edt(~mask) * TRUTH_GSD_M).astype(np.float32)
    return out


def _paint_block(
    region: Region, block: Grid, features: tuple[Feature, ...], tree: shapely.STRtree, seed: int
) -> tuple[Strata, Strata, Strata]:
    """Stratum, vigour and tone of one block."""
    wide = block.grown(MARGIN_PX)
    near = [features[i] for i in sorted(tree.query(shapely.box(*wide.bounds_xyxy).buffer(20)))]
    xs, ys = wide.xs(), wide.ys()
    parcels = terrain.parcels_of(xs, ys, seed, 1.35 if region.southern else 1.0)
    code = _open_land(region, parcels, xs, ys, near, wide, seed)
    variant = (parcels.luck(seed + 42) * VARIANTS).astype(np.int16)[parcels.index]
    stratum = code * np.int16(VARIANTS) + variant
    gardens = _gardens(near, wide, xs, ys, seed)
    stratum = np.where(gardens >= 0, gardens, stratum)
    for kinds in (
        ("river", "stream", "lake", "pond", "quarry"),
        ("track",),
        ("yard",),
        ("road", "street"),
        ("building",),
    ):
        chosen = [f for f in near if f.kind in kinds]
        numbers = [class_index(f.ground) * VARIANTS + zlib.crc32(f.geometry.wkb) % VARIANTS for f in chosen]
        if kinds[0] == "river":
            chosen.sort(key=lambda f: f.kind in ("pond",))
            numbers = [class_index(f.ground) * VARIANTS + 3 for f in chosen]
        burnt = _burn(chosen, wide, numbers)
        stratum = np.where(burnt >= 0, burnt, stratum)
    vigour, tone = _texture(parcels, stratum, xs, ys, seed)
    inner = (slice(MARGIN_PX, -MARGIN_PX), slice(MARGIN_PX, -MARGIN_PX))
    return stratum[inner].astype(np.uint8), vigour[inner], tone[inner]


def _away_from(kinds: tuple[str, ...], near: list[Feature], grid: Grid) -> Array:
    """(H, W) metres to the nearest feature of some kinds."""
    chosen = [f for f in near if f.kind in kinds]
    return _distance(_burn(chosen, grid, [1] * len(chosen)) >= 0)


def _open_land(
    region: Region, parcels: terrain.Parcels, xs: Floats, ys: Floats, near: list[Feature], grid: Grid, seed: int
) -> npt.NDArray[np.int16]:
    """(H, W) class of fields, meadows, woods and wetland, before anything built is painted over."""
    at, southern = class_index, region.southern
    river, brook, lake = (_away_from(kinds, near, grid) for kinds in (("river",), ("stream",), ("lake", "pond")))
    crop = np.full(len(parcels.key), at((CROPS_SOUTH if southern else CROPS_NORTH)[-1][0]), dtype=np.int16)
    choice, edge = parcels.luck(seed + 43), 0.0
    for name, share in CROPS_SOUTH if southern else CROPS_NORTH:
        crop[(choice >= edge) & (choice < edge + share)] = at(name)
        edge += share
    code = crop[parcels.index]
    damp = np.minimum(river, lake + 60.0)
    share_of_grass = np.where(damp < 190, np.float32(0.72), np.where(brook < 90, np.float32(0.45), np.float32(0.13)))
    code[parcels.luck(seed + 44)[parcels.index] < share_of_grass] = at("veld" if southern else "meadow")
    wood = noise.scattered(parcels.x, parcels.y, 2300.0, seed + 51, 3) + 0.38 * (parcels.luck(seed + 41) - 0.5)
    grown = noise.fractal(xs, ys, 1250.0, seed + 52, 5) + _middle_wood(region, xs, ys)
    forest = (wood > (1.25 if southern else 0.66))[parcels.index] | (grown > (1.9 if southern else 1.22))
    kind = noise.fractal(xs, ys, 900.0, seed + 54, 3) + (0.9 * (parcels.luck(seed + 45) - 0.5))[parcels.index]
    trees = np.where(kind > 0.35, at("broadleaf"), np.where(kind < -0.25, at("conifer"), at("mixed_forest")))
    if southern:
        scrub = noise.fractal(xs, ys, 1500.0, seed + 55, 4) + (0.5 * wood)[parcels.index] > 0.55
        code[scrub] = at("fynbos")
        code[scrub & (noise.fractal(xs, ys, 240.0, seed + 56, 4) > 1.35)] = at("bare")
        trees = np.where(kind > 0.0, at("conifer"), at("trees"))
    young = (parcels.luck(seed + 46) < 0.06)[parcels.index]
    code = np.where(forest, np.where(young, at("shrub"), trees), code).astype(np.int16)
    fine = noise.fractal(xs, ys, 70.0, seed + 53, 3)
    hedge = (parcels.edge_m < 4.5) & parcels.hedged & (fine > -0.7)
    bank = ((brook < 11) & (fine > -0.35)) | ((river < 16) & (fine > 0.25)) | ((lake < 14) & (fine > 0.5))
    code[(hedge | bank) & ~forest] = at("trees")
    wet = noise.fractal(xs, ys, 420.0, seed + 57, 4)
    marsh = ((lake < 75) & (wet + 0.006 * (30 - lake) > 0.75)) | ((river < 80) & (river > 4) & (wet > 1.15))
    code[marsh] = at("reed")
    return code


def _middle_wood(region: Region, xs: Floats, ys: Floats) -> Array:
    """What makes sure of a wood near the middle, so that the smallest world has one."""
    cx, cy = (float(v) for v in project(4326, region.truth_epsg, *region.centre_lonlat))
    along = np.exp(-(((xs - cx - 760.0) / 430.0) ** 2)).astype(np.float32)
    return np.float32(3.1) * np.exp(-(((ys - cy + 560.0) / 300.0) ** 2)).astype(np.float32)[:, None] * along[None, :]


def _gardens(near: list[Feature], grid: Grid, xs: Floats, ys: Floats, seed: int) -> npt.NDArray[np.int16]:
    """(H, W) stratum of gardens, trees and paved plots around houses; -1 elsewhere."""
    houses = [f for f in near if f.kind == "building" and f.tags.get("building") in ("house", "yes", "farm")]
    out = np.full(grid.shape_yx, -1, dtype=np.int16)
    if not houses:
        return out
    away = _distance(_burn(houses, grid, [1] * len(houses)) >= 0)
    plots = noise.fractal(xs, ys, 26.0, seed + 61, 3)
    leaf = noise.fractal(xs, ys, 15.0, seed + 62, 2)
    settled = ndimage.uniform_filter((away < 28).astype(np.float32), 17) > 0.40
    inside = (away < 15 + 4 * plots) | settled
    pick = np.full(grid.shape_yx, class_index("lawn"), dtype=np.int16)
    pick[leaf > 0.62] = class_index("trees")
    pick[(plots > 0.45) & (away < 10)] = class_index("yard")
    shade = ((leaf * 1.5 + 4).astype(np.int16)) % VARIANTS
    out[inside] = (pick * VARIANTS + shade)[inside]
    return out


def _texture(
    parcels: terrain.Parcels, stratum: npt.NDArray[np.int16], xs: Floats, ys: Floats, seed: int
) -> tuple[Strata, Strata]:
    """Vigour and tone: growth within parcels, crowns, soil patterns and the shading of gentle hills."""
    rows = list(table("landscape")["classes"].values())
    kind = stratum // VARIANTS
    sigma = np.array([r["texture"] for r in rows], dtype=np.float32)[kind]
    cover = np.array([r["worldcover"] for r in rows], dtype=np.int16)
    field = np.isin(cover, (30, 40)).astype(np.float32)[kind]
    tilth = field * parcels.furrow
    trend = noise.scattered(parcels.x, parcels.y, 1800.0, seed + 72, 2)
    grow = 0.85 * noise.fractal(xs, ys, 150.0, seed + 71, 4) + 0.55 * tilth + (0.4 * trend)[parcels.index]
    ix, iy = np.round(xs / TRUTH_GSD_M).astype(np.int64), np.round(ys / TRUTH_GSD_M).astype(np.int64)
    grain = (hash_uniform(seed + 73, iy[:, None], ix[None, :]) - np.float32(0.5)) * np.float32(3.46)
    rough = np.float32(0.55) * noise.plane(xs, ys, 9.0, seed + 74) + np.float32(0.65) * grain
    relief = noise.fractal(xs, ys, 1900.0, seed + 75, 4)
    slope = (np.gradient(relief, axis=1) + np.gradient(relief, axis=0)) * np.float32(60.0 / TRUTH_GSD_M)
    steep = np.where(cover == 80, 0.0, np.where(cover == 10, 0.12, 0.06)).astype(np.float32)[kind]
    plots = (0.16 * (parcels.luck(seed + 41) - 0.5)).astype(np.float32)[parcels.index]
    soil = field * (np.float32(0.07) * noise.fractal(xs, ys, 320.0, seed + 76, 4) + plots + np.float32(0.03) * tilth)
    tone = np.clip(1.0 + sigma * rough, 0.35, 1.8) * (1.0 + np.clip(slope, -1.5, 1.5) * steep + soil)
    levels = np.clip(np.round(tone * 128.0), 1, 255)
    return np.round(noise.to_uniform(grow) * 255.0).astype(np.uint8), levels.astype(np.uint8)
