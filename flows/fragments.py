"""What a tile leaves behind between the passes: one folder per tile and pass, renamed into place when complete.

    work/runs/<run>/<pass>/<tile>-<key>/<chip>.arrays   one chip: a mapping and its arrays, raw (`write_chip`)
    work/runs/<run>/<pass>/<tile>-<key>/tile.json       outcomes, statistics, steps

A folder that has its final name is complete; anything else is swept away. The key is a hash of all that decides the
content, so a fragment is used again exactly when nothing changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.chip import DateSource
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.sample import LayerArrays
from schemas.scene import SceneItem
from shards.hashing import write_all

Arrays = Mapping[str, NDArray[Any]]

FORMAT = "3"
"""Of the files: stands in the keys of folders, so that what older code left is not read."""
MAGIC = b"TWARRAY3"
ALIGNED = 64
"""Every array begins at a multiple of this."""
FIRST_READ_BYTES = 16 << 10
"""A chip's mapping is seldom longer: it comes with one read."""


def key_of(*parts: Any) -> str:
    """First 16 hex digits of the sha256 of some JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class FragmentWriter:
    """Collects one tile's chips in a temporary folder; `commit` renames it into place.

    Args:
        final: the folder's final path.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self.temporary = final.with_name(f"{final.name}.tmp-{os.getpid()}")
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)

    def add(self, chip_id: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Store a chip's arrays and a JSON-ready mapping."""
        write_chip(f"{self.temporary}/{chip_id}.arrays", arrays, facts)

    def commit(self, summary: Mapping[str, Any]) -> Path:
        """Write ``tile.json`` and rename the folder; what another worker finished first stays."""
        path = self.temporary / "tile.json"
        with path.open("w", encoding="utf-8") as stream:
            stream.write(json.dumps(summary, default=_plain))  # json.dump encodes in Python, piece by piece
            stream.flush()
            os.fsync(stream.fileno())
        if self.final.exists():
            shutil.rmtree(self.temporary)
        else:
            os.rename(self.temporary, self.final)
        return self.final


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"__bytes__": value.hex()}
    if hasattr(value, "isoformat"):
        return {"__time__": value.isoformat()}
    raise TypeError(f"{type(value)} has no place in a fragment")


