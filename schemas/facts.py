"""Facts: what may be said of a chip, each with an id, a value, a unit, a region and a source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true of a chip."""

    fact_id: str
    """Unique on the sheet: ``share.40``, ``share.40.nw``, ``osm.river.length``."""
    kind: str
    """share, dominant, patches, adjacency, osm, index, sar, date, change, ..."""
    subject: str
    """Class noun, feature kind or band index that it speaks of."""
    value: float | int | str | bool
    """The value itself."""
    unit: str
    """percent, count, m, m2, 1, date, ..."""
    region: str
    """chip, nw, ne, sw, se, middle, or a cell of the 3x3 grid."""
    source: str
    """Layer it was computed from: label, worldcover, osm, s2 2022-06-16."""


_FIELDS = tuple(field.name for field in fields(Fact))


@dataclass(frozen=True, slots=True)
class FactSheet:
    """All facts of one chip, in a fixed order."""

    chip_id: str
    """Which chip."""
    facts: tuple[Fact, ...]
    """Ordered by id."""

    def get(self, fact_id: str) -> Fact | None:
        """The fact of that id, or None."""
        return next((fact for fact in self.facts if fact.fact_id == fact_id), None)

    def with_facts(self, more: Iterable[Fact]) -> FactSheet:
        """The sheet with more facts, ordered by id."""
        return FactSheet(self.chip_id, tuple(sorted((*self.facts, *more), key=lambda fact: fact.fact_id)))

    def as_dicts(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for prompts and tables."""
        return [{name: getattr(fact, name) for name in _FIELDS} for fact in self.facts]

    def sha256(self) -> str:
        """Hash of the sheet's canonical JSON."""
        text = json.dumps(self.as_dicts(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
