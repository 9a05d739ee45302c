"""What figures a sentence states, and whether a fact bears each of them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners import attributed
from captioners.amounts import of_all_others
from captioners.beside import ONE_OF_THEM, beside, neighbours, told_before
from captioners.claims import Claim, Said
from captioners.dated import told_then, told_way
from captioners.gated import compiled
from captioners.lexicon import concepts_of, nouns_of
from captioners.listed import list_around, listed_before
from captioners.mentions import Mention, find_mentions, find_places
from captioners.pieces import is_counted
from captioners.placed import held_in
from captioners.quantities import Number, find_numbers, is_day
from captioners.ranks import is_bound, is_so_many
from captioners.regions import CELLS, parts_of
from schemas.facts import Fact

SUM = compiled(r"\b(together|combined|in total|in all|altogether|jointly|account for)\b", re.I)
_TOGETHER = compiled(r"\b(?:together|combined|jointly|between them)\b(?! with)", re.I)
_EACH = compiled(r"\b(?:each|apiece|respectively|both)\b", re.I)
_VEGETATED = compiled(
    r"(?<!sparsely )(?<!sparse )\bvegetat(?:ed|ion)\b(?! ind(?:ex|ices))(?!.*\b(?:ND[VWB]I|denser|greener|thinned)\b)",
    re.I,
)
_REMAINING = compiled(r"\b(?:remaining|other)\s*$", re.I)
_UNITS = {
    "area": ("m2",),
    "length": ("m",),
    "decibel": ("dB",),
    "degrees": ("degrees",),
    "index": ("1", "m", "dB", "count"),
    "count": ("count", "m"),
}
"""Kind of number -> units of the facts that may bear it out."""
_ABOUT_REGION = compiled(
    r"(?:^In (?:the mapped ground of )?the |^The (?:mapped ground of the )?|\bof (?:the mapped ground of )?the )"
    r"(?:north|south|east|west|middle|centre|center|central|upper|lower|top|bottom|left|right)[\w-]*"
    r"(?: (?:quarter|quadrant|half|third|part|of the scene|left|right|centre|center|middle|row|column|cell|ninth|"
    r"corner))*"
    r"(?: (?:holds|is|there|has|consists|,)|,|\.|$| with\b)",
    re.I,
)
"""Figures of a sentence that speaks of one part of the scene are shares of that part."""
_MEASURED = ("clear", "cloud", "index", "change", "labelled")
_SENSED = compiled(
    r"\b(?:clear\w*|sky|clouds?|cloudy|hid\w*|ND[VWB]I|vegetation|green\w*|infrared|class\w*|unclassified|mapped|"
    r"unmapped|turned|open water|thinned|denser)\b",
    re.I,
)
"""Words of a sentence whose figures may be those of a sensor, or of what has no class, beside a cover."""
_SIGN_ALONE = compiled(r"%|\bper ?cent\b(?! of pixels)|\bpct\b", re.I)


def _shares(said: Said, concept: str, regions: Iterable[str], *, whole: bool = True) -> list[float]:
    """True shares that a figure beside a concept may mean: of one class, of all its classes, here or there.

    Args:
        concept: the concept.
        regions: parts of the scene whose shares count too.
        whole: whether the shares of the whole scene count.
    """
    classes = said.classes_of(concept)
    values = [one.share for one in classes] if whole else []
    values += [sum(values)] if whole else []
    for region in regions:
        part = [s for one in classes if (s := _region_share(said, one.code, region)) is not None]
        values += [*part, sum(part)]
    return values


def _sums(said: Said, mentions: Sequence[Mention], regions: Iterable[str]) -> list[float]:
    """What covers make up together, in the scene and in parts of it."""
    shares = {c.code: c.share for m in mentions for c in said.classes_of(m.concept)}
    parts = [sum(_region_share(said, code, region) or 0.0 for code in shares) for region in regions]
    return [sum(shares.values()), *parts]


def _region_share(said: Said, code: int, region: str) -> float | None:
    """Percent of a class in a part; of several regions, their mean. None where the sheet does not say."""
    shares = [said.reading.region_share(code, part) for part in parts_of(region)[0]]
    return None if None in shares else sum(share or 0.0 for share in shares) / len(shares)


def figures(said: Said) -> Iterable[Claim]:
    """Figures that no fact bears out."""
    numbers = find_numbers(said.text)
    percents = [number for number in numbers if number.kind == "percent"]
    yield from _percents(said, percents)
    for number in numbers:
        is_other = number.kind not in ("percent", "points") and not is_counted(number, said.text)
        if is_other and not _is_borne_out(said, number):
            yield "number", f"{number.text!r} fits no fact"
    for match in _SIGN_ALONE.finditer(said.text):
        if not any(number.start <= match.start() < number.end for number in percents):
            yield "number", f"{match.group(0)!r} without a figure"


def _percents(said: Said, percents: Sequence[Number]) -> Iterable[Claim]:
    """Shares: of the covers beside them, of what a part of the scene holds of them, or of what a sensor saw."""
    text, asserted = said.text, said.mentions
    places = find_places(text)
    regions = [p.region for p in places] + [CELLS[p.region] for p in places if p.form == "corner"]
    whole = not _ABOUT_REGION.search(text)
    paired = len(percents) == len(asserted)
    parts = attributed.regions_of_figures(text, percents, places)
    for rank, number in enumerate(percents):
        own = [parts[number.start]] if number.start in parts else []
        if is_bound(text, number) or is_so_many(text, number):
            continue
        near = [asserted[rank]] if paired else neighbours(number, asserted)
        then = told_way(told_then(said.cited, number, text, said.reading), number, text)
        values = _percent_values(said, near, regions, then, paired) if whole and not own else []
        values += [v for m in near for v in _shares(said, m.concept, own or regions, whole=False)]
        if (held := attributed.place_of_it(text, number, asserted, places)) is not None:
            values = held_in(said.reading, said.classes_of(held[0].concept), held[1]) or values
            values += [float(f.value) for f in then if f.fact_id.endswith(".fraction") and _is_named(said, f, regions)]
        if len(percents) == 1 and len(asserted) > 1 and _TOGETHER.search(text):
            told = listed_before(said, number.start)  # "A and B together cover 40%, less than C"
            values = _sums(said, told if len(told) > 1 else asserted, regions)
        elif len(percents) == 1 and len(asserted) > 1 and not _EACH.search(text):
            values += _sums(said, list_around(near, asserted, text), regions if not whole else ())
        if not near and (some := attributed.of_rank(text, [c.share for c in said.reading.classes])) is not None:
            said.judge(some[0])
            values = [sum(some[1])]
        if (left := of_all_others(said, number)) is not None:
            values = [left]
        if _REMAINING.search(text[: number.start]):  # all that is told after it; `whole` asks whether that is all
            values += _sums(said, [m for m in asserted if m.start >= number.end], regions)
        if not any(number.allows(v) for v in values):
            yield "number", f"{number.text!r} fits no fact"


def _percent_values(
    said: Said, near: Sequence[Mention], regions: Sequence[str], cited: Sequence[Fact], paired: bool
) -> list[float]:
    text = said.text
    values = [v for m in near for v in _shares(said, m.concept, regions)]
    sensed = not near or bool(_SENSED.search(text))
    told = [f for f in cited if f.unit == "percent" and f.kind != "share" and (sensed or f.kind not in _MEASURED)]
    told = [f for f in told if not f.fact_id.endswith(".fraction") or _is_named(said, f, regions)]
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
        values.append(sum(c.share for c in said.classes_of("vegetation")))
    if SUM.search(text):
        values.append(sum(shares))
        named = {c.code: c.share for m in find_mentions(text, said.nouns) for c in said.classes_of(m.concept)}
        values.append(sum(named.values()))
    return values


def _is_named(said: Said, fraction: Fact, regions: Sequence[str]) -> bool:
    """Whether the place of which a fact tells the part that lies there is one of those named."""
    place = said.reading.by_id.get(fraction.fact_id.removesuffix(".fraction"))
    return place is not None and ("middle" if place.value == "middle" else str(place.value).split("-")[0]) in regions


def _is_borne_out(said: Said, number: Number) -> bool:
    text, mentions = said.text, said.mentions
    cited = told_then(said.cited, number, text, said.reading)
    if number.kind == "date":
        return any(is_day(number.text, str(f.value)) for f in said.reading.sheet.facts if f.unit == "date")
    units = _UNITS[number.kind]
    if number.kind == "count" and not number.text.strip()[-1].isdigit():
        units = ("count",)  # "several patches"
    able = [f for f in cited if f.unit in units]
    if number.kind == "length":
        able = attributed.lengths(number, text, able)
    near = beside(number, mentions, text) if number.kind in ("area", "count", "length") else []
    if number.kind == "count" and attributed.PIECES.match(text[number.end :]):
        able = [f for f in able if f.kind in ("patches", "object")]
        near = near or [m for m in mentions if m.end <= number.start][-1:]
    if number.kind == "area" and not near:  # "the largest patch of water measures 3 ha, that of trees 5 ha"
        near = told_before(number, mentions, text)
    if number.kind == "area" and not ONE_OF_THEM.search(text):  # "the water covers 3 ha": all of it, not one patch
        parts = {code for m in near for code in _scattered(said, m)}
        able = [f for f in able if f.kind not in ("patches", "object") or f.fact_id.split(".")[1] not in parts]
    own = [f for f in able if any(is_about(said, f, m) for m in near)]
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
        whole = said.reading.area_m2
        shares = [s for m in (near or mentions) for s in _shares(said, m.concept, ())]
        values += [whole, *(s * whole * said.reading.labelled / 1e4 for s in shares)]
    if number.kind == "count" and re.match(r"\s*(?:\w+ )?(?:kinds|types|classes|covers)", text[number.end :]):
        values = [float(len({m.concept for m in mentions})), float(len(said.reading.classes))]
        some = attributed.of_rank(text[number.start :], [c.share for c in said.reading.classes])
        values += [float(len(some[1]))] if some else []
    things = attributed.counted(number, text, cited)
    sides = attributed.sides(number, text, said.reading)
    told = sides if sides is not None else values if things is None else things
    return any(number.allows(value) for value in told)


def _scattered(said: Said, mention: Mention) -> list[str]:
    """Codes of the classes of several patches that a mention names by their own noun, as a whole."""
    word = said.text[mention.start : mention.end].lower()
    return [
        str(one.code)
        for one in said.classes_of(mention.concept)
        if int(one.patches.get("count", 0)) > 1 and any(word == noun.text.lower() for noun in nouns_of(one.noun))
    ]


def is_about(said: Said, fact: Fact, mention: Mention) -> bool:
    """Whether a fact speaks of what a mention names; a border speaks of both its sides."""
    nouns = {one.noun for one in said.classes_of(mention.concept)}
    return any(part in nouns or mention.concept in concepts_of(part) for part in fact.subject.split(" / "))
