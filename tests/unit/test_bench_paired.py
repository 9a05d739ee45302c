"""Intervals of paired differences are Student's; a finding is shown, contradicted, or neither."""

from __future__ import annotations

import pytest
from scipy.stats import ttest_rel

from bench.paired import difference, verdict


@pytest.mark.parametrize("sure", [0.95, 0.975])
def test_the_interval_is_that_of_a_paired_t_test(sure: float) -> None:
    one, other = (0.51, 0.60, 0.72, 0.55), (0.44, 0.58, 0.60, 0.56)
    row = difference("x", one, other, sure)
    known = ttest_rel(one, other).confidence_interval(sure)
    assert (row["low"], row["high"]) == (round(100 * known.low, 2), round(100 * known.high, 2))
    assert (row["mean"], row["worlds"], row["each"]) == (5.0, 4, "+7.0 +2.0 +12.0 -1.0")


def test_a_finding_is_shown_by_every_difference_and_contradicted_by_one() -> None:
    above, around, below = ({"low": low, "high": low + 2} for low in (1, -1, -3))
    assert verdict([above, above]) == "shown"
    assert verdict([above, around]) == "not shown"
    assert verdict([above, below]) == "contradicted"
