"""Trying again: named predicates and a bounded exponential back-off that honours ``Retry-After``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import AccessDeniedError, DecodeError, SourceError, ThrottledError, TransientSourceError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Predicate = Callable[[SourceError], bool]


def is_throttled(error: SourceError) -> bool:
    """The server asks us to wait."""
    return isinstance(error, ThrottledError)


def is_transient(error: SourceError) -> bool:
    """May go better the next time: a 5xx, a reset, a stall, or throttling."""
    return isinstance(error, (TransientSourceError, ThrottledError))


def is_denied(error: SourceError) -> bool:
    """The signature may have run out: sign once more."""
    return isinstance(error, AccessDeniedError)


def is_garbled(error: SourceError) -> bool:
    """The bytes are no raster: so they lie there, or they were cut or changed on their way, and then not twice."""
    return isinstance(error, DecodeError)


def _never(error: SourceError) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how long."""

    attempts: int = 5
    """Tries of one address."""
    first_s: float = 0.5
    """First pause."""
    factor: float = 2.0
    """Each pause is this times the one before."""
    longest_s: float = 60.0
    """No pause is longer, whatever the server asks for."""

    def pause_s(self, attempt: int, error: SourceError, jitter: float = 0.0) -> float:
        """Seconds to wait after the attempt of that number (from 1); at least what the server asked for.

        >>> [Backoff().pause_s(n, TransientSourceError("")) for n in (1, 2, 3)]
        [0.5, 1.0, 2.0]
        """
        pause = self.first_s * self.factor ** (attempt - 1) * (1.0 + jitter)
        asked = error.retry_after_s if isinstance(error, ThrottledError) else None
        return min(self.longest_s, max(pause, asked or 0.0))


PATIENCE = Backoff()
"""How catalogs and assets are asked."""


def call_with_retries(
    call: Callable[[], Result],
    *,
    sleep: Callable[[float], object],
    backoff: Backoff = PATIENCE,
    retry_if: Predicate = is_transient,
    once_if: Predicate = _never,
    jitter: Callable[[], float] = lambda: 0.0,
    refresh: Callable[[str], None] | None = None,
) -> Result:
    """What the call returns, tried again while the predicate holds and attempts are left.

    Attempts are counted by address: a call that reads twelve files, each of which fails once, goes well.

    Args:
        call: raises `SourceError` where it fails; any other exception passes through.
        sleep: how to wait; the caller's, so that a test need not.
        backoff: how often and how long.
        retry_if: which errors are worth another try.
        once_if: which errors are worth one more try of an address, and not two.
        jitter: share of the pause to add, 0..1, against many callers in step.
        refresh: makes the signature or token of an address anew; an address that was refused is tried once more then.

    Raises:
        SourceError: the last one, with the number of attempts made.
    """
    if backoff.attempts < 1:
        raise ValueError("backoff.attempts must be at least 1")
    tries: Counter[str] = Counter()
    refreshed: set[str] = set()
    while True:
        try:
            return call()
        except SourceError as error:
            tries[error.url] += 1
            attempt = tries[error.url]
            if refresh is not None and is_denied(error) and error.url not in refreshed:
                refreshed.add(error.url)
                refresh(error.url)
                continue
            if attempt >= backoff.attempts or not (retry_if(error) or (attempt == 1 and once_if(error))):
                raise type(error)(error.what, error.url, attempt) from error
            pause = backoff.pause_s(attempt, error, jitter())
            log.info("attempt %d of %d failed, again in %.1f s: %s", attempt, backoff.attempts, pause, error)
            sleep(pause)
