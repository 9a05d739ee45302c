"""Sentences that are true of a fact sheet, from the phrase tables of ``phrases.yaml``.

Each sentence carries the ids of its facts. Words of quantity mean: *the whole* = 100 %; *almost all* >= 90 %;
*most*, *greater part*, *dominates*, *mainly* >= 60 %, of one class or of the classes named together; *mostly*
(of a place) = more than half of the class lies there (`regions.place_of`); *small amounts* < 5 % each.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from captioners.facts_osm import kinds
from captioners.lexicon import Noun, nouns_of
from captioners.number_words import (
    Choice,
    area_phrase,
    count_phrase,
    day_phrase,
    fraction_phrases,
    length_phrase,
    listing,
    percent_phrases,
)
from captioners.reading import ClassReading, DateReading, FeatureReading, Reading
from captioners.regions import PLACE_WORDS, SPREAD
from schemas.text import Span

ALMOST, MOST, SECOND, SMALL = 90.0, 60.0, 20.0, 5.0
"""Percent from which *almost all*, *most* and a second main cover are said, and below which *small amounts*."""
CLEAR = 98.0
"""Percent of clear ground from which an index speaks of the whole scene."""

_OPEN, _MIDDLE, _CLOSE = "\ue000", "\ue001", "\ue002"  # private characters around a class noun: code, then noun
_VERBS = {
    "covers": "cover", "takes": "take", "makes": "make", "lies": "lie", "is": "are", "extends": "extend",
    "dominates": "dominate", "prevails": "prevail", "sets": "set", "leads": "lead", "comes": "come",
    "occurs": "occur", "falls": "fall", "forms": "form", "fills": "fill",
}  # fmt: skip
_EDGE = {"n": "northern", "e": "eastern", "s": "southern", "w": "western"}
_SIDE = {"n": "north", "e": "east", "s": "south", "w": "west"}


@dataclass(frozen=True)
class Sentence:
    """One sentence, class nouns still marked, and what it rests on."""

    text: str
    """With marks; `unmark` takes them out."""
    facts: tuple[str, ...]
    """Ids of its facts."""
    visible: bool = True
    """Whether the picture alone could prove it."""


@cache
def phrases() -> Mapping[str, tuple[str, ...]]:
    """Slot -> phrases."""
    table = yaml.safe_load((resources.files("captioners") / "phrases.yaml").read_text(encoding="utf-8"))
    return {slot: tuple(rows) for slot, rows in table.items()}


@cache
def _needs(phrase: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(phrase) if name)


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
            phrase = text[start:]
            fact = (f"share.{code}",)
            spans.append(Span(start=start, end=len(text), phrase=phrase, class_name=code, fact_ids=fact))
        elif reading_code:
            code += character
        else:
            text += character
    return text, tuple(spans)


def _capital(marked: str) -> str:
    """The marked text with its first letter a capital, whether or not a mark stands before it."""
    begin = marked.index(_MIDDLE) + 1 if marked.startswith(_OPEN) else 0
    return marked[:begin] + marked[begin : begin + 1].upper() + marked[begin + 1 :]


class Writer:
    """Makes the sentences of one chip; the same sheet and seed give the same words.

    Args:
        reading: the chip's facts.
        choice: decides the wording.
    """

    def __init__(self, reading: Reading, choice: Choice) -> None:
        self.reading, self.choice = reading, choice
        self.scene = (
            "the scene" if reading.is_complete else choice.one("ground", ("the mapped ground", "the mapped part"))
        )

    def phrase(self, slot: str, values: Mapping[str, str], *, key: str = "", extra: Sequence[str] = ()) -> str:
        """One phrase of the slot whose every brace is known, filled in."""
        rows = [row for row in (*phrases()[slot], *extra) if _needs(row) <= values.keys()]
        return _capital(self.choice.one(f"{slot}{key}", rows).format_map(values))

    def noun(self, one: ClassReading, slot: str) -> Noun:
        """How this class is named in a slot."""
        return self.choice.one(f"noun/{slot}/{one.code}", nouns_of(one.noun))

    def class_values(self, named: Sequence[ClassReading], slot: str) -> dict[str, str]:
        """Braces of up to four classes, named a to d."""
        values = {"scene": self.scene}
        for letter, one in zip("abcd", named, strict=False):
            noun = self.noun(one, slot)
            mark = f"{_OPEN}{one.code}{_MIDDLE}"
            values[letter] = f"{mark}{noun.full}{_CLOSE}"
            values[f"bare_{letter}"] = f"{mark}{noun.text}{_CLOSE}"
            if one.share < 100.0:
                figures = percent_phrases(one.share)
                values[f"n{letter}"] = self.choice.one(f"{slot}/n{letter}", figures)
                values[f"s{letter}"] = self.choice.one(f"{slot}/s{letter}", fraction_phrases(one.share) or figures)
            if one.place and one.place != SPREAD:
                values[f"p{letter}"] = self.choice.one(f"{slot}/p{letter}", PLACE_WORDS[one.place])
            for singular, plural in _VERBS.items():
                values[f"{singular}_{letter}"] = plural if noun.plural else singular
        return values

    def opening(self, prefix: str = "") -> tuple[Sentence, int]:
        """The sentence that says what there is most of, and how many classes it names.

        Args:
            prefix: ``short_`` for the wording of a short caption.
        """
        classes = self.reading.classes
        shares = [one.share for one in classes]
        extra: tuple[str, ...] = ()
        if shares[0] >= 100.0:
            slot = "whole"
            extra = phrases()["short_whole_complete"] if prefix and self.reading.is_complete else ()
        elif shares[0] >= ALMOST:
            slot = "almost"
        elif shares[0] >= MOST:
            slot = "dominant"
        elif shares[1] >= SECOND and shares[0] + shares[1] >= MOST:
            slot = "two"
        elif len(shares) > 2 and shares[2] >= SMALL and sum(shares[:3]) >= MOST:
            slot = "mosaic"
            extra = phrases()["mosaic_even"] if shares[0] < 50.0 and not prefix else ()
        else:
            slot = "two_others"
        named = classes[:3] if slot != "whole" else classes[:1]
        values = self.class_values(named, prefix + slot)
        rows = [row for row in (*phrases()[prefix + slot], *extra) if _needs(row) <= values.keys()]
        row = self.choice.one(prefix + slot, rows)
        used = _used(row, named)
        return Sentence(_capital(row.format_map(values)), _share_facts(used, row, named)), len(used)

    def rest(self, told: int) -> Sentence | None:
        """What the classes after the first ``told`` are; None where none is left."""
        left = self.reading.classes[told:]
        if not left:
            return None
        facts = tuple(one.share_id for one in left)
        if len(left) <= 2:
            slot = "rest_one" if len(left) == 1 else "rest_two"
            values = self.class_values([left[0], left[0], *left], slot)
            return Sentence(self.phrase(slot, values), facts)
        if left[0].share < SMALL:
            words = [self._named(one, "rest_traces") for one in left]
            return Sentence(self.phrase("rest_traces", {"list": listing(words)}), facts)
        words = [
            f"{self._named(one, 'rest')} ({self.choice.one(f'rest/{one.code}', percent_phrases(one.share))})"
            for one in left
        ]
        return Sentence(self.phrase("rest_some", {"list": listing(words)}), facts)

    def _named(self, one: ClassReading, slot: str) -> str:
        return f"{_OPEN}{one.code}{_MIDDLE}{self.noun(one, slot).text}{_CLOSE}"

    def places(self) -> list[Sentence]:
        """Where the main classes lie, for those under 75 % for which a word fits."""
        told = [one for one in self.reading.classes if one.place and 1.0 <= one.share < 75.0][:3]
        spread = [one for one in told if one.place == SPREAD][:1]
        placed = [one for one in told if one.place != SPREAD]
        sentences = []
        if len(placed) >= 2:
            values = self.class_values(placed[:2], "place_two")
            facts = tuple(f for one in placed[:2] for f in (f"place.{one.code}", f"place.{one.code}.fraction"))
            sentences.append(Sentence(self.phrase("place_two", values), facts))
        elif placed:
            values = self.class_values(placed, "place")
            facts = (f"place.{placed[0].code}", f"place.{placed[0].code}.fraction")
            sentences.append(Sentence(self.phrase("place", values), facts))
        for one in spread:
            values = self.class_values([one], "spread")
            sentences.append(Sentence(self.phrase("spread", values), (f"place.{one.code}",)))
        return sentences

    def patches(self) -> Sentence | None:
        """How the class chosen for it is broken up; never the one that fills nearly everything."""
        able = [one for one in self.reading.classes[:4] if one.patches and one.share < 75.0]
        if not able:
            return None
        one = self.choice.one("patches/class", able)
        count, head = int(one.patches["count"]), f"patches.{one.code}."
        values = self.class_values([one], "patches")
        values["area"] = area_phrase(float(one.patches["largest"]))
        position = str(one.patches["largest.position"])
        values["centred"] = "centred near the middle" if position == "centre" else f"centred in the {position}"
        if "largest.edges" in one.patches:
            values["edges"] = _edges(str(one.patches["largest.edges"]))
        if "largest.shape" in one.patches:
            values["shape"] = str(one.patches["largest.shape"])
        facts = (f"{head}count", f"{head}largest", f"{head}largest.position")
        if count == 1:
            return Sentence(self.phrase("single", values), facts)
        values["count"] = count_phrase(count)
        text = self.phrase("patches", values)
        more = tuple(f"{head}largest.{name}" for name in ("edges", "shape") if name in values and values[name] in text)
        return Sentence(text, facts + more)

    def border(self) -> Sentence | None:
        """Which two classes share the longest boundary, where there are more than two and one pair leads."""
        borders = sorted(
            ((float(f.value), f.fact_id) for f in self.reading.sheet.facts if f.kind == "adjacency"), reverse=True
        )
        if len(borders) < 2 or borders[0][0] == borders[1][0]:
            return None
        codes = [int(code) for code in borders[0][1].split(".")[1:]]
        by_code = {one.code: one for one in self.reading.classes}
        values = self.class_values([by_code[code] for code in codes], "border")
        return Sentence(self.phrase("border", values), tuple(fact_id for _, fact_id in borders))

    def map_features(self) -> list[Sentence]:
        """What the map shows: a line that crosses the scene, a counted kind, lengths of ways."""
        features = {one.kind: one for one in self.reading.features}
        order = {kind.name: kind for kind in kinds()}
        sentences = []
        crossing = [one for name, one in features.items() if "course" in one.values and order[name].course]
        if crossing:
            sentences.append(self._course(self.choice.one("osm/course", crossing), order))
        counted = [features[name] for name in order if name in features and "count" in features[name].values]
        if counted:
            one = self.choice.one("osm/counted", counted[:3])
            count = int(one.values["count"])
            values = {
                "count": count_phrase(count),
                "noun": order[one.kind].singular if count == 1 else one.noun,
                "area": area_phrase(float(one.values["area"])),
            }
            place = str(one.values.get("place", ""))
            if place and place != SPREAD and count > 1:
                values["place"] = self.choice.one("osm/place", PLACE_WORDS[place])
            names = ("count", "area", "place", "place.fraction")
            facts = tuple(f"osm.{one.kind}.{name}" for name in names if name in one.values)
            sentences.append(Sentence(self.phrase("osm_counted", values), facts, visible=False))
        long = [features[name] for name in order if name in features and "length" in features[name].values][:3]
        if long and self.choice.number("osm/length") % 2:
            words = [f"{length_phrase(float(one.values['length']))} of {one.noun}" for one in long]
            facts = tuple(f"osm.{one.kind}.length" for one in long)
            sentences.append(Sentence(self.phrase("osm_length", {"list": listing(words)}), facts, visible=False))
        return sentences

    def _course(self, one: FeatureReading, order: Mapping[str, object]) -> Sentence:
        way = str(one.values["course"]).split("-")
        singular = next(kind.singular for kind in kinds() if kind.name == one.kind)
        noun = f"{'an' if singular[0] in 'aeiou' else 'a'} {singular}"
        values = {"Noun": noun, "noun": noun, "from": _SIDE[way[0]], "to": _SIDE[way[1]]}
        facts = [f"osm.{one.kind}.course"]
        slot = "osm_course"
        if one.values.get("course.form") == "winding":
            slot, facts = "osm_course_winding", [*facts, f"osm.{one.kind}.course.form"]
        return Sentence(self.phrase(slot, values), tuple(facts))

    def vegetation(self) -> Sentence | None:
        """Mean NDVI on the clearest date, the latest of equals."""
        dates = [d for d in self.reading.dates if "index.ndvi" in d.values]
        if not dates:
            return None
        best = max(dates, key=lambda d: (round(float(d.values["clear"])), d.day, d.tag))
        clear, green = float(best.values["clear"]), float(best.values.get("index.ndvi.green", 0.0))
        values = {"day": day_phrase(best.day), "ndvi": _decimal(float(best.values["index.ndvi"]), 2)}
        facts = [f"date.{best.tag}", f"index.ndvi.{best.tag}", f"clear.{best.tag}"]
        if clear < CLEAR:
            values["clear"] = self.choice.one("clear", percent_phrases(clear))
            return Sentence(self.phrase("vegetation_part", values), tuple(facts), visible=False)
        if clear < 100.0 or not 0.0 < green < 100.0:
            return Sentence(self.phrase("vegetation_mean", values), tuple(facts), visible=False)
        values["green"] = self.choice.one("green", percent_phrases(green))
        facts.append(f"index.ndvi.green.{best.tag}")
        if "season" in best.values:
            values["season"] = str(best.values["season"])
            facts.append(f"season.{best.tag}")
        return Sentence(self.phrase("vegetation", values), tuple(facts), visible=False)

    def change(self) -> Sentence | None:
        """How mean NDVI changed between the first and the last clear date of one sensor, where by 0.1 or more."""
        by_source: dict[str, list[DateReading]] = {}
        for one in self.reading.dates:
            if "index.ndvi" in one.values and float(one.values["clear"]) >= CLEAR:
                by_source.setdefault(one.source, []).append(one)
        for dates in by_source.values():
            first, last = dates[0], dates[-1]
            before, after = float(first.values["index.ndvi"]), float(last.values["index.ndvi"])
            if first.day < last.day and abs(after - before) >= 0.1:
                values = {
                    "day1": day_phrase(first.day), "day2": day_phrase(last.day),
                    "ndvi1": _decimal(before, 2), "ndvi2": _decimal(after, 2),
                }  # fmt: skip
                facts = tuple(f"{kind}.{d.tag}" for d in (first, last) for kind in ("date", "index.ndvi"))
                slot = "change_up" if after > before else "change_down"
                return Sentence(self.phrase(slot, values), facts, visible=False)
        return None

    def clouds(self) -> Sentence | None:
        """How much the clouds hid on the cloudiest date, where it is 5 % or more but not all."""
        dates = [d for d in self.reading.dates if 5.0 <= float(d.values.get("cloud", 0.0)) < 100.0]
        if not dates:
            return None
        one = max(dates, key=lambda d: (float(d.values["cloud"]), d.tag))
        cloud = self.choice.one("cloud", percent_phrases(float(one.values["cloud"])))
        facts = (f"date.{one.tag}", f"cloud.{one.tag}")
        return Sentence(self.phrase("clouds", {"cloud": cloud, "day": day_phrase(one.day)}), facts, visible=False)

    def radar(self) -> Sentence | None:
        """Mean backscatter of the latest radar date with both polarisations."""
        dates = [d for d in self.reading.dates if {"sar.vv", "sar.vh"} <= d.values.keys()]
        if not dates:
            return None
        one = dates[-1]
        values = {"day": day_phrase(one.day)} | {p: _decimal(float(one.values[f"sar.{p}"]), 1) for p in ("vv", "vh")}
        facts = (f"date.{one.tag}", f"sar.vv.{one.tag}", f"sar.vh.{one.tag}")
        return Sentence(self.phrase("radar", values), facts, visible=False)

    def terrain(self) -> Sentence | None:
        """Lowest and highest ground."""
        by_id = self.reading.by_id
        if "terrain.low" not in by_id:
            return None
        low, high = (round(float(by_id[f"terrain.{name}"].value)) for name in ("low", "high"))
        if high <= low:
            return None
        slot = "terrain_flat" if float(by_id["terrain.relief"].value) < 20.0 else "terrain"
        values = {"low": _decimal(low, 0), "high": _decimal(high, 0)}
        return Sentence(self.phrase(slot, values), ("terrain.low", "terrain.high", "terrain.relief"), visible=False)

    def unmapped(self) -> Sentence | None:
        """How much of the chip has no class."""
        if self.reading.is_complete:
            return None
        if not self.reading.classes:
            return Sentence(self.phrase("nothing", {}), ("labelled.share",), visible=False)
        gap = self.choice.one("unmapped", percent_phrases(100.0 - self.reading.labelled))
        return Sentence(self.phrase("unmapped", {"unmapped": gap}), ("labelled.share",), visible=False)

    def extent(self) -> Sentence:
        """How large the chip is."""
        width, height = (float(self.reading.by_id[f"ground.{name}"].value) for name in ("width", "height"))
        values = {"width": length_phrase(width), "height": length_phrase(height)}
        return Sentence(self.phrase("extent", values), ("ground.width", "ground.height"), visible=False)


def _used(row: str, named: Sequence[ClassReading]) -> list[ClassReading]:
    """Classes that a phrase names."""
    needs = _needs(row)
    return [one for letter, one in zip("abc", named, strict=False) if letter in needs or f"bare_{letter}" in needs]


def _share_facts(used: Sequence[ClassReading], row: str, named: Sequence[ClassReading]) -> tuple[str, ...]:
    """Fact ids of the classes a phrase names, and of the places it tells."""
    facts = [one.share_id for one in used]
    for letter, one in zip("abc", named, strict=False):
        if f"p{letter}" in _needs(row):
            facts += [f"place.{one.code}", f"place.{one.code}.fraction"]
    return tuple(facts)


def _edges(letters: str) -> str:
    if len(letters) == 4:
        return "all four edges of the scene"
    return f"the {listing([_EDGE[letter] for letter in letters])} edge{'s' if len(letters) > 1 else ''}"


def _decimal(value: float, digits: int) -> str:
    """A number with a true minus sign and no minus zero."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text
