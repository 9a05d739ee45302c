"""What packs the measurements of Zarr: bytes, decoding and encoding of real samples by lz4 and by zstd (ADR 22).

    TERRAWEFT_REALDATA=FOLDER python bench/codecs.py [--repeats 9]

Every GeoTIFF below the folder that holds measurements of two bytes or more, its upper left 256 px, packed in one
thread as Zarr packs a chip; codecs take turns. Bands that their delivery repeats on a finer grid are counted apart.
`holds`: where nothing repeats, lz4 takes at most a tenth more bytes than zstd.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import rasterio
from numcodecs import Blosc
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record, spread
from schemas.dataset import ZarrCodec
from shards.zarr_arrays import compressor
from shards.zarr_store import blosc_threads

EDGE = 256
LARGEST = 1.1
INTEGERS, REPEATED, FLOATS = "integers", "integers, repeated on a finer grid", "floats"


def samples(folder: Path) -> dict[str, list[NDArray[Any]]]:
    """Kind of measurement -> arrays (H, W)."""
    found: dict[str, list[NDArray[Any]]] = {INTEGERS: [], REPEATED: [], FLOATS: []}
    for path in sorted(folder.rglob("*.[tT][iI][fF]")):
        with rasterio.open(path) as file:
            if np.dtype(file.dtypes[0]).itemsize == 1 or min(file.shape) < 100 or "QA" in path.name:
                continue
            values = file.read(1, window=((0, min(EDGE, file.height)), (0, min(EDGE, file.width))))
        if np.unique(values).size > 1:
            found[kind_of(values)].append(np.ascontiguousarray(values))
    return found


def kind_of(values: NDArray[Any]) -> str:
    """What a band holds; repeated are rows of which every second, or more, equals the one before."""
    if values.dtype.kind == "f":
        return FLOATS
    equal = (values[1:] == values[:-1]).mean(axis=1) > 0.95
    return REPEATED if equal.mean() > 0.4 else INTEGERS


def codec_of(name: ZarrCodec) -> Blosc:
    """The packing of our Zarr, for a block of memory that knows its type."""
    found = compressor(name, "uint8")
    return Blosc(found.cname.value, found.clevel, Blosc.BITSHUFFLE)


def once(name: ZarrCodec, arrays: list[NDArray[Any]]) -> tuple[int, float, float]:
    """Bytes, seconds of encoding, seconds of decoding of all arrays."""
    began = time.perf_counter()
    packed = [codec_of(name).encode(values) for values in arrays]
    between = time.perf_counter()
    for content, values in zip(packed, arrays, strict=True):
        codec_of(name).decode(content, np.empty_like(values))
    return sum(map(len, packed)), between - began, time.perf_counter() - between


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    kinds = samples(Path(os.environ["TERRAWEFT_REALDATA"]))
    taken: dict[tuple[str, ZarrCodec], list[tuple[int, float, float]]] = {}
    with blosc_threads(False):
        for _ in range(options.repeats):
            for kind, arrays in kinds.items():
                for name in get_args(ZarrCodec):
                    taken.setdefault((kind, name), []).append(once(name, arrays))
    rows = []
    for (kind, name), runs in taken.items():
        raw = sum(values.nbytes for values in kinds[kind])
        rows.append(
            {
                "measurements": kind,
                "bands": len(kinds[kind]),
                "codec": name,
                "share of raw bytes": round(runs[0][0] / raw, 3),
                "x zstd's bytes": round(runs[0][0] / taken[kind, "zstd"][0][0], 3),
                "MB/s encoded": spread([raw / 1e6 / run[1] for run in runs]),
                "MB/s decoded": spread([raw / 1e6 / run[2] for run in runs]),
            }
        )
    figure = max(taken[kind, "lz4"][0][0] / taken[kind, "zstd"][0][0] for kind in (INTEGERS, FLOATS))
    record(
        "codecs", figure=figure, unit="x the bytes of zstd, lz4, where no pixel repeats", target=LARGEST,
        holds=figure <= LARGEST, floor=None, rows=rows, packages=("numcodecs", "zarr", "numpy"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
