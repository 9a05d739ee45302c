from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from schemas.errors import DatasetError
from shards.reader import open_dataset
from terraweft.torch_data import ChipStream, StreamOptions
from tests.unit.shards import made_up

TRAIN = sorted(made_up.chip_id(n) for n in range(10) if made_up.SPLITS[n % 5] == "train")


def first(root: Path, chip: str, **options: Any) -> dict[str, Any]:
    stream: Iterator[dict[str, Any]] = iter(ChipStream(root, StreamOptions(split=None, **options)))
    return next(found for found in stream if found["chip_id"] == chip)


def test_axes_are_time_band_row_column(published: Path) -> None:
    sample = made_up.sample(2)
    found = first(published, sample.chip_id, physical=False)
    layer = sample.layers["s2_10m"]
    assert found["s2_10m"].shape == (3, 2, 24, 36)
    assert found["s2_10m"].dtype == torch.int32
    assert int(found["s2_10m"][1, 0, 5, 30]) == layer.data[1, 0, 5, 30]
    assert found["s2_10m_valid"].shape == (3, 24, 36)
    assert found["s1"].dtype == torch.float32
    assert found["label"].dtype == torch.int64
    assert found["label"].shape == found["confidence"].shape == (24, 36)
    np.testing.assert_array_equal(found["label"].numpy(), sample.label)


def test_physical_values_and_padding(published: Path) -> None:
    sample = made_up.sample(3)
    found = first(published, sample.chip_id)
    layer = sample.layers["s2_10m"]
    assert layer.data.shape[0] == 1
    assert found["s2_10m"].shape == (3, 2, 24, 36)
    assert not found["s2_10m"][1:].any()
    assert not found["s2_10m_valid"][1:].any()
    wanted = layer.data[0, 1, 9, 9] * 0.0001 - 0.1
    assert math.isclose(float(found["s2_10m"][0, 1, 9, 9]), wanted, rel_tol=1e-5)
    assert (found["s2_10m"][0, :, :2, :5] == 0).all()
    assert torch.isfinite(found["s2_10m"]).all()
    assert first(published, sample.chip_id, pad=False)["s2_10m"].shape[0] == 1


def test_normalised_values_use_the_stored_statistics(published: Path) -> None:
    sample = made_up.sample(1)
    found = first(published, sample.chip_id, normalise=True, modalities=("s2",))
    wanted = (sample.layers["s2_10m"].data[0, 1, 9, 9] * 0.0001 - 0.1 - 0.25) / 0.12
    assert math.isclose(float(found["s2_10m"][0, 1, 9, 9]), wanted, rel_tol=1e-4)
    with pytest.raises(DatasetError, match="no mean and deviation for s1 vv"):
        ChipStream(published, StreamOptions(normalise=True))


def test_only_what_is_asked_for_is_yielded(published: Path) -> None:
    found = first(published, made_up.chip_id(1), modalities=("s2_20m",), labels=False, texts=True)
    assert set(found) == {"chip_id", "s2_20m", "s2_20m_valid", "texts"}
    assert found["texts"][0].startswith("Trees stand")


def test_the_order_is_new_each_epoch_and_the_same_for_the_same_seed(published: Path) -> None:
    stream, again = (ChipStream(published, StreamOptions(seed=3)) for _ in range(2))
    orders = []
    for epoch in range(6):
        stream.set_epoch(epoch)
        again.set_epoch(epoch)
        orders.append(stream.chip_ids())
        assert orders[-1] == again.chip_ids()
        assert sorted(orders[-1]) == TRAIN
    assert len({tuple(order) for order in orders}) > 3
    other = ChipStream(published, StreamOptions(seed=4))
    assert any(other.chip_ids() != order for order in orders)
    plain = ChipStream(published, StreamOptions(shuffle=False))
    assert plain.chip_ids() == open_dataset(published).chip_ids("train")


@pytest.mark.parametrize("world", [1, 2, 4, 7])
def test_ranks_share_an_epoch_without_overlap(published: Path, world: int) -> None:
    parts = [ChipStream(published, StreamOptions(rank=r, world_size=world)).chip_ids() for r in range(world)]
    assert sorted(chip for part in parts for chip in part) == TRAIN
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1
    even = {len(ChipStream(published, StreamOptions(rank=r, world_size=world, even=True))) for r in range(world)}
    assert even == {len(TRAIN) // world}


def test_workers_share_an_epoch_without_overlap(published: Path) -> None:
    stream = ChipStream(published, StreamOptions(modalities=("s2",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: fork from a process with threads
        loader = DataLoader(stream, batch_size=2, num_workers=2)
        batches = list(loader)
    assert sorted(chip for batch in batches for chip in batch["chip_id"]) == TRAIN
    assert batches[0]["s2_10m"].shape == (2, 3, 2, 24, 36)


def test_wrong_options_are_one_line(published: Path) -> None:
    for options in (StreamOptions(rank=2, world_size=2), StreamOptions(split="dev"), StreamOptions(modalities=("x",))):
        with pytest.raises(DatasetError):
            ChipStream(published, options)


def test_without_torch_the_lobby_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import terraweft\n"
        "from schemas.errors import MissingExtraError\n"
        "try:\n    terraweft.ChipStream\n"
        "except MissingExtraError as error:\n    sys.stdout.write(error.line())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "torch is missing (pip install 'terraweft[train]')"


def test_the_lobby_imports_nothing_heavy() -> None:
    code = (
        "import sys, terraweft\n"
        "heavy = {'torch', 'geopandas', 'zarr', 'icechunk', 'pyarrow', 'dask', 'prefect', 'numpy'} & set(sys.modules)\n"
        "sys.stdout.write(repr(sorted(heavy)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout == "[]"
