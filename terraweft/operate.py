"""What the operating commands do: a region table, the Prefect API, and a printed answer."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from schemas.errors import UserError
from terraweft.console import print_table
from terraweft.extras import needs

if TYPE_CHECKING:
    from flows.freshness import Freshness
    from flows.regions import Regions

BAD = ("stale", "never", "unreadable")


def _table(path: Path) -> Regions:
    """The table, where the API that is spoken to is a site's own.

    Raises:
        UserError: no API is configured: a private one would forget the deployments.
    """
    from flows.regions import load_regions

    found = load_regions(path)
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError(
            "no Prefect server is configured",
            where="PREFECT_API_URL",
            mend="prefect server start, and export PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    return found


def run_deploy(path: Path, wanted: tuple[str, ...], prune: bool, to_file: Path | None, out: Console) -> None:
    """`terraweft deploy`."""
    with needs("build"):
        from flows.deployments import deploy, name_of, prefect_yaml, remove, strangers
        from flows.regions import load_regions
    if to_file is not None:
        to_file.write_text(prefect_yaml(load_regions(path), str(path), wanted), encoding="utf-8")
        lacks = "the pool's limit and the watch over lost runs are made by terraweft deploy alone"
        out.print(f"{to_file}: deploy with `prefect deploy --all`; {lacks}", markup=False, soft_wrap=True)
        return
    regions = _table(path)
    for one in deploy(regions, wanted):
        how = f"{one.schedule}{' (paused)' if one.paused else ''}" if one.schedule else "by hand"
        out.print(f"deployed {name_of(regions, one.region)}: {how}", markup=False, soft_wrap=True)
        if one.note:
            out.print(f"note: {one.note}", style="yellow", markup=False, soft_wrap=True)
    left = strangers(regions)
    if prune:
        remove(left)
    for stranger in left:
        word = "deleted" if prune else "not in the table any more (--prune deletes it):"
        out.print(f"{word} {stranger.name}", markup=False, soft_wrap=True)
    out.print(f"run them: prefect worker start --pool {regions.table.pool}", markup=False, soft_wrap=True)


def run_pause(path: Path, wanted: tuple[str, ...], paused: bool, out: Console) -> None:
    """`terraweft pause` and `terraweft resume`."""
    with needs("build"):
        regions = _table(path)
        from flows.deployments import set_paused
    for name, runs in set_paused(regions, wanted, paused).items():
        left = f"; what began or waits goes on: {', '.join(runs)}" if runs else ""
        out.print(f"{name}: {'paused' if paused else 'goes on'}{left}", markup=False, soft_wrap=True)


def run_backfill(path: Path, region: str, since: date, until: date | None, out: Console) -> None:
    """`terraweft backfill`."""
    with needs("build"):
        regions = _table(path)
        from flows.deployments import backfill
    schedule = regions.row(region).schedule
    last = until or (datetime.now(schedule.zone if schedule is not None else UTC) - timedelta(days=1)).date()
    if last < since:
        raise UserError(f"{last} lies before {since}", where="--until", mend="give a later day")
    days = backfill(regions, region, since, last)
    said = ", ".join(day.isoformat() for day in days[:8]) + (", ..." if len(days) > 8 else "")
    out.print(
        f"{region}: {len(days)} missed day(s) scheduled{': ' if days else ''}{said}", markup=False, soft_wrap=True
    )


def _line(one: Freshness) -> list[str]:
    """A region in the table of freshness."""
    return [
        one.region,
        one.state,
        one.version or "-",
        f"{one.checked_utc:%Y-%m-%d %H:%M}" if one.checked_utc else "-",
        f"{one.age_days:.1f} d" if one.age_days is not None else "-",
        f"{one.promise_days:g} d" if one.promise_days is not None else "-",
        one.last_state or "-",
        f"{one.next_utc:%Y-%m-%d %H:%M}" if one.next_utc else "-",
    ]


def _over(found: Sequence[Freshness], today: date) -> dict[date, list[str]]:
    """Last day of a recipe that is over -> its regions: they stay fresh for ever, and nothing new comes."""
    over: dict[date, list[str]] = {}
    for one in found:
        if one.last_day is not None and one.last_day < today:
            over.setdefault(one.last_day, []).append(one.region)
    return over


def _waiting(one: Freshness) -> str:
    """What is told of a version that waits for its validation."""
    did = f"did not pass {one.refused_by}".rstrip() + f" ({one.refused})" if one.refused else "waits for its validation"
    since = f", and readers get nothing new since {one.waits_since_utc:%Y-%m-%d %H:%M}"
    mend = shlex.join(["terraweft", "validate", one.dataset, "--version", one.waits])
    return f"{one.waits} {did}{since}: {mend}"


def run_freshness(path: Path, wanted: tuple[str, ...], as_json: bool, tell: bool, out: Console) -> bool:
    """`terraweft freshness`: True where every promise is kept."""
    with needs("build"):
        regions = _table(path)
        from flows.deployments import strangers
        from flows.freshness import freshness
        from flows.notify import Event, notify
        from flows.told import mark_told
    try:
        found = freshness(regions, wanted, os.environ, datetime.now(UTC))
    except UserError as error:
        for rule in dict.fromkeys(regions.row(name).notify for name in regions.names(wanted)) if tell else ():
            text = f"nobody knows how old the datasets are: {error.line()}"
            notify(rule, Event("stale", regions.table.name, "", "", text), os.environ)
        raise
    if as_json:
        out.print_json(json.dumps([asdict(one) for one in found], default=str))
    else:
        columns = ("region", "state", "version", "checked", "age", "promise", "last run", "next run")
        print_table(out, columns, [_line(one) for one in found], [one.state in BAD for one in found])
        for one in found:
            if one.problem:
                out.print(f"{one.region}: {one.problem}", markup=False, soft_wrap=True)
            if one.waits:
                out.print(f"{one.region}: {_waiting(one)}", markup=False, soft_wrap=True)
        for day, names in _over(found, datetime.now(UTC).date()).items():
            said = f"nothing acquired after {day} is asked for (time.end of the recipe)"
            out.print(f"{', '.join(names)}: {said}", markup=False, soft_wrap=True)
        for stranger in () if wanted else strangers(regions):
            said = "is deployed, but not in the table any more: terraweft deploy --prune deletes it"
            out.print(f"{stranger.name} {said}", markup=False, soft_wrap=True)
    for one in found if tell else ():
        if one.state in BAD:
            since = f"checked {one.checked_utc:%Y-%m-%d %H:%M} UTC" if one.checked_utc else "never checked"
            promise = f", {one.promise_days:g} days are promised" if one.promise_days is not None else ""
            waits = f"; {_waiting(one)}" if one.waits else ""
            word = f"{one.state}: " if one.state != "stale" else ""
            text = f"{word}{one.problem or since + promise}{waits}"
            event = Event("stale", one.region, one.dataset, one.version, text)
            notify(regions.row(one.region).notify, event, os.environ)
        if one.unheard is not None:
            text = f"its last run ended as {one.last_state}, untold; the next one goes on with what is finished"
            event = Event("failed", one.region, one.dataset, one.version, text)
            mark_told(notify(regions.row(one.region).notify, event, os.environ), one.unheard)
    return not any(one.state in BAD for one in found)
