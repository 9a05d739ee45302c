"""The paid-answer ledger: no answer that reached us is ever asked, or paid, again.

It serves all datasets and lies outside them: one SQLite file on a local disk (`captioners.ledger_sqlite`), or one
object per attempt in an object store (`captioners.ledger_objects`). Every attempt is written in this order, each step
safe on disk before the next: *intent* (what the call may cost at worst) - send - *answered* with the raw body, and
only then is the body parsed. An intent whose process died is *in doubt*: it counts at its worst price. Money is held
in billionths of the currency, as integers, so that sums are exact. Keys, bodies and counts only: no address, no API
key; response headers pass an allow-list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from schemas.errors import BudgetExceededError, UserError
from schemas.model_profile import NANO as NANO
from shards.storage import StoreOptions

State = Literal["intent", "answered", "refused", "doubt"]
HEADERS = frozenset(
    {"content-type", "date", "openai-model", "openai-processing-ms", "openai-version", "retry-after", "x-request-id"}
)
"""Response headers that are kept; those that begin with ``x-ratelimit-`` too. Cookies and tokens never are."""


class LedgerFullError(UserError):
    """The ledger cannot be written to: nothing more may be sent."""


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


@dataclass(frozen=True)
class Found:
    """What the ledger knows of a request."""

    answer: Answer | None = None
    """The answer, if one was ever received."""
    doubts: int = 0
    """Attempts in doubt."""
    in_flight: bool = False
    """Whether a living process, this one included, is waiting for an answer to it."""
    in_batch: bool = False
    """Whether a batch that has not ended holds it."""

    def settles(self, intent: Intent) -> bool:
        """Whether there is nothing to ask."""
        return self.answer is not None or self.in_flight or self.doubts >= intent.most_doubts


@dataclass(frozen=True)
class Find:
    """Look a request up."""

    key: str
    """Its key."""


@dataclass(frozen=True)
class Intent:
    """A call is about to be sent."""

    key: str
    """Key of the request."""
    purse: str
    """Name under which the budget is kept."""
    purpose: str
    """write, repair or probe."""
    model: str
    """Model asked."""
    worst_nano: int
    """What it may cost at worst."""
    limit_nano: int
    """What the purse may hold."""
    subject: str = ""
    """The chip."""
    worst_tokens: int = 0
    """Tokens it may take at worst."""
    limit_tokens: int = 0
    """Tokens that the purse may hold; 0: any number."""
    batch: str = ""
    """Our own name of the batch it goes with: its fate is the batch's, whatever becomes of this process."""
    most_doubts: int = 1_000_000
    """With so many attempts in doubt it is not asked again."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    row: str
    """The attempt, as `Intent` returned it."""
    state: State
    """answered; refused (nothing was billed); doubt (sent, and no answer came)."""
    status: int | None = None
    """HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Response headers; the allowed ones are kept."""
    body: bytes | None = None
    """Raw body of an answer."""
    error: str = ""
    """What went wrong, without secrets."""
    tokens_in: int = 0
    """Billed input tokens."""
    tokens_out: int = 0
    """Billed output tokens."""
    tokens_cached: int = 0
    """Of the input, those that the server had cached."""
    cost_nano: int | None = 0
    """What it cost; None: the worst that was written down."""


Step = Find | Intent | Ending


@dataclass(frozen=True)
class Attempt:
    """One attempt, for lists and sums; without the body."""

    row: str
    """Its name."""
    key: str
    """Key of the request."""
    attempt: int
    """1, 2, ..."""
    purse: str
    """Under which budget."""
    purpose: str
    """write, repair or probe."""
    model: str
    """Model asked."""
    state: State
    """How it stands."""
    subject: str
    """The chip."""
    started_utc: str
    """ISO time."""
    ended_utc: str
    """ISO time; empty while in flight."""
    status: int | None
    """HTTP status."""
    error: str
    """What went wrong."""
    tokens_in: int
    """Billed input tokens."""
    tokens_out: int
    """Billed output tokens."""
    tokens_cached: int
    """Of the input, cached ones."""
    cost_nano: int
    """What it cost, or may have cost."""
    batch: str
    """Batch it went with."""


class Ledger(Protocol):
    """One process's handle on a ledger. Methods may be called from any one thread at a time."""

    owner: str
    """This handle's own name."""

    def apply(self, steps: Sequence[Step]) -> list[Any]:
        """Do all steps at once, safe on disk when this returns; one result for each.

        `Find` gives `Found`; `Intent` the attempt's name, or what was `Found` where there is nothing to ask (there is
        an answer, somebody waits for one, or too many attempts are in doubt), or the `BudgetExceededError` by which the
        purse refuses it; `Ending` None.

        Raises:
            LedgerFullError: nothing was written.
        """
        ...

    def recover(self) -> int:
        """Mark the intents of dead processes as in doubt; how many there were."""
        ...

    def is_alive(self, owner: str) -> bool:
        """Whether another handle, by its own name, is still held by somebody."""
        ...

    def attempts(self, purse: str | None = None) -> Iterator[Attempt]:
        """All attempts, of one purse where it is named, in the order in which they began."""
        ...

    def body(self, key: str) -> bytes | None:
        """Raw body of the answer to a request."""
        ...

    def load(self, kind: str, name: str) -> dict[str, Any] | None:
        """A note: what a server can (kind ``server``), how a batch stands (``batch``)."""
        ...

    def save(self, kind: str, name: str, note: Mapping[str, Any]) -> None:
        """Keep a note, safe on disk when this returns."""
        ...

    def notes(self, kind: str) -> dict[str, dict[str, Any]]:
        """All notes of a kind by name."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


@dataclass(frozen=True)
class LedgerPlace:
    """Where a ledger lies."""

    place: str
    """A file on a local disk, or ``s3://bucket/prefix`` (``gs://``, ``az://``)."""
    store: StoreOptions = field(default_factory=StoreOptions)
    """How object stores are reached."""


