"""What no sentence may say, whatever the facts: leaks, guesses, echoes, praise, names, what is too small to see."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from captioners.elements import meanings
from captioners.gated import any_of, compiled
from captioners.lexicon import word_table
from captioners.phrasing import phrases

MAX_CHARACTERS = 400
"""Longer sentences are no sentences."""
_MARKUP = compiled(
    r"[{}\[\]<>|`*#\\]|&#?\w+;|://|(?<!^)\bNone\b|^None\b(?! of the\b)|\bnull\b|\bNaN\b|\w\.\w+\.\w|^\s*-\s|"
    r"\b(?:share|shares|patches|border|osm|object|element|index|place|relation|dominant|change|terrain)\.\w"
)
"""Markup, placeholders and fact ids have no place in a sentence."""
_OPENING = compiled(
    r"^([A-Z][a-zà-ÿ]+(?:['’]s)?)\s+(?:is|was|lies|lie|stands|sits|has|covers|borders|stretches|extends|surrounds|can|"
    r"appears|occupies|dominates|meets|belongs|begins|ends|fills|runs)\b"
)
"""A sentence that opens with a single capitalised word and a verb: a name, unless the word is a known one."""


_SIGNS = frozenset("°²−–—‘’“”…×± \u00a0")
_NOT = compiled(
    r"n['’]t\b|\bcannot\b|\b(?:reach(?:es)?|touch(?:es)?|borders?|meets?|covers?|extends? (?:in)?to|crosses|lies?) "
    r"(?:neither|never|nowhere)\b|"
    r"\bnot\b(?! (?:quite|present|found|seen|there|any|contain|hold|include|show|known|only|as|so|occur)\b)",
    re.IGNORECASE,
)
"""Denials of a verb: the rules judge what is said to be so."""


@dataclass(frozen=True)
class Violation:
    """One rule that a sentence breaks."""

    rule: str
    """Name of the rule."""
    detail: str
    """What broke it, in words for the repair round."""


@cache
def _words(section: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{any_of(map(str, word_table()[section]))})(?![\w-])", re.IGNORECASE)


@cache
def _is_plain(character: str) -> bool:
    """Whether a character is one of English prose: no sign that looks like another, or that is not seen at all."""
    if character.isascii():
        return character.isprintable() or character in "\n\t"
    return (
        character in _SIGNS
        or unicodedata.name(character, "").startswith("LATIN SMALL LETTER")
        or unicodedata.name(character, "").startswith("LATIN CAPITAL LETTER")
    )


@cache
def known_words() -> frozenset[str]:
    """Words, in lower case, that a sentence may open with and that are no names."""
    table = word_table()
    found = {word for one in table["concepts"].values() for phrase in one["synonyms"] for word in str(phrase).split()}
    found |= {word for rows in phrases().values() for row in rows for word in re.findall(r"[A-Za-z]+", row)}
    found |= {word for one in meanings().values() for word in one.noun.split()}
    return frozenset(word.lower() for word in (*found, *table["openers"]))


@cache
def _invisible(gsd_m: float) -> re.Pattern[str] | None:
    """Words for what cannot be seen at this pixel size."""
    listed = [str(w) for limit, words in word_table()["visibility"].items() if gsd_m > float(limit) for w in words]
    if not listed:
        return None
    return re.compile(rf"(?<![\w-])(?:{any_of(listed)})(?![\w-])", re.I)


def style_violations(text: str, plain: str, gsd_m: float, nouns: frozenset[tuple[str, str]]) -> Iterable[Violation]:
    """Words that have no place in a caption, names that nothing backs, and broken form.

    Args:
        text: the sentence.
        plain: the sentence with names that are facts blanked out.
        gsd_m: size of a pixel.
        nouns: (noun, owner) of the legend: words that are no names.
    """
    stripped = text.strip()
    if not stripped or len(stripped) > MAX_CHARACTERS or stripped[-1] not in ".!":
        yield Violation("form", "is not one finished sentence")
    if _MARKUP.search(stripped.replace("OpenStreetMap.", "")):
        yield Violation("form", "holds markup or a fact id")
    odd = next((character for character in plain if not _is_plain(character)), "")
    if odd or _NOT.search(plain):
        why = f"holds the character {odd!r}" if odd else "denies with a verb: say what is so, not what is not"
        yield Violation("form", why)
    for rule, section in (
        ("leak", "leak"), ("hedge", "hedges"), ("echo", "echo"), ("subjective", "subjective"), ("form", "foreign"),
    ):  # fmt: skip
        match = _words(section).search(plain)
        if match:
            yield Violation(rule, f"says {match.group(0)!r}")
    invisible = _invisible(gsd_m)
    match = invisible.search(plain) if invisible else None
    if match:
        yield Violation("visibility", f"{match.group(0)!r} cannot be seen at {gsd_m:g} m")
    allowed = {str(word).lower() for word in word_table()["proper"]}
    for word in re.finditer(r"(?<![.!?:]\s)(?<!^)(?<![\"“(])\b([A-Z][\w'-]+)", plain):
        parts = word.group(1).lower()
        if parts not in allowed:
            yield Violation("name", f"{word.group(1)!r} is a name that no fact holds")
    yield from _opening_name(plain, nouns)


def _opening_name(plain: str, nouns: frozenset[tuple[str, str]]) -> Iterable[Violation]:
    """A name as the very first word, where a capital alone tells nothing."""
    match = _OPENING.match(plain.strip())
    is_noun = match is not None and any(match.group(1).lower() in noun.lower().split() for noun, _ in nouns)
    if match and match.group(1).lower() not in known_words() and not is_noun:
        yield Violation("name", f"{match.group(1)!r} is a name that no fact holds")
