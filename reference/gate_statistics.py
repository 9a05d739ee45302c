"""Gate *statistics*: what the manifest says of the bands is so, and has not drifted from the version before.

A refresh keeps its parent's statistics: these are no statement about its samples, which may drift from them.

Controls: a manifest whose means are a hundredth of a deviation off, and a parent that is one deviation away.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from reference.findings import Figure, Finding, Series, not_here, rounded
from schemas.dataset import DatasetDocument, LayerTable
from schemas.errors import DatasetError, IntegrityError
from schemas.recipe_gates import StatisticsGate
from shards.document import read_document
from shards.reader import Dataset

CONTROL_OFF = 0.01
"""Deviations by which the control's means are wrong."""
CONTROL_DRIFT = 1.0
"""Deviations by which the control's parent differs."""
NAMED = 3
"""Of the bands whose statistics are missing, so many are named in the sentence; all in what was measured."""


def statistics(dataset: Dataset, rule: StatisticsGate) -> Finding:
    """Means and deviations measured again from the samples of the train split; drift against those that an earlier
    version states.
    """
    document = dataset.document
    measured = measure(dataset)
    kept = [table for table in document.modalities if document.statistics_of(table.group) != document.version]
    own = [t for t in document.modalities if t not in kept and any(band.mean is not None for band in t.bands)]
    parent = _parent(dataset)
    lacking = unmatched(document.modalities, measured)
    lacking += lost(document.modalities, parent.document.modalities) if parent is not None else []
    if not measured and not lacking:
        return not_here("statistics", "no chip of train has a clear pixel to be measured")
    found: dict[str, Any] = {"bands": len(measured), "unmatched": lacking}
    said, spoilt = [f"{len(measured)} bands measured again"], []
    control: dict[str, Any] = {}
    figures: tuple[Figure, ...] = ()
    if own:
        error, worst = largest_error(own, measured)
        wrong, _ = largest_error(own, measured, off=CONTROL_OFF)
        found["largest_error"], control["largest_error"] = float(f"{error:.3g}"), float(f"{wrong:.3g}")
        said[0] += f": off by at most {error:.1e} deviations ({worst})"
        spoilt.append(f"means {CONTROL_OFF:g} deviations off")
    seen = {group for group, _ in measured}
    if unseen := [table.group for table in document.modalities if table.group not in seen]:
        said.append(f"no chip of train has a clear pixel of {', '.join(unseen)}")
    if lacking:
        more = f" and {len(lacking) - NAMED} more bands like these" if len(lacking) > NAMED else ""
        said.append(f"{', '.join(lacking[:NAMED])}{more}")
    origins = {table.group: document.statistics_of(table.group) for table in kept}
    earlier, sources = list(kept), dict(origins)
    if parent is not None:
        tables, unread = _of_parent(parent, origins)
        earlier += tables
        if unread:
            sources |= {table.group: parent.document.statistics_of(table.group) for table in tables}
            said.append(f"samples of {parent.version} cannot be measured, what it states counts: {unread}")
    elif document.parent_version:
        said.append(f"{document.parent_version} is not there any more: drift from it is not known")
    if drift := band_drift(as_measured(document.modalities, measured), earlier):
        (group, name), largest = max(drift.items(), key=lambda pair: pair[1])
        away = band_drift(moved_means(earlier, CONTROL_DRIFT), earlier)
        found["largest_drift"], control["largest_drift"] = rounded(largest), rounded(max(away.values()))
        said.append(
            f"drifted by at most {largest:.3f} ({group} {name}) from {sources.get(group, document.parent_version)}"
        )
        spoilt.append(f"a parent {CONTROL_DRIFT:g} deviation away")
        values, names = tuple(drift.values()), tuple(map(" ".join, drift))
        series = Series("drift", tuple(float(i) for i in range(len(values))), tuple(rounded(v) for v in values))
        figures = (Figure("Drift of the bands from the parent", "bars", "", "deviations", names, (series,)),)
    if parent is not None:
        found["parent"] = parent.version
        if (moved := class_drift(dataset, parent)) is not None:
            found["class_drift"] = rounded(moved)
            said.append(f"classes by {moved:.3f} from {parent.version}")
    if kept:
        said.append(f"statistics of {len(kept)} group(s) are those of {', '.join(sorted({*origins.values()}))}")

    def passes(values: Mapping[str, Any]) -> bool:
        return bool(
            not values.get("unmatched")
            and values.get("largest_error", 0.0) <= rule.max_error
            and values.get("largest_drift", 0.0) <= rule.max_drift
            and values.get("class_drift", 0.0) <= rule.max_class_drift
        )

    return Finding(
        "statistics",
        passes(found),
        "; ".join(said),
        found,
        rule.model_dump(),
        "; ".join(spoilt),
        control,
        all(not passes({name: value}) for name, value in control.items()) if control else None,
        figures=figures,
    )


