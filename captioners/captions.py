"""The plain captions: one short sentence, and a long description."""

from __future__ import annotations

from collections.abc import Iterator

from captioners import sensors
from captioners.phrasing import Sentence
from captioners.records import Chip, Told
from captioners.sentences import Writer

LONG_EXTRAS = 4
"""A long caption adds at most so many sentences to those about cover."""


def short(chip: Chip) -> Iterator[Told]:
    """See `short_caption`."""
    about = "one sentence of at most 30 words on the main land cover"
    yield Told("caption", "short", tuple(short_caption(chip.writer)), about=about)


def long(chip: Chip) -> Iterator[Told]:
    """See `long_caption`."""
    about = "four to seven sentences: the land cover with shares, where it lies, how it is arranged, then what else"
    yield Told("caption", "long", tuple(long_caption(chip.writer)), about=about)


def short_caption(writer: Writer) -> list[Sentence]:
    """One sentence on cover; or, where the land has no class, on that."""
    if not writer.reading.classes:
        nothing = writer.unmapped()
        return [nothing] if nothing else [writer.extent()]
    sentences = [writer.opening("short_")[0]]
    crossing = [s for s in writer.map_features() if any(f.endswith(".course") for f in s.facts)]
    if crossing and writer.subjects.number("short/crossing") % 3 == 0:
        sentences.append(crossing[0])
    return sentences


def long_caption(writer: Writer) -> list[Sentence]:
    """Cover first, all of it; then where, how, what the map and the sensors say."""
    sentences: list[Sentence | None] = []
    if writer.reading.classes:
        opening, told = writer.opening()
        sentences += [opening, writer.rest(told), *writer.places()]
    sentences.append(writer.unmapped())
    about_cover = [writer.patches(), writer.border()] if writer.reading.classes else []
    measured = [
        sensors.change(writer) or sensors.vegetation(writer), sensors.clouds(writer), sensors.water(writer),
        sensors.dryness(writer), sensors.radar(writer), *sensors.terrain(writer),
    ]  # fmt: skip
    extras = [s for s in (*about_cover, *writer.map_features(), *measured) if s is not None]
    chosen = set(writer.subjects.shuffled("long/extras", range(len(extras)))[:LONG_EXTRAS])
    sentences += [s for rank, s in enumerate(extras) if rank in chosen]
    told_sentences = [s for s in sentences if s is not None]
    return told_sentences or [writer.extent()]
