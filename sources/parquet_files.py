"""Parquet files wherever they lie: `open_files` gives them as sources that pyarrow reads by ranges."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from schemas.errors import AccessDeniedError, CatalogError, TransientSourceError
from sources.openers import unsigned

ENDINGS = (".parquet", ".geoparquet", ".pq")


class RangeFile(io.RawIOBase):
    """A file of an object store, read by byte ranges.

    Args:
        store: an obstore store.
        name: the file's path in it.
    """

    def __init__(self, store: Any, name: str) -> None:
        import obstore

        self.store, self.name = store, name
        self.size, self.position = int(obstore.head(store, name)["size"]), 0

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
        import obstore

        length = min(len(buffer), self.size - self.position)
        if length <= 0:
            return 0
        found = obstore.get_range(self.store, self.name, start=self.position, length=length)
        buffer[:length] = memoryview(found)
        self.position += length
        return length


def open_files(href: str) -> list[Any]:
    """The Parquet file that an address names, or all files of a folder, ordered by name.

    Local files as paths; remote ones as file objects that fetch byte ranges.

    Raises:
        CatalogError: there is no such file, or the folder holds none.
        AccessDeniedError, TransientSourceError: as the server said.
    """
    scheme = urlsplit(href).scheme
    if scheme in ("", "file") or len(scheme) == 1:
        return _local(Path(unquote(urlsplit(href).path) if scheme == "file" else href), href)
    return _remote(href)


def _local(path: Path, href: str) -> list[Any]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in ENDINGS) if path.is_dir() else []
    if not found:
        what = "holds no .parquet file" if path.is_dir() else "there is no such index"
        raise CatalogError(what, href)
    return list(found)


def _remote(href: str) -> list[Any]:
    import obstore
    from obstore.store import from_url

    folder, _, name = href.rstrip("/").rpartition("/")
    options = {"client_options": {"allow_http": True}} if href.startswith("http://") else {}
    try:
        if name.endswith(ENDINGS) and not href.endswith("/"):
            store = from_url(folder, **options)  # type: ignore[call-overload]
            return [RangeFile(store, name)]
        store = from_url(href.rstrip("/"), **options)  # type: ignore[call-overload]
        names = sorted(entry["path"] for page in obstore.list(store) for entry in page)
        found = [RangeFile(store, n) for n in names if n.endswith(ENDINGS)]
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
