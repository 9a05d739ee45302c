"""``dataset.json`` and the papers beside it: read, made of a draft, written, and searched for what may not be
in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from schemas.dataset import FORMAT, DatasetDocument
from schemas.errors import DatasetError
from shards import layout
from shards.card import write_card
from shards.croissant import write_croissant
from shards.draft import Draft
from shards.guard import findings_in
from shards.outcome_tables import write_removed
from shards.pointer import read_pointer
from shards.stac_collection import write_collection
from shards.storage import FolderStorage, Storage
from shards.stored_tables import read_places, table_of

if TYPE_CHECKING:
    from shards.zarr_prepare import PreparedZarr

MEND = "another version may be whole: see terraweft versions"
LATER = "a later Terraweft may have written it: update terraweft, or open an earlier version"
PAPERS = ("*.json", "*.md", "*.html")
"""Files of a version that are searched for secrets and local paths."""
SEAL = "document_sha256"
"""Key of a document's ``run`` under which its own hash stands: it differs from run to run, as what it covers does."""


def current_document(storage: Storage) -> DatasetDocument | None:
    """``dataset.json`` of the version that the pointer names, or None before the first publish.

    A publish and a ``gc --keep`` between the reading of the two take the version away: the pointer is read anew then.

    Raises:
        DatasetError: it cannot be read.
    """
    pointer = read_pointer(storage)
    while pointer is not None:
        try:
            return read_document(storage, pointer.current)
        except DatasetError:
            before, pointer = pointer, read_pointer(storage)
            if pointer == before:
                raise
    return None


def read_document(storage: Storage, version: str) -> DatasetDocument:
    """``dataset.json`` of a version.

    Raises:
        DatasetError: absent or not of format 1.
    """
    where = f"{layout.version_path(version)}/{layout.DOCUMENT}"
    try:
        return parse_document(storage.read(where), f"{storage.uri}/{where}")
    except FileNotFoundError as error:
        raise DatasetError(
            f"there is no version {version}", where=storage.uri, mend="see terraweft versions"
        ) from error
    except OSError as error:
        raise DatasetError(f"cannot be read: {str(error).splitlines()[0]}", where=f"{storage.uri}/{where}") from error


def parse_document(content: bytes, where: str) -> DatasetDocument:
    """``dataset.json`` from its bytes.

    Raises:
        DatasetError: not of format 1.
    """
    try:
        found = json.loads(content)
        if rb"\ud" in content.lower():  # halves of characters, which no file of a version could hold
            json.dumps(found, ensure_ascii=False).encode()
        if isinstance(found, dict) and found.get("format") != FORMAT:
            mend = f"this software reads format {FORMAT}"
            raise DatasetError(f"format {str(found.get('format'))[:20]!r} is unknown", where=where, mend=mend)
        return DatasetDocument.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = f"{'.'.join(map(str, first['loc']))[:120]}: {first['msg']}".removeprefix(": ")
        is_later = first["type"] == "extra_forbidden" and not first["loc"][1:]
        raise DatasetError(f"cannot be read: {said}", where=where, mend=LATER if is_later else MEND) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"cannot be read: {str(error).splitlines()[0]}", where=where, mend=MEND) from error


def content_hash_of(
    table_hashes: Mapping[str, str],
    shards: Mapping[str, str],
    zarr_digest: str,
    recipe_hash: str,
    estimates_sha256: str = "",
) -> str:
    """sha256 that names a version: over its tables, shards, Zarr and recipe, and nothing of the run.

    Args:
        table_hashes: file name -> sha256 of `shards.layout.TABLES`.
        shards: path -> sha256.
        zarr_digest: `shards.zarr_store.store_digest`, or empty.
        recipe_hash: as in ``dataset.json``.
        estimates_sha256: of ``estimates.json``; empty without.
    """
    content = {
        "format": 1,
        "tables": dict(table_hashes),
        "shards": dict(shards),
        "zarr": zarr_digest,
        "recipe": recipe_hash,
        **({"estimates": estimates_sha256} if estimates_sha256 else {}),
    }
    return _sha256_of(content)


def seal_of(content: bytes) -> tuple[str, str]:
    """(what it says, what it is): sha256 of a ``dataset.json``, all of it but the place where that stands.

    Args:
        content: the file. How it is laid out does not matter, its values do.
    """
    document = json.loads(content)
    said = str(document["run"].pop(SEAL, ""))
    return said, _sha256_of(document)


def _sha256_of(content: Any) -> str:
    return hashlib.sha256(layout.canonical_json(content)).hexdigest()


def _sealed(document: DatasetDocument) -> bytes:
    """``dataset.json`` with its own hash."""
    content = document.model_dump(mode="json")
    content["run"][SEAL] = _sha256_of(content)
    return layout.pretty_json(content)


