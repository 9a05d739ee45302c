"""The version that a run starts from: what decided its chips, where they lie, and what was estimated over them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from flows.estimates import NAME, Estimates
from schemas.dataset import DatasetDocument
from shards.document import current_document
from shards.storage import Storage
from shards.stored_tables import file_of, read_places, read_unasked, table_of
from shards.tar import StoredSample


class Inputs:
    """Component hashes of many chips, a string for each: a million chips take some hundred MB."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[tuple[str, ...], str]] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __contains__(self, chip_id: object) -> bool:
        return chip_id in self._of

    def put(self, chip_id: str, inputs: Mapping[str, str]) -> None:
        """Remember a chip's hashes."""
        names = tuple(sorted(inputs))
        self._of[chip_id] = (self._names.setdefault(names, names), " ".join(inputs[name] for name in names))

    def of(self, chip_id: str) -> dict[str, str]:
        """A chip's hashes; none where it is not known."""
        names, joined = self._of.get(chip_id, ((), ""))
        return dict(zip(names, joined.split(), strict=True))


@dataclass(frozen=True)
class Before:
    """The parent version."""

    document: DatasetDocument
    """``dataset.json``."""
    estimates: Estimates
    """What was estimated over it."""
    inputs: Inputs = field(default_factory=Inputs)
    """Of every planned chip."""
    failed: frozenset[str] = frozenset()
    """Chips that failed: tried again whatever their inputs."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Rejected chip -> the reason that was given."""
    places: Mapping[str, StoredSample] = field(default_factory=dict)
    """Kept chip -> its sample."""
    unasked: frozenset[str] = frozenset()
    """Chips whose texts the template wrote because a model could not be asked: asked again whatever their inputs."""

    @property
    def version(self) -> str:
        """Its name."""
        return self.document.version


def load_before(storage: Storage) -> Before | None:
    """The current version; None before the first one, and where it does not say what decided its chips.

    Raises:
        DatasetError: one of its files is missing or damaged.
    """
    document = current_document(storage)
    if document is None or not document.estimates:
        return None
    inputs, failed, rejected = Inputs(), set(), {}
    table = pq.read_table(io.BytesIO(table_of(storage, document, "outcomes")))
    for row in table.select(["chip_id", "state", "reason", "inputs"]).to_pylist():
        inputs.put(row["chip_id"], dict(row["inputs"]))
        if row["state"] == "failed":
            failed.add(row["chip_id"])
        elif row["state"] == "rejected":
            rejected[row["chip_id"]] = sys.intern(row["reason"])
    return Before(
        document=document,
        estimates=Estimates.from_dict(json.loads(file_of(storage, document, NAME))),
        inputs=inputs,
        failed=frozenset(failed),
        rejected=rejected,
        places=read_places(table_of(storage, document, "chips")),
        unasked=frozenset(read_unasked(table_of(storage, document, "texts"))),
    )
