"""An independent judge of texts about cover: reads the words and recomputes every claim from the raw label array.

Nothing of `captioners` is used: its own dictionary of nouns, its own regions, its own flood fill. Sentences about
sensors, the map and the ground are judged in `judge_measured`, things pointed at in `judge_pointed`.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from tests.unit.captioners.worlds import World

SAID = {
    "trees": ("tree-covered ground", "tree cover", "trees"),
    "shrubland": ("shrubland", "shrubs", "scrub"),
    "grassland": ("grassland", "grassy ground", "grass"),
    "cropland": ("farmland under crops", "cropland", "crops"),
    "built-up land": ("built-up land", "built-up ground", "built-up areas"),
    "bare or sparsely vegetated ground": ("bare or sparsely vegetated ground", "bare ground or thin vegetation"),
    "snow and ice": ("snow and ice", "ice and snow"),
    "water": ("open water", "water"),
    "mangroves": ("mangroves", "mangrove forest"),
}
SAID["crops"], SAID["bare ground"] = SAID["cropland"], SAID["bare or sparsely vegetated ground"]
THEMES = {
    "trees": "wooded|forest|trees", "shrubland": "scrubland|shrubs", "grassland": "grassland|grassy",
    "cropland": "agricultural|farming|cropland", "crops": "agricultural|farming|cropland",
    "built-up land": "urban|built-up", "bare or sparsely vegetated ground": "barren|bare ground",
    "bare ground": "barren|bare ground", "snow and ice": "snowy|snow and ice", "water": "water|open water",
    "herbaceous wetland": "marshy|wetland", "wetland": "marshy|wetland", "flooded vegetation": "marshy|wetland",
    "mangroves": "mangrove", "moss and lichen": "tundra|moss and lichen",
}  # fmt: skip


def nouns_of(world: World) -> dict[str, int]:
    """What may stand for each class, lower case -> code."""
    found = {}
    for entry in world.legend.classes:
        noun = (entry.noun or entry.name.lower()).lower()
        for word in (noun, *SAID.get(noun, ())):
            found[word] = entry.code
    return found


def find_nouns(world: World, text: str) -> list[tuple[int, int, int]]:
    """(start, end, code) of every class that a text names; the longest noun wins."""
    nouns = nouns_of(world)
    pattern = "|".join(sorted(map(re.escape, nouns), key=len, reverse=True))
    return [
        (m.start(), m.end(), nouns[m.group(1).lower()])
        for m in re.finditer(rf"(?<![\w-])({pattern})(?![\w-])", text, re.IGNORECASE)
    ]


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


def part_of(shape: tuple[int, ...], match: re.Match[str]) -> tuple[np.ndarray, ...]:
    """Rows and columns of the place that was named."""
    rows, columns = shape
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
    return np.ix_(inside_y, inside_x)


def inside(world: World, code: int, match: re.Match[str]) -> float:
    """Fraction of a class's pixels in the place that was named."""
    mask = mask_of(world, code)
    return float(mask[part_of(mask.shape, match)].sum()) / float(mask.sum())


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
    nouns = find_nouns(world, sentence)
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
    if re.search(r"throughout the scene|all parts of the scene|(?:every|No) quarter of the scene", sentence):
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
        re.search(
            r"^Most of the (?:scene|area|view|ground|mapped)|greater part of the (?:scene|area|view|ground|mapped)|"
            r"(?<!Nothing )dominat|prevails?\b|^Mostly|sets? the tone",
            sentence,
        )
        and told[0] <= 50
    ):
        wrong.append(f"most, in truth {told[0]}")
    if (
        re.search(r"share most|most of the (?:scene|area|view|ground|mapped)|(?<!found )mainly|Mainly", sentence)
        and sum(told[:3]) <= 50
    ):
        wrong.append(f"most together, in truth {told}")
    return wrong


