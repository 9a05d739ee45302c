"""The methods of P1, each a function (case, base address) -> chips in order.

One of them: python -m bench.methods NAME CASE URL

Peers are called as their users would, with what makes them exact.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from bench.memory import taken
from bench.scenes import BANDS, make_scenes
from schemas.georef import GeoRef
from sources.openers import GDAL_OPTIONS, PlainOpener

Chips = list[np.ndarray]
SIZE, CHIP = 4096, 256
WARM_BYTES = 1 << 30
OPENER = PlainOpener()


def _setup(case: str) -> tuple[Any, list[tuple[int, int, int]]]:
    from bench.p1_reading import CASES, chips_of

    scenes, block, _ = CASES[case]
    return make_scenes(scenes, SIZE, block, distinct=2), chips_of(case)


def _grid(scenes: Any, row: int, column: int) -> GeoRef:
    whole = scenes.georef
    return GeoRef(whole.epsg, whole.x0 + 10 * column, whole.y0 - 10 * row, 10.0, (CHIP, CHIP))


def terraweft(case: str, base: str) -> Callable[[], Chips]:
    """The direct engine: chips of a tile (4 x 4) in one call, as many at a time as the tile reader has them."""
    from sources.engine import open_engine

    scenes, chips = _setup(case)
    engine = open_engine("direct")
    tiles: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for number, (scene, row, column) in enumerate(chips):
        tiles[scene, row // (4 * CHIP), column // (4 * CHIP)].append(number)

    def run() -> Chips:
        found: Chips = [np.empty(0)] * len(chips)

        def one(key: tuple[int, int, int]) -> None:
            grids = [_grid(scenes, *chips[number][1:]) for number in tiles[key]]
            read = engine.read_each(scenes.refs(key[0], base), grids, "nearest", OPENER)
            for number, pixels in zip(tiles[key], read, strict=True):
                found[number] = pixels

        with ThreadPoolExecutor(engine.at_once) as pool:
            list(pool.map(one, sorted(tiles)))
        return found

    return run


def floor(case: str, base: str) -> Callable[[], Chips]:
    """Fetch and decode just the needed blocks: their places are known, nothing is cut."""
    from sources.block_store import FETCHERS, BlockStore, gather

    scenes, chips = _setup(case)
    store = BlockStore(blocks_bytes=0, decoders=2)
    needed: dict[int, dict[tuple[int, int], None]] = defaultdict(dict)
    for scene, row, column in chips:
        for r in range(row // scenes.block, (row + CHIP - 1) // scenes.block + 1):
            for c in range(column // scenes.block, (column + CHIP - 1) // scenes.block + 1):
                needed[scene][r, c] = None
    local = {scene: scenes.refs(scene, str(scenes.folder.parent)) for scene in needed}
    files = []
    for scene, cells in needed.items():
        for mine, far in zip(local[scene], scenes.refs(scene, base), strict=True):
            known = store.header(mine.href, OPENER).result()
            numbers = [known.header.block_of(r, c, 1) for r, c in cells]
            files.append((far.href, known, numbers))

    def run() -> Chips:
        from sources.blocks import decode_blocks
        from sources.fetch import fetch_range
        from sources.ranges import merged_ranges

        with ThreadPoolExecutor(FETCHERS) as fetchers, ThreadPoolExecutor(2) as decoders:

            def fetch(href: str, known: Any, run: list[int]) -> Any:
                start = int(known.header.offsets[run[0]])
                end = int(known.header.offsets[run[-1]] + known.header.counts[run[-1]])
                data = memoryview(fetch_range(href, OPENER, start, end - start).data)
                parts = [data[int(known.header.offsets[n]) - start :][: int(known.header.counts[n])] for n in run]
                return [
                    decoders.submit(decode_blocks, known.header, parts[i : i + 16], (1,), href)
                    for i in range(0, len(parts), 16)
                ]

            jobs = [
                fetchers.submit(fetch, href, known, run)
                for href, known, numbers in files
                for run in merged_ranges(numbers, known.header.place_of)
            ]
            for job in jobs:
                gather(job.result())
        return []

    return run


def rasterio_windows(case: str, base: str, threads: int = 8) -> Callable[[], Chips]:
    """A window per chip and band, handles kept per thread."""
    import threading

    import rasterio
    from rasterio.windows import Window

    scenes, chips = _setup(case)
    kept = threading.local()

    def one(chip: tuple[int, int, int]) -> np.ndarray:
        scene, row, column = chip
        if not hasattr(kept, "files"):
            kept.files = {}
        with rasterio.Env(**GDAL_OPTIONS):
            layers = []
            for ref in scenes.refs(scene, base):
                if ref.href not in kept.files:
                    kept.files[ref.href] = rasterio.open(ref.href)
                layers.append(kept.files[ref.href].read(1, window=Window(column, row, CHIP, CHIP)))
            return np.stack(layers)

    def run() -> Chips:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, chips))

    return run


def rasterio_each_block_once(case: str, base: str) -> Callable[[], Chips]:
    """Each file opened once, one read of the chips' hull, chips cut from it; two threads over the files."""
    import rasterio
    from rasterio.windows import Window

    scenes, chips = _setup(case)
    per_scene: dict[int, list[int]] = defaultdict(list)
    for number, (scene, _, _) in enumerate(chips):
        per_scene[scene].append(number)

    def run() -> Chips:
        found = [np.empty((len(BANDS), CHIP, CHIP), np.uint16) for _ in chips]

        def one(job: tuple[int, int]) -> None:
            scene, band = job
            numbers = per_scene[scene]
            top, left = min(chips[n][1] for n in numbers), min(chips[n][2] for n in numbers)
            bottom, right = max(chips[n][1] for n in numbers) + CHIP, max(chips[n][2] for n in numbers) + CHIP
            with rasterio.Env(**GDAL_OPTIONS), rasterio.open(scenes.refs(scene, base)[band].href) as file:
                hull = file.read(1, window=Window(left, top, right - left, bottom - top))
            for n in numbers:
                row, column = chips[n][1] - top, chips[n][2] - left
                found[n][band] = hull[row : row + CHIP, column : column + CHIP]

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, [(scene, band) for scene in sorted(per_scene) for band in range(len(BANDS))]))
        return found

    return run


