"""What a version's Zarr consists of, chunk by chunk: by it the next one knows which shards stay (``zarr.parquet``).

One row per object of the store (key, bytes, sha256), and one per shard of a group (``<group>#<number>``) with the hash
of the inputs of its chips.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shards.layout import canonical_json
from shards.tables import write_parquet

NAME = "zarr.parquet"
"""Name of the file in a version's folder."""
SCHEMA = pa.schema([("key", pa.string()), ("bytes", pa.int64()), ("sha256", pa.string()), ("inputs", pa.string())])


@dataclass(frozen=True, slots=True)
class Chunk:
    """One object of the store."""

    bytes: int
    """Encoded."""
    sha256: str
    """Of exactly these."""


@dataclass(frozen=True)
class ZarrRecord:
    """The store's objects and the inputs of its shards."""

    chunks: Mapping[str, Chunk] = field(default_factory=dict)
    """Key -> object."""
    shards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Group -> hash of the inputs of each of its shards."""

    def digest(self) -> str:
        """sha256 over keys and hashes of all objects: metadata documents and encoded chunks."""
        return digest_of({key: chunk.sha256 for key, chunk in self.chunks.items()})

    def write(self, path: Path) -> None:
        """Write ``zarr.parquet``. Inverse: `read_record`."""
        rows = [
            {"key": key, "bytes": chunk.bytes, "sha256": chunk.sha256, "inputs": ""}
            for key, chunk in sorted(self.chunks.items())
        ]
        for group, inputs in sorted(self.shards.items()):
            rows += [
                {"key": f"{group}#{number}", "bytes": 0, "sha256": "", "inputs": found}
                for number, found in enumerate(inputs)
            ]
        write_parquet(path, pa.Table.from_pylist(rows, SCHEMA))


def read_record(content: bytes) -> ZarrRecord:
    """The record in the bytes of a ``zarr.parquet``."""
    chunks: dict[str, Chunk] = {}
    shards: dict[str, dict[int, str]] = {}
    for row in pq.read_table(io.BytesIO(content)).to_pylist():
        group, marked, number = row["key"].partition("#")
        if marked:
            shards.setdefault(group, {})[int(number)] = row["inputs"]
        else:
            chunks[row["key"]] = Chunk(row["bytes"], row["sha256"])
    ordered = {group: tuple(found[number] for number in sorted(found)) for group, found in shards.items()}
    return ZarrRecord(chunks, ordered)


def digest_of(hashes: Mapping[str, str]) -> str:
    """sha256 over keys and hashes of a store's objects."""
    return hashlib.sha256(canonical_json(sorted(hashes.items()))).hexdigest()
