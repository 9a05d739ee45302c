"""What sentences of the verifier's cases claim, in words of their own: of covers, amounts, places, dates and shapes.

Whether a sentence is true is decided from the raw arrays, never by asking the verifier or reading a fact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label as components

from bench.verifier_chip import QUARTERS, SHAPE, Chip


@dataclass(frozen=True)
class Case:
    """One sentence."""

    kind: str
    """Kind of error that it has, or would have."""
    text: str
    """The sentence."""
    facts: tuple[str, ...]
    """Facts that it cites."""
    is_true: bool
    """Whether it holds."""


Maker = Callable[[Chip, bool], Case | None]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def make_class(chip: Chip, true: bool) -> Case | None:
    """Names a cover that is not there."""
    pool = chip.present if true else chip.absent
    if not pool:
        return None
    code, other = chip.pick(pool), chip.pick(chip.present)
    word, known = chip.word(code), chip.word(other)
    text = chip.pick(
        (
            f"{capital(word)} can be made out here.",
            f"Part of the ground is {word}.",
            f"The view takes in {known} and some {word}.",
            f"There is {word} as well as {known}.",
            f"{capital(known)} gives way to {word}.",
        )
    )
    return Case("class", text, (f"share.{other}", f"share.{chip.pick(chip.present)}"), true)


def make_absence(chip: Chip, true: bool) -> Case | None:
    """Denies what is there."""
    pool = chip.absent if true else chip.present
    if not pool:
        return None
    word = chip.noun(chip.pick(pool))
    text = chip.pick(
        (f"There is no {word} in the scene.", f"The scene is free of {word}.", f"No {word} can be seen.",
         f"The scene lacks {word}.",
         f"The ground is without any {word}.")
    )  # fmt: skip
    return Case("absence", text, (f"share.{chip.pick(chip.present)}",), true)


def make_share(chip: Chip, true: bool) -> Case | None:
    """A figure that does not fit."""
    pool = [code for code in chip.single() if chip.shares[code] >= 3]
    if not pool:
        return None
    code = chip.pick(pool)
    share = chip.shares[code]
    told = round(share)
    if not true:
        told = chip.pick([v for v in range(2, 99) if abs(v - share) >= max(8.0, 0.3 * share)])
    word = chip.noun(code)
    text = chip.pick(
        (f"{capital(word)} covers about {told}% of the scene.", f"Roughly {told} per cent of the ground is {word}.",
         f"{told}% of the area is taken up by {word}.", f"The share of {word} is {told}%.",
         f"Around {told}% of the land is under {word}.", f"{capital(word)} accounts for {told}% of the view.")
    )  # fmt: skip
    return Case("share", text, (f"share.{code}",), true)


def make_fraction(chip: Chip, true: bool) -> Case | None:
    """A fraction in words that does not fit."""
    names = {
        20: "a fifth",
        25: "a quarter",
        100 / 3: "a third",
        50: "half",
        200 / 3: "two thirds",
        75: "three quarters",
    }
    rows = [
        (code, word, value)
        for code in chip.single()
        for value, word in names.items()
        if (abs(chip.shares[code] - value) <= 2.0) == true and (true or abs(chip.shares[code] - value) >= 9)
    ]
    if not rows:
        return None
    code, words, _ = chip.pick(rows)
    word = chip.noun(code)
    text = chip.pick(
        (f"About {words} of the scene is {word}.", f"{capital(word)} takes up about {words} of the ground.",
         f"Roughly {words} of the land lies under {word}.")
    )  # fmt: skip
    return Case("fraction", text, (f"share.{code}",), true)


def make_region_share(chip: Chip, true: bool) -> Case | None:
    """A share of one quarter that does not fit there."""
    name = chip.pick(QUARTERS)
    rows = [(code, 100.0 * float((chip.quarter(name) == code).mean())) for code in chip.single()]
    rows = [(code, share) for code, share in rows if share >= 3]
    if not rows:
        return None
    code, share = chip.pick(rows)
    told = round(share)
    if not true:
        told = chip.pick([v for v in range(2, 99) if abs(v - share) >= max(8.0, 0.3 * share)])
    word = chip.noun(code)
    where = QUARTERS[name]
    text = chip.pick(
        (f"In the {where}, {word} covers about {told}% of the ground.",
         f"About {told}% of the {where}ern quarter is {word}.",
         f"{capital(word)} takes up {told}% of the {where}ern quarter.")
    )  # fmt: skip
    return Case("share of a region", text, (f"share.{code}.{name}", f"share.{code}"), true)


def make_count(chip: Chip, true: bool) -> Case | None:
    """A count that does not fit."""
    if chip.rng.random() < 0.5:
        count = chip.buildings if true else chip.buildings + int(chip.pick([-1, 1, 3, 20]))
        if count < 2:
            return None
        text = chip.pick(
            (f"OpenStreetMap shows {count} buildings.", f"There are {count} mapped buildings in the scene.")
        )
        return Case("count", text, ("osm.building.count",), true)
    code = chip.pick(chip.single() or chip.present)
    count = len(chip.patches(code))
    count = count if true else count + int(chip.pick([1, 2, 5]))
    word = chip.noun(code)
    if count < 2 or not chip.only(code):
        return None
    text = chip.pick((f"There are {count} patches of {word}.", f"The scene holds {count} separate patches of {word}."))
    return Case("count", text, (f"patches.{code}.count", f"patches.{code}.largest"), true)


def make_area(chip: Chip, true: bool) -> Case | None:
    """An area or a length that does not fit."""
    code = chip.pick(chip.single() or chip.present)
    if not chip.only(code):
        return None
    size = chip.patches(code)[0] * 100.0
    told = size if true else size * float(chip.pick([0.3, 0.5, 1.6, 2.5, 4.0]))
    share = chip.shares[code] / 100 * SHAPE[0] * SHAPE[1] * 100
    if not true and abs(told - share) < 0.25 * share:
        return None
    figure = f"{told / 1e4:.2f} ha" if told >= 1e4 else f"{round(told / 100) * 100:,} m²"
    word = chip.noun(code)
    text = chip.pick(
        (f"The largest patch of {word} measures {figure}.", f"The biggest block of {word} covers {figure}.")
    )
    return Case("area", text, (f"patches.{code}.largest",), true)


def make_index(chip: Chip, true: bool) -> Case | None:
    """An index value that does not fit."""
    which = int(chip.rng.integers(2))
    value = chip.ndvi[which]
    told = value if true else value + float(chip.pick([-0.15, 0.12, 0.2, 0.3]))
    iso, day, _ = chip.days[which]
    text = chip.pick(
        (f"On {day} the mean NDVI was {told:.2f}.", f"Mean NDVI came to {told:.2f} on {day}.",
         f"With a mean NDVI of {told:.2f}, {day} was the date of the image.")
    )  # fmt: skip
    return Case("index", text, (f"index.ndvi.s2.{iso}", f"date.s2.{iso}"), true)


def make_date(chip: Chip, true: bool) -> Case | None:
    """A date of no image."""
    iso, day, _ = chip.days[int(chip.rng.integers(2))]
    told = day if true else chip.pick(("3 May 2021", "11 March 2021", "16 August 2022", "30 July 2022"))
    value = chip.ndvi[[d[0] for d in chip.days].index(iso)]
    text = chip.pick(
        (f"The image of {told} has a mean NDVI of {value:.2f}.", f"On {told} mean NDVI stood at {value:.2f}.")
    )
    return Case("date", text, (f"index.ndvi.s2.{iso}", f"date.s2.{iso}"), true)


def make_place(chip: Chip, true: bool) -> Case | None:
    """A place where the thing does not lie."""
    rows = []
    for code in chip.single():
        total = float((chip.codes == code).sum())
        for name, words in QUARTERS.items():
            inside = float((chip.quarter(name) == code).sum()) / total
            if (inside >= 0.6) if true else (inside <= 0.08 and chip.shares[code] >= 1):
                rows.append((code, words, float((chip.quarter(name) == code).mean())))
    if not rows:
        return None
    code, where, filled = chip.pick(rows)
    word = chip.noun(code)
    text = chip.pick(
        (f"The {word} lies mostly in the {where}.", f"Most of the {word} is found in the {where}ern part.",
         f"{capital(word)} is concentrated in the {where}.", f"In the {where} there is {word}.",
         f"{capital(word)} {'occupies' if filled > 0.5 or not true else 'is found in'} the {where}ern quarter.")
    )  # fmt: skip
    return Case(
        "place",
        text,
        (f"share.{code}", *((f"place.{code}",) if f"place.{code}" in chip.verifier.reading.by_id else ())),
        true,
    )


def make_quantity(chip: Chip, true: bool) -> Case | None:
    """``almost all``, ``most``, ``entirely`` that say too much."""
    code = max(chip.shares, key=lambda c: chip.shares[c]) if true else chip.pick(chip.single() or chip.present)
    share = chip.shares[code]
    word = chip.noun(code)
    rows = [(90, "almost all of the scene"), (55, "most of the scene"), (55, "the majority of the ground")]
    fitting = [words for least, words in rows if (share >= least if true else share <= least - 12)]
    if not fitting or not chip.only(code):
        return None
    words = chip.pick(fitting)
    text = chip.pick((f"{capital(word)} covers {words}.", f"{capital(words)} is {word}."))
    return Case("quantity word", text, (f"share.{code}",), true)


def make_comparison(chip: Chip, true: bool) -> Case | None:
    """Which of two is more, the wrong way round."""
    pairs = [
        (a, b) for a in chip.single() for b in chip.single()
        if chip.shares[a] - chip.shares[b] >= 4
    ]  # fmt: skip
    if not pairs:
        return None
    more, less = chip.pick(pairs)
    first, second = (more, less) if true else (less, more)
    one, other = (chip.noun(code) for code in (first, second))
    top = max(chip.shares, key=lambda c: chip.shares[c])
    rows = [
        f"There is more {one} than {other}.", f"{capital(one)} covers more ground than {other}.",
        f"{capital(other)} takes up less of the scene than {one}.",
    ]  # fmt: skip
    ranked = sorted(chip.shares, key=lambda c: -chip.shares[c])
    if not true or [first, second] == ranked[:2]:
        rows.append(f"{capital(one)} leads, followed by {other}.")
    if (first == top) if true else (first != top):
        rows.append(f"The main land cover is {one}.")
    return Case("comparison", chip.pick(rows), (f"share.{more}", f"share.{less}"), true)


def make_direction(chip: Chip, true: bool) -> Case | None:
    """The largest patch of one lies elsewhere of the other's."""
    found = [f for f in chip.sheet.facts if f.unit == "direction"]
    rows = []
    for fact in found:
        a, b = (int(part) for part in fact.fact_id.split(".")[1:])
        if chip.only(a) and chip.only(b):
            rows.append((a, b))
    if not rows:
        return None
    a, b = chip.pick(rows)
    dx, dy = (p - q for p, q in zip(_centre(chip, a), _centre(chip, b), strict=True))
    angle = float(np.degrees(np.arctan2(dx, -dy))) % 360
    names = ("north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west")
    way = names[round(angle / 45 + (0 if true else int(chip.pick([2, 3, 4, 5, 6])))) % 8]
    if not true and set(way.split("-")) <= set(names[round(angle / 45) % 8].split("-")):
        return None
    one, other = (chip.noun(code) for code in (a, b))
    text = chip.pick(
        (f"The largest patch of {one} lies to the {way} of the largest patch of {other}.",
         f"{capital(one)} lies {way} of the {other}.")
    )  # fmt: skip
    return Case("direction", text, (f"relation.{a}.{b}",), true)


