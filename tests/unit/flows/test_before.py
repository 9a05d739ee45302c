"""What a refresh takes over from the version that it starts from is what that version published, or a line says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.before import load_before
from flows.estimates import NAME, Estimates
from schemas.errors import DatasetError
from shards.layout import version_path
from shards.storage import Storage, open_storage
from shards.version import publish
from tests.unit.shards import made_up


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A dataset of two chips that says what decided them."""
    found = open_storage(tmp_path / "dataset")
    samples = [made_up.sample(number) for number in range(2)]
    more = {"estimates": Estimates().to_dict(), "estimated": {"version": "", "chips": 2, "touched_since": 0}}
    publish(found, made_up.draft(tmp_path / "dataset", samples, zarr_shard_chips=None, **more))
    return found


def test_a_version_is_read_as_it_was_published(storage: Storage) -> None:
    before = load_before(storage)
    assert before is not None
    assert (len(before.places), len(before.inputs), len(before.failed), len(before.rejected)) == (2, 4, 1, 1)


@pytest.mark.parametrize("name", ["chips.parquet", "outcomes.parquet", "texts.parquet", NAME])
@pytest.mark.parametrize("damage", ["a bit", "cut", "gone"])
def test_a_damaged_file_of_the_version_is_one_line(storage: Storage, tmp_path: Path, name: str, damage: str) -> None:
    before = load_before(storage)
    assert before is not None
    path = tmp_path / "dataset" / version_path(before.version) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content if damage == "a bit" else content[:-9])
    if damage == "gone":
        path.unlink()
    with pytest.raises(DatasetError, match="is missing" if damage == "gone" else "not those that dataset") as told:
        load_before(storage)
    assert told.value.where == str(path)
