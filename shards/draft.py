"""What the pipeline hands in to publish: `Draft`, and whether it holds together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.chip import Outcome
from schemas.dataset import LayerTable, SourceTable, ZarrCodec
from schemas.errors import DatasetError, IntegrityError, RecipeError
from shards.outcome_tables import run_table
from shards.tar import WrittenShard
from shards.text_table import texts_table


@dataclass(frozen=True)
class Draft:
    """A version, ready to be published: its shards are on disk, all else is here."""

    name: str
    """Name of the dataset."""
    created: datetime
    """UTC time of the version; gives its name."""
    recipe: Mapping[str, Any]
    """Resolved recipe, without secrets and local paths."""
    recipe_hash: str
    """What names the run."""
    code_version: str
    """Version of Terraweft."""
    layers: tuple[LayerTable, ...]
    """Band tables with statistics, in the recipe's order."""
    chips: pa.Table
    """One row per kept chip: `shards.tables.chips_table`."""
    outcomes: Sequence[Outcome]
    """One per planned chip."""
    shards: Sequence[WrittenShard]
    """What `shards.tar.write_shard` returned."""
    sources: tuple[SourceTable, ...]
    """What was read, with licences."""
    texts: pa.Table = field(default_factory=lambda: texts_table(()))
    """Text records: `shards.tables.texts_table`."""
    run_rows: pa.Table = field(default_factory=lambda: run_table(()))
    """Of run.parquet: `shards.tables.run_table`."""
    title: str = ""
    """For people."""
    description: str = ""
    """For people: stands in the card."""
    limits: tuple[str, ...] = ()
    """Known limits: sentences for the card."""
    steps: Mapping[str, str] = field(default_factory=dict)
    """Step -> declared version."""
    software: Mapping[str, str] = field(default_factory=dict)
    """Versions of what touched pixels."""
    legends: Mapping[str, Any] = field(default_factory=dict)
    """Label source -> legend as JSON; ``label`` -> the fused one."""
    crosswalk: Mapping[str, Any] = field(default_factory=dict)
    """Source -> crosswalk."""
    registration: Mapping[str, Any] = field(default_factory=dict)
    """``scene_shifts``: one row per pair of acquisitions."""
    near_duplicates: Sequence[Mapping[str, Any]] = ()
    """Pairs of chips that show the same place twice."""
    fusion: Mapping[str, Any] = field(default_factory=dict)
    """Method, estimated parameters, disagreement."""
    splits: Mapping[str, Any] = field(default_factory=dict)
    """Method and leakage; counts are added."""
    text_summary: Mapping[str, Any] = field(default_factory=dict)
    """counts, models, tokens, cost, verification rates."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """What differs from run to run."""
    private: bool = False
    """Allow layers that may not be given on."""
    zarr_shard_chips: int | None = 16
    """Chips per Zarr shard; None: no Zarr."""
    zarr_codec: ZarrCodec = "lz4"
    """How Zarr's measurements are packed."""
    label_nodata: Mapping[str, int] = field(default_factory=dict)
    """Label source -> value that pads it in Zarr, where the legend's first nodata code is not right."""
    estimates: Mapping[str, Any] | None = None
    """What was estimated over the whole dataset: a hashed input of the next version (``estimates.json``)."""
    estimated: Mapping[str, Any] = field(default_factory=dict)
    """Where: ``version`` (empty: this one), ``chips``, ``touched_since``, ``bands``, ``parts``, ``datasets``."""
    touched: Mapping[str, int] = field(default_factory=dict)
    """Component -> chips that it touched since the parent."""
    parent: str | None = None
    """Version that the pointer named when the work began (empty: none): it must name it still. None: whatever it
    names."""
    items: Callable[[Path], None] | None = None
    """Writes ``items.parquet``, the frozen items of the run."""
    report: Callable[[Path], None] | None = None
    """Writes ``report/index.html`` below the folder it is given, which `shards.reader.open_dataset` opens by
    name."""

    def counts(self) -> dict[str, Any]:
        """planned, kept, rejected by reason, failed by class."""
        states = Counter(outcome.state for outcome in self.outcomes)
        return {
            "planned": len(self.outcomes),
            "kept": states["kept"],
            "rejected": _count(o.reason for o in self.outcomes if o.state == "rejected"),
            "failed": _count(o.error_class or "unknown" for o in self.outcomes if o.state == "failed"),
        }


