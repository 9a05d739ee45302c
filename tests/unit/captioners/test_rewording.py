from __future__ import annotations

import pytest

from captioners.question import Question
from captioners.rewording import check_question
from tests.unit.captioners.test_verify import chip


def test_questions_in_other_words_must_ask_the_same() -> None:
    verifier = chip()
    asked = Question("bool", "Is more than 25% of the scene covered by cropland?", "Yes", ("share.40",))
    assert check_question(asked, "Does cropland cover more than 25% of the scene?", verifier) == []
    for other in (
        "Does cropland cover less than 25% of the scene?",
        "Does cropland cover more than 50% of the scene?",
        "Do trees cover more than 25% of the scene?",
        "Does cropland cover more than 25% of the north-west?",
        "Is it not true that cropland covers more than 25%?",
        "Cropland covers more than 25%.",
    ):
        assert check_question(asked, other, verifier), other


@pytest.mark.parametrize(
    "other",
    [
        "Does cropland cover more than 25% of the scene beside the airport?",
        "Is there a stadium, and does cropland cover more than 25% of the scene?",
        "Does cropland with its parked cars cover more than 25% of the scene?",
    ],
)
def test_a_question_names_nothing_that_no_fact_names(other: str) -> None:
    asked = Question("bool", "Is more than 25% of the scene covered by cropland?", "Yes", ("share.40",))
    assert {v.rule for v in check_question(asked, other, chip())} & {"class", "visibility"}


@pytest.mark.parametrize(
    "other",
    [
        "Does cropland cover more than 25% of the scene? Yes, it does. Right?",
        "Cropland is the main cover. Does cropland cover more than 25% of the scene?",
        "Answer: does cropland cover more than 25% of the scene?",
        "Does cropland cover more than 25% of the scene (yes)?",
        "q1: Does cropland cover more than 25% of the scene?",
    ],
)
def test_a_question_does_not_come_with_its_answer(other: str) -> None:
    asked = Question("bool", "Is more than 25% of the scene covered by cropland?", "Yes", ("share.40",))
    assert check_question(asked, other, chip())


HALF = "Is more than half of the scene covered by cropland?"
ANY = "Is there any cropland in the scene?"
WHICH = "Which covers more ground, trees or water?"
MANY = "How many separate patches of trees are there?"
WHERE = "Where does most of the water lie?"
SEEN = "In which direction does the largest patch of trees lie, seen from the largest patch of water?"
SIDE = "Does the largest patch of trees lie to the north of the largest patch of water?"
QUARTER = "Which land cover takes up most ground in the north-western quarter?"
PERCENT = "What percentage of the scene is covered by trees?"


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        (HALF, "Does cropland cover over half of the scene?"),
        (ANY, "Can cropland be found in the scene?"),
        (WHICH, "Which takes up the larger area, trees or water?"),
        (MANY, "What is the number of distinct patches of trees?"),
        (WHERE, "Where is the water mainly located?"),
        (SEEN, "From the largest patch of water, where is the largest patch of trees?"),
        (SIDE, "Is the largest patch of trees north of the largest patch of water?"),
        (QUARTER, "What is the dominant land cover in the north-western quarter?"),
        (PERCENT, "Trees cover what percentage of the scene?"),
    ],
)
def test_an_honest_rewording_passes(asked: str, other: str) -> None:
    assert check_question(Question("", asked, "", ("share.40",)), other, chip()) == []


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        (HALF, "Is more than half of the scene uncovered by cropland?"),
        (HALF, "Does cropland fail to cover more than half of the scene?"),
        (HALF, "Is cropland on more than half of the scene's edge?"),
        (ANY, "Is cropland absent from the scene?"),
        (ANY, "Is the scene cropland-free?"),
        (ANY, "Is cropland the only cover of the scene?"),
        (WHICH, "Which is the lesser in extent, trees or water?"),
        (WHICH, "Which of trees and water is rarer?"),
        (MANY, "What is the share of trees?"),
        (WHERE, "Where is there water?"),
        (SEEN, "In which direction does the largest patch of water lie, seen from the largest patch of trees?"),
        (SIDE, "Does the largest patch of water lie to the north of the largest patch of trees?"),
        (SIDE, "Does the smallest patch of trees lie to the north of the smallest patch of water?"),
        (QUARTER, "Which land cover takes up most ground outside the north-western quarter?"),
        (PERCENT, "How many hectares of the scene are trees?"),
    ],
)
def test_a_rewording_whose_answer_could_be_another_is_refused(asked: str, other: str) -> None:
    assert check_question(Question("", asked, "", ("share.40",)), other, chip())
