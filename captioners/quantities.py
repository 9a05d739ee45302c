"""What numbers and dates a sentence states: shares, areas, lengths, counts. Reading only, no judgement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from captioners.gated import compiled
from captioners.number_words import MONTHS

NumberKind = Literal["percent", "area", "length", "count", "decibel", "index", "degrees", "date", "plain", "points"]


@dataclass(frozen=True)
class Number:
    """A quantity, as the range of true values that its words allow."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    kind: NumberKind
    """What it measures."""
    low: float
    """Least true value in percent, m2, m, 1, dB, degrees."""
    high: float
    """Greatest true value."""
    text: str
    """As written."""

    def allows(self, value: float) -> bool:
        """Whether a true value fits the words."""
        return self.low - 1e-9 <= value <= self.high + 1e-9


_FRACTION_WORDS = {
    "a tenth": 10.0, "one tenth": 10.0, "an eighth": 12.5, "a sixth": 100 / 6, "a fifth": 20.0, "one fifth": 20.0,
    "a quarter": 25.0, "one quarter": 25.0, "a fourth": 25.0, "one fourth": 25.0, "a third": 100 / 3,
    "one third": 100 / 3, "two fifths": 40.0, "half": 50.0, "one half": 50.0, "three fifths": 60.0,
    "two thirds": 200 / 3, "two-thirds": 200 / 3, "three quarters": 75.0, "three-quarters": 75.0,
    "three fourths": 75.0, "four fifths": 80.0, "nine tenths": 90.0, "one-third": 100 / 3, "one-quarter": 25.0,
    "one-fifth": 20.0,
}  # fmt: skip
_ABOVE = r"more than|over|above|at least|upwards of|in excess of"
_BELOW = r"less than|under|below|at most|fewer than|(?<!add )(?<!adds )(?<!adding )(?<!sum )up to"
_JUST_ABOVE = r"just over|slightly (?:more than|over|above)|a little (?:more than|over)|a bit more than"
_NEARLY = r"nearly|almost|close to"
_JUST_BELOW = rf"just under|slightly (?:less than|under|below)|a little (?:less than|under)|not quite|{_NEARLY}"
NEARLY_FROM = 50.0
"""Of shares of so many percent, "nearly" is said five points below, a tenth of half: 45.7% is nearly half."""
_ABOUT = r"about|roughly|approximately|around|some|circa|an estimated"
_HEDGED = rf"(?:\b(?P<hedge>{_JUST_ABOVE}|{_JUST_BELOW}|{_ABOVE}|{_BELOW}|{_ABOUT})\s+)?"
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORTH = {
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_BELOW_HUNDRED = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_ONES[1:10])}))?|{'|'.join(reversed(_ONES))})"
IN_WORDS = (
    rf"(?:(?:(?:an?|{_BELOW_HUNDRED}) (?:hundred|thousand|million)(?:,? (?:and )?{_BELOW_HUNDRED})?)|{_BELOW_HUNDRED})"
    r"(?: point (?:" + "|".join(_ONES[:10]) + r"))?"
)
"""``ninety-five``, ``a hundred and three``, ``two thousand``, ``two point five``."""
_DIGITS = r"\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?|\.\d+"
_SIGN = r"(?P<sign>(?<!\w)[−-]|\bminus )?"
_NAMED = r"(?<![A-Za-z]-)"
"""No figure is part of a name: "Sentinel-2"."""
_FIGURE = rf"{_SIGN}(?<![\w.]){_NAMED}(?P<figure>{_DIGITS})"
_FIGURE_OR_WORDS = rf"{_SIGN}(?<![\w.]){_NAMED}(?P<figure>{_DIGITS}|{IN_WORDS})"
_ANY_FIGURE = compiled(rf"{_DIGITS}|\b{IN_WORDS}", re.IGNORECASE)
_MONTHS = "|".join(MONTHS)
ANY_SORT = (
    r"(?:(?:separate|distinct|individual|different|small|smaller|large|larger|tiny|big|main|major|minor|isolated|mapped|"
    r"scattered|dispersed|disconnected|detached|compact|narrow|elongated|irregular|similar|sizeable|other|"
    r"wooded|forested|grassy|open|built-up|cultivated|green),? )*"
)
_COUNTABLE = (
    ANY_SORT + r"(?:patch|patches|buildings?|areas?|fields?|ponds?|lakes?|woods|meadows?|parks?|sites?|blocks?|"
    r"(?:land )?covers?|classes|kinds|types|water areas?|residential areas?|sports grounds?|car parks?|wetlands?|"
    r"orchards?|"
    r"quarries|cemeteries|rivers|streams|canals|roads|railways|villages|towns|houses|bridges|islands|forests|"
    r"water bod(?:y|ies)|bod(?:y|ies) of water|stands?|stretches|expanses?|plots?|parcels?|tracts?|strips?|copses?|"
    r"groves?|reservoirs?|pools?|clearings?|glades?|pockets?|fragments?|pieces|parts|clumps?|clusters?|segments?|units|"
    r"hamlets?|settlements?|farms|farmsteads?|islets?|dams?|schools?|churches)"
)  # fmt: skip

