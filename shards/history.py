"""The versions of a dataset: listed, compared, and gone back to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from shards import layout
from shards.document import read_document
from shards.pointer import list_versions, move_pointer, no_dataset, read_pointer, read_tagged_pointer
from shards.storage import Storage
from shards.version_tables import VersionTables
from shards.zarr_store import tags

ROW_OF_RUN = ("shard", "shard_index", "shard_offset", "shard_length", "zarr_index", "sample_sha256", "input_hash")
"""Columns that change with where a sample lies, or that stand for its whole."""
REST = "pixels, labels or inputs"
"""What of a sample stands in no table, or in such columns alone."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version in a list."""

    version: str
    """Its name."""
    current: bool
    """Whether the pointer names it."""
    created: str
    """UTC time."""
    parent_version: str
    """What it followed; empty for the first."""
    recipe_hash: str
    """What it was made of."""
    counts: Mapping[str, Any]
    """planned, kept, rejected, failed."""
    bytes: int
    """Of its shards."""
    diff: Mapping[str, Any]
    """Against its parent: added, changed, unchanged, removed, bytes written."""
    problem: str = ""
    """Why its ``dataset.json`` cannot be read; then nothing else is known."""


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What differs between two versions."""

    before: str
    """The first."""
    after: str
    """The second."""
    added: tuple[str, ...]
    """Chips that only the second holds."""
    removed: tuple[str, ...]
    """Chips that only the first holds."""
    changed: Mapping[str, tuple[str, ...]]
    """Chip -> names of the columns that differ, and ``texts`` where these do; `REST` where only other bytes
    of the sample do."""
    unchanged: int
    """Chips whose sample is the same byte for byte."""
    shards_shared: int
    """Shards that both list."""
    bytes_new: int
    """Bytes of the shards that only the second lists."""
    recipe: tuple[str, ...]
    """Keys of the recipe that differ, dotted."""
    steps: tuple[str, ...]
    """Steps whose declared version differs."""
    touched: Mapping[str, int]
    """Component -> chips that it touched; known where the second was made from the first."""


def current_version(storage: Storage) -> str:
    """Name of the version that the pointer names.

    Raises:
        DatasetError: there is no dataset.
    """
    pointer = read_pointer(storage)
    if pointer is None:
        raise no_dataset(storage)
    return pointer.current


def describe_versions(storage: Storage) -> list[VersionInfo]:
    """All finished versions, oldest first; none is current where the first of all still waits for its validation.

    Raises:
        DatasetError: there is no dataset.
    """
    pointer, versions = read_pointer(storage), list_versions(storage)
    if pointer is None and not versions:
        raise no_dataset(storage)
    current = pointer.current if pointer is not None else ""
    found = []
    for version in versions:
        try:
            document = read_document(storage, version)
        except DatasetError as error:  # the others are what a person goes back to
            found.append(VersionInfo(version, version == current, "", "", "", {}, 0, {}, error.line()))
            continue
        found.append(
            VersionInfo(
                version=version,
                current=version == current,
                created=document.created,
                parent_version=document.parent_version,
                recipe_hash=document.recipe_hash,
                counts=document.counts,
                bytes=sum(record.bytes for record in document.shards),
                diff=document.diff,
            )
        )
    return found


def compare_versions(storage: Storage, before: str, after: str) -> VersionDiff:
    """What differs between two versions, chip by chip.

    Args:
        storage: the dataset's root.
        before: name of a version.
        after: name of another.

    Raises:
        DatasetError: there is no such version, or its chips.parquet or texts.parquet cannot be read.
    """
    documents = [read_document(storage, version) for version in (before, after)]
    tables = [VersionTables(storage, document) for document in documents]
    old, new = (_hashes(table) for table in tables)
    both = sorted(old.keys() & new.keys())
    changed = _columns_that_differ(tables, [chip_id for chip_id in both if old[chip_id] != new[chip_id]])
    known = {record.path for record in documents[0].shards}
    return VersionDiff(
        before=before,
        after=after,
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=changed,
        unchanged=len(both) - len(changed),
        shards_shared=sum(record.path in known for record in documents[1].shards),
        bytes_new=sum(record.bytes for record in documents[1].shards if record.path not in known),
        recipe=tuple(keys_that_differ(documents[0].recipe, documents[1].recipe)),
        steps=tuple(keys_that_differ(documents[0].steps, documents[1].steps)),
        touched=documents[1].diff.get("touched", {}) if documents[1].parent_version == before else {},
    )


def roll_back(storage: Storage, version: str) -> str:
    """Make an older (or newer) finished version the current one; nothing is deleted. Hold the dataset's lock.

    Args:
        storage: the dataset's root.
        version: name of a finished version.

    Returns:
        Name of the version that was current.

    Raises:
        DatasetError: no such version, or a shard, a table or the Zarr that it lists is gone.
    """
    pointer, tag = read_tagged_pointer(storage)
    if pointer is None:
        raise no_dataset(storage)
    require_whole(storage, read_document(storage, version))
    if version != pointer.current:
        move_pointer(storage, pointer.name, version, tag)
    return pointer.current


def missing_from(storage: Storage, document: DatasetDocument) -> list[str]:
    """Shards and tables of a version that are gone or cut, and its Zarr where nothing is tagged with its name."""
    folder = layout.version_path(document.version)
    there = dict(storage.list(layout.SHARDS)) | dict(storage.list(folder))
    wanted: dict[str, Any] = {record.path: record.bytes for record in document.shards}
    wanted |= {f"{folder}/{name}": document.tables.get(name, {}).get("bytes") for name in layout.TABLES}
    missing = [path for path, size in wanted.items() if there.get(path) != size]
    if document.zarr and str(document.zarr.get("tag")) not in tags(storage):
        missing.append(f"{layout.ZARR} of {document.version}")
    return missing


def require_whole(storage: Storage, document: DatasetDocument) -> None:
    """Raise where nobody could open all of a version: to be asked before it becomes the current one.

    Raises:
        DatasetError: a shard, a table or the Zarr that it lists is gone.
    """
    missing = missing_from(storage, document)
    if missing:
        raise DatasetError(
            f"{len(missing)} of its files are gone or cut, first {missing[0]}",
            where=f"{storage.uri}/{layout.version_path(document.version)}",
            mend="choose another version",
        )


def keys_that_differ(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Dotted keys under which two JSON documents differ.

    >>> list(keys_that_differ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}))
    ['a.c', 'd']
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{path}.{key}" if path else str(key)
            if key not in before or key not in after:
                yield inner
            else:
                yield from keys_that_differ(before[key], after[key], inner)
    elif before != after:
        yield path


def _hashes(table: VersionTables) -> dict[str, str]:
    """Chip -> sha256 of its sample."""
    columns = table.chips(["chip_id", "sample_sha256"])
    return dict(zip(columns["chip_id"].to_pylist(), columns["sample_sha256"].to_pylist(), strict=True))


def _columns_that_differ(tables: Sequence[VersionTables], changed: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Chip -> columns in which its rows differ. One column after the other: all rows at once would be 60 kB a chip.

    Args:
        tables: of both versions.
        changed: chips that both hold.
    """
    if not changed:
        return {}
    wanted = pa.array(changed, pa.string())
    rows = [pc.index_in(wanted, table.chips(["chip_id"])["chip_id"].combine_chunks()) for table in tables]
    found: dict[str, list[str]] = {chip_id: [] for chip_id in changed}
    for name in sorted({*tables[0].chip_columns, *tables[1].chip_columns} - set(ROW_OF_RUN)):
        before, after = (
            table.chips([name])[name].take(numbers) if name in table.chip_columns else pa.nulls(len(changed))
            for table, numbers in zip(tables, rows, strict=True)
        )
        if before.type == after.type and before.equals(after):
            continue
        for names, one, other in zip(found.values(), before.to_pylist(), after.to_pylist(), strict=True):
            if one != other:
                names.append(name)
    one, other = (_text_hashes(table, wanted) for table in tables)
    for chip_id in one.keys() | other.keys():
        if one.get(chip_id) != other.get(chip_id):
            found[chip_id].append("texts")
    return {chip_id: tuple(names) or (REST,) for chip_id, names in found.items()}


def _text_hashes(table: VersionTables, wanted: pa.Array) -> dict[str, bytes]:
    """Chip -> hash of its rows of texts.parquet, in their order; of those chips that are wanted and have any."""
    found: dict[str, bytes] = {}
    with table.told("texts.parquet") as file:
        for batch in pq.ParquetFile(file).iter_batches():
            for row in batch.filter(pc.is_in(batch["chip_id"], wanted)).to_pylist():
                before = found.get(row["chip_id"], b"")
                found[row["chip_id"]] = hashlib.blake2b(before + repr(row).encode(), digest_size=16).digest()
    return found
