"""Every sentence of a model is recomputed from the facts: what it may not say, and what does not fit them.

Rules (names stand in a record's ``checks``): ``no_fact``, ``unknown_fact``, ``class`` (a class the chip does not
hold, a thing that no fact names), ``absence`` (denies what is there, or what cannot be known), ``number``, ``place``,
``comparison`` (in `orders`), ``relation`` (in `contact` and `across`), ``shape``, ``size``, ``season``, ``trend``,
``terrain`` (in `claims`), quantities in words (in `extents`, `scarce`, `amounts`, `whole`, `spread`, `ranks`), single
patches (`patches`, `pieces`), dates and heights (`levels`), map features (`mapped`), comparing words that no rule has
judged (`unread`), ``visibility``, ``leak``, ``hedge``, ``name``, ``echo``, ``subjective``, ``form``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from captioners import attributed, denials
from captioners.across import across, passed
from captioners.amounts import amounts
from captioners.beside import ONE_OF_THEM, beside, neighbours, told_before
from captioners.claims import Said, claims, concepts_told
from captioners.contact import contact
from captioners.dated import told_then, told_way
from captioners.extents import extents
from captioners.levels import levels, sides_of_slope
from captioners.lexicon import Noun, concepts_of, nouns_of
from captioners.listed import list_around
from captioners.mapped import is_of_map, is_on_map, mapped
from captioners.mentions import Mention, asserting, find_mentions, find_places, is_synonym, merged
from captioners.names import names_told
from captioners.orders import orders
from captioners.patches import patches
from captioners.pieces import is_counted, pieces
from captioners.placed import held_in, lies, tells
from captioners.quantities import Number, find_numbers, is_day
from captioners.ranks import is_bound, ranks
from captioners.reading import ClassReading, Reading
from captioners.regions import CELLS, parts_of
from captioners.scarce import scarce
from captioners.spread import are_compared, is_least_there, spread
from captioners.style import MAX_CHARACTERS, Violation, style_violations
from captioners.things import told_words, unknown_things
from captioners.unread import unread
from captioners.whole import whole
from schemas.facts import Fact

STRONG = re.compile(
    r"\b(mostly|most of the|mainly|concentrated|bulk|largely|predominantly|primarily|confined|chiefly|majority)\b", re.I
)
SUM = re.compile(r"\b(together|combined|in total|in all|altogether|jointly|account for)\b", re.I)
_TOGETHER = re.compile(r"\b(?:together|combined|jointly|between them)\b(?! with)", re.I)
_IS_SUBJECT = re.compile(r"(?:[,;] |\b)(?:while|whereas|but|and) the $", re.I)
"""Before a place that a clause speaks of: "the west is A, whereas the east holds B"."""
_EACH = re.compile(r"\b(?:each|apiece|respectively|both)\b", re.I)
_VEGETATED = re.compile(
    r"(?<!sparsely )(?<!sparse )\bvegetat(?:ed|ion)\b(?! ind(?:ex|ices))(?!.*\b(?:ND[VWB]I|denser|greener|thinned)\b)",
    re.I,
)
_REMAINING = re.compile(r"\b(?:remaining|other)\s*$", re.I)
_UNITS = {
    "area": ("m2",),
    "length": ("m",),
    "decibel": ("dB",),
    "degrees": ("degrees",),
    "index": ("1", "m", "dB", "count"),
    "count": ("count", "m"),
}
"""Kind of number -> units of the facts that may bear it out."""
_ABOUT_REGION = re.compile(
    r"(?:^In (?:the mapped ground of )?the |^The (?:mapped ground of the )?|\bof (?:the mapped ground of )?the )"
    r"(?:north|south|east|west|middle|centre|center|central|upper|lower|top|bottom|left|right)[\w-]*"
    r"(?: (?:quarter|quadrant|half|third|part|of the scene|left|right|centre|center|middle|row|column|cell|ninth|"
    r"corner))*"
    r"(?: (?:holds|is|there|has|consists|,)|,|\.|$| with\b)",
    re.I,
)
"""Figures of a sentence that speaks of one part of the scene are shares of that part."""
_TERMS = re.compile(r"\b(?:(?:water|vegetation|built-up) index|sea level)\b", re.I)
"""Terms in which a cover's name names none."""
_SIZED = re.compile(
    r"\b(extra small|small|medium|large|extra large) (fraction|part|portion|amount|quantity) of\b", re.I
)
_RELATIVE = re.compile(r"\s+of (?:the |it|its )(?!scene|image|chip|view|picture|area|ground|landscape|whole)", re.I)
_MEASURED = ("clear", "cloud", "index", "change", "labelled")
_SENSED = re.compile(
    r"\b(?:clear\w*|sky|clouds?|cloudy|hid\w*|ND[VWB]I|vegetation|green\w*|infrared|class\w*|unclassified|mapped|"
    r"unmapped|turned|open water|thinned|denser)\b",
    re.I,
)
"""Words of a sentence whose figures may be those of a sensor, or of what has no class, beside a cover."""
_OUTSIDE = re.compile(
    r"(?<!nowhere )\b(?:except(?: for)?|but|apart from|other than|aside from|save for|outside(?: of)?|beyond|"
    r"away from|avoids?)"
    r"\s+(?:in |for |of |along )?(?:the )?(?:far )?$",
    re.I,
)
_ALONG = re.compile(r"\b(?:lin(?:es?|ing)|hug(?:s|ging)?|fring(?:es?|ing)|skirt(?:s|ing)?|along) (?:the )?$", re.I)
_SIGN_ALONE = re.compile(r"%|\bper ?cent\b(?! of pixels)|\bpct\b", re.I)

