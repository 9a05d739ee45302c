"""The Zarr part of a version, from the shards that are on disk: as much of it as changed since the parent.

What changed is known by the inputs of the chips. A chip that was made again may come out differently although its
inputs are the same (``--redo``, ``--afresh``, a file that was replaced in its place): then its arrays are compared.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dataset import DatasetDocument
from schemas.errors import IntegrityError
from schemas.sample import Sample
from shards.draft import Draft
from shards.layout import ZARR, canonical_json, version_path
from shards.sample_request import ABSTAIN
from shards.samples import decode_json, decode_sample
from shards.storage import Storage
from shards.stored_tables import read_places, table_of
from shards.tar_reader import ShardFiles
from shards.zarr_groups import LabelTable, ZarrPlan, label_flags, label_gsd_m
from shards.zarr_record import NAME, ZarrRecord, read_record
from shards.zarr_store import ZarrResult, tag_again, tagged_snapshot
from shards.zarr_write import Spread, ZarrBefore, kept_shards, write_zarr

Place = tuple[str, int, int, str]
"""Shard, offset, length and chip of a sample."""
PARTS = ("", "_valid", "_count")
"""Endings of the members that become a group's arrays."""
PER_DATE = ("datetimes", "scale", "offset", "transform", "shape_yx")
"""What of a chip's row becomes coordinates of a modality group."""
AT_ONCE = 8
"""Samples that are read, or shards whose chips are compared, side by side: an object store answers slowly, but many at
a time.
"""


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
    labels = _label_tables(draft, _taken_over(storage, draft, rows, parent))
    plan = ZarrPlan(draft.layers, labels, chip_ids, draft.zarr_shard_chips, draft.zarr_codec)
    inputs = _inputs(draft, rows, plan)
    input_hash = _input_hash(plan, inputs)
    groups = tuple(spec.name for spec in plan.specs())
    columns = (rows[name].to_pylist() for name in ("shard", "shard_offset", "shard_length", "chip_id"))
    places: list[Place] = list(zip(*columns, strict=True))
    before = _before(storage, parent)
    if parent is not None and before is not None:
        changed = _changed(storage, parent, plan, places, rows["sample_sha256"].to_pylist())
        kept = kept_shards(plan, inputs, before)
        before = replace(before, outdated=_outdated(storage, plan, kept, changed))
        if parent.zarr.get("input_hash") == input_hash and not before.outdated:
            return PreparedZarr(parent.zarr["digest"], groups, input_hash, plan, before.record, before.snapshot)
    load = partial(load_samples, storage, {layer.group: layer.modality for layer in draft.layers})
    result = write_zarr(storage, plan, places, load, inputs=inputs, before=before, spread=spread)
    return PreparedZarr(result.digest, result.groups, input_hash, plan, result.record, result=result)


def load_samples(storage: Storage, modality_of: Mapping[str, str], places: Sequence[Place]) -> list[Sample]:
    """Samples as they lie in the shards: Zarr equals the tars by construction.

    A store's connections stay open: they serve the next samples, too.
    """
    files = ShardFiles(storage)

    def load(place: Place) -> Sample:
        return decode_sample(place[-1], files.read(*place), modality_of)

    if files.by_header:
        with files:
            return [load(place) for place in places]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="samples") as pool:
        return list(pool.map(load, places))


def _record(storage: Storage, parent: DatasetDocument) -> ZarrRecord:
    return read_record(storage.read(f"{version_path(parent.version)}/{NAME}"))


def _before(storage: Storage, parent: DatasetDocument | None) -> ZarrBefore | None:
    """The parent's Zarr, if it says what it consists of."""
    if parent is None or not parent.zarr or NAME not in parent.tables:
        return None
    snapshot = tagged_snapshot(storage, str(parent.zarr["tag"]))
    return ZarrBefore(snapshot, parent.zarr["signatures"], _record(storage, parent))


