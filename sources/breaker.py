"""A catalog that fails again and again is left alone for a while: `Breaker`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import CatalogError, SourceError
from sources.retry import is_transient

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class CatalogRestingError(CatalogError):
    """The catalog failed so often that it is not asked for now."""

    permanent = False


@dataclass
class _State:
    failures: int = 0
    open_until: float = 0.0
    on_trial: bool = False


class Breaker:
    """Counts failures by name: closed (asks), open (refuses at once), half open (one caller tries).

    Only what may go better the next time counts: 5xx, resets, stalls, throttling. A catalog that lacks a collection
    is not unwell.

    Args:
        failures: so many in a row open it.
        rest_s: how long it stays open; then one call is let through, and its success closes it.
        now: monotonic seconds.
    """

    def __init__(self, failures: int = 5, rest_s: float = 120.0, now: Callable[[], float] = time.monotonic) -> None:
        self.failures, self.rest_s, self.now = failures, rest_s, now
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()

    def call(self, name: str, call: Callable[[], Result]) -> Result:
        """What the call returns.

        Raises:
            CatalogRestingError: it was not made, because the name rests.
            SourceError: the call's own.
        """
        with self._lock:
            state = self._states.setdefault(name, _State())
            if state.failures >= self.failures:
                left = state.open_until - self.now()
                if left > 0 or state.on_trial:
                    raise CatalogRestingError(f"{name} failed {state.failures} times and rests {max(left, 0.0):.0f} s")
                state.on_trial = True
        try:
            result = call()
        except SourceError as error:
            self._count(name, is_transient(error))
            raise
        except BaseException:
            state.on_trial = False
            raise
        self._count(name, is_failure=False)
        return result

    def _count(self, name: str, is_failure: bool) -> None:
        with self._lock:
            state = self._states[name]
            state.on_trial = False
            state.failures = state.failures + 1 if is_failure else 0
            if state.failures >= self.failures:
                state.open_until = self.now() + self.rest_s
                log.warning("%s failed %d times and rests %.0f s", name, state.failures, self.rest_s)