RULES = (
    claims, contact, orders, ranks, extents, scarce, amounts, whole, spread, across, patches, pieces, levels, mapped,
    unread,
)  # fmt: skip
"""What judges a sentence beyond its classes, figures and places, each in a module of its own; `unread` comes last."""


class Verifier:
    """Checks sentences about one chip.

    Args:
        reading: the chip's facts.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        features = [concepts_of(one.noun) for one in reading.features]
        self.mapped = frozenset().union(*features) if features else frozenset()
        self.names = names_told(reading)
        present = [
            (noun.text, f"class:{c.code}") for c in reading.classes for noun in (*nouns_of(c.noun), Noun(c.noun))
        ]
        skipped = {"clouds"} if any(f.kind == "cloud" for f in reading.sheet.facts) else set()
        absent = [(n, f"class:{code}") for code, n in reading.absent if n not in skipped and not is_synonym(n)]
        self.nouns = frozenset((*absent, *present))
        self.told = told_words(reading)
        gsd = reading.by_id.get("ground.gsd")
        self.gsd_m = 10.0 if gsd is None else float(gsd.value)

    def sentence(self, text: str, fact_ids: Sequence[str], before: Sequence[str] = ()) -> list[Violation]:
        """Everything that is wrong with one sentence; empty where it holds.

        Args:
            text: the sentence.
            fact_ids: the facts that it cites.
            before: the sentences of its text that stand before it.
        """
        if len(text) > MAX_CHARACTERS:  # the rules' patterns are made for sentences
            return [Violation("form", "is not one finished sentence")]
        known = [self.reading.by_id[fact_id] for fact_id in fact_ids if fact_id in self.reading.by_id]
        found = [
            Violation("unknown_fact", f"no fact has the id {i!r}") for i in fact_ids if i not in self.reading.by_id
        ]
        if not known:
            found.append(Violation("no_fact", "names no fact that it rests on"))
        plain = self.names.sub(lambda match: " " * len(match.group(0)), text)  # a name is a name, whatever it says
        everything = tuple(find_mentions(plain, self.nouns))
        plain, wrong = denials.judged(Said(plain, everything, tuple(known), self.reading, self.classes_of), self.mapped)
        found += [Violation(rule, detail) for rule, detail in wrong]
        found += style_violations(text, plain, self.gsd_m, self.nouns)
        plain = _TERMS.sub(lambda match: "x" * len(match.group(0)), plain)
        mentions = merged(find_mentions(plain, self.nouns), plain)
        told = concepts_told(known, self.nouns)
        of_label = {
            m.concept for m in mentions if any(f.kind in attributed.OF_LABEL and self._is_about(f, m) for f in known)
        }
        asserted = tuple(m for m in mentions if not m.negated and (m.concept not in told or m.concept in of_label))
        found += self._classes(plain, mentions, told)
        found += self._numbers(plain, mentions, known)
        found += self._places(plain, mentions, known)
        earlier = [m for each in before for m in find_mentions(each[:MAX_CHARACTERS], self.nouns) if not m.negated]
        said = Said(plain, asserted, tuple(known), self.reading, self.classes_of, tuple(earlier))
        found += [Violation(rule, detail) for rules in RULES for rule, detail in rules(said)]
        found += [
            Violation("class", f"mentions {word!r}, which no fact names")
            for word in unknown_things(asserting(plain, mentions), self.told)
        ]
        return found

    def _classes(self, text: str, mentions: Sequence[Mention], told: frozenset[str]) -> Iterable[Violation]:
        """Classes that are not there, and absences that are not so.

        Args:
            text: the sentence.
            mentions: covers that it names.
            told: concepts that cited map features bring with them.
        """
        places = find_places(text)
        for one in mentions:
            there = bool(self.classes_of(one.concept)) or one.concept in self.mapped or one.concept in told
            local = denials.is_local(self.reading, self.classes_of, one, mentions, places, text)
            if one.negated and there and not local:
                yield Violation("absence", f"denies {one.concept}, which is there")
            elif one.negated and not self.reading.is_complete:
                yield Violation("absence", f"denies {one.concept}, but part of the ground has no class")
            elif not one.negated and not there:
                yield Violation("class", f"mentions {one.concept}, which is not there")

    def named(self, text: str) -> tuple[int, int]:
        """(how many of the classes over 5 % of the chip a text names, how many there are)."""
        large = [one for one in self.reading.classes if one.share > 5.0]
        told = {c.code for m in find_mentions(text, self.nouns) if not m.negated for c in self.classes_of(m.concept)}
        return sum(one.code in told for one in large), len(large)

    def mentions(self, text: str) -> int:
        """How many covers a text names as being there."""
        return sum(not m.negated for m in find_mentions(text[:MAX_CHARACTERS], self.nouns))

    def classes_of(self, concept: str) -> list[ClassReading]:
        """Classes that a mention may mean: the very class, or all that bring the concept with them."""
        if concept.startswith("class:"):
            return [one for one in self.reading.classes if one.code == int(concept.removeprefix("class:"))]
        return [one for one in self.reading.classes if concept in concepts_of(one.noun)]

    def _shares(self, concept: str, regions: Iterable[str], *, whole: bool = True) -> list[float]:
        """True shares that a figure beside a concept may mean: of one class, of all its classes, here or there.

        Args:
            concept: the concept.
            regions: parts of the scene whose shares count too.
            whole: whether the shares of the whole scene count.
        """
        classes = self.classes_of(concept)
        values = [one.share for one in classes] if whole else []
        values += [sum(values)] if whole else []
        for region in regions:
            part = [s for one in classes if (s := self._region_share(one.code, region)) is not None]
            values += [*part, sum(part)]
        return values

    def _sums(self, mentions: Sequence[Mention], regions: Iterable[str]) -> list[float]:
        """What covers make up together, in the scene and in parts of it."""
        shares = {c.code: c.share for m in mentions for c in self.classes_of(m.concept)}
        parts = [sum(self._region_share(code, region) or 0.0 for code in shares) for region in regions]
        return [sum(shares.values()), *parts]

    def _region_share(self, code: int, region: str) -> float | None:
        """Percent of a class in a part; of several regions, their mean. None where the sheet does not say."""
        shares = [self.reading.region_share(code, part) for part in parts_of(region)[0]]
        return None if None in shares else sum(share or 0.0 for share in shares) / len(shares)

    def _numbers(self, text: str, mentions: Sequence[Mention], cited: Sequence[Fact]) -> Iterable[Violation]:
        """Figures that no fact bears out."""
        numbers = find_numbers(text)
        asserted = [m for m in mentions if not m.negated]
        percents = [n for n in numbers if n.kind == "percent"]
        places = find_places(text)
        regions = [p.region for p in places] + [CELLS[p.region] for p in places if p.form == "corner"]
        whole = not _ABOUT_REGION.search(text)
        paired = len(percents) == len(asserted)
        parts = attributed.regions_of_figures(text, percents, places)
        for rank, number in enumerate(percents):
            own = [parts[number.start]] if number.start in parts else []
            if is_bound(text, number):
                continue
            near = [asserted[rank]] if paired else neighbours(number, asserted)
            then = told_way(told_then(cited, number, text, self.reading), number, text)
            values = self._percent_values(near, regions, then, text, paired) if whole and not own else []
            values += [v for m in near for v in self._shares(m.concept, own or regions, whole=False)]
            if (held := attributed.place_of_it(text, number, asserted, places)) is not None:
                values = held_in(self.reading, self.classes_of(held[0].concept), held[1]) or values
                values += [
                    float(f.value) for f in then if f.fact_id.endswith(".fraction") and self._is_named(f, regions)
                ]
            if len(percents) == 1 and len(asserted) > 1 and _TOGETHER.search(text):
                values = self._sums(asserted, regions)
            elif len(percents) == 1 and len(asserted) > 1 and not _EACH.search(text):
                values += self._sums(list_around(near, asserted, text), regions if not whole else ())
            if _REMAINING.search(text[: number.start]):  # all that is told after it; `whole` asks whether that is all
                values += self._sums([m for m in asserted if m.start >= number.end], regions)
            if not any(number.allows(v) for v in values):
                yield Violation("number", f"{number.text!r} fits no fact")
        for number in numbers:
            then = told_then(cited, number, text, self.reading)
            if (
                number.kind not in ("percent", "points")
                and not is_counted(number, text)
                and not self._is_borne_out(number, asserted, then, text)
            ):
                yield Violation("number", f"{number.text!r} fits no fact")
        read = [(n.start, n.end) for n in percents]
        for match in _SIGN_ALONE.finditer(text):
            if not any(start <= match.start() < end for start, end in read):
                yield Violation("number", f"{match.group(0)!r} without a figure")

    def _percent_values(
        self, near: Sequence[Mention], regions: Sequence[str], cited: Sequence[Fact], text: str, paired: bool
    ) -> list[float]:
        values = [v for m in near for v in self._shares(m.concept, regions)]
        sensed = not near or bool(_SENSED.search(text))
        told = [f for f in cited if f.unit == "percent" and f.kind != "share" and (sensed or f.kind not in _MEASURED)]
        told = [f for f in told if not f.fact_id.endswith(".fraction") or self._is_named(f, regions)]
        values += [float(f.value) for f in told]
        values += [100.0 - float(f.value) for f in told if f.kind in ("labelled", "clear")]
        shares = [float(f.value) for f in cited if f.kind == "share" and f.region == "chip"]
        if not near and attributed.MOVED.search(text):
            return values  # "a third turned greener": no share of a cover tells that
        if not near or not paired:
            values += [sum(shares), 100.0 - sum(shares)] if shares else []
        if not near:
            values += shares
        if _VEGETATED.search(text):
            values.append(sum(c.share for c in self.classes_of("vegetation")))
        if SUM.search(text):
            values.append(sum(shares))
            named = {c.code: c.share for m in find_mentions(text, self.nouns) for c in self.classes_of(m.concept)}
            values.append(sum(named.values()))
        return values

    def _is_named(self, fraction: Fact, regions: Sequence[str]) -> bool:
        """Whether the place of which a fact tells the part that lies there is one of those named."""
        place = self.reading.by_id.get(fraction.fact_id.removesuffix(".fraction"))
        return (
            place is not None and ("middle" if place.value == "middle" else str(place.value).split("-")[0]) in regions
        )

    def _is_borne_out(self, number: Number, mentions: Sequence[Mention], cited: Sequence[Fact], text: str) -> bool:
        if number.kind == "date":
            return any(is_day(number.text, str(f.value)) for f in self.reading.sheet.facts if f.unit == "date")
        units = _UNITS[number.kind]
        if number.kind == "count" and not number.text.strip()[-1].isdigit():
            units = ("count",)  # "several patches"
        able = [f for f in cited if f.unit in units]
        near = beside(number, mentions, text) if number.kind in ("area", "count", "length") else []
        if number.kind == "count" and attributed.PIECES.match(text[number.end :]):
            able = [f for f in able if f.kind in ("patches", "object")]
            near = near or [m for m in mentions if m.end <= number.start][-1:]
        if number.kind == "area" and not near:  # "the largest patch of water measures 3 ha, that of trees 5 ha"
            near = told_before(number, mentions, text)
        if number.kind == "area" and not ONE_OF_THEM.search(text):  # "the water covers 3 ha": all of it, not one patch
            parts = {code for m in near for code in self._scattered(m, text)}
            able = [f for f in able if f.kind not in ("patches", "object") or f.fact_id.split(".")[1] not in parts]
        own = [f for f in able if any(self._is_about(f, m) for m in near)]
        values = [float(f.value) for f in (own if near and own else able)]
        if measured := attributed.values_of_sort(number, text, able, cited):
            values = measured
        else:
            values += [abs(float(f.value)) for f in cited if f.kind == "change" and f.unit in units]  # "fell by 0.1"
        if number.kind == "index" and not measured:
            if attributed.tells_the_step(text, cited):
                values.append(number.low)
            values += [float(f.value) for f in cited if f.kind in ("share", "clear", "cloud")]
        if number.kind == "area":
            whole = self.reading.area_m2
            shares = [s for m in (near or mentions) for s in self._shares(m.concept, ())]
            values += [whole, *(s * whole * self.reading.labelled / 1e4 for s in shares)]
        if number.kind == "count" and re.match(r"\s*(?:\w+ )?(?:kinds|types|classes|covers)", text[number.end :]):
            values = [float(len({m.concept for m in mentions})), float(len(self.reading.classes))]
        things = attributed.counted(number, text, cited)
        return any(number.allows(value) for value in (values if things is None else things))

    def _scattered(self, mention: Mention, text: str) -> list[str]:
        """Codes of the classes of several patches that a mention names by their own noun, as a whole."""
        word = text[mention.start : mention.end].lower()
        return [
            str(one.code)
            for one in self.classes_of(mention.concept)
            if int(one.patches.get("count", 0)) > 1 and any(word == noun.text.lower() for noun in nouns_of(one.noun))
        ]

    def _is_about(self, fact: Fact, mention: Mention) -> bool:
        """Whether a fact speaks of what a mention names; a border speaks of both its sides."""
        nouns = {one.noun for one in self.classes_of(mention.concept)}
        return any(part in nouns or mention.concept in concepts_of(part) for part in fact.subject.split(" / "))

    def _places(self, text: str, mentions: Sequence[Mention], cited: Sequence[Fact]) -> Iterable[Violation]:
        """Places where the thing spoken of does not lie."""
        places = find_places(text)
        asserted = [m for m in mentions if not m.negated]
        paired = len(places) == len(asserted)
        strong, slope = bool(STRONG.search(text)), () if asserted else sides_of_slope(text, self.reading)
        told = bool(_SIZED.search(text)) or any(n.kind == "percent" for n in find_numbers(text))
        known = {one for pair in pairwise(places) if are_compared(text, *pair) for one in pair}
        known |= set(passed(text, places, asserted) or ())
        for rank, place in enumerate(places):
            if (asserted and (place in known or is_least_there(text, place))) or (
                place.region in slope and any(f.kind == "terrain" for f in cited)
            ):
                continue  # "more trees in the east than in the west", "the ground falls to the south": rules know
            if _RELATIVE.match(text[place.end :]) and len(asserted) > 1:
                continue  # "to the north of the water": `claims` knows
            if attributed.is_judged_elsewhere(text[: place.start], names_a_cover=bool(asserted)):
                continue
            if _OUTSIDE.search(text[: place.start]):
                yield Violation("place", f"says what lies outside of {place.text!r}, not where it lies")
                continue
            before = [m for m in asserted if m.end <= place.start]
            near = [asserted[rank]] if paired else (before[-1:] or asserted[:1])
            if rank and not paired and _IS_SUBJECT.search(text[: place.start]):
                near = [m for m in asserted if m.start >= place.end][:1] or near
            mapped = [
                f
                for f in cited
                if f.kind in ("osm", "element")
                and (not near or near[0].concept in concepts_told([f], self.nouns) | concepts_of(f.subject))
                and (not near or is_of_map(f, text[near[0].start : near[0].end]))
            ]
            by_map = not near or any(f.unit in attributed.PLACE_UNITS for f in mapped)
            holds = by_map and any(
                tells(fact, place) for fact in (mapped if near else attributed.spoken_of(text, cited))
            )
            if near and not holds and not (by_map and is_on_map(text[near[0].start : near[0].end])):
                classes = [c for m in near for c in self.classes_of(m.concept)]
                nouns = {one.noun for one in classes}
                told_by = attributed.placing([f for f in cited if f.subject in nouns], place, text, strong=strong)
                if place.form == "edge" and _ALONG.search(text[: place.start]):
                    told_by = [f for f in told_by if f.unit != "edges"]  # what reaches an edge does not line it
                holds = any(tells(fact, place) for fact in told_by)
                holds = holds or any(lies(self.reading, one, place, strong) for one in classes)
                if (
                    text[near[0].start : near[0].end].lower().endswith("water")
                ):  # where the sensor saw it come or go, whatever the label says
                    moved = [f for f in cited if f.fact_id.endswith((".wetter.place", ".drier.place"))]
                    holds = holds or any(tells(fact, place) for fact in moved)
                if told and not strong:  # "2% of the north-west is water" says that little of it lies there
                    holds = holds or any(
                        f.kind == "share"
                        and place.region in (f.region, *f.region[:2], f.region[:2], f.region[2:])
                        and f.subject in nouns
                        and float(f.value) > 0
                        for f in cited
                    )
            if not holds:
                yield Violation("place", f"{place.text!r} is not borne out")


def as_checks(violations: Iterable[Violation]) -> dict[str, Any]:
    """Rule -> number of violations."""
    counts: dict[str, Any] = {}
    for one in violations:
        counts[one.rule] = counts.get(one.rule, 0) + 1
    return dict(sorted(counts.items()))