def measure(dataset: Dataset) -> dict[tuple[str, str], tuple[int, float, float]]:
    """(group, band) -> pixels, mean and deviation over clear pixels of the train split, in float64. Sums are of
    differences from a band's first value: squares of the values themselves lose the deviation of a band that is nearly
    constant (a lake in a model of the ground) in rounding, and what the manifest says exactly was refused.
    """
    first: dict[tuple[str, str], float] = {}
    sums: dict[tuple[str, str], list[float]] = {}
    if "train" not in set(dataset.chips["split"]):
        return {}
    for sample in dataset.iterate("train", members=[]):
        for table in dataset.document.modalities:
            layer = sample.layers.get(table.group)
            if layer is None:
                continue
            seen = np.isin(layer.valid, dataset.document.clear_codes(table.modality))  # (T, h, w)
            for date in range(len(layer.data)):
                for band, stored in zip(table.bands, layer.data[date], strict=True):
                    values = stored[seen[date]].astype(np.float64)
                    keep = np.isfinite(values)
                    if table.nodata is not None:
                        keep &= values != float(np.asarray(table.nodata).astype(stored.dtype))
                    values = values[keep] * layer.scale[date] + layer.offset[date]
                    if not values.size:
                        continue
                    at = sums.setdefault((table.group, band.name), [0.0, 0.0, 0.0])
                    values -= first.setdefault((table.group, band.name), float(values[0]))
                    at[0] += values.size
                    at[1] += float(values.sum())
                    at[2] += float(np.square(values).sum())
    return {
        key: (int(n), first[key] + total / n, float(np.sqrt(max(0.0, squares / n - (total / n) ** 2))))
        for key, (n, total, squares) in sums.items()
    }


def largest_error(
    layers: Sequence[LayerTable], measured: Mapping[tuple[str, str], tuple[int, float, float]], off: float = 0.0
) -> tuple[float, str]:
    """Largest difference from the manifest in deviations, and of which band; ``off`` is added to the stated means.
    Bands without a mean on either side are left to `unmatched`.
    """
    worst, name = 0.0, "no band"
    for table in layers:
        for band in table.bands:
            count, mean, std = measured.get((table.group, band.name), (0, 0.0, 0.0))
            if band.mean is None or band.std is None or not count:
                continue
            unit = max(std, 1e-6 * abs(mean), 1e-12)
            error = max(abs(mean - band.mean - off * unit), abs(std - band.std)) / unit
            if error >= worst:
                worst, name = float(error), f"{table.group} {band.name}"
    return worst, name


def unmatched(layers: Sequence[LayerTable], measured: Mapping[tuple[str, str], tuple[int, float, float]]) -> list[str]:
    """Bands of which the manifest states a mean and no pixel is there, or the reverse, each in words."""
    found = []
    for table in layers:
        for band in table.bands:
            count, _, _ = measured.get((table.group, band.name), (0, 0.0, 0.0))
            if count and (band.mean is None or band.std is None):
                found.append(f"{table.group} {band.name} has {count} pixels and no mean or deviation")
            elif not count and band.mean is not None:
                found.append(f"{table.group} {band.name} has a mean and no pixel")
    return found


