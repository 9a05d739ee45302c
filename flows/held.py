"""What holds for the length of a call, and no longer: the next run of this process has its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def holding(slot: ContextVar[T], value: T) -> Iterator[None]:
    """A context variable with this value, and afterwards as it was."""
    before = slot.set(value)
    try:
        yield
    finally:
        slot.reset(before)
