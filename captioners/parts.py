"""Captions about a part of what there is: one class, one region, the figures, the theme, the bare list of labels."""

from __future__ import annotations

from collections.abc import Iterator

from captioners import sensors
from captioners.lexicon import concepts, concepts_of
from captioners.number_words import area_phrase, count_phrase, length_phrase, listing, percent_phrases
from captioners.phrasing import Sentence, mark
from captioners.reading import ClassReading
from captioners.records import Chip, Told
from captioners.regions import QUADRANTS
from captioners.sentences import Writer
from schemas.facts import Fact

MAX_CLASSES = 5
"""So many classes get a caption of their own, the largest."""
MIN_PERCENT = 1.0
"""Smaller classes do not."""
REGION_WORDS = {
    "nw": ("the north-western quarter", "the north-west quarter"),
    "ne": ("the north-eastern quarter", "the north-east quarter"),
    "sw": ("the south-western quarter", "the south-west quarter"),
    "se": ("the south-eastern quarter", "the south-east quarter"),
    "middle": ("the middle of the scene", "the central part"),
}


def per_class(chip: Chip) -> Iterator[Told]:
    """One caption about each main class: how much, where, in how many pieces, beside what."""
    for one in [c for c in chip.reading.classes if c.share >= MIN_PERCENT][:MAX_CLASSES]:
        sentences = [class_share(chip, one), *class_place(chip, one)]
        patches = chip.writer.patches(one)
        sentences += [patches] if patches else []
        sentences += class_neighbour(chip, one)
        about = f"two or three sentences about {one.noun} alone: how much, where, how it is arranged"
        yield Told("caption", "per_class", tuple(sentences), about=about)


def class_share(chip: Chip, one: ClassReading) -> Sentence:
    """How much of a class there is."""
    writer = chip.writer
    slot = f"class_share/{one.code}"
    values = writer.class_values([one], slot)
    if one.share >= 100.0:
        return Sentence(writer.phrase("whole", values, key=slot), (one.share_id,))
    area = class_area(chip, one)
    facts: tuple[str, ...] = (one.share_id,)
    if area is not None:
        values["area_a"] = area_phrase(area)
    text = writer.phrase("class_share", values, key=f"/{one.code}")
    if area is not None and values["area_a"] in text:
        facts += ("ground.width", "ground.height", "labelled.share")
    return Sentence(text, facts)


def class_area(chip: Chip, one: ClassReading) -> float | None:
    """Square metres of a class; None where the sheet does not say how large the chip is."""
    by_id = chip.reading.by_id
    if "ground.width" not in by_id or "ground.height" not in by_id:
        return None
    whole = float(by_id["ground.width"].value) * float(by_id["ground.height"].value)
    return one.share * chip.reading.labelled / 1e4 * whole


def class_place(chip: Chip, one: ClassReading) -> list[Sentence]:
    """Where a class lies, where one word fits and it does not fill the scene."""
    return chip.writer.placed(one) if one.share < 75.0 else []


def class_neighbour(chip: Chip, one: ClassReading) -> list[Sentence]:
    """What a class has most of its border with, where it has more than one neighbour and one leads."""
    by_code = {c.code: c for c in chip.reading.classes}
    borders = borders_of(chip, one.code)
    if len(borders) < 2 or borders[0][0] <= borders[1][0]:
        return []
    other = by_code[borders[0][1]]
    values = chip.writer.class_values([one, other], f"neighbour/{one.code}")
    text = chip.writer.phrase("class_neighbour", values, key=f"/{one.code}")
    return [Sentence(text, tuple(fact_id for _, _, fact_id in borders))]


def borders_of(chip: Chip, code: int) -> list[tuple[float, int, str]]:
    """(length, the other class, fact id) of every border of a class, the longest first."""
    found = []
    for fact in chip.reading.sheet.facts:
        if fact.kind == "adjacency":
            a, b = (int(part) for part in fact.fact_id.split(".")[1:])
            if code in (a, b):
                found.append((float(fact.value), b if a == code else a, fact.fact_id))
    return sorted(found, key=lambda row: (-row[0], row[1]))


