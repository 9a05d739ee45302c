"""One cover in two parts of the scene: more here than there, twice as much, as much, and ever more towards a side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import percent_of
from captioners.mentions import Mention, Place, find_places
from captioners.multiples import FACTORS, NEARLY, OPEN, ROUNDED


def contrasts(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for rule in (_compared, _multiple, _towards):
        yield from rule(said, places)


_PREPOSITION = r"(?:in|of|along|at|towards?|across|over|on)"
_MORE = compiled(
    r"\b(?P<more>more|larger|greater|higher|denser|better)\b|\b(?P<less>less|fewer|smaller|lower|rarer|scarcer)\b", re.I
)
_THAN = compiled(rf"\bthan\b(?P<like> (?:{_PREPOSITION}|that of|those of|it is in|they are in)?)? ?(?:the )?$", re.I)


def are_compared(text: str, first: Place, second: Place) -> bool:
    """Whether two places are those of a comparison: ``more A in the east than in the west``, ``twice that in``."""
    if _factor_between(text, first, second) or _as_much(text, first, second):
        return True
    than = _THAN.search(text[: second.start])
    return than is not None and first.end <= than.start() and _MORE.search(text, 0, than.start()) is not None


def _compared(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``more A in the east than in the west``, ``the north is more wooded than the south``."""
    for first, second in pairwise(places):
        than = _THAN.search(said.text[: second.start])
        if than is None or not are_compared(said.text, first, second) or second.form in ("edge", "corner"):
            continue
        words = list(_MORE.finditer(said.text, 0, than.start()))
        near = [m for m in said.mentions if m.end <= than.start()]
        if not words or not near or not said.classes_of(near[-1].concept):
            continue
        after = said.after(second.end)
        if after is not None and after.start - second.end < 12:
            continue  # "more trees in the north than water in the south"
        said.judge(than)
        here, there = (percent_of(said, near[-1:], place.region) for place in (first, second))
        if (here >= there) if words[-1].group("less") else (here <= there):
            yield "comparison", f"{words[-1].group(0)!r} is the wrong way round"


_HEDGE = r"(?:(?P<hedge>more than|over|less than|about|roughly|around|nearly|almost|not) )?"
_FACTOR = rf"(?P<factor>{'|'.join(FACTORS)})"
_TIMES = compiled(
    rf"[^;.]{{0,60}}?\b{_HEDGE}{_FACTOR}\b[^;.,]{{0,24}}?"
    r"(?:(?: (?:that|as|those))? (?:in|of|along)| as) (?:the )?",
    re.I,
)
"""Between two places: ``the share of A in the west is twice that in the east``."""
_AS = compiled(
    rf"\b(?:equally|{_HEDGE}(?:{_FACTOR} )?as) "
    r"(?:(?:densely|heavily|thickly) )?(?:much|many|high|common|extensive|widespread|abundant|large|frequent|big|"
    r"wooded|forested|cultivated|built[- ]up)\b",
    re.I,
)
"""``twice as much``, ``as common``."""
_AS_IN = compiled(rf"\b(?:as|and)(?: (?:it|they) (?:is|are|does|do))?(?: {_PREPOSITION})?(?: the)? $", re.I)
"""Before the second place."""


def _factor_between(text: str, first: Place, second: Place) -> re.Match[str] | None:
    return _TIMES.fullmatch(text, first.end, second.start)


def _as_much(text: str, first: Place, second: Place) -> re.Match[str] | None:
    """The words of ``twice as much A in the west as in the east``, ``the west holds as much A as the east``, ``A is
    equally common in the west and in the east``.
    """
    join = _AS_IN.search(text[: second.start])
    if join is None or join.start() < first.end or re.search(r"[;.]", text[first.end : join.start()]):
        return None
    heads = [m for m in _AS.finditer(text, 0, join.start()) if not re.search(r"[;.]", text[m.end() : join.start()])]
    is_and = text[join.start() : join.start() + 3].lower() == "and"
    if not heads or is_and != heads[-1].group(0).lower().startswith("equally"):
        return None
    return heads[-1]


