"""`Sample` <-> the members of a shard, in the order that docs/dataset.md fixes.

    <key>.<group>.npy, <key>.<group>_valid.npy      per modality group, in the recipe's order
    <key>.<group>_count.npy                         after them where the group is a composite
    <key>.label_<source>.npy                        per label source
    <key>.label.npy, <key>.confidence.npy
    <key>.osm.json
    <key>.target_<name>.npy, <key>.target_<name>.json   per target of the recipe, in its order
    <key>.texts.json, <key>.meta.json

``meta.json`` is the chip's row less what only the finished shard knows (`LATE_KEYS`): a file cannot hold its own hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.errors import IntegrityError
from schemas.georef import GeoRef
from schemas.sample import CHIP_ID, MAX_MEMBER, PLAIN_NAME, LayerArrays, Sample, why_no_group
from shards.layout import canonical_json
from shards.npy import decode_npy, encode_npy

SUFFIX = re.compile(rf"[a-z0-9_-]{{1,{MAX_MEMBER}}}\.(npy|json)")
LATE_KEYS = ("sample_sha256", "shard", "shard_index", "shard_offset", "shard_length", "zarr_index")
"""Columns of chips.parquet that stand in no ``meta.json``."""

Content = tuple[bytes, bytes | memoryview]


def label_arrays(sample: Sample) -> dict[str, NDArray[Any]]:
    """Name -> label array of a sample: of its sources, then fused, then the confidence."""
    arrays: dict[str, NDArray[Any]] = {f"label_{source}": codes for source, codes in sample.labels.items()}
    if sample.label is not None:
        arrays["label"] = sample.label
    if sample.confidence is not None:
        arrays["confidence"] = sample.confidence
    return arrays


def sample_members(sample: Sample) -> Iterator[tuple[str, Content]]:
    """(suffix, (head, body)) of every member, in order; the bytes depend on nothing but the sample.

    Raises:
        ValueError: a name, dtype or shape that the format forbids.
    """
    if not CHIP_ID.fullmatch(sample.chip_id):
        raise ValueError(f"chip id {sample.chip_id!r}: 1 to 60 of letters, digits, _ and -")
    for group, layer in sample.layers.items():
        if why := why_no_group(group):
            raise ValueError(f"{group!r} cannot name a modality group: {why}")
        _check_layer(sample.chip_id, group, layer)
        yield _named(f"{group}.npy"), encode_npy(layer.data)
        yield _named(f"{group}_valid.npy"), encode_npy(layer.valid)
        if layer.count is not None:
            yield _named(f"{group}_count.npy"), encode_npy(layer.count)
    for name, codes in label_arrays(sample).items():
        yield _named(f"{name}.npy"), encode_npy(codes)
    if sample.osm is not None:
        yield "osm.json", (b"", canonical_json(sample.osm))
    for name, array in sample.targets.items():
        yield _named(f"target_{name}.npy"), encode_npy(array)
    for name, document in sample.target_documents.items():
        yield _named(f"target_{name}.json"), (b"", canonical_json(document))
    if sample.texts:
        yield "texts.json", (b"", canonical_json(list(sample.texts)))
    yield "meta.json", (b"", canonical_json(meta_of(sample)))


def meta_of(sample: Sample) -> dict[str, Any]:
    """The chip's row as ``meta.json`` holds it: the geometry as GeoJSON, and nothing that only the shard
    knows.
    """
    row = {key: value for key, value in sample.row.items() if key not in LATE_KEYS and key != "geometry_wkb"}
    if "geometry_wkb" in sample.row:
        row["geometry"] = json.loads(shapely.to_geojson(shapely.from_wkb(sample.row["geometry_wkb"])))
    return row | {"chip_id": sample.chip_id, "split": sample.split}


def row_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The row that `meta_of` was made from: the geometry as WKB again."""
    row = {key: value for key, value in meta.items() if key != "geometry"}
    if "geometry" in meta:
        row["geometry_wkb"] = shapely.to_wkb(shapely.from_geojson(json.dumps(meta["geometry"])))
    return row


def _named(suffix: str) -> str:
    if not SUFFIX.fullmatch(suffix):
        raise ValueError(f"member {suffix!r}: lower case letters, digits, _ and -, at most {MAX_MEMBER}")
    return suffix


