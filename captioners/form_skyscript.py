"""The form of SkyScript: two titles per chip, built by rule: one map object in focus, and it with what surrounds it.

Facts as published (repository wangzhecheng/SkyScript): ``title`` names the object in focus, ``title_multi_objects`` it
and its surroundings; only what can be made out at the image's resolution is named. There a classifier decided what that
is; here it is the table ``tag_meanings.yaml`` and a least size in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

from captioners.elements import MapElement, with_article
from captioners.grounding import shape_yx
from captioners.number_words import listing
from captioners.phrasing import Sentence, capital
from captioners.records import Chip, Told

MIN_PIXELS = 9
"""Smaller areas cannot be made out."""
MIN_LINE_PIXELS = 10
"""Shorter lines cannot be made out."""
MAX_AROUND = 3
_TITLES = ("a satellite view of {a}", "{a} seen from above", "{a} in a satellite image", "an overhead view of {a}")
_AROUND = ("{title}, with {list} around", "{title}, next to {list}", "{title}, together with {list}")


def visible(chip: Chip) -> list[MapElement]:
    """Features that can be made out at the chip's GSD: areas, the largest first, then lines, the longest first."""
    gsd_fact = chip.reading.by_id.get("ground.gsd")
    gsd = 10.0 if gsd_fact is None else float(gsd_fact.value)
    rows, columns = shape_yx(chip)
    found = []
    for one in chip.one.elements:
        large = one.area_fraction * rows * columns >= MIN_PIXELS or one.length_m >= MIN_LINE_PIXELS * gsd
        if large and one.visible_m >= gsd:
            found.append(one)
    return found


def texts(chip: Chip) -> Iterator[Told]:
    """Two titles; one where nothing else can be made out; none where nothing can."""
    objects = visible(chip)
    if not objects:
        return
    focus = objects[0]
    title = chip.choice.one("skyscript/title", _TITLES).format(a=with_article(focus.noun))
    facts = focus.facts[:2]
    yield Told("caption", "title", (Sentence(capital(title), facts),), plain=True)
    around = list(dict.fromkeys(one.noun for one in objects[1:] if one.noun != focus.noun))[:MAX_AROUND]
    if around:
        first = [next(one for one in objects if one.noun == noun) for noun in around]
        words = listing([with_article(noun) for noun in around])
        text = chip.choice.one("skyscript/around", _AROUND).format(title=title, list=words)
        more = tuple(fact for one in first for fact in one.facts[:2])
        yield Told("caption", "title_multi_objects", (Sentence(capital(text), (*facts, *more)),), plain=True)
