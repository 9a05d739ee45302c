"""Splits, decided for all cells at once before any pixel is read.

A split is decided per *unit*, never per chip: a square block, a stripe, a field of a checkerboard, or a group that the
chips belong to (an event, a year, an MGRS tile, a scene). How units come to their split:

* ``hash``: a hash of seed and name, so that a larger region never moves a unit to another split;
* ``balanced``: the fractions are met as nearly as whole units allow, over the units that there are;
* folds: the units are dealt over k folds of equal size and equal mixture of strata; one fold is test, the next val.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.grid_mgrs import mgrs_tiles
from chips.nearness import Squares
from schemas.errors import RecipeError
from schemas.recipe import SplitRule

SPLITS = ("train", "val", "test")
DATES = ("date", "datetime", "time")
"""Columns that a year is taken from."""


def split_cells(
    cells: CellTable, rule: SplitRule, seed: int, scenes: NDArray[np.str_] | None = None
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.bool_]]:
    """Split and unit of every cell, and which cells the buffer drops.

    Args:
        cells: N cells.
        rule: the recipe's split.
        seed: the recipe's seed.
        scenes: (N,) the scene that each cell counts to, for ``by: scene``; see `chips.split_scenes`.

    Returns:
        (N,) split, (N,) name of the unit, (N,) True where a train cell is closer than ``buffer_m`` to another split.

    Raises:
        RecipeError: the rule asks for a column that the cells do not have, or for more folds than there are units.
    """
    if rule.method == "listed":
        splits = _listed(cells)
        units = cells.columns["block_id"].astype(np.str_) if "block_id" in cells.columns else units_of(cells, rule)
    elif rule.method == "none":
        units = units_of(cells, rule, scenes)
        splits = np.full(len(cells), "train")
    else:
        units = units_of(cells, rule, scenes)
        names, inverse = np.unique(units, return_inverse=True)
        if rule.method == "kfold":
            _check_folds(cells, len(names), rule)
            folds = deal_folds(inverse, names, _strata(cells, rule), rule.folds, seed)
            splits = np.array([_of_fold(int(fold), rule) for fold in range(rule.folds)])[folds][inverse]
            units = np.char.add(np.char.add("f", folds.astype(np.str_))[inverse], np.char.add("_", units))
        else:
            splits = np.array(_assign(names, np.bincount(inverse), rule, seed), dtype=np.str_)[inverse]
    return splits, units, within_buffer(cells, splits, rule.buffer_m)


def units_of(cells: CellTable, rule: SplitRule, scenes: NDArray[np.str_] | None = None) -> NDArray[np.str_]:
    """(N,) name of the block, stripe or group that decides each cell's split."""
    if rule.by is not None:
        return _groups(cells, rule.by, scenes)
    x = (cells.bounds[:, 0] + cells.bounds[:, 2]) / 2
    y = (cells.bounds[:, 1] + cells.bounds[:, 3]) / 2
    epsg = cells.epsg.astype(np.int64)
    if rule.method == "stripes":
        angle = math.radians(rule.angle_deg)
        stripe = np.floor((x * math.cos(angle) + y * math.sin(angle)) / rule.block_m).astype(np.int64)
        return _named(epsg, stripe, np.zeros_like(stripe), "{}_s{}")
    columns, rows = np.floor(x / rule.block_m).astype(np.int64), np.floor(y / rule.block_m).astype(np.int64)
    return _named(epsg, columns, rows, "{}_{}_{}")


def _named(
    epsg: NDArray[np.int64], columns: NDArray[np.int64], rows: NDArray[np.int64], pattern: str
) -> NDArray[np.str_]:
    """Names of (code, column, row), each distinct one written once."""
    half = 1 << 23
    keys, inverse = np.unique((epsg << 48) + ((columns + half) << 24) + (rows + half), return_inverse=True)
    names = [
        pattern.format(int(key) >> 48, ((int(key) >> 24) & 0xFFFFFF) - half, (int(key) & 0xFFFFFF) - half)
        for key in keys
    ]
    return np.array(names or [""], dtype=np.str_)[inverse]


