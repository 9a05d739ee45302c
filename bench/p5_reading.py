"""P5: shards to training batches beside reading the same files and three peers; chips of Zarr at random.

    python bench/p5_reading.py [--count 256] [--repeats 5]

One set of chips (three dates of four bands of 256 px, masks, label, confidence), made once and written in every form.
Each method reads one epoch of batches of 16 in a process of its own; methods take turns within a repeat, cold (the
kernel has dropped the files) and warm. The floor reads the tars from end to end into one buffer, with one thread.
`holds`: the median over the repeats of paired ratios, our batches as stored against the floor, is at least 0.9, cold;
and chips at random out of our Zarr come at least twice as fast, cold and warm, as zipped Zarr in tars, as the exporter
writes it, through an index: one by one beside one by one, and 16 at a time beside the faster of one by one and as many
threads. The same figures beside zipped Zarr that our own codec has packed are reported too.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

from bench.reading_sets import CODECS, files_below, forget, our_dataset, zip_tars  # noqa: E402
from bench.record import record, spread  # noqa: E402

SETS = ROOT / "build" / "bench" / "p5"
PEER = ROOT / "build" / "peers" / "loaders" / "bin" / "python"
BATCH, THREADS = 16, 2
RANDOM_CHIPS = 128
TARGET_SHARE, TARGET_ZARR = 0.9, 2.0


def tars(count: int) -> list[Path]:
    """Our shards."""
    return sorted((folder_of(count) / "ours" / "shards").rglob("*.tar"))


def folder_of(count: int) -> Path:
    """Where the forms of so many chips lie."""
    return SETS / str(count)


def floor(count: int) -> float:
    """Seconds of reading the tars from end to end."""
    buffer = memoryview(bytearray(8 << 20))
    started = time.perf_counter()
    for path in tars(count):
        descriptor, offset = os.open(path, os.O_RDONLY), 0
        while got := os.preadv(descriptor, [buffer], offset):
            offset += got
        os.close(descriptor)
    return time.perf_counter() - started


def ours(count: int, workers: int = 0, **options: Any) -> float:
    """Seconds of an epoch of `ChipLoader`."""
    from terraweft import ChipLoader, ChipStream, StreamOptions

    loader = ChipLoader(
        ChipStream(folder_of(count) / "ours", StreamOptions(**options)),
        BATCH,
        num_workers=workers,
        threads=1 if workers else THREADS,
    )
    return _timed(loader, count, "chip_id")


def with_webdataset(count: int, workers: int) -> float:
    """Seconds of an epoch of webdataset's own pipeline: shards and samples shuffled, decoded, stacked."""
    import torch
    import webdataset

    def pick(sample: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(torch.from_numpy(sample[name]) for name in NAMES)

    names = [str(path) for path in tars(count)]
    source = webdataset.WebDataset(names, shardshuffle=len(names), empty_check=False).shuffle(64).decode().map(pick)
    stacked = source.batched(BATCH, collation_fn=lambda found: [torch.stack(part) for part in zip(*found, strict=True)])
    return _timed(webdataset.WebLoader(stacked, batch_size=None, num_workers=workers), count, 0)


NAMES = ("s2.npy", "s2_valid.npy", "label.npy", "confidence.npy")


def _timed(loader: Any, count: int, key: Any) -> float:
    started, seen = time.perf_counter(), 0
    for batch in loader:
        seen += len(batch[key])
    seconds = time.perf_counter() - started
    if seen != count:
        raise SystemExit(f"{seen} samples of {count}")
    return seconds


def zipped_index(count: int, codec: str) -> list[tuple[Path, int, int]]:
    """Where each chip's .zarr.zip lies: what a reader of such tars must first find out."""
    found = []
    for path in zip_tars(folder_of(count) / codec, count, codec):
        with tarfile.open(path) as tar:
            found += [(path, member.offset_data, member.size) for member in tar]
    return found


def zipped_at_random(count: int, codec: str, threads: int = 1) -> float:
    """Seconds of chips at random out of tars of .zarr.zip, with Zarr's library: one after the other, or in threads."""
    import zarr

    index, order = zipped_index(count, codec), np.random.default_rng(1).permutation(count)[:RANDOM_CHIPS]
    make = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes

    def read(number: int) -> None:
        path, offset, size = index[number]
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: make(archive.read(name)) for name in archive.namelist()}
        group = zarr.open_consolidated(zarr.storage.MemoryStore(parts), mode="r", zarr_format=2)
        assert group["bands"][...].size
        assert group["valid"][...].size

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list((map if threads == 1 else pool.map)(read, order))
        return time.perf_counter() - started


def zarr_at_random(count: int, at_once: int = BATCH) -> float:
    """Seconds of the same chips out of our Zarr."""
    from terraweft import open_dataset

    chips = open_dataset(folder_of(count) / "ours").zarr_chips("s2", THREADS)
    order = np.random.default_rng(1).permutation(count)[:RANDOM_CHIPS]
    started = time.perf_counter()
    for first in range(0, len(order), at_once):
        assert chips.read(order[first : first + at_once])["valid"].size
    return time.perf_counter() - started


def zarr_by_library(count: int) -> float:
    """Seconds of the same chips out of our Zarr, one after the other, by Zarr's own indexing."""
    import zarr

    from shards.zarr_store import open_store
    from terraweft import open_dataset

    dataset = open_dataset(folder_of(count) / "ours")
    group = zarr.open_group(open_store(dataset.storage, dataset.document.zarr["tag"]), mode="r")["s2"]
    order = np.random.default_rng(1).permutation(count)[:RANDOM_CHIPS]
    started = time.perf_counter()
    for number in order:
        assert np.asarray(group["data"][int(number)]).size
        assert np.asarray(group["valid"][int(number)]).size
    return time.perf_counter() - started


