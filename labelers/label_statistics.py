"""What label layers hold, counted: columns of a chip, and the sums over splits that a version documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.marks import distinct, unpacked
from labelers.voters import SILENT, FusionSetup, to_symbols
from schemas.labels import LabelLayer
from schemas.legend import load_legend

FUSED = "label"
"""Name of the fused layer among the layers."""


def layer_columns(name: str, layer: LabelLayer, by: str = "code") -> dict[str, Any]:
    """``label.<name>.known_pixels`` and ``label.<name>.fractions`` of a layer (``label.fractions`` of the fused one).

    Args:
        name: label source, or `FUSED`.
        layer: its classes.
        by: whether values are codes of the legend or positions in it (``index``).
    """
    legend = load_legend(layer.legend)
    values = [entry.code if by == "code" else index for index, entry in enumerate(legend.classes)]
    counts = np.bincount(layer.classes.ravel(), minlength=max(values) + 1)
    names = [entry.name for entry in legend.classes]
    pixels = {name: int(counts[value]) for name, value in zip(names, values, strict=True) if counts[value]}
    known = sum(pixels.values())
    prefix = FUSED if name == FUSED else f"label.{name}"
    return {
        f"{prefix}.known_pixels": known,
        f"{prefix}.fractions": {name: count / known for name, count in pixels.items()} if known else {},
    }


def entropy_bits(shares: Iterable[float]) -> float:
    """Entropy of a distribution in bits: 0 of a single class, 1 of two equal ones.

    >>> entropy_bits([0.5, 0.5]), entropy_bits([1.0, 0.0]), entropy_bits([])
    (1.0, 0.0, 0.0)
    """
    positive = np.array([share for share in shares if share > 0], dtype=np.float64)
    return float(-(positive * np.log2(positive)).sum()) + 0.0 if positive.size else 0.0


def pair_disagreement(votes: Sequence[LabelLayer], setup: FusionSetup) -> dict[str, float]:
    """``first|second`` -> share of the pixels at which both speak and admit no class in common; pairs that never meet
    in the chip are left out.
    """
    tables = setup.tables()
    sizes = [len(table.codes) + 1 for table in tables]  # 0 is silence
    keys, which = distinct(to_symbols(votes, setup), sizes)
    pixels, symbols = np.bincount(which), unpacked(keys, sizes).T - SILENT
    found = {}
    for a, b in combinations(range(len(setup.voters)), 2):
        first, second = tables[a].shares, tables[b].shares
        together = np.zeros((sizes[a], sizes[b]), dtype=np.int64)
        np.add.at(together, (symbols[a], symbols[b]), pixels)
        both = together[1:, 1:]
        if both.any():
            common = int(both[_meet(first, second)].sum())
            found[f"{setup.voters[a].source}|{setup.voters[b].source}"] = round(1 - common / int(both.sum()), 6)
    return found


def _meet(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(symbols, symbols) whether two symbols admit a class in common."""
    meet: NDArray[np.bool_] = (first > 0).astype(np.int64) @ (second > 0).T.astype(np.int64) > 0
    return meet


def label_statistics(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Layer -> split -> pixels, entropy, and per class pixels and chips, from the columns of chips.parquet.

    ``entropy_bits`` is that of the split's shares of area; ``chip_entropy_bits`` the mean of its chips'.
    """
    sums: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        for column in row:
            if not column.startswith("label.") or not column.endswith(".fractions"):
                continue
            layer = column.removesuffix(".fractions").removeprefix("label.") if column != "label.fractions" else FUSED
            known = row.get(column.removesuffix("fractions") + "known_pixels")
            shares = dict(row[column] or {})
            if not known or not shares:
                continue
            of = sums[layer].setdefault(str(row["split"]), {"chips": 0, "pixels": 0, "bits": 0.0, "classes": {}})
            of["chips"] += 1
            of["pixels"] += known
            of["bits"] += entropy_bits(shares.values())
            for name, share in shares.items():
                entry = of["classes"].setdefault(name, {"pixels": 0, "chips": 0})
                entry["pixels"] += round(share * known)
                entry["chips"] += 1
    return {layer: {split: _finished(of) for split, of in splits.items()} for layer, splits in sums.items()}


def _finished(of: Mapping[str, Any]) -> dict[str, Any]:
    classes = of["classes"]
    return {
        "chips": of["chips"],
        "pixels": of["pixels"],
        "entropy_bits": round(entropy_bits(entry["pixels"] / of["pixels"] for entry in classes.values()), 4),
        "chip_entropy_bits": round(of["bits"] / of["chips"], 4),
        "classes": dict(sorted(classes.items(), key=lambda pair: -pair[1]["pixels"])),
    }
