"""What the report shows of labels: counts by class and split, disagreement, confusion matrices, maps of chips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from reports.blocks import Block, scalar_text
from reports.charts import RegionMap
from reports.tables import fractions_of, legend_colours, rows_of, split_order

LEAST_SHOWN = 0.005
"""Smaller probabilities make no column of a confusion matrix, nor smaller shares a row."""

MUCH_DISPUTED = 0.6
"""Share of a chip's pixels from which on its map is as dark as it gets."""

UNKNOWN = "#888888"
MEANINGS = ("nothing known", "fewer than two sources")
"""Of a grey chip on the map of classes, and of disagreement."""

ISOLATED, ENDED = "\u2068", "\u2069"
"""Around a name in running text: a name from right to left would draw the figure behind it to its other side."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix, ready to draw."""

    title: str
    """Source and region."""
    columns: tuple[str, ...]
    """What the source says."""
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    """(true class, (text, 0..1) of each column)."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The chips of a region in colours that stand for one number or class each."""

    title: str
    """What the colours mean."""
    map: RegionMap
    """Where the chips lie."""
    fills: tuple[tuple[str, str], ...]
    """(colour, text) of each drawn chip."""


def statistics_blocks(fusion: Mapping[str, Any]) -> list[Block]:
    """Pixels and chips of every class by split, one table per layer, with the entropies in its last rows."""
    found = []
    for layer, splits in (fusion.get("statistics") or {}).items():
        order = split_order(splits)
        names = list(dict.fromkeys(name for split in order for name in splits[split]["classes"]))
        rows = []
        for name in names:
            held = [splits[split]["classes"].get(name, {}) for split in order]
            cells = [f"{of.get('pixels', 0):,} px, {of.get('chips', 0):,} chips" for of in held]
            rows.append((name, *cells))
        rows.append(("all known", *(f"{splits[s]['pixels']:,} px, {splits[s]['chips']:,} chips" for s in order)))
        for key, title in (("entropy_bits", "entropy, bits"), ("chip_entropy_bits", "mean entropy of a chip, bits")):
            rows.append((title, *(scalar_text(splits[split].get(key)) for split in order)))
        found.append(Block(f"Classes of {layer}", ("class", *order), tuple(rows)))
    return found


def disagreement_block(fusion: Mapping[str, Any]) -> list[Block]:
    """One row for each pair of sources."""
    rows = tuple(
        (
            str(pair.get("first")),
            str(pair.get("second")),
            f"{int(pair.get('pixels', 0)):,}",
            _percent(pair.get("share")),
        )
        for pair in fusion.get("disagreement", ())
        if "first" in pair
    )
    title = "Pixels at which two sources admit no class in common"
    return [Block(title, ("source", "other", "pixels", "disagree"), rows)] if rows else []


def confusion_matrices(fusion: Mapping[str, Any]) -> list[Matrix]:
    """Estimated P(code | class) of every source over the whole dataset; small shares are left out."""
    shares = (fusion.get("priors") or {}).get("") or {}
    found = []
    for source, table in (fusion.get("confusion") or {}).items():
        whole = (table.get("regions") or {}).get("") if isinstance(table, Mapping) else None
        if whole is None:
            continue
        values = np.array(whole, dtype=np.float64)
        classes = [str(name) for name in table["classes"]]
        kept = [i for i, name in enumerate(classes) if shares.get(name, 0) >= LEAST_SHOWN]
        columns = [j for j in range(values.shape[1]) if kept and values[kept, j].max() >= LEAST_SHOWN]
        rows = tuple(
            (
                classes[i],
                tuple(
                    (f"{values[i, j]:.2f}" if values[i, j] >= LEAST_SHOWN else "", float(values[i, j])) for j in columns
                ),
            )
            for i in kept
        )
        found.append(Matrix(source, tuple(str(table["codes"][j]) for j in columns), rows))
    return found


