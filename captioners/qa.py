"""Questions whose answers are computed from the facts: presence, share, comparison, count, position, relation.

Multiple choice stands in `qa_choice`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from captioners import qa_choice
from captioners.facts_osm import kinds
from captioners.lexicon import Noun, concepts_of, nouns_of
from captioners.number_words import Choice
from captioners.phrasing import capital
from captioners.question import Question
from captioners.reading import ClassReading, Reading
from captioners.regions import PLACE_WORDS, QUADRANT_NAMES, QUADRANTS, SPREAD

COMPARE_GAP = 2.0
"""Points of share by which two classes must differ before they are compared."""
THRESHOLDS = (10, 25, 50, 75)
"""Percent that yes-or-no questions about a share ask for; the share must lie 2 points away."""


def questions(reading: Reading, choice: Choice) -> list[Question]:
    """At most twelve questions, of every style that the facts allow."""
    if not reading.classes:
        return []
    asked = [question for maker in (*MAKERS, *qa_choice.MAKERS) for question in maker(reading, choice)]
    return asked if reading.is_complete else [_of_what_is_mapped(question) for question in asked]


def _of_what_is_mapped(question: Question) -> Question:
    """The question asked of the ground that has a class alone: what covers most of a scene of which a tenth has one
    nobody knows. What is there is there, and of OpenStreetMap its own count is asked.
    """
    text = question.question
    if question.style == "bool" or not question.visible or "mapped part" in text:
        return question
    return replace(question, question=f"On the mapped part of the scene, {text[:1].lower()}{text[1:]}")


def _noun(one: ClassReading | str, choice: Choice, slot: str) -> Noun:
    return choice.one(f"qa/{slot}", nouns_of(one if isinstance(one, str) else one.noun))


def _presence(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Is there any ...? A class of at least 1 %, or one that is surely absent: as the chip's own coin falls.

    Surely absent: every pixel has another class, and neither another class nor the map brings the idea with it
    (no "no trees" over mangroves, no "nothing built" where the map has a house).
    """
    held_nouns = (*(one.noun for one in reading.classes), *(one.noun for one in reading.features))
    held_concepts = frozenset().union(*map(concepts_of, held_nouns))
    absent = [(code, noun) for code, noun in reading.absent if not held_concepts & concepts_of(noun, own=True)]
    if choice.number("qa/coin") % 2 and reading.is_complete and absent:
        code, noun = choice.one("qa/absent", absent)
        name = _noun(noun, choice, "absent")
        answer = "No"
    else:
        held = [one for one in reading.classes if one.share >= 1.0]
        one = choice.one("qa/held", held)
        code, name, answer = one.code, _noun(one, choice, "held"), "Yes"
    verb = "Are" if name.plural else "Is"
    rows = (f"{verb} there any {name.text} in the scene?", f"Does the scene contain any {name.text}?")
    yield Question("bool", choice.one("qa/presence", rows), answer, (f"share.{code}",))


def _share(reading: Reading, choice: Choice) -> Iterator[Question]:
    """What share ...? Answered to the nearest percent."""
    one = choice.one("qa/share", [c for c in reading.classes if c.share >= 1.0])
    name, ground = _noun(one, choice, "share"), reading.ground
    rows = (
        f"What percentage of {ground} is covered by {name.full}?",
        f"How much of {ground} is {name.full}, in percent?",
        f"What share of {ground} {'do' if name.plural else 'does'} {name.full} take up, in percent?",
    )
    yield Question("share", choice.one("qa/share/row", rows), f"{round(one.share)}%", (one.share_id,))


