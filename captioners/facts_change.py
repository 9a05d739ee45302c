"""Facts about change between the first and the last clear date of each sensor: greener, barer, wetter, rougher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captioners.facts_scene import INDICES, DatedBands, index_of, usable_power
from captioners.regions import MIN_ROWS, PLACE_REGIONS, place_of, slices
from chips.render import pick
from chips.screen import is_clear
from schemas.facts import Fact

STEP = 0.2
"""A pixel whose NDVI moves by so much has changed: about a fifth of the range between bare soil and a closed crop."""
MIN_BOTH_CLEAR = 0.9
"""Part of the chip that must be clear on both dates."""


def change_facts(scenes: Sequence[DatedBands]) -> list[Fact]:
    """How the vegetation index, open water and radar backscatter moved between the first and the last usable date.

    Pixels that are clear on both dates count; a date of which less than nine tenths is clear is passed over.
    """
    facts: list[Fact] = []
    for source in sorted({scene.source for scene in scenes}):
        dates = sorted((s for s in scenes if s.source == source), key=lambda s: s.day)
        if any(pick("vv", scene.bands) for scene in dates):
            facts += _radar_change(dates)
        else:
            facts += _optical_change([d for d in dates if float(_clear(d).mean()) >= MIN_BOTH_CLEAR])
    return facts


def _clear(scene: DatedBands) -> NDArray[np.bool_]:
    some = next(iter(scene.bands.values()))
    if scene.valid is None:
        return np.ones(some.shape, dtype=bool)
    return is_clear(scene.valid)


def _optical_change(dates: Sequence[DatedBands]) -> list[Fact]:
    if len(dates) < 2 or dates[0].day == dates[-1].day:
        return []
    first, last = dates[0], dates[-1]
    before, after = index_of(first, "ndvi"), index_of(last, "ndvi")
    clear = _clear(first) & _clear(last)
    if before is None or after is None or before.shape != after.shape or before.shape != clear.shape:
        return []
    known = clear & np.isfinite(before) & np.isfinite(after)
    if float(known.mean()) < MIN_BOTH_CLEAR:
        return []
    head, source = f"change.{first.source}", f"{first.source} {first.day} and {last.day}"
    step = after - before
    facts = [
        Fact(f"{head}.from", "change", "date", first.day, "date", "chip", source),
        Fact(f"{head}.to", "change", "date", last.day, "date", "chip", source),
        Fact(f"{head}.ndvi", "change", "ndvi", round(float(step[known].mean()), 4), "1", "chip", source),
    ]
    for name, moved in (("greener", step > STEP), ("barer", step < -STEP)):
        facts += _moved(f"{head}.{name}", "ndvi", moved & known, known, source)
    wet_before, wet_after = index_of(first, "ndwi"), index_of(last, "ndwi")
    if wet_before is not None and wet_after is not None and wet_before.shape == known.shape == wet_after.shape:
        limit = INDICES["ndwi"][1]
        facts += _moved(f"{head}.wetter", "ndwi", (wet_before <= limit) & (wet_after > limit) & known, known, source)
        facts += _moved(f"{head}.drier", "ndwi", (wet_before > limit) & (wet_after <= limit) & known, known, source)
    return facts


def _moved(head: str, subject: str, moved: NDArray[np.bool_], known: NDArray[np.bool_], source: str) -> list[Fact]:
    """Percent of the known ground that moved, and where most of it lies."""
    facts = [
        Fact(head, "change", subject, round(100.0 * float(moved.sum() / known.sum()), 4), "percent", "chip", source)
    ]
    total = int(moved.sum())
    if total >= 0.02 * moved.size and min(moved.shape) >= MIN_ROWS:
        place = place_of({name: int(moved[slices(name, moved.shape)].sum()) / total for name in PLACE_REGIONS})
        if place is not None:
            facts.append(Fact(f"{head}.place", "change", subject, place[0], "region", "chip", source))
    return facts


def _radar_change(dates: Sequence[DatedBands]) -> list[Fact]:
    """Step of mean VV backscatter between the first and the last date, in dB."""
    levels = []
    for scene in dates:
        power, part = usable_power(scene, "vv")
        if part >= MIN_BOTH_CLEAR:
            levels.append((scene.day, 10.0 * float(np.log10(power.mean()))))
    if len(levels) < 2 or levels[0][0] == levels[-1][0]:
        return []
    head, source = f"change.{dates[0].source}", f"{dates[0].source} {levels[0][0]} and {levels[-1][0]}"
    return [
        Fact(f"{head}.from", "change", "date", levels[0][0], "date", "chip", source),
        Fact(f"{head}.to", "change", "date", levels[-1][0], "date", "chip", source),
        Fact(f"{head}.vv", "change", "VV", round(levels[-1][1] - levels[0][1], 4), "dB", "chip", source),
    ]
