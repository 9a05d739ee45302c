"""Questions in other words: the answer was computed for the first wording, so the second must ask the very same."""

from __future__ import annotations

import re
from typing import Any

from captioners.mentions import find_mentions, find_places
from captioners.quantities import find_numbers
from captioners.question import Question
from captioners.style import Violation
from captioners.things import unknown_things
from captioners.verify import Verifier

_MORE = r"\b(more than|over|above|exceeds?|greater than|at least|in excess of)\b"
_SIGNS = {
    "denial": r"\b(no|not|never|without|absent|absence|devoid|free of|lacks?|lacking|fails?|missing|uncovered|neither|"
    r"nor|except|outside|beyond|other than|apart from|excluding|cannot)\b|n['’]t\b|\w(?:-free|less)\b",
    "less": r"\b(less|lesser|fewer|smaller|smallest|least|fewest|lowest|rarer|rarest|scarcer|minor|minority)\b",
    "more": _MORE,
    "only": r"\b(only|sole|solely|exclusively|nothing but|entirely|alone)\b",
    "rim": r"\b(edges?|borders?|boundar(?:y|ies)|margins?|corners?|rim)\b",
    "area": r"\b(hectares?|ha|square (?:kilo)?met(?:re|er)s?|km²|m²|how large|size)\b",
    "share": r"\bper ?cent|\bpercentage|%",
    "count": r"\b(how many|number of|count)\b",
    "map": r"OpenStreetMap",
    "answer": r"\b(?:yes|answer|q\d+)\b",
}
"""What a question may hold or not, and its rewording likewise."""
_MOST = r"\bmost\b"
_MOST_WORDS = (
    r"\b(most|mostly|mainly|main|majority|bulk|largest|greater|greatest|dominant|dominates?|leading|prevail\w*|primar\w*|"
    r"principal\w*|predominant\w*|highest|biggest|concentrated|chief\w*)\b"
)
_ENDED = re.compile(r"[.!?]\s+\S|[.!?]{2}")
"""More than one sentence: what stands beside a question may answer it."""
_SEEN_FROM = re.compile(
    r"\b(?:from|relative to|with respect to|compared (?:to|with)|(?:north|south|east|west)[\w-]* of)\b", re.IGNORECASE
)


def check_question(original: Question, text: str, verifier: Verifier) -> list[Violation]:
    """Whether a question in other words still asks the same: same covers, figures, places, measure and direction."""
    found = [
        v
        for v in verifier.sentence(text.replace("?", "."), original.facts)
        if v.rule in ("leak", "hedge", "echo", "form", "name", "visibility")
    ]
    known = f"{verifier.told} {original.question.lower()}"
    found += [Violation("class", f"mentions {word!r}, which no fact names") for word in unknown_things(text, known)]
    if not text.strip().endswith("?") or _ENDED.search(text):
        found.append(Violation("form", "is not one question"))
    if not _is_same(original.question, text, verifier):
        found.append(Violation("number", f"does not ask the same as {original.question!r}"))
    return found


def _is_same(first: str, second: str, verifier: Verifier) -> bool:
    tells_most = not re.search(_MOST, first) or re.search(_MOST_WORDS, second, re.IGNORECASE) is not None
    return tells_most and _meaning(first, verifier) == _meaning(second, verifier)


def _meaning(question: str, verifier: Verifier) -> tuple[Any, ...]:
    mentions = find_mentions(question, verifier.nouns)
    figures = sorted((round(n.low, 1), round(n.high, 1)) for n in find_numbers(re.sub(_MORE, "more than", question)))
    signs = [bool(re.search(pattern, question, re.IGNORECASE)) for pattern in _SIGNS.values()]
    from_here = _SEEN_FROM.search(question)
    other = next((m.concept for m in mentions if from_here and m.start >= from_here.end()), "")
    return (
        sorted({m.concept for m in mentions}),
        figures,
        sorted({p.region for p in find_places(question)}),
        signs,
        other,
    )
