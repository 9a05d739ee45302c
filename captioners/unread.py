"""Comparing words that no rule has judged: what nothing was asked about must not pass as checked."""

from __future__ import annotations

import re
from collections.abc import Iterable

from captioners.claims import Claim, Said
from captioners.elements import meanings
from captioners.gated import compiled
from captioners.quantities import find_numbers

_COMPARED = compiled(
    r"(?<!rather )(?:(?<!other )|(?<=each other ))(?<!else )\bthan\b(?! near infrared)"
    r"|\b(?:the|an?) (?!(?:other|former|latter) )(?:[a-z]+er|(?:more|less) [a-z]+) one\b"
    r"|\b(?:[a-z]+er|more|less)\b[^.;,]{0,16} of the two\b",
    re.I,
)
_SUPERLATIVE = compiled(
    r"\b(?:larg|bigg|small|high|low|green|dens|wett|dri|bright|dark|steep|flatt|wid|narrow|long|short|deep|strong|weak|"
    r"rich|near|clos|clear|warm|cold|thick|thinn|bar|rar|scarc|spars)est\b"
    r"(?! (?:elongated|compact|irregular|ring-shaped|winding|straight)\b)"  # of a shape: judged as an expression
    r"|\b(?:the|its|their) (?:most|least) (?!of\b)[a-z-]+\b|(?<!at )\bleast (?!of\b)[a-z]+\b"
    r"|\b(?:peaked|bottomed out)\b|(?<!at )\bmost(?=\s*[.,;])",
    re.I,
)
_EQUAL = compiled(
    r"\b(?:equal(?:ly)?|evenly|identical(?:ly)?|alike)\b"
    r"|\b(?:same|similar|comparable) (?:in )?(?:share|area|amount|extent|size|proportion|cover|length|height)s?\b"
    r"|\b(?:similarly|comparably) (?:sized|large|common|extensive)\b"
    r"|\b(?:twice|thrice|double|[a-z]+ times) (?:the (?:area|share|extent|size|amount)|that) of\b"
    r"|\b(?:edg(?:es?|ing) out|outranks?|outpac(?:es?|ing)|dwarf(?:s|ed|ing)?|eclips(?:es?|ing)|overshadow(?:s|ing)?)\b"
    r"|\b(?:outnumbers?|outweighs?|surpass(?:es)?|outstrips?|negative|(?:hardly|barely|scarcely) chang(?:ed|es))\b"
    r"|\bas (?!well\b|far\b|long\b|soon\b|such\b)[a-z]+ as\b(?! \d)|\bas (?:much|many) (?!as\b)[a-z]",
    re.I,
)
_RELATION = compiled(
    r"\b(?:halfway|midway|gap|replac(?:es|ed|ing)|parallel|perpendicular|link(?:s|ed|ing)?|connect(?:s|ed|ing)?|"
    r"converges?|intersects?|branch(?:es)?)\b"
    r"|\b(?:north|south|east|west)\S*ern (?:bank|shore|waterfront|outskirts)s?\b",
    re.I,
)

_COLOUR = compiled(
    r"\b(?:brown(?:ish)?|gr[ae]y(?:ish)?|blue(?:ish)?|bluish|black|white|red(?:dish)?|yellow(?:ish)?|orange|pink|tan|beige|"
    r"turquoise|purple|dark|bright|pale|light-colou?red|colou?rful)\b(?! (?:infrared|edge)\b)",
    re.I,
)


def unread(said: Said) -> Iterable[Claim]:
    """Comparisons, superlatives, likenesses and relations of a sentence that no rule before this one has judged."""
    figures = [(number.start, number.end) for number in find_numbers(said.text)]
    given: list[tuple[int, int]] | None = None
    for rule, pattern in (
        ("comparison", _COMPARED), ("comparison", _SUPERLATIVE), ("comparison", _EQUAL), ("relation", _RELATION),
        ("shape", _COLOUR),
    ):  # fmt: skip
        for match in pattern.finditer(said.text):
            if any(start <= match.end() + 1 and match.start() <= end for start, end in (*said.read, *figures)):
                continue
            given = _given(said) if given is None else given
            if not any(start <= match.start() and match.end() <= end for start, end in given):
                yield rule, f"{match.group(0)!r} is read by no rule: say it in another way"


def _given(said: Said) -> list[tuple[int, int]]:
    """Where the facts' own words stand, which compare nothing: "local connecting road", a class called "dark soil"."""
    phrases = {one.noun for one in said.reading.classes}
    for fact in said.reading.sheet.facts:
        if fact.kind == "element":
            phrases.add(fact.subject)
        if fact.unit == "tag" and (meaning := meanings().get(str(fact.value))):
            phrases |= {meaning.noun, meaning.words}
    return [match.span() for phrase in phrases for match in re.finditer(re.escape(phrase), said.text, re.I)]
