"""What a training leaves in its folder so that it can go on: the settings that its checkpoint is of, its metrics.

    last.ckpt             the state after some step; whole whenever it is there
    settings.json         what decided the model and the course; compared before anybody goes on
    metrics/metrics.csv   rows of all parts of a training
    model.pt              what came out; there once the training has ended
    lock                  held by the one that trains

A training that begins anew takes the folder for itself.
"""

from __future__ import annotations

import csv
import fcntl
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from schemas.errors import UserError

log = logging.getLogger(__name__)

CHECKPOINT, SETTINGS, METRICS, LOCK, MODEL = "last.ckpt", "settings.json", "metrics", "lock", "model.pt"
BEGIN_ANEW = "give the same options, or leave --resume out to begin anew"
DAMAGED = "leave --resume out to begin anew"


@contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Hold a folder while a training writes into it; the kernel frees it when the process dies.

    Raises:
        UserError: another one trains there.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            mend = "wait for it, or name another folder by --out"
            raise UserError("another training writes here", where=str(folder), mend=mend) from error
        except OSError:
            log.debug("no locks on the file system of %s", folder)
        yield


def save_whole(what: Any, path: Path) -> None:
    """Save by `torch.save`, so that a file of this name is whole or that of before: it takes the name once it is on the
    disk, and is made in the same folder, for a name moves from one disk to another by a copy.
    """
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        torch.save(what, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints by `save_whole`: Lightning writes them in the folder of temporary files and moves them from there."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write one."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_whole(checkpoint, Path(path))


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder one of a new training: what another one left goes, the settings are written."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / MODEL, folder / CHECKPOINT, *folder.glob("last-v*.ckpt"), folder / METRICS / "metrics.csv"):
        path.unlink(missing_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")


def checkpoint_of(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """The checkpoint to go on from; None where there is none.

    Raises:
        UserError: it is damaged, of other settings, or nobody knows of which.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    if not (folder / SETTINGS).is_file():
        raise UserError(f"there is no {SETTINGS} beside the checkpoint", where=str(path), mend=BEGIN_ANEW)
    known = _whole_settings(folder / SETTINGS)
    differing = [name for name in {**known, **settings} if known.get(name) != settings.get(name)]
    if differing:
        said = ", ".join(f"{name} {_say(known.get(name))} there, {_say(settings.get(name))} here" for name in differing)
        raise UserError(f"the checkpoint is of another training: {said}", where=str(path), mend=BEGIN_ANEW)
    try:
        with zipfile.ZipFile(path) as file:  # as torch.save writes it, with a sum of each member
            if (member := file.testzip()) is not None:
                raise zipfile.BadZipFile(member)
    except zipfile.BadZipFile as error:
        raise UserError("the checkpoint is damaged", where=str(path), mend=DAMAGED) from error
    return path


def _whole_settings(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
        if isinstance(known, dict):
            return known
    except ValueError:
        pass
    raise UserError("the settings of the checkpoint are damaged", where=str(path), mend=DAMAGED)


def _say(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


class Metrics(CSVLogger):
    """Rows of a training in ``metrics/metrics.csv``; `Before` puts those of an earlier part before them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version=METRICS)


class Before(lightning.Callback):
    """Keeps the rows that a training wrote before it was stopped, up to the step from which it goes on: the logger by
    itself would begin its file anew.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = rows_of(folder / METRICS / "metrics.csv")

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Put them back as soon as the logger has begun."""
        self._put(trainer, self.rows)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave out those of steps that are taken again, once the step is known."""
        self._put(trainer, [row for row in self.rows if float(row["step"]) < trainer.global_step])

    def _put(self, trainer: lightning.Trainer, rows: Sequence[dict[str, Any]]) -> None:
        if trainer.is_global_zero and isinstance(trainer.logger, Metrics):
            writer = trainer.logger.experiment
            Path(writer.metrics_file_path).unlink(missing_ok=True)
            writer.metrics = list(rows)
            writer.save()


def rows_of(path: Path) -> Sequence[dict[str, Any]]:
    """Rows of a table of metrics, each with the columns that it fills; none where there is no table, and none that ends
    before its step: a kill may cut the last one off.
    """
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if str(row.get("step")).isdecimal()]