def _rich(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    if "__bytes__" in value:
        return bytes.fromhex(value["__bytes__"])
    if "__time__" in value:
        return datetime.fromisoformat(value["__time__"])
    return value


def read_json(path: Path) -> Any:
    """A JSON file of a fragment, with bytes and times as they were."""
    return json.loads(path.read_text(encoding="utf-8"), object_hook=_rich)


def write_chip(path: str | Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Write arrays as raw memory behind one JSON: their names, types, shapes and places, and the chip's mapping.

    One file, opened once. Inverse: `read_chip`.

    Raises:
        TypeError: an array of objects, or a value that has no form in JSON.
    """
    described: list[Any] = []
    bodies: list[bytes | memoryview] = []
    position = 0
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name}: {array.dtype} has no place in a fragment")
        described.append([name, array.dtype.str, list(array.shape), position])
        padding = -array.nbytes % ALIGNED
        bodies += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(padding)]
        position += array.nbytes + padding
    head = json.dumps([described, facts], default=_plain).encode()
    begin = MAGIC + len(head).to_bytes(8, "little") + head
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_all(file, [begin, bytes(_start_of(len(head)) - len(begin)), *bodies])
    finally:
        os.close(file)


def read_facts(path: str | Path) -> dict[str, Any]:
    """A chip's mapping, without its arrays.

    Raises:
        OSError: the file is not whole.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        begin = os.read(file, FIRST_READ_BYTES)
        length = _head_length(begin, path)
        missing = _PREFIX + length - len(begin)
        if missing > 0:
            begin += os.read(file, missing)
    finally:
        os.close(file)
    return dict(_head(begin, length, path)[1])


def read_chip(path: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A chip's mapping and its arrays, these mapped and not read: who does not look at one does not pay for it.

    Changes stay in memory.

    Raises:
        OSError: the file is not whole.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        if os.fstat(file).st_size < ALIGNED:
            raise OSError(f"{path} is no whole fragment")
        content = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(file)
    length = _head_length(content[:_PREFIX], path)
    described, facts = _head(content[: _PREFIX + length], length, path)
    start = _start_of(length)
    arrays: dict[str, NDArray[Any]] = {}
    for name, code, shape, offset in described:
        dtype, count = np.dtype(code), math.prod(shape)
        if start + offset + count * dtype.itemsize > len(content):
            raise OSError(f"{path} is no whole fragment")
        flat = np.frombuffer(content, dtype, count, start + offset) if count else np.empty(0, dtype)
        arrays[name] = flat.reshape(shape)
    return dict(facts), arrays


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of `read_chip`."""
    return read_chip(path)[1]


_PREFIX = len(MAGIC) + 8
"""Bytes before the JSON: who we are, and its length."""


def _head_length(begin: bytes, path: str | Path) -> int:
    if begin[: len(MAGIC)] != MAGIC:
        raise OSError(f"{path} is no whole fragment")
    return int.from_bytes(begin[len(MAGIC) : _PREFIX], "little")


def _head(begin: bytes, length: int, path: str | Path) -> Any:
    if len(begin) < _PREFIX + length:
        raise OSError(f"{path} is no whole fragment")
    return json.loads(begin[_PREFIX : _PREFIX + length], object_hook=_rich)


def _start_of(head_bytes: int) -> int:
    """Where the first array begins behind a head."""
    return -(-(_PREFIX + head_bytes) // ALIGNED) * ALIGNED


def sweep(folder: Path) -> None:
    """Remove what an earlier run left half-done, and tiles in which a chip failed."""
    for leftover in (*folder.glob("*.tmp-*"), *folder.glob("*.failed")):
        shutil.rmtree(leftover, ignore_errors=True)


def pack_layers(layers: Mapping[str, LayerArrays]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Layers as flat arrays and a JSON-ready description. Inverse: `unpack_layers`."""
    arrays: dict[str, NDArray[Any]] = {}
    described: dict[str, Any] = {}
    for group, layer in layers.items():
        arrays |= {
            f"{group}/data": layer.data,
            f"{group}/valid": layer.valid,
            f"{group}/time": layer.time_utc.astype("int64"),
            f"{group}/scale": layer.scale,
            f"{group}/offset": layer.offset,
        }
        if layer.count is not None:
            arrays[f"{group}/count"] = layer.count
        described[group] = asdict(layer.georef)
    return arrays, described


def unpack_layers(arrays: Arrays, described: Mapping[str, Any]) -> dict[str, LayerArrays]:
    """The layers that `pack_layers` flattened, in their order."""
    return {
        group: LayerArrays(
            data=arrays[f"{group}/data"],
            valid=arrays[f"{group}/valid"],
            time_utc=arrays[f"{group}/time"].astype("datetime64[ns]"),
            scale=arrays[f"{group}/scale"],
            offset=arrays[f"{group}/offset"],
            georef=georef_of(georef),
            count=arrays.get(f"{group}/count"),
        )
        for group, georef in described.items()
    }


def pack_source(source: DateSource) -> dict[str, Any]:
    """Where a date comes from, as JSON, items by id. Inverse: `unpack_source`."""
    return {
        "pictures": [[item.item_id for item in parts] for parts in source.pictures],
        "window": source.window,
        "reference_utc": source.reference_utc,
    }


def unpack_source(packed: Mapping[str, Any], items: Mapping[str, SceneItem]) -> DateSource:
    """The source that `pack_source` flattened, with its items again."""
    pictures = tuple(tuple(items[item_id] for item_id in parts) for parts in packed["pictures"])
    return DateSource(pictures, packed["window"], packed["reference_utc"])


def georef_of(fields: Mapping[str, Any]) -> GeoRef:
    """A georeference from its JSON fields."""
    return GeoRef(**{**fields, "shape_yx": tuple(fields["shape_yx"])})


def pack_features(table: FeatureTable | None) -> dict[str, Any] | None:
    """A feature table as JSON. Inverse: `unpack_features`."""
    if table is None:
        return None
    features = [
        {
            "id": f.feature_id,
            "wkb": shapely.to_wkb(f.geometry).hex(),
            "tags": dict(f.tags),
            "timestamp": f.timestamp,
        }
        for f in table.features
    ]
    fields = {name: getattr(table, name) for name in ("source", "epsg", "extract_date", "licence", "attribution")}
    return {**fields, "features": features}


def unpack_features(packed: Mapping[str, Any] | None) -> FeatureTable | None:
    """The table that `pack_features` flattened."""
    if packed is None:
        return None
    features = tuple(
        Feature(f["id"], shapely.from_wkb(bytes.fromhex(f["wkb"])), f["tags"], f["timestamp"])
        for f in packed["features"]
    )
    fields = {name: packed[name] for name in ("source", "epsg", "extract_date", "licence", "attribution")}
    return FeatureTable(features=features, **fields)


def finished(folder: Path) -> Iterable[Path]:
    """Complete fragments of a pass, by name."""
    return (
        sorted(path for path in folder.iterdir() if path.is_dir() and ".tmp-" not in path.name)
        if folder.exists()
        else []
    )
