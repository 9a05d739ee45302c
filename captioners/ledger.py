"""The paid-answer ledger: no answer that reached us is ever asked, or paid, again.

One SQLite file in WAL mode on a local disk serves all datasets. Every attempt is a row, written in this order, with
a sync to disk after each: *intent* (what the call may cost at worst) - send - *answered* with the raw body. An intent
whose process died is *in doubt*: it counts at its worst-case price. Money is held in billionths of the recipe's
currency, as integers, so that sums are exact. Keys, bodies and counts only: no address, no API key.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from schemas.errors import BudgetExceededError

NANO = 1_000_000_000
"""Units of money in one unit of the currency."""
HEADERS = frozenset(
    {"content-type", "date", "openai-model", "openai-processing-ms", "openai-version", "retry-after", "x-request-id"}
)
"""Response headers that are kept; those that begin with ``x-ratelimit-`` too. Cookies and tokens never are."""

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
    UNIQUE (key, attempt)
);
CREATE INDEX IF NOT EXISTS attempts_by_state ON attempts (state);
CREATE TABLE IF NOT EXISTS purses (purse TEXT PRIMARY KEY, held_nano INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Answer:
    """An answer that was paid for."""

    body: bytes
    """Raw body as it came."""
    tokens_in: int
    """Billed input tokens."""
    tokens_out: int
    """Billed output tokens."""
    cost_nano: int
    """What it cost."""


class Ledger:
    """One process's handle on the ledger file.

    Several processes of one machine may hold it at once; each locks a file of its own beside it, by which the others
    tell the living from the dead. Methods may be called from any one thread at a time.

    Args:
        path: the SQLite file; made with its folder where absent. Must lie on a local disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = uuid.uuid4().hex
        self._owners = path.with_name(path.name + ".owners")
        self._owners.mkdir(parents=True, exist_ok=True)
        self._lock: IO[bytes] = (self._owners / self.owner).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._db = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self.recover()

    def close(self) -> None:
        """Give the file back."""
        self._db.close()
        (self._owners / self.owner).unlink(missing_ok=True)
        self._lock.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def recover(self) -> int:
        """Mark the intents of dead processes as in doubt; how many there were."""
        with self._transaction() as db:
            owners = [row[0] for row in db.execute("SELECT DISTINCT owner FROM attempts WHERE state = 'intent'")]
            dead = [owner for owner in owners if owner != self.owner and not self._is_alive(owner)]
            count = 0
            for owner in dead:
                changed = db.execute(
                    "UPDATE attempts SET state = 'doubt', ended_utc = ?, error = 'process died'"
                    " WHERE state = 'intent' AND owner = ?",
                    (_now(), owner),
                )
                count += changed.rowcount
                (self._owners / owner).unlink(missing_ok=True)
        return count

    def _is_alive(self, owner: str) -> bool:
        """Whether the process that wrote a row still holds its lock."""
        try:
            with (self._owners / owner).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def answer(self, key: str) -> Answer | None:
        """The answer to a request, if one was ever received."""
        row = self._db.execute(
            "SELECT body, tokens_in, tokens_out, cost_nano FROM attempts"
            " WHERE key = ? AND state = 'answered' ORDER BY attempt LIMIT 1",
            (key,),
        ).fetchone()
        return None if row is None else Answer(bytes(row[0]), *row[1:])

    def doubts(self, key: str) -> int:
        """How many attempts at a request are in doubt."""
        row = self._db.execute("SELECT COUNT(*) FROM attempts WHERE key = ? AND state = 'doubt'", (key,)).fetchone()
        return int(row[0])

    def intend(self, key: str, *, purse: str, purpose: str, model: str, worst_nano: int, limit_nano: int) -> int:
        """Write down that a call is about to be sent, on disk when this returns; the row's id.

        Raises:
            BudgetExceededError: with this call at its worst price the purse would hold more than the limit.
        """
        with self._transaction() as db:
            held = self._held(purse)
            if held + worst_nano > limit_nano:
                raise BudgetExceededError(
                    f"the next call could cost {worst_nano / NANO:.6f};"
                    f" {held / NANO:.6f} of {limit_nano / NANO:.6f} is spent or held"
                )
            attempt = db.execute("SELECT COALESCE(MAX(attempt), 0) + 1 FROM attempts WHERE key = ?", (key,)).fetchone()[
                0
            ]
            row = db.execute(
                "INSERT INTO attempts (key, attempt, owner, purse, purpose, model, state, started_utc, cost_nano)"
                " VALUES (?, ?, ?, ?, ?, ?, 'intent', ?, ?)",
                (key, attempt, self.owner, purse, purpose, model, _now(), worst_nano),
            )
            self._hold(purse, worst_nano)
            return int(row.lastrowid or 0)

    def answered(
        self,
        row: int,
        *,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        tokens_in: int,
        tokens_out: int,
        cost_nano: int,
    ) -> None:
        """Keep an answer, on disk when this returns, before anything is done with it."""
        fields = (status, json.dumps(kept_headers(headers)), body, tokens_in, tokens_out)
        self._end(
            row, "answered", cost_nano, "status = ?, headers = ?, body = ?, tokens_in = ?, tokens_out = ?", fields
        )

    def refused(self, row: int, *, status: int, headers: Mapping[str, str], error: str) -> None:
        """The server answered with an error: nothing was billed."""
        fields = (status, json.dumps(kept_headers(headers)), error[:500])
        self._end(row, "refused", 0, "status = ?, headers = ?, error = ?", fields)

    def unsent(self, row: int, error: str) -> None:
        """The call never left: nothing was billed."""
        self._end(row, "refused", 0, "error = ?", (error[:500],))

    def doubtful(self, row: int, error: str) -> None:
        """The call was sent and no answer came: it counts at its worst price."""
        self._end(row, "doubt", None, "error = ?", (error[:500],))

    def _end(self, row: int, state: str, cost_nano: int | None, columns: str, values: tuple[Any, ...]) -> None:
        with self._transaction() as db:
            purse, worst = db.execute("SELECT purse, cost_nano FROM attempts WHERE id = ?", (row,)).fetchone()
            cost = worst if cost_nano is None else cost_nano
            db.execute(
                f"UPDATE attempts SET state = ?, ended_utc = ?, cost_nano = ?, {columns} WHERE id = ?",
                (state, _now(), cost, *values, row),
            )
            self._hold(purse, cost - worst)

    def _hold(self, purse: str, nano: int) -> None:
        self._db.execute(
            "INSERT INTO purses (purse, held_nano) VALUES (?, ?)"
            " ON CONFLICT (purse) DO UPDATE SET held_nano = held_nano + excluded.held_nano",
            (purse, nano),
        )

    def _held(self, purse: str) -> int:
        row = self._db.execute("SELECT held_nano FROM purses WHERE purse = ?", (purse,)).fetchone()
        return 0 if row is None else int(row[0])

    def totals(self, purse: str | None = None) -> dict[str, Any]:
        """attempts by state, tokens and cost: of one purse, or of the whole ledger."""
        where, values = ("WHERE purse = ?", (purse,)) if purse is not None else ("", ())
        rows = self._db.execute(
            "SELECT state, COUNT(*), SUM(tokens_in), SUM(tokens_out), SUM(cost_nano)"
            f" FROM attempts {where} GROUP BY state ORDER BY state",
            values,
        ).fetchall()
        return {
            "attempts": {row[0]: row[1] for row in rows},
            "tokens_in": sum(row[2] for row in rows),
            "tokens_out": sum(row[3] for row in rows),
            "cost": sum(row[4] for row in rows) / NANO,
        }


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be stored (`HEADERS`), in lower case and in order."""
    low = {name.lower(): value for name, value in headers.items()}
    return {name: low[name] for name in sorted(low) if name in HEADERS or name.startswith("x-ratelimit-")}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
