"""What the report's sections show, from the tables of a version: pure, and tolerant of absent columns.

Columns stay Arrow's, and a row becomes Python's only where it is shown: a million chips have a page, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from reports.charts import MAX_MAPS, Histogram, RegionMap, histogram, numbers_drawn, region_map
from schemas.antimeridian import join_at_antimeridian
from shards.guard import publishable

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ClassShare:
    """One class of the fused labels."""

    name: str
    """Class name."""
    colour: str
    """Official colour, ``#rrggbb``."""
    shares: Mapping[str, float]
    """Split -> mean fraction over those of its chips of which something is known, 0..1."""


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


def split_order(names: Iterable[str]) -> list[str]:
    """Split names: train, val, test, then others by name."""
    found = set(names)
    return [name for name in SPLITS if name in found] + sorted(found - set(SPLITS))


def modalities_of(columns: Iterable[Any]) -> list[str]:
    """Modality names that the columns of chips.parquet speak of, in order."""
    endings = (".item_ids", ".clear_fraction", ".registered")
    names = [str(c).rpartition(".")[0] for c in columns if str(c).endswith(endings) and not str(c).startswith("place.")]
    return list(dict.fromkeys(names))


def flat(chips: pa.Table, column: str) -> pa.Array:
    """All entries of a list column, chip after chip; empty where the column is absent."""
    if column not in chips.column_names:
        return pa.nulls(0)
    return pc.list_flatten(chips[column]).combine_chunks()


