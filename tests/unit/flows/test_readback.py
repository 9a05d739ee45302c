"""Layers that are taken back from the parent's shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chips.plan import LayerPlan
from flows.readback import stored_sample
from schemas.errors import IntegrityError
from shards.storage import open_storage
from shards.tar import Segment, StoredSample
from shards.tar_reader import ShardFiles
from tests.unit.shards import made_up

LAYERS = tuple(
    LayerPlan(one.group, one.modality, one.sensor, one.gsd_m, (), one.dtype, one.nodata, one.unit)
    for one in made_up.LAYERS
)


@pytest.fixture
def stored(tmp_path: Path) -> StoredSample:
    """The second of two samples in a shard."""
    (shard,) = made_up.write_shards(open_storage(tmp_path), tmp_path / "work", map(made_up.sample, (3, 8)))
    return StoredSample(made_up.chip_id(8), "val", shard.record.path, shard.index[made_up.chip_id(8)])


def test_a_stored_sample_is_what_was_written(tmp_path: Path, stored: StoredSample) -> None:
    with ShardFiles(open_storage(tmp_path)) as files:
        found = stored_sample(files, stored, LAYERS)
    written = made_up.sample(8)
    assert list(found.layers) == list(written.layers)
    np.testing.assert_array_equal(found.layers["s1"].data, written.layers["s1"].data)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_damaged_bytes_are_refused(tmp_path: Path, stored: StoredSample, share: float) -> None:
    """Wherever they lie: most are pixels, which decode as well as others do."""
    with (tmp_path / stored.shard).open("r+b") as file:
        file.seek(stored.segment.offset + int(share * stored.segment.length))
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0xFF]))
    with (
        ShardFiles(open_storage(tmp_path)) as files,
        pytest.raises(IntegrityError, match=f"{stored.shard}.*{stored.chip_id}"),
    ):
        stored_sample(files, stored, LAYERS)


def test_another_sample_and_a_missing_shard_are_refused(tmp_path: Path, stored: StoredSample) -> None:
    before = Segment(0, stored.segment.offset, stored.segment.sha256)
    with ShardFiles(open_storage(tmp_path)) as files:
        with pytest.raises(IntegrityError, match=stored.chip_id):
            stored_sample(files, replace(stored, segment=before), LAYERS)
        with pytest.raises(IntegrityError, match=r"none\.tar"):
            stored_sample(files, replace(stored, shard="shards/val/none.tar"), LAYERS)