def diff_of(
    storage: Storage, draft: Draft, rows: pa.Table, parent: DatasetDocument | None, folder: Path
) -> dict[str, Any]:
    """What changed against the parent: chips added, changed, unchanged, removed; why; bytes written.

    Chips that are gone stand in ``removed.parquet``, with what became of them.
    """
    new = dict(zip(rows["chip_id"].to_pylist(), rows["sample_sha256"].to_pylist(), strict=True))
    old: dict[str, str] = {}
    if parent is not None:
        places = read_places(table_of(storage, parent, "chips"))
        old = {chip_id: place.segment.sha256 for chip_id, place in places.items()}
    known = {record.path for record in parent.shards} if parent is not None else set()
    both = new.keys() & old.keys()
    changed = sum(new[chip_id] != old[chip_id] for chip_id in both)
    gone = sorted(old.keys() - new.keys())
    if parent is not None and gone:
        write_removed(folder / layout.REMOVED, gone, draft.outcomes, parent.version)
    fresh = [shard.record for shard in draft.shards if shard.record.path not in known]
    return {
        "added": len(new.keys() - old.keys()),
        "changed": changed,
        "unchanged": len(both) - changed,
        "removed": len(gone),
        "touched": dict(draft.touched),
        "shards_written": len(fresh),
        "shards_kept": len(draft.shards) - len(fresh),
        "shard_bytes_written": sum(record.bytes for record in fresh),
        "table_bytes_written": sum((folder / name).stat().st_size for name in layout.TABLES),
    }


def make_document(
    draft: Draft,
    version: str,
    content_hash: str,
    stored: PreparedZarr,
    diff: dict[str, Any],
    parent: DatasetDocument | None,
    estimates_sha256: str = "",
) -> DatasetDocument:
    """``dataset.json`` of a draft, less the list of files, which are not all written yet."""
    counts = {str(entry["values"]): entry["counts"] for entry in pc.value_counts(draft.chips["split"]).to_pylist()}
    return DatasetDocument(
        name=draft.name,
        title=draft.title,
        version=version,
        parent_version=parent.version if parent is not None else "",
        created=f"{draft.created:%Y-%m-%dT%H:%M:%SZ}",
        recipe=layout.plain(draft.recipe),
        recipe_hash=draft.recipe_hash,
        code_version=draft.code_version,
        steps=dict(draft.steps),
        software=dict(draft.software),
        content_hash=content_hash,
        counts=draft.counts(),
        modalities=draft.layers,
        legends=layout.plain(draft.legends),
        crosswalk=layout.plain(draft.crosswalk),
        registration=layout.plain(draft.registration),
        near_duplicates=tuple(layout.plain(list(draft.near_duplicates))),
        fusion=layout.plain(draft.fusion),
        splits={"counts": dict(sorted(counts.items())), **layout.plain(draft.splits)},
        texts=layout.plain(draft.text_summary),
        shards=tuple(s.record for s in sorted(draft.shards, key=lambda s: s.record.path)),
        zarr=stored.as_document(version),
        sources=draft.sources,
        diff=diff,
        estimates=_estimates(draft, version, estimates_sha256),
        limits=draft.limits,
        run=layout.plain(draft.run),
        private=draft.private,
    )


def _estimates(draft: Draft, version: str, sha256: str) -> dict[str, Any]:
    if draft.estimates is None:
        return {}
    where: dict[str, Any] = {"version": "", "chips": len(draft.chips), "touched_since": 0, **draft.estimated}
    apart = {key: {name: of or version for name, of in where.pop(key, {}).items()} for key in ("bands", "parts")}
    apart["datasets"] = where.pop("datasets", {})
    where["version"] = where["version"] or version
    return {"path": layout.ESTIMATES, "sha256": sha256, **where, **{key: of for key, of in apart.items() if of}}


def write_documents(
    storage: Storage,
    folder: Path,
    draft: Draft,
    document: DatasetDocument,
    rows: pa.Table,
    counted: Mapping[str, int],
    on_step: Callable[[str], None],
) -> None:
    """Write collection, Croissant, card, report and, listing them all, ``dataset.json`` into a version's
    folder.

    Raises:
        DatasetError: a file holds a secret or a local path.
    """
    if draft.items is not None:
        on_step("items")
        draft.items(folder / "items.parquet")
    write_collection(folder / "collection.json", document, rows, draft.description, draft.report is not None)
    write_croissant(folder / "croissant.json", document, folder, draft.description)
    write_card(folder / "README.md", document, rows, draft.description, draft.limits)
    (folder / layout.DOCUMENT).write_bytes(layout.pretty_json(document.model_dump(mode="json")))
    if draft.report is not None:
        on_step("report")
        draft.report(folder)
    listed = document.model_copy(update={"tables": _files_of(folder, counted)})
    (folder / layout.DOCUMENT).write_bytes(_sealed(listed))
    on_step("guard")
    found = unwanted_in(storage, folder)
    if found:
        file, what = next(iter(found.items()))
        raise DatasetError(
            f"{'; '.join(what[:3])} must not be published",
            where=file,
            mend="take it out of the recipe or the sources",
        )


def unwanted_in(storage: Storage, folder: Path) -> dict[str, list[str]]:
    """File of a version -> secrets and local paths in it."""
    papers = sorted(path for pattern in PAPERS for path in folder.rglob(pattern) if path.is_file())
    found = findings_in(papers, [str(storage.folder.resolve())] if isinstance(storage, FolderStorage) else [])
    return {path.relative_to(folder).as_posix(): what for path, what in found.items()}


def _files_of(folder: Path, counted: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """File -> bytes, sha256 and rows, for every file of the version but dataset.json."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != layout.DOCUMENT:
            found[name] = {"bytes": path.stat().st_size, "sha256": layout.sha256_of(path)}
            if name in counted:
                found[name]["rows"] = counted[name]
    return found
