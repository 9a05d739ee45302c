"""The ledger as one SQLite file in WAL mode on a local disk; several processes of one machine may hold it at once.

Steps of many calls share one transaction and one sync to disk (`Ledger.apply`): at 64 calls in flight a sync per call
would be the bottleneck. Each process locks a file of its own beside the ledger, by which the others tell the living
from the dead. A small file of ballast lies there too: should the disk be full when answers arrive, it makes room for
them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from captioners.ledger import (
    Answer,
    Attempt,
    Ending,
    Find,
    Found,
    Intent,
    LedgerFullError,
    Step,
    kept_headers,
    now_utc,
    refusal,
)
from schemas.errors import BudgetExceededError, UserError

BALLAST_BYTES = 16_000_000
"""Room kept for the answers that are in flight when the disk fills."""
FREE_BYTES = 32_000_000
"""Nothing is sent while the disk has less than this."""
VERSION = 2
HEADER = b"SQLite format 3\0"
"""How every file of SQLite begins that is not empty."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL, attempt INTEGER NOT NULL,
    owner TEXT NOT NULL, purse TEXT NOT NULL, purpose TEXT NOT NULL, model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'answered', 'refused', 'doubt')),
    started_utc TEXT NOT NULL, ended_utc TEXT,
    status INTEGER, headers TEXT, body BLOB, error TEXT,
    tokens_in INTEGER NOT NULL DEFAULT 0, tokens_out INTEGER NOT NULL DEFAULT 0,
    cost_nano INTEGER NOT NULL,
    subject TEXT NOT NULL DEFAULT '', batch TEXT NOT NULL DEFAULT '',
    tokens_cached INTEGER NOT NULL DEFAULT 0, worst_tokens INTEGER NOT NULL DEFAULT 0,
    UNIQUE (key, attempt)
);
CREATE INDEX IF NOT EXISTS attempts_by_state ON attempts (state);
CREATE INDEX IF NOT EXISTS attempts_by_purse ON attempts (purse);
CREATE TABLE IF NOT EXISTS purses (
    purse TEXT PRIMARY KEY, held_nano INTEGER NOT NULL, held_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS notes (kind TEXT NOT NULL, name TEXT NOT NULL, note TEXT NOT NULL, PRIMARY KEY (kind, name));
"""
_ADDED = {
    "attempts": ("subject TEXT NOT NULL DEFAULT ''", "batch TEXT NOT NULL DEFAULT ''",
                 "tokens_cached INTEGER NOT NULL DEFAULT 0", "worst_tokens INTEGER NOT NULL DEFAULT 0"),
    "purses": ("held_tokens INTEGER NOT NULL DEFAULT 0",),
}  # fmt: skip
"""Columns that files of version 1 lack."""
_LISTED = (
    "CAST(id AS TEXT), key, attempt, purse, purpose, model, state, subject, started_utc, COALESCE(ended_utc, ''),"
    " status, COALESCE(error, ''), tokens_in, tokens_out, tokens_cached, cost_nano, batch"
)


class SqliteLedger:
    """See `captioners.ledger.Ledger`.

    Args:
        path: the file; made with its folder where absent. Must lie on a local disk.
        free_bytes: room below which nothing is sent.

    Raises:
        UserError: the file is no ledger, one of a newer format, or lies where nothing can be written.
    """

    def __init__(self, path: Path, free_bytes: int = FREE_BYTES) -> None:
        self.path, self._free_bytes = path, free_bytes
        _require_database(path)
        self.owner = uuid.uuid4().hex
        self._owners = path.with_name(path.name + ".owners")
        try:
            self._owners.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = (self._owners / self.owner).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            why = f"the ledger cannot be written to: {error.strerror}"
            raise UserError(why, where=str(path), mend="name another file") from error
        self._ballast = path.with_name(path.name + ".ballast")
        self._db = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
        try:
            with self._alone():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._migrate()
                self._fill_ballast()
            self._db.execute("PRAGMA synchronous = FULL")
            self.recover()
        except sqlite3.DatabaseError as error:
            self.close()
            raise _translated(error, path) from error
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else makes the file ready meanwhile: SQLite does not wait where two would turn it to WAL at once."""
        with (self._owners / "making").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _migrate(self) -> None:
        """Bring the file to this version's columns; answers that were paid for stay what they are."""
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise UserError(f"the ledger has format {version}", where=str(self.path), mend="update terraweft")
        if version < VERSION:
            with self._transaction() as db:
                there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                for table, columns in _ADDED.items():
                    names = {row[1] for row in db.execute(f"PRAGMA table_info({table})")} if table in there else set()
                    for column in columns if names else ():
                        if column.split()[0] not in names:
                            db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")

    def _fill_ballast(self) -> None:
        """Lay the ballast, where there is room for it."""
        if shutil.disk_usage(self.path.parent).free > BALLAST_BYTES + self._free_bytes and not self._ballast.exists():
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()
        (self._owners / self.owner).unlink(missing_ok=True)
        self._lock.close()

    def __enter__(self) -> SqliteLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def apply(self, steps: Sequence[Step]) -> list[Any]:
        """See `Ledger.apply`: one transaction, one sync."""
        if any(isinstance(step, Intent) for step in steps):
            self._require_room()
        try:
            return self._apply(steps)
        except sqlite3.DatabaseError as error:
            if not _is_full(error):
                raise _translated(error, self.path) from error
            self._ballast.unlink(missing_ok=True)
        try:  # with the ballast gone there is room for what has been paid for, and for nothing else
            self._apply([step for step in steps if isinstance(step, Ending)])
        except sqlite3.DatabaseError as error:
            raise _translated(error, self.path) from error
        if all(isinstance(step, Ending) for step in steps):
            return [None] * len(steps)
        raise _full(self.path)

    def _apply(self, steps: Sequence[Step]) -> list[Any]:
        if all(isinstance(step, Find) for step in steps):
            return [self._step(step) for step in steps]
        with self._transaction():
            return [self._step(step) for step in steps]

    def _step(self, step: Step) -> Any:
        if isinstance(step, Find):
            return self._find(step.key)
        return self._intend(step) if isinstance(step, Intent) else self._end(step)

    def _require_room(self) -> None:
        if shutil.disk_usage(self.path.parent).free < self._free_bytes:
            raise _full(self.path)

    def _find(self, key: str) -> Found:
        rows = self._db.execute(
            "SELECT state, body, tokens_in, tokens_out, cost_nano, batch FROM attempts WHERE key = ? ORDER BY attempt",
            (key,),
        ).fetchall()
        answers = [Answer(bytes(row[1]), *row[2:5]) for row in rows if row[0] == "answered"]
        doubts = sum(row[0] == "doubt" for row in rows)
        flying = [row for row in rows if row[0] == "intent"]
        in_batch = any(row[5] for row in flying)
        return Found(answers[0] if answers else None, doubts, bool(flying), in_batch)

    def _intend(self, intent: Intent) -> str | Found | BudgetExceededError:
        """Write an intent down."""
        found = self._find(intent.key)
        if found.settles(intent):
            return found
        row = self._db.execute("SELECT held_nano, held_tokens FROM purses WHERE purse = ?", (intent.purse,)).fetchone()
        held_nano, held_tokens = row or (0, 0)
        refused = refusal(intent, held_nano, held_tokens)
        if refused is not None:
            return refused
        attempt = self._db.execute(
            "SELECT COALESCE(MAX(attempt), 0) + 1 FROM attempts WHERE key = ?", (intent.key,)
        ).fetchone()[0]
        made = self._db.execute(
            "INSERT INTO attempts (key, attempt, owner, purse, purpose, model, state, started_utc, cost_nano, subject,"
            " batch, worst_tokens) VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?, ?, ?, ?)",
            (intent.key, attempt, self.owner, intent.purse, intent.purpose, intent.model, now_utc(),
             intent.worst_nano, intent.subject, intent.batch, intent.worst_tokens),
        )  # fmt: skip
        self._hold(intent.purse, intent.worst_nano, intent.worst_tokens)
        return str(made.lastrowid)

    def _end(self, ending: Ending) -> None:
        """Write an ending down; an attempt that has ended stays as it is, unless it was given up for lost."""
        found = self._db.execute(
            "SELECT purse, cost_nano, worst_tokens, state FROM attempts WHERE id = ?", (int(ending.row),)
        ).fetchone()
        if found is None or found[3] not in ("intent", "doubt"):
            return
        purse, worst, worst_tokens = found[:3]
        at_worst = ending.cost_nano is None
        cost = worst if ending.cost_nano is None else ending.cost_nano
        self._db.execute(
            "UPDATE attempts SET state = ?, ended_utc = ?, status = ?, headers = ?, body = ?, error = ?, tokens_in = ?,"
            " tokens_out = ?, tokens_cached = ?, cost_nano = ? WHERE id = ?",
            (ending.state, now_utc(), ending.status, json.dumps(kept_headers(ending.headers)), ending.body,
             ending.error[:500] or None, ending.tokens_in, ending.tokens_out, ending.tokens_cached, cost,
             int(ending.row)),
        )  # fmt: skip
        tokens = worst_tokens if at_worst and not ending.tokens_in else ending.tokens_in + ending.tokens_out
        self._hold(purse, cost - worst, tokens - worst_tokens)

    def _hold(self, purse: str, nano: int, tokens: int) -> None:
        self._db.execute(
            "INSERT INTO purses (purse, held_nano, held_tokens) VALUES (?, ?, ?) ON CONFLICT (purse) DO UPDATE SET"
            " held_nano = held_nano + excluded.held_nano, held_tokens = held_tokens + excluded.held_tokens",
            (purse, nano, tokens),
        )

    def recover(self) -> int:
        """See `Ledger.recover`; an intent that goes with a batch is the batch's."""
        with self._transaction() as db:
            rows = db.execute("SELECT DISTINCT owner FROM attempts WHERE state = 'intent' AND batch = ''")
            dead = [row[0] for row in rows if row[0] != self.owner and not self.is_alive(row[0])]
            count = 0
            for owner in dead:
                changed = db.execute(
                    "UPDATE attempts SET state = 'doubt', ended_utc = ?, error = 'process died'"
                    " WHERE state = 'intent' AND batch = '' AND owner = ?",
                    (now_utc(), owner),
                )
                count += changed.rowcount
        for owner in dead:
            (self._owners / owner).unlink(missing_ok=True)
        return count

    def is_alive(self, owner: str) -> bool:
        """See `Ledger.is_alive`: whether the process that wrote a row still holds its lock."""
        try:
            with (self._owners / owner).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def attempts(self, purse: str | None = None) -> Iterator[Attempt]:
        """See `Ledger.attempts`."""
        where, values = ("WHERE purse = ?", (purse,)) if purse is not None else ("", ())
        for row in self._db.execute(f"SELECT {_LISTED} FROM attempts {where} ORDER BY id", values):
            yield Attempt(*row)

    def body(self, key: str) -> bytes | None:
        """See `Ledger.body`."""
        found = self._find(key).answer
        return None if found is None else found.body

    def load(self, kind: str, name: str) -> dict[str, Any] | None:
        """See `Ledger.load`."""
        row = self._db.execute("SELECT note FROM notes WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def save(self, kind: str, name: str, note: Mapping[str, Any]) -> None:
        """See `Ledger.save`."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (kind, name, json.dumps(dict(note))))

    def notes(self, kind: str) -> dict[str, dict[str, Any]]:
        """See `Ledger.notes`."""
        rows = self._db.execute("SELECT name, note FROM notes WHERE kind = ? ORDER BY name", (kind,))
        return {name: dict(json.loads(note)) for name, note in rows}


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return "full" in str(error)


def _full(place: Path) -> LedgerFullError:
    return LedgerFullError("the disk of the ledger is full", where=str(place.parent), mend="free some room, then go on")


def _require_database(path: Path) -> None:
    """See that a file is a database, or may become one, before anything is laid beside it.

    Raises:
        UserError: it is a folder, or a file of another kind.
    """
    if path.is_dir():
        raise UserError("this is a folder, not a ledger", where=str(path), mend="name the ledger's file")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(HEADER)) not in (b"", HEADER):
                raise UserError("this file is no ledger", where=str(path), mend="name another file")


def _translated(error: sqlite3.DatabaseError, path: Path) -> UserError:
    if _is_full(error):
        return _full(path)
    return UserError(
        f"the ledger cannot be used: {error}", where=str(path), mend="check the disk, or name another file"
    )
