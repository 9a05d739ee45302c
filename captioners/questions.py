"""Questions as texts."""

from __future__ import annotations

from collections.abc import Iterator

from captioners.qa import questions
from captioners.records import Chip, Told


def qa(chip: Chip) -> Iterator[Told]:
    """Every question that the facts allow, with its computed answer."""
    for question in questions(chip.reading, chip.choice):
        yield Told("qa", question.style, question=question)
