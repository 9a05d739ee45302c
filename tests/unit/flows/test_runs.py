"""Units over workers: every unit once, neighbours to one worker, and a cancelled task knows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from flows import runs
from flows.cluster import cancellation, dask_client
from flows.runs import Runs, spread
from tests.dask_cluster import own_cluster


@given(units=st.integers(0, 60), workers=st.integers(1, 5), data=st.data())
def test_every_unit_is_taken_once_by_whoever_asks(units: int, workers: int, data: st.DataObject) -> None:
    names = [f"w{number}" for number in range(workers)]
    runs, taken = Runs(range(units), names), []
    while runs:
        taken.append(runs.take(data.draw(st.sampled_from([*names, "a new one"]))))
    assert sorted(taken) == list(range(units))


def test_a_worker_has_neighbours_and_helps_at_the_far_end() -> None:
    runs = Runs("abcdefgh", ["one", "two"])
    assert [runs.take(worker) for worker in ("one", "two", "one", "two", "one", "one")] == list("aebfcd")
    assert runs.take("one") == "h"


def wait_until_cancelled(begun: Path, ended: Path) -> None:
    is_cancelled, pause = cancellation(), threading.Event()
    begun.touch()
    while not is_cancelled():
        pause.wait(0.01)
    ended.touch()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of a cluster of one worker."""
    with dask_client(None, 1, tmp_path_factory.mktemp("scratch")) as client:
        yield client


def test_results_come_by_name_and_a_cancelled_task_knows_it(client: Client, tmp_path: Path) -> None:
    begun, ended, pause = tmp_path / "begun", tmp_path / "ended", threading.Event()
    done = spread(client, "s", lambda n, **where: client.submit(abs, n, pure=False, **where), [-3, -1], str, 0)
    assert done == {"-3": 3, "-1": 1}
    future = client.submit(wait_until_cancelled, begun, ended)
    while not begun.exists():
        pause.wait(0.01)
    future.cancel()
    while not ended.exists():
        pause.wait(0.01)
    assert not cancellation()()


def test_who_joins_in_mid_stage_gets_units_and_nobody_left_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "LOOK_AGAIN_S", 0.0)
    monkeypatch.setattr(runs, "TELL_AFTER_S", 0.01)
    told: list[str] = []
    asked: list[tuple[str, ...]] = []
    with own_cluster(0, processes=False) as cluster, Client(cluster) as client:

        def warn(message: str, stage: str) -> None:
            told.append(message % stage)
            cluster.scale(1)

        def submit(number: int, **where: Any) -> Any:
            asked.append(tuple(where.get("workers", ())))
            if len(asked) == 20:
                cluster.scale(3)
                client.wait_for_workers(3)
            return client.submit(abs, number, pure=False, **where)

        monkeypatch.setattr(runs.log, "warning", warn)
        assert spread(client, "read", submit, range(60), int, 0) == {n: n for n in range(60)}
    assert told == ["read: the cluster has no workers; waiting until one comes"]
    assert len(set(asked[:20])) == 2
    assert len(set(asked)) == 4, "nobody in particular, the first, and the two that joined"


died = threading.Event()


def negative(number: int) -> int:
    """Of a number, once the first worker has died."""
    died.wait(20)
    return -number


def test_units_of_the_last_worker_are_given_to_who_comes_after_it_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "TELL_AFTER_S", 0.01)
    with own_cluster(1, processes=False) as cluster, Client(cluster) as client:
        (first,) = client.nthreads()

        async def die(dask_scheduler: Any) -> None:
            await dask_scheduler.remove_worker(first, stimulus_id="test", close=False, expected=False)

        def submit(number: int, **where: Any) -> Any:
            future = client.submit(negative, number, pure=False, **where)
            if number == runs.SUBMITTED_AHEAD - 1 and not died.is_set():
                client.run_on_scheduler(die)
                died.set()
            return future

        monkeypatch.setattr(runs.log, "warning", lambda *_: cluster.scale(3))
        assert spread(client, "read", submit, range(12), int, 0) == {n: -n for n in range(12)}


def test_processes_that_have_nothing_to_do_look_at_themselves_seldom(client: Client) -> None:
    def every_ms(server: Any) -> list[float]:
        return [server.periodic_callbacks[name].callback_time for name in ("tick", "monitor")]

    workers = client.run(lambda dask_worker: every_ms(dask_worker))
    scheduler = client.run_on_scheduler(lambda dask_scheduler: every_ms(dask_scheduler))
    assert [*workers.values(), scheduler] == [[1000.0, 5000.0]] * 2
