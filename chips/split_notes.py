"""Notes on a plan's splits: told where one is empty, or far from the fraction that was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chips.splits import SPLITS, split_counts
from schemas.recipe import Recipe

FAR_FROM_ASKED = 0.15
"""Share of the chips by which a split may miss its fraction before the plan says so."""


def split_notes(recipe: Recipe, split: NDArray[np.str_], dropped: int = 0) -> list[str]:
    """What the hash of a few blocks and the buffer made of the fractions: told where a split is empty or far from what
    was asked.

    Args:
        recipe: the recipe.
        split: (N,) split of every chip that is left.
        dropped: chips of train that the buffer left out.
    """
    rule, counts = recipe.split, split_counts(split.tolist())
    if rule.method != "none" and dropped and not counts["train"] and rule.aimed_at() is None:
        return [f"split.buffer_m left out all {dropped} chips of train: take a smaller one"]
    far = _far_from_asked(recipe, counts)
    if not far:
        return []
    mends = []
    if dropped and any(line.startswith("train") for line in far):
        mends.append(f"take a smaller split.buffer_m, which left out {dropped} of {len(split) + dropped}")
    if not mends or _far_from_asked(recipe, {**counts, "train": counts["train"] + dropped}):
        balance = "split.assign: balanced, " if rule.by and rule.method == "groups" and rule.assign == "hash" else ""
        finer = f"{balance}more groups" if rule.by else "a smaller split.block_m"
        mends.append(f"take {finer} or another seed")
    return [f"the splits hold {', '.join(far)} of the chips: {', and '.join(mends)}"]


def _far_from_asked(recipe: Recipe, counts: Mapping[str, int]) -> list[str]:
    total, wanted = sum(counts.values()), recipe.split.aimed_at()
    return [
        f"{name} {counts[name] / total:.0%} instead of {fraction:.0%}"
        for name, fraction in zip(SPLITS, wanted or (), strict=wanted is not None)
        if abs(counts[name] / total - fraction) > FAR_FROM_ASKED or (fraction > 0 and counts[name] == 0)
    ]