def _count(words: Any) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def check_draft(draft: Draft) -> None:
    """Raise where a draft may not become a version.

    Raises:
        IntegrityError: rows, outcomes and shards do not name the same chips, or a chip twice.
        RecipeError: nothing was kept, and nothing failed: so the recipe wants it, of these days.
        DatasetError: nothing was kept, since sources failed; or a layer may not be given on and the recipe does not say
            private.
    """
    planned = _once("outcomes", [outcome.chip_id for outcome in draft.outcomes])
    kept = {outcome.chip_id for outcome in draft.outcomes if outcome.state == "kept"}
    rows = _once("chips", draft.chips["chip_id"].to_pylist())
    stored = _once("shards", [chip_id for shard in draft.shards for chip_id in shard.record.chip_ids])
    if not planned:
        raise DatasetError("nothing was planned", where=draft.name, mend="the recipe's regions hold no chip")
    for what, found in (("chips.parquet", rows), ("the shards", stored)):
        if found != kept:
            odd = sorted(found ^ kept)
            raise IntegrityError(f"{what} and the kept outcomes differ by {len(odd)} chip(s), first {odd[0]}")
    if not kept:
        raise _nothing_kept(draft)
    strangers = sorted(set(pc.unique(draft.texts["chip_id"]).to_pylist()) - kept)
    if strangers:
        raise IntegrityError(f"texts of {len(strangers)} chip(s) that were not kept, first {strangers[0]}")
    splits = {record.split for record in (shard.record for shard in draft.shards)}
    of_rows = set(pc.unique(draft.chips["split"]).to_pylist())
    if splits != of_rows:
        raise IntegrityError(f"shards hold the splits {sorted(splits)}, rows {sorted(of_rows)}")
    _refuse_closed_layers(draft)


def _once(what: str, chip_ids: list[str]) -> set[str]:
    twice = [chip_id for chip_id, times in Counter(chip_ids).items() if times > 1]
    if twice:
        raise IntegrityError(f"{what} name {len(twice)} chip(s) twice, first {sorted(twice)[0]}")
    return set(chip_ids)


def _refuse_closed_layers(draft: Draft) -> None:
    closed = {source.layer: source.licence for source in draft.sources if not source.redistributable}
    entries = pc.list_flatten(draft.chips["licences"]).combine_chunks()
    refused = entries.filter(pc.equal(entries.field("redistributable"), pa.scalar(False)))
    closed |= dict(zip(refused.field("layer").to_pylist(), refused.field("id").to_pylist(), strict=True))
    if closed and not draft.private:
        named = ", ".join(f"{layer} ({licence})" for layer, licence in sorted(closed.items()))
        raise DatasetError(
            f"may not be given on: {named}",
            where=draft.name,
            mend="leave it out, or set publish.private: true",
        )


def _nothing_kept(draft: Draft) -> DatasetError | RecipeError:
    """Says why, and where the first failure was met: a source that fails is mended otherwise than a strict recipe."""
    reasons, wrong = draft.counts(), next((one for one in draft.outcomes if one.state == "failed"), None)
    told = [f"{name} {count}" for kind in ("rejected", "failed") for name, count in reasons[kind].items()]
    what = f"no chip was kept of {len(draft.outcomes)} ({', '.join(told)})"
    if wrong is None:
        return RecipeError(what, draft.name, "loosen the recipe's select and screen, or widen its time window")
    place = f" [{wrong.url}]" if wrong.url and wrong.url not in wrong.reason else ""
    first = f"{wrong.error_class}: {wrong.reason}{place}"
    return DatasetError(f"{what}; the first failure, {first}", draft.name, "mend the source and run the command again")