def _threshold(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Is more than so much ...? Where the share is not too near the threshold; answered other than the first."""
    able = [(c, t) for c in reading.classes if c.share >= 2.0 for t in THRESHOLDS if abs(c.share - t) >= 2.0]
    want = "No" if next(_presence(reading, choice)).answer == "Yes" else "Yes"
    fitting = [(c, t) for c, t in able if ("Yes" if c.share > t else "No") == want] or able
    one, threshold = choice.one("qa/threshold", fitting)
    name = _noun(one, choice, "threshold")
    quantity = "half" if threshold == 50 else f"{threshold}%"
    text = f"Is more than {quantity} of {reading.ground} covered by {name.full}?"
    yield Question("bool", text, "Yes" if one.share > threshold else "No", (one.share_id,))


def _comparison(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Which of two classes covers more? In an order that does not give it away."""
    classes = reading.classes
    pairs = [(a, b) for i, a in enumerate(classes) for b in classes[i + 1 :] if a.share - b.share >= COMPARE_GAP]
    if not pairs:
        return
    larger, smaller = choice.one("qa/comparison", pairs)
    names = [_noun(one, choice, "comparison").full for one in (larger, smaller)]
    first, second = names if choice.number("qa/comparison/order") % 2 else names[::-1]
    rows = (
        f"Which covers more ground, {first} or {second}?",
        f"Of {first} and {second}, which takes up more of {reading.ground}?",
    )
    text, facts = choice.one("qa/comparison/row", rows), (larger.share_id, smaller.share_id)
    yield Question("comparison", text, capital(names[0]), facts, (capital(first), capital(second)))


def _quadrant(reading: Reading, choice: Choice) -> Iterator[Question]:
    """What covers most of one quadrant? Where its leader is ahead by 5 points."""
    able = []
    for region in QUADRANTS:
        shares = sorted(
            ((reading.region_share(one.code, region) or 0.0, one) for one in reading.classes),
            key=lambda row: (-row[0], row[1].code),
        )
        if shares[0][0] >= (shares[1][0] if len(shares) > 1 else 0.0) + 5.0:
            able.append((region, shares[0][1]))
    if not able:
        return
    region, one = choice.one("qa/quadrant", able)
    name = _noun(one, choice, "quadrant")
    text = f"Which land cover takes up most ground in the {QUADRANT_NAMES[region]} quarter?"
    facts = tuple(
        f"share.{c.code}.{region}" for c in reading.classes if reading.region_share(c.code, region) is not None
    )
    yield Question("position", text, capital(name.full), facts)


def _place(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Where does most of a class lie?"""
    able = [one for one in reading.classes if one.place and one.place != SPREAD and one.share < 75.0]
    if not able:
        return
    one = choice.one("qa/place", able)
    name = _noun(one, choice, "place")
    text = f"Where {'do' if name.plural else 'does'} most of the {name.text} lie?"
    facts = (f"place.{one.code}", f"place.{one.code}.fraction")
    yield Question("position", text, capital(PLACE_WORDS[one.place][0]), facts)


def _patches(reading: Reading, choice: Choice) -> Iterator[Question]:
    """How many separate patches? Only where a person could count them (at most ten)."""
    able = [one for one in reading.classes if 1 <= int(one.patches.get("count", 0)) <= 10 and one.share >= 1.0]
    if not able:
        return
    one = choice.one("qa/patches", able)
    name = _noun(one, choice, "patches")
    text = f"How many separate patches of {name.text} are there?"
    yield Question("count", text, str(one.patches["count"]), (f"patches.{one.code}.count",))


def _buildings(reading: Reading, choice: Choice) -> Iterator[Question]:
    """How many of a kind does the map show? Asked of the map, since the map may lack some."""
    able = [one for one in reading.features if "count" in one.values]
    if not able:
        return
    one = choice.one("qa/osm", able)
    noun = next(kind.plural for kind in kinds() if kind.name == one.kind)
    text = f"How many {noun} does OpenStreetMap show here?"
    yield Question("count", text, str(one.values["count"]), (f"osm.{one.kind}.count",), visible=False)


def _relation(reading: Reading, choice: Choice) -> Iterator[Question]:
    """In which direction from one class's largest patch lies another's?"""
    able = [f for f in reading.sheet.facts if f.kind == "relation" and f.unit == "direction"]
    if not able:
        return
    fact = choice.one("qa/relation", able)
    by_code = {one.code: one for one in reading.classes}
    a, b = (by_code[int(code)] for code in fact.fact_id.split(".")[1:])
    one, other = _noun(a, choice, "relation/a").text, _noun(b, choice, "relation/b").text
    rows = (
        f"In which direction does the largest patch of {one} lie, seen from the largest patch of {other}?",
        f"Seen from the largest patch of {other}, in which direction is the largest patch of {one}?",
    )
    yield Question("relation", choice.one("qa/relation/row", rows), capital(str(fact.value)), (fact.fact_id,))


def _sides(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Does one patch lie north (south, east, west) of another? Yes or no as the chip's coin falls."""
    able = [f for f in reading.sheet.facts if f.kind == "relation" and f.unit == "direction"]
    plain = [f for f in able if str(f.value) in _OPPOSITE]
    if not plain:
        return
    fact = choice.one("qa/sides", plain)
    by_code = {one.code: one for one in reading.classes}
    a, b = (by_code[int(code)] for code in fact.fact_id.split(".")[1:])
    is_so = choice.number("qa/sides/coin") % 2 == 0
    side = str(fact.value) if is_so else _OPPOSITE[str(fact.value)]
    one, other = _noun(a, choice, "sides/a").text, _noun(b, choice, "sides/b").text
    text = f"Does the largest patch of {one} lie to the {side} of the largest patch of {other}?"
    yield Question("relation", text, "Yes" if is_so else "No", (fact.fact_id,))


_OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


MAKERS = (_presence, _share, _threshold, _comparison, _quadrant, _place, _patches, _buildings, _relation, _sides)
