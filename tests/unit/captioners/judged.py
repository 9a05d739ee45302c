"""A made-up chip's verifier with the ids of its facts, and what a sentence about it breaks."""

from __future__ import annotations

from captioners.facts import Evidence, describe
from captioners.reading import read_sheet
from captioners.verify import Verifier

Judge = tuple[Verifier, tuple[str, ...]]
"""The verifier of a chip, and the ids of facts that sentences about it cite."""


def judge_of(name: str, evidence: Evidence) -> Judge:
    """Of a chip by what is known of it; all of its facts are cited."""
    sheet, _ = describe(name, evidence)
    return Verifier(read_sheet(sheet)), tuple(fact.fact_id for fact in sheet.facts)


def broken(judge: Judge, text: str) -> set[str]:
    """The rules that a sentence breaks."""
    verifier, facts = judge
    return {one.rule for one in verifier.sentence(text, facts)}
