from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import IntegrityError
from shards.filters import DateChoice
from shards.reader import open_dataset
from shards.sample_reader import SampleReader
from shards.sample_request import SampleRequest
from shards.storage import OPEN_FILES, FolderStorage
from tests.unit.shards import made_up

HEAD = 640
"""Bytes read of each member to see what it is."""


def read_by_this_process() -> int:
    """Bytes that this process has asked the kernel for."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def bytes_read(root: Path, request: SampleRequest) -> int:
    """Bytes of one sample that a request reads."""
    dataset = open_dataset(root)
    reader = SampleReader(dataset, request)
    number = dataset.places.number(made_up.chip_id(2))
    assert number is not None
    arrays = {name: np.empty(one.shape, one.dtype) for name, one in reader.fields().items()}
    reader.read(number, arrays)
    before = read_by_this_process()
    reader.read(number, arrays)
    return read_by_this_process() - before


def test_dates_bands_and_modalities_that_nobody_wants_are_not_read(published: Path) -> None:
    plane, mask, members, slack = 24 * 36 * 2, 24 * 36, 12, 2000
    one_date = DateChoice(1, "first")
    little = SampleRequest(("s2_10m",), bands={"s2_10m": ("B04",)}, dates=one_date, label=False)
    found = bytes_read(published, little)
    assert plane + mask <= found <= plane + mask + members * HEAD + slack
    more = SampleRequest(("s2_10m",), label=False)
    assert bytes_read(published, more) - found == 5 * plane + 2 * mask
    everything = SampleRequest(("s2_10m", "s2_20m", "s1"), sources=("worldcover",), texts=True, osm=True)
    assert bytes_read(published, everything) > found + 5 * plane + 2 * mask + 2 * 2 * 25 * 37 * 4


def test_a_member_that_the_table_promises_and_the_shard_lacks_is_named(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    reader = SampleReader(dataset, SampleRequest(("s2_20m",), label=False))
    arrays = {name: np.empty(one.shape, one.dtype) for name, one in reader.fields().items()}
    number = dataset.places.number(made_up.chip_id(1))
    assert number is not None
    chip_id, path, offset, _ = dataset.places.of(number)
    content = (dataset_root / path).read_bytes()
    dataset.close()
    old, new = f"{chip_id}.s2_20m.npy".encode(), f"{chip_id}.s2_21m.npy".encode()
    at = content.index(old, offset)
    header = bytearray(content[at : at + 512])
    header[: len(new)] = new
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (dataset_root / path).write_bytes(content[:at] + bytes(header) + content[at + 512 :])
    with pytest.raises(IntegrityError, match=f"{path}: {chip_id}: s2_20m_valid has no pixels"):
        reader.read(number, arrays)


def test_threads_share_a_folder_of_more_files_than_stay_open(tmp_path: Path) -> None:
    for number in range(OPEN_FILES + 10):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * 64)
    storage = FolderStorage(tmp_path)

    def read(seed: int) -> bool:
        source = random.Random(seed)
        numbers = [source.randrange(OPEN_FILES + 10) for _ in range(400)]
        return all(storage.read_range(f"{number}", 8, 8) == bytes([number]) * 8 for number in numbers)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))
    storage.close()
    assert storage.read_range("3", 0, 1) == b"\x03"
