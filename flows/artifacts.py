"""What Prefect's pages show of a run: how far each stage is, how fast and for how long, and what came out."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.progress import Progress

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""Pause between two updates of a stage: a call of the API costs tens of milliseconds."""


def key_of(*parts: str) -> str:
    """A key as Prefect wants it: lower-case letters, digits and dashes.

    >>> key_of("Alps_inn", "read")
    'alps-inn-read'
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def quietly(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The call's answer, or None where the API does not take it: a page that lags behind stops no build."""
    try:
        return call(*arguments, **options)
    except Exception as error:  # the API may be away or restarted, in any way that its client knows
        log.warning("Prefect's API took no %s: %s", call.__name__, type(error).__name__)
        return None


@dataclass
class _Stage:
    """How far a stage is."""

    artifact: UUID | None
    total: int
    reused: int
    done: int
    began: float
    shown: float

    def said(self, now: float) -> str:
        """Rate and time left, in words."""
        fresh, took = self.done - self.reused, now - self.began
        if fresh <= 0 or took <= 0:
            return f"{self.done} of {self.total}"
        rate = fresh / took
        left = (self.total - self.done) / rate
        return f"{self.done} of {self.total}, {rate:.3g} per second, {left:.0f} s left"


class ArtifactProgress:
    """A `flows.progress.Progress` that keeps one artifact per stage.

    Args:
        dataset: stands before the keys.
        then: another watcher, which is told the same.
        now: seconds, monotonic.
    """

    def __init__(self, dataset: str, then: Progress, now: Callable[[], float] = time.monotonic) -> None:
        self.dataset, self.then, self.now = dataset, then, now
        self._stages: dict[str, _Stage] = {}

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self.then.start(stage, total, done)
        now = self.now()
        share = 100.0 * done / total if total else 0.0
        artifact = quietly(create_progress_artifact, share, key_of(self.dataset, stage), f"{done} of {total}")
        self._stages[stage] = _Stage(artifact, total, done, done, now, now)

    def advance(self, stage: str, units: int = 1) -> None:
        """See `Progress`."""
        self.then.advance(stage, units)
        found = self._stages.get(stage)
        if found is None:
            return
        found.done += units
        if self.now() - found.shown >= EVERY_S:
            self._show(found)

    def finish(self, stage: str) -> None:
        """See `Progress`."""
        self.then.finish(stage)
        found = self._stages.pop(stage, None)
        if found is not None:
            found.done = max(found.done, found.total)
            self._show(found)

    def _show(self, stage: _Stage) -> None:
        stage.shown = self.now()
        if stage.artifact is not None:
            share = min(100.0, 100.0 * stage.done / stage.total) if stage.total else 100.0
            quietly(update_progress_artifact, stage.artifact, share, stage.said(stage.shown))


def show_table(key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table on the run's page."""
    create_table_artifact([dict(row) for row in rows], key)


def in_words(value: Any) -> Any:
    """A value as the page shows it: of a range, its least and its most."""
    return " to ".join(f"{end:,.10g}" for end in value) if isinstance(value, list) else value


def show_outcomes(dataset: str, counts: Mapping[str, Any]) -> None:
    """A table: planned = kept + rejected + failed, with reasons and classes."""
    quietly(create_table_artifact, outcome_rows(counts), key_of(dataset, "outcomes"), f"outcomes of {dataset}")


def outcome_rows(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of outcomes.

    >>> outcome_rows({"planned": 3, "kept": 2, "rejected": {"clear": 1}, "failed": {}})[-1]
    {'state': 'rejected', 'why': 'clear', 'chips': 1}
    """
    rows = [{"state": state, "why": "", "chips": counts.get(state, 0)} for state in ("planned", "kept")]
    for state in ("rejected", "failed"):
        rows += [{"state": state, "why": why, "chips": n} for why, n in sorted(dict(counts.get(state, {})).items())]
    return rows


def show_result(dataset: str, uri: str, version: str, is_new: bool, notes: Sequence[str], paid: str) -> None:
    """Where the dataset and its report are, what a person should know, and what was paid, with its currency."""
    word = "published" if is_new else "unchanged"
    lines = [f"**{dataset}**: {word} `{version}`", "", f"paid so far in this run: {paid}", ""]
    lines += [f"- {note}" for note in notes]
    quietly(create_markdown_artifact, "\n".join(lines), key_of(dataset, "result"), f"result of {dataset}")
    report = f"`{uri}/versions/{version}/report/index.html`"  # a folder or a bucket: a link would lead into the server
    quietly(create_markdown_artifact, report, key_of(dataset, "report"), f"report of {dataset}")
