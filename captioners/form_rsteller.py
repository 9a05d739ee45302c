"""The form of RSTeller: one caption of one map feature, and one to four revisions of it.

Facts as published (repository SlytherinGe/RSTeller, default_data_producer.py): a chip with both kinds tells of an area
in 60 of 100 cases; the area is the single largest clipped polygon and must cover a tenth of the chip; the line is, of
the three longest, the one with the most tags. Tags are told by their meaning, the ids of the features are kept. The
model never sees the image. Defects of the published code that are not repeated here: the ring and ``area=no`` are
tested, lengths and areas are measured in the chip's UTM zone, and the square is reachable.
"""

from __future__ import annotations

from collections.abc import Iterator

from captioners.elements import MapElement, meanings, with_article
from captioners.number_words import area_phrase, length_phrase, percent_phrases
from captioners.phrasing import Sentence, capital
from captioners.records import Chip, Told

MIN_AREA = 0.1
"""An area must cover this part of the chip."""
AREA_OF_TEN = 6
"""Where both an area and a line are there, the area is told in so many of ten chips."""
LONGEST = 3
"""Of so many lines the one with the most tags."""
MAX_REVISIONS = 4
_AREA = (
    "{A} covers {share} of the scene, {area} in all, {where}.",
    "The scene holds {a} of {area}, {share} of it, {where}.",
    "{share} of the scene is taken up by {a}, {area} in size and {where}.",
    "There is {a} {where}, which covers {area} or {share} of the scene.",
    "The largest area on the map here is {a}: {area}, {share} of the scene, {where}.",
    "{A} of {area} lies {where} and takes up {share} of the scene.",
)
_LINE = (
    "{A} runs from the {start} to the {end} of the scene for {length}.",
    "For {length}, {a} leads from the {start} to the {end} of the scene.",
    "The map shows {a} that is {length} long here, from the {start} to the {end}.",
    "{A}, {length} long inside the scene, begins in the {start} and ends in the {end}.",
    "From the {start} to the {end} of the scene runs {a}, {length} long.",
)
_LINE_SHORT = (
    "{A} of {length} lies in the {start} of the scene.",
    "In the {start} of the scene there is {a} of {length}.",
    "The {start} of the scene holds {a}, {length} long.",
    "There is {a} of {length} in the {start} of the scene.",
)
_MEANING = (
    "That is {words}.",
    "This means {words}.",
    "In other words: {words}.",
)
_BEYOND = (
    "It goes on beyond the edge of the scene.",
    "Part of it lies outside the scene.",
    "It continues past the edge of the scene.",
)
_SHAPE = ("Its shape is {shape}.", "In outline it is {shape}.")
_FORM = ("Its course is {form}.", "It is {form}.")
_ABOUT = "two to four sentences about the one map feature whose facts begin with {head}, from these facts alone"


def chosen(chip: Chip) -> MapElement | None:
    """The feature that the caption tells of; None where the map holds none that the rules admit."""
    areas = [one for one in chip.one.elements if one.form == "area" and one.area_fraction >= MIN_AREA]
    lines = [one for one in chip.one.elements if one.form == "line"][:LONGEST]
    line = max(lines, key=lambda one: (len(one.tags), one.length_m)) if lines else None
    area = areas[0] if areas else None
    if area is not None and line is not None:
        return area if chip.choice.number("rsteller/form") % 10 < AREA_OF_TEN else line
    return area or line


def texts(chip: Chip) -> Iterator[Told]:
    """One caption and its revisions."""
    one = chosen(chip)
    if one is None:
        return
    wordings: list[tuple[Sentence, ...]] = []
    for number in range(12):
        told = _wording(chip, one, number)
        if all(unlike(told, other) for other in wordings):
            wordings.append(told)
    count = 1 + chip.choice.number("rsteller/revisions") % MAX_REVISIONS
    yield Told("caption", "rsteller", wordings[0], about=_ABOUT.format(head=one.head))
    for told in wordings[1 : 1 + count]:
        yield Told("revision", "rsteller", told, revises="rsteller")


def unlike(a: tuple[Sentence, ...], b: tuple[Sentence, ...]) -> bool:
    """Whether two wordings begin with another sentence."""
    return a[0].text != b[0].text


def _wording(chip: Chip, one: MapElement, number: int) -> tuple[Sentence, ...]:
    by_id, choice = chip.reading.by_id, chip.choice

    def value(name: str) -> str:
        fact = by_id.get(f"{one.head}.{name}")
        return "" if fact is None else str(fact.value)

    def one_of(slot: str, rows: tuple[str, ...]) -> str:
        return rows[(choice.number(f"rsteller/{slot}") + number) % len(rows)]

    named = with_article(one.noun)
    ids = (f"{one.head}.tag",)
    if one.form == "area":
        position = value("position")
        where = "in the centre" if position == "centre" else f"in the {position}"
        share = (
            choice.one(f"rsteller/share/{number}", percent_phrases(float(value("share"))))
            if float(value("share")) < 100.0
            else "all"
        )
        words = {
            "a": named, "A": capital(named), "area": area_phrase(float(value("area"))), "share": share,
            "where": where,
        }  # fmt: skip
        text = capital(one_of("area", _AREA).format_map(words))
        first = Sentence(text, (*ids, f"{one.head}.area", f"{one.head}.share", f"{one.head}.position"), visible=False)
        more = _more(one, value("shape"), one_of("shape", _SHAPE), "shape")
    else:
        words = {
            "a": named, "A": capital(named), "length": length_phrase(one.length_m),
            "start": value("start"), "end": value("end"),
        }  # fmt: skip
        rows: tuple[str, ...] = _LINE if value("start") and value("start") != value("end") else _LINE_SHORT
        if not value("start"):
            rows = ("There is {a} of {length} in the scene.", "The scene holds {a} of {length}.")
        names = [name for name in ("length", "start", "end") if value(name)]
        first = Sentence(
            capital(one_of("line", rows).format_map(words)), (*ids, *(f"{one.head}.{n}" for n in names)), visible=False
        )
        more = _more(one, value("form"), one_of("form", _FORM), "form")
    first_tag = one.tags[0]
    told = meanings()[f"{first_tag[0]}={first_tag[1]}"].words
    sentences = [first, Sentence(one_of("meaning", _MEANING).format(words=told), ids, visible=False), *more]
    if one.clipped and value("edges"):
        sentences.append(Sentence(one_of("beyond", _BEYOND), (f"{one.head}.edges",), visible=False))
    return tuple(sentences)


def _more(one: MapElement, word: str, row: str, name: str) -> list[Sentence]:
    if not word:
        return []
    return [Sentence(row.format_map({name: word}), (f"{one.head}.{name}",), visible=False)]