def _groups(cells: CellTable, by: str, scenes: NDArray[np.str_] | None) -> NDArray[np.str_]:
    if by in cells.columns:
        return np.asarray(cells.columns[by]).astype(np.str_)
    if by == "region":
        return cells.region
    if by == "majortom":
        return cells.majortom
    if by == "mgrs":
        return tiles_of(cells)
    if by == "scene" and scenes is not None:
        return scenes
    dates = next((name for name in DATES if name in cells.columns), None)
    if by == "year" and dates is not None:
        return years_of(cells.columns[dates])
    known = ", ".join(["region", "majortom", "mgrs", "scene", *sorted(cells.columns)])
    raise RecipeError(f"the chips have no column {by!r}", where="split.by", mend=f"one of: {known}")


def years_of(dates: NDArray[Any]) -> NDArray[np.str_]:
    """(N,) year of each date, as text.

    Args:
        dates: (N,) dates or times of NumPy, or in ISO form (2021-05-01, 20210501, with a time or without), or years.

    Raises:
        RecipeError: one is no date.

    Example:
        >>> years_of(np.array(["2021-05-01T10:00:00Z", "20200501", "2019"])).tolist()
        ['2021', '2020', '2019']
    """
    values = dates.astype("datetime64[s]") if dates.dtype.kind == "M" else dates
    known, inverse = np.unique(values.astype(np.str_), return_inverse=True)
    years = []
    for text in known.tolist():
        try:
            years.append(f"{datetime.fromisoformat(f'{text}-01-01' if len(text) == 4 else text).year:04d}")
        except ValueError as error:
            mend = "dates look like 2021-05-01"
            raise RecipeError(f"{text!r} is no date to take a year from", where="split.by", mend=mend) from error
    return np.array(years or [""], dtype=np.str_)[inverse]


def tiles_of(cells: CellTable) -> NDArray[np.str_]:
    """(N,) MGRS 100 km square of each cell's centre."""
    x = (cells.bounds[:, 0] + cells.bounds[:, 2]) / 2
    y = (cells.bounds[:, 1] + cells.bounds[:, 3]) / 2
    tiles = np.full(len(cells), "", dtype="U6")
    for code in np.unique(cells.epsg):
        here = cells.epsg == code
        epsg = int(code)
        if not (32601 <= epsg <= 32660 or 32701 <= epsg <= 32760):  # 32661 is polar
            raise RecipeError(f"EPSG:{epsg} is no UTM zone: its chips have no MGRS tile", where="split.by")
        if epsg < 32700 and bool((y[here] < 0).any()):
            raise RecipeError("cells in northern numbers lie south of the equator", where="split.by", mend="use 327zz")
        tiles[here] = mgrs_tiles(x[here], y[here], epsg)
    return tiles


def _listed(cells: CellTable) -> NDArray[np.str_]:
    if "split" not in cells.columns:
        raise RecipeError("the list of cells has no column split", where="split.method", mend="choose another method")
    splits = cells.columns["split"].astype(np.str_)
    strange = sorted(set(np.unique(splits).tolist()) - set(SPLITS))
    if strange:
        raise RecipeError(f"{strange[0]!r} is no split", where="split.method", mend=f"one of: {', '.join(SPLITS)}")
    return splits


