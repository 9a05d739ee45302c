"""The form of RSVLM-QA: caption, paragraph, relations between objects, and nine questions.

Facts as published (repository StarZi0213/RSVLM-QA, Prompts.md): a one-sentence caption and a paragraph, triples
{object, relation, object}, nine questions of which at least three are spatial, two about objects, two about the scene
and two about quantities. There answers came from the caption, so that its errors became ground truth; here every
answer is computed from the facts.
"""

from __future__ import annotations

from collections.abc import Iterator

from captioners.captions import long_caption, short_caption
from captioners.grounding import absent_covers
from captioners.lexicon import nouns_of
from captioners.parts import theme_sentence
from captioners.phrasing import Sentence, capital, mark, unmark
from captioners.qa import questions
from captioners.question import Question
from captioners.records import Chip, Told
from captioners.regions import QUADRANT_NAMES, QUADRANTS

WANTED = {"spatial": 3, "object": 2, "scene": 2, "quantity": 2}
"""Category -> questions."""
CATEGORY = {
    "position": "spatial", "relation": "spatial", "bool": "object", "share": "quantity", "comparison": "quantity",
    "count": "quantity",
}  # fmt: skip
"""Style of a question -> its category."""
MAX_RELATIONS = 6


def texts(chip: Chip) -> Iterator[Told]:
    """Caption, paragraph, relations, nine questions."""
    if not chip.reading.classes:
        return
    yield Told("caption", "rsvlm_caption", tuple(short_caption(chip.writer)[:1]), about="one sentence on the scene")
    yield Told("caption", "rsvlm_paragraph", tuple(long_caption(chip.writer)), about="a paragraph on the scene")
    relations = list(_relations(chip))
    if relations:
        text = "; ".join(sentence.text for sentence in relations)
        facts = tuple(fact for sentence in relations for fact in sentence.facts)
        yield Told("labels", "relations", (Sentence(text, facts),), plain=True)
    for question in nine(chip):
        yield Told("qa", f"rsvlm_{question.category}", question=question)


def _relations(chip: Chip) -> Iterator[Sentence]:
    """``trees, north of, water``: directions between the largest patches, and what borders on what."""
    by_code = {one.code: one for one in chip.reading.classes}
    rows = []
    for fact in chip.reading.sheet.facts:
        parts = fact.fact_id.split(".")
        if fact.kind == "relation" and fact.unit == "direction" and int(parts[1]) < int(parts[2]):
            rows.append((int(parts[1]), f"{fact.value} of", int(parts[2]), fact.fact_id))
    borders = sorted((f for f in chip.reading.sheet.facts if f.kind == "adjacency"), key=lambda f: -float(f.value))
    for fact in borders[:3]:
        a, b = (int(part) for part in fact.fact_id.split(".")[1:])
        rows.append((a, "adjacent to", b, fact.fact_id))
    for a, relation, b, fact_id in rows[:MAX_RELATIONS]:
        one, other = mark(a, by_code[a].noun), mark(b, by_code[b].noun)
        yield Sentence(f"{one}, {relation}, {other}", (fact_id,))


def nine(chip: Chip) -> list[Question]:
    """Nine questions, in the order of `WANTED`; more of a category where another cannot be filled."""
    pools: dict[str, list[Question]] = {name: [] for name in WANTED}
    for question in questions(chip.reading, chip.choice):
        if question.visible:
            category = question.category or CATEGORY[question.style]
            pools[category].append(_of(question, category))
    for question in (*_scene(chip), *_objects(chip), *_quarters(chip), *_more_shares(chip)):
        pools[question.category].append(question)
    taken: list[Question] = []
    for category, count in WANTED.items():
        unique = {question.question: question for question in pools[category]}
        taken += list(unique.values())[:count]
    return taken


def _of(question: Question, category: str) -> Question:
    return Question(
        question.style, question.question, question.answer, question.facts, question.options, question.visible, category
    )


def _scene(chip: Chip) -> Iterator[Question]:
    first = chip.reading.classes[0]
    name = nouns_of(first.noun)[0].full
    facts = tuple(one.share_id for one in chip.reading.classes)
    text = f"What is the main land cover of {chip.reading.ground}?"
    yield Question("main", text, capital(name), facts, category="scene")
    sentence = theme_sentence(chip)
    if sentence is not None:
        text = unmark(sentence.text)[0]
        yield Question("theme", "What kind of landscape is this?", text, sentence.facts, category="scene")


def _objects(chip: Chip) -> Iterator[Question]:
    """Presence of covers, held and absent in turn."""
    held = [c for c in chip.reading.classes if c.share >= 1.0]
    for one in chip.choice.shuffled("rsvlm/held", held):
        noun = chip.writer.noun(one, "rsvlm/object")
        text = f"{'Are' if noun.plural else 'Is'} there {noun.text} in the scene?"
        yield Question("bool", text, "Yes", (one.share_id,), category="object")
        for code, other in chip.choice.shuffled(f"rsvlm/absent/{one.code}", absent_covers(chip))[:1]:
            text = f"{'Are' if other.plural else 'Is'} there {other.text} in the scene?"
            yield Question("bool", text, "No", (f"share.{code}",), category="object")


def _quarters(chip: Chip) -> Iterator[Question]:
    """Whether a quarter holds a cover."""
    for region in chip.choice.shuffled("rsvlm/quarters", QUADRANTS):
        for one in chip.reading.classes[:3]:
            share = chip.reading.region_share(one.code, region)
            if share is None or 0.0 < share < 1.0 or (share == 0.0 and not chip.reading.is_complete):
                continue  # too little to be seen, or too little known to be denied
            noun = chip.writer.noun(one, "rsvlm/quarter")
            where = f"the {QUADRANT_NAMES[region]} quarter"
            text = f"{'Are' if noun.plural else 'Is'} there {noun.text} in {where}?"
            answer = "Yes" if share > 0 else "No"
            yield Question("position", text, answer, (f"share.{one.code}.{region}",), category="spatial")


def _more_shares(chip: Chip) -> Iterator[Question]:
    """The share of every main class, and the number of land covers."""
    for one in chip.reading.classes[:3]:
        noun = chip.writer.noun(one, "rsvlm/share")
        text = f"How many percent of the mapped ground {'are' if noun.plural else 'is'} {noun.text}?"
        yield Question("share", text, f"{round(one.share)}%", (one.share_id,), category="quantity")
    if "classes.count" in chip.reading.by_id:
        count = str(chip.reading.by_id["classes.count"].value)
        text = f"How many different land covers does {chip.reading.ground} hold?"
        yield Question("count", text, count, ("classes.count",), category="quantity")
