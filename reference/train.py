"""Training, on Lightning: `fit` takes chips and gives a model; the same on a CPU, a GPU or several.

The loss is cross-entropy, weighted by the label's confidence and by class, silent where the label abstains. Where there
are texts, the contrast of pictures and captions is learned afterwards (`reference.words`).
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from reference.data import Batch
from reference.devices import compile_for, gpu_busy, is_on_gpu, precision_of
from reference.evaluate import confusions, mean_iou
from reference.lessons import ChipSource, Course, class_weights, label_step_m, loader
from reference.losses import segmentation_loss
from reference.model import SIZES, ReferenceModel, dropped, patch_size_m
from reference.options import Training as Training  # taken from here by those who train
from reference.options import settings_of
from reference.resuming import Before, Metrics, WholeCheckpoints, alone_in, begin, checkpoint_of, save_whole
from reference.schedule import rise_and_fall
from reference.vocabulary import learn_vocabulary
from reference.words import learn_words
from schemas.errors import UserError

PIXEL_PARTS = ("pixels.", "head.")
"""Parts of the model that see single pixels."""


@dataclass
class Trained:
    """What came out."""

    model: ReferenceModel
    """The averaged weights."""
    steps: int
    """Steps taken in this call."""
    seconds: float
    """Wall time of them."""
    samples_per_s: float
    """Chips, of all processes."""
    losses: list[float] = field(default_factory=list)
    """Loss of each step, of this process."""
    rank: int = 0
    """Of the processes that trained, which one this is: the first one writes."""


class Lesson(lightning.LightningModule):
    """The loss, the optimiser, the averaged weights."""

    weights: Tensor

    def __init__(
        self,
        model: ReferenceModel,
        options: Training,
        weights: Tensor,
        chips: ChipSource,
        train_ids: Sequence[str],
        val_ids: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model, self.options = model, options
        self.average = AveragedModel(model, avg_fn=self._averaged)
        self.average.requires_grad_(False)
        self.register_buffer("weights", weights)
        self.chips, self.train_ids, self.val_ids = chips, list(train_ids), list(val_ids)
        self.losses: list[float] = []
        self._clock = (time.monotonic(), 0)
        self._begun_at = -1

    def _averaged(self, average: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        """Young averages follow fast: the decay is at most (1 + n) / (10 + n)."""
        decay = min(self.options.ema_decay, (1.0 + float(count)) / (10.0 + float(count)))
        return average + (now - average) * (1.0 - decay)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the step at which the trainer stands."""
        options, model = self.options, self.model
        course = Course(
            options.batch_size, options.steps, options.seed, options.crop_m, model.patch_m, label_m=model.label_m
        )
        return loader(
            self.chips,
            self.train_ids,
            course,
            start=self.trainer.global_step,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            workers=self.options.workers,
            pin=self.device.type == "cuda",
        )

    def on_train_epoch_start(self) -> None:
        """Lightning begins epochs as long as steps are missing, even where no batch comes.

        Raises:
            RuntimeError: no step since the last epoch began.
        """
        if self.trainer.global_step == self._begun_at:
            raise RuntimeError(f"no batch came after step {self._begun_at} of {self.options.steps}")
        self._begun_at = self.trainer.global_step

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one step."""
        chance = torch.Generator().manual_seed(self.options.seed * 1_000_003 + self.trainer.global_step)
        seen = dropped(
            batch,
            self.model.tables,
            chance,
            self.options.modality_dropout,
            self.options.date_dropout,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        loss = self.loss(seen)
        self.losses.append(float(loss.detach()))
        self.log("train/classes", loss.detach(), batch_size=len(batch.chip_ids))
        return loss

    def loss(self, batch: Batch) -> Tensor:
        """The loss."""
        output = self.model(batch)
        return segmentation_loss(
            output.scores,
            batch.label,
            batch.confidence if self.options.by_confidence else None,
            self.weights if self.options.balance else None,
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then average: before a checkpoint of this step is written."""
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.model)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Say how fast it goes."""
        began, count = self._clock
        count += len(batch.chip_ids) * self.trainer.world_size
        self._clock = (began, count)
        if self.trainer.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            elapsed = max(time.monotonic() - began, 1e-9)
            self.log("samples_per_s", count / elapsed, batch_size=1)
            if self.device.type == "cuda":
                self.log("gpu_memory_bytes", float(torch.cuda.max_memory_allocated()), batch_size=1)
                busy = gpu_busy(self.device)
                if busy is not None:
                    self.log("gpu_busy", busy, batch_size=1)
            self._clock = (time.monotonic(), 0)
            if self.val_ids and self.options.validate_every:
                self._validate()

    def _validate(self) -> None:
        if self.trainer.global_step % self.options.validate_every == 0:
            found = confusions(self.averaged(), self.chips, self.val_ids, device=self.device)
            self.log("val/mean_iou", mean_iou(found.sum(0)), batch_size=1)

    def averaged(self) -> ReferenceModel:
        """The model with averaged weights."""
        model = self.average.module
        assert isinstance(model, ReferenceModel)
        return model.eval()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the rate rises, then falls as half a cosine. Vectors are not decayed; what sees single pixels learns
        faster than the transformer can.
        """
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            groups.setdefault((name.startswith(PIXEL_PARTS), parameter.ndim > 1), []).append(parameter)
        optimiser = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.options.learning_rate * (self.options.pixel_rate if of_pixels else 1.0),
                    "weight_decay": self.options.weight_decay if matrix else 0.0,
                }
                for (of_pixels, matrix), parameters in groups.items()
            ],
            betas=(0.9, 0.98),
            fused=self.device.type == "cuda",
        )
        steps, warm = self.options.steps, max(1, round(self.options.warmup * self.options.steps))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rise_and_fall(step, steps, warm))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def new_model(
    chips: ChipSource, edge_m: float, options: Training, captions: Sequence[str] = (), label_m: float | None = None
) -> ReferenceModel:
    """A model for these chips, its weights drawn from the seed.

    Args:
        chips: what it will see.
        edge_m: edge of a chip on the ground.
        options: size and seed.
        captions: texts of the train split, and of no other, for the vocabulary; none: no text tower.
        label_m: pixel of the labels on the ground.

    Raises:
        UserError: an unknown size.
    """
    if options.size not in SIZES:
        raise UserError(f"no size {options.size!r}", mend=f"one of: {', '.join(SIZES)}")
    size = SIZES[options.size]
    patch_m = patch_size_m(chips.groups, edge_m, size.most_cells)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        vocabulary = learn_vocabulary(captions) if captions and options.text_steps else None
        return ReferenceModel(chips.groups, len(chips.classes), size, patch_m, vocabulary, label_m)


