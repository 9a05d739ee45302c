"""Publishing: a draft becomes an immutable version, and one small pointer moves to it.

Order, each step durable before the next: tables, Zarr (unseen), documents and report into a folder beside, the Zarr
tag, the folder's rename (or upload, ``dataset.json`` last), the pointer. Whatever dies in between, readers see the
version before.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError, IntegrityError
from shards import layout, outcome_tables, tables, text_table
from shards.document import content_hash_of, diff_of, make_document, read_document, write_documents
from shards.draft import Draft, check_draft
from shards.history import missing_from, require_whole
from shards.lock import Held
from shards.pointer import list_versions, move_pointer, read_tagged_pointer
from shards.storage import FolderStorage, Storage
from shards.zarr_prepare import PreparedZarr, prepare_zarr
from shards.zarr_store import NewFiles, used_tags, zarr_errors
from shards.zarr_write import Spread

log = logging.getLogger(__name__)

STAMP = "%Y%m%dT%H%M%SZ"
"""Time in the name of a version."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a draft."""

    version: str
    """The version that readers open now, or that waits for its validation."""
    published: bool
    """False where the current version holds the same content already: nothing was written."""
    path: str
    """Its folder, relative to the root."""
    diff: dict[str, Any] = field(default_factory=dict)
    """Against the parent; empty where nothing was published."""


def _quiet(step: str) -> None:
    """Nobody listens."""


@zarr_errors()
def publish(
    storage: Storage,
    draft: Draft,
    *,
    scratch: Path | None = None,
    on_step: Callable[[str], None] = _quiet,
    held: Held | None = None,
    current: bool = True,
    spread: Spread | None = None,
) -> PublishResult:
    """Make a version of a draft, and make it the current one. Hold the dataset's lock.

    Args:
        storage: the dataset's root; its shards are in place.
        draft: all the rest.
        scratch: local folder in which the version's files are made; needed for an object store, ``versions/`` itself
            for a folder.
        on_step: told the name of each step before it is taken, for progress.
        held: the dataset's lock, asked once more before anything is seen by readers.
        current: whether the pointer moves; where not, the finished version waits for `promote`.
        spread: who writes Zarr's shards; this process where absent.

    Returns:
        The version; ``published`` is False where the current one holds the same content, and then nothing changed.

    Raises:
        IntegrityError: the draft does not hold together, or a shard that it lists is not there.
        RecipeError: all chips were rejected.
        DatasetError: it may not be published: nothing kept, closed licences, a secret or a local path in a document;
            or another publish moved the pointer meanwhile; or the store refuses.
        OSError: the disk takes no more; the current version is as it was.
    """
    check_draft(draft)
    pointer, tag = read_tagged_pointer(storage)
    parent = None if pointer is None else read_document(storage, pointer.current)
    _check_parent(storage, draft, parent)
    staging = _staging(storage, scratch)
    folder = staging / f"{draft.created:{STAMP}}-00000000{layout.UNFINISHED}"
    folder.mkdir(parents=True)
    try:
        on_step("tables")
        order = list(dict.fromkeys(name for layer in draft.layers for name in (layer.modality, layer.group)))
        rows = tables.place_rows(
            tables.in_column_order(draft.chips, order),
            [(s.record, s.index) for s in draft.shards],
            draft.zarr_shard_chips is not None,
        )
        counted = _write_tables(folder, draft, rows)
        on_step("zarr")
        in_zarr = NewFiles(storage)
        stored = prepare_zarr(storage, draft, rows, parent, spread)
        estimates_sha256 = _write_estimates(folder, draft)
        content_hash = _content_hash(folder, draft, stored, estimates_sha256)
        if parent is not None and parent.content_hash == content_hash:
            return PublishResult(parent.version, False, layout.version_path(parent.version))
        found = _finished_orphan(storage, content_hash, parent)
        if found is not None:
            if current:
                on_step("pointer")
                move_pointer(storage, draft.name, found.version, tag)
            return PublishResult(found.version, True, layout.version_path(found.version), found.diff)
        version = _free_name(storage, draft, content_hash)
        folder = folder.rename(staging / f"{version}{layout.UNFINISHED}")
        on_step("documents")
        stored.write_record(folder)
        diff = diff_of(storage, draft, rows, parent, folder)
        document = make_document(draft, version, content_hash, stored, diff, parent, estimates_sha256)
        write_documents(storage, folder, draft, document, rows, counted, on_step)
        on_step("verify")
        _check_shards(storage, draft)
        if held is not None:
            held.check()
        on_step("zarr tag")
        stored.tag(storage, version)
        in_zarr.to_disk()
        on_step("rename")
        final = layout.version_path(version)
        storage.put_folder(final, folder)
    finally:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
    if current:
        on_step("pointer")
        if held is not None:
            held.check()
        move_pointer(storage, draft.name, version, tag)
    log.info("published %s: %d chips, %s", version, len(draft.chips), diff)
    return PublishResult(version, True, final, diff)


