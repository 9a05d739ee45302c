"""Multiple choice: four options, one right; the right one stands at a place that the chip alone decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from captioners.lexicon import concepts_of, nouns_of
from captioners.number_words import Choice
from captioners.question import Question
from captioners.reading import ClassReading, Reading
from captioners.regions import PLACE_WORDS, QUADRANTS

OPTIONS = 4
"""So many options."""
LEAD = 5.0
"""Points by which the right answer must lead."""


def placed(answer: str, wrong: Sequence[str], choice: Choice, slot: str) -> list[str]:
    """The options with the right one at a place drawn evenly from all places."""
    options = choice.shuffled(f"{slot}/wrong", list(wrong))[: OPTIONS - 1]
    options.insert(choice.number(f"{slot}/place") % (len(options) + 1), answer)
    return options


def _name(noun: str, choice: Choice, slot: str) -> str:
    text = choice.one(slot, nouns_of(noun)).full
    return text[:1].upper() + text[1:]


def _others(reading: Reading, one: ClassReading) -> list[str]:
    """Nouns of other covers, none of which brings the idea of this one with it."""
    mine = concepts_of(one.noun)
    absent = [noun for _, noun in reading.absent if concepts_of(noun) and not mine & concepts_of(noun, own=True)]
    held = [other.noun for other in reading.classes if other.code != one.code]
    return [noun for noun in dict.fromkeys((*held, *absent)) if not concepts_of(one.noun, own=True) & concepts_of(noun)]


def _largest(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Which of four covers takes up most ground?"""
    classes = reading.classes
    second = classes[1].share if len(classes) > 1 else 0.0
    wrong = _others(reading, classes[0])
    if classes[0].share - second < LEAD or len(wrong) < OPTIONS - 1:
        return
    answer = _name(classes[0].noun, choice, "choice/largest/name")
    options = placed(answer, [_name(n, choice, f"choice/{n}") for n in wrong], choice, "choice/largest")
    if len(set(options)) < len(options):
        return
    rows = (
        "Which of these land covers takes up the most ground?",
        "Which of these is the main land cover?",
        "What covers most of the ground?",
    )
    text = choice.one("choice/largest/row", rows)
    yield Question("choice", text, answer, tuple(c.share_id for c in classes), tuple(options), category="scene")


def _where(reading: Reading, choice: Choice) -> Iterator[Question]:
    """In which quarter does most of a cover lie?"""
    able = [one for one in reading.classes if one.place in QUADRANTS and one.share < 75.0]
    if not able:
        return
    one = choice.one("choice/where", able)
    noun = choice.one("choice/where/noun", nouns_of(one.noun))
    words = {region: PLACE_WORDS[region][0].capitalize() for region in QUADRANTS}
    wrong = [words[region] for region in QUADRANTS if region != one.place]
    options = placed(words[one.place], wrong, choice, "choice/where")
    text = f"In which quarter {'do' if noun.plural else 'does'} most of the {noun.text} lie?"
    facts = (f"place.{one.code}", f"place.{one.code}.fraction")
    yield Question("choice", text, words[one.place], facts, tuple(options), category="spatial")


def _share(reading: Reading, choice: Choice) -> Iterator[Question]:
    """Which share is nearest? Four figures, 15 points apart or more."""
    able = [one for one in reading.classes if 2.0 <= one.share <= 98.0]
    if not able:
        return
    one = choice.one("choice/share", able)
    right = round(one.share)
    wrong = [value for value in range(right % 15, 100, 15) if value != right and value > 0]
    if len(wrong) < OPTIONS - 1:
        return
    options = placed(f"{right}%", [f"{value}%" for value in wrong], choice, "choice/share/options")
    noun = choice.one("choice/share/noun", nouns_of(one.noun))
    text = f"Which figure is nearest to the share of {reading.ground} under {noun.full}?"
    yield Question("choice", text, f"{right}%", (one.share_id,), tuple(options), category="quantity")


MAKERS: tuple[Callable[[Reading, Choice], Iterator[Question]], ...] = (_largest, _where, _share)
