from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore

from schemas.errors import DatasetError
from shards.storage import open_storage
from shards.version import publish
from terraweft import ChipDataModule, ChipFilter, ChipLoader, ChipStream, StreamOptions, collate, open_dataset
from terraweft.torch_order import Share
from tests.unit.shards import made_up

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 25 chips, 15 of them train."""
    root = tmp_path_factory.mktemp("loader") / "dataset"
    draft = made_up.draft(root, [made_up.sample(n) for n in range(25)], zarr_shard_chips=None)
    publish(open_storage(root), draft)
    return root


def stream_of(root: Path, **options: Any) -> ChipStream:
    return ChipStream(root, StreamOptions(**{"modalities": ("s2",), "seed": 5, **options}))


def chips(batches: list[dict[str, Any]]) -> list[list[str]]:
    return [list(batch["chip_id"]) for batch in batches]


def taken_of(loader: ChipLoader, count: int) -> list[dict[str, Any]]:
    """The first batches; the rest of the pass is given up."""
    source = iter(loader)
    return [next(source) for _ in range(count)]


def test_a_kind_of_text_that_there_is_not_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_dataset(root)
    told = {"texts": {"kinds": {"caption/short": 3, "qa/share": 2}}}
    monkeypatch.setattr(opened, "document", opened.document.model_copy(update=told))
    ChipStream(opened, StreamOptions(text_kinds=("qa",)))
    with pytest.raises(DatasetError, match=r"no texts of kind 'captions'.*it has caption, qa"):
        ChipStream(opened, StreamOptions(text_kinds=("captions",)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_holds_its_samples(root: Path, workers: int) -> None:
    stream = stream_of(root, modalities=None, texts=True, sources=("worldcover",))
    alone = {found["chip_id"]: found for found in stream}
    seen = []
    for batch in ChipLoader(stream, 4, num_workers=workers):
        for slot, chip in enumerate(batch["chip_id"]):
            seen.append(chip)
            for name, value in alone[chip].items():
                assert (
                    torch.equal(batch[name][slot], value)
                    if isinstance(value, torch.Tensor)
                    else (batch[name][slot] == value)
                )
    assert sorted(seen) == sorted(alone)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_epoch_goes_on_with_the_very_batches(root: Path, workers: int, stop: int) -> None:
    whole = ChipLoader(stream_of(root), 2, num_workers=workers)
    whole.set_epoch(3)
    expected = list(whole)
    assert len(expected) == len(whole)
    stopped = ChipLoader(stream_of(root), 2, num_workers=workers)
    stopped.set_epoch(3)
    before = taken_of(stopped, stop)
    goes_on = ChipLoader(stream_of(root), 2, num_workers=workers)
    goes_on.load_state_dict(stopped.state_dict())
    after = list(goes_on)
    assert chips(before + after) == chips(expected)
    assert all(torch.equal(a["s2_10m"], b["s2_10m"]) for a, b in zip(before + after, expected, strict=True))
    assert goes_on.state_dict()["epoch"] == 4
    assert goes_on.state_dict()["taken"] == []


def test_another_number_of_workers_may_go_on_and_no_chip_is_lost_or_doubled(root: Path) -> None:
    stopped = ChipLoader(stream_of(root), 2)
    before = taken_of(stopped, 3)
    goes_on = ChipLoader(stream_of(root), 3, num_workers=2)
    goes_on.load_state_dict(stopped.state_dict())
    again = taken_of(goes_on, 1)
    last = ChipLoader(stream_of(root), 4)
    last.load_state_dict(goes_on.state_dict())
    seen = [chip for batch in (*before, *again, *last) for chip in batch["chip_id"]]
    assert sorted(seen) == sorted(stream_of(root).chip_ids())


def test_padding_of_a_label_source_is_no_class_of_its_legend(tmp_path: Path) -> None:
    whole, narrow = made_up.sample(0), made_up.sample(1)
    bounds = [*narrow.row["bounds_xyxy"]]
    bounds[2] -= 60  # six pixels
    narrow = replace(
        narrow, labels={"worldcover": narrow.labels["worldcover"][:, :30]}, row={**narrow.row, "bounds_xyxy": bounds}
    )
    legends = {**made_up.LEGENDS, "worldcover": {**made_up.LEGENDS["worldcover"], "nodata": [255]}}
    draft = made_up.draft(tmp_path / "d", [whole, narrow], zarr_shard_chips=None, legends=legends)
    publish(open_storage(tmp_path / "d"), draft)
    wanted = {"modalities": (), "labels": False, "sources": ("worldcover",), "shuffle": False}
    batches = {pad: next(iter(ChipLoader(stream_of(tmp_path / "d", pad=pad, **wanted), 2))) for pad in (True, False)}
    slot = batches[True]["chip_id"].index(narrow.chip_id)
    assert batches[True]["label_worldcover"][slot, :, 30:].unique().tolist() == [255]
    assert torch.equal(batches[False]["label_worldcover"], batches[True]["label_worldcover"])


def test_an_empty_epoch_is_followed_by_the_next(root: Path) -> None:
    loader = ChipLoader(stream_of(root, where=ChipFilter(bbox=(0.0, 0.0, 0.1, 0.1))))
    assert list(loader) == []
    assert loader.state_dict()["epoch"] == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_sees_every_batch(root: Path, workers: int) -> None:
    loader = ChipLoader(stream_of(root), 4, num_workers=workers, collate_fn=_marked)
    assert [batch["marked"] for batch in loader] == [len(batch["chip_id"]) for batch in loader]


def _marked(batch: dict[str, Any]) -> dict[str, Any]:
    return {**batch, "marked": len(batch["chip_id"])}


def test_workers_that_live_on_learn_the_next_epoch(root: Path) -> None:
    loader = ChipLoader(stream_of(root), 2, num_workers=1, persistent_workers=True)
    living, fresh = [chips(list(loader)) for _ in range(3)], []
    for epoch in range(3):
        again = ChipLoader(stream_of(root), 2, num_workers=1)
        again.set_epoch(epoch)
        fresh.append(chips(list(again)))
    assert living == fresh
    assert living[0] != living[1]


def test_a_state_of_another_stream_is_refused(root: Path) -> None:
    state = ChipLoader(stream_of(root), 2).state_dict()
    for other in (stream_of(root, seed=6), stream_of(root, split="val")):
        with pytest.raises(DatasetError, match="another version, selection, seed"):
            ChipLoader(other, 2).load_state_dict(state)
    with pytest.raises(DatasetError, match="of 1 ranks, not 2"):
        ChipLoader(stream_of(root, rank=0, world_size=2), 2).load_state_dict(state)
    with pytest.raises(DatasetError, match="at least 1"):
        ChipLoader(stream_of(root), 0)


@pytest.mark.parametrize(("world_size", "share"), [(None, Share(1, 2)), (2, Share(1, 2)), (1, Share(0, 1))])
def test_a_process_reads_its_own_share_where_the_world_is_told(
    root: Path, world_size: int | None, share: Share
) -> None:
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        assert stream_of(root, world_size=world_size).share == share
    finally:
        torch.distributed.destroy_process_group()


def test_loaders_made_before_the_world_is_told_read_a_share_each(root: Path) -> None:
    loader = ChipLoader(stream_of(root), 4)
    module = ChipDataModule(root, StreamOptions(modalities=("s2",)), batch_size=4).train_dataloader()
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        assert len(loader) == 2
        read = [chip for batch in loader for chip in batch["chip_id"]]
        assert read == stream_of(root, rank=1, world_size=2).chip_ids()
        assert len(module) == 2
        sent = pickle.loads(pickle.dumps(loader.stream))
    finally:
        torch.distributed.destroy_process_group()
    assert sent.share == Share(1, 2)  # as a worker that is started afresh has it


def test_collating_pads_to_the_largest_and_marks_it(root: Path) -> None:
    samples = list(stream_of(root, pad=False, modalities=None))
    batch = collate(samples)
    dates = [sample["s2_10m"].shape[0] for sample in samples]
    assert len(set(dates)) > 1
    assert batch["s2_10m"].shape[:2] == (len(samples), max(dates))
    for slot, count in enumerate(dates):
        assert torch.equal(batch["s2_10m"][slot, :count], samples[slot]["s2_10m"])
        assert not batch["s2_10m_present"][slot, count:].any()
        assert not batch["s2_10m_valid"][slot, count:].any()
    loaded = next(iter(ChipLoader(stream_of(root, pad=False, modalities=None), len(samples))))
    assert loaded["s2_10m"].shape == batch["s2_10m"].shape


def test_a_damaged_shard_stops_the_epoch_with_its_name(root: Path, tmp_path: Path) -> None:
    from shutil import copytree

    from schemas.errors import IntegrityError

    copied = copytree(root, tmp_path / "dataset")
    for path in (copied / "shards" / "train").glob("*.tar"):
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"shards/train/.*no tar header"):
        list(ChipLoader(stream_of(copied), 2))


def test_a_stateful_loader_of_torchdata_stops_and_goes_on(root: Path) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    def loader() -> Any:
        stream = stream_of(root)
        stream.set_epoch(1)
        return StatefulDataLoader(stream, batch_size=2, num_workers=2, collate_fn=collate)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = chips(list(loader()))
        stopped = loader()
        source = iter(stopped)
        before = [next(source) for _ in range(3)]
        goes_on = loader()
        goes_on.load_state_dict(stopped.state_dict())
        after = list(goes_on)
    assert chips(before) + chips(after) == expected


def test_memory_is_used_again_but_never_while_anybody_holds_a_part_of_it(root: Path) -> None:
    loader = ChipLoader(stream_of(root), 2, ahead=1)
    held = [batch["s2_10m"][-1, 0] for batch in loader]  # views of slots, the batches themselves are gone
    copies = [view.clone() for view in held]
    again = [batch["s2_10m"].data_ptr() for batch in loader]
    assert all(torch.equal(view, copy) for view, copy in zip(held, copies, strict=True))
    assert len(set(again)) < len(again)
    arrays = [batch["s2_10m"].numpy()[-1, 0] for batch in loader]
    contents = [array.copy() for array in arrays]
    list(loader)
    assert all((array == content).all() for array, content in zip(arrays, contents, strict=True))
