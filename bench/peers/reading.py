"""async-tiff as a method of bench/p1_reading.py; runs in build/peers/reading.

    python bench/peers/reading.py each-chip|each-block CASE.json

CASE.json: {"url", "block", "chip", "files": paths of the bands of each scene, "chips": [[scene, row, column], ...]}.
*Each chip*: the blocks under each chip are fetched and decoded for that chip alone, eight chips at a time. *Each
block*: the blocks of a file once, cut into all chips; eight scenes at a time. Files are opened once in both.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from async_tiff import TIFF
from async_tiff.store import HTTPStore

AT_ONCE = 8
WARM_BYTES = 1 << 30


class Reader:
    """One run over a case."""

    def __init__(self, case):
        self.block, self.chip, self.files, self.chips = case["block"], case["chip"], case["files"], case["chips"]
        self.store = HTTPStore(case["url"], client_options={"allow_http": True})
        self.opened = {}
        self.found = [np.empty((len(self.files[0]), self.chip, self.chip), np.uint16) for _ in self.chips]
        self.slots = asyncio.Semaphore(AT_ONCE)

    async def open(self, path):
        """A file, opened once."""
        if path not in self.opened:
            self.opened[path] = asyncio.ensure_future(TIFF.open(path, store=self.store))
        return await self.opened[path]

    async def cut(self, path, band, numbers):
        """Fetch and decode the blocks under some chips of a file, each once, and fill the chips' band."""
        size, chip = self.block, self.chip
        under = {
            n: [
                (x, y)
                for y in range(self.chips[n][1] // size, (self.chips[n][1] + chip - 1) // size + 1)
                for x in range(self.chips[n][2] // size, (self.chips[n][2] + chip - 1) // size + 1)
            ]
            for n in numbers
        }
        cells = list(dict.fromkeys(cell for n in numbers for cell in under[n]))
        tiles = await (await self.open(path)).fetch_tiles(cells, 0)
        decoded = dict(zip(cells, await asyncio.gather(*(tile.decode() for tile in tiles)), strict=True))
        blocks = {cell: np.asarray(array).reshape(size, size) for cell, array in decoded.items()}
        for n in numbers:
            _, top, left = self.chips[n]
            for x, y in under[n]:
                first, last = max(top, y * size), min(top + chip, (y + 1) * size)
                west, east = max(left, x * size), min(left + chip, (x + 1) * size)
                self.found[n][band, first - top : last - top, west - left : east - left] = blocks[x, y][
                    first - y * size : last - y * size, west - x * size : east - x * size
                ]

    async def group(self, scene, numbers):
        """All bands of some chips of a scene."""
        async with self.slots:
            await asyncio.gather(*(self.cut(path, band, numbers) for band, path in enumerate(self.files[scene])))

    async def run(self, each):
        """All chips."""
        groups = defaultdict(list)
        for n, (scene, _, _) in enumerate(self.chips):
            groups[n if each == "each-chip" else scene].append(n)
        await asyncio.gather(*(self.group(self.chips[numbers[0]][0], numbers) for numbers in groups.values()))
        return self.found


def main(each, case):
    """Run, and print seconds and the digest of the pixels."""
    case = json.loads(Path(case).read_text())

    async def timed():
        began, computed = time.perf_counter(), time.process_time()
        chips = await Reader(case).run(each)
        return chips, time.perf_counter() - began, time.process_time() - computed

    gc.collect()  # as bench/methods.py does
    np.empty(WARM_BYTES, np.uint8)[::4096] = 1
    chips, seconds, cpu_seconds = asyncio.run(timed())
    digest = hashlib.sha256()
    for chip in chips:
        digest.update(np.ascontiguousarray(chip).tobytes())
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "pixels": digest.hexdigest()[:16]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
