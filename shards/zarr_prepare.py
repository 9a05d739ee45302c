"""The Zarr part of a version, from the shards that are on disk: as much of it as changed since the parent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.dataset import DatasetDocument
from schemas.sample import Sample
from shards.draft import Draft
from shards.layout import ZARR, canonical_json, version_path
from shards.samples import decode_sample
from shards.storage import Storage
from shards.tar_reader import ShardFiles
from shards.zarr_groups import LabelTable, ZarrPlan
from shards.zarr_record import NAME, ZarrRecord, read_record
from shards.zarr_store import ZarrResult, tag_again, tagged_snapshot
from shards.zarr_write import Spread, ZarrBefore, write_zarr

Place = tuple[str, int, int, str]
"""Shard, offset, length and chip of a sample."""


@dataclass(frozen=True)
class PreparedZarr:
    """The Zarr part of a version before its name is known."""

    digest: str = ""
    """sha256 over metadata and encoded chunks; empty without Zarr."""
    groups: tuple[str, ...] = ()
    """Names of the groups."""
    input_hash: str = ""
    """sha256 over all that the groups follow from."""
    plan: ZarrPlan | None = None
    """What they are."""
    record: ZarrRecord = field(default_factory=ZarrRecord)
    """Their objects."""
    snapshot: str = ""
    """Of the parent, where its arrays are the same and are tagged again."""
    result: ZarrResult | None = None
    """What was written and waits for its tag."""

    def tag(self, storage: Storage, version: str) -> None:
        """Make the arrays visible under the version's name."""
        if self.result is not None:
            self.result.tag(version)
        elif self.snapshot:
            tag_again(storage, self.snapshot, version)

    def write_record(self, folder: Path) -> None:
        """Write ``zarr.parquet``, if there is any Zarr."""
        if self.digest:
            self.record.write(folder / NAME)

    def as_document(self, version: str) -> dict[str, Any]:
        """What ``dataset.json`` says of it; empty without Zarr."""
        if self.plan is None:
            return {}
        labels = {
            name: {"dtype": table.dtype, "shape_yx": list(table.shape_yx)} for name, table in self.plan.labels.items()
        }
        return {
            "path": ZARR,
            "tag": version,
            "groups": list(self.groups),
            "shard_chips": self.plan.shard_chips,
            "codec": self.plan.codec,
            "digest": self.digest,
            "input_hash": self.input_hash,
            "labels": labels,
            "signatures": {spec.name: spec.signature() for spec in self.plan.specs()},
        }


def prepare_zarr(
    storage: Storage,
    draft: Draft,
    rows: pa.Table,
    parent: DatasetDocument | None,
    spread: Spread | None = None,
) -> PreparedZarr:
    """Write the groups, or what of them changed, or find that the parent's are the same.

    Args:
        storage: the dataset's root; the draft's shards are in place.
        draft: the version.
        rows: of its chips, in the table's order.
        parent: the version before.
        spread: who writes the shards.
    """
    if draft.zarr_shard_chips is None:
        return PreparedZarr()
    chip_ids = tuple(rows["chip_id"].to_pylist())
    plan = ZarrPlan(draft.layers, _label_tables(draft, parent), chip_ids, draft.zarr_shard_chips, draft.zarr_codec)
    inputs = _inputs(draft, rows, plan)
    input_hash = _input_hash(plan, inputs)
    old = parent.zarr if parent is not None else {}
    groups = tuple(spec.name for spec in plan.specs())
    if parent is not None and old.get("input_hash") == input_hash and NAME in parent.tables:
        snapshot, record = tagged_snapshot(storage, str(old["tag"])), _record(storage, parent)
        return PreparedZarr(old["digest"], groups, input_hash, plan, record, snapshot)
    columns = (rows[name].to_pylist() for name in ("shard", "shard_offset", "shard_length", "chip_id"))
    places: list[Place] = list(zip(*columns, strict=True))
    load = partial(load_samples, storage, {layer.group: layer.modality for layer in draft.layers})
    before = _before(storage, parent)
    result = write_zarr(storage, plan, places, load, inputs=inputs, before=before, spread=spread)
    return PreparedZarr(result.digest, result.groups, input_hash, plan, result.record, result=result)


