"""Writing a version's Zarr: whole shards by whoever is free, one committer; shards whose chips did not change stay.

    make or keep the arrays, commit (nobody sees it: readers go by tags)
    fork the session; each task writes whole shards of all groups and hands its fork back
    merge, write the coordinates, hash what is new; the commit and the tag are `ZarrResult.tag`'s

A shard is kept where its group has the same arrays as the parent's and its chips have the same ids and inputs, unless
it is known that a chip was made again and came out differently all the same (`ZarrBefore.outdated`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import zarr
from zarr.core.sync import sync

from schemas.errors import IntegrityError
from schemas.sample import Sample
from shards.layout import canonical_json
from shards.storage import Storage
from shards.zarr_arrays import Vectors
from shards.zarr_groups import GroupSpec, ZarrPlan
from shards.zarr_record import Chunk, ZarrRecord
from shards.zarr_store import ZarrResult, blosc_threads, branch_to_disk, commit, keys_of, open_repository, read_key

Load = Callable[[Sequence[Any]], Sequence[Sample]]
"""Places of samples -> the samples."""
TASK_CHIPS = 64
"""Chips that a task writes, at least a shard of them."""
ROOT: dict[str, Any] = {"Conventions": "CF-1.11"}
"""Attributes of the root group."""


@dataclass(frozen=True)
class ZarrBefore:
    """The Zarr of the parent."""

    snapshot: str
    """What its tag names."""
    signatures: Mapping[str, str]
    """Group -> `GroupSpec.signature`."""
    record: ZarrRecord
    """Its objects, and the inputs of its shards."""
    outdated: Mapping[str, Collection[int]] = field(default_factory=dict)
    """Group -> numbers of shards that hold something else now, whatever their inputs."""


@dataclass(frozen=True)
class Task:
    """Shards that one worker writes, one after the other."""

    shards: tuple[tuple[int, tuple[GroupSpec, ...]], ...]
    """Number of a shard, and the groups that it is written in."""
    places: tuple[tuple[Any, ...], ...]
    """Per shard, where its samples are."""
    chip_ids: tuple[tuple[str, ...], ...]
    """Per shard, which they must be."""
    load: Load
    """Reads them."""


@dataclass(frozen=True)
class Done:
    """What a task hands in."""

    session: Any = field(repr=False)
    """The fork that it wrote into."""
    chunks: Mapping[str, Chunk]
    """Key -> encoded shard."""
    vectors: Mapping[str, list[tuple[int, Vectors]]]
    """Group -> (first chip, coordinates)."""


Spread = Callable[[Callable[[Task], Done], Sequence[Task]], Iterable[Done]]
"""Who does the tasks; the order of what comes back does not matter."""


def write_zarr(
    storage: Storage,
    plan: ZarrPlan,
    places: Sequence[Any],
    load: Load,
    *,
    inputs: Mapping[str, Sequence[str]] | None = None,
    before: ZarrBefore | None = None,
    spread: Spread | None = None,
    task_chips: int = TASK_CHIPS,
) -> ZarrResult:
    """Write the groups of a version, or as much of them as changed. One committer at a time: hold the lock.

    Args:
        storage: the dataset's root.
        plan: groups, chips and their order.
        places: of the chips' samples, in the plan's order.
        load: reads samples; must pickle where ``spread`` takes it elsewhere.
        inputs: group -> per chip, hash of all that its arrays follow from; without, nothing is kept.
        before: the parent's Zarr.
        spread: who writes; this process where absent.
        task_chips: chips that a task writes.

    Returns:
        The digest and the groups; nothing is visible before `ZarrResult.tag`.

    Raises:
        IntegrityError: samples that do not follow the plan.
    """
    if len(places) != len(plan.chip_ids):
        raise IntegrityError(f"{len(places)} samples came for {len(plan.chip_ids)} chips")
    repository = open_repository(storage, create=True)
    if before is not None:
        repository.reset_branch("main", before.snapshot)
    branch_to_disk(storage)
    session = repository.writable_session("main")
    specs = plan.specs()
    now = _inputs_of_shards(plan, inputs or {})
    known = kept_shards(plan, inputs, before) if inputs is not None else {}
    with blosc_threads(False):
        vectors = _prepare(session, specs, plan, before, known)
        tasks = _tasks(plan, specs, known, places, load, task_chips)
        if spread is not None and len(tasks) > 1:
            if session.has_uncommitted_changes:  # none where all arrays are the parent's
                commit(repository, session, "arrays of a version that is being written")
                branch_to_disk(storage)
                session = repository.writable_session("main")
            fork = session.fork()
            done = list(spread(partial(write_task, fork), tasks))
            session.merge(*(one.session for one in done))
        else:
            done = [write_task(session, task) for task in tasks]
        chunks = _kept_chunks(known, before)
        for one in done:
            chunks |= one.chunks
            for name, found in one.vectors.items():
                for start, values in found:
                    for what, column in values.items():
                        vectors[name][what][start : start + len(column)] = column
        top = zarr.open_group(session.store, mode="r+")
        for spec in specs:
            spec.close(_group(top, spec.name), plan.chip_ids, vectors[spec.name])
    record = ZarrRecord(_all_chunks(session.store, chunks), now)
    return ZarrResult(tuple(spec.name for spec in specs), record.digest(), record, session, repository)


def write_task(session: Any, task: Task) -> Done:
    """Whole shards of some groups, and their hashes.

    Raises:
        IntegrityError: samples that do not follow the plan.
    """
    chunks: dict[str, Chunk] = {}
    vectors: dict[str, list[tuple[int, Vectors]]] = {}
    store = session.store
    with blosc_threads(False):
        top = zarr.open_group(store, mode="r+")
        for (number, specs), places, chip_ids in zip(task.shards, task.places, task.chip_ids, strict=True):
            batch = task.load(places)
            if tuple(sample.chip_id for sample in batch) != chip_ids:
                first = batch[0].chip_id if batch else "nothing"
                raise IntegrityError(f"Zarr shard {number} came as {first}.., wanted {chip_ids[:1]}..")
            for spec in specs:
                group, start = _group(top, spec.name), number * spec.shard_chips
                keys = [_key(spec, name, number) for name in spec.arrays]
                for key in keys:
                    sync(store.delete(key))
                vectors.setdefault(spec.name, []).append((start, spec.write(group, start, batch)))
                for key in keys:
                    content = read_key(store, key)
                    if content is not None:  # a shard of nothing but fill values is not stored
                        chunks[key] = Chunk(len(content), hashlib.sha256(content).hexdigest())
    return Done(session, chunks, vectors)


def _group(top: zarr.Group, name: str) -> zarr.Group:
    found: Any = top[name]
    group: zarr.Group = found
    return group


def _key(spec: GroupSpec, name: str, number: int) -> str:
    """Key of an encoded shard."""
    return f"{spec.name}/{name}/c/{number}" + "/0" * len(spec.arrays[name])


def _spans(plan: ZarrPlan) -> list[tuple[int, int]]:
    """First and last-but-one chip of every shard."""
    total, step = len(plan.chip_ids), plan.shard_chips
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def _shard_inputs(plan: ZarrPlan, inputs: Sequence[str] | None) -> tuple[str, ...]:
    """Hash of the chips of every shard and of their inputs."""
    found = []
    for start, stop in _spans(plan):
        content = [plan.chip_ids[start:stop], list(inputs[start:stop]) if inputs is not None else None]
        found.append(hashlib.sha256(canonical_json(content)).hexdigest()[:16])
    return tuple(found)


def _inputs_of_shards(plan: ZarrPlan, inputs: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {spec.name: _shard_inputs(plan, inputs.get(spec.name)) for spec in plan.specs()}


def kept_shards(plan: ZarrPlan, inputs: Mapping[str, Sequence[str]], before: ZarrBefore | None) -> dict[str, set[int]]:
    """Group whose arrays stay -> numbers of the shards that stay."""
    kept: dict[str, set[int]] = {}
    now = _inputs_of_shards(plan, inputs)
    for spec in plan.specs():
        if before is not None and before.signatures.get(spec.name) == spec.signature():
            old = before.record.shards.get(spec.name, ())
            same = {n for n, (a, b) in enumerate(zip(old, now[spec.name], strict=False)) if a == b}
            kept[spec.name] = same - set(before.outdated.get(spec.name, ()))
    return kept


def _prepare(
    session: Any,
    specs: Sequence[GroupSpec],
    plan: ZarrPlan,
    before: ZarrBefore | None,
    known: Mapping[str, set[int]],
) -> dict[str, Vectors]:
    """Make the arrays, or the parent's as long as the plan says; the coordinates of the chips that stay."""
    chips = len(plan.chip_ids)
    if before is None:
        top = zarr.group(store=session.store, overwrite=True, attributes=ROOT)
    else:
        top = zarr.open_group(session.store, mode="r+")
    for name, _ in list(top.groups()):
        if name not in known:
            del top[name]
    vectors: dict[str, Vectors] = {}
    for spec in specs:
        vectors[spec.name] = spec.blank(chips)
        if spec.name not in known:
            spec.create(top, chips)
            continue
        group = _group(top, spec.name)
        for what, column in vectors[spec.name].items():
            stored: Any = group[what]
            old = stored[...]
            for number in known[spec.name]:
                start, stop = number * plan.shard_chips, min((number + 1) * plan.shard_chips, chips)
                column[start:stop] = old[start:stop]
        for name, shape in spec.arrays.items():
            array: Any = group[name]
            if array.shape[0] != chips:
                array.resize((chips, *shape))
    return vectors


