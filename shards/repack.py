"""Another number of shards for the same chips: `repack` writes every sample once more, byte by byte, none decoded.

The number of a split's buckets is fixed from the first version on, so that a refresh touches few shards. A dataset
that has grown, or whose shards are of the wrong size, gets another number here; chips, texts and arrays stay.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from shards import layout
from shards.buckets import bucket_count, bucket_of
from shards.document import read_document
from shards.draft import Draft
from shards.lock import Held
from shards.pointer import no_dataset, read_pointer
from shards.storage import Storage
from shards.stored_tables import file_of, read_chips, read_outcomes, read_places, read_texts, table_of
from shards.tar import StoredSample, WrittenShard, write_shard
from shards.version import PublishResult, publish
from shards.version_tables import told_of_damage
from shards.waiting import last_refusal, waiting
from shards.zarr_record import NAME as ZARR_RECORD

ITEMS = "items.parquet"
AT_ONCE = 2
"""Shards written side by side: one hashes while another writes."""

MAX_BUCKETS = 10**10
"""Shards are named by their bucket in at most ten digits (`shards.layout.SHARD_PATH`)."""


@dataclass(frozen=True)
class Sizes:
    """What is asked for: one of the three."""

    buckets: Mapping[str, int] | int | None = None
    """Number of buckets: of each named split, or of every split."""
    shard_bytes: int | None = None
    """About so many bytes in a shard."""
    shard_chips: int | None = None
    """About so many chips in a shard."""

    def count(self, split: str, samples: list[StoredSample], now: int) -> int:
        """Number of buckets of a split.

        Raises:
            DatasetError: none at all, or more than names can count.
        """
        if isinstance(self.buckets, int):
            count = self.buckets
        elif self.buckets is not None:
            count = self.buckets.get(split, now)
        elif self.shard_chips is not None:
            count = bucket_count(len(samples), self.shard_chips)
        elif self.shard_bytes is not None:
            count = bucket_count(sum(sample.segment.length for sample in samples), self.shard_bytes)
        else:
            count = now
        if count < 1:
            raise DatasetError(f"{count} buckets for {split} are none", mend="ask for 1 at least")
        if count > MAX_BUCKETS:
            raise DatasetError(
                f"{count:,} buckets for {split} are more than a shard's name has digits for", mend="ask for fewer"
            )
        return count


def repack(
    storage: Storage,
    sizes: Sizes,
    *,
    scratch: Path,
    held: Held | None = None,
    report: Callable[[Path], None] | None = None,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> PublishResult:
    """Write the current version's samples into another number of shards, and publish that. Hold the lock.

    Args:
        storage: the dataset's root.
        sizes: what is asked for.
        scratch: local folder for what is not finished.
        held: the lock.
        report: writes the version's report.
        on_shard: told (shards done, all shards), for progress.

    Raises:
        DatasetError: there is no dataset, it has no such split, a table of it is damaged, or a version waits for its
            validation: it could be let in no more.
        IntegrityError: a sample is not what its hash says; nothing is published.
    """
    pointer = read_pointer(storage)
    if pointer is None:
        raise no_dataset(storage)
    _refuse_waiting(storage, pointer.current)
    document = read_document(storage, pointer.current)
    with told_of_damage(f"{storage.uri}/{layout.version_path(document.version)}/chips.parquet"):
        places = read_places(table_of(storage, document, "chips"))
    for name in (*layout.TABLES, layout.ESTIMATES, ITEMS, ZARR_RECORD):  # before a shard is written
        if name in document.tables:
            file_of(storage, document, name)
    splits: dict[str, list[StoredSample]] = defaultdict(list)
    for _, sample in sorted(places.items()):
        splits[sample.split].append(sample)
    now = document.splits.get("buckets") or {}
    known = sorted({*splits, *now})
    for name in sizes.buckets if isinstance(sizes.buckets, Mapping) else ():
        if name not in known:
            raise DatasetError(f"no split {name!r}", where=document.name, mend=f"it has {', '.join(known)}")
    counts = {s: sizes.count(s, members, int(now.get(s, 1))) for s, members in sorted(splits.items())}
    buckets: dict[tuple[str, int], list[StoredSample]] = defaultdict(list)
    for split, members in splits.items():
        for sample in members:
            buckets[split, bucket_of(sample.chip_id, counts[split])].append(sample)

    def write(bucket: tuple[str, int]) -> WrittenShard:
        return write_shard(storage, *bucket, buckets[bucket], scratch=scratch / "shards")

    shards = []
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="repack") as pool:
        for number, shard in enumerate(pool.map(write, sorted(buckets))):
            shards.append(shard)
            on_shard(number + 1, len(buckets))
    return publish(storage, _draft(storage, document, counts, shards, report), scratch=scratch / "versions", held=held)


def _refuse_waiting(storage: Storage, current: str) -> None:
    """Raise where a version waits that no gates refused: it follows the current one, and would be left behind.

    Raises:
        DatasetError: naming it.
    """
    unjudged = [one.version for one in waiting(storage, current) if last_refusal(storage, one.version) is None]
    if unjudged:
        raise DatasetError(
            f"{unjudged[-1]} waits for its validation, and follows {current}: packed anew, no gates could let it in",
            where=storage.uri,
            mend=shlex.join(["terraweft", "validate", storage.uri, "--version", unjudged[-1]]),
        )


def _draft(
    storage: Storage,
    document: DatasetDocument,
    counts: Mapping[str, int],
    shards: list[WrittenShard],
    report: Callable[[Path], None] | None,
) -> Draft:
    """The version once more, of other shards."""
    tables = {name: table_of(storage, document, name) for name in ("chips", "outcomes", "texts")}
    splits = {name: value for name, value in document.splits.items() if name != "counts"}
    estimates: dict[str, Any] | None = None
    if document.estimates:
        estimates = {**json.loads(file_of(storage, document, layout.ESTIMATES)), "buckets": dict(counts)}
    has_items = ITEMS in document.tables
    return Draft(
        name=document.name,
        created=datetime.now(UTC),
        recipe=document.recipe,
        recipe_hash=document.recipe_hash,
        code_version=document.code_version,
        layers=document.modalities,
        chips=read_chips(tables["chips"]),
        outcomes=read_outcomes(tables["outcomes"]),
        shards=shards,
        sources=document.sources,
        texts=read_texts(tables["texts"]),
        title=document.title,
        description=str(document.recipe.get("description", "")),
        limits=document.limits,
        steps=document.steps,
        software=document.software,
        legends=document.legends,
        crosswalk=document.crosswalk,
        registration=document.registration,
        near_duplicates=document.near_duplicates,
        fusion=document.fusion,
        splits={**splits, "buckets": dict(counts)},
        text_summary=document.texts,
        run={"repacked_from": document.version},
        private=document.private,
        zarr_shard_chips=document.zarr["shard_chips"] if document.zarr else None,
        zarr_codec=document.zarr.get("codec", "zstd"),
        estimates=estimates,
        estimated={k: v for k, v in document.estimates.items() if k not in ("path", "sha256")},
        parent=document.version,
        items=(lambda path: _copy(storage, document, path)) if has_items else None,
        report=report,
    )


def _copy(storage: Storage, document: DatasetDocument, target: Path) -> None:
    target.write_bytes(file_of(storage, document, ITEMS))
