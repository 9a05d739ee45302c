"""An independent judge of template texts: reads the words and recomputes every claim from the raw label array.

Nothing of `captioners` is used to judge; its own dictionary of nouns, its own regions, its own flood fill.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from shapely.geometry import box

from captioners.template import template_records
from schemas.text import TextRecord
from tests.unit.captioners.worlds import World, caption_input, make_world

NOUNS = {
    "tree-covered ground": 10, "tree cover": 10, "trees": 10, "shrubland": 20, "shrubs": 20, "scrub": 20,
    "grassland": 30, "grassy ground": 30, "grass": 30, "farmland under crops": 40, "cropland": 40, "crops": 40,
    "built-up land": 50, "built-up ground": 50, "built-up areas": 50,
    "bare or sparsely vegetated ground": 60, "bare ground or thin vegetation": 60,
    "snow and ice": 70, "ice and snow": 70, "open water": 80, "water": 80, "herbaceous wetland": 90,
    "mangroves": 95, "mangrove forest": 95, "moss and lichen": 100,
}  # fmt: skip
NOUN = re.compile(r"\b(" + "|".join(sorted(map(re.escape, NOUNS), key=len, reverse=True)) + r")\b", re.IGNORECASE)
PARTS = {
    "a fifth": 20, "a quarter": 25, "a third": 100 / 3, "two fifths": 40, "half": 50, "three fifths": 60,
    "two thirds": 200 / 3, "three quarters": 75, "four fifths": 80, "nine tenths": 90,
}  # fmt: skip
HEDGE = r"(?:(about|roughly|less than|under|more than|over|just over|a little more than|just under|not quite) )?"
SHARE = re.compile(
    rf"\b(?<!ern )(?<!holds ){HEDGE}(?:(\d+(?:\.\d+)?)%|({'|'.join(sorted(PARTS, key=len, reverse=True))})\b)",
    re.IGNORECASE,
)
PLACE = re.compile(
    r"(?:in the (north-west|north-east|south-west|south-east)(?:ern part)?\b"
    r"|(?:in the (northern|southern|eastern|western) half)"
    r"|in the (north|south|east|west)\b(?!-)"
    r"|along the (northern|southern|eastern|western) edge|(in the middle|around the centre))",
    re.IGNORECASE,
)
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBER = {word: number for number, word in enumerate(WORDS)}


def share_of(world: World, code: int) -> float:
    labelled = int((world.label < 255).sum())
    index = [c.code for c in world.legend.classes].index(code)
    return 100.0 * int((world.label == index).sum()) / labelled


def mask_of(world: World, code: int) -> np.ndarray:
    return np.asarray(world.label == [c.code for c in world.legend.classes].index(code))


def codes_of(world: World) -> set[int]:
    return {world.legend.classes[i].code for i in np.unique(world.label) if i < 255}


def agrees(match: re.Match[str], truth: float) -> bool:
    """Whether a share told is true within the tolerance that its words claim."""
    hedge, figure, part = (match.group(1) or "").lower(), match.group(2), match.group(3)
    told = float(figure) if figure else PARTS[part.lower()]
    if hedge in ("less than", "under"):
        return 0 < truth < told
    if hedge in ("more than", "over"):
        return told < truth < 100
    if hedge in ("just over", "a little more than"):
        return told < truth <= told + 4
    if hedge in ("just under", "not quite"):
        return told - 4 <= truth < told
    if part:
        return abs(truth - told) <= 2
    return abs(truth - told) <= (2.5 if hedge and told % 5 == 0 else 0.5)


def inside(world: World, code: int, match: re.Match[str]) -> float:
    """Fraction of a class's pixels in the place that was named."""
    mask = mask_of(world, code)
    rows, columns = mask.shape
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    corner, half, side, edge, middle = (g.lower() if g else "" for g in match.groups())
    inside_y, inside_x = np.ones(rows, bool), np.ones(columns, bool)
    words = corner or half or side
    if "north" in words:
        inside_y = y < 0.5
    if "south" in words:
        inside_y = y > 0.5
    if "west" in words:
        inside_x = x < 0.5
    if "east" in words:
        inside_x = x > 0.5
    if edge:
        inside_y = {"northern": y < 0.21, "southern": y > 0.79}.get(edge, inside_y)
        inside_x = {"western": x < 0.21, "eastern": x > 0.79}.get(edge, inside_x)
    if middle:
        inside_y, inside_x = abs(y - 0.5) <= 0.26, abs(x - 0.5) <= 0.26
    return float(mask[np.ix_(inside_y, inside_x)].sum()) / float(mask.sum())


