"""A sample of what `bench/verifier.py` measures: planted errors of every kind are found, true sentences pass."""

from __future__ import annotations

import pytest

from bench.verifier import FALSE_ALARMS, FOUND, measure
from bench.verifier_cases import KINDS, cases, handwritten

COUNT = 12


@pytest.mark.parametrize("kind", KINDS)
def test_planted_errors_of_a_kind_are_found_and_true_sentences_pass(kind: str) -> None:
    row = measure(kind, cases(kind, COUNT, first_seed=7_000_000))
    assert (row["errors"], row["true"]) == (COUNT, COUNT)
    assert row["found"] >= COUNT - 1, row["examples"]
    assert row["doubted"] == 0, row["examples"]


def test_sentences_written_by_hand_are_told_apart() -> None:
    row = measure("written by hand", handwritten())
    assert row["errors"] >= 90
    assert row["true"] >= 40
    assert row["found_share"] >= FOUND, row["examples"]
    assert row["false_alarms"] <= FALSE_ALARMS, row["examples"]


def test_a_verifier_that_sees_nothing_or_everything_would_fail_here() -> None:
    pairs = list(handwritten())
    blind = sum(not case.is_true for _, case in pairs)
    assert 0 < blind < len(pairs)
    swapped = [(chip, type(case)(case.kind, case.text, case.facts, not case.is_true)) for chip, case in pairs]
    row = measure("swapped", swapped)
    assert row["found_share"] < 0.1
    assert row["false_alarms"] > 0.9