_DATE = compiled(
    rf"\b(?:(?P<d>\d{{1,2}}) )?(?P<m>{_MONTHS})(?: (?P<d2>\d{{1,2}}),)? (?P<y>\d{{4}})\b|\b\d{{4}}-\d\d-\d\d\b"
)
_PERCENT = r"\s?(?:%|per ?cent\b|pct\b|percentage points?\b)"
_POINTS = (
    r"\s(?:percentage )?points?(?=\s+(?:more|less|fewer|larger|smaller|greater|higher|lower|ahead of|behind|above|"
    r"below)\b)"
)
"""How far two shares are apart."""
_BY_POINTS = compiled(rf"\bby {_HEDGED}{_FIGURE_OR_WORDS}\s(?:percentage )?points?\b", re.IGNORECASE)
LEADING = compiled(
    r"\b(?:leads?|exceeds?|outstrips?|surpass(?:es)?|ahead of|(?P<less>trails?|lags?|behind))\b", re.IGNORECASE
)
"""Verbs after which ``by ten points`` tells the same; after others ("rose by") it is a change."""
_HALF_AREA = compiled(
    rf"{_HEDGED}(?:(?P<figure>{_BELOW_HUNDRED}|an?) and a half|(?P<half>half)(?: an?)?) "
    r"(?P<unit>hectares?|acres?|square kilomet(?:re|er)s?)\b",
    re.IGNORECASE,
)
"""``half a hectare``, ``one and a half hectares``."""
_FRACTION = compiled(
    rf"{_HEDGED}(?<![\w-])(?P<word>{'|'.join(sorted(_FRACTION_WORDS, key=len, reverse=True))})\b"
    r"(?!\s+of neighbours)(?!\s+that of\b)(?! as (?:much|many|large|big|common|extensive|widespread)\b)",
    re.IGNORECASE,
)
_HALF_PLACE = compiled(
    r"(?:northern|southern|eastern|western|upper|lower|top|bottom|(?:left|right)(?:-hand)?|other)\s+$", re.IGNORECASE
)
_AREA = r"[\s-]?(?P<unit>ha|hectares?|acres?|k?m[²2]|square (?:kilo)?met(?:re|er)s?)(?!\w)"
_AREA_WORTH = {"ha": 1e4, "hectare": 1e4, "acre": 4046.8564, "m": 1.0, "square m": 1.0, "km": 1e6, "square k": 1e6}
"""First letters of a unit of area -> m2."""
_LENGTH = r"[\s-]?(?P<unit>km|kilomet(?:re|er)s?|m|met(?:re|er)s?)(?![\w²])"
_PLAIN = compiled(rf"{_HEDGED}{_FIGURE}(?!\w)", re.IGNORECASE)
_VAGUE = {
    "a single": (1, 1), "a lone": (1, 1), "a pair of": (2, 2), "a couple of": (2, 3), "a few": (2, 12),
    "a handful of": (3, 8), "several": (3, 1e12), "many": (5, 1e12), "numerous": (5, 1e12), "a dozen": (12, 12),
    "scores of": (40, 1e12), "dozens of": (24, 1e12), "hundreds of": (200, 1e12), "thousands of": (2000, 1e12),
    "countless": (100, 1e12),
}  # fmt: skip
"""Words for a count -> least and most that they may stand for."""
_SEVERAL = (
    ANY_SORT
    + r"(?:patch|patches|buildings?|houses?|ponds?|lakes?|woods|parks?|fields|water bodies|bodies of water|stands|"
    r"stretches|expanses|plots|parcels|tracts|strips|copses|groves|reservoirs|pools|pieces|fragments|clumps|clusters|"
    r"pockets|hamlets|settlements|villages|farms|farmsteads|forests|islands|orchards|vineyards|quarries|meadows|cemeteries|"
    r"roads|streams|rivers)"
)
_COUNTED = compiled(rf"\s+(?={_COUNTABLE}\b)", re.IGNORECASE)
_FEW = compiled(
    rf"(?<!how )\b(?P<vague>{'|'.join(sorted(_VAGUE, key=len, reverse=True))})\s+(?={_SEVERAL}\b)",
    re.IGNORECASE,
)
_VAGUE_SIZE = compiled(
    rf"\b(?P<vague>tens of|{'|'.join(sorted((w for w in _VAGUE if w[-1] != 'e'), key=len, reverse=True))})\s+"
    r"(?P<unit>hectares|acres|square (?:kilo)?met(?:re|er)s|kilomet(?:re|er)s|met(?:re|er)s)\b",
    re.IGNORECASE,
)
"""``several hectares``."""
_RATIO = compiled(
    rf"{_HEDGED}\b(?P<part>{_BELOW_HUNDRED}|\d+)(?: pixels?)? "
    rf"(?:in|out of) (?:every )?(?P<whole>{_BELOW_HUNDRED}|a hundred|\d+)\b",
    re.IGNORECASE,
)
"""``two in three``, ``nine out of ten``."""
_NTHS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth")
_EVERY_NTH = compiled(
    rf"{_HEDGED}\b(?:every|each) (?P<nth>other|{'|'.join(_NTHS)}) (?:pixel|hectare|acre)\b", re.IGNORECASE
)
"""``every third pixel``"""
_MONTH = compiled(
    rf"\b(?:\d{{1,2}} (?:{_MONTHS})|(?:(?<=in )|(?<=with )|(?<=than ))(?:{_MONTHS})|(?!May)(?:{_MONTHS}))\b"
    r"(?: \d{1,2}\b)?"
)
"""A month, or a day of it, without its year."""
_YEAR = compiled(
    r"(?:(?<=\bin )|(?<=\bof )|(?<=\bduring )|(?<=\bsince )|(?<=\bspring )|(?<=\bsummer )|(?<=\bautumn )|"
    r"(?<=\bwinter ))"
    r"(?:19|20)\d\d\b(?!\s?(?:%|°|per|m\b|m[²2]|k?m\b|ha\b|[a-z]+s\b))",
    re.IGNORECASE,
)
"""A year alone: "in 2021", "spring 2021"; a figure before a plural is a count."""


