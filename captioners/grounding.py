"""Texts that point: grounded phrases with boxes and masks, expressions for one object, and for what is not there."""

from __future__ import annotations

from collections.abc import Iterator

from captioners.geometry_words import EDGE_NAMES
from captioners.lexicon import Noun, concepts_of, nouns_of
from captioners.number_words import count_phrase, listing
from captioners.objects import MAX_OBJECTS, SceneObject
from captioners.phrasing import Sentence, capital, mark
from captioners.reading import ClassReading
from captioners.records import Chip, Told
from captioners.regions import MIN_ROWS

MAX_CLASSES = 3
"""A grounded caption points to objects of so many classes."""
MAX_POINTED = 6
"""More objects of a class are told as the largest three."""
MAX_EXPRESSIONS = 4
"""So many objects of a chip get an expression of their own."""
MAX_NEGATIVES = 2
"""So many expressions ask for what is not there."""
CELLS = {
    "north-west": "r1c1", "north": "r1c2", "north-east": "r1c3", "west": "r2c1", "centre": "r2c2", "east": "r2c3",
    "south-west": "r3c1", "south": "r3c2", "south-east": "r3c3",
}  # fmt: skip
"""Ninth of the chip -> its region."""


def objects_by_class(chip: Chip) -> dict[int, list[SceneObject]]:
    """Code -> objects, the largest first; classes that fill nearly everything are no objects."""
    small = {one.code for one in chip.reading.classes if one.share < 75.0}
    found: dict[int, list[SceneObject]] = {}
    for one in chip.one.objects:
        if one.code in small:
            found.setdefault(one.code, []).append(one)
    return found


def grounded(chip: Chip) -> Iterator[Told]:
    """One sentence whose phrases point to objects: every object that a phrase counts is a target."""
    by_code = objects_by_class(chip)
    held = [one for one in chip.reading.classes if one.code in by_code]
    chosen = chip.choice.shuffled("grounded/classes", held)[:MAX_CLASSES]
    parts, facts = [], []
    for one in sorted(chosen, key=lambda c: (-c.share, c.code)):
        words, objects = _counted(chip, one, by_code[one.code])
        ids = "".join(f"#{each.object_id}" for each in objects)
        parts.append(mark(f"{one.code}{ids}", words))
        facts += [f"share.{one.code}", f"object.{one.code}.count", f"patches.{one.code}.count"]
        facts += [f"{each.object_id}.{name}" for each in objects for name in ("area", "position")]
    if parts:
        text = chip.writer.phrase("grounded", {"list": listing(parts)})
        yield Told("grounded", "phrases", (Sentence(text, tuple(facts)),))


def _counted(chip: Chip, one: ClassReading, objects: list[SceneObject]) -> tuple[str, list[SceneObject]]:
    """A phrase for the objects of a class, and which they are."""
    noun = chip.choice.one(f"noun/grounded/{one.code}", nouns_of(one.noun)).text
    patches = int(one.patches.get("count", 0))
    if len(objects) == 1:
        only = objects[0]
        where = _in(only.position)
        if patches == 1:
            size = f"{only.size} " if chip.choice.number(f"grounded/size/{one.code}") % 2 else ""
            return f"one {size}patch of {noun} {where}", objects
        return f"the largest patch of {noun}, {where}", objects
    if len(objects) == patches and patches <= MAX_POINTED:
        return f"{count_phrase(patches)} patches of {noun}", objects
    sizes = [each.pixels for each in objects]
    for count in (3, 2, 1):
        if len(objects) == count or (len(objects) > count and sizes[count - 1] > sizes[count]):
            words = "the largest patch" if count == 1 else f"the {count_phrase(count)} largest patches"
            return f"{words} of {noun}", objects[:count]
    return f"the larger patches of {noun}", objects


def _in(position: str) -> str:
    return "in the centre" if position == "centre" else f"in the {position}"


def referring(chip: Chip) -> Iterator[Told]:
    """Expressions that fit one object alone; it is their target."""
    rows = []
    for code, objects in sorted(objects_by_class(chip).items()):
        if len(objects) >= MAX_OBJECTS:
            continue
        noun = chip.choice.one(f"noun/referring/{code}", nouns_of(objects[0].noun)).text
        rows += [(one, words, names) for one, words, names in expressions(objects, noun, _patches(chip, code))]
    for one, words, names in chip.choice.shuffled("referring", rows)[:MAX_EXPRESSIONS]:
        text = capital(mark(f"{one.code}#{one.object_id}", words))
        facts = (f"share.{one.code}", *(f"{one.object_id}.{name}" for name in names))
        box = ", ".join(str(edge) for edge in one.box)
        yield Told("referring", "object", (Sentence(text, facts),), answer=f"[{box}]", plain=True)


