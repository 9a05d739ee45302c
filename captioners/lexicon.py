"""Concepts of land cover, read from ``lexicon.yaml``: how to name a class, and which words mention one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from schemas.legend import LegendClass
from schemas.shipped import shipped_table


@dataclass(frozen=True)
class Noun:
    """A way to name a class in a sentence."""

    text: str
    """Without article."""
    plural: bool = False
    """Whether its verb is plural."""
    full: str = ""
    """With the article that a countable singular needs."""


def noun_of(entry: LegendClass) -> str:
    """How a sentence names a legend's class where nothing else is said: its noun, else its name in lower case."""
    return entry.noun or entry.name.lower()


@dataclass(frozen=True)
class Concept:
    """One idea of land cover, shared by legends."""

    name: str
    """Key in the table."""
    nouns: tuple[str, ...]
    """Legend nouns that are this very concept."""
    say: tuple[Noun, ...]
    """Ways to name it."""
    synonyms: tuple[str, ...]
    """Words that mention it."""
    kin: tuple[str, ...]
    """Parts of other nouns that bring it with them."""
    broader: tuple[str, ...]
    """Concepts that hold wherever this one does."""


@cache
def word_table() -> Any:
    """The whole table, for the sections that hold plain words."""
    return shipped_table("captioners", "lexicon.yaml")


@cache
def concepts() -> Mapping[str, Concept]:
    """All concepts by name."""
    return {
        name: Concept(
            name=name,
            nouns=tuple(row["nouns"]),
            say=tuple(Noun(n["text"], bool(n.get("plural", False)), n["text"]) for n in row["say"]),
            synonyms=tuple(str(word) for word in row["synonyms"]),
            kin=tuple(row["kin"]),
            broader=tuple(row["broader"]),
        )
        for name, row in word_table()["concepts"].items()
    }


@cache
def nouns_of(noun: str) -> tuple[Noun, ...]:
    """Ways to name a class whose legend noun is given; the noun itself where the lexicon has no other."""
    concept = next((c for c in concepts().values() if noun in c.nouns and c.say), None)
    if concept is not None:
        return concept.say
    table = word_table()
    looks_plural = noun.endswith("s") and not noun.endswith("ss") and noun not in table["singular"]
    plural = noun in table["plural"] or looks_plural
    return (Noun(noun, plural, table["article"].get(noun, noun)),)


def singular(word: str) -> str:
    """One of what a word in lower case names.

    >>> singular("quarries"), singular("roads"), singular("gas")
    ('quarry', 'road', 'gas')
    """
    return re.sub(r"(?<=\w{3})s$", "", re.sub(r"(?<=\w{3})ies$", "y", word))


def plural(noun: str) -> str:
    """Several of what a noun in lower case names.

    >>> plural("quarry"), plural("motorway"), plural("ditch"), plural("sewage works")
    ('quarries', 'motorways', 'ditches', 'sewage works')
    """
    if noun.endswith("s"):
        return noun
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + ("es" if noun.endswith(("ch", "sh", "x")) else "s")


@cache
def concepts_of(noun: str, *, own: bool = False) -> frozenset[str]:
    """Names of the concepts that a class or map feature of this noun brings with it.

    Args:
        noun: legend or map noun.
        own: leave out the broader ones (mangroves are trees, but trees are not the class's own idea).
    """
    words = noun.lower()
    found = {c.name for c in concepts().values() if words in c.nouns or any(part in words for part in c.kin)}
    if not own:
        found |= {wider for name in found for wider in concepts()[name].broader}
    return frozenset(found)
