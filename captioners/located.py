"""Where a sentence says that a cover, a map feature or a change lies, and whether a fact bears it out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from captioners import attributed
from captioners.across import passed
from captioners.claims import Claim, Said, concepts_told
from captioners.contrasts import are_compared, is_of_slope
from captioners.dated import of_sensor, told_way
from captioners.gated import compiled
from captioners.levels import sides_of_slope
from captioners.lexicon import concepts_of
from captioners.mapped import is_of_map, is_on_map
from captioners.mentions import find_places
from captioners.placed import lies, tells
from captioners.quantities import find_numbers
from captioners.spread import are_left_out, is_least_there, is_without

STRONG = compiled(
    r"\b(mostly|most of the|mainly|concentrated|bulk|largely|predominantly|primarily|confined|chiefly|majority)\b", re.I
)
_IS_SUBJECT = compiled(r"(?:[,;] |\b)(?:while|whereas|but|and) the $", re.I)
"""Before a place that a clause speaks of: "the west is A, whereas the east holds B"."""
_SIZED = compiled(r"\b(extra small|small|medium|large|extra large) (fraction|part|portion|amount|quantity) of\b", re.I)
_RELATIVE = compiled(r"\s+of (?:the |it|its )(?!scene|image|chip|view|picture|area|ground|landscape|whole)", re.I)
_OUTSIDE = compiled(
    r"(?<!nowhere )\b(?:except(?: for)?|but|apart from|other than|aside from|save for|outside(?: of)?|beyond|"
    r"away from|avoids?)"
    r"\s+(?:in |for |of |along )?(?:the )?(?:far )?$",
    re.I,
)
_ALONG = compiled(r"\b(?:lin(?:es?|ing)|hug(?:s|ging)?|fring(?:es?|ing)|skirt(?:s|ing)?|along) (?:the )?$", re.I)


def located(said: Said) -> Iterable[Claim]:
    """Places where the thing spoken of does not lie."""
    text, asserted = said.text, said.mentions
    cited = of_sensor(said.cited, text, said.reading)
    places = find_places(text)
    paired = len(places) == len(asserted)
    strong, slope = bool(STRONG.search(text)), () if asserted else sides_of_slope(text, said.reading)
    told = bool(_SIZED.search(text)) or any(n.kind == "percent" for n in find_numbers(text))
    known = {one for pair in pairwise(places) if are_compared(text, *pair) for one in pair}
    known |= {*(passed(text, places, asserted) or ()), *are_left_out(text, places)}
    for rank, place in enumerate(places):
        after = places[rank + 1] if rank + 1 < len(places) else None
        if (asserted and (place in known or is_least_there(text, place) or is_of_slope(text, place, after))) or (
            place.region[0] in "nsew" and set(place.region) & set(slope) and any(f.kind == "terrain" for f in cited)
        ):
            continue  # "more trees in the east than in the west", "the ground falls to the south": rules know
        if is_without(said, place):
            continue  # "the south-east is the only quarter without trees": `spread` knows
        if _RELATIVE.match(text[place.end :]) and len(asserted) > 1:
            continue  # "to the north of the water": `claims` knows
        if attributed.is_judged_elsewhere(text[: place.start], names_a_cover=bool(asserted)):
            continue
        if _OUTSIDE.search(text[: place.start]):
            yield "place", f"says what lies outside of {place.text!r}, not where it lies"
            continue
        before = [m for m in asserted if m.end <= place.start]
        near = [asserted[rank]] if paired else (before[-1:] or asserted[:1])
        if not before and not paired and asserted and attributed.is_of_feature(text, place, asserted[0], cited):
            near = []
        if rank and not paired and _IS_SUBJECT.search(text[: place.start]):
            near = [m for m in asserted if m.start >= place.end][:1] or near
        mapped = [
            f
            for f in cited
            if f.kind in ("osm", "element")
            and (not near or near[0].concept in concepts_told([f], said.nouns) | concepts_of(f.subject))
            and (not near or is_of_map(f, text[near[0].start : near[0].end]))
        ]
        by_map = not near or any(f.unit in attributed.PLACE_UNITS for f in mapped)
        holds = by_map and any(
            tells(fact, place)
            for fact in (mapped if near else attributed.spoken_of(text, told_way(cited, place, text)))
        )
        if near and not holds and not (by_map and is_on_map(text[near[0].start : near[0].end])):
            classes = [c for m in near for c in said.classes_of(m.concept)]
            nouns = {one.noun for one in classes}
            told_by = attributed.placing([f for f in cited if f.subject in nouns], place, text, strong=strong)
            if place.form == "edge" and _ALONG.search(text[: place.start]):
                told_by = [f for f in told_by if f.unit != "edges"]  # what reaches an edge does not line it
            holds = any(tells(fact, place) for fact in told_by)
            holds = holds or any(lies(said.reading, one, place, strong) for one in classes)
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
            yield "place", f"{place.text!r} is not borne out"
