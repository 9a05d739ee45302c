"""What the report's sections show, from the tables of a version: pure, and tolerant of absent columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.charts import Histogram, RegionMap, histogram, region_map

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ClassShare:
    """One class of the fused labels."""

    name: str
    """Class name."""
    colour: str
    """Official colour, ``#rrggbb``."""
    shares: Mapping[str, float]
    """Split -> mean fraction over its chips, 0..1."""


@dataclass(frozen=True, slots=True)
class ModalityRow:
    """How one modality came out over the chips."""

    modality: str
    """Name in the recipe."""
    chips: int
    """Chips that have it."""
    dates: int
    """Dates over all chips."""
    clear_median: float | None
    """Median clear fraction, 0..1."""
    gap_median_days: float | None
    """Median of the absolute time gap."""
    gap_largest_days: float | None
    """Largest absolute time gap."""
    statuses: Mapping[str, int]
    """Registration status -> dates."""
    references: tuple[str, ...]
    """What shifts were measured against."""


@dataclass(frozen=True, slots=True)
class Block:
    """A small table of texts."""

    title: str
    """What it shows; empty for the plain values of an object."""
    columns: tuple[str, ...]
    """Headings; empty for pairs of name and value."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as many as headings, or two."""


def split_order(names: Iterable[str]) -> list[str]:
    """Split names: train, val, test, then others by name."""
    found = set(names)
    return [name for name in SPLITS if name in found] + sorted(found - set(SPLITS))


def modalities_of(columns: Iterable[Any]) -> list[str]:
    """Modality names that the columns of chips.parquet speak of, in order."""
    endings = (".item_ids", ".clear_fraction", ".registered")
    names = [str(c).rpartition(".")[0] for c in columns if str(c).endswith(endings) and not str(c).startswith("place.")]
    return list(dict.fromkeys(names))


def flat(chips: pd.DataFrame, column: str) -> list[Any]:
    """All entries of a list column, chip after chip; empty where the column is absent."""
    if column not in chips.columns:
        return []
    entries: list[Any] = []
    for value in chips[column]:
        if value is None or isinstance(value, float):
            continue
        entries.extend([value] if isinstance(value, str) else list(value))
    return entries


