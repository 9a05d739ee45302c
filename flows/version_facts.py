"""What documents of a version say of its chips as a whole, asked of their columns: layers, sources, splits, labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.convert import stored_form
from chips.leakage import leakage_report
from chips.plan import LayerPlan
from chips.rows import licence_entry
from flows.job import Job
from flows.plan_store import StoredPlan
from flows.reduce import Estimated
from labelers.label_statistics import FUSED, label_statistics
from schemas.dataset import BandTable, LayerTable, SourceTable
from schemas.recipe import Modality
from schemas.sample import split_ids
from schemas.sensor import load_sensor
from shards.guard import publishable
from shards.tables import ROWS_AT_ONCE, TIME
from sources.scenes import scene_bands


def layer_tables(job: Job, plan: StoredPlan, estimated: Estimated, chips: pa.Table) -> Iterator[LayerTable]:
    """One entry per modality group, with the bands' statistics and the largest shape.

    Args:
        job: the run.
        plan: its plan.
        estimated: statistics of the bands.
        chips: rows as `shards.tables.chips_table` makes them.
    """
    for layer in job.layers:
        dtype, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, job.recipe.modalities[layer.modality])
        shapes = _flat(chips, f"{layer.group}.shape_yx", pa.int32()).to_numpy().reshape(-1, 2)
        item_ids = f"{layer.modality}.item_ids"
        dates = pc.max(pc.list_value_length(chips[item_ids])).as_py() if item_ids in chips.column_names else None
        yield LayerTable(
            group=layer.group,
            modality=layer.modality,
            sensor=layer.sensor,
            gsd_m=layer.gsd_m,
            dtype=dtype,
            unit=unit,
            nodata=nodata,
            bands=tuple(_band_table(name, layer, plan, estimated) for name in layer.bands),
            max_dates=dates or 0,
            composite=_how_composed(job.recipe.modalities[layer.modality]),
            shape_yx=(int(shapes[:, 0].max(initial=0)), int(shapes[:, 1].max(initial=0))),
        )


def _how_composed(modality: Modality) -> str:
    return modality.composite.how if modality.composite is not None else ""


def _band_table(name: str, layer: LayerPlan, plan: StoredPlan, estimated: Estimated) -> BandTable:
    summary = estimated.band(layer.group, name)
    band = next(band for band in scene_bands(plan.example(layer.modality)) if band.name == name)
    return BandTable(
        name=name,
        common_name=band.common_name,
        centre_nm=band.centre_nm,
        fwhm_nm=band.fwhm_nm,
        polarisation=band.polarisation,
        mean=None if summary is None else summary.mean,
        std=None if summary is None else summary.std,
        count=0 if summary is None else summary.count,
    )


def source_tables(plan: StoredPlan, chips: pa.Table) -> Iterator[SourceTable]:
    """One entry per layer and collection, with the items that kept chips were cut from; of a label source that is a
    file or a server, which has no items, one per licence.
    """
    labels = plan.recipe.labels.sources if plan.recipe.labels is not None else {}
    for layer in sorted({*plan.offered, *labels}):
        if layer in labels and labels[layer].href is not None:
            yield from tables_of_file(layer, labels[layer].kind, chips)
            continue
        modality = plan.recipe.modalities.get(layer)
        joined = pc.unique(_flat(chips, f"{layer}.item_ids", pa.string())).drop_null().to_pylist()
        used = {item for one in joined for item in split_ids(one)}
        items = list(plan.scenes(layer, used if modality is not None else None))
        if modality is not None and not items and plan.offered[layer]:
            items = [plan.example(layer)]
        for key in sorted({(item.catalog, item.collection, item.licence) for item in items}):
            members = [item for item in items if (item.catalog, item.collection, item.licence) == key]
            redistributable = load_sensor(modality.sensor).may_be_given_on(key[2]) if modality else True
            entry = licence_entry(layer, key[2], "; ".join(sorted({i.attribution for i in members})), redistributable)
            attribution, licence = publishable(entry["attribution"]), publishable(key[2])
            yield SourceTable(
                layer=layer,
                catalog=key[0],
                collection=key[1],
                licence=licence,
                attribution=attribution,
                share_alike=entry["share_alike"],
                non_commercial=entry["non_commercial"],
                redistributable=redistributable,
                items=tuple(sorted(i.item_id for i in members if i.item_id in used or modality is None)),
            )


def tables_of_file(layer: str, kind: str, chips: pa.Table) -> Iterator[SourceTable]:
    """What the chips say of a label source that no catalog describes: one per licence, its kind as the collection."""
    entries = pc.list_flatten(chips["licences"]).combine_chunks()
    entries = entries.filter(pc.equal(entries.field("layer"), layer))
    told = pa.table({name: entries.field(name) for name in ("id", "attribution")})
    found: dict[str, set[str]] = {}
    for one in told.group_by(["id", "attribution"]).aggregate([]).to_pylist():
        found.setdefault(one["id"], set()).add(one["attribution"])
    for licence, attributions in sorted(found.items()):
        entry = licence_entry(layer, licence, "; ".join(sorted(attributions - {""})))
        yield SourceTable(
            layer=layer,
            catalog="",
            collection=kind,
            licence=licence,
            attribution=entry["attribution"],
            share_alike=entry["share_alike"],
            non_commercial=entry["non_commercial"],
        )


def fused_licences(chips: pa.Table) -> list[dict[str, Any]]:
    """Under which licences the fused labels of the chips stand, as `SourceTable` names it, each with all who are cited;
    none without fusion.
    """
    fields = {"licence", "attribution", "share_alike", "non_commercial"}
    found = []
    for table in tables_of_file(FUSED, "", chips):
        cited = "; ".join(dict.fromkeys(table.attribution.split("; ")))
        told = {"licence": publishable(table.licence), "attribution": publishable(cited)}
        found.append(table.model_dump(include=fields) | told)
    return found


def split_facts(job: Job, chips: pa.Table) -> dict[str, Any]:
    """The split's rule, and what could leak between its parts."""
    cells = CellTable(
        _strings(chips, "chip_id"),
        chips["epsg"].to_numpy().astype(np.int32),
        _flat(chips, "bounds_xyxy", pa.float64()).to_numpy().reshape(-1, 4),
        _strings(chips, "region"),
        _strings(chips, "majortom_cell"),
    )
    items, dates = Ragged(), Ragged()
    vocabulary: dict[str, int] = {}
    for name in job.recipe.modalities:
        items.extend(*_items(chips, f"{name}.item_ids", vocabulary))
        dates.extend(*_days(chips, f"{name}.datetimes"))
    splits, units = _strings(chips, "split"), _strings(chips, "block_id")
    return job.recipe.split.said() | {"leakage": leakage_report(cells, splits, units, items, dates)}


