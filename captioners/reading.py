"""A fact sheet read back: classes by share, places, patches, map features and dates, ready for sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from schemas.facts import Fact, FactSheet

Value = float | int | str | bool


@dataclass(frozen=True)
class ClassReading:
    """What the sheet says of one class that the chip holds."""

    code: int
    """Code in the legend."""
    noun: str
    """How a sentence names it."""
    share: float
    """Percent of the labelled ground."""
    place: str
    """Region or spread; empty where no word fits."""
    patches: Mapping[str, Value]
    """count, largest, mean, largest.position, ...; empty where it has none."""

    @property
    def share_id(self) -> str:
        """Id of the fact of its share."""
        return f"share.{self.code}"


@dataclass(frozen=True)
class FeatureReading:
    """What the sheet says of one kind of map feature."""

    kind: str
    """Name of the kind."""
    noun: str
    """Noun for several."""
    values: Mapping[str, Value]
    """count, length, area, place, course, course.form."""


@dataclass(frozen=True)
class DateReading:
    """What the sheet says of one date of one sensor."""

    tag: str
    """Ending of its fact ids: ``s2.2022-06-16``."""
    source: str
    """Modality."""
    day: str
    """ISO date."""
    values: Mapping[str, Value]
    """clear, cloud, index.ndvi, index.ndwi, index.ndbi, index.ndvi.green, index.ndwi.water, sar.vv, sar.vh, season."""


@dataclass(frozen=True)
class Reading:
    """A fact sheet, read."""

    sheet: FactSheet
    """The sheet itself."""
    by_id: Mapping[str, Fact]
    """Every fact by its id."""
    labelled: float
    """Percent of the chip that has a class."""
    classes: tuple[ClassReading, ...]
    """Classes that the chip holds, the largest share first."""
    absent: tuple[tuple[int, str], ...]
    """(code, noun) of the legend's other classes."""
    features: tuple[FeatureReading, ...]
    """Kinds of map features."""
    dates: tuple[DateReading, ...]
    """In time order."""

    @property
    def is_complete(self) -> bool:
        """Whether every pixel has a class, so that shares speak of the whole chip and absence is certain."""
        return self.labelled >= 100.0

    @property
    def ground(self) -> str:
        """What shares are shares of, in words."""
        return "the scene" if self.is_complete else "the mapped part of the scene"

    @property
    def area_m2(self) -> float:
        """Of the chip, with or without a class; 0 where the sheet does not say."""
        sides = [self.by_id.get(f"ground.{name}") for name in ("width", "height")]
        width, height = (0.0 if side is None else float(side.value) for side in sides)
        return width * height

    @cached_property
    def days(self) -> frozenset[str]:
        """ISO days, or times, that some fact tells."""
        return frozenset(str(fact.value) for fact in self.sheet.facts if fact.unit == "date")

    @cached_property
    def modalities(self) -> frozenset[str]:
        """Sources that facts come from, by their first word."""
        return frozenset(fact.source.split(" ")[0] for fact in self.sheet.facts)

    @cached_property
    def has_radar(self) -> bool:
        """Whether radar has told something."""
        return any(fact.kind == "sar" for fact in self.sheet.facts)

    @cached_property
    def borders(self) -> Mapping[frozenset[int], float]:
        """Codes of two classes that meet -> length of the edge between them, in m."""
        shared = [fact for fact in self.sheet.facts if fact.kind == "adjacency"]
        return {frozenset(map(int, fact.fact_id.split(".")[1:])): float(fact.value) for fact in shared}

    @cached_property
    def map_facts(self) -> Mapping[str, Mapping[str, Fact]]:
        """Kind of map feature -> what is known of it, by the ending of the fact's id."""
        found: dict[str, dict[str, Fact]] = {feature.kind: {} for feature in self.features}
        for fact_id, fact in self.by_id.items():
            if fact_id.startswith("osm."):
                kind, _, name = fact_id.removeprefix("osm.").partition(".")
                if kind in found:
                    found[kind][name] = fact
        return found

    def region_share(self, code: int, region: str) -> float | None:
        """Percent of a class in a region, None where the sheet does not say."""
        fact = self.by_id.get(f"share.{code}.{region}")
        return None if fact is None else float(fact.value)


def read_sheet(sheet: FactSheet) -> Reading:
    """The sheet's facts grouped by what they speak of."""
    by_id = {fact.fact_id: fact for fact in sheet.facts}
    shares = [fact for fact in sheet.facts if fact.kind == "share" and fact.region == "chip"]
    classes = [_class(fact, by_id) for fact in shares if float(fact.value) > 0]
    labelled = by_id.get("labelled.share")
    return Reading(
        sheet=sheet,
        by_id=by_id,
        labelled=0.0 if labelled is None else float(labelled.value),
        classes=tuple(sorted(classes, key=lambda c: (-c.share, c.code))),
        absent=tuple((int(f.fact_id.split(".")[1]), f.subject) for f in shares if float(f.value) == 0),
        features=_features(sheet),
        dates=_dates(sheet),
    )


def _class(fact: Fact, by_id: Mapping[str, Fact]) -> ClassReading:
    code = int(fact.fact_id.split(".")[1])
    place = by_id.get(f"place.{code}")
    head = f"patches.{code}."
    patches = {fid.removeprefix(head): f.value for fid, f in by_id.items() if fid.startswith(head)}
    return ClassReading(code, fact.subject, float(fact.value), "" if place is None else str(place.value), patches)


def _features(sheet: FactSheet) -> tuple[FeatureReading, ...]:
    found: dict[str, tuple[str, dict[str, Value]]] = {}
    for fact in sheet.facts:
        if fact.kind == "osm":
            _, kind, name = fact.fact_id.split(".", 2)
            found.setdefault(kind, (fact.subject, {}))[1][name] = fact.value
    return tuple(FeatureReading(kind, noun, values) for kind, (noun, values) in sorted(found.items()))


def _dates(sheet: FactSheet) -> tuple[DateReading, ...]:
    tags = {f.fact_id.removeprefix("date."): f for f in sheet.facts if f.fact_id.startswith("date.")}
    dates = []
    for tag, fact in tags.items():
        ending = f".{tag}"
        values = {
            f.fact_id.removesuffix(ending): f.value
            for f in sheet.facts
            if f.fact_id.endswith(ending) and f.kind in ("clear", "cloud", "index", "sar", "season")
        }
        dates.append(DateReading(tag, fact.subject, str(fact.value), values))
    return tuple(sorted(dates, key=lambda d: (d.day, d.tag)))
