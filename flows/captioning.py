"""Captions by a paid model: in the flow's own process, all tiles in one stream, so that calls never run dry.

A tile's texts are written as one file beside its fragments, complete or not at all; a chip that has its texts is not
asked again, and answers that were paid are in the ledger whatever happens to the run. Chips that the template had to
write for want of budget or of a server are listed beside it, and asked by the next build of the same recipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from captioners.base import Access, CaptionInput, Written, make_captioner
from captioners.costs import cost_report
from captioners.ledger import Attempt, LedgerPlace, open_ledger
from flows.caption_inputs import read_waiting
from flows.fragments import read_json
from flows.job import Job
from flows.progress import current
from flows.run_marks import run_purse
from schemas.errors import UserError
from schemas.recipe import fill
from shards.layout import replace_durably

api_key: ContextVar[str | None] = ContextVar("api_key", default=None)
"""Key of the language model's server. Set by the lobby; never an argument, so that no log or database sees it."""
TEXTS = "texts.json"
"""Name of a tile's file of texts."""
OPEN = "texts_open.json"
"""Name of a tile's list of chips that may be asked again: chip id -> why."""


def caption_tiles(job: Job, second: Mapping[str, Path], ledger: LedgerPlace | None) -> dict[str, Any]:
    """Write the texts of every chip that lacks them; what the run has cost, restarts included.

    Args:
        job: the run.
        second: tile id -> fragments of the second pass, with the fact sheets that wait.
        ledger: the paid-answer ledger.
    """
    captions = job.recipe.captions
    if captions is None or captions.backend == "template":
        return {}
    if ledger is None:
        raise UserError("a paid model needs a ledger", where="captions.ledger", mend="name a file on a local disk")
    purse, base_url = run_purse(job), fill(captions.base_url, job.variables, "captions.base_url")
    captioner = make_captioner(captions, Access(ledger, api_key.get(), base_url, purse))
    progress = current()
    progress.start("caption", len(second))
    waiting = Waiting(job, second)
    progress.advance("caption", len(second) - len(waiting.tiles) + waiting.keep_empty())
    for written in captioner.stream(waiting):
        if waiting.take(written):
            progress.advance("caption")
    progress.finish("caption")
    paid = cost_report(_attempts(ledger, purse), waiting.texts())
    spent = captioner.cost()
    limits = {"currency": captions.prices.currency, "max_cost": captions.max_cost}
    return {**paid, **limits, "reused": spent["reused"], "events": spent["events"]}


class Waiting:
    """The chips that wait for texts, tile by tile; what is written is kept when a tile is whole.

    Args:
        job: the run.
        second: tile id -> fragments of the second pass.
    """

    def __init__(self, job: Job, second: Mapping[str, Path]) -> None:
        self._job, self._second = job, second
        self._lacks: dict[str, set[str]] = {}
        self._tile_of: dict[str, str] = {}
        self._done: dict[str, dict[str, Written]] = {}
        for tile_id in sorted(second):
            lacks = self._lacking(tile_id)
            if lacks or not (second[tile_id] / TEXTS).exists():
                self._lacks[tile_id] = lacks
                self._tile_of |= dict.fromkeys(lacks, tile_id)

    def keep_empty(self) -> int:
        """Write the file of every tile in which nothing waits; how many there were."""
        empty = [tile_id for tile_id, lacks in self._lacks.items() if not lacks]
        for tile_id in empty:
            self._keep(tile_id)
        return len(empty)

    @property
    def tiles(self) -> list[str]:
        """Tiles of which chips wait."""
        return list(self._lacks)

    def __iter__(self) -> Iterator[CaptionInput]:
        for tile_id, lacks in list(self._lacks.items()):
            for chip_id, given in _pending(self._second[tile_id]):
                if chip_id in lacks:
                    yield read_waiting(self._job, chip_id, given, self._second[tile_id])

    def take(self, written: Written) -> bool:
        """Take one chip's texts; whether that made its tile whole."""
        tile_id = self._tile_of[written.chip_id]
        done = self._done.setdefault(tile_id, {})
        done[written.chip_id] = written
        if len(done) < len(self._lacks[tile_id]):
            return False
        self._keep(tile_id)
        return True

    def texts(self) -> Iterator[dict[str, Any]]:
        """All records of all tiles that are whole."""
        for folder in self._second.values():
            if (folder / TEXTS).exists():
                for records in read_json(folder / TEXTS).values():
                    yield from records

    def _lacking(self, tile_id: str) -> set[str]:
        folder = self._second[tile_id]
        if not (folder / TEXTS).exists():
            return {chip_id for chip_id, _ in _pending(folder)}
        return set(read_json(folder / OPEN)) if (folder / OPEN).exists() else set()

    def _keep(self, tile_id: str) -> None:
        folder, done = self._second[tile_id], self._done.pop(tile_id, {})
        before = dict(read_json(folder / TEXTS)) if (folder / TEXTS).exists() else {}
        texts = {chip_id: [r.model_dump(mode="json") for r in one.records] for chip_id, one in done.items()}
        still_open = {chip_id: one.open for chip_id, one in sorted(done.items()) if one.open}
        if still_open and not before:  # else, after a kill between the two, nobody would know that they wait
            _write(folder / OPEN, still_open)
        _write(folder / TEXTS, dict(sorted((before | texts).items())))
        if still_open:
            _write(folder / OPEN, still_open)
        else:
            (folder / OPEN).unlink(missing_ok=True)


def _attempts(ledger: LedgerPlace, purse: str) -> Iterator[Attempt]:
    opened = open_ledger(ledger)
    try:
        yield from opened.attempts(purse)
    finally:
        opened.close()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    replace_durably(path, json.dumps(content).encode())


def _pending(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return sorted(read_json(folder / "tile.json")["pending"].items())