def _multiple(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the share of A in the west is twice that in the east``, ``as much A in the west as in the east``."""
    for first, second in pairwise(places):
        words = _as_much(said.text, first, second) or _factor_between(said.text, first, second)
        if words is None:
            continue
        start = min(first.end, words.start())
        inside = [m for m in said.mentions if start <= m.start and m.end <= second.start]  # "twice as wooded as"
        one = inside[-1] if inside else said.before(start)
        if one is None or len({m.concept for m in inside}) > 1:
            continue
        if not said.classes_of(one.concept):
            yield "comparison", f"{words.group(0).strip()!r} is told by no fact"
            continue
        said.judge(words)
        said.read.append((words.start(), second.start))
        yield from _ratio(said, one, (first, second), words)


def _ratio(said: Said, one: Mention, pair: tuple[Place, Place], words: re.Match[str]) -> Iterable[Claim]:
    here, there = (percent_of(said, [one], place.region) for place in pair)
    ratio = here / max(1e-9, there)
    factor, hedge = ((words.group(name) or "").lower() for name in ("factor", "hedge"))
    slack = ROUNDED if factor else NEARLY
    least, most = (FACTORS.get(factor, 1.0) * by for by in (1 / slack, slack))
    if hedge in ("more than", "over") or factor in OPEN:
        least, most = FACTORS.get(factor, 1.0), inf
    elif hedge in ("less than", "not"):
        least, most = 0.0, FACTORS.get(factor, 1.0)
    elif hedge in ("nearly", "almost"):
        most = FACTORS.get(factor, 1.0) * 1.02
    if not least <= ratio <= most:
        yield "comparison", f"{words.group(0).strip()!r} does not fit its shares there"


_UP = (
    r"increas(?:es?|ing)|ris(?:es?|ing)|thicken(?:s|ing)?|climbs?|"
    r"(?:grow(?:s|ing)?|becom(?:es?|ing)|get(?:s|ting)?) (?:more \w+|denser|thicker|larger|commoner)"
)
_DOWN = (
    r"decreas(?:es?|ing)|declin(?:es?|ing)|thin(?:s|ning)?(?: out)?|dwindl(?:es?|ing)|fad(?:es?|ing)(?: out)?|"
    r"taper(?:s|ing)?(?: off| out)?|diminish(?:es|ing)?|fall(?:s|ing)?(?: off)?|drop(?:s|ping)?(?: off)?|"
    r"peter(?:s|ing)? out|(?:grow(?:s|ing)?|becom(?:es?|ing)|get(?:s|ting)?) "
    r"(?:less \w+|sparser|scarcer|rarer|thinner|smaller)"
)
_GRADIENT = compiled(
    rf"\b(?:(?P<up>{_UP})|(?P<down>{_DOWN}))(?: \w+ly)? "
    r"(?:towards?|to|further|farther|from (?:the )?[\w-]+ to(?:wards)?) (?:the )?$",
    re.I,
)
_FURTHER = compiled(
    r"\bthe (?:further|farther) (?:to the )?(?P<way>north|south|east|west)\w*\b[^.;]*\bthe (?:more|less|fewer|denser|"
    r"sparser)\b",
    re.I,
)
_TO_THE_NEXT = compiled(r" to(?:wards)? (?:the )?")
"""Between two places: ``from the south-east to the north-west``."""
_OPPOSITE = {"n": "s", "s": "n", "w": "e", "e": "w"}


def slope_to(text: str, place: Place) -> re.Match[str] | None:
    """The words of ``increases towards the east``, ``thins out from west to east``, before the place that it tells."""
    return _GRADIENT.search(text[: place.start])


def is_of_slope(text: str, place: Place, after: Place | None) -> bool:
    """Whether a place is the side from which, or to which, a cover is said to increase or to thin out.

    Args:
        text: the sentence.
        place: one of its places.
        after: the next one.
    """
    if after is not None and _TO_THE_NEXT.fullmatch(text, place.end, after.start) and slope_to(text, after):
        return True
    return slope_to(text, place) is not None


def _towards(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A increases towards the east``: there is more of it there than on the other side."""
    for place in places:
        words = slope_to(said.text, place)
        one = said.before(words.start()) if words is not None else None
        if words is None or one is None:
            continue
        if not said.classes_of(one.concept) or place.region[0] in "rcm":
            yield "comparison", f"{words.group(0).strip()!r} is told by no fact"
            continue
        other = "".join(_OPPOSITE[letter] for letter in place.region)
        here, there = (percent_of(said, [one], region) for region in (place.region, other))
        if (here <= there) if words.group("up") else (here >= there):
            yield "comparison", f"{words.group(0).strip()!r} is the wrong way round"
    for match in _FURTHER.finditer(said.text):
        yield "comparison", f"{match.group(0)!r} is read by no rule: say it in another way"
