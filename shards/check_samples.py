"""What must hold of every sample, from its bytes alone: members, masks, georeference, labels, texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetDocument, LayerTable
from schemas.errors import IntegrityError, RecipeError
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from schemas.sensor import load_sensor
from shards.layout import canonical_json
from shards.samples import decode_sample, meta_of
from shards.tar_reader import members_in

MASKED = (0, 7)
"""Validity of pixels whose stored value says nothing: no data, defective."""
LABEL_NODATA = 255


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it must be."""

    where: str
    """File, chip, or both."""
    what: str
    """What is wrong, with numbers."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check_segment(
    content: bytes, place: Mapping[str, Any], document: DatasetDocument
) -> tuple[Sample | None, list[Problem]]:
    """The sample in a segment of a shard, and what is wrong with it.

    Args:
        content: the segment's bytes.
        place: the chip's row of chips.parquet, or at least chip_id, shard and sample_sha256.
        document: the version.
    """
    chip_id = str(place["chip_id"])
    where = f"{place['shard']} {chip_id}"
    problems: list[Problem] = []
    if hashlib.sha256(content).hexdigest() != place["sample_sha256"]:
        problems.append(Problem(where, "the bytes are not those of sample_sha256"))
    try:
        members = {member.suffix: view for member, view in members_in(content, chip_id)}
        sample = decode_sample(chip_id, members, {m.group: m.modality for m in document.modalities})
    except (IntegrityError, KeyError, ValueError, TypeError) as error:
        return None, [*problems, Problem(where, f"{type(error).__name__}: {error}")]
    wanted = expected_suffixes(sample, document)
    if list(members) != wanted:
        problems.append(Problem(where, f"members {list(members)}, wanted {wanted}"))
    if bytes(members["meta.json"]) != canonical_json(meta_of(sample)):
        problems.append(Problem(where, "meta.json is not in the canonical form"))
    problems += [Problem(where, what) for what in _sample_faults(sample, document)]
    return sample, problems


def expected_suffixes(sample: Sample, document: DatasetDocument) -> list[str]:
    """Members that a sample of these contents has, in the contract's order."""
    groups = [layer.group for layer in document.modalities if layer.group in sample.layers]
    counted = {layer.group for layer in document.modalities if layer.composite}
    pairs = [
        name
        for group in groups
        for name in (f"{group}.npy", f"{group}_valid.npy", f"{group}_count.npy")
        if group in counted or not name.endswith("_count.npy")
    ]
    return [
        *pairs,
        *(f"label_{source}.npy" for source in sample.labels),
        *(["label.npy"] if sample.label is not None else []),
        *(["confidence.npy"] if sample.confidence is not None else []),
        *(["osm.json"] if sample.osm is not None else []),
        *(f"target_{name}.npy" for name in sample.targets),
        *(f"target_{name}.json" for name in sample.target_documents),
        *(["texts.json"] if sample.texts else []),
        "meta.json",
    ]


def _sample_faults(sample: Sample, document: DatasetDocument) -> Iterator[str]:
    tables = {layer.group: layer for layer in document.modalities}
    for group, layer in sample.layers.items():
        if group not in tables:
            yield f"{group} is no modality group of dataset.json"
            continue
        yield from (f"{group}: {what}" for what in _layer_faults(layer, tables[group]))
        yield from (f"{group}: {what}" for what in _place_faults(layer.georef, sample.row))
    yield from _label_faults(sample, document)
    for text in sample.texts:
        if text.get("chip_id") != sample.chip_id:
            yield f"texts.json holds {text.get('text_id')} of chip {text.get('chip_id')}"


