"""The options of a training, and whether anybody can train like this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from chips.inputs import digest
from reference.devices import is_on_gpu, precision_of
from reference.lessons import ChipSource
from reference.model import SIZES
from schemas.errors import UserError

ACCELERATORS = ("auto", "cpu", "cuda", "gpu")
MOST_SEED = 2**32 - 1
"""Seeds of steps are made of it; PyTorch takes 64 bits, NumPy nothing below 0."""
WITHOUT_EFFECT = {"checkpoint_every", "validate_every", "workers", "accelerator", "precision", "compile"}
"""Options that may change when a training goes on: they decide neither the model nor what it is shown."""


@dataclass(frozen=True)
class Training:
    """How a model is trained."""

    size: str = "tiny"
    """tiny, small or base."""
    steps: int = 400
    """Steps of the optimiser."""
    batch_size: int = 8
    """Chips per step and process."""
    crop_m: float | None = None
    """Edge of the part of a chip that is shown; whole chips where None."""
    learning_rate: float = 3e-3
    """At its highest."""
    pixel_rate: float = 3.0
    """Times as high for what sees single pixels."""
    weight_decay: float = 0.02
    """Of matrices."""
    warmup: float = 0.08
    """Share of the steps in which the rate rises."""
    seed: int = 0
    """Of everything."""
    modality_dropout: float = 0.15
    """Chance of a modality to be left out of a batch."""
    date_dropout: float = 0.15
    """Chance of a date to be left out of a chip."""
    text_steps: int = 300
    """Steps in which captions are learned, after the others; 0: no texts."""
    by_confidence: bool = True
    """Whether sure labels count more."""
    balance: bool = True
    """Whether rare classes count more."""
    ema_decay: float = 0.995
    """Of the averaged weights, which are what is evaluated."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: none."""
    validate_every: int = 0
    """Steps between evaluations on val; 0: none."""
    workers: int = 0
    """Processes that read ahead."""
    devices: int = 1
    """GPUs, or processes on a CPU: more than one train by DDP."""
    accelerator: str = "auto"
    """cpu, cuda, or whatever is there."""
    precision: str = "auto"
    """bf16 (mixed: weights stay fp32) or fp32; auto is bf16 on a GPU, fp32 on a CPU."""
    compile: bool | None = None
    """Compile the trunk, whose shapes are fixed; on a GPU alone where None. Where no compiler is at hand it stays as it
    is, and the log says so."""

    def check(self) -> None:
        """Raises:
        UserError: nobody can train like this, or not on this machine.
        """
        sizes = {"learning_rate": self.learning_rate, "crop_m": self.crop_m}
        counts = {"steps": self.steps, "batch_size": self.batch_size, "devices": self.devices}
        wrong = {n: v for n, v in sizes.items() if v is not None and not (v > 0 and math.isfinite(v))}
        wrong |= {n: v for n, v in counts.items() if v < 1}
        for name, value in wrong.items():
            raise UserError(f"no training with {name} {value:g}", mend="a number above 0")
        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"no training with seed {self.seed}", mend=f"a number from 0 to {MOST_SEED}")
        if self.size not in SIZES:
            raise UserError(f"no size {self.size!r}", mend=f"one of: {', '.join(SIZES)}")
        if self.accelerator not in ACCELERATORS:
            raise UserError(f"no accelerator {self.accelerator!r}", mend=f"one of: {', '.join(ACCELERATORS)}")
        precision_of(self.precision, on_gpu=False)
        there = torch.cuda.device_count() if is_on_gpu(self.accelerator) else 0
        if self.accelerator in ("cuda", "gpu") and not there:
            raise UserError("PyTorch sees no GPU here", where=f"accelerator {self.accelerator}", mend="cpu, or auto")
        if there and self.devices > there:
            raise UserError(f"{self.devices} devices, but PyTorch sees {there} GPUs here", mend="fewer devices")


def settings_of(
    chips: ChipSource, train_ids: Sequence[str], edge_m: float, options: Training, weights: Tensor
) -> dict[str, Any]:
    """What decides a model and its course, for `reference.resuming`."""
    bands = [{**table.as_dict(), "numbers": None} for table in chips.groups.values()]  # machines round waves their way
    return {
        **{name: value for name, value in asdict(options).items() if name not in WITHOUT_EFFECT},
        "edge_m": edge_m,
        "groups": list(chips.groups),
        "bands": digest(bands),
        "classes": digest(list(chips.classes)),
        "chips": f"{len(train_ids)} ({digest(list(train_ids))})",
        "labels": digest([f"{value:.4g}" for value in weights.tolist()]),
    }
