"""The independent judge of what texts point to: spans, boxes, masks, expressions, and what is absent."""

from __future__ import annotations

import re

import numpy as np

from schemas.text import TextGeometry, TextRecord
from tests.unit.captioners.judge import NUMBER, find_nouns, mask_of, patches_of
from tests.unit.captioners.worlds import World

LEAST = 20
NINTHS = {
    "north-west": (0, 0), "north": (0, 1), "north-east": (0, 2), "west": (1, 0), "centre": (1, 1), "east": (1, 2),
    "south-west": (2, 0), "south": (2, 1), "south-east": (2, 2),
}  # fmt: skip
Patch = list[tuple[int, int]]


def decode(geometry: TextGeometry) -> np.ndarray:
    height, width = geometry.shape_yx
    flat: list[int] = []
    for number, run in enumerate(geometry.rle):
        flat += [number % 2] * run
    return np.array(flat, dtype=bool).reshape(height, width)


def ninth_of(patch: Patch, shape: tuple[int, int]) -> tuple[int, int]:
    rows, columns = zip(*patch, strict=True)
    y, x = (np.mean(rows) + 0.5) / shape[0], (np.mean(columns) + 0.5) / shape[1]
    return min(2, int(y * 3)), min(2, int(x * 3))


def judge_geometry(world: World, box: TextGeometry, oriented: TextGeometry, mask: TextGeometry) -> list[str]:
    """Whether three geometries are one: the box around the mask, the oriented box around all its pixels, and small."""
    pixels = decode(mask)
    rows, columns = np.nonzero(pixels)
    wrong = []
    if tuple(box.values) != (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1):
        wrong.append(f"box {box.values} is not around its mask")
    cx, cy, w, h, degrees = oriented.values
    angle = np.radians(degrees)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corners = np.array([(c + dx, r + dy) for r, c in zip(rows, columns, strict=True) for dx in (0, 1) for dy in (0, 1)])
    relative = corners - (cx, cy)
    if (np.abs(relative @ along) > w / 2 + 0.02).any() or (np.abs(relative @ across) > h / 2 + 0.02).any():
        wrong.append(f"oriented box {oriented.values} does not hold its mask")
    x0, y0, x1, y1 = box.values
    if w * h > (x1 - x0) * (y1 - y0) + 0.1 or w < h or not -90 <= degrees < 90:
        wrong.append(f"oriented box {oriented.values} is larger than the box, or not in its convention")
    return wrong


def judge_spans(world: World, row: TextRecord) -> list[str]:
    """Every span names its class, and points to as many whole patches of it as it says."""
    wrong = []
    for span in row.spans:
        nouns = find_nouns(world, span.phrase)
        code = nouns[0][2] if nouns else None
        targets = [row.geometries[t] for t in span.targets]
        if not targets:
            continue
        if code is None:
            wrong.append(f"{span.phrase!r} names nothing")
            continue
        patches = patches_of(mask_of(world, code))
        groups = [targets[i : i + 3] for i in range(0, len(targets), 3)]
        for box, oriented, mask in groups:
            wrong += judge_geometry(world, box, oriented, mask)
            pixels = {(int(r), int(c)) for r, c in np.argwhere(decode(mask))}
            if pixels not in [set(patch) for patch in patches]:
                wrong.append(f"{span.phrase!r}: its mask is no patch of {code}")
        wrong += judge_phrase(world, span.phrase, patches, [decode(g[2]) for g in groups])
    return wrong