def _centre(chip: Chip, code: int) -> tuple[float, float]:
    found, _ = components(chip.codes == code, structure=np.ones((3, 3)))
    sizes = np.bincount(found.ravel())[1:]
    rows, columns = np.nonzero(found == int(sizes.argmax()) + 1)
    return float(columns.mean()) / SHAPE[1], float(rows.mean()) / SHAPE[0]


def make_touch(chip: Chip, true: bool) -> Case | None:
    """Two covers said to touch that do not."""
    pairs = set()
    for one, two in ((chip.codes[:, :-1], chip.codes[:, 1:]), (chip.codes[:-1], chip.codes[1:])):
        pairs |= {frozenset((int(a), int(b))) for a, b in zip(one.ravel(), two.ravel(), strict=True) if a != b}
    every = [(a, b) for a in chip.single() for b in chip.single() if a < b]
    able = [pair for pair in every if (frozenset(pair) in pairs) == true]
    if not able:
        return None
    a, b = chip.pick(able)
    one, other = (chip.noun(code) for code in (a, b))
    verb = chip.pick(("borders on", "is adjacent to", "lies next to", "meets", "adjoins"))
    facts = (f"border.{a}.{b}",) if true else (f"share.{a}", f"share.{b}")
    return Case("touching", f"{capital(one)} {verb} {other}.", facts, true)


