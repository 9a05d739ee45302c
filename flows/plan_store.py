"""A run's plan on disk: tables that a person can open, and that a build reads tile by tile.

    plan/chips.parquet        GeoParquet: one row per chip, in the order in which tiles are read
    plan/tiles.parquet        GeoParquet: one row per tile, with where its chips and its pairs begin
    plan/tile_items.parquet   one row per tile, modality or label source, and item that touches it
    plan/items.parquet        the frozen items (stac-geoparquet): `flows.frozen_items`
    plan/plan.json            recipe hash, layers, notes, estimate; written last: with it the plan is complete

Chips, tiles and scenes become objects when their tile is read, and go with it: a plan of a million chips takes no more
memory than one of a hundred.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.estimate import Estimate
from chips.plan import LayerPlan, PlannedCells, chip_specs
from flows.frozen_items import ITEMS, FrozenItems
from flows.steps import STEPS
from schemas.chip import PLACE_PREFIX, ChipSpec, Tile
from schemas.errors import DatasetError, RecipeError, UserError
from schemas.recipe import Recipe
from schemas.scene import SceneItem

FORMAT = 1
CHIPS, TILES, PAIRS, PLAN = "chips.parquet", "tiles.parquet", "tile_items.parquet", "plan.json"
USED = "published"
"""Name of the empty file by which a published plan is known."""
KEPT_GROUPS = 32
"""Row groups kept in memory while tiles are read: each worker's run of neighbours lies in one or two."""


@dataclass(frozen=True)
class Part:
    """One of several equal shares of a plan's tiles."""

    number: int
    """From 1."""
    of: int
    """How many shares."""

    @classmethod
    def parse(cls, text: str) -> Part:
        """The share that ``2/8`` means.

        Raises:
            UserError: no such share.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"{text!r} is no part", where="--part", mend="write 1/8, 2/8, ... 8/8")
        return cls(int(number), int(of))

    def tiles(self, total: int) -> tuple[int, int]:
        """The range of tiles: neighbours stay together, every tile is in one share."""
        return total * (self.number - 1) // self.of, total * self.number // self.of


WHOLE = Part(1, 1)
"""All tiles."""


class StoredPlan:
    """A plan on disk.

    Args:
        folder: its folder.
        recipe: the recipe that it was made of.
        variables: values of ``${TERRAWEFT_...}``.
        part: the share of its tiles that is wanted.

    Raises:
        DatasetError: there is no complete plan, it is damaged, or software of another step ``plan`` made it.
        RecipeError: it is another recipe's.
    """

    def __init__(self, folder: Path, recipe: Recipe, variables: Mapping[str, str], part: Part = WHOLE) -> None:
        self.folder, self.recipe, self.part = folder, recipe, part
        document = read_plan_document(folder)
        if document["recipe_hash"] != recipe.hash():
            raise RecipeError(
                f"the plan is of another recipe ({document['recipe_hash'][:12]}, this one is {recipe.hash()[:12]})",
                where=str(folder),
                mend="plan again",
            )
        if (step := document.get("step")) != STEPS["plan"]:
            what = f"the plan is of software that plans otherwise (step plan {step or 'unknown'}, now {STEPS['plan']})"
            raise DatasetError(what, where=str(folder), mend="plan again")
        self.layers = tuple(LayerPlan(**{**layer, "bands": tuple(layer["bands"])}) for layer in document["layers"])
        self.notes: tuple[str, ...] = tuple(document["notes"])
        self.offered: Mapping[str, int] = document["offered"]
        self.splits: Mapping[str, int] = document["splits"]
        self.origin: str = document.get("origin", "")
        self.estimate = Estimate.of(document["estimate"])
        """Bytes, requests, disk."""
        self.items = FrozenItems(folder / ITEMS, recipe, variables)
        self.items.take_heights(document["heights"])
        self.examples: Mapping[str, int] = document["examples"]
        try:
            table = pq.read_table(folder / TILES, columns=["tile_id", "epsg", "chips", "pairs"])
            self._chips, self._pairs = RowReader(folder / CHIPS), RowReader(folder / PAIRS)
            pq.read_metadata(folder / ITEMS)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"the plan is damaged: {error}", where=str(folder), mend="plan again") from error
        self._ids: NDArray[np.object_] = table["tile_id"].to_numpy(zero_copy_only=False)
        self._codes: NDArray[np.int32] = table["epsg"].to_numpy()
        self._chip_rows = np.concatenate([[0], np.cumsum(table["chips"].to_numpy(), dtype=np.int64)])
        self._pair_rows = np.concatenate([[0], np.cumsum(table["pairs"].to_numpy(), dtype=np.int64)])
        self._low, self._high = part.tiles(table.num_rows)
        self._left_out: dict[tuple[str, int], set[str]] = {}

    @property
    def is_used_up(self) -> bool:
        """Whether a version was published of it: the next run asks the catalogs for what is new."""
        return (self.folder / USED).exists()

    def use_up(self) -> None:
        """Remember that a version was published of it."""
        (self.folder / USED).touch()

    @property
    def numbers(self) -> range:
        """Numbers of the part's tiles, in reading order."""
        return range(self._low, self._high)

    @property
    def chip_count(self) -> int:
        """Chips of the part."""
        return int(self._chip_rows[self._high] - self._chip_rows[self._low])

    def tile_id(self, number: int) -> str:
        """Name of a tile."""
        return str(self._ids[number])

    def tile(self, number: int) -> Tile:
        """A tile with its chips and scenes, made now."""
        chips = self._chips.rows(int(self._chip_rows[number]), int(self._chip_rows[number + 1]))
        found = self._items_of(number)
        items = {name: self._scenes(name, rows) for name, rows in found.items()}
        chip_ids = chips["chip_id"].to_pylist()
        for name, rows in found.items():
            for row in rows if len(items[name]) < len(rows) else ():
                if (name, row) in self.items.refused:
                    self._left_out.setdefault((name, row), set()).update(chip_ids)
        return Tile(self.tile_id(number), int(self._codes[number]), tuple(self._specs(chips)), items)

    def left_out(self) -> tuple[str, ...]:
        """Items that were refused only when their tiles were made: which, why, and how many chips lack them."""
        return tuple(
            f"{name}: {self.items.refused[name, row]}; left out of the {len(chips)} chip(s) of its tiles"
            for (name, row), chips in sorted(self._left_out.items())
        )

    def example(self, name: str) -> SceneItem:
        """The first item of a modality, which stands for all where bands are described.

        Raises:
            DatasetError: the plan has none of it.
        """
        scene = self.items.scene(name, self.examples[name]) if name in self.examples else None
        if scene is None:
            raise DatasetError(f"the plan has no item of {name}", where=str(self.folder), mend="plan again")
        return scene

    def tiles(self) -> Iterator[Tile]:
        """The tiles of the part in reading order, made one by one."""
        return (self.tile(number) for number in self.numbers)

    def scenes(self, name: str, item_ids: set[str] | None = None) -> Iterator[SceneItem]:
        """The items of a modality or label source that touch a tile of the part, once each.

        Args:
            name: which one.
            item_ids: those that are wanted; all where absent.
        """
        wanted = self.items.rows_of(item_ids) if item_ids is not None else None
        touching = {row for number in self.numbers for row in self._items_of(number)[name]}
        rows = touching if wanted is None else touching & wanted
        for row in sorted(rows):
            scene = self.items.scene(name, row)
            if scene is not None:
                yield scene

    def _scenes(self, name: str, rows: Sequence[int]) -> tuple[SceneItem, ...]:
        found = (self.items.scene(name, row) for row in rows)
        return tuple(scene for scene in found if scene is not None)

    def _specs(self, table: pa.Table) -> list[ChipSpec]:
        column = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names if name in _PLAIN}
        extra = [name for name in table.column_names if name.startswith(PLACE_PREFIX)]
        bounds = np.array(table["bounds_xyxy"].to_pylist(), np.float64).reshape(-1, 4)
        cells = CellTable(
            column["chip_id"].astype(np.str_),
            column["epsg"],
            bounds,
            column["region"].astype(np.str_),
            column["majortom_cell"].astype(np.str_),
            {name.removeprefix(PLACE_PREFIX): table[name].to_numpy(zero_copy_only=False) for name in extra},
        )
        planned = PlannedCells(cells, column["split"].astype(np.str_), column["block_id"].astype(np.str_))
        return chip_specs(self.recipe, planned, column["geometry"])

    def _items_of(self, number: int) -> dict[str, list[int]]:
        """Modality or label source -> rows of the frozen items that touch a tile."""
        found: dict[str, list[int]] = {name: [] for name in self.offered}
        pairs = self._pairs.rows(int(self._pair_rows[number]), int(self._pair_rows[number + 1]))
        for name, row in zip(pairs["layer"].to_pylist(), pairs["item"].to_pylist(), strict=True):
            found[name].append(row)
        return found


