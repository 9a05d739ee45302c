"""kill -9 at random points of flow, worker, scheduler and API: the same bytes in the end, and little done twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.faults.broken_server import until
from tests.faults.conftest import Tally
from tests.faults.supervised import WORKERS, Cluster, Server, Site
from tests.integration.forked import Forked, Forker
from tests.integration.support import World, content_hash

TARGETS = ("flow", "worker", "scheduler", "server")
RUNS = 12
"""A build that is started again this often and is not through has lost something."""
SUPERVISOR_S = 0.5
"""As long as a supervisor takes to start again what died."""
SEED = 20261129
PATIENCE_S = 400.0


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagery of two bands and one label product; a chip per tile, so that a kill meets many units."""
    found = yaml.safe_load(sandbox_recipe.read_text())
    s2 = found["modalities"]["s2"] | {"bands": ["B02", "B04"]}
    s2["select"] = {"how": "newest", "max_dates": 2, "max_nodata_fraction": 0.9}
    found |= {
        "modalities": {"s2": s2},
        "labels": {
            "sources": {"worldcover": found["labels"]["sources"]["worldcover"]},
            "fuse": {"method": "priority", "legend": "worldcover-11"},
        },
        "register": {"mode": "off"},
        "split": {"method": "none"},
    }
    del found["captions"]
    found["grid"] |= {"chip_m": 240, "tile_chips": 1}
    path = tmp_path_factory.mktemp("recipe") / "kills.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def site(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running cluster and API."""
    folder = tmp_path_factory.mktemp("site")
    found = Site(Cluster(folder), Server(folder, environment))
    found.start()
    yield found
    found.stop()


Start = Callable[[Path], Forked]


@pytest.fixture(scope="module")
def start(
    site: Site, recipe: Path, world: World, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Begin a build into a folder, in a process that need not import everything again."""
    forker = Forker(environment | {"PREFECT_API_URL": site.server.url}, tmp_path_factory.mktemp("forker"))

    def begin(root: Path) -> Forked:
        line = ["build", str(recipe), "--out", str(root), "--dask", site.cluster.address]
        return forker.begin(line, {"TERRAWEFT_SANDBOX_STAC": world.stac_url})

    yield begin
    forker.close()


@dataclass(frozen=True)
class Untouched:
    """A build that nobody touched.

    Attributes:
        content_hash: what every other build must come to.
        seconds: from the moment at which it holds the dataset to its end.
    """

    content_hash: str
    seconds: float


@pytest.fixture(scope="module")
def untouched(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Untouched:
    """The second of two builds: workers have imported by then."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("first", "second"):
        with start(folder / name) as build:
            _await_start(folder / name, build)
            began = time.monotonic()
            assert build.wait(PATIENCE_S) == 0, build.printed()
    return Untouched(content_hash(folder / "second"), time.monotonic() - began)


def _await_start(root: Path, build: Forked) -> None:
    """Return when the build holds the dataset: imports are over, planning begins."""
    until("lock", lambda: (root / "work" / "lock.json").exists() or _is_over(build))


def _is_over(build: Forked, wait_s: float = 1e-3) -> bool:
    with suppress(TimeoutError):
        build.wait(wait_s)
        return True
    return False


@dataclass(frozen=True)
class Tiles:
    """The tiles of the first pass at some moment.

    Attributes:
        finished: tile -> when.
        begun: how many were being read.
    """

    finished: dict[str, int]
    begun: int

    @classmethod
    def of(cls, root: Path) -> Tiles:
        """Those of a dataset's unfinished run."""
        finished, begun = {}, 0
        for folder in root.glob("work/runs/*/first/*"):
            if ".tmp-" in folder.name:
                begun += 1
                continue
            with suppress(FileNotFoundError):
                finished[folder.name] = (folder / "tile.json").stat().st_mtime_ns
        return cls(finished, begun)

    def redone(self, later: Tiles) -> int:
        """How many of the finished tiles were done again by then."""
        return sum(later.finished.get(name, moment) != moment for name, moment in self.finished.items())


def _phase(root: Path, tiles: Tiles) -> str:
    """Where a build was when it was hit."""
    if list(root.glob("versions/*")) or list(root.glob("work/versions/*")):
        return "publishing"
    if list(root.glob("work/shards/*")) or list(root.glob("shards/*")):
        return "writing"
    return "reading" if tiles.finished or tiles.begun else "planning"


def _strike(target: str, chance: random.Random, site: Site, start: Start, span_s: float, root: Path) -> Forked:
    """A build that was hit at some moment of its run; one that was through before it counts for nothing."""
    site.start()
    build = start(root)
    _await_start(root, build)
    if _is_over(build, chance.uniform(1e-3, span_s)):
        with build:
            assert build.wait(0) == 0, build.printed()
        shutil.rmtree(root)
        return _strike(target, chance, site, start, span_s, root)
    if target == "flow":
        os.kill(build.pid, signal.SIGKILL)
    else:
        site.kill(target)
    return build


def _finish(build: Forked, site: Site, start: Start, root: Path) -> str:
    """Start a build again until it is through; what was wrong with how it ended, if anything."""
    wrong = ""
    for _ in range(RUNS):
        site.start()
        with build:
            code, (_, errors) = build.wait(PATIENCE_S), build.printed()
        if code == 0:
            return wrong
        if code != -signal.SIGKILL and len(errors.strip().splitlines()) != 1:
            wrong = f"exit code {code}: {errors[-3000:]}"
        build = start(root)
    return f"not through after {RUNS} runs; {wrong}"


def test_a_kill_at_a_random_point_ends_in_the_same_bytes(
    trial: int, site: Site, start: Start, untouched: Untouched, tally: Tally, tmp_path: Path
) -> None:
    target, root = TARGETS[trial % len(TARGETS)], tmp_path / "d"
    build = _strike(target, random.Random(f"{SEED}-{trial}"), site, start, untouched.seconds, root)
    hit = Tiles.of(root)
    seen = f"while {_phase(root, hit)}"
    time.sleep(SUPERVISOR_S)
    wrong = _finish(build, site, start, root)
    redone = hit.redone(Tiles.of(root))
    if not wrong and (redone or hit.begun > WORKERS):
        wrong = f"{redone} finished tiles were done again, {hit.begun} were begun"
    if not wrong and content_hash(root) != untouched.content_hash:
        wrong = "other bytes"
    tally.note(f"kill -9 of the {target} at a random point of a run", not wrong, seen, wrong and f"{trial}: {wrong}")
    assert not wrong, f"trial {trial} ({target}, {seen}): {wrong}"
