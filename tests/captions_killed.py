"""Paid captions killed over and over: a server and a writer as processes of their own, and what is left in the end."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from captioners.base import Access, CaptionInput
from captioners.ledger import LedgerPlace
from captioners.ledger_sqlite import SqliteLedger
from captioners.live import LiveCaptioner
from schemas.facts import Fact, FactSheet
from schemas.recipe import Captions
from tests.unit.captioners.worlds import caption_input, make_world

ROOT = Path(__file__).parents[1]
PRICES = {"price_per_million_in": 1.0, "price_per_million_out": 2.0}
WORLDS = 8
"""Different landscapes; a number makes each chip's sheet, and so its request, its own."""


def many_chips(count: int, kinds: Sequence[str] = ("short",)) -> Iterator[CaptionInput]:
    """Chips of which each makes a request of its own."""
    bases = [caption_input(make_world(seed), "base", kinds=tuple(kinds)) for seed in range(min(count, WORLDS))]
    for number in range(count):
        base = bases[number % len(bases)]
        own = Fact("ground.number", "ground", "chip", number, "1", "chip", "grid")
        facts = tuple(sorted((*base.facts.facts, own), key=lambda fact: fact.fact_id))
        chip_id = f"u31-{number:06d}"
        yield replace(base, chip_id=chip_id, facts=FactSheet(chip_id, facts), seed=number)


def recipe(**fields: Any) -> Captions:
    """The section of a recipe that asks the server of tests."""
    base = {"backend": "openai", "base_url": "http://unused/v1", "model": "m", "probe": False, "max_cost": 1000.0}
    return Captions.model_validate(base | PRICES | fields)


@contextmanager
def server_process(folder: Path, *arguments: str) -> Iterator[str]:
    """The server of tests as a process; its base URL."""
    port_file = folder / "server.url"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.fake_openai", "--port-file", str(port_file), *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment()) as process:
        try:
            while not port_file.exists():
                if process.poll() is not None:
                    raise RuntimeError("the server did not start")
                time.sleep(0.02)
            yield port_file.read_text()
        finally:
            process.kill()


def stats(url: str) -> dict[str, Any]:
    """Counts of a server."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as response:
        return dict(json.load(response))


def environment() -> dict[str, str]:
    """So that a process finds this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Killed:
    """What a series of kills left."""

    kills: int
    """Times that the writer was killed while calls were in flight."""
    chips: int
    """Chips to be written."""
    asked_again: int
    """Received answers that were asked again: attempts begun after one at the same request had been answered."""
    duplicates: int
    """Answers that the server made more than once."""
    in_doubt: int
    """Rows in doubt."""
    given_up: int
    """Chips whose call was in doubt twice, so that the template wrote them, as the recipe says."""
    different: int
    """Other chips whose records differ from those of a run that was never killed."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, paid twice unseen, or different."""
        return not self.asked_again and self.duplicates <= self.in_doubt and not self.different


def kill_series(
    folder: Path, *, chips: int, kills: int, concurrency: int, server: Sequence[str], seed: int = 7
) -> Killed:
    """Kill a writer at random points, let it finish, and compare with a run that was never killed.

    Args:
        folder: for ledgers and records.
        chips: to be written.
        kills: how often the writer is killed.
        concurrency: calls in flight.
        server: arguments of the server.
        seed: of the points at which it is killed.
    """
    with server_process(folder, *server) as url:
        _finish(_writer(folder, url, "calm", chips, concurrency))
    draw, done = random.Random(seed), 0
    with server_process(folder, *server) as url:
        while done < kills:
            process = _writer(folder, url, "killed", chips, concurrency)
            done += _kill_after(process, url, draw.randint(1, max(2, 2 * chips // (kills + 2))), draw.random())
            if process.exitcode == 0:
                break
        _finish(_writer(folder, url, "killed", chips, concurrency))
        counts = stats(url)
    calm, killed = (json.loads((folder / f"{name}.json").read_text()) for name in ("calm", "killed"))
    with SqliteLedger(folder / "killed.sqlite") as ledger:
        attempts = list(ledger.attempts())
    doubts = Counter(one.subject for one in attempts if one.state == "doubt")
    given_up = {chip for chip, count in doubts.items() if count >= 2}
    answered = {one.key: one.attempt for one in attempts if one.state == "answered"}
    return Killed(
        kills=done,
        chips=len(killed),
        asked_again=sum(one.attempt > answered.get(one.key, one.attempt) for one in attempts),
        duplicates=counts["duplicates"],
        in_doubt=sum(doubts.values()),
        given_up=len(given_up),
        different=sum(calm[chip] != killed.get(chip) for chip in calm if chip not in given_up),
    )


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.captions_killed", "openai"])
"""Writers are forked from a process that has everything imported: kills are many, and imports are slow."""


def _writer(folder: Path, url: str, name: str, chips: int, concurrency: int) -> BaseProcess:
    process = _FORKS.Process(target=write_all, args=(url, folder, name, chips, concurrency), daemon=True)
    process.start()
    return process


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"the writer ended with {process.exitcode}")


def _kill_after(process: BaseProcess, url: str, answers: int, share: float) -> bool:
    """Kill a writer a little after the server has made so many answers more; False where it had ended by then."""
    goal = stats(url)["answered"] + answers
    while process.is_alive() and stats(url)["answered"] < goal:
        time.sleep(0.005)
    time.sleep(share * 0.02)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def write_all(url: str, folder: Path, name: str, chips: int, concurrency: int) -> None:
    """The writer: goes on with what its ledger has, and keeps the records of all chips."""
    access = Access(LedgerPlace(str(folder / f"{name}.sqlite")), None, url, "run")
    writer = LiveCaptioner(recipe(concurrency=concurrency), access)
    done = {
        written.chip_id: [record.model_dump(mode="json") for record in written.records]
        for written in writer.stream(many_chips(chips))
    }
    (folder / f"{name}.json").write_text(json.dumps(done, sort_keys=True))
