"""The main job as skilled people write it by hand: each block fetched and decoded once with two threads, then tars."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bench.job_inputs import CHIP
from bench.scenes import BANDS, SceneSet


def chips_of_scenes(scenes: SceneSet, base: str, edge: int) -> Iterator[np.ndarray[Any, Any]]:
    """Scene by scene (place, band, y, x): each block once, two threads."""
    import rasterio
    from rasterio.windows import Window

    from sources.openers import GDAL_OPTIONS

    side = edge * CHIP

    def read(job: tuple[int, int]) -> np.ndarray[Any, Any]:
        scene, band = job
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(scenes.refs(scene, base)[band].href) as file:
            return np.asarray(file.read(1, window=Window(0, 0, side, side)))

    with ThreadPoolExecutor(2) as pool:
        for scene in range(scenes.scenes):
            layers = np.stack(list(pool.map(read, [(scene, band) for band in range(len(BANDS))])))
            cubes = layers.reshape(len(BANDS), edge, CHIP, edge, CHIP).transpose(1, 3, 0, 2, 4)
            yield np.ascontiguousarray(cubes).reshape(edge * edge, len(BANDS), CHIP, CHIP)


def add_chip(tar: tarfile.TarFile, name: str, chip: np.ndarray[Any, Any]) -> None:
    """A chip as a member."""
    buffer = io.BytesIO()
    np.save(buffer, chip)
    info = tarfile.TarInfo(name)
    info.size = buffer.tell()
    buffer.seek(0)
    tar.addfile(info, buffer)


class Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def tell(self) -> int:
        """Bytes written."""
        return self.file.tell()

    def write(self, data: Any) -> int:
        """Hash and write."""
        self.digest.update(data)
        return self.file.write(data)


def script(scenes: SceneSet, base: str, edge: int, root: Path, with_zarr: bool) -> None:
    """What a skilled person writes by hand: one tar."""
    import zarr

    from shards.zarr_arrays import compressor

    root.mkdir(parents=True)
    store = None
    if with_zarr:
        store = zarr.create_array(
            root / "a.zarr", shape=(scenes.scenes, edge * edge, len(BANDS), CHIP, CHIP), dtype="uint16",
            chunks=(1, 1, len(BANDS), CHIP, CHIP), shards=(1, 16, len(BANDS), CHIP, CHIP),
            compressors=compressor("lz4", "uint16"),
        )  # fmt: skip
    with tarfile.open(root / "a.tar", "w") as tar:
        for scene, chips in enumerate(chips_of_scenes(scenes, base, edge)):
            if store is not None:
                store[scene] = chips
            for place, chip in enumerate(chips):
                add_chip(tar, f"p{place:04d}_{scene}.npy", chip)


def script_in_two_passes(scenes: SceneSet, base: str, edge: int, root: Path) -> None:
    """The same by somebody who wants to resume and to know what was written: raw pixels of each scene, then a tar of
    every second one by each of two threads, with the hash of every sample and of the tar.
    """
    root.mkdir(parents=True)
    for scene, chips in enumerate(chips_of_scenes(scenes, base, edge)):
        chips.tofile(root / f"{scene}.raw")

    def write(first: int) -> tuple[list[str], str]:
        shape, samples = (edge * edge, len(BANDS), CHIP, CHIP), []
        with (root / f"{first}.tar").open("wb") as file:
            hashed = Hashed(file)
            with tarfile.open(fileobj=hashed, mode="w") as tar:
                for scene in range(first, scenes.scenes, 2):
                    for place, chip in enumerate(np.memmap(root / f"{scene}.raw", np.uint16, "r", shape=shape)):
                        samples.append(hashlib.sha256(chip).hexdigest())
                        add_chip(tar, f"p{place:04d}_{scene}.npy", chip)
        return samples, hashed.digest.hexdigest()

    with ThreadPoolExecutor(2) as pool:
        (root / "hashes.json").write_text(json.dumps(list(pool.map(write, range(2)))))