def per_region(chip: Chip) -> Iterator[Told]:
    """One caption about each quadrant and the middle: what it holds, by falling share."""
    for region in (*QUADRANTS, "middle"):
        sentence = region_sentence(chip, region)
        if sentence is not None:
            where = REGION_WORDS[region][0]
            yield Told("caption", "per_region", (sentence,), about=f"one or two sentences about {where} alone")


def region_shares(chip: Chip, region: str) -> list[tuple[float, ClassReading, str]]:
    """(percent, class, fact id) of what a region holds, the largest share first."""
    rows = []
    for one in chip.reading.classes:
        fact = chip.reading.by_id.get(f"share.{one.code}.{region}")
        if fact is not None and float(fact.value) > 0:
            rows.append((float(fact.value), one, fact.fact_id))
    return sorted(rows, key=lambda row: (-row[0], row[1].code))


def region_sentence(chip: Chip, region: str) -> Sentence | None:
    """What a region holds: up to three classes of at least 1 %."""
    writer, choice = chip.writer, chip.choice
    rows = region_shares(chip, region)
    if not rows:
        return None
    words = choice.one(f"region/{region}", REGION_WORDS[region])
    if not chip.reading.is_complete:
        words = f"the mapped ground of {words}"
    values = {"region": words, "in_region": words}
    share, first, fact_id = rows[0]
    named = writer.named(first, f"region/{region}/0")
    values |= {**named.verbs, "a": named.full, "bare_a": named.bare}
    if share >= 100.0:
        return Sentence(writer.phrase("region_one", values, key=f"/{region}"), (fact_id,))
    told = [row for row in rows if row[0] >= MIN_PERCENT][:3]
    figures = [choice.one(f"region/{region}/{c.code}", percent_phrases(value)) for value, c, _ in told]
    nouns = [writer.named(c, f"region/{region}/{rank}").bare for rank, (_, c, _) in enumerate(told)]
    parts = [f"{noun} ({figure})" for noun, figure in zip(nouns, figures, strict=True)]
    values["list"] = listing(parts)
    values["na"] = figures[0]
    slot = "region_list"
    if len(parts) > 1 and told[0][0] > told[1][0]:
        values["rest"] = listing(parts[1:])
        slot = choice.one(f"region/{region}/slot", ("region_list", "region_lead", "region_lead"))
    rows_of = writer.rows(slot, values)
    if told[0][0] < 60.0:
        rows_of = [row for row in rows_of if "mainly" not in row]
    text = writer.fill(f"{slot}/{region}", rows_of, values)
    return Sentence(text, tuple(fact for _, _, fact in told))


def quantitative(chip: Chip) -> Iterator[Told]:
    """The figures: extent, every share, areas, patches, the longest boundary, the index."""
    writer, choice = chip.writer, chip.choice
    classes = [c for c in chip.reading.classes if c.share < 100.0]
    sentences = [writer.extent()] if "ground.width" in chip.reading.by_id else []
    if classes:
        parts = [
            f"{writer.named(c, 'quantity').bare} ({choice.one(f'quantity/{c.code}', percent_phrases(c.share))})"
            for c in classes
        ]
        values = {"list": listing(parts), "scene": writer.scene}
        sentences.append(Sentence(writer.phrase("quantity_list", values), tuple(c.share_id for c in classes)))
        sentences += quantity_areas(chip, classes[:3])
    elif chip.reading.classes:
        one = chip.reading.classes[0]
        sentences.append(class_share(chip, one))
    for one in classes[:2]:
        if int(one.patches.get("count", 0)) > 1:
            sentences.append(quantity_patches(writer, one))
    borders = [fact for fact in chip.reading.sheet.facts if fact.kind == "adjacency"]
    if borders:
        sentences.append(quantity_border(chip, max(borders, key=lambda f: (float(f.value), f.fact_id))))
    vegetation = sensors.vegetation(writer)
    sentences += [vegetation] if vegetation else []
    about = "four to six sentences that give the figures: shares, areas, counts, lengths, indices"
    if sentences:
        yield Told("caption", "quantitative", tuple(sentences), about=about)


def quantity_areas(chip: Chip, classes: list[ClassReading]) -> list[Sentence]:
    """Areas of some classes."""
    areas = [(one, class_area(chip, one)) for one in classes]
    parts = [f"{area_phrase(area)} of {chip.writer.named(one, 'areas').bare}" for one, area in areas if area]
    if not parts:
        return []
    facts = (*(one.share_id for one in classes), "ground.width", "ground.height", "labelled.share")
    return [Sentence(chip.writer.phrase("quantity_areas", {"list": listing(parts)}), facts)]


