"""The independent judge of sentences about sensors, the ground, the map and change: recomputed from the raw inputs.

Nothing of `captioners` is used to judge. `judge_measured` gives None for a sentence that is none of its business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np
from shapely import unary_union
from shapely.geometry import box

from tests.unit.captioners.judge import NUMBER, PLACE, SHARE, agrees
from tests.unit.captioners.worlds import World

DAY = re.compile(
    r"\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December) \d{4}"
)
CLEAR = (1, 6)
LINES = {
    "main road": {"highway": ("primary", "secondary")}, "river": {"waterway": ("river",)},
    "motorway or trunk road": {"highway": ("motorway", "trunk")},
}  # fmt: skip
AREAS = {
    "building": {"building": ("yes",)}, "residential area": {"landuse": ("residential",)},
    "field of farmland": {"landuse": ("farmland",)}, "fields of farmland": {"landuse": ("farmland",)},
    "water area": {"natural": ("water",)}, "wood": {"landuse": ("forest",)}, "park": {"leisure": ("park",)},
    "industrial or commercial site": {"landuse": ("industrial",)},
}  # fmt: skip


def days(sentence: str) -> list[str]:
    return [datetime.strptime(text, "%d %B %Y").date().isoformat() for text in DAY.findall(sentence)]


def scene(world: World, day: str, radar: bool = False):  # type: ignore[no-untyped-def]
    return next(s for s in world.scenes if s.day == day and ("vv" in s.bands) == radar)


def clear(one) -> np.ndarray:  # type: ignore[no-untyped-def]
    some = next(iter(one.bands.values()))
    return np.ones(some.shape, bool) if one.valid is None else np.isin(one.valid, CLEAR)


def ratio(one, first: str, second: str) -> np.ndarray:  # type: ignore[no-untyped-def]
    a, b = (np.maximum(np.asarray(one.bands[name], dtype=np.float64), 0) for name in (first, second))
    return (a - b) / (a + b)


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def near(told: str, truth: float) -> bool:
    digits = len(told.split(".")[1]) if "." in told else 0
    return abs(number(told) - truth) <= 0.5 * 10.0**-digits + 2e-4


def _index(world: World, sentence: str) -> list[str]:
    name, first, second, limit = {
        "NDVI": ("NDVI", "nir", "red", 0.5),
        "NDWI": ("NDWI", "green", "nir", 0.0),
        "NDBI": ("NDBI", "swir16", "nir", 0.0),
    }[re.search(r"ND[VWB]I", sentence).group(0)]  # type: ignore[union-attr]  # fmt: skip
    one = scene(world, days(sentence)[0])
    values, seen = ratio(one, first, second), clear(one)
    told = re.search(r"−?\d+\.\d+(?!\d*%)", sentence.replace("above zero", "")).group(0)  # type: ignore[union-attr]
    wrong = [] if near(told, float(values[seen].mean())) else [f"{name} {told}, in truth {values[seen].mean():.4f}"]
    for share in SHARE.finditer(sentence):
        truth = 100 * float(seen.mean()) if "clear" in sentence else 100 * float((values[seen] > limit).mean())
        wrong += [] if agrees(share, truth) else [f"{share.group(0)}, in truth {truth:.2f}"]
    season = re.search(r"\bIn (spring|summer|autumn|winter)\b", sentence)
    if season:
        month = int(days(sentence)[0][5:7])
        truth_season = ("winter", "spring", "summer", "autumn")[(month % 12) // 3]
        wrong += [] if season.group(1) == truth_season else [f"{season.group(1)}, in truth {truth_season}"]
    return wrong


def _two_levels(world: World, sentence: str) -> list[str]:
    found = days(sentence)
    told = re.findall(r"−?\d+\.\d+", sentence)
    truth = [float(ratio(scene(world, day), "nir", "red")[clear(scene(world, day))].mean()) for day in sorted(found)]
    if not all(near(a, b) for a, b in zip(told, truth, strict=True)):
        return [f"{told}, in truth {truth}"]
    up = bool(re.search(r"rose|greened up", sentence))
    return [] if up == (truth[1] > truth[0]) else ["the wrong way"]


def pair(world: World) -> tuple[np.ndarray, np.ndarray]:
    """(step of NDVI between the first and the last usable date, where both were clear)."""
    usable = sorted((s for s in world.scenes if "vv" not in s.bands and clear(s).mean() >= 0.9), key=lambda s: s.day)
    first, last = usable[0], usable[-1]
    return ratio(last, "nir", "red") - ratio(first, "nir", "red"), clear(first) & clear(last)


def _step(world: World, sentence: str) -> list[str]:
    step, known = pair(world)
    told = re.search(r"\(?(?:by|of)?\s*(−?\d\.\d\d)\)?", sentence).group(1)  # type: ignore[union-attr]
    mean = float(step[known].mean())
    wrong = []
    if re.search("hardly|nearly the same", sentence):
        wrong = [] if abs(mean) < 0.0201 and near(told, mean) else [f"still, in truth {mean:.3f}"]
    else:
        wrong = [] if near(told, abs(mean)) and ("rose" in sentence) == (mean > 0) else [f"{told}, in truth {mean:.3f}"]
    usable = sorted(s.day for s in world.scenes if "vv" not in s.bands and clear(s).mean() >= 0.9)
    return wrong + ([] if sorted(days(sentence)) == [usable[0], usable[-1]] else ["other dates"])


def _moved(world: World, sentence: str) -> list[str]:
    step, known = pair(world)
    usable = sorted((s for s in world.scenes if "vv" not in s.bands and clear(s).mean() >= 0.9), key=lambda s: s.day)
    if "Nowhere" in sentence or "No part" in sentence:
        return [] if float(np.abs(step[known]).max()) <= 0.2 + 1e-6 else [f"moved by {np.abs(step[known]).max():.3f}"]
    if "water" in sentence:
        before, after = (ratio(s, "green", "nir") > 0 for s in (usable[0], usable[-1]))
        mask = ((after & ~before) if re.search("spread|came under", sentence) else (before & ~after)) & known
    else:
        less = re.search("thinned|less green|loss", sentence)
        mask = ((step < -0.2) if less else (step > 0.2)) & known
    share = SHARE.search(sentence)
    truth = 100.0 * float(mask.sum() / known.sum())
    wrong = [] if share and agrees(share, truth) else [f"{share and share.group(0)}, in truth {truth:.3f}"]
    place = PLACE.search(sentence)
    return wrong + ([] if place is None or inside_mask(mask, place) > 0.5 else [f"not {place.group(0)}"])


def inside_mask(mask: np.ndarray, place: re.Match[str]) -> float:
    from tests.unit.captioners.judge import part_of

    return float(mask[part_of(mask.shape, place)].sum()) / float(mask.sum())


def _radar(world: World, sentence: str) -> list[str]:
    one = scene(world, days(sentence)[0], radar=True)
    told = re.findall(r"−?\d+\.\d(?= dB)|(?<=and )−?\d+\.\d(?= dB)", sentence)
    truth = [10 * np.log10(np.mean(one.bands[name])) for name in ("vv", "vh")]
    return [] if all(near(a, b) for a, b in zip(told, truth, strict=True)) else [f"{told}, in truth {truth}"]


def _clouds(world: World, sentence: str) -> list[str]:
    one = scene(world, days(sentence)[0])
    share = SHARE.search(sentence)
    truth = 100 * float((one.valid == 2).mean())
    return [] if share and agrees(share, truth) else [f"cloud {truth}"]


def _terrain(world: World, sentence: str) -> list[str]:
    height = world.elevation
    assert height is not None
    if "slope" in sentence:
        down, right = np.gradient(height, 10.0)
        truth = float(np.degrees(np.arctan(np.sqrt(down**2 + right**2))).mean())
        told = re.search(r"\d+\.\d", sentence).group(0)  # type: ignore[union-attr]
        return [] if near(told, truth) else [f"slope {told}, in truth {truth}"]
    if "higher" in sentence.lower():
        place = PLACE.search(sentence)
        assert place is not None
        from tests.unit.captioners.judge import part_of

        inside = np.zeros(height.shape, bool)
        inside[part_of(height.shape, place)] = True
        return [] if height[inside].mean() > height[~inside].mean() else ["not higher there"]
    low, high = (number(text) for text in re.findall(r"−?[\d,]+(?= m\b)", sentence))
    truth_low, truth_high = float(height.min()), float(height.max())
    wrong = [] if abs(low - truth_low) <= 0.51 and abs(high - truth_high) <= 0.51 else [f"{truth_low}..{truth_high}"]
    if re.search("level|little", sentence) and truth_high - truth_low > 20:
        wrong.append(f"relief {truth_high - truth_low}")
    return wrong


def features_of(world: World, rules: dict[str, tuple[str, ...]]) -> list:  # type: ignore[type-arg]
    frame = box(*world.georef.bounds_xyxy)
    held = [f for f in world.features.features if any(f.tags.get(k) in v for k, v in rules.items())]
    parts = [f.geometry.intersection(frame) for f in held]
    return [part for part in parts if not part.is_empty and (part.area > 1e-6 or part.length > 1e-6)]


def metres(text: str) -> tuple[float, float]:
    """(value, half a unit of the last digit) of a length."""
    figure, unit = re.search(r"([\d.,]+) (m|km)\b", text).groups()  # type: ignore[union-attr]
    digits = len(figure.split(".")[1]) if "." in figure else 0
    worth = 1000.0 if unit == "km" else 1.0
    step = worth * 10.0**-digits if unit == "km" or not figure.endswith("0") else 10.0
    return number(figure) * worth, step / 2 + 0.06


def _map(world: World, sentence: str) -> list[str]:
    wrong = []
    for name, rules in LINES.items():
        for told in re.findall(rf"[\d.,]+ k?m of {name}\b", sentence):
            value, slack = metres(told)
            truth = float(unary_union(features_of(world, rules)).length)
            wrong += [] if abs(value - truth) <= slack else [f"{told}, in truth {truth:.1f}"]
        course = re.search(rf"(?:an?|A) {name}\b", sentence, re.IGNORECASE)
        if course and re.search(r"from \w+ to \w+", sentence, re.IGNORECASE):
            ends = re.search(r"from (\w+) to (\w+)", sentence, re.IGNORECASE).groups()  # type: ignore[union-attr]
            shape = unary_union(features_of(world, rules))
            left, bottom, right, top = world.georef.bounds_xyxy
            x0, y0, x1, y1 = shape.bounds
            touched = {
                "west": x0 - left < 0.6, "east": right - x1 < 0.6, "south": y0 - bottom < 0.6, "north": top - y1 < 0.6,
            }  # fmt: skip
            wrong += [f"does not reach the {end}" for end in ends if not touched[end.lower()]]
    for name, rules in AREAS.items():
        match = re.search(rf"\b(\w+) {name}s?\b", sentence)
        if match:
            word = match.group(1).lower()
            parts = features_of(world, rules)
            wrong += [] if (NUMBER.get(word) or int(word)) == len(parts) else [f"{word} {name}, in truth {len(parts)}"]
            area = re.search(r"[\d.,]+ (?:m²|ha|km²)", sentence)
            if area:
                from tests.unit.captioners.judge import square_metres

                value, slack = square_metres(area.group(0))
                truth = float(unary_union(parts).area)
                wrong += [] if abs(value - truth) <= slack + 0.1 else [f"{area.group(0)}, in truth {truth}"]
    return wrong


def _extent(world: World, sentence: str) -> list[str]:
    rows, columns = world.label.shape
    told = [metres(text)[0] for text in re.findall(r"[\d.,]+ k?m\b", sentence)]
    return [] if told == [columns * 10.0, rows * 10.0] else [f"{told}"]


def _radar_step(world: World, sentence: str) -> list[str]:
    usable = sorted((s for s in world.scenes if "vv" in s.bands), key=lambda s: s.day)
    levels = [10 * np.log10(np.mean(s.bands["vv"])) for s in (usable[0], usable[-1])]
    told = re.search(r"(\d+\.\d) dB", sentence).group(1)  # type: ignore[union-attr]
    step = levels[1] - levels[0]
    if "moved by less than" in sentence:
        return [] if abs(step) < float(told) else [f"less than {told}, in truth {step}"]
    return [] if near(told, abs(step)) and ("rose" in sentence) == (step > 0) else [f"{told}, in truth {step}"]


RULES: tuple[tuple[str, Callable[[World, str], list[str]]], ...] = (
    (r"NDVI (?:rose|fell|dropped) from|vegetation greened up", _two_levels),
    (r"NDVI (?:rose|fell) by|hardly moved|nearly the same", _step),
    (r"than 0\.2|clearly (?:greener|denser|less|on)|clear (?:gain|loss)|thinned|open water (?:spread|withdrew)|"
     r"Open water (?:spread|withdrew)|(?:came|longer) under open water", _moved),
    (r"backscatter.*\bby\b.*dB", _radar_step),
    (r"backscatter", _radar),
    (r"ND[VWB]I", _index),
    (r"\b[Cc]louds?\b", _clouds),
    (r"^The (?:higher )?ground (?:is nearly|is higher|lies|rises|slopes)|Elevations|mean slope", _terrain),
    (r"OpenStreetMap|\b(?:crosse[sd]|winds|winding course|runs from)\b", _map),
    (r"^(?:The scene measures|It covers) [\d.,]+ k?m by", _extent),
)  # fmt: skip


def judge_measured(world: World, sentence: str) -> list[str] | None:
    """What is false in a sentence about measurements, the ground or the map; None where it is about neither."""
    for pattern, rule in RULES:
        if re.search(pattern, sentence):
            return rule(world, sentence) if world.measured else []
    return None
