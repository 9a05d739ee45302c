"""A dataset's root in an object store, through obstore: S3, Google Cloud Storage, Azure.

Throttled and failed requests are tried again by the store's client, with growing pauses. Credentials come from the
process's environment or its cloud's metadata, never from here. The client's threads do not come along with a fork: a
process that was forked after the first request would wait for ever, so it is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import icechunk
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

from schemas.errors import DatasetError
from shards import layout
from shards.guard import redact
from shards.storage import CHUNK_BYTES, StorageConflictError, StoreOptions

_first_process: dict[str, int] = {}
"""Which process made the client's threads."""
MENDS = {
    "s3": "check the address, AWS_ENDPOINT_URL, AWS_REGION and the credentials: variables, or a role",
    "gs": "check the address and the credentials: GOOGLE_APPLICATION_CREDENTIALS, or the machine's service account",
    "az": "check the address, AZURE_STORAGE_ACCOUNT_NAME and _ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or a role",
}
"""What a person looks at where a store refuses."""
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""Codes of a 404 that is of no single file."""
EMULATED = "devstoreaccount1"
"""The storage account of Azurite, where ``AZURE_STORAGE_USE_EMULATOR`` is set and none is named."""
_ENCODED = re.compile(r"[^ !$&'()+,\-./0-9:;=@A-Z_a-z]")
"""Letters that Icechunk 1.1 encodes once where it writes and twice where it reads, but on S3."""
_CODE = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*))?")


class ObjectStorage:
    """A prefix of an object store (``s3://bucket/prefix``, ``gs://``, ``az://``), through obstore.

    Throttled and failed requests are tried again by the store's client, with growing pauses.

    Args:
        uri: the dataset's root.
        options: how it is reached.
    """

    def __init__(self, uri: str, options: StoreOptions) -> None:
        self._uri, self.options = uri.rstrip("/"), options
        self._store: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_uri": self._uri, "options": self.options, "_store": None}

    @property
    def uri(self) -> str:
        """The root's address."""
        return self._uri

    @property
    def store(self) -> Any:
        """obstore's store, made at first use.

        Raises:
            DatasetError: the process that first used any was forked into this one.
        """
        if _first_process.setdefault("id", os.getpid()) != os.getpid():
            what = "a forked process cannot go on with its parent's connections"
            raise DatasetError(what, where=self._uri, mend='multiprocessing_context="forkserver", or threads')
        if self._store is None:
            config, client = self._settings()
            self._store = from_url(self._uri, config=config, client_options=client)
        return self._store

    @property
    def _scheme(self) -> str:
        return self._uri.partition(":")[0]

    @property
    def _tag_name(self) -> str:
        """By what a file is told from what it was: Google's conditional writes ask for its generation."""
        return "version" if self._scheme == "gs" else "e_tag"

    def _tag_of(self, answer: Any) -> str:
        return str(answer[self._tag_name])

    def _settings(self) -> tuple[Any, Any]:
        config: dict[str, Any] = {}
        client: dict[str, Any] = {}
        if self._scheme == "s3":
            config |= {"conditional_put": "etag"}
            if self.options.endpoint_url:
                config |= {"endpoint": self.options.endpoint_url, "virtual_hosted_style_request": False}
            if self.options.region:
                config |= {"region": self.options.region}
            if self.options.anonymous:
                config |= {"skip_signature": True}
            if self.options.requester_pays:
                config |= {"request_payer": True}
        if self._scheme != "s3" or self.options.endpoint_url.startswith("http://"):
            client |= {"allow_http": True}  # all others ask http of nobody whose address does not say so
        return config, client

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        with self._asking(path):
            return bytes(obstore.get(self.store, path).bytes())

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """See `Storage.read_range`."""
        with self._asking(path):
            return bytes(obstore.get_range(self.store, path, start=start, length=length))

    def size(self, path: str) -> int | None:
        """See `Storage.size`."""
        found = self._head(path)
        return None if found is None else int(found["size"])

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Storage.list`."""
        with self._asking(prefix):
            found = [(entry["path"], entry["size"]) for batch in obstore.list(self.store, prefix) for entry in batch]
        yield from sorted(found)

    def put(self, path: str, content: bytes) -> None:
        """See `Storage.put`."""
        with self._asking(path):
            obstore.put(self.store, path, content)

    def put_file(self, path: str, file: Path) -> None:
        """See `Storage.put_file`: in parts, seen when the last one is confirmed."""
        with self._asking(path):
            obstore.put(self.store, path, file)
        file.unlink()

    def put_folder(self, path: str, folder: Path) -> None:
        """See `Storage.put_folder`: ``dataset.json``, by which a version is found, goes last."""
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        for file in sorted(files, key=lambda p: p.name == layout.DOCUMENT):
            self.put_file(f"{path}/{file.relative_to(folder).as_posix()}", file)
        shutil.rmtree(folder)

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        """See `Storage.read_tagged`; the tag is the store's ETag, or Google's generation."""
        try:
            with self._asking(path):
                found = obstore.get(self.store, path)
                return bytes(found.bytes()), self._tag_of(found.meta)
        except FileNotFoundError:
            return None

    def put_if(self, path: str, content: bytes, tag: str | None) -> str:
        """See `Storage.put_if`: the store itself compares.

        An answer may be lost after the store has written: the try that follows then meets our own content, which is no
        conflict. So the content has to be unlike that of any other writer.
        """
        mode: Any = "create" if tag is None else {self._tag_name: tag}
        try:
            with self._asking(path):
                result = obstore.put(self.store, path, content, mode=mode)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            found = self.read_tagged(path)
            if found is not None and found[0] == content:
                return found[1]
            raise StorageConflictError(f"{path} has changed") from error
        return self._tag_of(result)

    def modified_s(self, path: str) -> float | None:
        """See `Storage.modified_s`."""
        found = self._head(path)
        return None if found is None else float(found["last_modified"].timestamp())

    def delete(self, path: str) -> None:
        """See `Storage.delete`."""
        with suppress(FileNotFoundError), self._asking(path):
            obstore.delete(self.store, path)

    def sha256(self, path: str) -> str:
        """See `Storage.sha256`, in one pass over the stream."""
        digest = hashlib.sha256()
        with self._asking(path):
            for piece in obstore.get(self.store, path).stream(min_chunk_size=CHUNK_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See `Storage.local`: a copy in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="terraweft-") as folder:
            for name, _ in self.list(path):
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.read(name))
            yield Path(folder) / path

    def icechunk(self) -> Any:
        """See `Storage.icechunk`.

        Raises:
            DatasetError: a name with letters below which Icechunk loses what it writes.
        """
        parts = urlsplit(self._uri)
        prefix = "/".join(part for part in (unquote(parts.path).strip("/"), layout.ZARR) if part)  # as obstore does
        by_http = {"allow_http": "true"}
        if parts.scheme != "s3" and (odd := _ENCODED.search(prefix)):
            what = f"no Zarr can lie below a name with {odd.group()!r} in {parts.scheme}://"
            raise DatasetError(what, where=self._uri, mend="another name, or write.kinds without zarr")
        if parts.scheme == "gs":
            return icechunk.gcs_storage(bucket=parts.netloc, prefix=prefix, from_env=True, config=by_http)
        if parts.scheme == "az":
            account = self.options.azure_account or EMULATED  # obstore has refused no account but with the emulator
            return icechunk.azure_storage(
                account=account, container=parts.netloc, prefix=prefix, from_env=True, config=by_http
            )
        return icechunk.s3_storage(
            bucket=parts.netloc,
            prefix=prefix,
            region=self.options.region or None,
            endpoint_url=self.options.endpoint_url or None,
            allow_http=self.options.endpoint_url.startswith("http://"),
            anonymous=self.options.anonymous or None,
            from_env=None if self.options.anonymous else True,
            force_path_style=bool(self.options.endpoint_url),
            requester_pays=self.options.requester_pays,
        )

    def close(self) -> None:
        """See `Storage.close`."""
        self._store = None

    def _head(self, path: str) -> Any:
        try:
            with self._asking(path):
                return obstore.head(self.store, path)
        except FileNotFoundError:
            return None

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Turn what the store refuses into one line; conflicts and missing files pass, a missing bucket does not.

        Raises:
            DatasetError: no credentials, no permission, no such bucket, a server that stays unwell.
        """
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (FileNotFoundError, BaseError) as error:
            code = _CODE.search(str(error))
            if code is not None and code[1] in NO_BUCKET:
                said = f"there is no bucket or container {urlsplit(self._uri).netloc!r}"
            elif isinstance(error, FileNotFoundError):
                raise
            else:  # the code and message of the answer, where it gives any, instead of its XML
                line = str(error).splitlines()[0].partition(": <?xml")[0]
                said = redact(line + (f": {code[1]} {code[2] or ''}".rstrip() if code is not None else ""))[:300]
            raise DatasetError(said, where=f"{self._uri}/{path}", mend=MENDS[self._scheme]) from error