def promote(storage: Storage, version: str) -> str:
    """Make a finished version that waits the current one. Hold the dataset's lock.

    Returns:
        Name of the version that was current; empty where there was none.

    Raises:
        DatasetError: no such version; its parent is not current any more (another one was published meanwhile); some
            of its files are gone; or the pointer moved while this was looked at.
    """
    pointer, tag = read_tagged_pointer(storage)
    document = read_document(storage, version)
    before = pointer.current if pointer is not None else ""
    if before == version:
        return before
    if before != document.parent_version:
        raise DatasetError(
            f"{version} follows {document.parent_version or 'nothing'}, but {before or 'nothing'} is current",
            where=storage.uri,
            mend="build again, or choose it by terraweft rollback",
        )
    require_whole(storage, document)
    move_pointer(storage, document.name, version, tag)
    return before


def _check_parent(storage: Storage, draft: Draft, parent: DatasetDocument | None) -> None:
    """Raise where the draft was made from another version than the current one.

    Raises:
        DatasetError: somebody published, or went back, meanwhile.
    """
    current = parent.version if parent is not None else ""
    if draft.parent is not None and draft.parent != current:
        raise DatasetError(
            f"another publish moved the pointer meanwhile, from {draft.parent or 'nothing'} to {current or 'nothing'}",
            where=storage.uri,
            mend="run the same command again",
        )


def _check_shards(storage: Storage, draft: Draft) -> None:
    """Raise where a shard that the draft lists is not there in its whole length.

    Raises:
        IntegrityError: naming the first.
    """
    there = dict(storage.list(layout.SHARDS))
    odd = [s.record.path for s in draft.shards if there.get(s.record.path) != s.record.bytes]
    if odd:
        raise IntegrityError(f"{len(odd)} shard(s) are not there, or are cut, first {odd[0]}: nothing was published")


def _write_estimates(folder: Path, draft: Draft) -> str:
    """Write ``estimates.json``, if there is any; its sha256."""
    if draft.estimates is None:
        return ""
    (folder / layout.ESTIMATES).write_bytes(layout.canonical_json(draft.estimates))
    return layout.sha256_of(folder / layout.ESTIMATES)


def _staging(storage: Storage, scratch: Path | None) -> Path:
    """The folder in which a version is made, without what a dead publisher left in it.

    Raises:
        ValueError: an object store, and no scratch folder.
    """
    if isinstance(storage, FolderStorage):
        staging = storage.folder / layout.VERSIONS
    elif scratch is not None:
        staging = scratch
    else:
        raise ValueError("publishing to an object store needs a scratch folder")
    for path in sorted(staging.glob(f"*{layout.UNFINISHED}")):
        log.warning("removing the unfinished version %s", path.name)
        shutil.rmtree(path)
    return staging


def _write_tables(folder: Path, draft: Draft, rows: pa.Table) -> dict[str, int]:
    return {
        "chips.parquet": tables.write_chips(folder / "chips.parquet", rows),
        "outcomes.parquet": outcome_tables.write_outcomes(folder / "outcomes.parquet", draft.outcomes),
        "texts.parquet": text_table.write_texts(folder / "texts.parquet", draft.texts),
        "run.parquet": outcome_tables.write_run(folder / "run.parquet", draft.run_rows),
    }


def _content_hash(folder: Path, draft: Draft, stored: PreparedZarr, estimates_sha256: str) -> str:
    return content_hash_of(
        {name: layout.sha256_of(folder / name) for name in layout.TABLES},
        {shard.record.path: shard.record.sha256 for shard in draft.shards},
        stored.digest,
        draft.recipe_hash,
        estimates_sha256,
    )


def _finished_orphan(storage: Storage, content_hash: str, parent: DatasetDocument | None) -> DatasetDocument | None:
    """A version that was finished, but whose publisher died before the pointer moved.

    Not one that was freed before it was whole, while its publisher was held up.
    """
    for name in reversed(list_versions(storage)):
        if name.endswith(content_hash[:8]):
            document = read_document(storage, name)
            parent_version = parent.version if parent is not None else ""
            is_same = document.content_hash == content_hash and document.parent_version == parent_version
            if is_same and not missing_from(storage, document):
                return document
    return None


def _free_name(storage: Storage, draft: Draft, content_hash: str) -> str:
    """UTC time and hash, after all versions that are there, whatever the clock says; and of no dead publisher's tag."""
    versions = list_versions(storage)
    newest = [datetime.strptime(versions[-1].partition("-")[0], STAMP).replace(tzinfo=UTC)] if versions else []
    created = max([draft.created, *(moment + timedelta(seconds=1) for moment in newest)])
    taken = used_tags(storage) if draft.zarr_shard_chips is not None else set()
    while (name := f"{created:{STAMP}}-{content_hash[:8]}") in taken:
        created += timedelta(seconds=1)
    return name
