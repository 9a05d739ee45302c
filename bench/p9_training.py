"""P9: the reference model on one GPU: loader, model and both together, share of the matrix rate, busy share, profile.

    make bench-p9                                     # on a GPU machine: size base, the dataset below build/p9
    python bench/p9_training.py --dataset DATASET --size tiny --steps 8        # small, on a CPU

Four figures in one run. *Matrix rate*: a large square product in the type that training uses. *Model alone*: training
steps on one batch that stays on the device; operations counted by torch's own counter. *Loader alone*: batches
read, prepared and stacked, never shown to a model. *Both*: `reference.train.fit`, from shards to the optimiser's step.
On a machine without a GPU the same runs small, `holds` is null, and the result says so.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from bench.scenes import BUILD
from bench.worlds import sandbox_dataset, without_coarse
from reference.data import Batch, Chips, ground_size_m
from reference.lessons import Course, class_weights, loader
from reference.train import Lesson, Training, fit, new_model
from terraweft import open_dataset

LOADER_OVER_MODEL = 2.0
BUSY = 0.9
SHARE_OF_MATRIX_RATE = 0.4
TARGET_CHIPS = 20_000
REPEATS = 5


def smaller(recipe: dict[str, Any]) -> None:
    """Chips of 64 px; 30 m does not divide 640 m."""
    recipe["grid"] |= {"chip_m": 640, "tile_chips": 4}
    without_coarse(recipe)


def matrix_rate(device: torch.device, kind: torch.dtype) -> float:
    """Operations per second of a large square product, median of repeats."""
    edge = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(edge, edge, device=device, dtype=kind) for _ in range(2))
    rates = []
    for number in range(REPEATS + 2):
        wait(device)
        began = time.perf_counter()
        for _ in range(4):
            a @ b
        wait(device)
        if number >= 2:
            rates.append(4 * 2.0 * edge**3 / (time.perf_counter() - began))
    return statistics.median(rates)


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def model_alone(lesson: Lesson, batch: Batch, device: torch.device, steps: int) -> tuple[float, float, list[Any]]:
    """Seconds per step on a batch that stays, operations per step, and the profile's largest entries."""
    optimiser: Any = lesson.configure_optimizers()
    optimiser = optimiser["optimizer"]
    lesson.to(device).train()
    shown = batch.to(device)
    kind = torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=device.type == "cuda"):
            loss = lesson.loss(shown)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    with FlopCounterMode(display=False) as counter:
        step()
    operations = float(counter.get_total_flops())
    if device.type == "cuda":
        lesson.model.trunk.compile()
    for _ in range(3):
        step()
    seconds = []
    for _ in range(REPEATS):
        wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        seconds.append((time.perf_counter() - began) / steps)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as seen:
        for _ in range(2):
            step()
        wait(device)
    by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    top = sorted(seen.key_averages(), key=lambda entry: -float(getattr(entry, by)))[:12]
    total = sum(float(getattr(entry, by)) for entry in seen.key_averages()) or 1.0
    rows = [{"operation": e.key, "share": round(float(getattr(e, by)) / total, 4), "calls": e.count} for e in top]
    return statistics.median(seconds), operations, rows


def loader_alone(chips: Chips, chip_ids: list[str], options: Training, patch_m: float, batches: int) -> float:
    """Chips per second of batches that nobody learns from, once the first is there."""
    course = Course(options.batch_size, batches + 1, options.seed, options.crop_m, patch_m)
    found = iter(loader(chips, chip_ids, course, workers=options.workers, pin=torch.cuda.is_available()))
    next(found)
    began = time.perf_counter()
    count = sum(len(batch.chip_ids) for batch in found)
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure and record."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", help="made below build/p9 where absent")
    parser.add_argument("--world", default="40x40" if on_gpu else "tiny", help="size of the sandbox it is made of")
    parser.add_argument("--size", default="base" if on_gpu else "tiny")
    parser.add_argument("--batch-size", type=int, default=256 if on_gpu else 8)
    parser.add_argument("--steps", type=int, default=200 if on_gpu else 6)
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2) if on_gpu else 0)
    given = parser.parse_args()
    device = torch.device("cuda" if on_gpu else "cpu")
    if given.dataset is None:
        root, workers = BUILD / "p9" / given.world, os.cpu_count() or 2
        given.dataset = str(sandbox_dataset(root, smaller, size=given.world, seed=7, workers=workers))
    dataset = open_dataset(given.dataset)
    # Nothing is cached where a GPU is measured: batches come from shards on disk.
    chips = Chips(dataset, cache_bytes=0)
    ids = chips.ids("train")
    options = Training(
        size=given.size, steps=given.steps, batch_size=given.batch_size, workers=given.workers,
        modality_dropout=0.0, date_dropout=0.0, text_steps=0,
    )  # fmt: skip
    edge_m = ground_size_m(chips)
    model = new_model(chips, edge_m, options)
    lesson = Lesson(model, options, class_weights(chips, ids[:64], len(chips.classes)), chips, ids)
    course = Course(options.batch_size, 1, 0, None, model.patch_m)
    batch = next(iter(loader(chips, list(itertools.islice(itertools.cycle(ids), options.batch_size)), course)))
    rate = matrix_rate(device, torch.bfloat16 if on_gpu else torch.float32)
    seconds, operations, entries = model_alone(lesson, batch, device, max(1, given.steps // 10))
    eats = options.batch_size / seconds
    brings = loader_alone(chips, ids, options, model.patch_m, max(2, given.steps // 4))
    both = fit(chips, ids, edge_m, options)
    share, busy = operations / seconds / rate, min(1.0, both.samples_per_s / eats)
    holds = brings >= LOADER_OVER_MODEL * eats and busy >= BUSY and share >= SHARE_OF_MATRIX_RATE
    where = torch.cuda.get_device_name() if on_gpu else "no GPU: a small run on the CPU, for the script's sake"
    record(
        "p9",
        figure=share,
        unit="share of the measured matrix rate, model alone",
        target=SHARE_OF_MATRIX_RATE,
        holds=(holds and len(ids) >= TARGET_CHIPS * 0.6) if on_gpu else None,
        floor=None,
        rows=[
            {"figure": "model alone", "chips_per_s": round(eats, 1), "seconds_per_step": round(seconds, 4)},
            {"figure": "loader alone", "chips_per_s": round(brings, 1), "over_model": round(brings / eats, 2)},
            {"figure": "both", "chips_per_s": round(both.samples_per_s, 1), "busy_share": round(busy, 3)},
            {"figure": "matrix rate", "operations_per_s": round(rate), "share_reached": round(share, 4)},
            *({"figure": "profile", **entry} for entry in entries),
        ],
        packages=["torch", "lightning", "numpy"],
        further={
            "device": where,
            "size": given.size,
            "parameters": model.parameter_count(),
            "batch_size": options.batch_size,
            "train_chips": len(ids),
            "operations_per_chip": round(operations / options.batch_size),
            "precision": "bf16" if on_gpu else "fp32",
            "loader_workers": given.workers,
            "waits": None if on_gpu else "for a machine with a GPU: make bench-p9 there measures P9",
        },
    )


if __name__ == "__main__":
    main()