def judge_phrase(world: World, phrase: str, patches: list[Patch], masks: list[np.ndarray]) -> list[str]:
    """Whether a phrase fits what it points to: how many, the largest, where, of what shape."""
    pointed = [{(int(r), int(c)) for r, c in np.argwhere(mask)} for mask in masks]
    shape = world.label.shape
    text = phrase.lower()
    counted = re.match(r"(?:the )?(\w+) (?:largest )?(?:[\w-]+ )?patch(?:es)?\b", text)
    wrong = []
    if "only patch" in text and len(patches) != 1:
        wrong.append(f"{phrase!r}, but there are {len(patches)}")
    word = counted.group(1) if counted else ""
    if word in NUMBER and len(pointed) != NUMBER[word]:
        wrong.append(f"{phrase!r} points to {len(pointed)}")
    if word in NUMBER and "largest" not in text and len(patches) != NUMBER[word]:
        wrong.append(f"{phrase!r}, but there are {len(patches)}")
    there = re.search(r"\blargest (?:[\w-]+ )?patch of [^,]* (?:in|at) the ", text)  # the largest of those there
    of_shape = re.search(r"\blargest [\w-]+ patch of ", text)  # the largest elongated one, say
    if "largest" in text and pointed and not (there or of_shape):
        sizes = sorted((len(p) for p in patches), reverse=True)
        if sorted((len(p) for p in pointed), reverse=True) != sizes[: len(pointed)] or (
            len(sizes) > len(pointed) and sizes[len(pointed) - 1] == sizes[len(pointed)]
        ):
            wrong.append(f"{phrase!r} are not the largest")
    place = re.search(r"in the (north-west|north-east|south-west|south-east|north|south|east|west|centre)\b", text)
    if place:
        wanted = NINTHS[place.group(1)]
        if any(ninth_of(sorted(p), shape) != wanted for p in pointed):
            wrong.append(f"{phrase!r} lies elsewhere")
        same = [len(p) for p in patches if ninth_of(p, shape) == wanted]
        if "the patch of" in text and len(same) != 1:
            wrong.append(f"{phrase!r} fits several")
        if there and [n for n in same if n >= max(same)] != [len(p) for p in pointed]:
            wrong.append(f"{phrase!r} is not the largest there")
    edge = re.search(r"at the (northern|southern|eastern|western) edge", text)
    if edge:
        reach = [p for p in patches if _reaches(p, edge.group(1), shape)]
        reach = [p for p in reach if not there or len(p) == max(map(len, reach))]
        if len(reach) != 1 or not pointed or set(reach[0]) != pointed[0]:
            wrong.append(f"{phrase!r} fits {len(reach)}")
    return wrong


def _reaches(patch: Patch, edge: str, shape: tuple[int, int]) -> bool:
    rows, columns = zip(*patch, strict=True)
    return {
        "northern": min(rows) == 0, "southern": max(rows) == shape[0] - 1,
        "western": min(columns) == 0, "eastern": max(columns) == shape[1] - 1,
    }[edge]  # fmt: skip


def judge_referring(world: World, row: TextRecord) -> list[str]:
    """An expression fits its target alone; one for what is not there fits nothing."""
    if row.empty_target:
        return judge_absent(world, row)
    wrong = judge_spans(world, row)
    box = next(g for g in row.geometries if g.kind == "box")
    if row.answer != f"[{', '.join(str(int(v)) for v in box.values)}]":
        wrong.append(f"answer {row.answer} is not the box {box.values}")
    return wrong


def judge_absent(world: World, row: TextRecord) -> list[str]:
    (_, _, code), *_ = find_nouns(world, row.text)
    place = re.search(r"in the ([\w-]+)$", row.text)
    assert place is not None, row.text
    mask, shape = mask_of(world, code), world.label.shape
    wanted = NINTHS[place.group(1)]
    rows = slice(round(wanted[0] * shape[0] / 3), round((wanted[0] + 1) * shape[0] / 3))
    columns = slice(round(wanted[1] * shape[1] / 3), round((wanted[1] + 1) * shape[1] / 3))
    centred = [p for p in patches_of(mask) if len(p) >= LEAST and ninth_of(p, shape) == wanted]
    if mask[rows, columns].any() or centred or (world.label == 255).any():
        return [f"{row.text!r} is there"]
    return [] if row.answer == "none" and not row.geometries else [f"{row.text!r} has a target"]
