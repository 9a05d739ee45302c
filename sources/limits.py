"""How fast a host is asked: `HostLimits` lets so many requests run at once and so many begin per second.

The count is kept in lock files under the run's ``work`` folder, so it holds over all threads and worker processes, and
over machines that share that folder; a process that is killed gives its places back, because the kernel drops its
locks. Whoever finds no place waits; nothing is dropped. A host that answers ``Retry-After`` is left alone by all.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from schemas.errors import ThrottledError, UserError
from schemas.recipe import HostLimit

log = logging.getLogger(__name__)

Sleep = Callable[[float], object]
POLL_S = 0.005
"""First pause of somebody who finds no place; each further one is half as long again, up to `LONGEST_POLL_S`."""
LONGEST_POLL_S = 0.1
LONGEST_PAUSE_S = 300.0
"""Whatever a host asks for, it is left alone no longer."""
CLOCK_SKEW_S = 2.0
"""Machines that share a folder differ by less. What was written further ahead is of a clock that was set back since."""
PAUSE_UNASKED_S = 1.0
"""How long a host that throttles without saying for how long is left alone."""


class HostLimits:
    """Limits by host. Pickles as its rules and folder.

    Args:
        rules: host pattern (``*.example.org``, ``*``) -> limit; a name counts before patterns, a longer pattern first.
        folder: where the lock files lie; None: nothing is limited.
        sleep: how to wait.
        now: seconds since 1970, the same for all who share the folder.
    """

    def __init__(
        self,
        rules: Mapping[str, HostLimit],
        folder: Path | None,
        sleep: Sleep = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rules, self.folder, self.sleep, self.now = dict(rules), folder, sleep, now
        self._made: set[str] = set()

    def __reduce__(self) -> tuple[type[HostLimits], tuple[dict[str, HostLimit], Path | None]]:
        return type(self), (self.rules, self.folder)

    def rule(self, host: str) -> HostLimit | None:
        """The limit of a host (``name`` or ``name:port``), if it has one.

        >>> HostLimits({"*": HostLimit(concurrency=9)}, None).rule("a.example.org").concurrency
        9
        """
        bare = host.partition(":")[0]
        fits = [pattern for pattern in self.rules if fnmatchcase(host, pattern) or fnmatchcase(bare, pattern)]
        return self.rules[max(fits, key=lambda pattern: ("*" not in pattern, len(pattern)))] if fits else None

    @contextmanager
    def slot(self, host: str) -> Iterator[None]:
        """One request's place, held while it runs; a `ThrottledError` that passes through pauses the host for all."""
        if self.folder is None or not host:
            yield
            return
        rule = self.rule(host)
        place = self._place(host, rule.concurrency) if rule else None
        try:
            self._await_start(host, 1.0 / rule.per_second if rule and rule.per_second else 0.0)
            yield
        except ThrottledError as error:
            self.pause(host, error.retry_after_s or PAUSE_UNASKED_S)
            raise
        finally:
            if place is not None:
                os.close(place)

    def pause(self, host: str, seconds: float) -> None:
        """Nobody asks the host for so long."""
        if self.folder is None:
            return
        with self._gate(host) as gate:
            now = self.now()
            _write(gate, max(_start(gate, now), now + min(seconds, LONGEST_PAUSE_S)), now)
        log.info("%s asks for a pause of %.1f s", host, seconds)

    def _place(self, host: str, places: int) -> int:
        """A locked file descriptor: one of the host's places."""
        folder = self._folder(host)
        pause = POLL_S
        while True:
            first = random.randrange(places)
            for step in range(places):
                file = os.open(
                    folder / f"place-{(first + step) % places}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
                )
                try:
                    _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
                    return file
                except BlockingIOError:
                    os.close(file)
            self.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 1.5, LONGEST_POLL_S)

    def _await_start(self, host: str, step_s: float) -> None:
        """Return when the host may be asked, and move the next start on by ``step_s``."""
        while True:
            if not step_s and not self._gate_path(host).exists():
                return
            with self._gate(host) as gate:
                now = self.now()
                start = _start(gate, now)
                if start <= now:
                    if step_s:
                        _write(gate, now + step_s, now)
                    return
            self.sleep(start - now)

    @contextmanager
    def _gate(self, host: str) -> Iterator[int]:
        folder = self._folder(host)
        file = os.open(self._gate_path(host), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(file, fcntl.LOCK_EX, folder)
            yield file
        finally:
            os.close(file)

    def _gate_path(self, host: str) -> Path:
        return Path(self.folder or ".") / _safe(host) / "next"

    def _folder(self, host: str) -> Path:
        folder = Path(self.folder or ".") / _safe(host)
        if host not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add(host)
        return folder


def _lock(file: int, how: int, folder: Path) -> None:
    """Lock a file.

    Raises:
        BlockingIOError: another holds it, and nobody is to be waited for.
        UserError: the filesystem has no locks.
    """
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        raise
    except OSError as error:  # Lustre without -o flock: ENOSYS
        why = f"this filesystem gives no lock, so that nobody can count requests: {error.strerror}"
        raise UserError(why, where=str(folder), mend="name a folder on another one in TERRAWEFT_LIMITS") from error


def _safe(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "_", host).strip(".") or "_"


def _start(file: int, now: float) -> float:
    """When the host may be asked next; ``now`` where nobody said so.

    Where the clock was set back since, what was left to wait when somebody said so is waited from now on.
    """
    try:
        start, written = map(float, os.pread(file, 64, 0).split())
    except ValueError:
        return now
    if written <= now + CLOCK_SKEW_S:
        return start
    start += now - written
    _write(file, start, now)
    return start


def _write(file: int, start: float, now: float) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, f"{start:.6f} {now:.6f}".encode(), 0)
