"""P4: writing shards, checksums included, beside a plain sequential write of the same bytes.

    python bench/p4_writing.py [--chips 384] [--repeats 15] [--quick]

Chips of 256 px with two dates of four bands, masks, a label and texts: 1.3 MB each, in shards of 64 MB. Every method
writes the same tars' worth of bytes to the same disk, from samples that lie in memory, and ends when all of it is on
the disk (fsync):

    dd               the finished tars, out of memory (tmpfs), bs=1M conv=fsync: the floor
    plain            the same bytes by one Python process, write() of whole shards and fsync; no tar, no checksum
    terraweft        `write_shard`: tar, sha256 of every sample and of the file, fsync, rename
    no hashes        the same with hashes that take in nothing: what is left is the writing
    webdataset       `webdataset.TarWriter` of the same members, encoded already, and fsync; no checksum

Methods take turns; the medians count. ``limit``: what both hashes and the writing allow on this machine's cores, by the
rate of one hash on one core and the CPU time of a write without any.
img2dataset writes through webdataset's TarWriter, and adds a table.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record, spread
from bench.scenes import BUILD
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from shards import hashing
from shards.samples import sample_members
from shards.storage import open_storage
from shards.tar import write_shard

WORK, MEMORY = BUILD / "p4", Path("/dev/shm/terraweft-p4")
SHARD_CHIPS = 48
TARGET = 0.85


def make_samples(chips: int) -> list[Sample]:
    """Samples with pixels that do not compress, as reflectance does not."""
    random, georef = np.random.default_rng(4), GeoRef(32632, 600_000.0, 5_300_000.0, 10.0, (256, 256))
    times = np.array(["2022-06-01", "2022-07-01"], "datetime64[ns]")
    samples = []
    for number in range(chips):
        data = random.integers(200, 4000, (2, 4, 256, 256), np.uint16)
        layer = LayerArrays(data, np.ones((2, 256, 256), np.uint8), times, np.full(2, 1e-4), np.full(2, -0.1), georef)
        label = (data[0, 0] % 11).astype(np.uint8)
        row = {
            "chip_id": f"32N_{number:05d}",
            "s2.datetimes": [datetime(2022, 6, 1, tzinfo=UTC), datetime(2022, 7, 1, tzinfo=UTC)],
            "s2.scale": [1e-4, 1e-4],
        }
        texts = ({"text_id": f"{number}", "text": "Cropland covers most of the picture; a river crosses it."},)
        samples.append(
            Sample(f"32N_{number:05d}", "train", {"s2": layer}, {"worldcover": label}, label, label, None, texts, row)
        )
    return samples


def by_terraweft(samples: list[Sample], folder: Path) -> None:
    storage = open_storage(folder)
    for start in range(0, len(samples), SHARD_CHIPS):
        batch = samples[start : start + SHARD_CHIPS]
        write_shard(storage, "train", start // SHARD_CHIPS, batch, scratch=folder / "scratch")


class _NoHash:
    """Takes in nothing."""

    def update(self, part: object) -> None:
        """Nothing."""

    def hexdigest(self) -> str:
        """Of no bytes."""
        return "0" * 64


def by_terraweft_without_hashes(samples: list[Sample], folder: Path) -> None:
    with patch.object(hashing, "hashlib", SimpleNamespace(sha256=_NoHash)):
        by_terraweft(samples, folder)


def hash_rate() -> float:
    """MB/s of sha256 on one core."""
    content = bytes(64 << 20)
    began = time.perf_counter()
    for _ in range(4):
        hashlib.sha256(content)
    return 4 * len(content) / 1e6 / (time.perf_counter() - began)


def by_webdataset(samples: list[Sample], folder: Path) -> None:
    import webdataset

    folder.mkdir(parents=True)
    for start in range(0, len(samples), SHARD_CHIPS):
        with (folder / f"{start:06d}.tar").open("wb") as file:
            writer = webdataset.TarWriter(file, encoder=False)
            for sample in samples[start : start + SHARD_CHIPS]:
                members = {suffix: bytes(head) + bytes(body) for suffix, (head, body) in sample_members(sample)}
                writer.write({"__key__": sample.chip_id, **members})
            writer.close()
            file.flush()
            os.fsync(file.fileno())


def by_plain(tars: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for tar in tars:
        content = tar.read_bytes()
        with (folder / tar.name).open("wb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())


def by_dd(tars: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for tar in tars:
        command = ["dd", f"if={tar}", f"of={folder / tar.name}", "bs=1M", "conv=fsync", "status=none"]
        subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one repeat; nothing is recorded")
    options = parser.parse_args()
    samples = make_samples(options.chips)
    for folder in (WORK, MEMORY):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    by_terraweft(samples, MEMORY)
    tars = sorted((MEMORY / "shards/train").glob("*.tar"))
    size = sum(tar.stat().st_size for tar in tars)
    methods: dict[str, Callable[[Path], None]] = {
        "dd": lambda folder: by_dd(tars, folder),
        "plain": lambda folder: by_plain(tars, folder),
        "terraweft": lambda folder: by_terraweft(samples, folder),
        "no hashes": lambda folder: by_terraweft_without_hashes(samples, folder),
        "webdataset": lambda folder: by_webdataset(samples, folder),
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    cpu_s: dict[str, list[float]] = {name: [] for name in methods}
    hashes = []
    for repeat in range(1 if options.quick else options.repeats):
        hashes.append(hash_rate())
        for name, method in methods.items():
            folder = WORK / f"{name}-{repeat}"
            os.sync()
            began, cpu_began = time.perf_counter(), time.process_time()
            method(folder)
            rates[name].append(size / 1e6 / (time.perf_counter() - began))
            cpu_s[name].append(time.process_time() - cpu_began)
            shutil.rmtree(folder)
            print(f"{name:12} {rates[name][-1]:7.0f} MB/s", flush=True)
    shutil.rmtree(MEMORY)
    shutil.rmtree(WORK)
    if options.quick:
        return
    rows = [{"method": name, "MB_per_s": spread(found), "shards": len(tars)} for name, found in rates.items()]
    medians = {row["method"]: row["MB_per_s"]["median"] for row in rows}  # type: ignore[index]
    shares = [mine / floor for mine, floor in zip(rates["terraweft"], rates["dd"], strict=True)]
    figure = medians["terraweft"] / medians["dd"]
    cores = len(os.sched_getaffinity(0))
    limit = cores / (2 / float(np.median(hashes)) + 1e6 * float(np.median(cpu_s["no hashes"])) / size)
    record(
        "p4",
        figure=figure,
        unit="of dd's rate, both hashes included",
        target=TARGET,
        holds=figure >= TARGET,
        floor={"dd_MB_per_s": medians["dd"], "limit_MB_per_s": round(limit, 1)},
        rows=rows,
        packages=["numpy", "webdataset"],
        further={
            "bytes": size,
            "share_per_repeat": spread(shares),
            "sha256_MB_per_s": spread(hashes),
            "limit_of_dd": round(limit / medians["dd"], 3),
            "share_of_limit": round(medians["terraweft"] / limit, 3),
            "beside_webdataset": round(medians["terraweft"] / medians["webdataset"], 3),
        },
    )


if __name__ == "__main__":
    main()
