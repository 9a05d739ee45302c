"""`ChipDataModule`: a dataset as Lightning takes it, with places in the epoch that its checkpoints keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from schemas.errors import MissingExtraError
from shards.reader import Dataset
from terraweft.reading import open_dataset
from terraweft.torch_data import ChipStream, StreamOptions, Uneven
from terraweft.torch_loader import ChipLoader

try:
    from lightning.pytorch import LightningDataModule
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("lightning", "pytorch_lightning"):
        raise
    raise MissingExtraError.of("lightning", "train") from error


NORMALISED = StreamOptions(normalise=True)
"""What a model mostly wants."""


class ChipDataModule(LightningDataModule):
    """Loaders of the splits of one version, shared among the ranks of the trainer.

    A checkpoint keeps the version and how far the epoch was; a run that goes on from it reads the same version,
    whatever was published meanwhile, and the batches that would have come. Ranks get equal shares: of ``train`` the
    last few samples of an epoch are left out for it, of ``val`` and ``test`` the first few come twice.

    Args:
        dataset: an open dataset, or its address.
        options: what the streams yield; split, shuffling, ranks and ``uneven`` are set here.
        batch_size: samples of a batch.
        num_workers: processes that read, per loader; 0 for threads.
        train_split: name of the split that is trained on, likewise the others.
        val_split: of validation.
        test_split: of testing.
        **loader: further arguments of `ChipLoader`.

    Raises:
        DatasetError: no such dataset or version.
    """

    def __init__(
        self,
        dataset: Dataset | str | Path,
        options: StreamOptions = NORMALISED,
        *,
        batch_size: int = 8,
        num_workers: int = 0,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "test",
        **loader: Any,
    ) -> None:
        super().__init__()
        opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, options.version)
        self.dataset, self.options = opened, options
        self.batch_size, self.num_workers, self._loader = batch_size, num_workers, loader
        self.splits = {"train": train_split, "val": val_split, "test": test_split}

    def train_dataloader(self) -> ChipLoader:
        """Shuffled batches; each pass in another order."""
        return self._of("train", shuffle=True, uneven="drop")

    def val_dataloader(self) -> ChipLoader:
        """Batches in the order of the shards."""
        return self._of("val", shuffle=False, uneven="repeat")

    def test_dataloader(self) -> ChipLoader:
        """Likewise."""
        return self._of("test", shuffle=False, uneven="repeat")

    def predict_dataloader(self) -> ChipLoader:
        """The test split, each sample once."""
        return self._of("test", shuffle=False, uneven="keep")

    def _of(self, stage: str, *, shuffle: bool, uneven: Uneven) -> ChipLoader:
        trainer = self.trainer
        options = replace(
            self.options,
            split=self.splits[stage],
            shuffle=shuffle,
            uneven=uneven,
            rank=trainer.global_rank if trainer is not None else None,
            world_size=trainer.world_size if trainer is not None else None,
        )
        stream = ChipStream(self.dataset, options)
        loader = ChipLoader(stream, self.batch_size, num_workers=self.num_workers, **self._loader)
        if trainer is not None and shuffle and not trainer.overfit_batches:  # type: ignore[attr-defined]
            stream.set_epoch(trainer.current_epoch)
            # Lightning tells a loader's sampler alone which epoch begins. A pass that it breaks off
            # (limit_train_batches) moves on to no other, and the same batches would come in every epoch.
            loader.sampler.set_epoch = loader.set_epoch  # type: ignore[attr-defined]
        return loader

    def state_dict(self) -> dict[str, Any]:
        """The version, for the checkpoint."""
        return {"version": self.dataset.version}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Read the version of the checkpoint.

        Raises:
            DatasetError: it is not there any more.
        """
        if state_dict["version"] != self.dataset.version:
            self.dataset = self.dataset.at(str(state_dict["version"]))
