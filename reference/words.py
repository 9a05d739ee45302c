"""Captions, learned when the pictures are: a text tower and a projection learn, the pictures' vectors stay as they are.

Zhai et al. (2022), "LiT: Zero-Shot Transfer with Locked-image text Tuning". Beside the classes, a few pairs per step
and pictures that still change under them, towers that start from nothing often end where every text has one vector
(docs/adr/0023). So words cannot change what a model says of classes either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reference.data import stack
from reference.evaluate import alike
from reference.lessons import ChipSource
from reference.losses import contrast
from reference.model import ReferenceModel
from reference.schedule import rise_and_fall

AT_ONCE = 8
"""Chips that are looked at together."""
PAIRS = 32
"""Chips that are told apart in a step, each by one of its captions."""
RATE = 1e-3
"""Of learning, at its highest."""
WARMUP = 1 / 6
"""Share of the steps in which it rises."""
WEIGHT_DECAY = 0.02


def learn_words(
    model: ReferenceModel,
    chips: ChipSource,
    chip_ids: Sequence[str],
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> list[float]:
    """Train text tower, projection and temperature of a model whose pictures are learned; the loss of each step.

    Args:
        model: changed; on the device already. Nothing happens to one without a text tower.
        chips: where from.
        chip_ids: chips to learn from; those without captions are left aside.
        steps: of the optimiser.
        seed: of the order of chips and captions.
        device: where the model is.
    """
    if model.text is None or model.scale is None:
        return []
    pictures, said = told(model, chips, chip_ids, device)
    if len(said) < 2:
        return []
    learned = [*model.project.parameters(), *model.text.parameters(), model.scale]
    for parameter in learned:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(learned, lr=RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    luck, warm, losses = np.random.Generator(np.random.PCG64([seed, steps])), max(1, round(WARMUP * steps)), []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * rise_and_fall(step, steps, warm)
        drawn = luck.permutation(len(said))[:PAIRS].tolist()
        captions = [said[number][int(luck.integers(len(said[number])))] for number in drawn]
        loss = contrast(model.project(pictures[drawn]), model.text(captions), captions, model.scale)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    for parameter in learned:
        parameter.requires_grad_(False)
    return losses


@torch.no_grad()
def told(
    model: ReferenceModel, chips: ChipSource, chip_ids: Sequence[str], device: torch.device | str
) -> tuple[Tensor, list[tuple[str, ...]]]:
    """(n, D) what the model sees in whole chips, before the projection, and the captions of each: of the n chips that
    have any. Each chip is read once.
    """
    model.eval()
    seen: list[Tensor] = []
    said: list[tuple[str, ...]] = []
    for parts in alike((part for chip_id in chip_ids if (part := chips[chip_id]).captions), AT_ONCE):
        seen.append(model(stack(parts).to(device)).summary.float())
        said += [part.captions for part in parts]
    return torch.cat(seen) if seen else torch.zeros(0, model.size.width), said