def flat_numbers(chips: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """All numbers of a list column; missing ones are NaN."""
    return np.array([np.nan if v is None else float(v) for v in flat(chips, column)], dtype=np.float64)


def fractions_of(value: Any) -> dict[str, float]:
    """A chip's ``label.fractions``: a mapping, or the list of pairs that Arrow's map type becomes."""
    if value is None or isinstance(value, float):
        return {}
    pairs = value.items() if isinstance(value, Mapping) else value
    return {str(name): float(share) for name, share in pairs if share is not None}


def class_shares(chips: pd.DataFrame, legend: Mapping[str, Any]) -> list[ClassShare]:
    """Mean class fractions per split, in the legend's order; classes that no chip holds are left out."""
    if "label.fractions" not in chips.columns or chips.empty:
        return []
    parsed = [fractions_of(value) for value in chips["label.fractions"]]
    splits = [str(split) for split in chips["split"]]
    sums: dict[str, Counter[str]] = {}
    for split, fractions in zip(splits, parsed, strict=True):
        sums.setdefault(split, Counter()).update(fractions)
    sizes = Counter(splits)
    colours = legend_colours(legend)
    found = {name for fractions in parsed for name in fractions}
    order = [name for name in colours if name in found] + sorted(found - set(colours))
    rows = [
        ClassShare(
            name=name,
            colour=colours.get(name, "#888888"),
            shares={split: sums[split][name] / sizes[split] for split in split_order(sums)},
        )
        for name in order
    ]
    return [row for row in rows if any(share > 0 for share in row.shares.values())]


def legend_colours(legend: Mapping[str, Any]) -> dict[str, str]:
    """Class name -> ``#rrggbb`` of a legend as it stands in dataset.json; other strings become grey."""
    colours = {}
    for entry in legend.get("classes", ()):
        colour = str(entry.get("colour", ""))
        digits = colour.removeprefix("#")
        is_hex = colour.startswith("#") and len(digits) == 6 and all(c in "0123456789abcdefABCDEF" for c in digits)
        colours[str(entry.get("name", ""))] = colour if is_hex else "#888888"
    return colours


def modality_rows(chips: pd.DataFrame) -> list[ModalityRow]:
    """One row per modality: dates, clear fraction, time gaps, registration."""
    rows = []
    for name in modalities_of(chips.columns):
        clear = flat_numbers(chips, f"{name}.clear_fraction")
        items = flat(chips, f"{name}.item_ids")
        if len(items) == len(clear):
            clear = clear[[bool(item) for item in items]]  # an empty step of a series is no date
        gaps = np.abs(flat_numbers(chips, f"{name}.gap_days"))
        column = next(c for c in (f"{name}.item_ids", f"{name}.clear_fraction", f"{name}.registered") if c in chips)
        dates = [
            0 if v is None or isinstance(v, float) else sum(1 for entry in v if entry != "") for v in chips[column]
        ]
        references = sorted({str(r) for r in flat(chips, f"{name}.shift_reference") if r})
        rows.append(
            ModalityRow(
                modality=name,
                chips=sum(count > 0 for count in dates),
                dates=sum(dates),
                clear_median=_median(clear),
                gap_median_days=_median(gaps),
                gap_largest_days=float(np.nanmax(gaps)) if np.isfinite(gaps).any() else None,
                statuses=dict(sorted(Counter(str(s) for s in flat(chips, f"{name}.registered")).items())),
                references=tuple(references),
            )
        )
    return rows


def shift_histograms(chips: pd.DataFrame) -> list[Histogram]:
    """Lengths of the shifts that were measured or corrected, per modality, in metres."""
    drawn = []
    for name in modalities_of(chips.columns):
        dx = flat_numbers(chips, f"{name}.shift_dx_m")
        dy = flat_numbers(chips, f"{name}.shift_dy_m")
        status = np.array([str(s) for s in flat(chips, f"{name}.registered")])
        if dx.size == 0 or dx.size != dy.size:
            continue
        trusted = np.isin(status, ("measured", "corrected")) if status.size == dx.size else np.isfinite(dx)
        lengths = np.hypot(dx, dy)[trusted]
        top = float(np.nanmax(lengths)) if np.isfinite(lengths).any() else 0.0
        drawn.append(histogram(name, "m", lengths, limits=(0.0, max(top, 1.0))))
    return [chart for chart in drawn if chart is not None]


def clear_histograms(chips: pd.DataFrame) -> list[Histogram]:
    """Clear fraction of each chip and date, per modality."""
    charts = [
        histogram(name, "", flat_numbers(chips, f"{name}.clear_fraction"), limits=(0.0, 1.0), bins=20)
        for name in modalities_of(chips.columns)
    ]
    return [chart for chart in charts if chart is not None]


def gap_histograms(chips: pd.DataFrame) -> list[Histogram]:
    """Signed days between each date and the chip's reference time, per modality."""
    charts = [histogram(name, "days", flat_numbers(chips, f"{name}.gap_days")) for name in modalities_of(chips.columns)]
    return [chart for chart in charts if chart is not None]


def region_maps(chips: Any) -> list[RegionMap]:
    """One map per region, largest first. Regions far apart would be two dots on one map."""
    if len(chips) == 0 or "geometry" not in chips.columns:
        return []
    regions = chips["region"].astype(str) if "region" in chips.columns else pd.Series(["all"] * len(chips), chips.index)
    maps = []
    for name in sorted(set(regions)):
        part = chips[(regions == name).to_numpy()]
        part = part[[geometry is not None and not geometry.is_empty for geometry in part["geometry"]]]
        rings = [np.asarray(geometry.exterior.coords, dtype=np.float64)[:, :2] for geometry in part["geometry"]]
        chart = region_map(name, [str(c) for c in part["chip_id"]], [str(s) for s in part["split"]], rings)
        if chart is not None:
            maps.append(chart)
    return sorted(maps, key=lambda chart: (-chart.total, chart.region))


def outcome_rows(outcomes: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(state, reason or error class, chips), the kept first, then the most frequent."""
    if outcomes.empty:
        return []
    counts: Counter[tuple[str, str]] = Counter()
    for row in outcomes.to_dict("records"):
        state = str(row["state"])
        why = row.get("error_class") if state == "failed" else row.get("reason")
        counts[state, "" if state == "kept" or not isinstance(why, str) else why] += 1
    order = {"kept": 0, "rejected": 1, "failed": 2}
    rows = [(state, why, count) for (state, why), count in counts.items()]
    return sorted(rows, key=lambda row: (order.get(row[0], 3), -row[2], row[1]))


def text_samples(texts: pd.DataFrame, per_kind: int = 3) -> list[dict[str, str]]:
    """The first texts of each kind and style, in the table's order."""
    if texts.empty:
        return []
    taken: Counter[tuple[str, str]] = Counter()
    samples = []
    for row in texts.to_dict("records"):
        key = str(row.get("kind", "")), str(row.get("style") or "")
        if taken[key] < per_kind:
            taken[key] += 1
            names = (
                "kind",
                "style",
                "chip_id",
                "text",
                "question",
                "answer",
                "verification",
                "backend",
                "model",
            )
            samples.append({name: "" if row.get(name) is None else str(row.get(name)) for name in names})
    return samples


def counted(table: pd.DataFrame, column: str) -> list[tuple[str, int]]:
    """(value, rows) of a column, the most frequent first; empty where the column is absent."""
    if column not in table.columns:
        return []
    counts = Counter("" if value is None else str(value) for value in table[column])
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def blocks(value: Mapping[str, Any]) -> list[Block]:
    """A JSON object as small tables: its plain values in one, each table-like or nested value in one of its own.

    Args:
        value: any object of dataset.json, such as ``fusion``, ``texts`` or ``splits.leakage``.
    """
    plain = [(key, _flat_text(part)) for key, part in value.items() if _is_flat(part)]
    found = [Block("", (), tuple(plain))] if plain else []
    nested = {key: part for key, part in value.items() if not _is_flat(part) and part}
    if len(nested) > 1 and (whole := _table("", nested)):
        return [*found, whole]
    for key, part in nested.items():
        found.append(_table(key, part) or Block(key, (), tuple(leaves(part))))
    return found


def _table(title: str, value: Any) -> Block | None:
    """Objects of plain values, in a list or by name, as rows of one table; None where they are not of one kind."""
    named = isinstance(value, Mapping)
    parts = list(value.values()) if named else list(value)
    if not parts or not all(isinstance(part, Mapping) and all(map(_is_flat, part.values())) for part in parts):
        return None
    columns = list(dict.fromkeys(str(key) for part in parts for key in part))
    if named and any(set(map(str, part)) != set(columns) for part in parts):
        return None
    names = [(str(name),) for name in value] if named else [()] * len(parts)
    rows = [
        (*name, *(_flat_text(part[column]) if column in part else "" for column in columns))
        for name, part in zip(names, parts, strict=True)
    ]
    return Block(title, ("", *columns) if named else tuple(columns), tuple(rows))


def _is_flat(value: Any) -> bool:
    """Whether a value fits into one cell: a scalar, or a list of scalars."""
    if isinstance(value, list | tuple):
        return not any(isinstance(part, Mapping | list | tuple) for part in value)
    return not isinstance(value, Mapping)


def _flat_text(value: Any) -> str:
    return ", ".join(map(scalar_text, value)) if isinstance(value, list | tuple) else scalar_text(value)


def leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """(dotted path, text) of every leaf of a JSON value; lists of plain values stand in one line."""
    if _is_flat(value):
        return [(path, _flat_text(value))]
    if isinstance(value, Mapping):
        return [leaf for key, part in value.items() for leaf in leaves(part, f"{path}.{key}" if path else str(key))]
    return [leaf for i, part in enumerate(value) for leaf in leaves(part, f"{path}[{i}]")]


def scalar_text(value: Any) -> str:
    """A JSON scalar for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def plural(count: int, noun: str) -> str:
    """The noun as it follows the count.

    >>> plural(1, "chip"), plural(2, "chip"), plural(3, "modality")
    ('chip', 'chips', 'modalities')
    """
    if count == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _median(values: NDArray[np.float64]) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None
