"""What a run tells whoever watches it: stages with counts. The lobby draws the bar; tests and the night need none."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Progress(Protocol):
    """Something that watches a run."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage begins; ``done`` of its units were finished by an earlier run."""
        ...

    def advance(self, stage: str, units: int = 1) -> None:
        """Units of a stage are finished."""
        ...

    def finish(self, stage: str) -> None:
        """A stage ends."""
        ...


class Silent:
    """Watches nothing."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Nothing."""

    def advance(self, stage: str, units: int = 1) -> None:
        """Nothing."""

    def finish(self, stage: str) -> None:
        """Nothing."""


watcher: ContextVar[Progress] = ContextVar("watcher")
"""Who watches the run in this context."""


def current() -> Progress:
    """The watcher of this context, or one that does nothing."""
    return watcher.get(Silent())
