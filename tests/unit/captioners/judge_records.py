"""The independent judge of whole records: sentences to the judge that can read them, answers recomputed."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from schemas.text import TextRecord
from tests.unit.captioners import judge
from tests.unit.captioners.judge import agrees, codes_of, find_nouns, inside, mask_of, patches_of, share_of
from tests.unit.captioners.judge_map import judge_element, judge_title
from tests.unit.captioners.judge_measured import features_of, judge_measured
from tests.unit.captioners.judge_pointed import judge_referring, judge_spans
from tests.unit.captioners.worlds import World

SPLIT = re.compile(r"(?<=[.])\s+(?=[A-Z\d])")
BANNED = re.compile(
    r"\b(?:possibly|likely|perhaps|context|segmentation|appears?|change|transition|dynamic)\b|\d", re.IGNORECASE
)


def judge_record(world: World, row: TextRecord) -> list[str]:
    """What is false in a record."""
    if row.kind == "qa":
        return judge_answer(world, row)
    if row.kind == "referring":
        return judge_referring(world, row)
    if row.kind == "dialogue":
        return judge_dialogue(world, row)
    if row.kind == "labels":
        return judge_labels(world, row)
    if row.style in ("title", "title_multi_objects", "rsteller") and not world.measured:
        return []
    if row.style in ("title", "title_multi_objects"):
        return judge_title(world, row)
    if row.style == "rsteller":
        return judge_element(world, row)
    if row.kind == "grounded":
        return judge_spans(world, row)
    if row.style in ("short", "long", "rsvlm_caption", "rsvlm_paragraph"):
        return judge_caption(world, row.text)
    wrong = [f"{s!r}: {w}" for s in SPLIT.split(row.text) for w in judge_any(world, s)]
    if row.style == "chatearthnet":
        wrong += judge_form(world, row.text)
    return wrong


def judge_caption(world: World, text: str) -> list[str]:
    """A short or long caption: cover sentences among themselves, the others one by one."""
    sentences = SPLIT.split(text)
    cover = [s for s in sentences if judge_measured(world, s) is None]
    wrong = [f"{s!r}: {w}" for s in sentences for w in judge_measured(world, s) or []]
    return wrong + (judge.judge_caption(world, " ".join(cover)) if cover else [])


def judge_any(world: World, sentence: str) -> list[str]:
    """One sentence on its own."""
    measured = judge_measured(world, sentence)
    if measured is not None:
        return measured
    for pattern, rule in RULES:
        if re.search(pattern, sentence):
            return rule(world, sentence)
    return judge.judge_sentence(world, sentence)


def _main(world: World, sentence: str) -> list[str]:
    """``The main land cover is ..., most of it in the north``."""
    code = find_nouns(world, sentence)[0][2]
    best = max(share_of(world, c) for c in codes_of(world))
    wrong = [] if share_of(world, code) == best else [f"{code} is not the main one"]
    place = judge.PLACE.search(sentence)
    return wrong + ([] if place is None or inside(world, code, place) > 0.5 else [f"not {place.group(0)}"])


def _shares(world: World, sentence: str) -> list[str]:
    """A list of all shares."""
    nouns, shares = find_nouns(world, sentence), list(judge.SHARE.finditer(sentence))
    wrong = [
        f"{share.group(0)}, in truth {share_of(world, code):.3f}"
        for (*_, code), share in zip(nouns, shares, strict=True)
        if not agrees(share, share_of(world, code))
    ]
    return wrong + ([] if {code for *_, code in nouns} == codes_of(world) else ["not all of them"])


def _share_and_area(world: World, sentence: str) -> list[str]:
    code = find_nouns(world, sentence)[0][2]
    wrong = [f"{s.group(0)}" for s in judge.SHARE.finditer(sentence) if not agrees(s, share_of(world, code))]
    return wrong + judge.judge_areas(world, sentence)


RULES = (
    (r"(?i)\b(?:west|east)(?:ern)? quarter\b|\bcentral part\b|\bmiddle of the scene\b", judge.judge_region),
    (judge.SIZED.pattern, judge.judge_region),
    (r"^The main land cover", _main),
    (r"^(?:By share of the ground|Measured over)|the covers are .*\(|^[\w ]+ holds .*\((?!.*quarter)", _shares),
    (r"on average", judge.judge_patch_figures),
    (r"pixel edges", judge.judge_boundary),
    (r"^(?:On the ground that is|In area this|In absolute)", judge.judge_areas),
    (r"longest boundary of the|main neighbour|^Next to the|More of the edge", judge.judge_neighbour),
    (r"landscape|tundra|urban scene|scene of open water|set the character|patchwork|Overall, the scene (?:is|holds)|"
     r"divide the land|land is shared|Many covers meet",
     judge.judge_theme),
    (r"which comes to|covers? [\d.,]+ (?:m²|ha|km²), ", _share_and_area),
)  # fmt: skip


def judge_form(world: World, text: str) -> list[str]:
    """ChatEarthNet: no figure, no banned word, quadrants then middle, at most three classes each, none under 20 px."""
    wrong = [f"says {m.group(0)!r}" for m in BANNED.finditer(text)]
    regions = [s for s in SPLIT.split(text) if judge.SIZED.search(s)]
    order = ["".join(g for g in judge.REGION.search(s).groups() if g).lower() for s in regions]  # type: ignore[union-attr]
    names = {"topleft": 0, "northwest": 0, "topright": 1, "northeast": 1, "bottomleft": 2, "southwest": 2,
             "bottomright": 3, "southeast": 3, "middle": 4, "centre": 4}  # fmt: skip
    if [names[one] for one in order] != sorted(names[one] for one in order):
        wrong.append(f"regions in another order: {order}")
    for sentence in regions:
        if len(judge.SIZED.findall(sentence)) > 3:
            wrong.append("more than three classes")
        for *_, code in find_nouns(world, sentence):
            if int(mask_of(world, code).sum()) < 20:
                wrong.append(f"{code} has under 20 pixels")
    return wrong


def judge_labels(world: World, row: TextRecord) -> list[str]:
    if row.style == "relations":
        return judge_relations(world, row.text)
    told = [code for *_, code in find_nouns(world, row.text)]
    truth = sorted((c for c in codes_of(world) if share_of(world, c) >= 1), key=lambda c: -share_of(world, c))
    same = [share_of(world, c) for c in told] == [share_of(world, c) for c in truth] and set(told) == set(truth)
    return [] if same else [f"{told}, in truth {truth}"]


def centre_of(world: World, code: int) -> tuple[float, float]:
    rows, columns = zip(*patches_of(mask_of(world, code))[0], strict=True)
    height, width = world.label.shape
    return (np.mean(columns) + 0.5) / width, (np.mean(rows) + 0.5) / height


ROSE = ("east", "south-east", "south", "south-west", "west", "north-west", "north", "north-east")


def lies(world: World, one: int, other: int, word: str) -> bool:
    """Whether the one's largest patch lies so of the other's: within 22.5 degrees of that direction."""
    (x1, y1), (x2, y2) = centre_of(world, one), centre_of(world, other)
    degrees = float(np.degrees(np.arctan2(y1 - y2, x1 - x2))) % 360  # clockwise from east, y runs down
    return ROSE[round(degrees / 45) % 8] == word


def judge_relations(world: World, text: str) -> list[str]:
    wrong = []
    position = {c.code: i for i, c in enumerate(world.legend.classes)}
    edges = {frozenset(pair) for pair in judge.edges_of(world)}
    for triple in text.split("; "):
        one, relation, other = triple.split(", ")
        a, b = find_nouns(world, one)[0][2], find_nouns(world, other)[0][2]
        if relation == "adjacent to":
            holds = frozenset((position[a], position[b])) in edges
        else:
            holds = lies(world, a, b, relation.removesuffix(" of"))
        wrong += [] if holds else [triple]
    return wrong


def judge_dialogue(world: World, row: TextRecord) -> list[str]:
    wrong = []
    turns = [turn.text for turn in row.turns]
    assert [turn.role for turn in row.turns] == ["user", "assistant"] * (len(turns) // 2)
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        if answer.startswith("No, "):
            code = find_nouns(world, answer)[0][2]
            wrong += [] if code not in codes_of(world) else [f"{question} {answer}"]
        elif question == turns[0]:
            wrong += judge_caption(world, answer)
        else:
            wrong += judge_any(world, answer.removeprefix("Yes, "))
        asked, told = find_nouns(world, question), find_nouns(world, answer)
        if asked and told and asked[0][2] != told[0][2]:
            wrong.append(f"{question} {answer}")
    return wrong


MAPPED = "On the mapped part of the scene, "


def judge_answer(world: World, row: TextRecord) -> list[str]:
    """The answer recomputed from the raw label array, and from it alone."""
    nouns = [code for *_, code in find_nouns(world, row.question)]
    question, answer = row.question, row.answer
    may_be_silent = "mapped part" in question or re.match("(?:Is|Are|Does|What kind of landscape) ", question)
    if not may_be_silent and row.visually_verifiable and (world.label == 255).any():
        return [f"{question} of a scene that is not known as a whole"]
    if question.startswith(MAPPED):
        question = question.removeprefix(MAPPED)
        question = question[:1].upper() + question[1:]
    wrong_text = [f"{question} {answer} {row.options}"]
    if row.options and (answer not in row.options or len(set(row.options)) != len(row.options)):
        return wrong_text
    truth: object = None
    if "OpenStreetMap" in question and not world.measured:
        return []
    if "OpenStreetMap" in question:
        parts = _counted(world, question)
        truth = str(len(parts))
    elif "direction" in question:
        one, other = nouns if "seen from" in question and question.startswith("In which") else nouns[::-1]
        return [] if lies(world, one, other, answer.lower()) else wrong_text
    elif match := re.search(r"lie to the (\w+) of", question):
        truth = "Yes" if _side(world, nouns[0], nouns[1], match.group(1)) else "No"
    elif re.search(r"kind of landscape", question):
        return judge.judge_theme(world, answer)
    elif re.search(r"main land cover|takes up the most ground|covers most of the ground", question):
        best = max(share_of(world, c) for c in codes_of(world))
        told = find_nouns(world, answer)[0][2]
        others = [find_nouns(world, o)[0][2] for o in row.options if o != answer]
        ok = told in codes_of(world) and share_of(world, told) == best
        return [] if ok and all(c not in codes_of(world) or share_of(world, c) < best for c in others) else wrong_text
    elif "different land covers" in question:
        truth = str(len(codes_of(world)))
    elif "nearest" in question:
        share = share_of(world, nouns[0])
        truth = min(row.options, key=lambda o: abs(float(o.rstrip("%")) - share))
    elif "In which quarter" in question:
        fractions = {o: _in_quarter(world, nouns[0], o) for o in row.options}
        truth = max(fractions, key=lambda o: fractions[o])
        if fractions[truth] <= 0.5:
            return wrong_text
    elif re.match(r"(?:Is|Are) there .* in the \w+-\w+ quarter", question):
        part = judge.region_of(world, judge.REGION.search(question))  # type: ignore[arg-type]
        truth = "Yes" if judge.share_in(world, part, nouns[0]) > 0 else "No"
    elif re.search(r"\bany\b|^(?:Is|Are) there", question):
        truth = "Yes" if nouns[0] in codes_of(world) else "No"
    elif "more than" in question:
        told = 50.0 if "half" in question else float(re.search(r"(\d+)%", question).group(1))  # type: ignore[union-attr]
        truth = "Yes" if share_of(world, nouns[0]) > told else "No"
    elif "percent" in question:
        return [] if abs(float(answer.rstrip("%")) - share_of(world, nouns[0])) <= 0.5 else wrong_text
    elif "Which covers" in question or "which takes up more" in question:
        best_code = max(nouns, key=lambda code: share_of(world, code))
        return [] if find_nouns(world, answer)[0][2] == best_code else wrong_text
    elif "quarter" in question:
        part = judge.region_of(world, judge.REGION.search(question))  # type: ignore[arg-type]
        best_index = Counter(part[part < 255].tolist()).most_common(1)[0][0]
        return [] if world.legend.classes[best_index].code == find_nouns(world, answer)[0][2] else wrong_text
    elif "Where" in question:
        place = judge.PLACE.search(answer)
        assert place is not None, answer
        return [] if inside(world, nouns[0], place) > 0.5 else wrong_text
    elif "patches" in question:
        truth = str(len(patches_of(mask_of(world, nouns[0]))))
    assert truth is not None, f"the judge cannot read {question!r}"
    return [] if answer == truth else [f"{question} {answer}, in truth {truth}"]


def _counted(world: World, question: str) -> list[object]:
    from tests.unit.captioners.judge_measured import AREAS

    name = re.search(r"How many (.*) does", question).group(1)  # type: ignore[union-attr]
    singular = name.removesuffix("s")
    return features_of(world, AREAS.get(name) or AREAS[singular])


def _side(world: World, one: int, other: int, word: str) -> bool:
    (x1, y1), (x2, y2) = centre_of(world, one), centre_of(world, other)
    return {"north": y1 < y2, "south": y1 > y2, "west": x1 < x2, "east": x1 > x2}[word]


def _in_quarter(world: World, code: int, option: str) -> float:
    mask = mask_of(world, code)
    rows, columns = mask.shape
    ys = slice(0, rows // 2) if "north" in option.lower() else slice(rows - rows // 2, rows)
    xs = slice(0, columns // 2) if "west" in option.lower() else slice(columns - columns // 2, columns)
    return float(mask[ys, xs].sum()) / float(mask.sum())