def _measured(words: str, flags: int = re.IGNORECASE) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The pattern of a figure before some words, and the words: it is searched where a figure has them behind it."""
    return compiled(_HEDGED + _FIGURE_OR_WORDS + words, flags), compiled(words, flags)


_KINDS = (
    ("date", _DATE, None), ("date", _MONTH, None), ("date", _YEAR, None),
    ("points", *_measured(_POINTS)), ("points", _BY_POINTS, None), ("percent", *_measured(_PERCENT)),
    ("ratio", _RATIO, compiled(r"(?: pixels?)? (?:in|out of) ")), ("every", _EVERY_NTH, None),
    ("half area", _HALF_AREA, None),
    ("vague size", _VAGUE_SIZE, None), ("fraction", _FRACTION, None), ("area", *_measured(_AREA)),
    ("length", *_measured(_LENGTH)), ("decibel", *_measured(r"\s?dB\b", 0)),
    ("degrees", *_measured(r"\s?(?:degrees?\b|°)")),
    ("count", compiled(rf"{_HEDGED}(?:\b(?P<word>{IN_WORDS}){_COUNTED.pattern}|{_FEW.pattern})", re.IGNORECASE), None),
    ("plain", compiled(rf"{_HEDGED}{_FIGURE}(?!\w)", re.IGNORECASE), compiled("")),
)  # fmt: skip
"""What a figure measures, how it is told, and what stands behind it; the most telling first."""


def value_of(figure: str) -> float:
    """What a figure, in digits or in words, is worth.

    >>> value_of("1,250"), value_of("ninety-five"), value_of("two hundred and three"), value_of("two point five")
    (1250.0, 95.0, 203.0, 2.5)
    """
    if figure[0].isdigit() or figure[0] == ".":
        return float(figure.replace(",", ""))
    whole, _, tenths = figure.lower().replace(",", "").replace("-", " ").partition(" point ")
    total = current = 0
    for word in whole.split():
        if word in ("hundred", "thousand", "million"):
            total += max(1, current) * {"hundred": 100, "thousand": 1000, "million": 1_000_000}[word]
            current = 0
        else:
            current += _WORTH.get(word, 0)
    return total + current + (_WORTH[tenths] / 10.0 if tenths else 0.0)


def find_numbers(sentence: str) -> list[Number]:
    """All quantities of a sentence in order; each stretch of text is read once, the most telling pattern first."""
    return list(_numbers_in(sentence))


@lru_cache(maxsize=64)
def _numbers_in(sentence: str) -> tuple[Number, ...]:
    """Rules ask one after the other, and looking is most of what judging a sentence takes."""
    found: list[Number] = []
    taken = [False] * len(sentence)
    ends = [match.end() for match in _ANY_FIGURE.finditer(sentence)]
    for kind, pattern, words in _KINDS:
        if words is not None and not any(words.match(sentence, end) for end in ends):
            continue
        if pattern is _BY_POINTS and not LEADING.search(sentence):
            continue
        if kind == "count" and not any(_COUNTED.match(sentence, end) for end in ends) and not _FEW.search(sentence):
            continue
        for match in pattern.finditer(sentence):
            if any(taken[match.start() : match.end()]) or (kind == "fraction" and _is_place(sentence, match)):
                continue
            found.append(_number(kind, match))
            taken[match.start() : match.end()] = [True] * (match.end() - match.start())
    return tuple(_ranges(sorted(found, key=lambda number: number.start), sentence))


_TO = compiled(r"\s?(?:to|–|-|(?P<and>and))\s?", re.IGNORECASE)
_BETWEEN = compiled(r"\bbetween\s+$", re.IGNORECASE)
_UNIT = compiled(r"^.*\d\s?")


def _ranges(numbers: Sequence[Number], sentence: str) -> Iterator[Number]:
    """Figures with those that have the unit of the next: "2 to 8 m" are two lengths, "10 to 15%" is one range."""
    low: Number | None = None
    for one, after in zip(numbers, (*numbers[1:], None), strict=False):
        if low is not None:
            yield Number(low.start, one.end, one.kind, low.low, one.high, sentence[low.start : one.end])
            low = None
            continue
        to = _TO.fullmatch(sentence, one.end, after.start) if after else None
        is_between = to is not None and to.group("and") and _BETWEEN.search(sentence[: one.start])
        if is_between and after is not None and one.kind == after.kind == "percent":  # "between 7% and 8%"
            low = one
            continue
        has_unit = after is not None and after.kind in ("percent", "length", "area") and after.text[0].isdigit()
        is_range = to and one.text.isdigit() and has_unit
        if not is_range or after is None or (to and to.group("and") and not _BETWEEN.search(sentence[: one.start])):
            yield one
        elif after.kind == "percent":
            low = one
        else:
            first = _numbers_in(f"{one.text} {_UNIT.sub('', after.text)}")[0]
            yield Number(one.start, one.end, first.kind, first.low, first.high, one.text)


def _is_place(sentence: str, match: re.Match[str]) -> bool:
    """Whether a fraction word is part of a place: ``the northern half``, ``the south-eastern quarter``."""
    return bool(_HALF_PLACE.search(sentence[: match.start("word")]))


def _number(kind: str, match: re.Match[str]) -> Number:
    text, start, end = match.group(0), match.start(), match.end()
    if kind == "date":
        return Number(start, end, "date", 0.0, 0.0, text)
    if kind == "vague size":
        unit = match.group("unit").lower()
        is_area = not unit.startswith(("k", "m"))
        worths = _AREA_WORTH if is_area else {"k": 1e3, "m": 1.0}
        worth = next(worth for name, worth in worths.items() if unit.startswith(name))
        least, most = _VAGUE.get(match.group("vague").lower(), (15, 150))
        return Number(start, end, "area" if is_area else "length", least * worth, most * worth, text)
    hedge = (match.group("hedge") or "").lower()
    if kind == "fraction":
        value = _FRACTION_WORDS[match.group("word").lower()]
        low, high = _range(value, hedge, 4.0 if hedge else 2.0, 100.0)
        return Number(start, end, "percent", low, high, text)
    if kind == "every":
        nth = match.group("nth").lower()
        value = 100.0 / (2 if nth == "other" else 2 + _NTHS.index(nth))
        return Number(start, end, "percent", *_range(value, hedge, 4.0 if hedge else 2.0, 100.0), text)
    if kind == "ratio":
        part, of = (value_of(match.group(name)) for name in ("part", "whole"))
        value = 100.0 * part / max(1.0, of)
        return Number(start, end, "percent", *_range(value, hedge, 4.0 if hedge else 2.0, 100.0), text)
    if kind == "count":
        if match.group("vague"):
            low, high = _VAGUE[match.group("vague").lower()]
            return Number(start, end, "count", low, high, text)
        value = value_of(match.group("word"))
        low, high = _range(value, hedge, 0.2 * value if hedge else 0.0, 1e12)
        return Number(start, end, "count", low, high, text)
    if kind == "half area":
        whole = match.group("figure") or "zero"
        worth = next(worth for name, worth in _AREA_WORTH.items() if match.group("unit").lower().startswith(name))
        value = ((1.0 if whole.lower() in ("a", "an") else value_of(whole)) + 0.5) * worth
        return Number(start, end, "area", *_range(value, hedge, 0.1 * value, 1e12), text)
    amount = value_of(match.group("figure"))
    value = amount * (-1.0 if match.group("sign") else 1.0)
    figure = match.group("figure").replace(",", "") if match.group("figure")[-1].isdigit() else f"{amount:g}"
    digits = len(figure.split(".")[1]) if "." in figure else 0
    half_unit = 0.5 * 10.0**-digits
    if kind in ("percent", "points"):
        slack = (3.0 if value >= 10 else 1.0) if hedge else 0.1 if digits else 0.5
        return Number(start, end, kind, *_range(value, hedge, slack, 100.0), text)  # type: ignore[arg-type]
    if kind in ("area", "length"):
        unit = match.group("unit").lower()
        if kind == "area":
            worth = next(worth for name, worth in _AREA_WORTH.items() if unit.startswith(name))
        else:
            worth = 1e3 if unit.startswith("k") else 1.0
        trailing = 10.0 ** (len(figure) - len(figure.rstrip("0"))) / 2 if not digits and worth == 1.0 else half_unit
        slack = max(trailing * worth, (0.1 if hedge else 0.02) * abs(value * worth))
        return Number(start, end, kind, *_range(value * worth, hedge, slack, 1e12), text)  # type: ignore[arg-type]
    if kind == "decibel":
        return Number(start, end, "decibel", *_range(value, hedge, half_unit + (0.5 if hedge else 0.0), 100.0), text)
    if kind == "degrees":
        return Number(start, end, "degrees", *_range(value, hedge, half_unit + (1.0 if hedge else 0.0), 360.0), text)
    if digits:
        return Number(start, end, "index", *_range(value, hedge, half_unit + (0.03 if hedge else 0.0), 1e3), text)
    slack = 0.1 * value if hedge else 0.0
    return Number(start, end, "count", *_range(value, hedge, slack, 1e12), text)


OPEN_POINTS, NEAR_NONE = 40.0, 5.0
"""``more than 30%`` is no word for what has 80: it may lie so many points further; ``less than 5%`` is any trace."""


def _range(value: float, hedge: str, slack: float, most: float) -> tuple[float, float]:
    """True values that a hedged figure allows."""
    if re.fullmatch(_JUST_ABOVE, hedge):
        return value, value + max(slack, 4.0)
    if re.fullmatch(_JUST_BELOW, hedge):
        nearly = most == 100.0 and value >= NEARLY_FROM and re.fullmatch(_NEARLY, hedge)
        return value - max(slack, 5.0 if nearly else 4.0), value
    near = OPEN_POINTS if most == 100.0 and value > NEAR_NONE else most
    if re.fullmatch(_ABOVE, hedge):
        return value, min(most, value + near)
    if re.fullmatch(_BELOW, hedge):
        return max(0.0, value - near), value
    return value - slack, value + slack


def is_day(text: str, day: str) -> bool:
    """Whether a date as written names an ISO day, or its month, or the day or month of any year.

    Args:
        text: the date, or a year alone.
        day: the day; what follows it is passed over: map extracts have the time of day, too.
    """
    day = day[:10]
    if len(day) < 10:
        return day[:4] in text  # a map of which the year alone is known
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return text == day
    if re.fullmatch(r"\d{4}", text):
        return day.startswith(text)
    name = next(m for m in MONTHS if m in text)
    figures = [int(f) for f in re.findall(r"\d+", text)]
    year, month, number = (int(part) for part in day.split("-"))
    days = [figure for figure in figures if figure < 100]
    years = [figure for figure in figures if figure >= 100]
    return MONTHS.index(name) + 1 == month and all(d == number for d in days) and all(y == year for y in years)
