"""The Zarr part of a version, from the shards that are on disk: written anew, or found to equal the parent's.
The Zarr part of a version, from the shards that are on disk: written anew, or found to equal the parent's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any

from schemas.dataset import DatasetDocument
from schemas.sample import Sample
from shards.draft import Draft
from shards.layout import ZARR, canonical_json
from shards.npy import header_of
from shards.samples import decode_sample
from shards.storage import Storage
from shards.tar_reader import ShardFiles
from shards.zarr_groups import LabelTable, ZarrPlan
from shards.zarr_store import ZarrResult, tag_again, tagged_snapshot, write_zarr

NPY_HEAD = 512
"""Bytes that hold the header of any array written here."""


@dataclass(frozen=True)
class PreparedZarr:
    """The Zarr part of a version before its name is known."""

    digest: str = ""
    """sha256 over metadata and encoded chunks; empty without Zarr."""
    groups: tuple[str, ...] = ()
    """Names of the groups."""
    input_hash: str = ""
    """sha256 over all that the groups follow from."""
    shard_chips: int = 0
    """Chips per Zarr shard."""
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

    def as_document(self, version: str) -> dict[str, Any]:
        """What ``dataset.json`` says of it; empty without Zarr."""
        if not self.digest:
            return {}
        return {
            "path": ZARR,
            "tag": version,
            "groups": list(self.groups),
            "shard_chips": self.shard_chips,
            "digest": self.digest,
            "input_hash": self.input_hash,
        }


def prepare_zarr(
    storage: Storage, draft: Draft, rows: list[dict[str, Any]], parent: DatasetDocument | None
) -> PreparedZarr:
    """Write the groups, or find that the parent's are the same: they follow from the shards, their order and
    the plan.
    """
    if draft.zarr_shard_chips is None:
        return PreparedZarr()
    input_hash = _input_hash(draft, [row["chip_id"] for row in rows], draft.zarr_shard_chips)
    before = parent.zarr if parent is not None else {}
    if before.get("input_hash") == input_hash:
        snapshot = tagged_snapshot(storage, str(before["tag"]))
        groups = tuple(before["groups"])
        return PreparedZarr(before["digest"], groups, input_hash, draft.zarr_shard_chips, snapshot)
    with ShardFiles(storage) as files:
        labels = _label_tables(files, rows, draft)
        plan = ZarrPlan(draft.layers, labels, tuple(row["chip_id"] for row in rows), draft.zarr_shard_chips)
        result = write_zarr(storage, plan, _samples(files, rows, draft))
    return PreparedZarr(result.digest, result.groups, input_hash, plan.shard_chips, result=result)


def _input_hash(draft: Draft, chip_ids: list[str], shard_chips: int) -> str:
    """sha256 over all that the groups follow from; statistics of bands are not among it."""
    measured = {"mean", "std", "count"}
    layers = [layer.model_dump(mode="json", exclude={"bands": {"__all__": measured}}) for layer in draft.layers]
    sources = ["label", *sorted(draft.legends)]
    content = {
        "shards": sorted(shard.record.sha256 for shard in draft.shards),
        "chips": chip_ids,
        "layers": layers,
        "labels": [[s, _label_nodata(f"label_{s}", "", draft), _legend_name(s, draft)] for s in sources],
        "shard_chips": shard_chips,
        "software": {name: installed(name) for name in ("zarr", "numcodecs")},
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _samples(files: ShardFiles, rows: list[dict[str, Any]], draft: Draft) -> Iterator[Sample]:
    """The samples as they lie in the shards, in the rows' order: Zarr equals the tars by construction."""
    modality_of = {layer.group: layer.modality for layer in draft.layers}
    for row in rows:
        members = files.read(row["shard"], row["shard_offset"], row["shard_length"], row["chip_id"])
        yield decode_sample(row["chip_id"], members, modality_of)


def _label_tables(files: ShardFiles, rows: list[dict[str, Any]], draft: Draft) -> dict[str, LabelTable]:
    """Label groups and their largest shapes, from the headers of the arrays."""
    found: dict[str, tuple[str, tuple[int, int]]] = {}
    for row in rows:
        place = (row["shard"], row["shard_offset"], row["shard_length"], row["chip_id"])
        read = files.at(row["shard"])
        for member in files.members(*place):
            name, _, ending = member.suffix.rpartition(".")
            if ending != "npy" or not (name in ("label", "confidence") or name.startswith("label_")):
                continue
            shape, dtype, _ = header_of(read(member.offset, min(NPY_HEAD, member.size)))
            largest = found.get(name, ("", (0, 0)))[1]
            found[name] = (dtype.name, (max(largest[0], shape[0]), max(largest[1], shape[1])))
    return {
        name: LabelTable(dtype, _label_nodata(name, dtype, draft), shape, _legend_name(name, draft))
        for name, (dtype, shape) in found.items()
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