def _check_layer(chip_id: str, group: str, layer: LayerArrays) -> None:
    dates = layer.data.shape[0] if layer.data.ndim else 0
    if layer.data.ndim != 4 or layer.valid.shape != (dates, *layer.data.shape[2:]) or layer.valid.dtype != np.uint8:
        raise ValueError(
            f"{chip_id} {group}: data {layer.data.shape} and valid {layer.valid.dtype} {layer.valid.shape}, "
            "wanted (T, C, H, W) and uint8 (T, H, W)"
        )
    if layer.data.shape[2:] != tuple(layer.georef.shape_yx):
        raise ValueError(f"{chip_id} {group}: {layer.data.shape[2:]} pixels, georeference {layer.georef.shape_yx}")
    if layer.count is not None and (layer.count.dtype != np.uint8 or layer.count.shape != layer.valid.shape):
        raise ValueError(f"{chip_id} {group}: counts {layer.count.dtype} {layer.count.shape}, wanted as valid")
    if not (len(layer.time_utc) == len(layer.scale) == len(layer.offset) == dates):
        raise ValueError(f"{chip_id} {group}: times, scales or offsets are not {dates}")


def decode_sample(chip_id: str, members: Mapping[str, bytes | memoryview], modality_of: Mapping[str, str]) -> Sample:
    """The sample in its members (all, or those that were read; ``meta.json`` is always needed).

    Args:
        chip_id: key of the sample.
        members: suffix -> bytes, in the order of the shard.
        modality_of: modality group -> modality, whose lists of dates the row holds.

    Raises:
        IntegrityError: members that do not fit together.
    """
    try:
        return _decoded(chip_id, members, modality_of)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, shapely.errors.ShapelyError) as error:
        raise IntegrityError(f"{chip_id}: meta.json does not fit: {type(error).__name__} {str(error)[:80]}") from error


def _decoded(chip_id: str, members: Mapping[str, bytes | memoryview], modality_of: Mapping[str, str]) -> Sample:
    meta = decode_json(members.get("meta.json", b""), dict)
    row = row_of(meta)
    split = str(meta.get("split", ""))
    if split and not PLAIN_NAME.fullmatch(split):
        raise IntegrityError(f"{chip_id}: {split[:40]!r} is no name of a split: refused")
    layers: dict[str, LayerArrays] = {}
    labels: dict[str, NDArray[Any]] = {}
    targets: dict[str, NDArray[Any]] = {}
    for suffix, content in members.items():
        name, _, ending = suffix.rpartition(".")
        if ending != "npy" or name in ("label", "confidence") or name.endswith(("_valid", "_count")):
            continue
        if name.startswith("target_"):
            targets[name.removeprefix("target_")] = decode_npy(content)
        elif name.startswith("label_"):
            labels[name.removeprefix("label_")] = decode_npy(content)
        else:
            mask = members.get(f"{name}_valid.npy")
            if mask is None:
                raise IntegrityError(f"{chip_id}: {name} has no validity mask")
            layer = _layer(name, modality_of.get(name, name), row, decode_npy(content), decode_npy(mask))
            count = members.get(f"{name}_count.npy")
            layers[name] = layer if count is None else _with_count(chip_id, name, layer, decode_npy(count))
    return Sample(
        chip_id=chip_id,
        split=split,
        layers=layers,
        labels=labels,
        label=decode_npy(members["label.npy"]) if "label.npy" in members else None,
        confidence=decode_npy(members["confidence.npy"]) if "confidence.npy" in members else None,
        osm=decode_json(members["osm.json"], dict) if "osm.json" in members else None,
        targets=targets,
        target_documents={
            suffix.removeprefix("target_").removesuffix(".json"): decode_json(content, dict)
            for suffix, content in members.items()
            if suffix.startswith("target_") and suffix.endswith(".json")
        },
        texts=tuple(decode_texts(members["texts.json"])) if "texts.json" in members else (),
        row=row,
    )


def decode_json(content: bytes | bytearray | memoryview, kind: type[Any]) -> Any:
    """The JSON value in ``content``.

    Raises:
        IntegrityError: no JSON, or of another kind.
    """
    try:
        value = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"unreadable JSON member: {str(error)[:80]}") from error
    if not isinstance(value, kind):
        raise IntegrityError(f"JSON member holds a {type(value).__name__}, wanted {kind.__name__}")
    return value


