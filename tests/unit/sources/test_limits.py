"""Limits by host hold over threads and processes, wait, and survive whoever is killed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ThrottledError, UserError
from schemas.recipe import HostLimit
from sources.faults import error_of_status
from sources.limits import HostLimits


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.time, self.slept = 1000.0, 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept += seconds


def test_the_longest_pattern_that_fits_counts() -> None:
    rules = {"*": 1, "*.example.org": 2, "a.example.org": 3, "a.example.org:8080": 4}
    limits = HostLimits({host: HostLimit(concurrency=n) for host, n in rules.items()}, None)
    hosts = ("b.net", "b.example.org", "a.example.org", "a.example.org:8080", "a.example.org:80")
    assert [rule.concurrency for host in hosts if (rule := limits.rule(host))] == [1, 2, 3, 4, 3]
    assert HostLimits({}, None).rule("b.net") is None


def most_at_once(limits: HostLimits, threads: int) -> int:
    lock, inside, most = threading.Lock(), 0, 0

    def ask() -> None:
        nonlocal inside, most
        for _ in range(20):
            with limits.slot("h"):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return most


def test_no_more_threads_than_allowed_are_inside_and_all_get_in(tmp_path: Path) -> None:
    assert most_at_once(HostLimits({"*": HostLimit(concurrency=2)}, tmp_path), 6) <= 2


def hold(folder: Path, inside: Any, leave: Any) -> None:
    with HostLimits({"*": HostLimit(concurrency=1)}, folder).slot("h"):
        inside.set()
        leave.wait()


def test_another_process_holds_its_place_until_it_is_killed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    inside, leave = spawn.Event(), spawn.Event()
    child = spawn.Process(target=hold, args=(tmp_path, inside, leave))
    child.start()
    assert inside.wait(60)
    waited: list[float] = []

    def kill_then_wait(seconds: float) -> None:
        if not waited and child.pid:
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        waited.append(seconds)

    with HostLimits({"*": HostLimit(concurrency=1)}, tmp_path, sleep=kill_then_wait).slot("h"):
        assert waited


def test_so_many_begin_per_second_and_none_is_dropped(tmp_path: Path) -> None:
    clock = Clock()
    rules = {"h": HostLimit(per_second=4.0)}
    sharing = [HostLimits(rules, tmp_path, clock.sleep, clock.now) for _ in range(3)]
    for number in range(12):
        with sharing[number % 3].slot("h"):
            pass
    assert clock.slept == pytest.approx(11 / 4)


@pytest.mark.parametrize("asked_s", [None, 7.0])
def test_a_host_that_throttles_is_left_alone_by_all(tmp_path: Path, asked_s: float | None) -> None:
    clock = Clock()
    one, other = (HostLimits({}, tmp_path, clock.sleep, clock.now) for _ in range(2))
    error = ThrottledError("HTTP 429")
    error.retry_after_s = asked_s
    with pytest.raises(ThrottledError), one.slot("h"):
        raise error
    with other.slot("elsewhere"):
        assert clock.slept == 0.0
    with other.slot("h"):
        assert clock.slept == pytest.approx(asked_s or 1.0, abs=1e-3)


@pytest.mark.parametrize("back_s", [1.0, 7 * 60.0, 400 * 86400.0])
def test_a_clock_that_was_set_back_stops_nobody(tmp_path: Path, back_s: float) -> None:
    clock = Clock()
    limits = HostLimits({"h": HostLimit(per_second=1.0)}, tmp_path, clock.sleep, clock.now)
    with limits.slot("h"):
        clock.time -= back_s
    for _ in range(2):
        with limits.slot("h"):
            pass
    assert clock.slept == pytest.approx(2.0, abs=1.0 + 1e-3)


@pytest.mark.parametrize("back_s", [7 * 60.0, 400 * 86400.0])
def test_a_host_that_throttles_is_left_alone_although_the_clock_was_set_back(tmp_path: Path, back_s: float) -> None:
    clock = Clock()
    one, other = (HostLimits({}, tmp_path, clock.sleep, clock.now) for _ in range(2))
    one.pause("h", 7.0)
    clock.time -= back_s
    with one.slot("h"), other.slot("h"):
        assert clock.slept == pytest.approx(7.0, abs=1e-3)
    one.pause("h", 1.0)
    clock.time -= back_s
    other.pause("h", 7.0)
    with one.slot("h"):
        assert clock.slept == pytest.approx(14.0, abs=1e-3)


def test_a_filesystem_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refused)
    for rule in (HostLimit(concurrency=1), HostLimit(per_second=1.0)):
        with (
            pytest.raises(UserError, match=r"gives no lock.*TERRAWEFT_LIMITS"),
            HostLimits({"*": rule}, tmp_path).slot("h"),
        ):
            pass


def test_limits_pickle_as_rules_and_folder(tmp_path: Path) -> None:
    limits = pickle.loads(pickle.dumps(HostLimits({"h": HostLimit(concurrency=3)}, tmp_path)))
    assert limits.rule("h") == HostLimit(concurrency=3)
    assert limits.folder == tmp_path


def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock() -> None:
    server = datetime(2031, 5, 1, 12, tzinfo=UTC)
    date = format_datetime(server + timedelta(seconds=90), usegmt=True)
    cases = {"12": 12.0, date: 90.0, "soon": None, "nan": None, "-3": None, "": None}
    for text, expected in cases.items():
        headers = {"retry-after": text, "date": format_datetime(server, usegmt=True)}
        error = error_of_status(429, "u", headers)
        assert isinstance(error, ThrottledError)
        assert error.retry_after_s == expected, text


def test_a_group_counts_together(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with HostLimits({"*": HostLimit(concurrency=1, per_second=1000)}, tmp_path).slot("h"):
            pass
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "h").iterdir()} == {
        "place-0": 0o664,
        "next": 0o664,
    }
