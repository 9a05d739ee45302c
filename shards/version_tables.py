"""The tables of one version as they lie there: read whole where they are small, else in ranges; damage is told of."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from shards.layout import DOCUMENT, version_path
from shards.storage import Storage
from shards.storage_file import StorageFile

CHIPS = "chips.parquet"
MEND = "see terraweft check; another version may be whole: terraweft versions"


@contextmanager
def told_of_damage(where: str) -> Iterator[None]:
    """A table that is missing or is no table, as an error that a person can mend.

    Args:
        where: the table's address.

    Raises:
        DatasetError: the table cannot be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError("the table is missing", where=where, mend=MEND) from error
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk or the network, not of Arrow
            raise
        what = (str(error).splitlines() or [type(error).__name__])[0]
        what = what.removeprefix("Could not open Parquet input source '<Buffer>': ").rstrip(".")
        raise DatasetError(f"the table cannot be read: {what}", where=where, mend=MEND) from error


def check_rows(document: DatasetDocument, name: str, rows: int, where: str) -> None:
    """Refuse a table of more rows than ``dataset.json`` says: a megabyte of Parquet holds as many equal rows as its
    author likes, and takes gigabytes when it is read.

    Args:
        document: ``dataset.json``; of chips.parquet the chips in its shards count, too.
        name: ``chips.parquet``.
        rows: by the table's footer.
        where: the table's address.

    Raises:
        DatasetError: it has more.
    """
    told = document.tables.get(name, {}).get("rows", rows)
    if name == CHIPS and document.shards:
        told = min(told, sum(len(record.chip_ids) for record in document.shards))
    if rows > told:
        raise DatasetError(f"the table has {rows} rows, dataset.json says {told}", where=where, mend=MEND)


class VersionTables:
    """The tables of a version. Cheap to make; pickles without what is open.

    Args:
        storage: the dataset's root.
        document: ``dataset.json``.
        staged: local folder with the tables of a version that is about to be published.
    """

    whole_bytes = 4 << 20
    """chips.parquet up to so many bytes is read by one request; of a larger one, the columns that are wanted."""

    def __init__(self, storage: Storage, document: DatasetDocument, staged: Path | None = None) -> None:
        self.storage, self.document, self.staged = storage, document, staged

    def __reduce__(self) -> tuple[type[VersionTables], tuple[Storage, DatasetDocument, Path | None]]:
        return type(self), (self.storage, self.document, self.staged)

    @contextmanager
    def told(self, name: str) -> Iterator[io.BytesIO]:
        """The content of a table, while it is read.

        Raises:
            DatasetError: it is missing or damaged, or the version was removed since it was opened.
        """
        with self._told(name):
            file = self._file(name)
            self._check_rows(name, pq.read_metadata(file))
            file.seek(0)
            yield file

    @property
    def chip_columns(self) -> list[str]:
        """Columns of chips.parquet."""
        return [str(name) for name in self._chips_file.schema_arrow.names]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """``outcomes``, ``texts`` or ``run``: the columns that are wanted, all where None."""
        with self.told(f"{name}.parquet") as file:
            return pq.read_table(file, columns=None if columns is None else list(columns))

    def chips(self, names: Sequence[str]) -> pa.Table:
        """Columns of chips.parquet, rows as they stand there; the others are not read.

        Raises:
            DatasetError: there is no such column.
        """
        odd = sorted(set(names) - set(self.chip_columns))
        if odd:
            where = f"{self.document.name} {self.document.version}"
            raise DatasetError(f"{CHIPS} has no column {odd[0]!r}", where=where)
        with self._told(CHIPS):
            return self._chips_file.read(columns=list(names))

    @cached_property
    def _chips_file(self) -> pq.ParquetFile:
        """Read whole where it is small or local, else in ranges as columns are asked for."""
        size = int(self.document.tables.get(CHIPS, {}).get("bytes", 0))
        with self._told(CHIPS):
            if self.staged is not None or not size or size <= self.whole_bytes:
                found = pq.ParquetFile(self._file(CHIPS))
            else:
                file = StorageFile(self.storage, f"{self._folder}/{CHIPS}", size)
                found = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=True)
            self._check_rows(CHIPS, found.metadata)
            return found

    def _check_rows(self, name: str, footer: pq.FileMetaData) -> None:
        if self.staged is None:  # a table that is staged is one of a version to come
            check_rows(self.document, name, footer.num_rows, f"{self.storage.uri}/{self._folder}/{name}")

    @property
    def _folder(self) -> str:
        return version_path(self.document.version)

    def _file(self, name: str) -> io.BytesIO:
        if self.staged is not None:
            return io.BytesIO((self.staged / name).read_bytes())
        return io.BytesIO(self.storage.read(f"{self._folder}/{name}"))

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        folder = f"{self.storage.uri}/{self._folder}" if self.staged is None else str(self.staged)
        try:
            with told_of_damage(f"{folder}/{name}"):
                yield
        except DatasetError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self.require_version()
            raise

    def require_version(self) -> None:
        """Ask whether the version is still there: to be done before a file that is gone is called damage.

        Raises:
            DatasetError: it was removed since it was opened.
        """
        if self.staged is None and self.storage.size(f"{self._folder}/{DOCUMENT}") is None:
            raise DatasetError(
                f"version {self.document.version} is not there any more",
                where=self.storage.uri,
                mend="open the current one",
            )
