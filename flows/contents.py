"""What the tables of a version hold: rows of chips that were made, and of those that stay as the parent has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from chips.inputs import with_models
from flows.fragments import read_json
from flows.looking import Look
from flows.reduce import Estimated
from flows.second_pass import chip_places, finished_row
from schemas.chip import Outcome
from shards.stored_tables import read_chips, read_outcomes, read_texts, table_of
from shards.tables import ROWS_AT_ONCE, batched, chips_table, in_column_order, joined
from shards.text_table import in_text_order, texts_table


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
    """What the tables hold: chips that were made, and those that stay as the parent has them."""

    chips: pa.Table
    """Of chips.parquet, by chip id."""
    texts: pa.Table
    """Of texts.parquet."""
    outcomes: list[Outcome]
    """Of outcomes.parquet, by chip id."""


def gather(found: Look, finished: Finished) -> Contents:
    """Rows of all chips, from the fragments and from the parent's tables.

    A row is a Python object for as long as its neighbours of `ROWS_AT_ONCE` are read.
    """
    chips, texts = [], []
    for places in batched(chip_places(finished.first, finished.second).items(), ROWS_AT_ONCE):
        pairs = [finished_row(chip_id, folder) for chip_id, (_, _, folder) in places]
        chips.append(chips_table(row for row, _ in pairs))
        texts.append(texts_table(text for _, written in pairs for text in written))
    models = finished.estimated.stored.models(found.job.recipe)
    outcomes = [
        _by_models(Outcome(**outcome), models)
        for folder in finished.first.values()
        for outcome in read_json(folder / "tile.json")["outcomes"]
    ]
    if found.before is not None:
        storage, parent, untouched = found.job.storage, found.before.document, found.outlook.untouched
        chips.append(read_chips(table_of(storage, parent, "chips"), untouched))
        texts.append(read_texts(table_of(storage, parent, "texts"), untouched))
        kept = read_outcomes(table_of(storage, parent, "outcomes"), untouched)
        outcomes += [_by_models(replace(one, inputs=untouched.of(one.chip_id)), models) for one in kept]
    return Contents(
        in_column_order(joined(chips or [chips_table(())]).sort_by("chip_id")),
        in_text_order(joined(texts or [texts_table(())])),
        sorted(outcomes, key=lambda outcome: outcome.chip_id),
    )


def _by_models(outcome: Outcome, models: Mapping[str, str]) -> Outcome:
    return replace(outcome, inputs=with_models(outcome.inputs, models))