def load_samples(storage: Storage, modality_of: Mapping[str, str], places: Sequence[Place]) -> list[Sample]:
    """Samples as they lie in the shards: Zarr equals the tars by construction."""
    with ShardFiles(storage) as files:
        return [
            decode_sample(chip_id, files.read(shard, offset, length, chip_id), modality_of)
            for shard, offset, length, chip_id in places
        ]


def _record(storage: Storage, parent: DatasetDocument) -> ZarrRecord:
    return read_record(storage.read(f"{version_path(parent.version)}/{NAME}"))


def _before(storage: Storage, parent: DatasetDocument | None) -> ZarrBefore | None:
    """The parent's Zarr, if it says what it consists of."""
    if parent is None or not parent.zarr or NAME not in parent.tables:
        return None
    snapshot = tagged_snapshot(storage, str(parent.zarr["tag"]))
    return ZarrBefore(snapshot, parent.zarr["signatures"], _record(storage, parent))


def _inputs(draft: Draft, rows: pa.Table, plan: ZarrPlan) -> dict[str, list[str]]:
    """Group -> per chip, hash of all that its arrays follow from.

    That is the chip's input of the component behind the group; where it is not known, the bytes of its sample.
    """
    of_chip = {outcome.chip_id: outcome.inputs for outcome in draft.outcomes}
    components: dict[str, tuple[str, ...]] = {layer.group: (layer.modality,) for layer in plan.layers}
    components |= {name: ("labels",) if name.startswith("label_") else ("labels", "fuse") for name in plan.labels}
    found: dict[str, list[str]] = {}
    hashes = rows["sample_sha256"].to_pylist()
    for group, names in components.items():
        found[group] = []
        for chip_id, sha256 in zip(plan.chip_ids, hashes, strict=True):
            inputs = of_chip.get(chip_id, {})
            known = [inputs.get(name) for name in names]
            found[group].append("+".join(map(str, known)) if all(known) else sha256)
    return found


def _input_hash(plan: ZarrPlan, inputs: Mapping[str, Sequence[str]]) -> str:
    """sha256 over all that the groups follow from; statistics of bands are not among it."""
    measured = {"mean", "std", "count"}
    layers = [layer.model_dump(mode="json", exclude={"bands": {"__all__": measured}}) for layer in plan.layers]
    labels = [[name, t.dtype, t.nodata, list(t.shape_yx), t.legend] for name, t in sorted(plan.labels.items())]
    content = {
        "inputs": {group: list(hashes) for group, hashes in inputs.items()},
        "chips": list(plan.chip_ids),
        "layers": layers,
        "labels": labels,
        "shard_chips": plan.shard_chips,
        "signatures": [spec.signature() for spec in plan.specs()],
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _label_tables(draft: Draft, parent: DatasetDocument | None) -> dict[str, LabelTable]:
    """Label groups and their largest shapes: those of the shards that were written, and for the others the parent's."""
    found: dict[str, tuple[str, tuple[int, int]]] = {}
    groups = {f"label_{name}" for name in draft.legends if name != "label"}
    groups |= {"label", "confidence"} if "label" in draft.legends else set()
    taken = parent.zarr.get("labels", {}) if parent is not None else {}
    kept = {name: (t["dtype"], tuple(t["shape_yx"])) for name, t in taken.items() if name in groups}
    for shapes in (kept, *(shard.labels for shard in draft.shards)):
        for name, (dtype, shape) in shapes.items():
            largest = found.get(name, ("", (0, 0)))[1]
            found[name] = (dtype, (max(largest[0], shape[0]), max(largest[1], shape[1])))
    return {
        name: LabelTable(dtype, _label_nodata(name, dtype, draft), shape, _legend_name(name, draft))
        for name, (dtype, shape) in sorted(found.items())
    }


def _label_nodata(name: str, dtype: str, draft: Draft) -> int:
    source = name.removeprefix("label_")
    if name == "confidence":
        return 0
    if name == "label":
        return 255
    legend = draft.legends.get(source) or {}
    codes = legend.get("nodata") or [255 if dtype == "uint8" else 65535]
    return int(draft.label_nodata.get(source, codes[0]))


def _legend_name(name: str, draft: Draft) -> str:
    legend = draft.legends.get(name.removeprefix("label_")) or {}
    return str(legend.get("name", ""))
