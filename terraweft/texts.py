"""`terraweft caption --dry-run` and `terraweft ledger`: what texts will cost, and what they have cost."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.site import ledger_place, variables
from schemas.errors import UserError
from terraweft.commands import open_recipe
from terraweft.console import print_pairs, print_table
from terraweft.extras import needs

if TYPE_CHECKING:
    from captioners.ledger import Attempt, LedgerPlace

GROUPS: Mapping[str, Callable[[Any], str]] = {
    "model": lambda one: one.model,
    "day": lambda one: one.started_utc[:10],
    "kind": lambda one: one.purpose,
    "run": lambda one: one.purse,
}
"""By what a ledger is summed."""


def plan_texts(recipe: Path, root: str, show: int, out: Console) -> None:
    """`terraweft caption --dry-run`."""
    loaded, folder = open_recipe(recipe)
    with needs("build"):
        from flows.caption_plan import plan_captions
        from flows.request import request_of
    run = plan_captions(request_of(loaded, folder, root, variables(loaded)), show)
    captions = loaded.captions
    currency = captions.prices.currency if captions is not None else ""
    rows = {
        "chips": f"{run.chips:,} wait; {run.reused:,} of them have an answer in the ledger",
        "calls": _span(run.calls),
        "tokens": f"{_span(run.tokens_in)} in, {_span(run.tokens_out)} out",
        "price": f"{run.cost[0]:.4f} to {run.cost[1]:.4f} {currency} (limit {captions.max_cost if captions else 0:g})",
        "held": f"{run.worst:.4f} {currency} at worst, were all calls in flight at once",
    }
    if run.in_doubt:
        rows["in doubt"] = f"{run.in_doubt:,} calls of an earlier run"
    print_pairs(out, f"{loaded.name}: texts, nothing was sent", rows)
    for chip_id, prompt in run.prompts:
        out.print(f"\nprompt of {chip_id}", style="bold", markup=False)
        out.print(prompt, markup=False, soft_wrap=True)


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def show_totals(place: str | None, by: str, out: Console) -> None:
    """`terraweft ledger totals`: attempts, tokens and cost by model, day, kind of call or run."""
    if by not in GROUPS:
        raise UserError(f"unknown group {by!r}", where="--by", mend=f"one of: {', '.join(GROUPS)}")
    groups: dict[str, list[Attempt]] = defaultdict(list)
    for one in _attempts(place):
        groups[GROUPS[by](one)].append(one)
    columns = (by, "answered", "refused", "in doubt", "in flight", "tokens in", "cached", "tokens out", "cost")
    everything = ("all", [one for members in groups.values() for one in members])
    print_table(out, columns, [(name, *_sums(members)) for name, members in [*sorted(groups.items()), everything]])


def _sums(members: list[Attempt]) -> list[str]:
    from captioners.ledger import totals

    whole = totals(members)
    states = [f"{whole['attempts'].get(state, 0):,}" for state in ("answered", "refused", "doubt", "intent")]
    cached = sum(one.tokens_cached for one in members)
    return [*states, f"{whole['tokens_in']:,}", f"{cached:,}", f"{whole['tokens_out']:,}", f"{whole['cost']:.6f}"]


def show_doubts(place: str | None, out: Console) -> None:
    """`terraweft ledger doubts`: calls that were sent and never answered, each at its worst price."""
    rows = [
        (one.started_utc[:19], one.model, one.purpose, one.subject, str(one.attempt), f"{one.cost_nano / 1e9:.6f}",
         one.error, one.key[:12])
        for one in _attempts(place)
        if one.state == "doubt"
    ]  # fmt: skip
    if rows:
        print_table(out, ("started", "model", "kind", "chip", "attempt", "worst cost", "why", "key"), rows)
    out.print(f"{len(rows)} call(s) in doubt", markup=False)


def export_ledger(place: str | None, to: Path, bodies: bool, out: Console) -> None:
    """`terraweft ledger export`: every attempt as a row of a .parquet or .jsonl file."""
    if to.suffix not in (".parquet", ".jsonl"):
        raise UserError(
            f"cannot write {to.suffix or 'a file without an ending'}", where=str(to), mend=".parquet, .jsonl"
        )
    from dataclasses import asdict

    with needs("build"):
        from captioners.ledger import open_ledger
    ledger = open_ledger(_place(place))
    try:
        rows = []
        for one in ledger.attempts():
            row = {name: value for name, value in asdict(one).items() if name != "row"}
            row["cost"] = row.pop("cost_nano") / 1e9
            if bodies:
                body = ledger.body(one.key) if one.state == "answered" else None
                row["body"] = None if body is None else body.decode("utf-8", errors="replace")
            rows.append(row)
    finally:
        ledger.close()
    if to.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(to)
    else:
        to.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    out.print(f"{len(rows)} attempts in {to}", markup=False)


def _place(place: str | None) -> LedgerPlace:
    """The ledger that is meant, which must be there: reading makes none.

    Raises:
        UserError: there is none.
    """
    with needs("build"):
        from captioners.ledger import LedgerPlace
    found = ledger_place(None, os.environ)
    if place is not None:
        found = LedgerPlace(place, found.store)
    if "://" not in found.place and not Path(found.place).exists():
        raise UserError("there is no ledger", where=found.place, mend="name one with --ledger, or TERRAWEFT_LEDGER")
    return found


def _attempts(place: str | None) -> Iterable[Attempt]:
    with needs("build"):
        from captioners.ledger import open_ledger
    ledger = open_ledger(_place(place))
    try:
        yield from ledger.attempts()
    finally:
        ledger.close()
