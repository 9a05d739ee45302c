from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioners.number_words import (
    Choice,
    area_phrase,
    count_phrase,
    day_phrase,
    fraction_phrases,
    length_phrase,
    listing,
    percent_phrases,
)

WORTH = {
    "a fifth": 20, "a quarter": 25, "a third": 100 / 3, "two fifths": 40, "half": 50, "three fifths": 60,
    "two thirds": 200 / 3, "three quarters": 75, "four fifths": 80, "nine tenths": 90,
}  # fmt: skip


@given(st.floats(1e-4, 100, exclude_max=True))
def test_every_percent_phrase_is_true(percent: float) -> None:
    for phrase in percent_phrases(percent):
        figure = float(re.search(r"[\d.]+", phrase).group())  # type: ignore[union-attr]
        if phrase.startswith(("less than", "under")):
            assert percent < figure
        elif phrase.startswith(("more than", "over")):
            assert percent > figure
        elif phrase.startswith(("about", "roughly")) and figure % 5 == 0:
            assert abs(percent - figure) <= 2.5
        else:
            assert abs(percent - figure) <= 0.5
            assert 0 < figure < 100


@given(st.floats(0.01, 99.99))
def test_every_fraction_phrase_is_true(percent: float) -> None:
    for phrase in fraction_phrases(percent):
        word = next(w for w in sorted(WORTH, key=len, reverse=True) if phrase.endswith(w))
        if phrase.startswith(("just over", "a little more")):
            assert 0 < percent - WORTH[word] <= 4
        elif phrase.startswith(("just under", "not quite")):
            assert 0 < WORTH[word] - percent <= 4
        else:
            assert abs(percent - WORTH[word]) <= 2


@given(st.floats(1, 1e9))
def test_areas_and_lengths_are_within_half_a_unit_of_their_last_digit(size: float) -> None:
    for phrase, worth in (
        (area_phrase(size), {"m²": 1.0, "ha": 1e4, "km²": 1e6}),
        (length_phrase(size), {"m": 1.0, "km": 1e3}),
    ):
        figure, unit = phrase.replace(",", "").split()
        digits = len(figure.split(".")[1]) if "." in figure else 0
        zeros = 10 ** (len(figure) - len(figure.rstrip("0"))) if not digits else 1
        step = worth[unit] * (10.0**-digits if digits else zeros)
        assert abs(float(figure) * worth[unit] - size) <= step / 2 + 1e-6 * size + 0.5


@pytest.mark.parametrize(
    ("square_metres", "phrase"),
    [
        (100, "100 m²"),
        (6_240, "6,200 m²"),
        (9_960, "1.0 ha"),
        (34_000, "3.4 ha"),
        (340_000, "34 ha"),
        (1.24e6, "1.2 km²"),
    ],
)
def test_areas_as_people_say_them(square_metres: float, phrase: str) -> None:
    assert area_phrase(square_metres) == phrase


def test_counts_days_and_lists() -> None:
    assert [count_phrase(n) for n in (0, 3, 10, 11, 240)] == ["no", "three", "ten", "11", "240"]
    assert day_phrase("2022-06-05") == "5 June 2022"
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"


def test_choices_depend_on_seed_chip_and_slot_alone() -> None:
    options = list(range(1000))
    assert Choice(7, "u31-1").one("slot", options) == Choice(7, "u31-1").one("slot", options)
    assert len({Choice(seed, f"u31-{chip}").one("slot", options) for seed in (7, 8) for chip in range(50)}) > 90
    assert sorted(Choice(7, "x").shuffled("s", options)) == options
    assert Choice(7, "pinned").number("opening") == 1866029072
