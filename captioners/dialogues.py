"""Dialogues put together from true sentences, and revisions that say a caption's facts in other words."""

from __future__ import annotations

from collections.abc import Iterator

from captioners.captions import long_caption, short_caption
from captioners.grounding import absent_covers
from captioners.lexicon import Noun
from captioners.number_words import Choice, percent_phrases
from captioners.parts import class_place, class_share, theme_sentence
from captioners.phrasing import Sentence, unmark
from captioners.reading import ClassReading
from captioners.records import Chip, Told
from captioners.sentences import Writer
from schemas.text import Turn

OPENINGS = (
    "What does this scene show?",
    "Describe the scene in one sentence.",
    "What is to be seen here?",
    "Give a short description of this image.",
    "What kind of place is this?",
)
SHARES = (
    "How much of it is {noun}?",
    "What share of the ground {verb} {noun} take up?",
    "How large is the share of {noun}?",
)
PLACES = ("Where {verb} the {noun} lie?", "In which part of the scene {be} the {noun}?", "And where {be} the {noun}?")
PRESENCE = ("{Be} there any {noun} here?", "Do you see any {noun}?", "Does the scene hold any {noun}?")
THEMES = ("How would you sum up the landscape?", "What is the overall character?", "What kind of landscape is it?")
SALTS = 24
"""So many other wordings are tried before a caption is left without a revision."""


def dialogue(chip: Chip) -> Iterator[Told]:
    """One dialogue of two to five questions; every answer is a sentence that the facts bear out."""
    choice = chip.choice
    if not chip.reading.classes:
        return
    rounds: list[tuple[str, Sentence]] = [(choice.one("dialogue/open", OPENINGS), short_caption(chip.writer)[0])]
    more = [*_share_round(chip), *_place_round(chip), *_absence_round(chip), *_theme_round(chip)]
    rounds += choice.shuffled("dialogue", more)[: 2 + choice.number("dialogue/length") % 3]
    turns = [
        turn
        for question, sentence in rounds
        for turn in (Turn(role="user", text=question), Turn(role="assistant", text=unmark(sentence.text)[0]))
    ]
    yield Told("dialogue", "turns", tuple(sentence for _, sentence in rounds), turns=tuple(turns))


def _main(chip: Chip, slot: str) -> ClassReading:
    return chip.choice.one(slot, [c for c in chip.reading.classes if c.share >= 1.0][:4])


def _ask(chip: Chip, slot: str, rows: tuple[str, ...], one: ClassReading) -> str:
    return _put(chip, slot, rows, chip.writer.noun(one, slot))


def _put(chip: Chip, slot: str, rows: tuple[str, ...], noun: Noun) -> str:
    """One of the questions about a cover, its verbs in the noun's number."""
    be, verb = ("are", "do") if noun.plural else ("is", "does")
    return chip.choice.one(slot, rows).format(noun=noun.text, be=be, Be=be.capitalize(), verb=verb)


def _share_round(chip: Chip) -> Iterator[tuple[str, Sentence]]:
    one = _main(chip, "dialogue/share")
    yield _ask(chip, "dialogue/share/ask", SHARES, one), class_share(chip, one)


def _place_round(chip: Chip) -> Iterator[tuple[str, Sentence]]:
    able = [c for c in chip.reading.classes if c.place and 1.0 <= c.share < 75.0]
    if able:
        one = chip.choice.one("dialogue/place", able)
        yield _ask(chip, "dialogue/place/ask", PLACES, one), class_place(chip, one)[0]


def _absence_round(chip: Chip) -> Iterator[tuple[str, Sentence]]:
    """A question after what is not there, or after what is, as the chip's coin falls."""
    absent = absent_covers(chip)
    if absent and chip.choice.number("dialogue/coin") % 2:
        code, noun = chip.choice.one("dialogue/absent", absent)
        text = chip.writer.phrase("denial", {"absent": noun.text})
        yield _put(chip, "dialogue/presence", PRESENCE, noun), Sentence(text, (f"share.{code}",))
        return
    one = _main(chip, "dialogue/held")
    if one.share >= 100.0:
        return
    values = chip.writer.class_values([one], "dialogue/held")
    figure = chip.choice.one("dialogue/figure", percent_phrases(one.share))
    text = f"Yes, {values['a']} {values['covers_a']} {figure} of {chip.writer.scene}."
    question = _put(chip, "dialogue/presence", PRESENCE, chip.writer.noun(one, "dialogue/held"))
    yield question, Sentence(text, (one.share_id,))


def _theme_round(chip: Chip) -> Iterator[tuple[str, Sentence]]:
    sentence = theme_sentence(chip)
    if sentence is not None:
        yield chip.choice.one("dialogue/theme", THEMES), sentence


def revision(chip: Chip) -> Iterator[Told]:
    """The short and the long caption once more, in other words: the same facts, another wording."""
    for style in ("short", "long"):
        first = caption_of(chip, style, "")
        facts = {fact for sentence in first for fact in sentence.facts}
        text = " ".join(sentence.text for sentence in first)
        for number in range(1, SALTS + 1):
            other = caption_of(chip, style, f"#{number}")
            same = {fact for sentence in other for fact in sentence.facts} == facts
            if same and " ".join(sentence.text for sentence in other) != text:
                yield Told("revision", style, tuple(other), revises=style)
                break


def caption_of(chip: Chip, style: str, salt: str) -> list[Sentence]:
    """The sentences of a caption under a salt, which changes the words and leaves what is spoken of."""
    writer = Writer(chip.reading, Choice(chip.one.seed, chip.one.chip_id + salt), chip.choice)
    return short_caption(writer) if style == "short" else long_caption(writer)
