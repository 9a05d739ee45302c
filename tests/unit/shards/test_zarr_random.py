from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from schemas.errors import DatasetError, IntegrityError
from shards import zarr_random
from shards.export import ExportOptions, export_dataset
from shards.reader import open_dataset
from shards.zarr_random import ZarrChips


@pytest.mark.parametrize(("small", "held"), [(64 << 10, 16 << 20), (64 << 10, 100), (0, 0)])
@pytest.mark.parametrize("group", ["s2_10m", "s1", "label", "label_worldcover"])
def test_chips_by_number_equal_what_zarr_reads(
    published: Path, group: str, small: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards read whole, whole but not kept, and chip by chip."""
    monkeypatch.setattr(zarr_random, "SMALL_SHARD_BYTES", small)
    monkeypatch.setattr(zarr_random, "HELD_BYTES", held)
    dataset = open_dataset(published)
    cube = dataset.xarray(group).load()
    chips = dataset.zarr_chips(group)
    numbers = [7, 0, 9, 7, 3]
    found = chips.read(numbers)
    assert set(found) == ({"data", "valid"} if "valid" in cube else {"data"})
    for name, batch in found.items():
        np.testing.assert_array_equal(batch, cube[name].values[numbers], strict=True)
    assert chips.read([])["data"].shape[0] == 0
    with pytest.raises(DatasetError, match="no chip 10"):
        chips.read([10])
    with pytest.raises(DatasetError, match="no Zarr group"):
        dataset.zarr_chips("s9")
    chips.close()


def exported(published: Path, tmp_path: Path) -> Path:
    export_dataset(open_dataset(published), tmp_path / "out", ExportOptions("zarr", samples_per_file=4))
    return tmp_path / "out" / "dataset.zarr"


def test_damaged_shards_are_refused(published: Path, tmp_path: Path) -> None:
    root = exported(published, tmp_path)
    path = root / "s1" / "data" / "c" / "0" / "0" / "0" / "0" / "0"
    whole = path.read_bytes()
    assert ZarrChips(zarr.storage.LocalStore(root, read_only=True), "s1").read([2])["data"].shape == (1, 2, 2, 25, 37)
    for damaged, what in (
        (whole[:-1] + bytes([whole[-1] ^ 1]), "index of shard 0 is damaged"),
        (whole[:20], "index of shard 0 is damaged"),
    ):
        path.write_bytes(damaged)
        chips = ZarrChips(zarr.storage.LocalStore(root, read_only=True), "s1")
        with pytest.raises(IntegrityError, match=what):
            chips.read([2])
    offsets = np.frombuffer(whole[-(16 * 4 + 4) : -4], "<u8").reshape(-1, 2)[:, 0]
    number = int(np.flatnonzero(offsets < len(whole))[0])
    start = int(offsets[number])
    path.write_bytes(whole[: start + 4] + b"\xff\xff\xff\x7f" + whole[start + 8 :])
    with pytest.raises(IntegrityError, match="wanted"):
        ZarrChips(zarr.storage.LocalStore(root, read_only=True), "s1").read([number])


def test_arrays_that_others_stored_are_read_through_zarr(tmp_path: Path) -> None:
    group = zarr.create_group(zarr.storage.LocalStore(tmp_path / "other"), path="x")
    values = np.arange(5 * 3 * 4, dtype=np.int16).reshape(5, 3, 4)
    group.create_array("data", data=values, chunks=(2, 3, 4))
    found = ZarrChips(zarr.storage.LocalStore(tmp_path / "other", read_only=True), "x").read([4, 1])
    np.testing.assert_array_equal(found["data"], values[[4, 1]])