METHODS: dict[str, Callable[[int], float]] = {
    "floor": floor,
    "ours, as stored": lambda count: ours(count, physical=False),
    "ours, normalised float32": lambda count: ours(count, normalise=True),
    "ours, normalised, 2 workers": lambda count: ours(count, 2, normalise=True),
    "webdataset": lambda count: with_webdataset(count, 0),
    "webdataset, 2 workers": lambda count: with_webdataset(count, 2),
    "ours, Zarr at random, 16 at a time": zarr_at_random,
    "ours, Zarr at random, one by one": lambda count: zarr_at_random(count, 1),
    "Zarr's own indexing at random": zarr_by_library,
    ".zarr.zip in tars at random": lambda count: zipped_at_random(count, "zstd"),
    ".zarr.zip in tars at random, in threads": lambda count: zipped_at_random(count, "zstd", THREADS),
    ".zarr.zip with our lz4 in tars at random": lambda count: zipped_at_random(count, "lz4"),
    ".zarr.zip with our lz4 in tars at random, in threads": lambda count: zipped_at_random(count, "lz4", THREADS),
}
OURS_AT_RANDOM = {how: f"ours, Zarr at random, {how}" for how in ("one by one", "16 at a time")}
ZIPPED = {
    codec: (f"{name} at random", f"{name} at random, in threads")
    for codec, name in (("zstd", ".zarr.zip in tars"), ("lz4", ".zarr.zip with our lz4 in tars"))
}
"""Codec -> methods that read such chips one by one, and in threads."""
PEERS = {
    "litdata": ("litdata", 0),
    "litdata, 2 workers": ("litdata", 2),
    "mosaicml-streaming": ("mosaic", 0),
    "mosaicml-streaming, 2 workers": ("mosaic", 2),
}


def prepare(count: int) -> None:
    """Write every form, once."""
    our_dataset(folder_of(count) / "ours", count)
    for codec in CODECS:
        zip_tars(folder_of(count) / codec, count, codec)
    subprocess.run(["bash", str(ROOT / "bench" / "peers" / "loaders.sh"), sys.executable], check=True)
    for name in ("litdata", "mosaic"):
        if not (folder_of(count) / name / "index.json").exists():
            script = str(ROOT / "bench" / "peers" / "loaders.py")
            subprocess.run(
                [PEER, script, "write", name, str(folder_of(count) / name), str(count)], check=True, cwd=ROOT
            )


def once(name: str, count: int) -> list[float]:
    """Seconds of one method in a process of its own: first with no file in the kernel's cache, then again."""
    forget(list(files_below(folder_of(count))))
    if name in PEERS:
        peer, workers = PEERS[name]
        script = str(ROOT / "bench" / "peers" / "loaders.py")
        command = [str(PEER), script, "read", peer, str(folder_of(count) / peer), str(count), str(BATCH), str(workers)]
    else:
        command = [sys.executable, __file__, "--count", str(count), "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-800:]}")
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median of paired ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", default="")
    options = parser.parse_args()
    count = options.count
    if options.one:
        import torch

        torch.set_num_threads(1)
        print(json.dumps({"seconds": [METHODS[options.one](count) for _ in range(2)]}))
        return
    prepare(count)
    taken: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.repeats):
        for name in (*METHODS, *PEERS):
            both = once(name, count)
            print(f"{name}: {both[0]:.2f} s cold, {both[1]:.2f} s warm", flush=True)
            for cold, seconds in zip((True, False), both, strict=True):
                taken.setdefault((name, cold), []).append(seconds)
    size = sum(path.stat().st_size for path in tars(count))

    def zipped(cold: bool, how: str, codec: str = "zstd") -> list[float]:
        """Of each repeat the fastest way of reading zipped chips that may be asked for in this manner."""
        ways = [taken[name, cold] for name in ZIPPED[codec][: 1 if how == "one by one" else 2]]
        return [min(one) for one in zip(*ways, strict=True)]

    def times_faster(codec: str) -> dict[str, float]:
        """How many times as fast our Zarr gives chips, cold or warm, whichever is less."""
        return {
            how: round(min(ratio(zipped(cold, how, codec), taken[name, cold]) for cold in (True, False)), 3)
            for how, name in OURS_AT_RANDOM.items()
        }

    rows = []
    for (name, cold), seconds_taken in taken.items():
        chips = RANDOM_CHIPS if "random" in name else count
        row: dict[str, Any] = {"method": name, "cache": "cold" if cold else "warm", "seconds": spread(seconds_taken)}
        row["samples_per_s"] = round(statistics.median(chips / one for one in seconds_taken), 1)
        if "random" in name:
            how = "one by one" if name == OURS_AT_RANDOM["one by one"] else "16 at a time"
            row["x_zip_in_tar"] = round(ratio(zipped(cold, how), seconds_taken), 3)
        else:
            row["share_of_floor"] = round(ratio(taken["floor", cold], seconds_taken), 3)
        rows.append(row)
    share = ratio(taken["floor", True], taken["ours, as stored", True])
    zarr_x = times_faster("zstd")
    record(
        "p5", figure=share, unit="share of raw file read, cold", target=TARGET_SHARE,
        holds=share >= TARGET_SHARE and min(zarr_x.values()) >= TARGET_ZARR,
        floor={"seconds": spread(taken["floor", True]), "megabytes": round(size / 1e6, 1)}, rows=rows,
        packages=("numpy", "torch", "zarr", "icechunk", "webdataset", "numcodecs"),
        further={
            "zarr_random_x_zip_in_tar": zarr_x, "zarr_random_x_zip_with_our_codec": times_faster("lz4"),
            "zarr_target": TARGET_ZARR, "chips": count,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
