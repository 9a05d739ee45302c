"""Change captions: what the first and the last clear date of a sensor tell of greening, thinning, water and radar."""

from __future__ import annotations

from collections.abc import Iterator

from captioners.number_words import day_phrase, percent_phrases
from captioners.phrasing import Sentence
from captioners.records import Chip, Told
from captioners.regions import PLACE_WORDS, SPREAD
from captioners.sensors import decimal

STILL = 0.02
"""Mean NDVI that moved by less hardly moved."""
STILL_DB = 0.05
"""Backscatter that moved by less would be told as a step of 0.0 dB."""
LEAST_PERCENT = 1.0
"""Ground that moved is told from here on."""


def change(chip: Chip) -> Iterator[Told]:
    """One caption per sensor with two clear dates; none where there is no pair of dates."""
    heads = [f.fact_id.removesuffix(".from") for f in chip.reading.sheet.facts if f.fact_id.endswith(".from")]
    for head in heads:
        by_id = chip.reading.by_id
        sentences = _radar(chip, head) if f"{head}.vv" in by_id else _optical(chip, head)
        about = f"one to three sentences on what changed, from the facts {head}.*"
        yield Told("change", "pair", tuple(sentences), about=about)


def _dates(chip: Chip, head: str) -> dict[str, str]:
    by_id = chip.reading.by_id
    return {
        "day1": day_phrase(str(by_id[f"{head}.from"].value)),
        "day2": day_phrase(str(by_id[f"{head}.to"].value)),
    }


def _optical(chip: Chip, head: str) -> list[Sentence]:
    writer, by_id = chip.writer, chip.reading.by_id
    step = float(by_id[f"{head}.ndvi"].value)
    values = _dates(chip, head) | {"step": decimal(abs(step), 2), "moved": "rose" if step > 0 else "fell"}
    facts = (f"{head}.from", f"{head}.to", f"{head}.ndvi")
    if abs(step) < STILL:
        values |= {"signed": decimal(step, 2), "step": decimal(STILL, 2)}
        sentences = [Sentence(writer.phrase("change_still", values, key=head), facts, visible=False)]
    else:
        sentences = [Sentence(writer.phrase("change_dates", values, key=head), facts, visible=False)]
    for name in ("greener", "barer", "wetter", "drier"):
        fact = by_id.get(f"{head}.{name}")
        if fact is None or float(fact.value) < LEAST_PERCENT or float(fact.value) >= 100.0:
            continue
        place = by_id.get(f"{head}.{name}.place")
        words = {
            "part": chip.choice.one(f"{head}/{name}", percent_phrases(float(fact.value))),
            "at": "",
        }
        ids: tuple[str, ...] = (fact.fact_id,)
        if place is not None and place.value != SPREAD:
            words["at"] = f", mostly {chip.choice.one(f'{head}/{name}/at', PLACE_WORDS[str(place.value)])}"
            ids += (place.fact_id,)
        sentences.append(Sentence(writer.phrase(f"change_{name}", words, key=head), ids, visible=False))
    moved = [by_id.get(f"{head}.{name}") for name in ("greener", "barer")]
    if all(fact is not None and float(fact.value) == 0.0 for fact in moved):
        ids = (f"{head}.greener", f"{head}.barer")
        sentences.append(Sentence(writer.phrase("change_steady", {}, key=head), ids, visible=False))
    return sentences


def _radar(chip: Chip, head: str) -> list[Sentence]:
    step = float(chip.reading.by_id[f"{head}.vv"].value)
    values = _dates(chip, head) | {"step": decimal(abs(step), 1), "moved": "rose" if step > 0 else "fell"}
    facts = (f"{head}.from", f"{head}.to", f"{head}.vv")
    slot = "change_radar" if abs(step) >= STILL_DB else "change_radar_still"
    return [Sentence(chip.writer.phrase(slot, values, key=head), facts, visible=False)]
