"""Writes a run's plan (`flows.plan_store`) batch by batch; the one before stays until it is complete."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from chips.estimate import Estimate
from chips.plan import OF_SPLITS, LayerPlan, PlannedCells
from chips.tiling import TileTable
from flows.frozen_items import ITEMS
from flows.plan_store import CHIPS, FORMAT, PAIRS, PLAN, TILES, USED
from flows.steps import STEPS
from schemas.chip import PLACE_PREFIX
from schemas.errors import RecipeError
from shards.layout import replace_durably, sync_file
from shards.lock import hold_folder

ROWS = 4096
"""Rows of a row group."""
BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_FEW_VALUES = frozenset({"epsg", "region", "split", "block_id", "majortom_cell", "layer", "tile"})


class PlanWriter:
    """Writes the tables of a plan batch by batch; complete when `finish` has returned, and until then what lay in the
    folder before stays: a plan that cannot be made takes none away. A context manager, which leaves nothing half-made.

    Args:
        folder: the plan's folder; a plan that lies there is replaced in the end.

    Raises:
        RecipeError: another plan is being made there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._held = _hold(folder)
        _sweep(folder)
        self.making = folder / f".{PLAN}.{os.getpid()}"
        """Where the tables lie until they are complete, the frozen items too."""
        self.making.mkdir()
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> PlanWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.making, ignore_errors=True)
        if self._held is not None:
            fcntl.flock(self._held, fcntl.LOCK_UN)  # a process forked meanwhile has it open too
            os.close(self._held)

    def chips(self, chips: PlannedCells, footprints: NDArray[np.object_], tile: NDArray[np.int32]) -> None:
        """Chips in reading order, with their outlines and the numbers of their tiles."""
        cells = chips.cells
        bounds = pa.ListArray.from_arrays(np.arange(len(cells) + 1) * 4, pa.array(cells.bounds.reshape(-1)))
        columns = {
            "chip_id": pa.array(cells.chip_id),
            "geometry": pa.array(shapely.to_wkb(footprints), pa.binary()),
            "bbox": _boxes(footprints),
            "epsg": pa.array(cells.epsg, pa.int32()),
            "bounds_xyxy": bounds,
            "region": pa.array(cells.region),
            "split": pa.array(chips.split),
            "block_id": pa.array(chips.block_id),
            "majortom_cell": pa.array(cells.majortom),
            "tile": pa.array(tile, pa.int32()),
        }
        further = {name: values for name, values in cells.columns.items() if name not in OF_SPLITS}
        columns |= {f"{PLACE_PREFIX}{name}": pa.array(values) for name, values in further.items()}
        self._write(CHIPS, pa.table(columns))

    def tiles(
        self, tiles: TileTable, start: int, stop: int, hulls: NDArray[np.object_], pairs: NDArray[np.int64]
    ) -> None:
        """A range of tiles, with their outlines and how many pairs each has."""
        columns = {
            "tile_id": pa.array(tiles.tile_id[start:stop]),
            "geometry": pa.array(shapely.to_wkb(hulls), pa.binary()),
            "bbox": _boxes(hulls),
            "epsg": pa.array(tiles.epsg[start:stop], pa.int32()),
            "first_chip": pa.array(tiles.first[start:stop], pa.int64()),
            "chips": pa.array(np.diff(tiles.first[start : stop + 1]), pa.int32()),
            "pairs": pa.array(pairs, pa.int32()),
        }
        self._write(TILES, pa.table(columns))

    def pairs(self, tile: NDArray[np.int64], name: NDArray[np.str_], row: NDArray[np.int64]) -> None:
        """Pairs by tile, then by modality, then in the order in which items are preferred."""
        columns = {"tile": pa.array(tile, pa.int32()), "layer": pa.array(name), "item": pa.array(row, pa.int32())}
        self._write(PAIRS, pa.table(columns))

    def finish(self, document: Mapping[str, Any]) -> None:
        """Put the tables in the place of those before, and write ``plan.json``; all is on the disk before it counts."""
        if PAIRS not in self._writers:
            self.pairs(np.empty(0, np.int64), np.empty(0, np.str_), np.empty(0, np.int64))
        for writer in self._writers.values():
            writer.close()
        made = [name for name in (*self._writers, ITEMS) if (self.making / name).exists()]
        for name in made:
            sync_file(self.making / name)
        for name in (PLAN, USED):
            (self.folder / name).unlink(missing_ok=True)
        for name in made:
            os.replace(self.making / name, self.folder / name)
        text = json.dumps({"format": FORMAT, "step": STEPS["plan"], **document}, indent=1, sort_keys=True)
        replace_durably(self.folder / PLAN, f"{text}\n".encode())

    def _write(self, name: str, table: pa.Table) -> None:
        if name not in self._writers:
            schema = table.schema.with_metadata(_geo() if "geometry" in table.column_names else None)
            self._writers[name] = pq.ParquetWriter(
                self.making / name,
                schema,
                compression="zstd",
                compression_level=1,
                version="2.6",
                use_dictionary=[column for column in schema.names if column in _FEW_VALUES],
            )
        self._writers[name].write_table(table.cast(self._writers[name].schema), row_group_size=ROWS)


def _hold(folder: Path) -> int | None:
    """The folder's lock: what another process makes in it must not be swept away."""
    try:
        return hold_folder(folder)
    except BlockingIOError as error:
        mend = "wait for it, or give another folder"
        raise RecipeError("another plan is being made in this folder", where=str(folder), mend=mend) from error


def _sweep(folder: Path) -> None:
    """Remove what a plan that was killed here left half-written: items by the gigabyte, under its process number."""
    for leftover in (*folder.glob(f".{ITEMS}.*"), *folder.glob(f".{PLAN}.*")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _boxes(geometries: NDArray[np.object_]) -> pa.StructArray:
    bounds = shapely.bounds(geometries).reshape(-1, 4)
    return pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], fields=list(BBOX))


def _geo() -> dict[str, str]:
    covering = {"bbox": {side: ["bbox", side] for side in BBOX.names}}
    column = {"encoding": "WKB", "geometry_types": [], "covering": covering}
    return {"geo": json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})}


def describe(layers: Sequence[LayerPlan], estimated: Estimate) -> dict[str, Any]:
    """Layers and estimate as ``plan.json`` holds them."""
    return {"layers": [asdict(layer) for layer in layers], "estimate": asdict(estimated)}
