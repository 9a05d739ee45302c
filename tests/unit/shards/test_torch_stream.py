from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import terraweft
from schemas.errors import DatasetError
from shards.filters import ChipFilter, DateChoice, DateFilter
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.version import publish
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
    assert found["s2_10m"].dtype == torch.uint16
    assert int(found["s2_10m"][1, 0, 5, 30]) == layer.data[1, 0, 5, 30]
    assert found["s2_10m_valid"].shape == (3, 24, 36)
    assert found["s1"].dtype == torch.float32
    assert found["label"].dtype == torch.uint8
    assert first(published, sample.chip_id)["label"].dtype == torch.int64
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
    arrays = {f"s2_20m{part}" for part in ("", "_valid", "_time", "_present")}
    assert set(found) == {"chip_id", "texts", *arrays}
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
    def parts(**more: Any) -> list[list[str]]:
        return [ChipStream(published, StreamOptions(rank=r, world_size=world, **more)).chip_ids() for r in range(world)]

    assert sorted(chip for part in parts() for chip in part) == TRAIN
    sizes = {len(part) for part in parts()}
    assert max(sizes) - min(sizes) <= 1
    assert {len(part) for part in parts(uneven="drop")} == {len(TRAIN) // world}
    repeated = parts(uneven="repeat")
    assert {len(part) for part in repeated} == {-(-len(TRAIN) // world)}
    assert {chip for part in repeated for chip in part} == set(TRAIN)


def test_workers_share_an_epoch_without_overlap(published: Path) -> None:
    stream = ChipStream(published, StreamOptions(modalities=("s2",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: fork from a process with threads
        loader = DataLoader(stream, batch_size=2, num_workers=2)
        batches = list(loader)
    assert sorted(chip for batch in batches for chip in batch["chip_id"]) == TRAIN
    assert batches[0]["s2_10m"].shape == (2, 3, 2, 24, 36)


def test_workers_that_live_on_hear_of_the_next_epoch(published: Path) -> None:
    stream = ChipStream(published, StreamOptions(seed=3))
    loader = DataLoader(stream, batch_size=None, num_workers=1, persistent_workers=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fork warning of a process with threads
        for epoch in (0, 1, 5):
            stream.set_epoch(epoch)
            assert [sample["chip_id"] for sample in loader] == stream.chip_ids()


def test_wrong_options_are_one_line(published: Path) -> None:
    wrong = (
        StreamOptions(rank=2, world_size=2),
        StreamOptions(split="dev"),
        StreamOptions(modalities=("x",)),
        StreamOptions(bands={"s2_10m": ("B99",)}),
        StreamOptions(bands={"s2_10m": ("B02", "B02")}),
        StreamOptions(bands={"s2_10": ("B02",)}),
        StreamOptions(bands={"s2": ("B02",)}),
        StreamOptions(sources=("corine",)),
        StreamOptions(meta=("colour",)),
        StreamOptions(where=ChipFilter(modalities=("s9",))),
    )
    for options in wrong:
        with pytest.raises(DatasetError):
            ChipStream(published, options)


@pytest.mark.parametrize("wrong", [{"uneven": "dorp"}, {"seed": -1}])
def test_options_of_no_meaning_are_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(DatasetError):
        StreamOptions(**wrong)


def test_of_an_empty_step_and_a_date_that_is_there_the_date_is_chosen(tmp_path: Path) -> None:
    samples = []
    for number in (2, 5):  # three dates each
        sample = made_up.sample(number)
        place = 0 if number == 2 else 2
        for group in ("s2_10m", "s2_20m"):
            layer = sample.layers[group]
            layer.time_utc[place], layer.valid[place], layer.data[place] = np.datetime64("NaT"), 0, 0
        sample.row["s2.datetimes"][place] = None
        samples.append(replace(sample, split="train", row={**sample.row, "split": "train"}))
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", samples, zarr_shard_chips=None))
    for by in ("first", "last", "random", "clearest"):
        options = StreamOptions(modalities=("s2",), dates=DateChoice(1, by), labels=False)  # type: ignore[arg-type]
        stream = ChipStream(tmp_path / "d", options)
        for epoch in range(4):
            stream.set_epoch(epoch)
            assert all(found["s2_10m_present"].tolist() == [True] for found in stream)
    whole = ChipStream(tmp_path / "d", StreamOptions(modalities=("s2",), shuffle=False))
    assert sorted(found["s2_10m_present"].tolist() for found in whole) == [[False, True, True], [True, True, False]]


def test_bands_and_dates_are_those_asked_for_in_that_order(published: Path) -> None:
    sample = made_up.sample(2)
    stored = sample.layers["s2_10m"]
    options = {"modalities": ("s2",), "physical": False}
    for by, kept in (("first", [0, 1]), ("last", [1, 2]), ("clearest", [0, 1])):
        found = first(published, sample.chip_id, bands={"s2_10m": ("B04", "B02")}, dates=DateChoice(2, by), **options)
        np.testing.assert_array_equal(found["s2_10m"].numpy(), stored.data[kept][:, [1, 0]])
        np.testing.assert_array_equal(found["s2_10m_valid"].numpy(), stored.valid[kept])
        assert found["s2_10m_time"].tolist() == stored.time_utc[kept].astype("datetime64[s]").astype(int).tolist()
        assert found["s2_20m"].shape == (2, 1, 12, 18)
    late = first(published, sample.chip_id, dates=DateChoice(only=DateFilter(start="2026-03-05")), **options)
    np.testing.assert_array_equal(late["s2_10m"][:2].numpy(), stored.data[1:])
    assert late["s2_10m_present"].tolist() == [True, True, False]
    assert not late["s2_10m"][2].any()


def test_random_dates_change_with_the_epoch_and_repeat_with_the_seed(published: Path) -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        stream = ChipStream(published, StreamOptions(split=None, dates=DateChoice(1, "random"), seed=seed))
        stream.set_epoch(epoch)
        return [int(found["s2_10m_time"][0]) for found in sorted(stream, key=lambda found: str(found["chip_id"]))]

    assert drawn(1, 0) == drawn(1, 0)
    assert len({tuple(drawn(1, epoch)) for epoch in range(4)}) > 2


def test_what_a_chip_lacks_is_marked_and_zero(published: Path) -> None:
    without = first(published, made_up.chip_id(0))  # no pass of Sentinel-1
    assert without["s1"].shape == (2, 2, 25, 37)
    assert not without["s1"].any()
    assert not without["s1_valid"].any()
    assert without["s1_present"].tolist() == [False, False]
    one = first(published, made_up.chip_id(1))
    assert one["s1_present"].tolist() == [True, False]
    assert one["s1_time"][1] == 0


def test_further_members_and_columns_are_yielded_if_asked_for(published: Path) -> None:
    sample = made_up.sample(4)
    found = first(
        published,
        sample.chip_id,
        sources=("worldcover",),
        text_records=True,
        text_kinds=("grounded",),
        osm=True,
        meta=("epsg", "region", "bounds_xyxy"),
    )
    np.testing.assert_array_equal(found["label_worldcover"].numpy(), sample.labels["worldcover"])
    assert [record["kind"] for record in found["text_records"]] == ["grounded"]
    assert found["osm"]["type"] == "FeatureCollection"
    assert found["meta"] == {"epsg": 32631, "region": "made-up", "bounds_xyxy": sample.row["bounds_xyxy"]}


def test_a_stream_equals_the_samples(published: Path) -> None:
    dataset = open_dataset(published)
    for found in ChipStream(dataset, StreamOptions(split=None, physical=False, pad=False, texts=True)):
        sample = dataset.sample(found["chip_id"])
        for group, layer in sample.layers.items():
            np.testing.assert_array_equal(found[group].numpy(), layer.data, strict=True)
            np.testing.assert_array_equal(found[f"{group}_valid"].numpy(), layer.valid, strict=True)
        assert found["texts"] == [text["text"] for text in sample.texts]


def test_without_torch_the_lobby_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import terraweft\n"
        "from schemas.errors import MissingExtraError\n"
        "for name in ('ChipStream', 'ChipLoader', 'collate', 'ChipDataModule'):\n"
        "    try:\n        getattr(terraweft, name)\n"
        "    except MissingExtraError as error:\n        sys.stdout.write(error.line() + '\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.splitlines() == ["torch is missing (pip install 'terraweft[train]')"] * 4


def test_the_lobby_offers_what_it_imports_later() -> None:
    assert set(terraweft.__all__) <= set(terraweft.__dir__())


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


def test_processes_of_a_group_read_their_own_parts(published: Path, tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "rank, root, place = int(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "torch.distributed.init_process_group('gloo', init_method=f'file://{place}', rank=rank, world_size=2)\n"
        "from terraweft import ChipLoader, ChipStream, StreamOptions\n"
        "loader = ChipLoader(ChipStream(root, StreamOptions(modalities=('s2',))), 2)\n"
        "print(' '.join(chip for batch in loader for chip in batch['chip_id']))\n"
        "torch.distributed.destroy_process_group()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    place = str(tmp_path / "rendezvous")
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(published), place],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for rank in range(2)
    ]
    parts = [process.communicate(timeout=300)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(parts[0] + parts[1]) == TRAIN
    assert len(parts[0]) == len(parts[1]) == len(TRAIN) // 2