def flat_numbers(chips: pa.Table, column: str) -> NDArray[np.float64]:
    """All numbers of a list column; missing ones are NaN."""
    return np.asarray(flat(chips, column).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def rows_of(chips: pa.Table, chip_ids: Iterable[str], columns: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Chip id -> some columns of its row, as Python objects; of chips that the table does not have, nothing."""
    wanted = list(chip_ids)
    numbers = pc.index_in(pa.array(wanted, pa.string()), value_set=chips["chip_id"].cast(pa.string()).combine_chunks())
    there = numbers.is_valid()
    held = [name for name in columns if name in chips.column_names]
    rows = chips.select(held).take(numbers.filter(there)).to_pylist()
    return dict(zip(pa.array(wanted, pa.string()).filter(there).to_pylist(), rows, strict=True))


def fractions_of(value: Any) -> dict[str, float]:
    """A chip's ``label.fractions``: the list of pairs that Arrow's map type becomes, or None."""
    return {str(name): float(share) for name, share in value or () if share is not None}


def class_shares(chips: pa.Table, legend: Mapping[str, Any]) -> list[ClassShare]:
    """Mean class fractions per split, over the chips of which something is known, in the legend's order; classes that
    no chip holds are left out.
    """
    if "label.fractions" not in chips.column_names or not len(chips):
        return []
    fractions = chips["label.fractions"].combine_chunks()
    splits = chips["split"].combine_chunks().dictionary_encode()
    lengths = pc.fill_null(pc.list_value_length(fractions.cast(_PAIRS)), 0).to_numpy()
    pairs = pc.list_flatten(fractions.cast(_PAIRS))
    names = pairs.field(0).dictionary_encode()
    shares = np.nan_to_num(pairs.field(1).to_numpy(zero_copy_only=False))
    held = splits.dictionary.to_pylist()
    size = len(names.dictionary)
    cell = np.repeat(splits.indices.to_numpy(), lengths).astype(np.int64) * size + names.indices.to_numpy()
    sums = np.bincount(cell, weights=shares, minlength=size * len(held)).reshape(len(held), size)
    chips_known = np.bincount(splits.indices.to_numpy(), weights=lengths > 0, minlength=len(held))
    means = sums / np.maximum(chips_known, 1)[:, np.newaxis]  # (splits, classes)
    by_class = {str(name): means[:, k] for k, name in enumerate(names.dictionary.to_pylist())}
    colours = legend_colours(legend)
    order = [name for name in colours if name in by_class] + sorted(set(by_class) - set(colours))
    rows = [
        ClassShare(
            name=name,
            colour=colours.get(name, "#888888"),
            shares={split: float(by_class[name][held.index(split)]) for split in split_order(held)},
        )
        for name in order
    ]
    return [row for row in rows if any(share > 0 for share in row.shares.values())]


_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))
"""What a map of shares is underneath."""


def legend_colours(legend: Mapping[str, Any]) -> dict[str, str]:
    """Class name -> ``#rrggbb`` of a legend as it stands in dataset.json; other strings become grey."""
    colours = {}
    for entry in legend.get("classes", ()):
        colour = str(entry.get("colour", ""))
        digits = colour.removeprefix("#")
        is_hex = colour.startswith("#") and len(digits) == 6 and all(c in "0123456789abcdefABCDEF" for c in digits)
        colours[str(entry.get("name", ""))] = colour if is_hex else "#888888"
    return colours


def modality_rows(chips: pa.Table) -> list[ModalityRow]:
    """One row per modality: dates, clear fraction, time gaps, registration."""
    rows = []
    for name in modalities_of(chips.column_names):
        clear = _clear_fractions(chips, name)
        gaps = np.abs(flat_numbers(chips, f"{name}.gap_days"))
        endings = ("item_ids", "clear_fraction", "registered")
        column = next(f"{name}.{ending}" for ending in endings if f"{name}.{ending}" in chips.column_names)
        dates = _dates_of(chips[column].combine_chunks())
        rows.append(
            ModalityRow(
                modality=name,
                chips=int((dates > 0).sum()),
                dates=int(dates.sum()),
                clear_median=_median(clear),
                gap_median_days=_median(gaps),
                gap_largest_days=float(np.nanmax(gaps)) if np.isfinite(gaps).any() else None,
                statuses=dict(sorted(_counts(_of_dates(chips, name, "registered")).items())),
                references=tuple(sorted(one for one in _counts(flat(chips, f"{name}.shift_reference")) if one)),
            )
        )
    return rows


def _of_dates(chips: pa.Table, modality: str, ending: str) -> pa.Array:
    """All entries of a list column, chip after chip, less those of the empty steps of a series, which are no dates."""
    values, items = flat(chips, f"{modality}.{ending}"), flat(chips, f"{modality}.item_ids")
    return values.filter(pa.array(_is_named(items))) if len(items) == len(values) else values


def _clear_fractions(chips: pa.Table, modality: str) -> NDArray[np.float64]:
    """Clear fraction of every date; missing ones are NaN."""
    fractions = _of_dates(chips, modality, "clear_fraction").cast(pa.float64())
    return np.asarray(fractions.to_numpy(zero_copy_only=False), dtype=np.float64)


def _is_named(items: pa.Array) -> NDArray[np.bool_]:
    """Which entries of a list of ids name something."""
    return np.asarray(pc.fill_null(pc.not_equal(items, ""), False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _dates_of(column: pa.Array) -> NDArray[np.int64]:
    """(chips,) entries of every list; of ids, those that name something."""
    entries = pc.list_flatten(column)
    is_date = _is_named(entries) if pa.types.is_string(entries.type) else np.ones(len(entries), np.bool_)
    parents = pc.list_parent_indices(column).to_numpy()
    return np.bincount(parents[is_date], minlength=len(column))


def _counts(values: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Value -> how often; what is null counts as empty."""
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(values):
        value = entry["values"].as_py()
        counts["" if value is None else str(value)] += entry["counts"].as_py()
    return counts


def shift_histograms(chips: pa.Table) -> list[Histogram]:
    """Lengths of the shifts that were measured or corrected, per modality, in metres.

    The reference dates are left out: against themselves they have shift 0 and deviation 0, which nobody measured.
    """
    drawn = []
    for name in modalities_of(chips.column_names):
        dx = flat_numbers(chips, f"{name}.shift_dx_m")
        dy = flat_numbers(chips, f"{name}.shift_dy_m")
        status = flat(chips, f"{name}.registered")
        if dx.size == 0 or dx.size != dy.size:
            continue
        trusted = np.isfinite(dx)
        if len(status) == dx.size:
            trusted = pc.is_in(status, pa.array(["measured", "corrected"])).to_numpy(zero_copy_only=False)
        sigma = flat_numbers(chips, f"{name}.shift_sigma_m")
        if sigma.size == dx.size:
            trusted = trusted & ((dx != 0) | (dy != 0) | (sigma != 0))
        lengths = np.hypot(dx, dy)[trusted]
        top = float(np.nanmax(lengths)) if np.isfinite(lengths).any() else 0.0
        drawn.append(histogram(name, "m", lengths, limits=(0.0, max(top, 1.0))))
    return [chart for chart in drawn if chart is not None]


def clear_histograms(chips: pa.Table) -> list[Histogram]:
    """Clear fraction of each chip and date, per modality."""
    charts = [
        histogram(name, "", _clear_fractions(chips, name), limits=(0.0, 1.0), bins=20)
        for name in modalities_of(chips.column_names)
    ]
    return [chart for chart in charts if chart is not None]


def gap_histograms(chips: pa.Table) -> list[Histogram]:
    """Signed days between each date and the chip's reference time, per modality."""
    charts = [
        histogram(name, "days", flat_numbers(chips, f"{name}.gap_days")) for name in modalities_of(chips.column_names)
    ]
    return [chart for chart in charts if chart is not None]


def region_maps(chips: pa.Table) -> list[RegionMap]:
    """One map per region, largest first, `MAX_MAPS` at most. Regions far apart would be two dots on one map."""
    if not len(chips) or "geometry" not in chips.column_names:
        return []
    bounds = np.column_stack([pc.struct_field(chips["bbox"], side).to_numpy() for side in _SIDES])  # (chips, 4)
    has_place = np.isfinite(bounds).all(axis=1)
    named = "region" in chips.column_names
    regions = pc.fill_null(chips["region"].combine_chunks(), "") if named else pa.array(["all"] * len(chips))
    largest = sorted(_counts(regions.filter(pa.array(has_place))).items(), key=lambda pair: (-pair[1], pair[0]))
    largest = largest[:MAX_MAPS]
    maps = []
    for name, _ in largest:
        here = np.flatnonzero(pc.equal(regions, name).to_numpy(zero_copy_only=False) & has_place)
        numbers = here[numbers_drawn(len(here), len(largest))]
        drawn = chips.select(["chip_id", "split", "geometry"]).take(pa.array(numbers))
        shapes = shapely.from_wkb(drawn["geometry"].to_numpy())
        boxes, turned = _in_one_piece(bounds[here])
        rings = [_ring(shape, turned) for shape in shapes]
        extent = (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist())
        ids, splits = ([str(value) for value in drawn[column].to_pylist()] for column in ("chip_id", "split"))
        maps.append(region_map(name, ids, splits, rings, total=len(here), extent=extent))
    return maps


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _in_one_piece(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """(chips, 4) boxes of a region, its west counted on beyond 180 degrees where it lies over the antimeridian, and
    whether that is so. Chips that lie across have a box around the Earth; they count as a meridian.
    """
    across = boxes[:, 2] - boxes[:, 0] > 180.0
    turned = boxes.copy()
    turned[:, [0, 2]] += 360.0 * (turned[:, [0, 2]] < 0)
    turned[across, 0] = turned[across, 2] = 180.0
    if across.any() or np.ptp(turned[:, [0, 2]]) < np.ptp(boxes[:, [0, 2]]):
        return turned, True
    return boxes, False


def _ring(shape: Any, turned: bool) -> NDArray[np.float64]:
    """(n, 2) outline of a chip, in one piece where it lies over the antimeridian."""
    if turned:
        shape = join_at_antimeridian(shape)
    whole = shape if shape.geom_type == "Polygon" else shape.convex_hull
    return np.asarray(whole.exterior.coords, dtype=np.float64)[:, :2]


TEXT_COLUMNS = ("kind", "style", "chip_id", "text", "question", "answer", "verification", "backend", "model")
"""What is shown of a text."""


def text_samples(texts: pa.Table, per_kind: int = 3) -> list[dict[str, str]]:
    """The first texts of each kind and style, in the table's order."""
    if not len(texts):
        return []
    empty = pa.nulls(len(texts), pa.string())
    kinds, styles = (
        pc.fill_null((texts[name] if name in texts.column_names else empty).cast(pa.string()), "")
        for name in ("kind", "style")
    )
    keys = pc.binary_join_element_wise(kinds, styles, "\n").combine_chunks()
    first = [pc.indices_nonzero(pc.equal(keys, key))[:per_kind] for key in pc.unique(keys)]
    numbers = np.sort(np.concatenate([found.to_numpy() for found in first]))
    held = [name for name in TEXT_COLUMNS if name in texts.column_names]
    rows = texts.select(held).take(pa.array(numbers)).to_pylist()
    return [{n: "" if row.get(n) is None else publishable(str(row[n])) for n in TEXT_COLUMNS} for row in rows]


def counted(table: pa.Table, column: str) -> list[tuple[str, int]]:
    """(value, rows) of a column, the most frequent first; empty where the column is absent."""
    if column not in table.column_names:
        return []
    return sorted(_counts(table[column]).items(), key=lambda pair: (-pair[1], pair[0]))


def _median(values: NDArray[np.float64]) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None
