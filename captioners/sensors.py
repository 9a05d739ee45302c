"""Sentences about what the sensors measured: vegetation, water, dryness, clouds, radar, terrain, change."""

from __future__ import annotations

from captioners.number_words import day_phrase, percent_phrases
from captioners.phrasing import Sentence
from captioners.reading import DateReading
from captioners.regions import PLACE_WORDS
from captioners.sentences import Writer

CLEAR = 98.0
"""Percent of clear ground from which an index speaks of the whole scene."""


def vegetation(writer: Writer) -> Sentence | None:
    """Mean NDVI on the clearest date, the latest of equals."""
    dates = [d for d in writer.reading.dates if "index.ndvi" in d.values]
    if not dates:
        return None
    best = max(dates, key=lambda d: (round(float(d.values["clear"])), d.day, d.tag))
    clear, green = float(best.values["clear"]), float(best.values.get("index.ndvi.green", 0.0))
    values = {"day": day_phrase(best.day), "ndvi": decimal(float(best.values["index.ndvi"]), 2)}
    facts = [f"date.{best.tag}", f"index.ndvi.{best.tag}", f"clear.{best.tag}"]
    if clear < CLEAR:
        values["clear"] = writer.choice.one("clear", percent_phrases(clear))
        return Sentence(writer.phrase("vegetation_part", values), tuple(facts), visible=False)
    if clear < 100.0 or not 0.0 < green < 100.0:
        return Sentence(writer.phrase("vegetation_mean", values), tuple(facts), visible=False)
    values["green"] = writer.choice.one("green", percent_phrases(green))
    facts.append(f"index.ndvi.green.{best.tag}")
    if "season" in best.values:
        values["season"] = str(best.values["season"])
        facts.append(f"season.{best.tag}")
    return Sentence(writer.phrase("vegetation", values), tuple(facts), visible=False)


def change(writer: Writer) -> Sentence | None:
    """How mean NDVI changed between the first and the last clear date of one sensor, where by 0.1 or more."""
    by_source: dict[str, list[DateReading]] = {}
    for one in writer.reading.dates:
        if "index.ndvi" in one.values and float(one.values["clear"]) >= CLEAR:
            by_source.setdefault(one.source, []).append(one)
    for dates in by_source.values():
        first, last = dates[0], dates[-1]
        before, after = float(first.values["index.ndvi"]), float(last.values["index.ndvi"])
        if first.day < last.day and abs(after - before) >= 0.1:
            values = {
                "day1": day_phrase(first.day), "day2": day_phrase(last.day),
                "ndvi1": decimal(before, 2), "ndvi2": decimal(after, 2),
            }  # fmt: skip
            facts = tuple(f"{kind}.{d.tag}" for d in (first, last) for kind in ("date", "index.ndvi"))
            slot = "change_up" if after > before else "change_down"
            return Sentence(writer.phrase(slot, values), facts, visible=False)
    return None


def clouds(writer: Writer) -> Sentence | None:
    """How much the clouds hid on the cloudiest date, where it is 5 % or more but not all."""
    dates = [d for d in writer.reading.dates if 5.0 <= float(d.values.get("cloud", 0.0)) < 100.0]
    if not dates:
        return None
    one = max(dates, key=lambda d: (float(d.values["cloud"]), d.tag))
    cloud = writer.choice.one("cloud", percent_phrases(float(one.values["cloud"])))
    facts = (f"date.{one.tag}", f"cloud.{one.tag}")
    return Sentence(writer.phrase("clouds", {"cloud": cloud, "day": day_phrase(one.day)}), facts, visible=False)


def radar(writer: Writer) -> Sentence | None:
    """Mean backscatter of the latest radar date with both polarisations."""
    dates = [d for d in writer.reading.dates if {"sar.vv", "sar.vh"} <= d.values.keys()]
    if not dates:
        return None
    one = dates[-1]
    values = {"day": day_phrase(one.day)} | {p: decimal(float(one.values[f"sar.{p}"]), 1) for p in ("vv", "vh")}
    facts = (f"date.{one.tag}", f"sar.vv.{one.tag}", f"sar.vh.{one.tag}")
    return Sentence(writer.phrase("radar", values), facts, visible=False)


def _clearest(writer: Writer, index: str) -> DateReading | None:
    """The clearest date with an index, the latest of equals, where the whole scene was clear."""
    dates = [d for d in writer.reading.dates if f"index.{index}" in d.values and float(d.values["clear"]) >= 100.0]
    return max(dates, key=lambda d: (d.day, d.tag)) if dates else None


def water(writer: Writer) -> Sentence | None:
    """Water index on a wholly clear date."""
    return _index(writer, "ndwi", "water", "wet", "surface_water")


def dryness(writer: Writer) -> Sentence | None:
    """Built-up index on a wholly clear date: short-wave against near infrared."""
    return _index(writer, "ndbi", "dry", "dry", "dryness")


def _index(writer: Writer, index: str, above: str, brace: str, slot: str) -> Sentence | None:
    best = _clearest(writer, index)
    if best is None:
        return None
    values = {"day": day_phrase(best.day), index: decimal(float(best.values[f"index.{index}"]), 2)}
    facts = [f"date.{best.tag}", f"index.{index}.{best.tag}"]
    part = float(best.values.get(f"index.{index}.{above}", 0.0))
    if 0.0 < part < 100.0:
        values[brace] = writer.choice.one(slot, percent_phrases(part))
        facts.append(f"index.{index}.{above}.{best.tag}")
    return Sentence(writer.phrase(slot, values), tuple(facts), visible=False)


def terrain(writer: Writer) -> list[Sentence]:
    """Lowest and highest ground; the mean slope; on which side it is higher."""
    by_id = writer.reading.by_id
    if "terrain.low" not in by_id:
        return []
    low, high = (round(float(by_id[f"terrain.{name}"].value)) for name in ("low", "high"))
    if high <= low:
        return []
    slot = "terrain_flat" if float(by_id["terrain.relief"].value) < 20.0 else "terrain"
    values = {"low": decimal(low, 0), "high": decimal(high, 0)}
    ids = ("terrain.low", "terrain.high", "terrain.relief")
    sentences = [Sentence(writer.phrase(slot, values), ids, visible=False)]
    if "terrain.higher" in by_id:
        at = writer.choice.one("terrain/higher", PLACE_WORDS[str(by_id["terrain.higher"].value)])
        sentences.append(Sentence(writer.phrase("higher", {"at": at}), ("terrain.higher",), visible=False))
    if "terrain.slope" in by_id and float(by_id["terrain.slope"].value) >= 1.0:
        slope = decimal(float(by_id["terrain.slope"].value), 1)
        sentences.append(Sentence(writer.phrase("slope", {"slope": slope}), ("terrain.slope",), visible=False))
    return sentences


def decimal(value: float, digits: int) -> str:
    """A number with a true minus sign and no minus zero."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text
