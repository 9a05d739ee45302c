"""Publishing: a draft becomes an immutable version, and one small pointer moves to it.

Order, each step durable before the next: tables, Zarr (unseen), documents and report into ``versions/<version>.tmp``,
the Zarr tag, the folder's rename, the pointer. Whatever dies in between, readers see the version before.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from schemas.dataset import DatasetDocument, Pointer
from shards import layout, tables
from shards.document import (
    content_hash_of,
    current_document,
    diff_of,
    make_document,
    read_document,
    write_documents,
)
from shards.draft import Draft, check_draft
from shards.zarr_prepare import PreparedZarr, prepare_zarr
from shards.zarr_store import tags

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a draft."""

    version: str
    """The version that readers open now."""
    published: bool
    """False where the current version holds the same content already: nothing was written."""
    path: Path
    """Its folder."""
    diff: dict[str, Any] = field(default_factory=dict)
    """Against the parent; empty where nothing was published."""


def _quiet(step: str) -> None:
    """Nobody listens."""


def publish(root: Path, draft: Draft, *, on_step: Callable[[str], None] = _quiet) -> PublishResult:
    """Make a version of a draft, and make it the current one. Hold the `DatasetLock`.

    Args:
        root: the dataset's folder; its shards are in place.
        draft: all the rest.
        on_step: told the name of each step before it is taken, for progress.

    Returns:
        The version; ``published`` is False where the current one holds the same content, and then nothing changed.

    Raises:
        IntegrityError: the draft does not hold together.
        DatasetError: it may not be published: nothing kept, closed licences, a secret or a local path in a document.
    """
    check_draft(draft)
    parent = current_document(root)
    _clear_leftovers(root)
    folder = layout.version_path(root, f"{draft.created:%Y%m%dT%H%M%SZ}-00000000{layout.UNFINISHED}")
    folder.mkdir(parents=True)
    try:
        on_step("tables")
        rows = tables.place_rows(
            draft.chips, [(s.record, s.index) for s in draft.shards], draft.zarr_shard_chips is not None
        )
        counted = _write_tables(folder, draft, rows)
        on_step("zarr")
        stored = prepare_zarr(root, draft, rows, parent)
        content_hash = _content_hash(folder, draft, stored)
        if parent is not None and parent.content_hash == content_hash:
            return PublishResult(parent.version, False, layout.version_path(root, parent.version))
        found = _finished_orphan(root, content_hash, parent)
        if found is not None:
            on_step("pointer")
            _point_to(root, draft.name, found.version)
            return PublishResult(found.version, True, layout.version_path(root, found.version), found.diff)
        version = _free_name(root, draft, content_hash)
        folder = folder.rename(layout.version_path(root, version + layout.UNFINISHED))
        on_step("documents")
        diff = diff_of(root, draft, rows, parent, folder)
        document = make_document(draft, version, content_hash, stored, diff, parent)
        write_documents(root, folder, draft, document, rows, counted, on_step)
        on_step("sync")
        _sync(folder)
        on_step("zarr tag")
        stored.tag(root, version)
        on_step("rename")
        final = layout.version_path(root, version)
        folder = folder.rename(final)
        layout.sync_folder(final.parent)
    finally:
        if folder.name.endswith(layout.UNFINISHED):
            shutil.rmtree(folder, ignore_errors=True)
    on_step("pointer")
    _point_to(root, draft.name, version)
    log.info("published %s: %d chips, %s", version, len(rows), diff)
    return PublishResult(version, True, final, diff)


def _clear_leftovers(root: Path) -> None:
    for path in sorted((root / layout.VERSIONS).glob(f"*{layout.UNFINISHED}")):
        log.warning("removing the unfinished version %s", path.name)
        shutil.rmtree(path)


def _write_tables(folder: Path, draft: Draft, rows: list[dict[str, Any]]) -> dict[str, int]:
    order = [name for layer in draft.layers for name in (layer.modality, layer.group)]
    return {
        "chips.parquet": tables.write_chips(folder / "chips.parquet", rows, list(dict.fromkeys(order))),
        "outcomes.parquet": tables.write_outcomes(folder / "outcomes.parquet", draft.outcomes),
        "texts.parquet": tables.write_texts(folder / "texts.parquet", draft.texts),
        "run.parquet": tables.write_run(folder / "run.parquet", draft.run_rows),
    }


def _content_hash(folder: Path, draft: Draft, stored: PreparedZarr) -> str:
    return content_hash_of(
        {name: layout.sha256_of(folder / name) for name in layout.TABLES},
        {shard.record.path: shard.record.sha256 for shard in draft.shards},
        stored.digest,
        draft.recipe_hash,
    )


def _finished_orphan(root: Path, content_hash: str, parent: DatasetDocument | None) -> DatasetDocument | None:
    """A version that was finished, but whose publisher died before the pointer moved."""
    for name in reversed(layout.list_versions(root)):
        if name.endswith(content_hash[:8]):
            document = read_document(layout.version_path(root, name))
            parent_version = parent.version if parent is not None else ""
            if document.content_hash == content_hash and document.parent_version == parent_version:
                return document
    return None


def _free_name(root: Path, draft: Draft, content_hash: str) -> str:
    """UTC time and hash; a second later where a version or a tag of that name is there."""
    taken = set(layout.list_versions(root)) | (tags(root) if draft.zarr_shard_chips is not None else set())
    created = draft.created
    while (name := f"{created:%Y%m%dT%H%M%SZ}-{content_hash[:8]}") in taken:
        created += timedelta(seconds=1)
    return name


def _sync(folder: Path) -> None:
    """Wait until every file of a version is on the disk."""
    for path in folder.rglob("*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    layout.sync_folder(folder)


def _point_to(root: Path, name: str, version: str) -> None:
    pointer = Pointer(name=name, current=version)
    layout.replace_durably(root / layout.POINTER, layout.pretty_json(pointer.model_dump(mode="json")))
