"""The report's section on validation: a validation's JSON as what the template draws. Numbers in, coordinates out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.charts import nice_step, number_text

WIDTH, HEIGHT = 320.0, 150.0
COLOURS = ("var(--train)", "var(--val)", "var(--test)", "var(--other)")


@dataclass(frozen=True, slots=True)
class NamedBar:
    """One bar of a list."""

    name: str
    """What it is."""
    value: str
    """Its value, for people."""
    percent: float
    """Length, of the longest."""
    span: str
    """Its error bar in words; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a plot."""

    name: str
    """For the key."""
    colour: str
    """CSS colour."""
    points: str
    """As an SVG ``points`` attribute; empty where only dots are drawn."""
    dots: tuple[tuple[float, float], ...]
    """(x, y)."""
    errors: tuple[tuple[float, float, float], ...]
    """(x, y of the low end, y of the high end)."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure, ready to draw."""

    title: str
    """What it shows."""
    kind: str
    """``bars``, ``plot`` or ``matrix``."""
    x_title: str = ""
    """With its unit."""
    y_title: str = ""
    """With its unit."""
    bars: tuple[NamedBar, ...] = ()
    """Of a list of bars."""
    lines: tuple[Line, ...] = ()
    """Of a plot."""
    ticks_x: tuple[tuple[float, str], ...] = ()
    """(x, text)."""
    ticks_y: tuple[tuple[float, str], ...] = ()
    """(y, text)."""
    labels: tuple[str, ...] = ()
    """Of a matrix."""
    cells: tuple[tuple[tuple[str, float], ...], ...] = ()
    """(text, 0..1) of a matrix."""


@dataclass(frozen=True, slots=True)
class GateSection:
    """One gate."""

    name: str
    """learnable, ..."""
    verdict: str
    """passed, FAILED, does not apply."""
    wrong: bool
    """Whether it needs a person's eye."""
    said: str
    """One sentence."""
    control: str
    """What was spoilt, and whether it was refused; empty where there is no control."""
    thresholds: str
    """For people."""
    columns: tuple[str, ...]
    """Of the table."""
    rows: tuple[tuple[str, ...], ...]
    """Of the table."""
    plots: tuple[Plot, ...]
    """Figures."""
    chips: tuple[str, ...]
    """Chips that a person should look at."""


def validation_section(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template shows of a validation; None where there is none."""
    if not found:
        return None
    training = found.get("training") or {}
    return {
        "time": str(found.get("time_utc", "")),
        "passed": bool(found.get("passed")),
        "short": bool(found.get("short")),
        "split": str(found.get("split", "")),
        "target": str(found.get("target", "")),
        "training": ", ".join(f"{name} {value}" for name, value in training.items()),
        "machine": ", ".join(f"{name} {value}" for name, value in (found.get("machine") or {}).items()),
        "gates": [_gate(gate) for gate in found.get("gates") or ()],
    }


def _gate(gate: Mapping[str, Any]) -> GateSection:
    passed, failed = gate.get("passed"), gate.get("control_failed")
    verdict = "does not apply" if passed is None else "passed" if gate.get("holds") else "FAILED"
    control = ""
    if gate.get("control"):
        ended = "refused, as it must be" if failed else "NOT refused: this gate proves nothing"
        shown = ", ".join(
            f"{k} {v}" for k, v in (gate.get("control_measured") or {}).items() if not isinstance(v, dict)
        )
        control = f"{gate['control']}: {ended} ({shown})"
    table: Sequence[Mapping[str, Any]] = gate.get("table") or ()
    columns = tuple(table[0]) if table else ()
    return GateSection(
        name=str(gate.get("gate", "")),
        verdict=verdict,
        wrong=verdict == "FAILED",
        said=str(gate.get("said", "")),
        control=control,
        thresholds=", ".join(f"{name} {value:g}" for name, value in (gate.get("thresholds") or {}).items()),
        columns=columns,
        rows=tuple(tuple(_cell(row.get(column)) for column in columns) for row in table),
        plots=tuple(_plot(figure) for figure in gate.get("figures") or ()),
        chips=tuple(str(chip) for chip in gate.get("chips") or ()),
    )


def _cell(value: Any) -> str:
    return number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _plot(figure: Mapping[str, Any]) -> Plot:
    title, kind = str(figure.get("title", "")), figure.get("kind")
    axes = (str(figure.get("x_title", "")), str(figure.get("y_title", "")))
    if kind == "matrix":
        matrix = figure.get("matrix") or ()
        cells = tuple(tuple((f"{value:.0%}" if value else "", float(value)) for value in row) for row in matrix)
        return Plot(title, "matrix", *axes, labels=tuple(figure.get("labels") or ()), cells=cells)
    series = figure.get("series") or ()
    if kind == "bars":
        return Plot(title, "bars", *axes, bars=_bars(figure.get("labels") or (), series[0] if series else {}))
    return _lines(title, axes, series, joined=kind == "line")


def _bars(names: Sequence[str], series: Mapping[str, Any]) -> tuple[NamedBar, ...]:
    values, low, high = (series.get(key) or () for key in ("y", "low", "high"))
    longest = max((abs(value) for value in values), default=0.0) or 1.0
    spans = [f"{a:.3f} to {b:.3f}" for a, b in zip(low, high, strict=True)] or [""] * len(values)
    return tuple(
        NamedBar(str(name), f"{value:.3f}", 100.0 * max(0.0, value) / longest, span)
        for name, value, span in zip(names, values, spans, strict=True)
    )


def _lines(title: str, axes: tuple[str, str], series: Sequence[Mapping[str, Any]], joined: bool) -> Plot:
    """Points and lines on common axes; the y axis begins at 0 where values lie between 0 and 1."""
    xs = [float(x) for one in series for x in one["x"]]
    ys = [float(y) for one in series for key in ("y", "low", "high") for y in one.get(key) or ()]
    if not xs or not ys:
        return Plot(title, "plot", *axes)
    ends_x, ends_y = _ends(xs), _ends([*ys, 0.0] if min(ys) >= 0.0 and max(ys) <= 1.0 else ys)

    def at_x(x: float) -> float:
        return WIDTH * (x - ends_x[0]) / (ends_x[1] - ends_x[0])

    def at_y(y: float) -> float:
        return HEIGHT * (1.0 - (y - ends_y[0]) / (ends_y[1] - ends_y[0]))

    lines = []
    for number, one in enumerate(series):
        dots = tuple((at_x(float(x)), at_y(float(y))) for x, y in zip(one["x"], one["y"], strict=True))
        bounds = zip(one.get("low") or (), one.get("high") or (), strict=True)
        errors = tuple((dot[0], at_y(float(a)), at_y(float(b))) for dot, (a, b) in zip(dots, bounds, strict=False))
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots) if joined else ""
        lines.append(Line(str(one.get("name", "")), COLOURS[number % len(COLOURS)], points, dots, errors))
    ticks_x = tuple((at_x(v), number_text(v)) for v in _ticks(*ends_x))
    ticks_y = tuple((at_y(v), number_text(v)) for v in _ticks(*ends_y))
    return Plot(title, "plot", *axes, lines=tuple(lines), ticks_x=ticks_x, ticks_y=ticks_y)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if high <= low else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    step = nice_step(high - low)
    return [round(float(v), 9) for v in np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step]
