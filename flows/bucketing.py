"""Which shards a run writes: those whose chips changed, came or went. All others are listed again as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.before import Before
from flows.compare import Outlook
from flows.fragments import record_of
from flows.job import Job
from flows.second_pass import Member
from schemas.dataset import ShardRecord
from shards.buckets import bucket_count, bucket_of
from shards.tar import StoredSample, WrittenShard

Bucket = tuple[str, int]
"""Split and number."""


@dataclass(frozen=True)
class Layout:
    """Shards to write and shards to keep."""

    write: Mapping[Bucket, list[Member]]
    """Bucket -> its chips, by id."""
    keep: tuple[WrittenShard, ...]
    """Shards of the parent that stay."""
    counts: Mapping[str, int]
    """Split -> number of its buckets."""


def lay_out(
    job: Job,
    places: Mapping[str, tuple[str, Path, Path]],
    outlook: Outlook,
    before: Before | None,
    size_of: Callable[[str], int] | None = None,
) -> Layout:
    """The buckets of a run.

    The number of a split's buckets is the parent's, or follows from the bytes (or the number) of its chips.

    Args:
        job: the run.
        places: chip that was made -> split and the folders of its fragments.
        outlook: what stays.
        before: the parent.
        size_of: bytes of a chip whose fragments are not made yet; None: they are, and are measured.
    """
    stored = {}
    if before is not None:
        stored = {c: before.places[c] for c in outlook.untouched if c in before.places}
    splits = {chip_id: place[0] for chip_id, place in places.items()} | {c: s.split for c, s in stored.items()}
    frozen = outlook.frozen.buckets
    counts = {s: frozen[s] if s in frozen else _count(job, s, places, size_of) for s in sorted(set(splits.values()))}
    members: dict[Bucket, list[Member]] = {}
    for chip_id, split in sorted(splits.items()):
        bucket = (split, bucket_of(chip_id, counts[split]))
        place = places.get(chip_id)
        members.setdefault(bucket, []).append((chip_id, *place[1:]) if place else stored[chip_id])
    known = {(r.split, r.bucket): r for r in before.document.shards} if before is not None else {}
    keep = {bucket: known[bucket] for bucket, chips in members.items() if _is_same(chips, known.get(bucket))}
    return Layout(
        write={bucket: chips for bucket, chips in members.items() if bucket not in keep},
        keep=tuple(_as_written(record, stored) for record in keep.values()),
        counts={split: counts[split] for split in sorted({bucket[0] for bucket in members})},
    )


def _is_same(chips: Iterable[Member], record: ShardRecord | None) -> bool:
    """Whether a bucket holds what the parent's shard holds, and nothing else."""
    ids = tuple(chip.chip_id if isinstance(chip, StoredSample) else "" for chip in chips)
    return record is not None and ids == record.chip_ids


def _as_written(record: ShardRecord, stored: Mapping[str, StoredSample]) -> WrittenShard:
    return WrittenShard(record, {chip_id: stored[chip_id].segment for chip_id in record.chip_ids}, written=False)


def _count(
    job: Job, split: str, places: Mapping[str, tuple[str, Path, Path]], size_of: Callable[[str], int] | None
) -> int:
    members = {chip_id: place for chip_id, place in places.items() if place[0] == split}
    if job.recipe.write.shard_chips is not None:
        return bucket_count(max(1, len(members)), job.recipe.write.shard_chips)
    if size_of is not None:
        return bucket_count(max(1, sum(map(size_of, members))), job.recipe.write.shard_bytes)
    folders = [(chip_id, folder) for chip_id, place in members.items() for folder in dict.fromkeys(place[1:])]
    size = sum(record_of(folder, chip_id).length for chip_id, folder in folders)
    return bucket_count(max(1, size), job.recipe.write.shard_bytes)