def fit(
    chips: ChipSource,
    train_ids: Sequence[str],
    edge_m: float,
    options: Training,
    *,
    val_ids: Sequence[str] = (),
    folder: Path | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    progress: bool = False,
) -> Trained:
    """Train a model.

    Args:
        chips: where chips come from.
        train_ids: those that it may see.
        edge_m: edge of a chip on the ground.
        options: how.
        val_ids: those that it is measured on, every `Training.validate_every` steps.
        folder: receives checkpoints and metrics, and loses what another training left; nothing is written where None.
        resume: go on from the folder's last checkpoint, if there is one: the same numbers as without the stop.
        stop_after: stop at this step, to go on another time; at the last one where None.
        progress: show a bar.

    Returns:
        The averaged model, and how fast it went.

    Raises:
        UserError: options that are none; a checkpoint of another training; one that is going on in the folder.
        DatasetError: no pixel has a label.
    """
    options.check()
    captions = [c for i in train_ids for c in chips[i].captions] if options.text_steps else []
    weights = class_weights(chips, train_ids, len(chips.classes))
    model = new_model(chips, edge_m, options, captions, label_step_m(chips[train_ids[0]], chips.groups, edge_m))
    lesson = Lesson(model, options, weights, chips, train_ids, val_ids)
    on_gpu = is_on_gpu(options.accelerator)
    keeps = bool(folder is not None and options.checkpoint_every)
    settings = settings_of(chips, train_ids, edge_m, options, weights)
    last = checkpoint_of(folder, settings) if resume and folder is not None else None
    saver = ModelCheckpoint(
        folder,
        save_last=True,
        save_top_k=0,
        every_n_train_steps=options.checkpoint_every or None,
        enable_version_counter=False,
    )
    callbacks: list[lightning.Callback] = [saver] if keeps else []
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        trainer = lightning.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            strategy="ddp_find_unused_parameters_true" if options.devices > 1 else "auto",
            use_distributed_sampler=False,
            max_steps=options.steps if stop_after is None else stop_after,
            max_epochs=-1,
            precision=precision_of(options.precision, on_gpu),
            logger=Metrics(folder) if folder is not None else False,
            callbacks=[*callbacks, Before(folder)] if folder is not None and last is not None else callbacks,
            enable_checkpointing=keeps,
            enable_progress_bar=progress,
            enable_model_summary=False,
            log_every_n_steps=min(options.validate_every or 20, options.steps),
            gradient_clip_val=1.0,
            num_sanity_val_steps=0,
            plugins=[WholeCheckpoints()],
        )
        stack.enter_context(alone_in(folder if trainer.is_global_zero else None))
        if folder is not None and last is None and trainer.is_global_zero:
            begin(folder, settings)
        if on_gpu if options.compile is None else options.compile:
            compile_for(model.trunk, "cuda" if on_gpu else "cpu")
        began = time.monotonic()
        with _interrupted():
            trainer.fit(lesson, ckpt_path=str(last) if last is not None else None)
        seconds = time.monotonic() - began
        steps, model = len(lesson.losses), lesson.averaged()
        if stop_after is None or stop_after >= options.steps:  # every process learns the same words
            device = trainer.strategy.root_device
            learn_words(model.to(device), chips, train_ids, options.text_steps, options.seed, device)
    return Trained(
        model.cpu(),
        steps,
        seconds,
        steps * options.batch_size * options.devices / max(seconds, 1e-9),
        lesson.losses,
        trainer.global_rank,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice about workers and loggers, which a validation would repeat for every model."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)


@contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C and a polite kill are interrupts: Lightning would end the process with 1 after the first, as a gate that
    fails does, and leave it deaf; with 0 after the second, as if all were well.

    Raises:
        KeyboardInterrupt: as it came.
    """
    heard = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended, SIGTERMException) or isinstance(ended.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, heard)


def save_model(path: Path, trained: Trained, options: Training, classes: Sequence[str], version: str) -> None:
    """Weights, and all that is needed to use them, in one file that `torch.load(weights_only=True)` opens."""
    model = trained.model
    words = model.text.vocabulary if model.text is not None else None
    save_whole(
        {
            "format": 1,
            "dataset_version": version,
            "classes": list(classes),
            "patch_m": model.patch_m,
            "label_m": model.label_m,
            "training": asdict(options),
            "groups": [table.as_dict() for table in model.tables.values()],
            "vocabulary": None if words is None else {"symbols": words.symbols, "merges": words.merges},
            "weights": model.state_dict(),
        },
        path,
    )