def make_shape(chip: Chip, true: bool) -> Case | None:
    """A shape that the patch does not have."""
    rows = [f for f in chip.sheet.facts if f.fact_id.startswith("patches.") and f.fact_id.endswith("largest.shape")]
    rows = [f for f in rows if chip.only(int(f.fact_id.split(".")[1]))]
    if not rows:
        return None
    fact = chip.pick(rows)
    words = {
        "ring-shaped": "ring-shaped",
        "elongated": "long and narrow",
        "compact": "compact",
        "irregular": "irregular",
    }
    told = words[str(fact.value)] if true else chip.pick([w for v, w in words.items() if v != fact.value])
    word = chip.noun(int(fact.fact_id.split(".")[1]))
    text = chip.pick((f"The largest patch of {word} is {told}.", f"The main patch of {word} is {told} in shape."))
    return Case("shape", text, (fact.fact_id,), true)


def make_trend(chip: Chip, true: bool) -> Case | None:
    """NDVI said to have moved the other way."""
    step = chip.ndvi[1] - chip.ndvi[0]
    if abs(step) < 0.05:
        return None
    up = (step > 0) == true
    verb = chip.pick(("rose", "increased", "climbed")) if up else chip.pick(("fell", "declined", "dropped"))
    first, last = chip.days[0][1], chip.days[1][1]
    text = chip.pick(
        (f"Between {first} and {last} mean NDVI {verb}.", f"From {first} to {last} NDVI {verb} by {abs(step):.2f}.",
         f"Mean NDVI {verb} between {first} and {last}.")
    )  # fmt: skip
    return Case("trend", text, ("change.s2.ndvi", "change.s2.from", "change.s2.to"), true)