def position(name: str, seed: int) -> float:
    """A number in [0, 1) that a seed and a name decide."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _assign(names: NDArray[np.str_], counts: NDArray[np.int64], rule: SplitRule, seed: int) -> list[str]:
    """Split of every unit."""
    units = names.tolist()
    fixed = {unit: split for split in ("val", "test") for unit in rule.held_out.get(split, ())}
    missing = sorted(set(fixed) - set(units))
    if missing:
        raise RecipeError(f"no chip belongs to {missing[0]!r}", where="split.held_out", mend="check the name")
    free = [unit for unit in units if unit not in fixed]
    if rule.held_out and rule.assign == "rest_is_train":
        drawn = dict.fromkeys(free, "train")
    elif rule.assign == "balanced":
        size = dict(zip(units, counts.tolist(), strict=True))
        drawn = _balanced({unit: size[unit] for unit in free}, rule, seed)
    else:
        drawn = {unit: _hashed(unit, rule, seed) for unit in free}
    return [fixed.get(unit) or drawn[unit] for unit in units]


def _hashed(unit: str, rule: SplitRule, seed: int) -> str:
    train, val, test = rule.fractions
    at = position(unit, seed)
    if rule.method == "checkerboard":
        _, column, row = unit.rsplit("_", 2)
        if (int(column) + int(row)) % 2 == 0 or val + test == 0:
            return "train"
        return "val" if at < val / (val + test) else "test"
    return "train" if at < train else "val" if at < train + val else "test"


def _balanced(sizes: Mapping[str, int], rule: SplitRule, seed: int) -> dict[str, str]:
    """Units in the order of their hashes, each to the split that lacks most of its share."""
    total = max(sum(sizes.values()), 1)
    have = dict.fromkeys(SPLITS, 0)
    chosen = {}
    for unit in sorted(sizes, key=lambda name: (-sizes[name], position(name, seed))):
        lacking = {s: f * total - have[s] for s, f in zip(SPLITS, rule.fractions, strict=True) if f > 0}
        chosen[unit] = max(lacking, key=lambda split: lacking[split])
        have[chosen[unit]] += sizes[unit]
    return chosen


def _strata(cells: CellTable, rule: SplitRule) -> NDArray[np.str_]:
    if rule.stratify is None:
        return np.full(len(cells), "")
    if rule.stratify not in cells.columns:
        known = ", ".join(sorted(cells.columns)) or "none"
        raise RecipeError(f"the chips have no column {rule.stratify!r}", where="split.stratify", mend=f"known: {known}")
    return np.asarray(cells.columns[rule.stratify]).astype(np.str_)


def _check_folds(cells: CellTable, units: int, rule: SplitRule) -> None:
    """Refuse more folds than units, with what helps: finer units do where enough chips are apart."""
    if units >= rule.folds:
        return
    middles = (cells.bounds[:, :2] + cells.bounds[:, 2:]) / 2
    apart = len(cells) if rule.by else len(np.unique(np.column_stack([cells.epsg, middles]), axis=0))
    mends = [f"at most {units} folds"] if units > 1 else []
    if apart >= rule.folds:
        mends.append("split.by of more groups" if rule.by else "a smaller split.block_m")
    else:
        mends.append("more chips" if rule.by else "chips at more places")
    raise RecipeError(
        f"{units} block(s) or group(s) cannot fill {rule.folds} folds", where="split.folds", mend=", or ".join(mends)
    )


def deal_folds(
    unit_of: NDArray[np.intp], names: NDArray[np.str_], strata: NDArray[np.str_], folds: int, seed: int
) -> NDArray[np.intp]:
    """(U,) fold of every unit: each goes where its strata are rarest so far, large units first.

    Args:
        unit_of: (N,) index of each cell's unit.
        names: (U,) names of the units.
        strata: (N,) stratum of each cell.
        folds: number of folds.
        seed: breaks ties.
    """
    kinds, kind_of = np.unique(strata, return_inverse=True)
    counts = np.zeros((len(names), len(kinds)))
    np.add.at(counts, (unit_of, kind_of), 1.0)
    share = counts / counts.sum(axis=0)  # of its stratum, so that a rare one weighs as much as a common one
    order = sorted(range(len(names)), key=lambda u: (-share[u].sum(), position(str(names[u]), seed)))
    have = np.zeros((folds, len(kinds)))
    fold_of = np.zeros(len(names), dtype=np.intp)
    for unit in order:
        cost = (have * share[unit]).sum(axis=1)
        fold_of[unit] = np.lexsort((have.sum(axis=1), np.round(cost, 12)))[0]
        have[fold_of[unit]] += share[unit]
    return fold_of


def _of_fold(fold: int, rule: SplitRule) -> str:
    """The rule's fold is test, the next one val (where the fractions want one), the rest train."""
    if fold == rule.fold:
        return "test"
    return "val" if rule.fractions[1] > 0 and fold == (rule.fold + 1) % rule.folds else "train"


def within_buffer(cells: CellTable, splits: NDArray[np.str_], buffer_m: float) -> NDArray[np.bool_]:
    """(N,) True for train cells whose edge is no farther than ``buffer_m`` from a cell of another split."""
    dropped = np.zeros(len(cells), dtype=np.bool_)
    if buffer_m > 0 and len(cells):
        train, held = np.flatnonzero(splits == "train"), np.flatnonzero(splits != "train")
        dropped[train] = Squares.of(cells).within(train, held, buffer_m)
    return dropped


def split_counts(splits: Iterable[str]) -> Mapping[str, int]:
    """Chips per split, every split named."""
    counts = Counter(splits)
    return {name: counts.get(name, 0) for name in SPLITS}
