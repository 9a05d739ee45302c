"""Sampling: which of the grid's cells become chips, by steps that each turn a table of cells into a smaller one.

A sampler is one function, see `Sampler`. Ours stand in `SAMPLERS`; other packages add theirs through the entry-point
group ``terraweft.samplers``, and a recipe may name one as ``module:function``. Whatever is random is drawn by a hash
of the step's seed and the cell's id (`priorities`), so that the order of the cells changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.overview import Overview
from chips.places import Places
from schemas.errors import RecipeError, UserError

SAMPLERS: dict[str, str] = {
    "all": "chips.sampling_random:all_cells",
    "random": "chips.sampling_random:random_cells",
    "spacing": "chips.sampling_spacing:spaced_cells",
    "classes": "chips.sampling_classes:cells_by_class",
    "features": "chips.sampling_places:cells_by_feature",
    "cities": "chips.sampling_places:cells_by_city",
    "ecoregions": "chips.sampling_places:cells_by_area",
    "points": "chips.sampling_places:cells_at_points",
    "list": "chips.sampling_places:cells_listed",
}
"""Kind -> the function that samples."""
ENTRY_POINTS = "terraweft.samplers"


@dataclass(frozen=True)
class SampleData:
    """What the files of a step hold."""

    places: Places | None = None
    """Its table."""
    overviews: tuple[Overview, ...] = ()
    """Its rasters of classes."""


class Sampler(Protocol):
    """What a sampler is."""

    def __call__(self, cells: CellTable, step: Any, data: SampleData, seed: int) -> CellTable:
        """Some of the cells, in the order they came, perhaps with columns more.

        Args:
            cells: the candidates.
            step: the step as the recipe has it.
            data: what its files hold.
            seed: decides everything random.
        """
        ...


def sample_cells(cells: CellTable, steps: Sequence[Any], data: Sequence[SampleData], seed: int) -> CellTable:
    """The cells that all steps leave, in order of their ids.

    Args:
        cells: the grid's cells.
        steps: the recipe's ``sample``.
        data: what the files of each step hold.
        seed: the recipe's seed.

    Raises:
        RecipeError: an unknown sampler, one that fails or makes up cells, or a step that leaves none.
    """
    cells = cells.take(np.argsort(cells.chip_id, kind="stable"))
    for index, (step, held) in enumerate(zip(steps, data, strict=True)):
        where = f"sample.{index}"
        chosen = _sampled(find_sampler(step.kind, where), where, cells, step, held, step_seed(step.seed, seed, index))
        if not np.isin(chosen.chip_id, cells.chip_id).all() or len(np.unique(chosen.chip_id)) != len(chosen):
            raise RecipeError(f"the sampler {step.kind!r} gave cells that it was not given, or one twice", where=where)
        if not len(chosen):
            raise RecipeError(
                f"the step {step.kind!r} leaves none of {len(cells):,} cells", where=where, mend="ask for less"
            )
        cells = chosen.take(np.argsort(chosen.chip_id, kind="stable"))
    return cells


def _sampled(sampler: Sampler, where: str, cells: CellTable, step: Any, held: SampleData, seed: int) -> CellTable:
    """What a step leaves.

    Raises:
        RecipeError: the sampler is another package's, and fails or gives no table.
    """
    if step.kind in SAMPLERS:
        return sampler(cells, step, held, seed)
    try:
        chosen = sampler(cells, step, held, seed)
    except UserError:
        raise
    except Exception as error:
        said = f"the sampler {step.kind!r} failed: {type(error).__name__}: {error}"
        raise RecipeError(said, where=where, mend="see chips.sampling.Sampler for what it is given") from error
    if not isinstance(chosen, CellTable):
        raise RecipeError(f"the sampler {step.kind!r} gave {type(chosen).__name__}, no CellTable", where=where)
    return chosen


def step_seed(own: int | None, seed: int, index: int) -> int:
    """Seed of a step: its own, or one made from the recipe's seed and the step's place."""
    if own is not None:
        return own
    return int.from_bytes(hashlib.sha256(f"sample/{seed}/{index}".encode()).digest()[:8], "big")


def find_sampler(kind: str, where: str = "sample") -> Sampler:
    """The function of a kind.

    Raises:
        RecipeError: unknown; lists the known ones.
    """
    targets = SAMPLERS | {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    target = targets.get(kind, kind if ":" in kind else "")
    module, _, name = target.partition(":")
    if not name:
        raise RecipeError(f"unknown sampler {kind!r}", where=where, mend=f"known: {', '.join(sorted(targets))}")
    try:
        return cast(Sampler, getattr(import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"the sampler {target!r} cannot be imported", where=where, mend="install it") from error


def priorities(names: NDArray[np.str_], seed: int) -> NDArray[np.float64]:
    """(N,) numbers in [0, 1) that a seed and each name decide: FNV-1a over the letters, mixed as splitmix64 does.

    Example:
        >>> import numpy as np
        >>> priorities(np.array(["a", "bb"]), 7).round(4).tolist()
        [0.8463, 0.0652]
    """
    words = names.astype(np.str_)
    letters = words.view(np.uint32).reshape(len(words), words.itemsize // 4)
    state = np.full(len(names), 0xCBF29CE484222325 ^ (seed & 0xFFFFFFFFFFFFFFFF), dtype=np.uint64)
    for column in range(letters.shape[1]):
        letter = letters[:, column].astype(np.uint64)
        state = np.where(letter > 0, (state ^ letter) * np.uint64(0x100000001B3), state)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


def lowest(order: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices, rising, of the ``count`` smallest numbers."""
    return np.sort(np.argsort(order, kind="stable")[:count])


def capped(groups: NDArray[np.intp], order: NDArray[np.float64], caps: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices, rising, of at most ``caps[g]`` members of every group, the smallest numbers first.

    Args:
        groups: (N,) group of each member.
        order: (N,) priority of each.
        caps: (G,) most members of each group.
    """
    sequence = np.lexsort((order, groups))
    counts = np.bincount(groups, minlength=len(caps))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.arange(len(groups)) - starts[groups[sequence]]
    return np.sort(sequence[rank < caps[groups[sequence]]])