def _tasks(
    plan: ZarrPlan,
    specs: Sequence[GroupSpec],
    known: Mapping[str, set[int]],
    places: Sequence[Any],
    load: Load,
    task_chips: int,
) -> list[Task]:
    """What is to be written, some shards at a time."""
    tasks: list[Task] = []
    empty = Task((), (), (), load)
    current, at_once = empty, max(1, task_chips // plan.shard_chips)
    for number, (start, stop) in enumerate(_spans(plan)):
        wanted = tuple(spec for spec in specs if number not in known.get(spec.name, ()))
        if not wanted:
            continue
        current = replace(
            current,
            shards=(*current.shards, (number, wanted)),
            places=(*current.places, tuple(places[start:stop])),
            chip_ids=(*current.chip_ids, plan.chip_ids[start:stop]),
        )
        if len(current.shards) == at_once:
            tasks.append(current)
            current = empty
    return [*tasks, current] if current.shards else tasks


def _kept_chunks(known: Mapping[str, set[int]], before: ZarrBefore | None) -> dict[str, Chunk]:
    """Encoded shards of the parent that stay."""
    found: dict[str, Chunk] = {}
    for key, chunk in (before.record.chunks if before is not None else {}).items():
        group, _, rest = key.partition("/")
        array, is_chunk, number = rest.partition("/c/")
        is_pixels = bool(is_chunk) and array in ("data", "valid", "count")
        if is_pixels and int(number.partition("/")[0]) in known.get(group, ()):
            found[key] = chunk
    return found


def _all_chunks(store: Any, shards: Mapping[str, Chunk]) -> dict[str, Chunk]:
    """Every object of the store: shards as their writers hashed them, all else hashed now.

    Raises:
        IntegrityError: a shard is missing, or there is one that nobody wrote.
    """
    found: dict[str, Chunk] = {}
    for key in keys_of(store):
        known = shards.get(key)
        if known is None:
            content = read_key(store, key) or b""
            known = Chunk(len(content), hashlib.sha256(content).hexdigest())
        found[key] = known
    lost = sorted(set(shards) - set(found))
    if lost:
        raise IntegrityError(f"Zarr holds {len(lost)} shard(s) less than were written, first {lost[0]}")
    return found