def open_ledger(where: LedgerPlace) -> Ledger:
    """The ledger at a path or an address; made where there is none."""
    if "://" in where.place:
        from captioners.ledger_objects import ObjectLedger

        return ObjectLedger(where.place, where.store)
    from captioners.ledger_sqlite import SqliteLedger

    return SqliteLedger(Path(where.place))


def refusal(intent: Intent, held_nano: int, held_tokens: int) -> BudgetExceededError | None:
    """Why a purse that holds so much refuses a call; None where it lets it through."""
    if held_nano + intent.worst_nano > intent.limit_nano:
        return BudgetExceededError(
            f"the next call could cost {intent.worst_nano / NANO:.6f};"
            f" {held_nano / NANO:.6f} of {intent.limit_nano / NANO:.6f} is spent or held"
        )
    if intent.limit_tokens and held_tokens + intent.worst_tokens > intent.limit_tokens:
        return BudgetExceededError(
            f"the next call could take {intent.worst_tokens} tokens;"
            f" {held_tokens} of {intent.limit_tokens} are spent or held"
        )
    return None


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that may be stored (`HEADERS`), in lower case and in order."""
    low = {name.lower(): value for name, value in headers.items()}
    return {name: low[name] for name in sorted(low) if name in HEADERS or name.startswith("x-ratelimit-")}


def totals(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Attempts by state, tokens and cost."""
    states: dict[str, int] = {}
    tokens_in = tokens_out = cost_nano = 0
    for one in attempts:
        states[one.state] = states.get(one.state, 0) + 1
        tokens_in, tokens_out, cost_nano = (
            tokens_in + one.tokens_in,
            tokens_out + one.tokens_out,
            cost_nano + one.cost_nano,
        )
    return {
        "attempts": dict(sorted(states.items())),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost": cost_nano / NANO,
    }


def now_utc() -> str:
    """The time, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
