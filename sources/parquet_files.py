"""Parquet files wherever they lie: `open_files` gives them as sources that pyarrow reads by ranges.

What an opener turns into HTTP (an address of a server, or of object storage with a credential) is read by
`sources.fetch`: its secrets, limits and redirects are those of every other read. Object storage without a credential is
read by obstore, with what the machine's environment allows.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    CatalogError,
    DecodeError,
    TransientSourceError,
    UnsupportedItemError,
)
from schemas.scene import Opener
from sources.fetch import Bytes, fetch_range, is_fetchable
from sources.openers import unsigned
from sources.retry import call_with_retries

ENDINGS = (".parquet", ".geoparquet", ".pq")


class RangeFile(io.RawIOBase):
    """A file that is read by byte ranges.

    Args:
        read_range: gives the bytes from an offset on, as many as asked for.
        size: of the file.
    """

    def __init__(self, read_range: Callable[[int, int], Any], size: int) -> None:
        self.read_range, self.size, self.position = read_range, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is fetched."""
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def tell(self) -> int:
        """The place."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fetch what fits, in one request."""
        length = min(len(buffer), self.size - self.position)
        if length <= 0:
            return 0
        buffer[:length] = memoryview(self.read_range(self.position, length))
        self.position += length
        return length


def open_files(href: str, opener: Opener, sleep: Callable[[float], object] = time.sleep) -> list[Any]:
    """The Parquet file that an address names, or all files of a folder, ordered by name.

    Local files as paths; remote ones as file objects that fetch byte ranges.

    Args:
        href: path, ``http(s)://``, ``s3://``, ``gs://`` or ``az://``.
        opener: secrets and limits by host.
        sleep: how to wait between tries.

    Raises:
        CatalogError: there is no such file, or the folder holds none, or it cannot be listed.
        AccessDeniedError, ThrottledError, TransientSourceError: as the server said.
    """
    scheme = urlsplit(href).scheme
    if scheme in ("", "file") or len(scheme) == 1:
        return _local(Path(unquote(urlsplit(href).path) if scheme == "file" else href), href)
    is_file = urlsplit(href).path.endswith(ENDINGS)
    try:
        is_http = is_fetchable(opener.resolve(href)) if is_file or scheme == "s3" else False
    except UnsupportedItemError as error:
        raise CatalogError(f"{error.what}: mark the catalog allow_local", unsigned(href)) from error
    if is_http and is_file:
        return [_fetched(href, opener, sleep)]
    if is_http:
        raise CatalogError("a folder behind a credential is not listed: name the index's file", unsigned(href))
    return _stored(href)


def _fetched(href: str, opener: Opener, sleep: Callable[[float], object]) -> RangeFile:
    """A file read by our own fetcher; the same bytes until the end, or a failure."""

    def fetch(offset: int, length: int) -> Bytes:
        return call_with_retries(lambda: fetch_range(href, opener, offset, length), sleep=sleep, jitter=random.random)

    try:
        first = fetch(0, 4)
    except (AssetMissingError, DecodeError) as error:
        raise CatalogError(f"there is no such index: {error.what}", unsigned(href)) from error
    size = first.stamp.split(" ")[0]
    if not size.isdigit():
        raise CatalogError("the server does not say how large the index is", unsigned(href))

    def read_range(offset: int, length: int) -> bytes:
        found = fetch(offset, length)
        if found.stamp != first.stamp:
            raise CatalogError("the index changed while it was read", unsigned(href))
        return found.data

    return RangeFile(read_range, int(size))


def _local(path: Path, href: str) -> list[Any]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in ENDINGS) if path.is_dir() else []
    if not found:
        what = "holds no .parquet file" if path.is_dir() else "there is no such index"
        raise CatalogError(what, href)
    return list(found)


def _stored(href: str) -> list[Any]:
    import obstore
    from obstore.store import from_url

    folder, _, name = href.rstrip("/").rpartition("/")
    options = {"client_options": {"allow_http": True}} if href.startswith("http://") else {}
    try:
        if name.endswith(ENDINGS) and not href.endswith("/"):
            store = from_url(folder, **options)  # type: ignore[call-overload]
            return [_object(store, name)]
        store = from_url(href.rstrip("/"), **options)  # type: ignore[call-overload]
        names = sorted(entry["path"] for page in obstore.list(store) for entry in page)
        found = [_object(store, n) for n in names if n.endswith(ENDINGS)]
    except (FileNotFoundError, obstore.exceptions.NotFoundError) as error:
        raise CatalogError("there is no such index", unsigned(href)) from error
    except (
        obstore.exceptions.PermissionDeniedError,
        obstore.exceptions.UnauthenticatedError,
    ) as error:
        raise AccessDeniedError("the server refuses the index", unsigned(href)) from error
    except obstore.exceptions.BaseError as error:
        raise TransientSourceError(f"no answer from the index: {type(error).__name__}", unsigned(href)) from error
    if not found:
        raise CatalogError("holds no .parquet file", unsigned(href))
    return found


def _object(store: Any, name: str) -> RangeFile:
    import obstore

    size = int(obstore.head(store, name)["size"])
    return RangeFile(lambda offset, length: obstore.get_range(store, name, start=offset, length=length), size)