def share_block(fusion: Mapping[str, Any]) -> list[Block]:
    """Estimated shares of the classes, the largest first: a row for the whole dataset, then one for each region. As
    columns, the classes of a fine legend would be cut on paper and scrolled for ever on a phone.
    """
    priors = fusion.get("priors") or {}
    rows = tuple(
        (
            name or "whole dataset",
            ", ".join(f"{ISOLATED}{of}{ENDED} {_percent(share)}" for of, share in _largest(priors[name])),
        )
        for name in sorted(priors)
    )
    title = f"Estimated shares of the classes, from {100 * LEAST_SHOWN:g} % on"
    return [Block(title, ("region", "classes"), rows)] if rows else []


def _largest(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(((n, s) for n, s in shares.items() if s >= LEAST_SHOWN), key=lambda pair: (-pair[1], pair[0]))


def fusion_facts(fusion: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of the fusion's summary: what has tables of its own is left out."""
    apart = ("statistics", "disagreement", "confusion", "priors", "licences")
    kept = {key: value for key, value in fusion.items() if key not in apart}
    if any("first" not in pair for pair in fusion.get("disagreement", ())):
        kept["disagreement"] = fusion["disagreement"]
    return kept


def label_maps(chips: pa.Table, legend: Mapping[str, Any], maps: Sequence[RegionMap]) -> list[LabelMap]:
    """Per region: the commonest class of every chip, and how much of it the sources disagree about."""
    if "label.fractions" not in chips.column_names:
        return []
    colours = legend_colours(legend)
    found = []
    for drawn in maps:
        rows = rows_of(chips, (one.chip_id for one in drawn.outlines), ("label.fractions", "label.agreement"))
        here = [rows[outline.chip_id] for outline in drawn.outlines]
        classes = tuple(_dominant(row, colours) for row in here)
        found.append(LabelMap(f"commonest class{_grey(classes)}", drawn, classes))
        if "label.agreement" in chips.column_names:
            title = (
                f"share of pixels that the sources disagree about: light 0 %, dark {100 * MUCH_DISPUTED:.0f} % and more"
            )
            disputed = tuple(map(_disputed, here))
            found.append(LabelMap(f"{title}{_grey(disputed)}", drawn, disputed))
    return found


def _grey(fills: Sequence[tuple[str, str]]) -> str:
    """What grey means, where a chip is: no pointer hovers over paper or a telephone."""
    return next((f"; grey: {text}" for _, text in fills if text in MEANINGS), "")


def _dominant(row: Mapping[str, Any], colours: Mapping[str, str]) -> tuple[str, str]:
    shares = fractions_of(row.get("label.fractions"))
    if not shares:
        return UNKNOWN, MEANINGS[0]
    name = max(shares, key=lambda one: shares[one])
    return colours.get(name, UNKNOWN), f"{name}, {shares[name]:.0%}"


def _disputed(row: Mapping[str, Any]) -> tuple[str, str]:
    agreed = row.get("label.agreement")
    if agreed is None or math.isnan(agreed):
        return UNKNOWN, MEANINGS[1]
    share = 1.0 - float(agreed)
    depth = min(share / MUCH_DISPUTED, 1.0)
    low, high = (247, 240, 220), (160, 20, 30)
    red, green, blue = (round(a + (b - a) * depth) for a, b in zip(low, high, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}", f"{share:.0%}"


def _percent(value: Any) -> str:
    return "–" if value is None else f"{100 * float(value):.1f} %"


def label_sections(
    fusion: Mapping[str, Any], chips: pa.Table, legend: Mapping[str, Any], maps: Sequence[RegionMap]
) -> dict[str, Sequence[Any]]:
    """Everything above, by the names that the page uses."""
    return {
        "label_statistics": statistics_blocks(fusion),
        "label_disagreement": disagreement_block(fusion),
        "label_confusion": confusion_matrices(fusion),
        "label_shares": share_block(fusion),
        "label_maps": label_maps(chips, legend, maps),
    }
