"""A question with its computed answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question with its computed answer."""

    style: str
    """bool, share, comparison, count, position."""
    question: str
    """The question."""
    answer: str
    """The answer."""
    facts: tuple[str, ...]
    """Ids of the facts that give the answer."""
    options: tuple[str, ...] = ()
    """Choices offered, the answer among them."""
    visible: bool = True
    """Whether the picture alone could prove it."""
    category: str = ""
    """spatial, object, scene or quantity."""
