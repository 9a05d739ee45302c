"""Things that are no land cover, and sorts of a cover: a sentence names them only where some fact does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from captioners.elements import meanings
from captioners.gated import any_of
from captioners.lexicon import concepts, plural, word_table
from captioners.reading import Reading


@cache
def _things() -> tuple[re.Pattern[str], Mapping[str, tuple[str, ...]]]:
    """One pattern over all words of the table and the nouns of the map's tags, and of each what bears it out."""
    kin = _of_tags() | {
        str(word): tuple(row["kin"]) for row in word_table()["things"].values() for word in row["words"]
    }
    return re.compile(rf"(?<![\w-])({any_of(kin)})(?![\w-])", re.IGNORECASE), kin


@cache
def _of_tags() -> dict[str, tuple[str, ...]]:
    """Nouns of what a tag may say, and their plurals: a sentence names such a thing only where a tag does.

    Nouns that hold a word for a cover are left out: a class may go by them, and `verify` asks for it.
    """
    covers = {word.lower() for one in concepts().values() for phrase in one.synonyms for word in phrase.split()}
    nouns = {one.noun for one in meanings().values() if not covers & set(one.noun.lower().split())}
    return {word: (noun,) for noun in nouns for word in (noun, plural(noun))}


def told_words(reading: Reading, *, with_map: bool = True) -> str:
    """All that the facts name, in lower case: covers that are there, map features, and what their tags mean.

    Args:
        reading: the chip's facts.
        with_map: whether those of the map count.
    """
    absent = {noun for _, noun in reading.absent}
    facts = [f for f in reading.sheet.facts if with_map or f.kind not in ("osm", "element", "name")]
    words = [fact.subject for fact in facts if fact.subject not in absent]
    words += [meanings()[str(f.value)].words for f in facts if str(f.value) in meanings()]
    words += [str(f.value) for f in facts if f.unit == "tag"]
    words += ["flooded" for f in facts if f.fact_id.endswith(".wetter") and float(f.value) > 0]
    return " ".join(words).lower()


def unknown_things(text: str, told: str) -> Iterable[str]:
    """Things that a sentence names and no fact does.

    Args:
        text: the sentence, names blanked out.
        told: see `told_words`.
    """
    pattern, kin = _things()
    told = f" {told} "  # so that a part of words may be a whole one
    for match in pattern.finditer(text):
        if not any(part in told for part in kin[match.group(1).lower()]):
            yield match.group(1)
