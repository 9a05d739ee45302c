"""What the command line prints: progress with rate and time left, and the closing account of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    TimeRemainingColumn,
)

FIGURE = re.compile(r"([\d.,]+(e[+-]\d+)?%?( [A-Za-z]+)?)?")
"""A number, perhaps with its unit, or nothing."""


class RateColumn(TextColumn):
    """Units per second of a task."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Any:
        """``3.1/s``, or nothing before the first unit."""
        from rich.text import Text

        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="cyan")


class Bars:
    """Draws one bar per stage; a context manager. The stages are those of `flows.progress.Progress`."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
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
        self._tasks[stage] = self._progress.add_task(stage, total=max(total, 1), completed=done)

    def advance(self, stage: str, units: int = 1) -> None:
        """Units of a stage are finished."""
        if stage in self._tasks:
            self._progress.advance(self._tasks[stage], units)

    def reach(self, done: int, total: int) -> None:
        """The stage that began last has so many of its units behind it."""
        self._progress.update(list(self._tasks.values())[-1], completed=done, total=max(total, 1))

    def finish(self, stage: str) -> None:
        """A stage ends."""
        if stage in self._tasks:
            task = self._tasks[stage]
            total = self._progress.tasks[self._progress.task_ids.index(task)].total
            self._progress.update(task, completed=total)


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
    """
    low, high = (f"{cost:,.4f}" for cost in calls["cost"])
    price = f"{low} to {high} {currency} (limit {calls['max_cost']:g} {currency})" if calls["calls"][1] else "0"
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