def judge_caption(world: World, text: str) -> list[str]:
    sentences = re.split(r"(?<=[.])\s+(?=[A-Z\d])", text)
    wrong = [f"{sentence!r}: {w}" for sentence in sentences for w in judge_sentence(world, sentence)]
    first = [share_of(world, code) for *_, code in find_nouns(world, sentences[0])]
    if first != sorted(first, reverse=True):
        wrong.append(f"not in falling order: {sentences[0]!r}")
    for rank, sentence in enumerate(sentences):
        if re.search(
            r"\b[Tt]he (rest|remainder)\b|make up the rest|[Ww]hat (is left|remains)|complete the picture", sentence
        ):
            named = {code for s in sentences[: rank + 1] for *_, code in find_nouns(world, s)}
            if named != codes_of(world):
                wrong.append(f"the rest is {codes_of(world) - named} too: {sentence!r}")
    return wrong


REGION = re.compile(
    r"(?:\bthe (north|south)-?(west|east)(?:ern)? quarter|\bthe (top|bottom) (left|right)|\bthe (middle of the scene|"
    r"central part|middle|centre)|(?:(?<=In )|(?<=mapped ground of )|^)the (north|south)-(west|east))\b",
    re.IGNORECASE,
)
SIZED = re.compile(
    r"\b(extra small|small|medium|large|extra large) (?:fraction|part|portion|amount|quantity) of ", re.IGNORECASE
)
BINS = {"extra small": (0, 10), "small": (10, 20), "medium": (20, 50), "large": (50, 80), "extra large": (80, 100.1)}