def decode_texts(content: bytes | bytearray | memoryview) -> list[dict[str, Any]]:
    """The text records in ``content``.

    Raises:
        IntegrityError: no JSON list of objects that have a kind and a text.
    """
    records: list[Any] = decode_json(content, list)
    for record in records:
        if not isinstance(record, dict) or not all(isinstance(record.get(name), str) for name in ("kind", "text")):
            raise IntegrityError(f"texts.json holds {str(record)[:40]!r}, which is no text record")
    return records


def georef_of(row: Mapping[str, Any], group: str) -> GeoRef:
    """The georeference of a layer, from ``<group>.transform`` and ``<group>.shape_yx``.

    Raises:
        IntegrityError: the row holds none, or one that is not north-up.
    """
    transform, shape_yx = row.get(f"{group}.transform"), row.get(f"{group}.shape_yx")
    if transform is None or shape_yx is None or len(transform) != 6 or len(shape_yx) != 2:
        raise IntegrityError(f"{row.get('chip_id')}: no {group}.transform of 6 numbers with {group}.shape_yx of 2")
    a, b, c, d, e, f = (float(value) for value in transform)
    if b or d or a <= 0 or e != -a or not np.isfinite((a, c, f)).all():
        raise IntegrityError(f"{row.get('chip_id')}: {group}.transform {transform} is not north-up with square pixels")
    return GeoRef(int(row["epsg"]), c, f, a, (int(shape_yx[0]), int(shape_yx[1])))


def _layer(group: str, modality: str, row: Mapping[str, Any], data: NDArray[Any], valid: NDArray[Any]) -> LayerArrays:
    georef = georef_of(row, group)
    dates = data.shape[0] if data.ndim else 0
    if data.ndim != 4 or valid.shape != (dates, *data.shape[2:]) or data.shape[2:] != georef.shape_yx:
        raise IntegrityError(
            f"{row.get('chip_id')}: {group} {data.shape}, its mask {valid.shape} and {group}.shape_yx "
            f"{georef.shape_yx} do not fit together"
        )
    times = _per_date(row, group, modality, "datetimes", dates)
    return LayerArrays(
        data=data,
        valid=valid,
        time_utc=np.array(
            ["NaT" if t is None else str(t).removesuffix("Z").removesuffix("+00:00") for t in times], "datetime64[ns]"
        ),
        scale=np.array(_per_date(row, group, modality, "scale", dates), np.float64),
        offset=np.array(_per_date(row, group, modality, "offset", dates), np.float64),
        georef=georef,
    )


def _with_count(chip_id: str, group: str, layer: LayerArrays, count: NDArray[Any]) -> LayerArrays:
    if count.dtype != np.uint8 or count.shape != layer.valid.shape:
        raise IntegrityError(f"{chip_id}: {group}_count is {count.dtype} {count.shape}, its mask {layer.valid.shape}")
    return replace(layer, count=count)


def _per_date(row: Mapping[str, Any], group: str, modality: str, name: str, dates: int) -> list[Any]:
    """A list over the dates: the group's own where the row has one, else the modality's."""
    values = row.get(f"{group}.{name}", row.get(f"{modality}.{name}"))
    if values is None and dates == 0:
        return []
    if values is None or len(values) != dates:
        raise IntegrityError(
            f"{row.get('chip_id')}: {modality}.{name} has {'no' if values is None else len(values)} values "
            f"for {dates} date(s) of {group}"
        )
    return list(values)


def to_physical(layer: LayerArrays, nodata: float | None = None) -> NDArray[np.float32]:
    """(T, C, H, W) float32 physical values: stored * scale + offset; NaN where the mask says no data (0).

    Args:
        layer: as stored.
        nodata: stored value of no data: a single band may hold it where the others, and the mask, do not.
    """
    scale = layer.scale.astype(np.float64)[:, None, None, None]
    offset = layer.offset.astype(np.float64)[:, None, None, None]
    physical: NDArray[np.float32] = (layer.data * scale + offset).astype(np.float32)
    physical[np.broadcast_to((layer.valid == 0)[:, None], physical.shape)] = np.nan
    if nodata is not None:
        physical[layer.data == np.asarray(nodata).astype(layer.data.dtype)] = np.nan
    return physical
