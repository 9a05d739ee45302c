"""`terraweft versions | diff | rollback | gc`: the history of a dataset."""

from __future__ import annotations

import os
import socket
from collections import Counter

from rich.console import Console

from flows.site import store_options, work_folder
from schemas.errors import UserError
from shards.garbage import find_garbage, remove_garbage
from shards.history import compare_versions, current_version, describe_versions, roll_back
from shards.lock import dataset_lock
from shards.storage import open_storage
from shards.waiting import last_refusal, limits_of, waiting
from terraweft.console import Bars, human_bytes, print_pairs, print_table
from terraweft.extras import needs

PENDING = "; ? waits for its validation; - waits, and did not pass"
"""What marks of versions say that were to become the current one once they are validated."""
NAMED = 12
"""Chips that are named in a list; what comes after is counted."""


def show_versions(dataset: str, out: Console) -> None:
    """`terraweft versions`."""
    storage = open_storage(dataset, store_options(os.environ))
    rows, problems, refusals, found = [], [], [], describe_versions(storage)
    current = next((info.version for info in found if info.current), "")
    pending = {one.version for one in waiting(storage, current)}
    for info in found:
        name = f"{info.version} *" if info.current else info.version
        if info.problem:
            problems.append(info.problem)
            rows.append((name, "damaged", *[""] * 6))
            continue
        if info.version in pending:
            path = last_refusal(storage, info.version)
            name = f"{name} {'-' if path else '?'}"
            refusals += [f"{info.version} did not pass {limits_of(storage, path)}".rstrip()] if path else []
        diff = [str(info.diff.get(what, "")) for what in ("added", "changed", "removed")]
        failed = sum(info.counts["failed"].values())
        rows.append(
            (name, str(info.counts["kept"]), str(failed), *diff, human_bytes(info.bytes), info.recipe_hash[:12])
        )
    print_table(out, ("version", "chips", "failed", "added", "changed", "removed", "shards", "recipe"), rows)
    out.print(f"* current{PENDING if pending else ''}", style="dim", markup=False)
    for refusal in refusals:
        out.print(refusal, markup=False, soft_wrap=True)
    for problem in problems:
        out.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)


def show_diff(dataset: str, before: str, after: str | None, out: Console) -> None:
    """`terraweft diff`: two versions, or one and the current one."""
    storage = open_storage(dataset, store_options(os.environ))
    if after is None:
        after = current_version(storage)
    found = compare_versions(storage, before, after)
    columns = Counter(column for names in found.changed.values() for column in names)
    rows = {
        "added": _named(found.added),
        "removed": _named(found.removed),
        "changed": _named(tuple(found.changed)),
        "  in": ", ".join(f"{column} ({number})" for column, number in columns.most_common(NAMED)) or "nothing",
        "unchanged": str(found.unchanged),
        **({"touched by": ", ".join(f"{n} ({c})" for n, c in found.touched.items())} if found.touched else {}),
        "shards": f"{found.shards_shared} shared, {human_bytes(found.bytes_new)} new",
        "recipe": ", ".join(found.recipe) or "the same",
        "steps": ", ".join(found.steps) or "the same",
    }
    print_pairs(out, f"{found.before} -> {found.after}", rows)


def run_rollback(dataset: str, version: str, out: Console) -> None:
    """`terraweft rollback`."""
    storage = open_storage(dataset, store_options(os.environ))
    current_version(storage)  # before the lock, which would make the folder of an address that is mistyped
    with dataset_lock(storage, f"rollback on {socket.gethostname()} pid {os.getpid()}"):
        before = roll_back(storage, version)
    line = f"{version} is current already" if before == version else f"{before} -> {version} (nothing was deleted)"
    out.print(line, markup=False, soft_wrap=True)


def run_gc(dataset: str, keep: int | None, work: bool, dry_run: bool, out: Console) -> None:
    """`terraweft gc`.

    Raises:
        UserError: it would keep no version.
    """
    if keep is not None and keep < 1:
        raise UserError(f"{keep} versions are none", where="--keep", mend="keep at least 1")
    storage = open_storage(dataset, store_options(os.environ))
    current_version(storage)
    with dataset_lock(storage, f"gc on {socket.gethostname()} pid {os.getpid()}") as held:
        garbage = find_garbage(storage, keep=keep, work=work, scratch=work_folder(storage, os.environ))
        if not dry_run:
            garbage = remove_garbage(storage, garbage, held)
    rows = {
        "shards": f"{len(garbage.shards)} that no version lists",
        "versions": f"{len(garbage.forgotten)} forgotten, {len(garbage.unfinished)} never finished",
        "zarr": f"{len(garbage.tags)} tags of no version, {human_bytes(garbage.zarr_bytes)} of chunks",
        "work": f"{len(garbage.work) + len(garbage.scratch)} files",
    }
    freed = human_bytes(garbage.bytes)
    print_pairs(out, f"{freed} would be freed, at least" if dry_run else f"{freed} freed", rows)


def run_repack(
    dataset: str, buckets: str | None, shard_bytes: int | None, shard_chips: int | None, out: Console
) -> None:
    """`terraweft repack`.

    Raises:
        UserError: not exactly one size is asked for.
    """
    from shards.repack import Sizes, repack

    if sum(given is not None for given in (buckets, shard_bytes, shard_chips)) != 1:
        raise UserError(
            "say how the shards shall be", where="repack", mend="one of --buckets, --shard-bytes, --shard-chips"
        )
    with needs("build"):
        from flows.reporting import write_html
    storage = open_storage(dataset, store_options(os.environ))
    sizes = Sizes(_buckets(buckets) if buckets is not None else None, shard_bytes, shard_chips)
    current_version(storage)
    with dataset_lock(storage, f"repack on {socket.gethostname()} pid {os.getpid()}") as held, Bars(out) as bars:
        started = False

        def reach(done: int, total: int) -> None:
            nonlocal started
            if not started:
                bars.start("repack", total)
                started = True
            bars.reach(done, total)

        result = repack(
            storage,
            sizes,
            scratch=work_folder(storage, os.environ),
            held=held,
            report=lambda folder: write_html(storage, folder),
            on_shard=reach,
        )
    word = "published" if result.published else "unchanged"
    written = human_bytes(result.diff.get("shard_bytes_written", 0))
    kept = result.diff.get("shards_kept", 0)
    out.print(f"{word} {result.version}: {written} of shards written, {kept} as before", markup=False, soft_wrap=True)


def _buckets(text: str) -> dict[str, int] | int:
    """``8``, or ``train=8,val=2``.

    Raises:
        UserError: neither, or a split that stands twice.
    """
    if text.isdecimal():
        return int(text)
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(split and number.isdecimal() for split, _, number in pairs):
        raise UserError(f"{text!r} is no number of buckets", where="--buckets", mend="write 8, or train=8,val=2")
    names = [split for split, _, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"split {twice[0]!r} stands twice in {text!r}", where="--buckets", mend="name each split once")
    return {split: int(number) for split, _, number in pairs}


def _named(chips: tuple[str, ...]) -> str:
    more = f" and {len(chips) - NAMED} more" if len(chips) > NAMED else ""
    return f"{len(chips)}: {', '.join(chips[:NAMED])}{more}" if chips else "0"