def fused_facts(job: Job, chips: pa.Table) -> dict[str, Any]:
    """What every label layer holds by split; empty without labels."""
    names = [f"label.{name}" for name in (job.recipe.labels.sources if job.recipe.labels is not None else ())]
    wanted = [f"{name}.{ending}" for name in (*names, FUSED) for ending in ("fractions", "known_pixels")]
    there = [name for name in ("split", *wanted) if name in chips.column_names]
    return label_statistics(row for batch in chips.select(there).to_batches(ROWS_AT_ONCE) for row in batch.to_pylist())


class Ragged(Sequence[list[int]]):
    """For each chip some numbers, out of flat arrays: a million chips without a million lists."""

    def __init__(self) -> None:
        self.parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def extend(self, first: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Further numbers of every chip.

        Args:
            first: (chips + 1,) where each chip's values begin.
            values: all of them.
        """
        self.parts.append((first, values))

    def __len__(self) -> int:
        return len(self.parts[0][0]) - 1 if self.parts else 0

    @overload
    def __getitem__(self, number: int) -> list[int]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[int]]: ...

    def __getitem__(self, number: int | slice) -> list[int] | list[list[int]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return [value for first, values in self.parts for value in values[first[number] : first[number + 1]].tolist()]


def _items(chips: pa.Table, name: str, vocabulary: dict[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items behind a column's dates, as numbers of the vocabulary, which grows."""
    first, joined = _begins(chips, name), _flat(chips, name, pa.string()).fill_null("").dictionary_encode()
    apart = [split_ids(one) for one in joined.dictionary.to_pylist()]
    lists = [[vocabulary.setdefault(item, len(vocabulary)) for item in one] for one in apart]
    codes = joined.indices.to_numpy()
    sizes = np.array([len(one) for one in lists], np.int64)[codes]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)[codes]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    at = np.repeat(starts - ends[:-1], sizes) + np.arange(ends[-1])
    return ends[first], np.array([number for one in lists for number in one], np.int64)[at]


def _days(chips: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The days of a column of times; one that is null is none."""
    first, times = _begins(chips, name), _flat(chips, name, TIME)
    there = times.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(there)]).astype(np.int64)
    return ends[first], times.drop_null().cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64)


def _begins(chips: pa.Table, name: str) -> NDArray[np.int64]:
    """(chips + 1,) where each chip's values begin in a column of lists; zeros where there is no such column."""
    counts = np.zeros(len(chips), np.int64)
    if name in chips.column_names:
        counts = pc.list_value_length(chips[name]).fill_null(0).to_numpy().astype(np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _flat(chips: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """The values of a column of lists, all chips' behind each other; none where there is no such column."""
    if name not in chips.column_names:
        return pa.array([], kind)
    return pc.list_flatten(chips[name]).combine_chunks()


def _strings(chips: pa.Table, name: str) -> NDArray[np.str_]:
    return np.array(chips[name].to_pylist(), dtype=np.str_)