def _layer_faults(layer: LayerArrays, table: LayerTable) -> Iterator[str]:
    if layer.data.dtype != np.dtype(table.dtype):
        yield f"stored as {layer.data.dtype}, dataset.json says {table.dtype}"
    if layer.data.shape[1] != len(table.bands):
        yield f"{layer.data.shape[1]} bands, dataset.json lists {len(table.bands)}"
    if layer.data.shape[0] > table.max_dates:
        yield f"{layer.data.shape[0]} dates, dataset.json says at most {table.max_dates}"
    if layer.georef.pixel_size != table.gsd_m:
        yield f"pixels of {layer.georef.pixel_size} m, dataset.json says {table.gsd_m} m"
    if layer.valid.dtype != np.uint8 or (layer.valid.size and int(layer.valid.max()) > 7):
        yield f"validity {layer.valid.dtype} up to {layer.valid.max()}, wanted uint8 up to 7"
        return
    is_empty = np.isnat(layer.time_utc)
    if bool(np.any(np.diff(layer.time_utc[~is_empty].astype(np.int64)) < 0)):
        yield "dates do not rise"
    if layer.valid[is_empty].any():
        yield "a step without a time holds pixels"
    if layer.count is not None and bool(np.any((layer.count == 0) & np.isin(layer.valid, (1, 6)))):
        yield "pixels are clear that no date of the composite saw clearly"
    if not (np.isfinite(layer.scale).all() and np.isfinite(layer.offset).all()):
        yield "scale or offset is not a number"
    silent = int(np.count_nonzero(missing_of(layer, table) & ~np.isin(layer.valid, MASKED)))
    if silent:
        yield f"{silent} pixel(s) hold no data or NaN, and the validity mask does not say so"


def missing_of(layer: LayerArrays, table: LayerTable) -> NDArray[np.bool_]:
    """(T, H, W) where the stored values mean no data, by the sensor's rule (any band, or all), or are not
    finite.
    """
    if layer.data.dtype.kind == "f":
        bad = ~np.isfinite(layer.data)
    else:
        bad = np.zeros(layer.data.shape, bool)
    if table.nodata is not None:
        empty = layer.data == np.asarray(table.nodata).astype(layer.data.dtype)
        rule = _nodata_rule(table.sensor)
        by_rule = empty.any(axis=1) if rule == "any" else empty.all(axis=1)
        return np.asarray(bad.any(axis=1) | by_rule)
    return np.asarray(bad.any(axis=1))


@cache
def _nodata_rule(sensor: str) -> str:
    """any or all; all for sensors without a profile."""
    try:
        return load_sensor(sensor).nodata_rule
    except RecipeError:
        return "all"


def _place_faults(georef: GeoRef, row: Mapping[str, Any]) -> Iterator[str]:
    """A layer covers its chip, and overhangs it by no more than a pixel."""
    bounds = row.get("bounds_xyxy")
    if bounds is None:
        yield "the row has no bounds_xyxy"
        return
    left, bottom, right, top = bounds
    own = georef.bounds_xyxy
    over = (left - own[0], bottom - own[1], own[2] - right, own[3] - top)
    if min(over) < -1e-6 - 0.5 * georef.pixel_size or max(over) > georef.pixel_size + 1e-6:
        yield f"covers {own}, the chip {tuple(bounds)}: off by more than a pixel of {georef.pixel_size} m"


def _label_faults(sample: Sample, document: DatasetDocument) -> Iterator[str]:
    arrays: dict[str, NDArray[Any]] = {f"label_{name}": codes for name, codes in sample.labels.items()}
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
            yield f"{name} is {array.dtype} {array.shape}, wanted (H, W) uint8 or uint16"
    if (sample.label is None) != (sample.confidence is None):
        yield "label and confidence: one is there without the other"
    if sample.label is None:
        return
    if sample.label.ndim != 2 or sample.label.dtype != np.uint8:
        yield f"label is {sample.label.dtype} {sample.label.shape}, wanted (H, W) uint8"
        return
    if sample.confidence is not None and (
        sample.confidence.shape != sample.label.shape or sample.confidence.dtype != np.uint8
    ):
        yield f"confidence is {sample.confidence.dtype} {sample.confidence.shape}, label {sample.label.shape}"
    classes = (document.legends.get("label") or {}).get("classes")
    used = [int(value) for value in np.unique(sample.label) if value != LABEL_NODATA]
    if classes is not None and used and used[-1] >= len(classes):
        yield f"label holds class {used[-1]}, its legend has {len(classes)}"
