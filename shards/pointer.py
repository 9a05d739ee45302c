"""The pointer, the one thing of a dataset that changes, and the versions that it may point to."""

from __future__ import annotations

import json

from schemas.dataset import Pointer
from schemas.errors import DatasetError
from shards import layout
from shards.storage import Storage, StorageConflictError


def list_versions(storage: Storage) -> list[str]:
    """Names of the finished versions, oldest first: those that hold a ``dataset.json``."""
    found = set()
    for path, _ in storage.list(layout.VERSIONS):
        _, version, *rest = path.split("/")
        if rest == [layout.DOCUMENT] and layout.VERSION_ID.fullmatch(version):
            found.add(version)
    return sorted(found)


def unfinished_versions(storage: Storage) -> list[str]:
    """Folders in ``versions/`` that hold no ``dataset.json``: a publisher died over them."""
    finished = set(list_versions(storage))
    names = {path.split("/")[1] for path, _ in storage.list(layout.VERSIONS) if path.count("/") > 1}
    return sorted(names - finished)


def no_dataset(storage: Storage) -> DatasetError:
    """What is raised where nothing was published yet."""
    return DatasetError("there is no dataset", where=storage.uri, mend="terraweft build RECIPE --out FOLDER")


def read_pointer(storage: Storage) -> Pointer | None:
    """The pointer, or None where nothing was published yet.

    Raises:
        DatasetError: a pointer that cannot be read or is of an unknown format.
    """
    return read_tagged_pointer(storage)[0]


def read_tagged_pointer(storage: Storage) -> tuple[Pointer | None, str | None]:
    """The pointer, and the tag that `move_pointer` wants to see again.

    Raises:
        DatasetError: a pointer that cannot be read or is of an unknown format.
    """
    where = f"{storage.uri}/{layout.POINTER}"
    try:
        found = storage.read_tagged(layout.POINTER)
        content = None if found is None else json.loads(found[0])
    except (ValueError, OSError, RecursionError) as error:
        raise DatasetError(f"the pointer cannot be read: {error}", where=where) from error
    if found is None:
        return None, None
    if not isinstance(content, dict) or content.get("format") != 1:
        kind = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DatasetError(f"format {kind!r} is unknown", where=where, mend="this software reads format 1")
    try:
        return Pointer.model_validate(content), found[1]
    except ValueError as error:
        raise DatasetError("the pointer does not hold name and current", where=where) from error


def move_pointer(storage: Storage, name: str, version: str, tag: str | None) -> None:
    """Make a version the current one, if the pointer is still the one that was seen.

    Args:
        storage: the dataset's root.
        name: of the dataset.
        version: a finished one.
        tag: of the pointer when the work began; None where there was none.

    Raises:
        DatasetError: another publish moved it meanwhile.
    """
    pointer = Pointer(name=name, current=version)
    try:
        storage.put_if(layout.POINTER, layout.pretty_json(pointer.model_dump(mode="json")), tag)
    except StorageConflictError as error:
        raise DatasetError(
            "another publish moved the pointer meanwhile; nothing of it was touched",
            where=storage.uri,
            mend="run the same command again",
        ) from error
