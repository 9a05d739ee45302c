"""What the command line prints: progress with rate and time left, and the closing account of a run."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

FIGURE = re.compile(r"([\d.,]+(e[+-]\d+)?%?( [A-Za-z]+)?)?")
"""A number, perhaps with its unit, or nothing."""


TELL_EVERY_S = 60.0
"""Pause between two lines where no bar is drawn: in a file, a pipe, the log of a job."""


def rate_of(task: Any) -> float:
    """Units per second since a stage began, less those that an earlier run had finished; 0 before the first.

    Not rich's own, of the last 30 s and between units alone: workers that begin together end together, which made it
    ten times what it was, and where a unit takes longer there was none.
    """
    took = task.finished_time or task.elapsed or 0.0
    return float(max(0.0, task.completed - task.fields["reused"]) / took) if took else 0.0


def seconds_left(task: Any) -> float | None:
    """Until a stage ends, at its rate; None while there is none."""
    rate = rate_of(task)
    return 0.0 if task.finished else (task.total - task.completed) / rate if rate else None


class RateColumn(TextColumn):
    """Units per second of a task."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Any:
        """``3.1/s``, or nothing before the first unit, and of a stage that is one."""
        from rich.text import Text

        rate = rate_of(task) if task.total > 1 else 0.0
        return Text(f"{rate:.3g}/s" if rate else "", style="cyan")


class LeftColumn(TextColumn):
    """Time until a task ends."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Any:
        """``0:01:40``, or dashes before the first unit."""
        from rich.text import Text

        left = seconds_left(task)
        return Text("-:--:--" if left is None else str(timedelta(seconds=math.ceil(left))), style="cyan")


class Bars:
    """Draws one bar per stage; a context manager. The stages are those of `flows.progress.Progress`.

    Args:
        console: where to. One that is no terminal gets a line a minute, and the bars when all is done.
        now: seconds, monotonic.
    """

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now, self._told = console, now, now()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            LeftColumn(),
            console=console,
            get_time=now,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage begins."""
        self._tasks[stage] = self._progress.add_task(stage, total=max(total, 1), completed=done, reused=done)

    def advance(self, stage: str, units: int = 1) -> None:
        """Units of a stage are finished."""
        if stage in self._tasks:
            self._progress.advance(self._tasks[stage], units)
            self._tell(self._tasks[stage])

    def reach(self, done: int, total: int) -> None:
        """The stage that began last has so many of its units behind it."""
        last = list(self._tasks.values())[-1]
        self._progress.update(last, completed=done, total=max(total, 1))
        self._tell(last)

    def finish(self, stage: str) -> None:
        """A stage ends."""
        if stage in self._tasks:
            task = self._tasks[stage]
            total = self._progress.tasks[self._progress.task_ids.index(task)].total
            self._progress.update(task, completed=total)

    def _tell(self, number: TaskID) -> None:
        """A line about a stage, where no bar is drawn and none was told for a minute."""
        if self._console.is_terminal or self._now() - self._told < TELL_EVERY_S:
            return
        self._told = self._now()
        task = self._progress.tasks[self._progress.task_ids.index(number)]
        line = f"{task.description}: {task.completed:.0f} of {task.total:.0f}"
        if (left := seconds_left(task)) is not None:
            line += f", {rate_of(task):.3g} per second, about {human_seconds(left)} left"
        self._console.print(line, markup=False, soft_wrap=True)


