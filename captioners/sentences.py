"""Sentences that are true of a fact sheet, from the phrase tables of ``phrases.yaml``.

Each sentence carries the ids of its facts. Words of quantity mean: *the whole* = 100 %; *almost all* >= 90 %;
*most*, *greater part*, *dominates*, *mainly* >= 60 %, of one class or of the classes named together; *mostly*
(of a place) = more than half of the class lies there (`regions.place_of`); *small amounts* < 5 % each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captioners.facts_osm import kinds
from captioners.geometry_words import EDGE_NAMES
from captioners.lexicon import Noun, nouns_of
from captioners.number_words import (
    Choice,
    area_phrase,
    count_phrase,
    fraction_phrases,
    length_phrase,
    listing,
    percent_phrases,
)
from captioners.phrasing import Named, Sentence, capital, mark, needs, phrases
from captioners.reading import ClassReading, FeatureReading, Reading
from captioners.regions import PLACE_WORDS, SPREAD

ALMOST, MOST, SECOND, SMALL = 90.0, 60.0, 20.0, 5.0
"""Percent from which *almost all*, *most* and a second main cover are said, and below which *small amounts*."""

_VERBS = {
    "covers": "cover", "takes": "take", "makes": "make", "lies": "lie", "is": "are", "extends": "extend",
    "dominates": "dominate", "prevails": "prevail", "sets": "set", "leads": "lead", "comes": "come",
    "occurs": "occur", "falls": "fall", "forms": "form", "fills": "fill",
}  # fmt: skip
_SIDE = {"n": "north", "e": "east", "s": "south", "w": "west"}


class Writer:
    """Makes the sentences of one chip; the same sheet and seed give the same words.

    Args:
        reading: the chip's facts.
        choice: decides the wording.
        subjects: decides what is spoken of; by the same choice where absent.
    """

    def __init__(self, reading: Reading, choice: Choice, subjects: Choice | None = None) -> None:
        self.reading, self.choice, self.subjects = reading, choice, subjects or choice
        complete = ("the scene", "the scene", "the area", "the view", "the ground")
        self.scene = choice.one("ground", complete if reading.is_complete else ("the mapped ground", "the mapped part"))

    def phrase(self, slot: str, values: Mapping[str, str], *, key: str = "", extra: Sequence[str] = ()) -> str:
        """One phrase of the slot whose every brace is known, filled in."""
        return self.fill(f"{slot}{key}", self.rows(slot, values, extra), values)

    def rows(self, slot: str, values: Mapping[str, str], extra: Sequence[str] = ()) -> list[str]:
        """The phrases of a slot whose every brace is known."""
        return [row for row in (*phrases()[slot], *extra) if needs(row) <= values.keys()]

    def fill(self, key: str, rows: Sequence[str], values: Mapping[str, str]) -> str:
        """One of the phrases, filled in."""
        return capital(self.choice.one(key, rows).format_map(values))

    def named(self, one: ClassReading, slot: str) -> Named:
        """A class as class ``a``."""
        noun = self.noun(one, slot)
        verbs = {f"{singular}_a": plural if noun.plural else singular for singular, plural in _VERBS.items()}
        return Named(mark(one.code, noun.full), mark(one.code, noun.text), verbs)

    def noun(self, one: ClassReading, slot: str) -> Noun:
        """How this class is named in a slot."""
        return self.choice.one(f"noun/{slot}/{one.code}", nouns_of(one.noun))

    def class_values(self, named: Sequence[ClassReading], slot: str) -> dict[str, str]:
        """Braces of up to four classes, named a to d."""
        values = {"scene": self.scene}
        for letter, one in zip("abcd", named, strict=False):
            noun = self.noun(one, slot)
            values[letter] = mark(one.code, noun.full)
            values[f"bare_{letter}"] = mark(one.code, noun.text)
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
        rows = [row for row in (*phrases()[prefix + slot], *extra) if needs(row) <= values.keys()]
        if not self.reading.is_complete:  # "mainly trees" says too much where a tenth of the ground has a class
            rows = [row for row in rows if "scene" in needs(row)]
        row = self.choice.one(prefix + slot, rows)
        used = _used(row, named)
        return Sentence(capital(row.format_map(values)), _share_facts(used, row, named)), len(used)

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
        return mark(one.code, self.noun(one, slot).text)

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
            sentences += self.placed(placed[0])
        for one in spread:
            sentences += self.placed(one)
        return sentences

    def placed(self, one: ClassReading) -> list[Sentence]:
        """Where one class lies; nothing where no word fits."""
        if not one.place:
            return []
        slot = "spread" if one.place == SPREAD else "place"
        facts = (f"place.{one.code}",) if one.place == SPREAD else (f"place.{one.code}", f"place.{one.code}.fraction")
        return [Sentence(self.phrase(slot, self.class_values([one], slot)), facts)]

    def patches(self, only: ClassReading | None = None) -> Sentence | None:
        """How a class is broken up: that class, or one chosen; never the one that fills nearly everything."""
        able = [one for one in self.reading.classes[:4] if one.patches and one.share < 75.0]
        if not able or (only is not None and only not in able):
            return None
        one = only or self.subjects.one("patches/class", able)
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
            sentences.append(self._course(self.subjects.one("osm/course", crossing)))
        counted = [features[name] for name in order if name in features and "count" in features[name].values]
        if counted:
            one = self.subjects.one("osm/counted", counted[:3])
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
        if long and self.subjects.number("osm/length") % 2:
            words = [f"{length_phrase(float(one.values['length']))} of {one.noun}" for one in long]
            facts = tuple(f"osm.{one.kind}.length" for one in long)
            sentences.append(Sentence(self.phrase("osm_length", {"list": listing(words)}), facts, visible=False))
        return sentences

    def _course(self, one: FeatureReading) -> Sentence:
        way = str(one.values["course"]).split("-")
        singular = next(kind.singular for kind in kinds() if kind.name == one.kind)
        noun = f"{'an' if singular[0] in 'aeiou' else 'a'} {singular}"
        values = {"Noun": noun, "noun": noun, "from": _SIDE[way[0]], "to": _SIDE[way[1]]}
        facts = [f"osm.{one.kind}.course"]
        slot = "osm_course"
        if one.values.get("course.form") == "winding":
            slot, facts = "osm_course_winding", [*facts, f"osm.{one.kind}.course.form"]
        return Sentence(self.phrase(slot, values), tuple(facts))

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
    braces = needs(row)
    return [one for letter, one in zip("abc", named, strict=False) if letter in braces or f"bare_{letter}" in braces]


def _share_facts(used: Sequence[ClassReading], row: str, named: Sequence[ClassReading]) -> tuple[str, ...]:
    """Fact ids of the classes a phrase names, and of the places it tells."""
    facts = [one.share_id for one in used]
    for letter, one in zip("abc", named, strict=False):
        if f"p{letter}" in needs(row):
            facts += [f"place.{one.code}", f"place.{one.code}.fraction"]
    return tuple(facts)


def _edges(letters: str) -> str:
    if len(letters) == 4:
        return "all four edges of the scene"
    return f"the {listing([EDGE_NAMES[letter] for letter in letters])} edge{'s' if len(letters) > 1 else ''}"
