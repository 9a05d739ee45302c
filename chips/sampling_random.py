"""All cells, or some at random."""

from __future__ import annotations

import numpy as np

from chips.cell_table import CellTable
from chips.sampling import SampleData, lowest, priorities
from schemas.recipe_samples import SampleAll, SampleRandom


def all_cells(cells: CellTable, step: SampleAll, data: SampleData, seed: int) -> CellTable:
    """Every cell."""
    return cells


def random_cells(cells: CellTable, step: SampleRandom, data: SampleData, seed: int) -> CellTable:
    """``n`` cells or a share of them, whatever else there is: of a larger region the same ones (with ``fraction``)."""
    order = priorities(cells.chip_id, seed)
    if step.n is not None:
        return cells.take(lowest(order, step.n))
    return cells.take(np.flatnonzero(order < float(step.fraction or 0.0)))
