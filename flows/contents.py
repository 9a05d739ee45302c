"""What the tables of a version hold: rows of chips that were made, and of those that stay as the parent has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chips.inputs import with_models
from flows.fragments import read_json
from flows.looking import Look
from flows.reduce import Estimated
from flows.second_pass import chip_places, finished_row
from schemas.chip import Outcome
from shards.stored_tables import read_outcomes, read_rows, read_texts, table_of


@dataclass(frozen=True)
class Finished:
    """What the passes made."""

    first: Mapping[str, Path]
    """Tile id -> fragments of the first pass."""
    second: Mapping[str, Path]
    """Tile id -> fragments of the second pass."""
    estimated: Estimated
    """Parameters over the whole dataset."""
    buckets: Mapping[str, int]
    """Split -> number of its buckets."""


@dataclass(frozen=True)
class Contents:
    """Rows of the tables: of chips that were made, and of those that stay as the parent has them."""

    rows: list[dict[str, Any]]
    """Of chips.parquet."""
    texts: list[dict[str, Any]]
    """Of texts.parquet."""
    outcomes: list[Outcome]
    """Of outcomes.parquet, by chip id."""


def gather(found: Look, finished: Finished) -> Contents:
    """Rows of all chips, from the fragments and from the parent's tables."""
    rows, texts = [], []
    for chip_id, (_, _, folder) in chip_places(finished.first, finished.second).items():
        row, written = finished_row(chip_id, folder)
        rows.append(row)
        texts += written
    tiles = [read_json(folder / "tile.json") for folder in finished.first.values()]
    outcomes = [Outcome(**outcome) for tile in tiles for outcome in tile["outcomes"]]
    if found.before is not None:
        storage, version, untouched = found.job.storage, found.before.version, found.outlook.untouched
        rows += read_rows(table_of(storage, version, "chips"), untouched)
        texts += read_texts(table_of(storage, version, "texts"), untouched)
        kept = read_outcomes(table_of(storage, version, "outcomes"), untouched)
        outcomes += [replace(outcome, inputs=untouched.of(outcome.chip_id)) for outcome in kept]
    models = finished.estimated.stored.models(found.job.recipe)
    outcomes = [replace(outcome, inputs=with_models(outcome.inputs, models)) for outcome in outcomes]
    rows.sort(key=lambda row: str(row["chip_id"]))
    return Contents(rows, texts, sorted(outcomes, key=lambda outcome: outcome.chip_id))
