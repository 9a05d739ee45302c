"""Patterns that are searched only in texts that hold a word which every match of them needs.

A sentence is asked some two hundred patterns, of which all but a few have no word of it: looking for words is faster
than looking for patterns. The words come of the pattern itself, by the parser of `re`; on a Python whose parser is
another, patterns have no gate, and the same matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from math import prod
from typing import Any, cast

_MOST_STRINGS = 48
"""With more strings than these a part of a pattern is asked by its other parts."""
_MOST_WORDS = 40
"""More words than these take as long to look for as the pattern."""
_LETTERS = 5
"""So much of a long word tells it from others."""
_FEW_WORDS = 8
"""More words are cut to that."""
_ODD = "ſıİ\u212a"
"""Letters that match s, i and k where case does not count, and that `str.lower` does not make so."""
_COMMON = frozenset({"the", "of", "is", "are", "in", "a", "an", "and", "to", "it", "on", "or", "s", "with"})
"""Words that nearly every sentence holds: to look for them spares nothing."""
_RARE = 0.9
"""Words that are met more often than so make no gate, see `_chance`."""


class Gated:
    """A pattern that is compiled at its first use, behind a gate; its methods are those of `re.Pattern`.

    Args:
        pattern: the pattern.
        flags: its flags.
    """

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern, self.flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        """Compiles the pattern: what is found here once is an attribute from then on."""
        if name.startswith("__"):
            raise AttributeError(name)
        made = re.compile(self.pattern, self.flags)
        words = needed(made)
        self.match, self.fullmatch, self.sub, self.split = made.match, made.fullmatch, made.sub, made.split
        self.search, self.finditer, self.findall = made.search, made.finditer, made.findall
        if words:
            self.search = _gate(made.search, words, lambda: None)
            self.finditer = _gate(made.finditer, words, lambda: iter(()))
        return self.__dict__[name]


def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The pattern, compiled when it is first asked, behind a gate where one keeps texts out."""
    return cast("re.Pattern[str]", Gated(pattern, flags))


def any_of(words: Iterable[str]) -> str:
    """An expression for any of some words in either case, long ones first; by first letters, so that few are tried.

    >>> any_of(["bank", "barn", "pond"])
    'b(?:ank|arn)|p(?:ond)'
    """
    by_letter: dict[str, list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        by_letter.setdefault(word[0].lower(), []).append(re.escape(word[1:]))
    return "|".join(f"{re.escape(letter)}(?:{'|'.join(ends)})" for letter, ends in by_letter.items())


def _gate(run: Callable[..., Any], words: tuple[str, ...], nothing: Callable[[], Any]) -> Callable[..., Any]:
    def gated(text: str, *span: int) -> Any:
        lower = text.lower()
        for word in words:
            if word in lower:
                return run(text, *span)
        if not text.isascii() and any(letter in text for letter in _ODD):
            return run(text, *span)
        return nothing()

    return gated


def needed(pattern: re.Pattern[str]) -> tuple[str, ...]:
    r"""Lower-case strings of which every match holds one; none where they would keep too few texts out.

    >>> needed(re.compile(r"\b(?:border|adjoin)s?\b", re.I))
    ('adjoin', 'border')
    """
    try:
        tree = import_module("re._parser").parse(pattern.pattern, pattern.flags)
    except (ImportError, AttributeError):
        return ()
    found = _Needs.of(tree).words
    if found is None:
        return ()
    if len(found) > _FEW_WORDS:
        found = _shortest(frozenset(word[:_LETTERS] for word in found))
    return tuple(sorted(found)) if len(found) <= _MOST_WORDS and _chance(found) <= _RARE else ()


class _Needs:
    """What a part of a pattern needs.

    Args:
        exact: all strings that it matches; None where they are too many to tell.
        words: strings of which each match holds one; None where there are none.
    """

    def __init__(self, exact: frozenset[str] | None, words: frozenset[str] | None) -> None:
        self.exact, self.words = exact, words

    @staticmethod
    def of(tree: Sequence[tuple[Any, Any]]) -> _Needs:
        """What the parts of a sequence need, one after the other: the best of them."""
        run: frozenset[str] = frozenset({""})
        best: list[frozenset[str]] = []
        whole = True
        for part in map(_part, tree):
            if part.exact is not None and len(run) * len(part.exact) <= _MOST_STRINGS:
                run = frozenset([a + b for a in run for b in part.exact])
                continue
            whole = False
            best += [run, *([part.words] if part.words is not None else [])]
            run = part.exact if part.exact is not None else frozenset({""})
        best.append(run)
        usable = [_shortest(each) for each in best if "" not in each]
        return _Needs(run if whole else None, min(usable, key=_chance) if len(usable) > 1 else next(iter(usable), None))


_ANYTHING = _Needs(None, None)
_EMPTY = _Needs(frozenset({""}), None)


def _part(node: tuple[Any, Any]) -> _Needs:
    name, given = str(node[0]), node[1]
    if name == "LITERAL":
        letter = chr(given)
        is_plain = letter.isascii() or letter.lower() == letter.upper()
        return _exactly({letter.lower()}) if is_plain else _ANYTHING
    if name == "IN" and all(str(kind) == "LITERAL" and chr(code).isascii() for kind, code in given):
        return _exactly({chr(code).lower() for _, code in given})
    if name == "BRANCH":
        return _either([_Needs.of(branch) for branch in given[1]])
    if name == "SUBPATTERN":
        return _Needs.of(given[-1])
    if name == "ATOMIC_GROUP":
        return _Needs.of(given)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, inner = given
        part = _Needs.of(inner)
        if (least, most) == (0, 1):
            return _Needs(None if part.exact is None else part.exact | {""}, None)
        return _Needs(None, part.words) if least else _ANYTHING
    return _EMPTY if name in ("AT", "ASSERT", "ASSERT_NOT") else _ANYTHING


def _exactly(strings: set[str]) -> _Needs:
    return _Needs(frozenset(strings), frozenset(strings))


def _either(branches: Sequence[_Needs]) -> _Needs:
    exact = [one.exact for one in branches if one.exact is not None]
    words = [one.words for one in branches if one.words is not None]
    return _Needs(
        frozenset().union(*exact) if len(exact) == len(branches) else None,
        _shortest(frozenset().union(*words)) if len(words) == len(branches) else None,
    )


def _shortest(strings: frozenset[str]) -> frozenset[str]:
    """The strings without those that hold another of them."""
    return frozenset(_without_longer(sorted(strings, key=len)))


def _without_longer(strings: Sequence[str]) -> Iterator[str]:
    kept: list[str] = []
    for one in strings:
        if not any(other in one for other in kept):
            kept.append(one)
            yield one


def _chance(words: frozenset[str]) -> float:
    """About how often a text holds one of the words by chance."""
    return sum(1.0 if set(one.split()) <= _COMMON else 100.0 / prod(map(_weight, one.strip())) for one in words)


def _weight(letter: str) -> int:
    """Of how many letters of a text one is this."""
    return 8 if letter in "etaoinshrdlu ,;.-'" else 16 if letter.isalnum() else 128