_PLAIN = frozenset({"chip_id", "geometry", "epsg", "region", "split", "block_id", "majortom_cell"})


class RowReader:
    """Ranges of rows of a Parquet file; a few row groups are kept, since neighbours are asked for one after the other.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.file = pq.ParquetFile(path)
        counts = [self.file.metadata.row_group(i).num_rows for i in range(self.file.metadata.num_row_groups)]
        self.first = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()

    def rows(self, low: int, high: int) -> pa.Table:
        """Rows from ``low`` to before ``high``."""
        if low == high:
            return self.file.schema_arrow.empty_table()
        start = int(np.searchsorted(self.first, low, side="right")) - 1
        stop = int(np.searchsorted(self.first, high, side="left"))
        parts = []
        for group in range(start, stop):
            begin, end = max(low, int(self.first[group])), min(high, int(self.first[group + 1]))
            parts.append(self._group(group).slice(begin - int(self.first[group]), end - begin))
        return pa.concat_tables(parts)

    def _group(self, number: int) -> pa.Table:
        if number not in self._kept:
            self._kept[number] = self.file.read_row_group(number)
            if len(self._kept) > KEPT_GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]


def read_plan_document(folder: Path) -> dict[str, Any]:
    """``plan.json`` of a plan.

    Raises:
        DatasetError: there is none, or one of another format.
    """
    path = folder / PLAN
    if not path.is_file():
        raise DatasetError("there is no complete plan", where=str(folder), mend="terraweft plan RECIPE --out FOLDER")
    try:
        document = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DatasetError("plan.json is damaged", where=str(folder), mend="plan again") from error
    if document.get("format") != FORMAT:
        raise DatasetError("the plan is of another format", where=str(folder), mend="plan again")
    return document
