"""Where the files of a dataset lie below its root, canonical JSON, and local writes that survive a power cut."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import DatasetError, IntegrityError

POINTER = "terraweft.json"
VERSIONS = "versions"
SHARDS = "shards"
ZARR = "zarr"
WORK = "work"
VALIDATIONS = "validations"
DOCUMENT = "dataset.json"
ESTIMATES = "estimates.json"
REMOVED = "removed.parquet"
TABLES = ("chips.parquet", "outcomes.parquet", "texts.parquet")
"""What the content hash covers. ``run.parquet`` differs from run to run and is left out."""

VERSION_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
SHARD_PATH = re.compile(r"shards/[A-Za-z0-9_-]{1,60}/[0-9]{5,10}-[0-9a-f]{16}\.tar")
UNFINISHED = ".tmp"
"""Ending of a version folder that is still being written."""


def shard_path(split: str, bucket: int, sha256: str) -> str:
    """``shards/<split>/<bucket>-<id>.tar``, relative to the root.

    Raises:
        IntegrityError: the split has no name that a folder may have.
    """
    return require_shard_path(f"{SHARDS}/{split}/{bucket:05d}-{sha256[:16]}.tar")


def require_shard_path(path: object) -> str:
    """``path``, if it is one that a shard may have: tables of strangers lead nowhere else.

    Raises:
        IntegrityError: it is none.
    """
    if not isinstance(path, str) or not SHARD_PATH.fullmatch(path):
        raise IntegrityError(f"{str(path)[:80]!r} is no name of a shard: refused")
    return path


def version_path(version: str) -> str:
    """Folder of a version, finished or (ending ``.tmp``) not, relative to the root.

    Raises:
        DatasetError: that is no version's name.
    """
    if not VERSION_ID.fullmatch(version.removesuffix(UNFINISHED)):
        raise DatasetError(f"{version!r} is no version's name", mend="see terraweft versions")
    return f"{VERSIONS}/{version}"


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NumPy scalars and arrays, tuples, times (ISO, UTC as ``Z``); NaN becomes
    None.

    Raises:
        TypeError: there is no such form.
    """
    kind = type(value)  # nearly everything is one of these: a version's tables hold a million values
    if kind is str or kind is int or value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is list:
        return [plain(item) for item in value]
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{np.datetime_as_string(value)}Z"
    if isinstance(value, np.ndarray):
        return [plain(item) for item in (value if value.dtype.kind == "M" else value.tolist())]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def canonical_json(value: Any) -> bytes:
    """The one form of ``value`` as JSON: keys sorted, no spaces, UTF-8, no NaN."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def pretty_json(value: Any) -> bytes:
    """``value`` as JSON for people: two spaces, keys as given."""
    return (json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Wait until a file that was written is on the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make a rename inside ``folder`` durable, where the file system knows how: many a shared folder (9p, VirtualBox,
    SMB) brings files to the disk, and says of folders that they cannot be asked.
    """
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def sync_tree(folder: Path) -> None:
    """Wait until a folder with all that lies in it is on the disk."""
    for entry in [*folder.rglob("*"), folder]:
        (sync_folder if entry.is_dir() else sync_file)(entry)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a file at once: readers see the old content or the new, never a part."""
    beside = path.with_name(path.name + UNFINISHED)
    write_durably(beside, content)
    os.replace(beside, path)
    sync_folder(path.parent)
