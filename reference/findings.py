"""What a gate says: `Finding`, JSON-ready, with the control that had to fail and the figure to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Series:
    """One line or set of bars of a figure."""

    name: str
    """What it shows."""
    x: tuple[float, ...]
    """Positions; 0, 1, 2, ... where `Figure.labels` names them."""
    y: tuple[float, ...]
    """Values."""
    low: tuple[float, ...] = ()
    """Lower ends of error bars; empty where there are none."""
    high: tuple[float, ...] = ()
    """Upper ends."""


@dataclass(frozen=True)
class Figure:
    """A figure, to be drawn by whoever shows it."""

    title: str
    """What it shows."""
    kind: str
    """``bars``, ``line``, ``points`` or ``matrix``."""
    x_title: str = ""
    """With its unit."""
    y_title: str = ""
    """With its unit."""
    labels: tuple[str, ...] = ()
    """Names of the positions; of rows and columns of a matrix."""
    series: tuple[Series, ...] = ()
    """What is drawn."""
    matrix: tuple[tuple[float, ...], ...] = ()
    """Rows of a matrix, 0..1."""


@dataclass(frozen=True)
class Finding:
    """One gate's verdict."""

    gate: str
    """Its name."""
    passed: bool | None
    """None: does not apply to this dataset."""
    said: str
    """One sentence with the figures that decide."""
    measured: dict[str, Any] = field(default_factory=dict)
    """What was measured."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """What it was held against."""
    control: str = ""
    """What was spoilt on purpose."""
    control_measured: dict[str, Any] = field(default_factory=dict)
    """The same measures of it."""
    control_failed: bool | None = None
    """Whether the gate refused it, as it must; None where there is no control."""
    table: tuple[dict[str, Any], ...] = ()
    """Rows to show."""
    figures: tuple[Figure, ...] = ()
    """To look at."""
    chips: tuple[str, ...] = ()
    """Chips that a person should look at."""

    @property
    def holds(self) -> bool:
        """Whether this gate lets the dataset through: passed or not applicable, and its control failed."""
        return self.passed is not False and self.control_failed is not False

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return {**asdict(self), "holds": self.holds}


def not_here(gate: str, why: str) -> Finding:
    """A gate that does not apply."""
    return Finding(gate, None, f"does not apply: {why}")


def bars(
    title: str, y_title: str, rows: Sequence[tuple[str, float]], error: Sequence[tuple[float, float]] = ()
) -> Figure:
    """A figure of named bars, with error bars where given."""
    series = Series(
        y_title,
        tuple(float(i) for i in range(len(rows))),
        tuple(value for _, value in rows),
        tuple(low for low, _ in error),
        tuple(high for _, high in error),
    )
    return Figure(title, "bars", "", y_title, tuple(name for name, _ in rows), (series,))


def finite(value: Any) -> Any:
    """The same for a JSON file: null for a number that is not finite, however deep.

    >>> finite({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def rounded(value: float, digits: int = 4) -> float:
    """For people and for JSON."""
    return round(float(value), digits)
