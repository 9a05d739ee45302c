"""Phrase tables, sentences and the marks around class nouns."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from schemas.shipped import shipped_table
from schemas.text import Span

_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"  # private characters around a class noun: code, then noun


@dataclass(frozen=True)
class Sentence:
    """One sentence, class nouns still marked, and what it rests on."""

    text: str
    """With marks; `unmark` takes them out."""
    facts: tuple[str, ...]
    """Ids of its facts."""
    visible: bool = True
    """Whether the picture alone could prove it."""


PHRASE_FILES = ("phrases.yaml", "phrases_kinds.yaml")


@dataclass(frozen=True)
class Named:
    """A class as a sentence names it, marked."""

    full: str
    """With article."""
    bare: str
    """Without."""
    verbs: Mapping[str, str]
    """``covers_a`` -> the verb in its number."""


@cache
def phrases() -> Mapping[str, tuple[str, ...]]:
    """Slot -> phrases."""
    tables = [shipped_table("captioners", name) for name in PHRASE_FILES]
    return {slot: tuple(rows) for table in tables for slot, rows in table.items()}


@cache
def needs(phrase: str) -> frozenset[str]:
    """Names in the braces of a phrase."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(phrase) if name)


def mark(code: int | str, phrase: str) -> str:
    """The phrase with the marks of a class (and of objects: ``40#object.40.1``) around it."""
    return f"{_OPEN}{code}{_MIDDLE}{phrase}{_CLOSE}"


def unmark(marked: str) -> tuple[str, tuple[Span, ...]]:
    """(text, spans of the class nouns) of a marked text."""
    text, spans, start, code = "", [], 0, ""
    reading_code = False
    for character in marked:
        if character == _OPEN:
            code, reading_code = "", True
        elif character == _MIDDLE:
            start, reading_code = len(text), False
        elif character == _CLOSE:
            number, *ids = code.split("#")
            facts = (f"share.{number}", *(f"{one}.area" for one in ids))
            spans.append(Span(start=start, end=len(text), phrase=text[start:], class_name=number, fact_ids=facts))
        elif reading_code:
            code += character
        else:
            text += character
    return text, tuple(spans)


def capital(marked: str) -> str:
    """The marked text with its first letter a capital, whether or not a mark stands before it."""
    begin = marked.index(_MIDDLE) + 1 if marked.startswith(_OPEN) else 0
    return marked[:begin] + marked[begin : begin + 1].upper() + marked[begin + 1 :]
