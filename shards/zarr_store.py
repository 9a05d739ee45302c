"""The Zarr v3 form of a dataset, in an Icechunk repository: one commit and one tag per version.

    <group>/            data (chip, time, band, y, x), valid (chip, time, y, x), time, scale, offset (chip, time);
                        chip_id, x0, y0, epsg, rows, columns (chip); band, wavelength_nm, fwhm_nm (band)
    label_<source>/     data (chip, y, x); chip_id, x0, y0, epsg, rows, columns (chip)
    label/, confidence/ likewise

Chips with fewer dates or pixels than the group's largest are padded: times NaT, validity 0, data no data; ``rows`` and
``columns`` say what is real. Sharding codec, one chip per inner chunk. Nothing is seen by readers before `Written.tag`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from typing import Any

import icechunk
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from schemas.errors import DatasetError, IntegrityError
from schemas.sample import Sample
from shards.layout import ZARR, canonical_json
from shards.storage import Storage
from shards.zarr_groups import LabelGroup, LayerGroup, ZarrPlan

log = logging.getLogger(__name__)


@dataclass
class ZarrResult:
    """Groups that are written but not yet visible."""

    groups: tuple[str, ...]
    """Names of the groups."""
    digest: str
    """sha256 over every metadata document and encoded chunk."""
    session: Any = field(repr=False)
    """Icechunk's open session, until `tag`."""
    repository: Any = field(repr=False)
    """Icechunk's repository."""

    def tag(self, version: str) -> str:
        """Commit, and tag the commit with the version's name; the snapshot's id.

        Raises:
            DatasetError: another publish committed meanwhile.
        """
        try:
            snapshot: str = self.session.commit(f"version {version}")
        except icechunk.ConflictError as error:
            what = "another publish wrote Zarr meanwhile; nothing of it was touched"
            raise DatasetError(what, where=version, mend="run the same command again") from error
        self.repository.create_tag(version, snapshot_id=snapshot)
        return snapshot


def open_repository(storage: Storage, *, create: bool = False) -> Any:
    """The Icechunk repository in ``zarr/``.

    Raises:
        DatasetError: there is none.
    """
    icechunk.set_logs_filter("error")  # its warning about commits to local folders: DatasetLock serialises ours
    if create:
        return icechunk.Repository.open_or_create(storage.icechunk())
    if not has_repository(storage):
        raise DatasetError("this dataset has no Zarr", where=storage.uri, mend="recipe: write.kinds holds zarr")
    try:
        return icechunk.Repository.open(storage.icechunk())
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ is no Icechunk repository: {_first_line(error)}", where=storage.uri) from error


def has_repository(storage: Storage) -> bool:
    """Whether anything lies in ``zarr/``."""
    return next(iter(storage.list(ZARR)), None) is not None


def open_store(storage: Storage, tag: str) -> Any:
    """The read-only Zarr store of a version.

    Raises:
        DatasetError: there is no such tag.
    """
    repository = open_repository(storage)
    try:
        return repository.readonly_session(tag=tag).store
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ has no tag {tag}: {_first_line(error)}", where=storage.uri) from error


def tag_again(storage: Storage, snapshot: str, version: str) -> None:
    """Give a version whose arrays equal its parent's the parent's snapshot."""
    open_repository(storage).create_tag(version, snapshot_id=snapshot)


def tagged_snapshot(storage: Storage, tag: str) -> str:
    """The snapshot that a tag names.

    Raises:
        DatasetError: there is no such tag.
    """
    try:
        return str(open_repository(storage).lookup_tag(tag))
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ has no tag {tag}: {_first_line(error)}", where=storage.uri) from error


def tags(storage: Storage) -> set[str]:
    """Names of all tags; none where there is no repository."""
    return set(open_repository(storage).list_tags()) if has_repository(storage) else set()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def write_zarr(storage: Storage, plan: ZarrPlan, samples: Iterable[Sample]) -> ZarrResult:
    """Write all groups of a version. One writer at a time: hold the `DatasetLock`.

    Args:
        storage: the dataset's root.
        plan: groups, chips and their order.
        samples: one per chip, in the plan's order; ``plan.shard_chips`` are held in memory at a time.

    Returns:
        The digest and the groups; nothing is visible before `ZarrResult.tag`.

    Raises:
        IntegrityError: samples that do not follow the plan.
    """
    repository = open_repository(storage, create=True)
    session = repository.writable_session("main")
    store = session.store
    with _one_thread_per_chunk():
        top = zarr.group(store=store, overwrite=True, attributes={"Conventions": "CF-1.11"})
        layers = [LayerGroup(top, table, plan) for table in plan.layers]
        labels = [LabelGroup(top, name, table, plan) for name, table in sorted(plan.labels.items())]
        writers = [*layers, *labels]
        start = 0
        for batch in _batches(samples, plan.shard_chips):
            wanted = plan.chip_ids[start : start + len(batch)]
            if tuple(sample.chip_id for sample in batch) != wanted:
                raise IntegrityError(f"Zarr chips {start}.. came as {batch[0].chip_id}.., wanted {wanted[:1]}..")
            for writer in writers:
                writer.write(start, batch)
            start += len(batch)
        if start != len(plan.chip_ids):
            raise IntegrityError(f"{start} samples came for {len(plan.chip_ids)} chips")
        for writer in writers:
            writer.close()
    groups = tuple(writer.name for writer in writers)
    return ZarrResult(groups, store_digest(store), session, repository)


def store_digest(store: Any) -> str:
    """sha256 over the keys and bytes of a Zarr store: metadata documents and encoded chunks."""

    async def hashes() -> list[tuple[str, str]]:
        found = []
        async for key in store.list_prefix(""):
            content = await store.get(key, prototype=default_buffer_prototype())
            found.append((key, hashlib.sha256(content.to_bytes()).hexdigest()))
        return sorted(found)

    return hashlib.sha256(canonical_json(sync(hashes()))).hexdigest()


@contextmanager
def _one_thread_per_chunk() -> Iterator[None]:
    """Blosc's own threads write blocks in the order in which they finish: off, so that bytes repeat."""
    blosc: Any = import_module("numcodecs.blosc")  # it has no types
    before = blosc.use_threads
    blosc.use_threads = False
    try:
        yield
    finally:
        blosc.use_threads = before


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, size)):
        yield batch
