"""P2: bytes, requests and memory of reading a whole scene of 10,980 px, tile by tile, by the server's own log.

    python bench/p2_bytes.py [--size 10980] [--block 512]

One worker reads every whole chip of 256 px of four bands, tiles of 4 x 4 chips in read order, through `TileReader` with
the block store as it is by default; the scene's corner lies on no chip's edge. Twice: alone, and as two workers with a
run of tiles each. Needed are the bytes of all blocks that a chip touches, once, from the files' own lists.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import shapely

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from bench.scenes import BANDS, BUILD, LEFT, TOP, SceneSet, make_scenes
from bench.serving import served
from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.plan import chip_specs, plan_cells, plan_layers
from chips.tiling import tile_cells
from flows.runs import Runs
from schemas.chip import Tile
from schemas.recipe import Recipe
from sources.openers import PlainOpener

CHIP, TARGET = 256, 1.10
MEMORY_LIMIT = 1_500_000_000
OFFSET = (640.0, 1_230.0)
"""Metres between the scene's corner and the first chip's: 64 columns and 123 rows of pixels."""


def the_recipe(scenes: SceneSet) -> Recipe:
    """Every whole chip of the scene."""
    rows, columns = scenes.georef.shape_yx
    cells = []
    for row in range((rows * 10 - int(OFFSET[1])) // (CHIP * 10)):
        for column in range((columns * 10 - int(OFFSET[0])) // (CHIP * 10)):
            left, top = LEFT + OFFSET[0] + column * CHIP * 10, TOP - OFFSET[1] - row * CHIP * 10
            bounds = [left, top - CHIP * 10, left + CHIP * 10, top]
            cells.append(
                {"id": f"c{row:03d}_{column:03d}", "epsg": scenes.georef.epsg, "bounds": bounds, "region": "r"}
            )
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "p2",
            "catalogs": {"c": {"kind": "static", "href": "x", "allow_local": True}},
            "regions": [{"name": "r", "bbox": [10, 47, 11, 48]}],
            "grid": {"kind": "list", "cells": cells, "gsd_m": 10},
            "time": {"start": "2022-05-01", "end": "2022-12-31"},
            "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "k", "bands": list(BANDS)}},
            "register": {"mode": "off"},
        }
    )


def tiles_of(scenes: SceneSet, base: str) -> tuple[Recipe, Any, list[Tile]]:
    """The recipe, its layers, and its tiles in read order."""
    recipe, item = the_recipe(scenes), scenes.item(0, base)
    chips = plan_cells(recipe, CellTable.concat(cells_of(recipe.grid, {})))
    planned = tile_cells(chips.cells, CHIP * 10.0, recipe.grid.tile_chips)
    ordered = chips.take(planned.order)
    specs = chip_specs(recipe, ordered, shapely.to_wkb(ordered.cells.footprints()))
    tiles = [
        Tile(str(planned.tile_id[i]), int(planned.epsg[i]), tuple(specs[start:stop]), {"s2": (item,)})
        for i, (start, stop) in enumerate(zip(planned.first[:-1], planned.first[1:], strict=True))
    ]
    return recipe, plan_layers(recipe, {"s2": item}), tiles


def work(base: str, size: int, block: int, worker: int, workers: int) -> None:
    """Read one worker's run of tiles; prints what the process came to."""
    from sources.block_store import shared_store
    from sources.tile_reader import TileReader

    recipe, layers, tiles = tiles_of(make_scenes(1, size, block, 1), base)
    names = [str(number) for number in range(workers)]
    runs, pixels = Runs(tiles, names), 0
    for _ in range(len(tiles) * (worker + 1) // workers - len(tiles) * worker // workers):
        read = TileReader(recipe, layers, PlainOpener()).read(runs.take(str(worker)))
        if read.outcomes:
            raise SystemExit(f"{read.outcomes[0]}")
        pixels += sum(chip.layers["s2"]["data"].size for chip in read.chips)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count what the parent held when it forked
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    counters = shared_store().counters
    print(json.dumps({"peak": peak, "pixels": pixels, "decoded": counters.decoded, "reused": counters.reused}))


def needed(scenes: SceneSet) -> tuple[int, int]:
    """Blocks and their bytes that the chips touch, over all bands, from the files themselves."""
    from sources.block_store import BlockStore
    from sources.lattice import common_window

    chips = [chip.georef(10.0) for tile in tiles_of(scenes, "")[2] for chip in tile.chips]
    blocks = total = 0
    for ref in scenes.refs(0, str(scenes.folder.parent)):
        header = BlockStore().header(ref.href, PlainOpener()).result().header
        cells = set()
        for chip in chips:
            common = common_window(header.placed(), chip)
            if common is not None:
                cells |= set(header.blocks_under(common.source_rows, common.source_columns))
        blocks += len(cells)
        total += sum(int(header.counts[header.block_of(row, column, 1)]) for row, column in cells)
    return blocks, total


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=10_980)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--work", nargs=3, default=None)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], options.size, options.block, int(options.work[1]), int(options.work[2]))
        return
    scenes = make_scenes(1, options.size, options.block, 1)
    blocks, wanted = needed(scenes)
    rows = []
    with served(BUILD) as server:
        for workers in (1, 2):
            server.sent()
            processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "bench.p2_bytes", "--size", str(options.size), "--block", str(options.block),
                     "--work", server.url, str(worker), str(workers)],
                    stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
                )
                for worker in range(workers)
            ]  # fmt: skip
            told = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
            sent = server.sent()
            heads = Counter(path for path, ranges in sent.paths.items() for first, _ in ranges if first == 0)
            rows.append(
                {
                    "workers": workers,
                    "blocks_needed": blocks,
                    "megabytes_needed": round(wanted / 1e6, 1),
                    "requests": sent.requests + sent.heads,
                    "megabytes": round(sent.bytes / 1e6, 1),
                    "x_needed": round(sent.bytes / wanted, 4),
                    "header_reads_per_asset_and_worker": max(heads.values()) / workers,
                    "blocks_decoded": sum(one["decoded"] for one in told),
                    "peak_rss_bytes": max(one["peak"] for one in told),
                    "pixels": sum(one["pixels"] for one in told),
                }
            )
    worst = max(row["x_needed"] for row in rows)
    holds = (
        worst <= TARGET
        and all(row["peak_rss_bytes"] <= MEMORY_LIMIT for row in rows)
        and all(row["header_reads_per_asset_and_worker"] <= 1 for row in rows)
    )
    record(
        "p2", figure=worst, unit="x the bytes of the blocks needed", target=TARGET, holds=holds,
        floor=round(wanted / 1e6, 1), rows=rows, packages=("rasterio", "urllib3", "numpy"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
