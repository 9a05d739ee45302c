"""kill -9 at random points of flow, worker and scheduler: the same bytes in the end, and little done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.faults.broken_server import until
from tests.faults.conftest import Tally
from tests.integration.support import Terraweft, World

WORKERS = 2
TARGETS = ("flow", "worker", "scheduler")
RUNS = 12
"""A build that is started again this often and is not through has lost something."""


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
    }
    found["grid"] |= {"tile_chips": 1}
    path = tmp_path_factory.mktemp("recipe") / "kills.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@dataclass
class Cluster:
    """A scheduler and its workers as processes, started again where they were killed, as a supervisor would."""

    folder: Path
    port: int = 0
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """What does not run is started."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            if not self.port:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    self.port = int(probe.getsockname()[1])
            self._end(self.workers)
            self.workers = []
            self.scheduler = self._spawn("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
            until("scheduler", self._listens)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            limits = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny"]
            place = ["--local-directory", str(self.folder)]
            self.workers.append(self._spawn("worker", self.address, *limits, *place))

    def stop(self) -> None:
        """End all."""
        self._end([*self.workers, *([self.scheduler] if self.scheduler else [])])

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _spawn(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{kind}.log").open("ab") as log:
            command = [sys.executable, "-m", "distributed.cli.dask_" + kind, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _end(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster."""
    found = Cluster(tmp_path)
    found.start()
    yield found
    found.stop()


def _hash(root: Path) -> str:
    version = json.loads((root / "terraweft.json").read_text())["current"]
    return str(json.loads((root / "versions" / version / "dataset.json").read_text())["content_hash"])


@pytest.fixture(scope="module")
def wanted(terraweft: Terraweft, recipe: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Content hash of a build that nobody touched."""
    root = tmp_path_factory.mktemp("whole") / "d"
    done = terraweft("build", recipe, "--out", root, "--workers", 2, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    return _hash(root)


def _tiles(root: Path) -> dict[str, int]:
    """Finished tiles of the first pass -> when they were finished."""
    found = root.glob("work/runs/*/first/*/tile.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in found}


def test_kills_at_random_points_end_in_the_same_bytes(
    recipe: Path,
    world: World,
    wanted: str,
    cluster: Cluster,
    environment: dict[str, str],
    command: list[str],
    tally: Tally,
    trials: int,
    tmp_path: Path,
) -> None:
    chance = random.Random(20261129)
    variables = {**environment, "TERRAWEFT_SANDBOX_STAC": world.stac_url}
    for trial in range(trials):
        target = TARGETS[trial % len(TARGETS)]
        root = tmp_path / f"d{trial}"
        right, redone = False, 0
        try:
            for run in range(RUNS):
                cluster.start()
                before = _tiles(root)
                build = subprocess.Popen(
                    [*command, "build", str(recipe), "--out", str(root), "--dask", cluster.address],
                    env=variables,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
                if run == 0:
                    _kill(target, chance.uniform(4.0, 16.0), build, cluster)
                _, errors = build.communicate(timeout=400)
                redone += sum(_tiles(root).get(name, moment) != moment for name, moment in before.items())
                if build.returncode == 0:
                    break
                assert build.returncode in (1, 2, -signal.SIGKILL), errors.decode()[-2000:]
            right = _hash(root) == wanted and redone == 0
        finally:
            tally.note(f"kill -9 of the {target} at a random point", right, "no finished tile was read again")
        assert right, f"trial {trial} ({target}): {redone} finished tiles were done again, or other bytes"


def _kill(target: str, after_s: float, build: subprocess.Popen[bytes], cluster: Cluster) -> None:
    """Kill one process after a while, unless the build is through by then."""
    with suppress(subprocess.TimeoutExpired):
        build.wait(after_s)
        return
    victim = {
        "flow": build.pid,
        "worker": cluster.workers[0].pid,
        "scheduler": cluster.scheduler.pid if cluster.scheduler else build.pid,
    }[target]
    os.kill(victim, signal.SIGKILL)
    if target != "flow":
        time.sleep(0.5)  # as long as a supervisor takes
        cluster.start()