def region_of(world: World, match: re.Match[str]) -> np.ndarray:
    """Labels of a quarter or of the middle."""
    ns, we, tb, lr, middle, ns2, we2 = (g.lower() if g else "" for g in match.groups())
    rows, columns = world.label.shape
    if middle:
        return world.label[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    north = (ns or ns2) == "north" or tb == "top"
    west = (we or we2) == "west" or lr == "left"
    ys = slice(0, rows // 2) if north else slice(rows - rows // 2, rows)
    xs = slice(0, columns // 2) if west else slice(columns - columns // 2, columns)
    return world.label[ys, xs]


def share_in(world: World, part: np.ndarray, code: int) -> float:
    position = [c.code for c in world.legend.classes].index(code)
    return 100.0 * int((part == position).sum()) / int((part < 255).sum())


def judge_region(world: World, sentence: str) -> list[str]:
    """A sentence about one part: its shares there, in falling order, the size words by their bins."""
    match = REGION.search(sentence)
    assert match is not None, f"no region in {sentence!r}"
    part = region_of(world, match)
    found = find_nouns(world, sentence)
    nouns = [n for n in found if not match.start() <= n[0] < match.end()]
    told = [share_in(world, part, code) for *_, code in nouns]
    wrong = [] if told == sorted(told, reverse=True) else [f"not in falling order: {told}"]
    sized = list(SIZED.finditer(sentence))
    if sized:
        for size, (*_, code) in zip(sized, nouns, strict=True):
            low, high = BINS[size.group(1).lower()]
            truth = share_in(world, part, code)
            wrong += [] if low <= truth < high else [f"{size.group(1)} of {code}, in truth {truth:.2f}"]
        return wrong
    figures = list(SHARE.finditer(sentence))
    if not figures:
        return [*wrong, *([] if told and told[0] == 100.0 else [f"all, in truth {told}"])]
    for share, truth in zip(figures, told, strict=True):
        wrong += [] if agrees(share, truth) else [f"{share.group(0)}, in truth {truth:.3f}"]
    if "mainly" in sentence and told[0] <= 50:
        wrong.append(f"mainly, in truth {told[0]}")
    best = max(share_in(world, part, c.code) for c in world.legend.classes)
    return wrong + ([] if told[0] == best else [f"{best} is more than {told[0]}"])


def judge_theme(world: World, sentence: str) -> list[str]:
    """A theme of one cover: at least 60 %; of several: in falling order."""
    lower = sentence.lower()
    top = sorted(((share_of(world, c.code), c) for c in world.legend.classes), key=lambda row: -row[0])
    noun = (top[0][1].noun or top[0][1].name).lower()
    if top[0][0] >= 60:
        fits = re.search(rf"\b(?:{THEMES.get(noun, re.escape(noun))})", lower) or noun in lower
        return [] if fits else [f"the scene is {noun}"]
    told = [share_of(world, code) for *_, code in find_nouns(world, sentence)]
    return [] if len(told) > 1 and told == sorted(told, reverse=True) else [f"not in falling order: {told}"]


def judge_areas(world: World, sentence: str) -> list[str]:
    """``3.2 ha of trees``: the ground that a class covers."""
    wrong = []
    for match in re.finditer(r"[\d.,]+ (?:m²|ha|km²)", sentence):
        nouns = find_nouns(world, sentence)
        code = min(
            nouns, key=lambda n: abs(n[0] - match.end()) if n[0] >= match.end() else abs(match.start() - n[1]) + 9
        )[2]
        value, slack = square_metres(match.group(0))
        truth = 100.0 * int(mask_of(world, code).sum())
        wrong += [] if abs(value - truth) <= slack else [f"{match.group(0)} of {code}, in truth {truth}"]
    return wrong


def judge_neighbour(world: World, sentence: str) -> list[str]:
    """The class that the first one has most edges with."""
    (*_, one), (*_, other) = find_nouns(world, sentence)
    position = {c.code: i for i, c in enumerate(world.legend.classes)}
    counts: Counter[int] = Counter()
    for a, b in edges_of(world):
        if position[one] in (a, b):
            counts[b if a == position[one] else a] += 1
    best = counts.most_common(1)[0][0]
    return [] if position[other] == best else [f"the main neighbour is {best}"]


def edges_of(world: World) -> list[tuple[int, int]]:
    label = world.label
    pairs = []
    for row in range(label.shape[0]):
        for column in range(label.shape[1]):
            for other in ((row + 1, column), (row, column + 1)):
                if other[0] < label.shape[0] and other[1] < label.shape[1]:
                    a, b = int(label[row, column]), int(label[other])
                    if a != b and a < 255 and b < 255:
                        pairs.append((a, b))
    return pairs


def judge_patch_figures(world: World, sentence: str) -> list[str]:
    """How many patches, their mean size and the largest."""
    code = find_nouns(world, sentence)[0][2]
    patches = patches_of(mask_of(world, code))
    word = re.search(r"\b(\w+) patches", sentence).group(1).lower()  # type: ignore[union-attr]
    wrong = [] if (NUMBER.get(word) or int(word)) == len(patches) else [f"{word} patches, in truth {len(patches)}"]
    truths = (sum(map(len, patches)) / len(patches) * 100.0, len(patches[0]) * 100.0)
    for told, truth in zip(re.findall(r"[\d.,]+ (?:m²|ha|km²)", sentence), truths, strict=True):
        value, slack = square_metres(told)
        wrong += [] if abs(value - truth) <= slack else [f"{told}, in truth {truth}"]
    return wrong


def judge_boundary(world: World, sentence: str) -> list[str]:
    """How long a boundary is, along pixel edges."""
    position = {c.code: i for i, c in enumerate(world.legend.classes)}
    pair = {position[code] for *_, code in find_nouns(world, sentence)}
    truth = 10.0 * sum({a, b} == pair for a, b in edges_of(world))
    figure, unit = re.search(r"([\d.,]+) (k?m)\b", sentence).groups()  # type: ignore[union-attr]
    value = float(figure) * (1000.0 if unit == "km" else 1.0)
    slack = 50.0 if unit == "km" else 5.0
    return [] if abs(value - truth) <= slack + 1e-6 else [f"{figure} {unit}, in truth {truth}"]