def _changed(
    storage: Storage, parent: DatasetDocument, plan: ZarrPlan, places: Sequence[Place], sha256s: Sequence[str]
) -> dict[int, list[tuple[Place, Place]]]:
    """Number of a Zarr shard -> (then, now) of its chips whose samples are not the parent's."""
    stored = read_places(table_of(storage, parent, "chips"))
    changed: dict[int, list[tuple[Place, Place]]] = defaultdict(list)
    for index, (place, sha256) in enumerate(zip(places, sha256s, strict=True)):
        chip_id = place[-1]
        old = stored.get(chip_id)
        if old is not None and old.segment.sha256 != sha256:
            then = (old.shard, old.segment.offset, old.segment.length, chip_id)
            changed[index // plan.shard_chips].append((then, place))
    return changed


def _outdated(
    storage: Storage,
    plan: ZarrPlan,
    kept: Mapping[str, set[int]],
    changed: Mapping[int, Sequence[tuple[Place, Place]]],
) -> dict[str, set[int]]:
    """Group -> numbers of shards that would be kept by their inputs, but hold other arrays now."""
    modality_of = {layer.group: layer.modality for layer in plan.layers}
    with ShardFiles(storage) as files, ThreadPoolExecutor(AT_ONCE, thread_name_prefix="compare") as pool:

        def compared(number: int) -> set[str]:
            groups = {group for group, numbers in kept.items() if number in numbers}
            return _differing(files, changed[number], groups, modality_of)

        outdated: dict[str, set[int]] = defaultdict(set)
        for number, groups in zip(changed, pool.map(compared, changed), strict=True):
            for group in groups:
                outdated[group].add(number)
    return dict(outdated)


def _differing(
    files: ShardFiles, pairs: Sequence[tuple[Place, Place]], groups: set[str], modality_of: Mapping[str, str]
) -> set[str]:
    """Those of the groups of which a chip, then and now, holds different arrays; all, where then is unreadable."""
    found: set[str] = set()
    for then, now in pairs:
        left = groups - found
        if not left:
            break
        new = _arrays(files, now, left, modality_of)
        try:
            old = _arrays(files, then, left, modality_of)
        except IntegrityError:
            return groups
        found |= {group for group in left if old[group] != new[group]}
    return found


def _arrays(files: ShardFiles, place: Place, groups: set[str], modality_of: Mapping[str, str]) -> dict[str, list[Any]]:
    """Group -> all of a sample that becomes its arrays, as stored.

    Raises:
        IntegrityError: the bytes are not this sample.
    """
    suffixes = {f"{group}{part}.npy" for group in groups for part in PARTS}
    suffixes |= {"meta.json"} if groups & modality_of.keys() else set()
    members = files.read(*place, wanted=suffixes.__contains__)
    row = decode_json(members["meta.json"], dict) if "meta.json" in members else {}
    found: dict[str, list[Any]] = {}
    for group in groups:
        found[group] = [bytes(members.get(f"{group}{part}.npy", b"")) for part in PARTS]
        if group in modality_of:
            found[group] += [row.get(f"{name}.{key}") for name in (group, modality_of[group]) for key in PER_DATE]
    return found


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
    labels = [[name, *astuple(table)] for name, table in sorted(plan.labels.items())]
    content = {
        "inputs": {group: list(hashes) for group, hashes in inputs.items()},
        "chips": list(plan.chip_ids),
        "layers": layers,
        "labels": labels,
        "shard_chips": plan.shard_chips,
        "signatures": [spec.signature() for spec in plan.specs()],
    }
    return hashlib.sha256(canonical_json(content)).hexdigest()


Shapes = Mapping[str, tuple[str, tuple[int, int]]]
"""Label group -> type and largest shape."""


def _label_tables(draft: Draft, taken: Shapes) -> dict[str, LabelTable]:
    """Label groups and their largest shapes: those of the samples that were encoded, and of those taken over."""
    found: dict[str, tuple[str, tuple[int, int]]] = {}
    gsd_m = label_gsd_m(draft.recipe)
    for shapes in (taken, *(shard.labels for shard in draft.shards)):
        for name, (dtype, shape) in shapes.items():
            largest = found.get(name, ("", (0, 0)))[1]
            found[name] = (dtype, (max(largest[0], shape[0]), max(largest[1], shape[1])))
    return {
        name: LabelTable(
            dtype,
            _label_nodata(name, dtype, draft),
            shape,
            _legend_name(name, draft),
            gsd_m,
            label_flags(name, draft.legends),
        )
        for name, (dtype, shape) in sorted(found.items())
    }


def _taken_over(storage: Storage, draft: Draft, rows: pa.Table, parent: DatasetDocument | None) -> Shapes:
    """The parent's label groups, for samples that came from its shards unseen: less those that no chip has any more.

    Which chips have a layer is told by the column that counts its pixels; where neither version has that column,
    nobody knows, and the group stays. A shape is no larger than the largest chip of now.
    """
    groups = {f"label_{name}" for name in draft.legends if name != "label"}
    groups |= {"label", "confidence"} if "label" in draft.legends else set()
    stored = parent.zarr.get("labels", {}) if parent is not None else {}
    there = {name: table for name, table in stored.items() if name in groups}
    taken = {name: (t["dtype"], _held(t["shape_yx"], draft, rows, name)) for name, t in there.items()}
    uncounted = {name for name in taken if _counted_in(name) not in rows.column_names}
    if parent is None or not uncounted:
        return taken
    before = pq.read_schema(io.BytesIO(table_of(storage, parent, "chips"))).names
    return {name: table for name, table in taken.items() if name not in uncounted or _counted_in(name) not in before}


def _held(shape: Sequence[int], draft: Draft, rows: pa.Table, group: str) -> tuple[int, int]:
    """A shape of the parent's, cut to the largest chip that holds the group: larger ones may be gone."""
    gsd_m, column = label_gsd_m(draft.recipe), _counted_in(group)
    bounds = rows["bounds_xyxy"]
    if column in rows.column_names:
        bounds = bounds.filter(pc.is_valid(rows[column]))
    if gsd_m is None or not len(bounds):
        return shape[0], shape[1]
    left, bottom, right, top = pc.list_flatten(bounds).to_numpy().reshape(-1, 4).T
    return min(shape[0], round((top - bottom).max() / gsd_m)), min(shape[1], round((right - left).max() / gsd_m))


def _counted_in(group: str) -> str:
    """Column of chips.parquet that counts the pixels that a label group knows: null where a chip has no such layer."""
    source = group.removeprefix("label_")
    return f"label.{source}.known_pixels" if source != group else "label.known_pixels"


def _label_nodata(name: str, dtype: str, draft: Draft) -> int:
    source = name.removeprefix("label_")
    if name == "confidence":
        return 0
    if name == "label":
        return ABSTAIN
    legend = draft.legends.get(source) or {}
    codes = legend.get("nodata") or [255 if dtype == "uint8" else 65535]
    return int(draft.label_nodata.get(source, codes[0]))


def _legend_name(name: str, draft: Draft) -> str:
    legend = draft.legends.get(name.removeprefix("label_")) or {}
    return str(legend.get("name", ""))