def human_seconds(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``.

    >>> human_seconds(40), human_seconds(700), human_seconds(12_600)
    ('40 s', '12 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def human_bytes(amount: float) -> str:
    """``1.5 GB``: decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(amount) < 1000 or unit == "TB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} PB"


def calls_rows(calls: Mapping[str, Any], currency: str) -> dict[str, str]:
    """What a plan says of the texts that a model is paid for: calls, tokens, and the price in the prices' currency.

    >>> calls = {"calls": [2, 4], "tokens_in": [9, 9], "tokens_out": [1, 5], "cost": [0.001234567, 12.5]}
    >>> calls_rows(calls | {"max_cost": 5.0}, "EUR")["price"]
    '0.0012 to 12.5000 EUR (limit 5 EUR)'
    >>> calls_rows(calls | {"max_cost": 0.0}, "EUR")["price"]
    '0.0012 to 12.5000 EUR (limit 0 EUR: the template writes what it does not pay for)'
    """
    low, high = (f"{cost:,.4f}" for cost in calls["cost"])
    is_short = calls["max_cost"] < calls["cost"][0]
    limit = f"limit {calls['max_cost']:g} {currency}" + ": the template writes what it does not pay for" * is_short
    price = f"{low} to {high} {currency} ({limit})" if calls["calls"][1] else "0"
    tokens = f"{_span(calls['tokens_in'])} in, {_span(calls['tokens_out'])} out"
    return {"LLM calls": _span(calls["calls"]), "tokens": tokens, "price": price}


def _span(ends: Sequence[float]) -> str:
    """``0``, or ``100 to 200``."""
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def account(counts: Mapping[str, Any]) -> str:
    """``planned 102 = kept 98 + rejected 3 + failed 1``, with the reasons."""
    rejected, failed = counts.get("rejected", {}), counts.get("failed", {})
    line = (
        f"planned {counts['planned']} = kept {counts['kept']} "
        f"+ rejected {sum(rejected.values())} + failed {sum(failed.values())}"
    )
    reasons = [f"{name}: {number}" for name, number in {**rejected, **failed}.items()]
    return f"{line} ({', '.join(reasons)})" if reasons else line


def texts_line(paid: Mapping[str, Any]) -> str:
    """One line on what a build's texts cost: ``120 calls, 0.0123 USD (limit 5), 0.031 per 1,000 texts, ...``."""
    written, doubt = paid["written"], paid["attempts"].get("doubt", 0)
    parts = [
        f"{paid['calls']:,} calls, {paid['cost']:.4f} {paid['currency']} (limit {paid['max_cost']:g})",
        f"{paid['per_1000']:.4f} per 1,000 texts",
        f"{written['by_model']:,} of {written['texts']:,} by the model",
    ]
    replaced = paid["cost_by_fate"].get("replaced", {"calls": 0})["calls"]
    parts += [f"{doubt:,} in doubt"] if doubt else []
    parts += [f"{replaced:,} answers replaced"] if replaced else []
    parts += [f"{count:,} by the template: {reason}" for reason, count in paid["fallbacks"].items() if count]
    return ", ".join(parts)


def print_pairs(out: Console, title: str, rows: Mapping[str, str]) -> None:
    """A title and a line for each name and value; long values are never cut or wrapped, so that they can be copied."""
    out.print(title, style="bold", markup=False, soft_wrap=True)
    width = max(map(len, rows), default=0) + 2
    for name, value in rows.items():
        out.print(f"{name:<{width}}{value}", markup=False, soft_wrap=True)


def print_table(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], are_bad: Sequence[bool] = ()
) -> None:
    """A header and rows, each column as wide as it needs to be: nothing is cut, figures stand to the right.

    Args:
        out: where to.
        columns: the header.
        rows: of strings.
        are_bad: row by row, whether it stands in red.
    """
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    right = [all(FIGURE.fullmatch(line[n]) for line in lines[1:]) for n in range(len(columns))]
    styles = ["bold", *("red" if is_bad else None for is_bad in are_bad or [False] * len(rows))]
    for line, style in zip(lines, styles, strict=True):
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)]
        out.print("  ".join(cells).rstrip(), style=style, markup=False, soft_wrap=True)


def print_notes(out: Console, notes: Sequence[str], most: int = 12) -> None:
    """The first notes, and how many more there are."""
    shown = notes if len(notes) <= most else notes[: most - 1]
    for note in shown:
        out.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    if len(shown) < len(notes):
        out.print(f"note: and {len(notes) - len(shown)} more", style="yellow", markup=False)