def _patches(chip: Chip, code: int) -> int:
    fact = chip.reading.by_id.get(f"patches.{code}.count")
    return 0 if fact is None else int(fact.value)


def expressions(
    objects: list[SceneObject], noun: str, patches: int
) -> Iterator[tuple[SceneObject, str, tuple[str, ...]]]:
    """(object, expression, names of the facts it uses) for every object that some attribute sets apart.

    Where the class has patches too small to be objects, one of them may have the same attribute: the object is the
    largest that has it.
    """
    most = "largest " if patches > len(objects) else ""
    if len(objects) == 1 and patches == 1:
        yield objects[0], f"the only patch of {noun}", ("area",)
        return
    if len(objects) == 1 or objects[0].pixels > objects[1].pixels:
        yield objects[0], f"the largest patch of {noun}", ("area",)
    if len(objects) < 2:
        return
    for one in objects:
        others = [other for other in objects if other is not one]
        if all(other.position != one.position for other in others):
            yield one, f"the {most}patch of {noun} {_in(one.position)}", ("area", "position")
        elif one.shape and all(other.shape != one.shape for other in others):
            yield one, f"the {most}{one.shape} patch of {noun}", ("area", "shape")
        for edge in one.edges:
            if len(one.edges) == 1 and all(edge not in other.edges for other in others):
                yield one, f"the {most}patch of {noun} at the {EDGE_NAMES[edge]} edge", ("area", "edges")


def negative(chip: Chip) -> Iterator[Told]:
    """Expressions for what is surely not there: an absent cover, or a cover in a ninth that holds none of it."""
    if not chip.reading.is_complete:
        return
    rows: list[tuple[str, tuple[str, ...]]] = []
    for code, noun in absent_covers(chip):
        position = chip.choice.one(f"negative/{code}", tuple(CELLS))
        rows.append((f"the patch of {noun.text} {_in(position)}", (f"share.{code}",)))
    elsewhere = []
    for code, objects in sorted(objects_by_class(chip).items()):
        noun = chip.choice.one(f"noun/negative/{code}", nouns_of(objects[0].noun))
        taken = {one.position for one in objects}
        for position, cell in CELLS.items():
            fact = chip.reading.by_id.get(f"share.{code}.{cell}")
            if fact is not None and float(fact.value) == 0.0 and position not in taken:
                elsewhere.append((f"the patch of {noun.text} {_in(position)}", (fact.fact_id,)))
    chosen = chip.choice.shuffled("negative/absent", rows)[:1] + chip.choice.shuffled("negative/place", elsewhere)
    for text, facts in chosen[:MAX_NEGATIVES]:
        sentence = Sentence(capital(text), facts)
        yield Told("referring", "negative", (sentence,), answer="none", empty_target=True, plain=True)


def absent_covers(chip: Chip) -> list[tuple[int, Noun]]:
    """(code, noun) of covers that are surely absent: neither held, nor brought along by another cover or the map."""
    if not chip.reading.is_complete or min(shape_yx(chip)) < MIN_ROWS:
        return []
    held = (*(one.noun for one in chip.reading.classes), *(one.noun for one in chip.reading.features))
    ideas = frozenset().union(*map(concepts_of, held))
    absent = [(c, n) for c, n in chip.reading.absent if not ideas & concepts_of(n, own=True) and concepts_of(n)]
    return [(code, chip.choice.one(f"noun/absent/{code}", nouns_of(noun))) for code, noun in absent]


def shape_yx(chip: Chip) -> tuple[int, int]:
    """Rows and columns of the grid, from the facts; (0, 0) where they do not tell."""
    by_id = chip.reading.by_id
    if not {"ground.gsd", "ground.height", "ground.width"} <= by_id.keys():
        return 0, 0
    gsd = float(by_id["ground.gsd"].value)
    return round(float(by_id["ground.height"].value) / gsd), round(float(by_id["ground.width"].value) / gsd)