def patches_of(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """8-connected patches, the largest first, by flood fill."""
    left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
    found = []
    while left:
        stack, patch = [left.pop()], []
        while stack:
            row, column = stack.pop()
            patch.append((row, column))
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack += near
        found.append(patch)
    return sorted(found, key=len, reverse=True)


def square_metres(text: str) -> tuple[float, float]:
    """(value, half a unit of the last digit) of an area."""
    figure, unit = re.search(r"([\d.,]+) (m²|ha|km²)", text).groups()  # type: ignore[union-attr]
    figure = figure.replace(",", "")
    worth = {"m²": 1.0, "ha": 1e4, "km²": 1e6}[unit]
    step = 10.0 ** -len(figure.split(".")[1]) if "." in figure else 10.0 ** (len(figure) - len(figure.rstrip("0")))
    if unit != "m²" and "." not in figure:
        step = 1.0
    return float(figure) * worth, step * worth / 2 + 1e-6


def longest_borders(world: World) -> tuple[int, int]:
    counts: Counter[tuple[int, int]] = Counter()
    label = world.label
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            for other in ((row + 1, column), (row, column + 1)):
                if other[0] < label.shape[0] and other[1] < label.shape[1]:
                    a, b = sorted((int(label[row, column]), int(label[other])))
                    if a != b and b < 255:
                        counts[(a, b)] += 1
    best = counts.most_common(1)[0][0]
    return tuple(sorted(world.legend.classes[i].code for i in best))  # type: ignore[return-value]


def judge_patches(world: World, sentence: str, code: int) -> list[str]:
    patches = patches_of(mask_of(world, code))
    wrong = []
    told = re.search(r"\b(\w+) (?:separate )?patches", sentence)
    if told:
        word = told.group(1).lower()
        if (NUMBER.get(word) or int(word)) != len(patches):
            wrong.append(f"{word} patches, in truth {len(patches)}")
    if ("single patch" in sentence or "one patch" in sentence) and len(patches) != 1:
        wrong.append(f"single, in truth {len(patches)}")
    if re.search(r"\d (?:m²|ha|km²)", sentence):
        value, slack = square_metres(sentence)
        if abs(value - len(patches[0]) * 100.0) > slack:
            wrong.append(f"area {value}, in truth {len(patches[0]) * 100}")
    same_size = [p for p in patches if len(p) == len(patches[0])]
    where = re.search(r"centred (?:in the ([\w-]+)|near the (middle))", sentence)
    if where and len(same_size) == 1:
        rows, columns = zip(*patches[0], strict=True)
        y, x = (
            (np.mean(rows) + 0.5) / mask_of(world, code).shape[0],
            (np.mean(columns) + 0.5) / mask_of(world, code).shape[1],
        )
        name = "-".join(
            word
            for word in (("north", "", "south")[min(2, int(y * 3))], ("west", "", "east")[min(2, int(x * 3))])
            if word
        )
        if (where.group(1) or "") != name:
            wrong.append(f"centred {where.group(0)}, in truth {name}")
    reached = re.search(r"reaches (?:the (.*?) edges?|all (four) edges)", sentence)
    if reached and len(same_size) == 1:
        rows, columns = zip(*patches[0], strict=True)
        height, width = world.label.shape
        truth = {
            "northern": min(rows) == 0, "southern": max(rows) == height - 1,
            "western": min(columns) == 0, "eastern": max(columns) == width - 1,
        }  # fmt: skip
        words = set(truth) if reached.group(2) else set(re.findall(r"\w+ern", reached.group(1)))
        if words != {name for name, there in truth.items() if there}:
            wrong.append(f"{reached.group(0)}, in truth {truth}")
    return wrong


def judge_sentence(world: World, sentence: str) -> list[str]:
    """What is false in a sentence about cover; sentences about other things are left to others."""
    nouns = [(m.start(), m.end(), NOUNS[m.group(1).lower()]) for m in NOUN.finditer(sentence)]
    shares = list(SHARE.finditer(sentence))
    wrong = [f"{code} is not there" for *_, code in nouns if code not in codes_of(world)]
    if wrong:
        return wrong
    if "has no class" in sentence or "No class is known" in sentence or "unclassified" in sentence:
        gap = 100.0 * float((world.label == 255).mean())
        return [] if all(agrees(m, gap) for m in shares) else [f"unmapped is {gap}"]
    if not nouns:
        return []
    if "patch" in sentence:
        return judge_patches(world, sentence, nouns[0][2])
    if "boundary" in sentence:
        pair = tuple(sorted(code for *_, code in nouns))
        return [] if pair == longest_borders(world) else [f"border {pair}, in truth {longest_borders(world)}"]
    told = [share_of(world, code) for *_, code in nouns]
    if "none of them above 5%" in sentence:
        return [] if max(told) < 5 else [f"above 5%: {told}"]
    pairs = zip(nouns, shares, strict=True) if len(nouns) == len(shares) else (
        (min(nouns, key=lambda n: min(abs(n[0] - m.end()), abs(m.start() - n[1]))), m) for m in shares
    )  # fmt: skip
    for (*_, code), match in pairs:
        if not agrees(match, share_of(world, code)):
            wrong.append(f"{match.group(0)} of {code}, in truth {share_of(world, code):.3f}")
    places = list(PLACE.finditer(sentence))
    for rank, place in enumerate(places):
        before = [n for n in nouns if n[0] < place.start()]
        code = nouns[rank][2] if len(places) == len(nouns) else before[-1][2]
        if inside(world, code, place) <= 0.5:
            wrong.append(f"{code} {place.group(0)}: {inside(world, code, place):.2f}")
    if re.search(r"throughout the scene|all parts of the scene|quarter of the scene", sentence):
        mask = mask_of(world, nouns[0][2])
        rows, columns = mask.shape
        quarters = [
            mask[i : i + rows // 2, j : j + columns // 2]
            for i in (0, rows - rows // 2)
            for j in (0, columns - columns // 2)
        ]
        if not all(quarter.any() for quarter in quarters):
            wrong.append("not throughout")
    if re.search(r"\bwhole\b|entirely covered by \w[^(]*\.|edge to edge|^All of", sentence) and told[0] < 100:
        wrong.append(f"whole, in truth {told[0]}")
    if re.search(r"almost all|nearly|almost entirely|almost nothing", sentence, re.IGNORECASE) and told[0] < 90:
        wrong.append(f"almost all, in truth {told[0]}")
    if (
        re.search(r"^Most of the (?:scene|mapped)|greater part|dominat|prevails?\b|^Mostly|sets? the tone", sentence)
        and told[0] <= 50
    ):
        wrong.append(f"most, in truth {told[0]}")
    if re.search(r"share most|most of the (?:scene|mapped)|(?<!found )mainly|Mainly", sentence) and sum(told[:3]) <= 50:
        wrong.append(f"most together, in truth {told}")
    return wrong


def judge_caption(world: World, text: str) -> list[str]:
    sentences = re.split(r"(?<=[.])\s+(?=[A-Z\d])", text)
    wrong = [f"{sentence!r}: {w}" for sentence in sentences for w in judge_sentence(world, sentence)]
    first = [share_of(world, NOUNS[m.group(1).lower()]) for m in NOUN.finditer(sentences[0])]
    if first != sorted(first, reverse=True):
        wrong.append(f"not in falling order: {sentences[0]!r}")
    for rank, sentence in enumerate(sentences):
        if re.search(
            r"\b[Tt]he (rest|remainder)\b|make up the rest|[Ww]hat (is left|remains)|complete the picture", sentence
        ):
            named = {NOUNS[m.group(1).lower()] for s in sentences[: rank + 1] for m in NOUN.finditer(s)}
            if named != codes_of(world):
                wrong.append(f"the rest is {codes_of(world) - named} too: {sentence!r}")
    return wrong


def judge_answer(world: World, row: TextRecord) -> list[str]:
    nouns = [NOUNS[m.group(1).lower()] for m in NOUN.finditer(row.question)]
    question, answer = row.question, row.answer
    truth: object = None
    if "OpenStreetMap" in question:
        truth = str(
            sum(
                "building" in f.tags and f.geometry.intersects(box(*world.georef.bounds_xyxy))
                for f in world.features.features
            )
        )
    elif re.search(r"\bany\b", question):
        truth = "Yes" if nouns[0] in codes_of(world) else "No"
    elif "more than" in question:
        told = 50.0 if "half" in question else float(re.search(r"(\d+)%", question).group(1))  # type: ignore[union-attr]
        truth = "Yes" if share_of(world, nouns[0]) > told else "No"
    elif "percent" in question:
        return [] if abs(float(answer.rstrip("%")) - share_of(world, nouns[0])) <= 0.5 else [f"{question} {answer}"]
    elif "Which covers" in question or "which takes up more" in question:
        best = max(nouns, key=lambda code: share_of(world, code))
        return [] if NOUNS[answer.lower()] == best else [f"{question} {answer}"]
    elif "quarter" in question:
        rows, columns = world.label.shape
        ys = slice(0, rows // 2) if "north" in question else slice(rows - rows // 2, rows)
        xs = slice(0, columns // 2) if "western" in question else slice(columns - columns // 2, columns)
        part = world.label[ys, xs]
        best = Counter(part[part < 255].tolist()).most_common(1)[0][0]
        return [] if world.legend.classes[best].code == NOUNS[answer.lower()] else [f"{question} {answer}"]
    elif "Where" in question:
        place = PLACE.search(answer)
        assert place is not None, answer
        return [] if inside(world, nouns[0], place) > 0.5 else [f"{question} {answer}"]
    elif "patches" in question:
        truth = str(len(patches_of(mask_of(world, nouns[0]))))
    assert truth is not None, f"the judge cannot read {question!r}"
    return [] if answer == truth else [f"{question} {answer}, in truth {truth}"]


@pytest.mark.parametrize("block", range(6))
def test_nothing_that_the_template_says_is_false(block: int) -> None:
    wrong: list[str] = []
    judged = 0
    for seed in range(block * 50, block * 50 + 50):
        world = make_world(seed)
        for row in template_records(caption_input(world, f"u31-{seed:04d}")):
            judged += 1
            found = judge_answer(world, row) if row.kind == "qa" else judge_caption(world, row.text)
            wrong += [f"seed {seed} {row.style}: {one}" for one in found]
    assert judged > 300
    assert not wrong, "\n".join(wrong[:20])


def test_the_judge_finds_planted_lies() -> None:
    caught = told = 0
    for seed in range(40):
        world, other = make_world(seed), make_world(seed + 1000)
        for row in template_records(caption_input(other, "u31-0001", kinds=("short", "long"))):
            told += 1
            caught += bool(judge_caption(world, row.text))
    assert caught >= 0.95 * told
