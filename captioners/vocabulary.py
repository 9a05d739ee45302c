"""Which words a caption may use: those that some rule knows, and those of the chip's own facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from functools import cache

from captioners.elements import meanings
from captioners.gated import compiled
from captioners.lexicon import concepts, word_table
from captioners.number_words import MONTHS
from captioners.phrasing import phrases
from schemas.shipped import shipped_table

_WORD = compiled(r"(?<![\w'’])[a-z]+(?![\w'’])", re.I)
_ENDINGS = (
    ("ies", "y"), ("ied", "y"), ("ily", "y"), ("ier", "y"), ("iest", "y"), ("es", ""), ("s", ""), ("ed", ""),
    ("ed", "e"), ("ing", ""), ("ing", "e"), ("er", ""), ("er", "e"), ("est", ""), ("est", "e"), ("ern", ""),
    ("ernmost", ""), ("most", ""), ("wards", ""), ("ward", ""), ("ly", ""), ("ly", "le"), ("fold", ""), ("less", ""),
)  # fmt: skip
"""Ending of a word -> what stands there in its plain form."""


@cache
def _known() -> frozenset[str]:
    """Words that every caption may use, in lower case."""
    table = word_table()
    told = [str(word) for words in shipped_table("captioners", "vocabulary.yaml").values() for word in words]
    told += [phrase for one in concepts().values() for phrase in one.synonyms]
    told += [str(word) for row in table["things"].values() for word in row["words"]]
    told += [re.sub(r"{\w+}", " ", row) for rows in phrases().values() for row in rows]
    told += [one.noun for one in meanings().values() if " " not in one.noun]  # `things` asks for each
    told += [*map(str, table["proper"]), *MONTHS, "spring summer autumn winter"]
    return words_in(told)


def words_in(texts: Iterable[str]) -> frozenset[str]:
    """All words of some texts, in lower case."""
    return frozenset(match.group(0).lower() for match in _WORD.finditer(" ".join(texts)))


@cache
def _is_known(word: str) -> bool:
    return any(form in _known() for form in _plain_forms(word))


def _plain_forms(word: str) -> Iterator[str]:
    """A word, and what it may be a form of.

    >>> sorted(_plain_forms("dotted"))
    ['dot', 'dott', 'dotte', 'dotted']
    """
    yield word
    for ending, plain in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1:
            yield stem + plain
            if not plain and stem[-1] == stem[-2]:
                yield stem[:-1]


def strange_words(text: str, own: Set[str]) -> Iterable[str]:
    """Words of a sentence that no rule and no fact knows.

    Args:
        text: the sentence, names blanked out.
        own: words of the chip's facts, in lower case (`words_in`).
    """
    for match in _WORD.finditer(text):
        word = match.group(0)
        if (
            word.lower() not in own
            and not _is_known(word.lower())
            and not (word[0].isupper() and match.start())
            and set(word) != {"x"}
        ):
            yield word
