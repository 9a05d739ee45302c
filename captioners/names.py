"""Names on the map that are facts: a sentence may tell them, and what they say is not judged."""

from __future__ import annotations

import re
from functools import cache

from captioners.lexicon import word_table
from captioners.quantities import find_numbers
from captioners.reading import Reading
from captioners.style import known_words


def names_told(reading: Reading) -> re.Pattern[str]:
    """One pattern over a chip's names as whole words, the longest first; it matches nothing where there are none.

    A name of nothing but words and figures that a caption uses ("Forest", "water", "80 percent") is left out: were it
    passed over, it could hide what a sentence says.
    """
    groups = [str(fact.value) for fact in reading.sheet.facts if fact.kind == "name"]
    names = {name for group in groups for name in group.split(" | ") if _is_more_than_words(name)}
    listed = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, listed))})(?!\w)" if listed else r"(?!)")


def _is_more_than_words(name: str) -> bool:
    for figure in reversed(find_numbers(name)):
        name = f"{name[: figure.start]} {name[figure.end :]}"
    words = re.findall(r"\w+", name.lower())
    return any(not word.isdigit() and word not in known_words() and word not in _judged() for word in words)


@cache
def _judged() -> frozenset[str]:
    """Words, in lower case, of things that facts must name, and of what may be too small to be seen."""
    table = word_table()
    listed = [word for row in table["things"].values() for word in row["words"]]
    listed += [word for words in table["visibility"].values() for word in words]
    return frozenset(part.lower() for word in listed for part in re.findall(r"\w+", str(word)))