def make_season(chip: Chip, true: bool) -> Case | None:
    """A season that the date does not have."""
    iso, day, season = chip.days[int(chip.rng.integers(2))]
    told = season if true else chip.pick([s for s in ("spring", "summer", "autumn", "winter") if s != season])
    value = chip.ndvi[[d[0] for d in chip.days].index(iso)]
    text = chip.pick(
        (f"In {told}, on {day}, mean NDVI was {value:.2f}.", f"Mean NDVI was {value:.2f} in {told}, on {day}.")
    )  # fmt: skip
    return Case("season", text, (f"index.ndvi.s2.{iso}", f"date.s2.{iso}", f"season.s2.{iso}"), true)


def make_terrain(chip: Chip, true: bool) -> Case | None:
    """Hills where it is flat, and the other way round."""
    flat = chip.relief < 20
    text = chip.pick(("The terrain is hilly.", "The ground is rugged.")) if flat != true else "This is level ground."
    return Case("terrain", text, ("terrain.relief", "terrain.slope"), true)


def make_course(chip: Chip, true: bool) -> Case | None:
    """A road that runs another way."""
    across = chip.west_east == true
    ways = (
        ("from west to east", "from the west to the east")
        if across
        else ("from north to south", "from the north to the south")
    )
    text = chip.pick((f"A main road crosses the scene {chip.pick(ways)}.", f"A main road runs {chip.pick(ways)}."))
    return Case("course", text, ("osm.main_road.course", "osm.main_road.length"), true)
