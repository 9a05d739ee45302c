"""What a training leaves in its folder so that it can go on: the settings that its checkpoint is of, its metrics.

    last.ckpt             the state after some step
    settings.json         what decided the model and the course; compared before anybody goes on
    metrics/metrics.csv   rows of all parts of a training

A training that begins anew takes the folder for itself.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers import CSVLogger

from schemas.errors import UserError

CHECKPOINT, SETTINGS, METRICS = "last.ckpt", "settings.json", "metrics"
BEGIN_ANEW = "give the same options, or leave --resume out to begin anew"


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder one of a new training: checkpoints and metrics of another one go, the settings are written."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / CHECKPOINT, *folder.glob("last-v*.ckpt"), folder / METRICS / "metrics.csv"):
        path.unlink(missing_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")


def checkpoint_of(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    """The checkpoint to go on from; None where there is none.

    Raises:
        UserError: it is of other settings, or nobody knows of which.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    if not (folder / SETTINGS).is_file():
        raise UserError(f"there is no {SETTINGS} beside the checkpoint", where=str(path), mend=BEGIN_ANEW)
    known: dict[str, Any] = json.loads((folder / SETTINGS).read_text())
    differing = [name for name in {**known, **settings} if known.get(name) != settings.get(name)]
    if differing:
        said = ", ".join(f"{name} {_say(known.get(name))} there, {_say(settings.get(name))} here" for name in differing)
        raise UserError(f"the checkpoint is of another training: {said}", where=str(path), mend=BEGIN_ANEW)
    return path


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
    """Rows of a table of metrics, each with the columns that it fills; none where there is no table."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