def engine_per_chip(case: str, base: str, name: str, threads: int) -> Callable[[], Chips]:
    """stackstac or odc-stac called once per chip and scene."""
    from sources.engine import open_engine

    scenes, chips = _setup(case)
    engine = open_engine(name)

    def one(chip: tuple[int, int, int]) -> np.ndarray:
        return engine.read(scenes.refs(chip[0], base), _grid(scenes, *chip[1:]), "nearest", OPENER)

    def run() -> Chips:
        if threads == 1:
            return [one(chip) for chip in chips]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, chips))

    return run


METHODS: dict[str, Callable[[str, str], Callable[[], Chips]]] = {
    "floor": floor,
    "terraweft": terraweft,
    "rasterio, each block once": rasterio_each_block_once,
    "rasterio windows, 8 threads": rasterio_windows,
    "stackstac": partial(engine_per_chip, name="stackstac", threads=1),
    "stackstac, 8 outer threads": partial(engine_per_chip, name="stackstac", threads=8),
    "odc-stac": partial(engine_per_chip, name="odc-stac", threads=1),
    "odc-stac, 8 outer threads": partial(engine_per_chip, name="odc-stac", threads=8),
}


def warm_up() -> None:
    """What no method is to pay for: a full collection of what the imports left, and memory that the host has taken."""
    gc.collect()
    taken(WARM_BYTES)


def main(name: str, case: str, base: str) -> None:
    """Run one method and print its seconds and the digest of its pixels."""
    from bench.p1_reading import digest_of

    run = METHODS[name](case, base)
    warm_up()
    began, computed = time.perf_counter(), time.process_time()
    chips = run()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - computed
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "pixels": digest_of(chips)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
