"""A real trainer on a real dataset: what it saw, what a checkpoint keeps, and two processes that share an epoch."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from shards.pointer import read_pointer
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.version import publish
from terraweft import ChipDataModule, StreamOptions
from tests.unit.shards import made_up

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.rank_zero.LightningDeprecationWarning"),
]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lightning


class Recorder(lightning.LightningModule):
    """Learns one number, and remembers which chips came."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.stop_after = stop_after
        self.seen: list[list[str]] = []
        self.validated: list[str] = []

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append(list(batch["chip_id"]))
        if self.stop_after is not None and len(self.seen) == self.stop_after:
            self.trainer.save_checkpoint(self.checkpoint)
            raise KeyboardInterrupt
        return ((batch["s2_10m"].mean() - self.weight) ** 2).sum()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.validated += batch["chip_id"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    checkpoint = ""


def trainer_of(folder: Path, **more: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, **more,
    )  # fmt: skip


def data_of(root: Path, **more: Any) -> ChipDataModule:
    options = StreamOptions(modalities=("s2_10m",), normalise=True, seed=3)
    return ChipDataModule(root, options, batch_size=2, **more)


def test_every_chip_of_train_comes_once_an_epoch_in_another_order(published: Path, tmp_path: Path) -> None:
    model = Recorder()
    trainer_of(tmp_path).fit(model, datamodule=data_of(published))
    epochs = [[chip for batch in part for chip in batch] for part in (model.seen[:3], model.seen[3:])]
    wanted = open_dataset(published).chip_ids("train")
    assert [sorted(epoch) for epoch in epochs] == [sorted(wanted)] * 2
    assert epochs[0] != epochs[1]
    assert set(model.validated) == set(open_dataset(published).chip_ids("val"))


@pytest.mark.parametrize(("limit", "other"), [({"limit_train_batches": 2}, 1), ({"overfit_batches": 2}, 0)])
def test_epochs_that_lightning_cuts_short_are_the_beginnings_of_different_ones(
    published: Path, tmp_path: Path, limit: dict[str, int], other: int
) -> None:
    """But where it is asked to see the same batches again and again."""
    model, loader = Recorder(), data_of(published).train_dataloader()
    trainer_of(tmp_path, **limit).fit(model, datamodule=data_of(published))
    orders = []
    for epoch in (0, other):
        loader.set_epoch(epoch)
        orders += [list(batch["chip_id"]) for batch in loader][:2]
    assert model.seen == orders


@pytest.mark.parametrize("workers", [0, 1])
def test_a_checkpoint_in_mid_epoch_goes_on_with_the_batches_that_would_have_come(
    published: Path, tmp_path: Path, workers: int
) -> None:
    whole = Recorder()
    trainer_of(tmp_path).fit(whole, datamodule=data_of(published, num_workers=workers))
    stopped = Recorder(stop_after=4)
    stopped.checkpoint = str(tmp_path / "last.ckpt")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer_of(tmp_path).fit(stopped, datamodule=data_of(published, num_workers=workers))
    goes_on = Recorder()
    trainer_of(tmp_path).fit(
        goes_on, datamodule=data_of(published, num_workers=workers), ckpt_path=stopped.checkpoint, weights_only=False
    )
    assert stopped.seen + goes_on.seen == [*whole.seen[:4], *whole.seen[4:]]


def test_a_run_that_goes_on_reads_the_version_of_its_checkpoint(dataset_root: Path) -> None:
    data = data_of(dataset_root)
    state = data.state_dict()
    storage = open_storage(dataset_root)
    draft = made_up.draft(
        dataset_root, [made_up.sample(n) for n in range(5)], created=made_up.CREATED + timedelta(hours=1)
    )
    publish(storage, draft)
    pointer = read_pointer(storage)
    assert pointer is not None
    assert pointer.current != state["version"]
    again = data_of(dataset_root)
    assert again.dataset.version == pointer.current
    again.load_state_dict(state)
    assert again.dataset.version == state["version"]
    assert len(again.train_dataloader().stream) == 6
