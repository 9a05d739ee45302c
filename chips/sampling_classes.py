"""Cells balanced over the classes of a land-cover overview."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.overview import class_shares
from chips.sampling import SampleData, capped, priorities
from schemas.recipe_samples import SampleClasses


def cells_by_class(cells: CellTable, step: SampleClasses, data: SampleData, seed: int) -> CellTable:
    """Equal numbers of cells of every class, as far as each class reaches; cells without data are left out."""
    codes, shares = class_shares(cells, data.overviews)
    if step.classes:
        wanted = np.isin(codes, step.classes)
        codes, shares = codes[wanted], shares[:, wanted]
    if not codes.size:
        return cells.take(np.empty(0, dtype=np.intp))
    class_of, has_one = assign_classes(shares, step.by, step.min_share)
    cells, class_of = cells.take(has_one), class_of[has_one]
    counts = np.bincount(class_of, minlength=len(codes))
    caps = np.full(len(codes), step.per_class) if step.per_class is not None else equal_quotas(counts, int(step.n or 0))
    kept = capped(class_of, priorities(cells.chip_id, seed), caps)
    return cells.take(kept).with_column(step.column, codes[class_of[kept]].astype(np.str_))


def assign_classes(
    shares: NDArray[np.float64], by: str, min_share: float
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The class that each cell counts to, and whether it has one.

    Args:
        shares: (N, K) share of each class.
        by: ``dominant`` or ``rarest``.
        min_share: least share for ``rarest``.
    """
    if by == "dominant":
        return shares.argmax(axis=1), np.asarray(shares.max(axis=1) > 0)
    present = (shares >= min_share) & (shares > 0)
    rarity = np.where(present, present.sum(axis=0)[None, :], np.iinfo(np.int64).max)
    return rarity.argmin(axis=1), np.asarray(present.any(axis=1))


def equal_quotas(counts: NDArray[np.intp], total: int) -> NDArray[np.intp]:
    """(K,) members of each class that sum to ``total`` (or all there are), as equal as the counts allow.

    Example:
        >>> import numpy as np
        >>> equal_quotas(np.array([100, 3, 50]), 43).tolist()
        [20, 3, 20]
    """
    quotas = np.zeros_like(counts)
    left = min(total, int(counts.sum()))
    while left > 0:
        open_ones = np.flatnonzero(quotas < counts)
        step = max(left // open_ones.size, 1)
        for index in open_ones:
            more = min(step, int(counts[index] - quotas[index]), left)
            quotas[index] += more
            left -= more
    return quotas