def quantity_patches(writer: Writer, one: ClassReading) -> Sentence:
    """How many patches of what size."""
    values = writer.class_values([one], f"quantity_patches/{one.code}")
    values |= {
        "count": count_phrase(int(one.patches["count"])),
        "mean": area_phrase(float(one.patches["mean"])),
        "area": area_phrase(float(one.patches["largest"])),
    }
    facts = tuple(f"patches.{one.code}.{name}" for name in ("count", "mean", "largest"))
    return Sentence(writer.phrase("quantity_patches", values, key=f"/{one.code}"), facts)


def quantity_border(chip: Chip, fact: Fact) -> Sentence:
    """How long a boundary is."""
    by_code = {c.code: c for c in chip.reading.classes}
    pair = [by_code[int(code)] for code in fact.fact_id.split(".")[1:]]
    values = chip.writer.class_values(pair, "quantity_border")
    values["length"] = length_phrase(float(fact.value))
    return Sentence(chip.writer.phrase("quantity_border", values), (fact.fact_id,))


THEMES = {
    "trees": ("a wooded landscape", "a forest landscape", "a landscape of trees"),
    "shrubs": ("a scrubland landscape", "a landscape of shrubs"),
    "grass": ("a grassland landscape", "a grassy landscape"),
    "crops": ("an agricultural landscape", "a farming landscape", "a landscape of cropland"),
    "built": ("an urban scene", "a built-up landscape"),
    "bare": ("a barren landscape", "a landscape of bare ground"),
    "snow": ("a snowy landscape", "a landscape of snow and ice"),
    "water": ("a water landscape", "a scene of open water"),
    "wetland": ("a marshy landscape", "a wetland landscape"),
    "mangroves": ("a mangrove landscape",),
    "moss": ("a tundra landscape", "a landscape of moss and lichen"),
}
"""Concept -> how a scene is called of which it covers at least 60 %."""


def theme(chip: Chip) -> Iterator[Told]:
    """One sentence on the character of the scene."""
    sentence = theme_sentence(chip)
    if sentence is not None:
        yield Told("caption", "theme", (sentence,), about="one sentence of at most 15 words on the scene's character")


def theme_sentence(chip: Chip) -> Sentence | None:
    """What sort of landscape it is: of one cover (60 % or more), of two (20 % each, together 60 %), or varied.

    None where the covers that it would name are known of less than 60 % of the whole scene, which then may be another.
    """
    writer, classes = chip.writer, chip.reading.classes
    named = classes[:1] if classes and classes[0].share >= 60.0 else classes[:3]
    unknown = not chip.reading.is_complete and sum(c.share for c in named) * chip.reading.labelled < 60.0 * 100.0
    if not classes or unknown:
        return None
    facts = tuple(one.share_id for one in classes[:3])
    first = classes[0]
    if first.share >= 60.0:
        own = [name for name in sorted(concepts_of(first.noun, own=True)) if first.noun in concepts()[name].nouns]
        words = chip.choice.one("theme", THEMES[own[0]]) if own and own[0] in THEMES else ""
        if not words:
            words = f"a landscape dominated by {writer.named(first, 'theme').bare}"
        marked = mark(first.code, words)
        return Sentence(writer.phrase("theme_one", {"theme": marked, "Theme": marked}), facts[:1])
    values = writer.class_values(classes[:3], "theme")
    if len(classes) > 1 and classes[1].share >= 20.0 and first.share + classes[1].share >= 60.0:
        return Sentence(writer.phrase("theme_mixed", values), facts[:2])
    if len(classes) > 2:
        return Sentence(writer.phrase("theme_varied", values), facts)
    return Sentence(writer.phrase("theme_two", values), facts[:2])


def labels(chip: Chip) -> Iterator[Told]:
    """The nouns of the classes of at least 1 %, by falling share."""
    held = [one for one in chip.reading.classes if one.share >= MIN_PERCENT]
    if held:
        text = ", ".join(mark(one.code, one.noun) for one in held)
        yield Told("labels", "labels", (Sentence(text, tuple(one.share_id for one in held)),), plain=True)
