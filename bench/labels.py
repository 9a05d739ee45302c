"""Labels: chips in a minute on one core with a profile, and an estimate over 10^9 pixels in a worker's memory.

    python bench/labels.py            writes bench/results/labels.json
    python bench/labels.py --quick    one world and 10^7 pixels; writes nothing

*Chips*: label sources of the sandbox's recipe (two WorldCover editions, CORINE, an OSM extract) over the north of five
worlds, in tiles of 4 x 4 chips of 256 px: read from disk, painted, counted, fused, and the recipe's targets derived, in
one process with one thread, five times over. What opens a tile's files for the first time counts. *Estimate*: counts of
tiles of 10^6 pixels, drawn from those of a real world with a thousand combinations that no other tile has, are merged
one by one as the reduce does, and the model is estimated, in a fresh process whose highest memory the kernel tells.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"

import numpy as np  # noqa: E402
import pyproj  # noqa: E402
import shapely  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.labels_cases import FOLDER, OPENER, SEEDS, SIZE, SOURCES, World, load, source_of  # noqa: E402
from bench.record import record, spread  # noqa: E402
from flows.cluster import freeze_imports  # noqa: E402
from labelers import fuse  # noqa: E402
from labelers.base import make_labeler  # noqa: E402
from labelers.label_statistics import FUSED, layer_columns, pair_disagreement  # noqa: E402
from labelers.marks import FusionStatistics, added, mark_sizes, packed  # noqa: E402
from labelers.osm import tags_wanted  # noqa: E402
from labelers.pixel_features import to_pixel_geojson  # noqa: E402
from labelers.targets import ChipLabels, make_targets  # noqa: E402
from labelers.voters import FusionSetup, setup_of  # noqa: E402
from schemas.chip import ChipSpec, Tile  # noqa: E402
from schemas.georef import GeoRef  # noqa: E402
from schemas.recipe import Recipe  # noqa: E402
from schemas.recipe_file import load_recipe  # noqa: E402
from schemas.scene import SceneItem  # noqa: E402
from sources.label_reader import LabelReader  # noqa: E402
from sources.labels_raster import to_label_item_of_file  # noqa: E402

CHIP_PX = 256
TILE_CHIPS = 4
CHIPS_PER_MINUTE = 1000
PIXELS = 1_000_000_000
TILE_PIXELS = 1_000_000
OWN_PATTERNS = 1000
WORKER_BYTES = 1.5e9
REPEATS = 5
WHEN = datetime(2021, 7, 1, tzinfo=UTC)
STEPS = {
    "read rasters": "read_label_raster", "read OSM": "_features", "paint OSM": "paint", "burn": "_burned",
    "count": "statistics", "fuse": "fused_layer", "targets": "make_targets", "pixel GeoJSON": "to_pixel_geojson",
    "features near chips": "near",
}  # fmt: skip
"""What the profile tells apart -> function whose cumulative time it is."""


def tiles_of(world: World, files: Path) -> Iterator[Tile]:
    """Tiles of the world's north, with its label items as a catalog would have given them."""
    place = world.places[0]
    rows, columns = (size // CHIP_PX for size in place.georef.shape_yx)
    items = {name: tuple(items_of(name, files, place.georef)) for name in SOURCES}
    for row in range(0, rows, TILE_CHIPS):
        for column in range(0, columns, TILE_CHIPS):
            chips = tuple(
                chip_at(place.georef, r, c)
                for r in range(row, min(row + TILE_CHIPS, rows))
                for c in range(column, min(column + TILE_CHIPS, columns))
            )
            yield Tile(f"{world.seed}-{row}-{column}", place.georef.epsg, chips, items)


def items_of(name: str, files: Path, grid: GeoRef) -> Iterator[SceneItem]:
    """Items of a label source."""
    source = source_of(name)
    folder = {"worldcover": "esa-worldcover", "corine": "corine-clc2018"}.get(source.kind)
    if folder is None:
        from dataclasses import replace

        path = next(files.glob("osm-extract/osm-north/*.pbf"))
        like = next(items_of("corine", files, grid))
        ref = replace(like.refs[0], href=str(path), asset_key="pbf")
        yield replace(like, modality=name, sensor="osm", item_id="osm-north", refs=(ref,), licence="ODbL-1.0")
        return
    for path in sorted((files / folder).glob(f"*{'' if source.kind == 'corine' else f'_{source.year}_'}*/*.tif")):
        yield to_label_item_of_file(str(path), name, source, OPENER)


def chip_at(grid: GeoRef, row: int, column: int) -> ChipSpec:
    """One chip of the place's lattice."""
    side = CHIP_PX * grid.pixel_size
    left, top = grid.x0 + column * side, grid.y0 - row * side
    bounds = (left, top - side, left + side, top)
    to_degrees = pyproj.Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    outline = shapely.box(*to_degrees.transform_bounds(*bounds))
    return ChipSpec(f"c{row}-{column}", grid.epsg, bounds, "north", "train", "b", WHEN, WHEN, WHEN, outline.wkb)


def label_tile(recipe: Recipe, setup: FusionSetup, model: fuse.FusionModel, tile: Tile) -> FusionStatistics | None:
    """Everything that a build does about the labels of a tile's chips; their counts."""
    labels = recipe.labels
    if labels is None:
        raise SystemExit("the recipe has no labels")
    read = LabelReader(recipe, OPENER, FOLDER / "cache", {}, tags_wanted()).read(tile, tile.chips)
    counted = []
    for spec in tile.chips:
        rasters, features = read[spec.chip_id]
        grid = spec.georef(10.0)
        layers = {}
        for name, source in labels.sources.items():
            given = features if source.kind == "osm" else rasters.get(name)
            if given is not None:
                layers[name] = make_labeler(source).label(given, grid)
        votes = list(layers.values())
        counted.append(fuse.statistics(votes, setup, "north"))
        fused = fuse.fused_layer(model, votes, "north")
        for name, layer in layers.items():
            layer_columns(name, layer)
        layer_columns(FUSED, fused, by="index")
        pair_disagreement(votes, setup)
        make_targets(labels, ChipLabels(spec.chip_id, grid, layers, fused, features, 7))
        if features is not None:
            to_pixel_geojson(features, grid)
    return added(counted)


def throughput(seeds: tuple[int, ...]) -> tuple[list[float], int, list[dict[str, Any]]]:
    """CPU seconds of all chips in each repeat, chips, and the profile by step."""
    recipe = load_recipe(ROOT / "recipes" / "sandbox.yaml")
    if recipe.labels is None:
        raise SystemExit("the recipe has no labels")
    setup = setup_of(recipe.labels, 2021)
    worlds = [(load(seed, SIZE, FOLDER), FOLDER / f"{SIZE}-{seed}" / "files") for seed in seeds]
    tiles = [tile for world, files in worlds for tile in tiles_of(world, files)]
    place = worlds[0][0].places[0]
    first = [fuse.statistics(place.votes(chip, list(SOURCES)), setup, "north") for chip in place.chips]
    model = fuse.estimate(added(first) or first[0], setup)
    freeze_imports()  # as a worker does
    profile = cProfile.Profile()
    seconds = []
    for _ in range(REPEATS):  # a worker holds two extracts: those of five worlds are read anew each time
        began = time.process_time()
        for tile in tiles:
            label_tile(recipe, setup, model, tile)
        seconds.append(time.process_time() - began)
    profile.enable()
    for tile in tiles[: max(len(tiles) // 4, 1)]:
        label_tile(recipe, setup, model, tile)
    profile.disable()
    chips = sum(len(tile.chips) for tile in tiles)
    return seconds, chips, by_step(profile)


def by_step(profile: cProfile.Profile) -> list[dict[str, Any]]:
    """Share of the time under each of `STEPS`."""
    stats: Any = pstats.Stats(profile)
    total = stats.total_tt
    found = []
    for step, function in STEPS.items():
        held = [entry[3] for key, entry in stats.stats.items() if key[2] == function and "site-packages" not in key[0]]
        found.append({"what": f"share of the time: {step}", "share": round(max(held, default=0.0) / total, 3)})
    return sorted(found, key=lambda row: -row["share"])


def tile_counts(real: FusionStatistics, setup: FusionSetup, rng: np.random.Generator) -> FusionStatistics:
    """Counts of one tile more: some of a real world's combinations, and some that are nobody else's."""
    sizes = mark_sizes(setup)
    keys, counts = real.regions["north"]
    chosen = rng.choice(len(keys), size=min(len(keys), 20_000), replace=False, p=counts / counts.sum())
    fresh = np.stack([rng.integers(-1, size - 1, OWN_PATTERNS) for size in sizes])
    together = np.unique(np.concatenate([keys[chosen], packed(fresh, sizes)]))
    pixels = rng.multinomial(TILE_PIXELS, np.full(len(together), 1 / len(together))).astype(np.int64)
    return FusionStatistics(real.sources, sizes, {"north": (together, np.maximum(pixels, 1))})


def estimate_alone(pixels: int) -> None:
    """In a fresh process: merge and estimate; prints what it took as JSON."""
    recipe = load_recipe(ROOT / "recipes" / "sandbox.yaml")
    if recipe.labels is None:
        raise SystemExit("the recipe has no labels")
    setup = setup_of(recipe.labels, 2021)
    place = load(SEEDS[0], SIZE, FOLDER).places[0]
    real = added(fuse.statistics(place.votes(chip, list(SOURCES)), setup, "north") for chip in place.chips)
    if real is None:
        raise SystemExit("nothing was counted")
    rng = np.random.default_rng(5)
    began = time.process_time()
    parts = (json.dumps(tile_counts(real, setup, rng).to_dict()) for _ in range(pixels // TILE_PIXELS))
    total = added(FusionStatistics.from_dict(json.loads(text)) for text in parts)
    if total is None:
        raise SystemExit("nothing was counted")
    merged = time.process_time()
    model = fuse.estimate(total, setup)
    found = {
        "pixels": total.pixels,
        "combinations": sum(len(keys) for keys, _ in total.regions.values()),
        "merge_seconds": round(merged - began, 1),
        "estimate_seconds": round(time.process_time() - merged, 1),
        "iterations": model.estimate.iterations if model.estimate else 0,
        "model_json_bytes": len(json.dumps(model.to_dict())),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(found))


def main() -> None:
    """Both parts."""
    quick = "--quick" in sys.argv
    FOLDER.mkdir(parents=True, exist_ok=True)
    seconds, chips, profile = throughput(SEEDS[:1] if quick else SEEDS)
    rates = [60 * chips / taken for taken in seconds]
    rate = statistics.median(rates)
    pixels = PIXELS // 100 if quick else PIXELS
    command = [sys.executable, __file__, "--estimate", str(pixels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    estimate = json.loads(done.stdout)
    rows = [
        {"what": "chips of 256 px labelled", "chips": chips, "cpu_seconds": spread(seconds),
         "chips_per_minute": spread(rates), "holds": rate >= CHIPS_PER_MINUTE},
        *profile,
        {"what": "estimate", **estimate, "holds": estimate["peak_bytes"] <= WORKER_BYTES},
    ]  # fmt: skip
    if quick:
        for row in rows:
            print(row)
        return
    record(
        "labels",
        figure=rate,
        unit="chips of 256 px labelled per minute and core",
        target=CHIPS_PER_MINUTE,
        holds=all(row["holds"] for row in rows if "holds" in row),
        floor={"worker_bytes": WORKER_BYTES},
        rows=rows,
        packages=("numpy", "rasterio", "shapely", "pyproj", "osmium"),
    )


if __name__ == "__main__":
    if "--estimate" in sys.argv:
        estimate_alone(int(sys.argv[-1]))
    else:
        main()