def lost(now: Sequence[LayerTable], before: Sequence[LayerTable]) -> list[str]:
    """Bands that had pixels in the version before and have none any more, in words: no mean is left to drift."""
    had = {(table.group, band.name) for table in before for band in table.bands if band.mean is not None}
    gone = ((t.group, band.name) for t in now for band in t.bands if band.mean is None)
    return [f"{group} {name} has no pixel any more" for group, name in gone if (group, name) in had]


def moved_means(layers: Sequence[LayerTable], deviations: float) -> tuple[LayerTable, ...]:
    """The same tables with every mean so many of its deviations higher."""
    moved = []
    for table in layers:
        bands = tuple(
            band if band.mean is None else band.model_copy(update={"mean": band.mean + deviations * (band.std or 0.0)})
            for band in table.bands
        )
        moved.append(table.model_copy(update={"bands": bands}))
    return tuple(moved)


def band_drift(now: Sequence[LayerTable], before: Sequence[LayerTable]) -> dict[tuple[str, str], float]:
    """(group, band) -> difference of the means of two versions in deviations, for bands that both have in one unit."""
    old = {(table.group, band.name, table.unit): band for table in before for band in table.bands}
    drift = {}
    for table in now:
        for band in table.bands:
            was = old.get((table.group, band.name, table.unit))
            if was is None or band.mean is None or was.mean is None or not was.std:
                continue
            drift[table.group, band.name] = abs(band.mean - was.mean) / was.std
    return drift


def as_measured(
    layers: Sequence[LayerTable], measured: Mapping[tuple[str, str], tuple[int, float, float]]
) -> tuple[LayerTable, ...]:
    """The same tables with the means and deviations that were measured; None where a band has no pixel."""
    tables = []
    for table in layers:
        found = [measured.get((table.group, band.name), (0, None, None)) for band in table.bands]
        bands = tuple(
            band.model_copy(update={"count": count, "mean": mean, "std": std})
            for band, (count, mean, std) in zip(table.bands, found, strict=True)
        )
        tables.append(table.model_copy(update={"bands": bands}))
    return tuple(tables)


def class_drift(dataset: Dataset, before: Dataset) -> float | None:
    """Half the sum of differences of class shares: 0 the same, 1 nothing in common; None where one of them has no
    labels or their legends have other classes, for then nothing can drift.
    """
    if _classes(dataset.document) != _classes(before.document):
        return None
    now, then = (_shares(one) for one in (dataset, before))
    if not now or not then:
        return None
    return 0.5 * sum(abs(now.get(n, 0.0) - then.get(n, 0.0)) for n in now.keys() | then.keys())


def _classes(document: DatasetDocument) -> set[str]:
    """Names of the fused label's classes."""
    return {str(one["name"]) for one in (document.legends.get("label") or {}).get("classes", ())}


def _shares(dataset: Dataset) -> dict[str, float]:
    if "label.fractions" not in dataset.chips:
        return {}
    rows = [dict(row) for row in dataset.chips["label.fractions"] if row is not None]
    names = {name for row in rows for name in row}
    total = sum(value or 0.0 for row in rows for value in row.values()) or 1.0
    return {name: sum(row.get(name) or 0.0 for row in rows) / total for name in names}


def _of_parent(parent: Dataset, without: Container[str]) -> tuple[list[LayerTable], str]:
    """Tables of the parent's groups but some: as it states them, or as its samples are where it states those of a
    version before it. And why these samples cannot be read, where one is damaged: nothing heals a version that is
    there already, and no later one could ever be judged.
    """
    document = parent.document
    tables = [table for table in document.modalities if table.group not in without]
    if all(document.statistics_of(table.group) == parent.version for table in tables):
        return tables, ""
    try:
        return list(as_measured(tables, measure(parent))), ""
    except (DatasetError, IntegrityError) as error:
        return tables, str(error)


def _parent(dataset: Dataset) -> Dataset | None:
    """The version before, if it is still there."""
    version = dataset.document.parent_version
    there = version and version in dataset.versions()
    return Dataset(dataset.storage, read_document(dataset.storage, version)) if there else None
