"""What a refresh will do and cost, told before anything is spent: its chips, why, bytes, shards, texts, time.

From what `flows.looking` finds alone: no pixel is read. Bytes, requests and time are those of `chips.estimate`, over
the touched chips and what of them is read again. At most, as there: what is rejected, or found in ``work/``, is less.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from captioners.estimate import estimate_calls
from chips.estimate import Estimate, estimate
from chips.estimate import Touched as Pairs
from chips.inputs import PLACE, REGISTER, SCREEN, WRITE, steps_of
from flows.before import Before
from flows.beside import Work, read_beside
from flows.bucketing import lay_out
from flows.changed_items import ItemChanges, item_changes
from flows.compare import NEW, Touched, other_layers
from flows.frozen_items import terrain_of
from flows.job import Job
from flows.label_files import KNOWN
from flows.looking import Look, look, plan_to_go_on_with
from flows.plan_figures import beside_figures
from flows.plan_store import StoredPlan
from flows.planning import SAMPLE
from flows.request import BuildRequest, cache_folder, run_folder
from flows.run_marks import READING, RUN
from flows.steps import STEPS
from schemas.chip import ChipSpec, Tile
from schemas.recipe import Recipe
from schemas.scene import SceneItem
from shards.history import keys_that_differ
from shards.storage import Storage
from sources.osm import edition_of, kept_extract

SAME_WORDS = frozenset({PLACE, REGISTER, SCREEN, WRITE})
"""Components of which no fact follows: what a model was asked is in the ledger, and is not asked again."""
NOTHING = Estimate(0, 0, 0, 0, 0, 0)
"""What a refresh costs that touches no chip."""


@dataclass(frozen=True)
class Forecast:
    """What a refresh will do."""

    version: str
    """It starts from."""
    is_nothing_new: bool
    """Whether nothing is published."""
    planned: int
    """Chips."""
    touched: Mapping[str, Touched]
    """Chips that are made again, or for the first time."""
    unchanged: int
    """Chips that stay as they are."""
    still_rejected: int
    """Chips that stay rejected, unread."""
    again: tuple[str, ...]
    """Touched chips that failed or were rejected before."""
    gone: tuple[str, ...]
    """Chips that are planned no more."""
    recipe: tuple[str, ...] = ()
    """Keys of the recipe that differ, dotted."""
    steps: tuple[str, ...] = ()
    """Steps of this software whose version differs."""
    items: Mapping[str, ItemChanges] = field(default_factory=dict)
    """Modality or label source -> its items."""
    cost: Estimate = NOTHING
    """Of reading the touched chips; its ``disk_bytes`` count what is read and are no size of shards."""
    shards: int = 0
    """Tars of the version."""
    shards_written: int = 0
    """How many of them are written."""
    shard_bytes: int = 0
    """Their bytes, about."""
    calls: Mapping[str, Any] = field(default_factory=dict)
    """`captioners.estimate.estimate_calls` of the chips that a model is asked about; empty where none is asked."""
    currency: str = ""
    """Of its cost."""
    notes: tuple[str, ...] = ()
    """Of the plan, and of splits that are others."""

    @property
    def new(self) -> tuple[str, ...]:
        """Chips that the parent did not plan."""
        return tuple(sorted(chip_id for chip_id, one in self.touched.items() if NEW in one.why))

    @property
    def changed(self) -> tuple[str, ...]:
        """Chips that the parent holds, and that are made again."""
        return tuple(sorted(self.touched.keys() - {*self.new, *self.again}))

    def why(self) -> dict[str, int]:
        """Component -> chips that it touched."""
        found: dict[str, int] = defaultdict(int)
        for one in self.touched.values():
            for name in one.why:
                found[name] += 1
        return dict(sorted(found.items()))

    def chips_line(self) -> str:
        """Its chips in a line."""
        counts = {"new": len(self.new), "changed": len(self.changed), "tried again": len(self.again),
                  "unchanged": self.unchanged, "still rejected": self.still_rejected}  # fmt: skip
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{self.planned} planned ({said}){f'; {len(self.gone)} not planned any more' if self.gone else ''}"

    def figures(self) -> dict[str, Any]:
        """What a page shows of it in numbers."""
        found = {"chips_new": len(self.new), "chips_changed": len(self.changed), "chips_tried_again": len(self.again),
                 "chips_unchanged": self.unchanged, "chips_gone": len(self.gone)}  # fmt: skip
        found |= {f"because_of_{name}": count for name, count in self.why().items()}
        found |= {"read_bytes_about": self.cost.read_bytes, "requests_about": self.cost.requests,
                  "window_bytes_about": self.cost.window_bytes, **beside_figures(self.cost.beside),
                  "shards_written": self.shards_written, "shard_bytes_about": self.shard_bytes}  # fmt: skip
        calls = {f"llm_{name}": self.calls[name] for name in ("calls", "cost")} if self.calls else {}
        return {**found, **calls}

    def as_dict(self, workers: int) -> dict[str, Any]:
        """As JSON.

        Args:
            workers: who read.
        """
        items = {name: {k: list(ids) for k, ids in vars(one).items()} for name, one in self.items.items()}
        return {
            "version": self.version,
            "publishes": not self.is_nothing_new,
            "planned": self.planned,
            "new": list(self.new),
            "changed": list(self.changed),
            "again": list(self.again),
            "gone": list(self.gone),
            "unchanged": self.unchanged,
            "still_rejected": self.still_rejected,
            "why": self.why(),
            "chips": {i: {"why": sorted(t.why), "read": sorted(t.read)} for i, t in sorted(self.touched.items())},
            "recipe": list(self.recipe),
            "steps": list(self.steps),
            "items": items,
            "read_bytes_about": self.cost.read_bytes,
            "requests_about": self.cost.requests,
            "window_bytes_about": self.cost.window_bytes,
            **beside_figures(self.cost.beside),
            "seconds_about": round(self.cost.seconds(workers), 1),
            "shards": self.shards,
            "shards_written": self.shards_written,
            "shard_bytes_about": self.shard_bytes,
            "llm": {**self.calls, "currency": self.currency} if self.calls else {},
            "notes": list(self.notes),
        }


def look_ahead(request: BuildRequest) -> Forecast | None:
    """What a refresh would do now; None where no version says what decided its chips, so that all of it is done.

    Asks the catalogs as a refresh does; writes nothing but a folder that goes again.

    Args:
        request: as for the refresh.
    """
    with tempfile.TemporaryDirectory(prefix="terraweft-refresh-") as scratch:
        work = Path(scratch)
        if (request.work / KNOWN).is_file():  # hashes of large files
            shutil.copyfile(request.work / KNOWN, work / KNOWN)
        marks = [run_folder(one) for one in (request, replace(request, work=work))]
        for mark in (marks[0] / name for name in (RUN, READING)):  # by which a run finds what it fetched before
            if mark.is_file():
                marks[1].mkdir(parents=True, exist_ok=True)
                shutil.copyfile(mark, marks[1] / mark.name)
        left = plan_to_go_on_with(request) if request.plan is None else None
        plan = left.folder if left is not None else request.plan
        found = look(replace(request, work=work, plan=plan))
        found = replace(found, job=replace(found.job, cache=cache_folder(request)))
        return None if found.before is None else forecast(request.storage, found)


def forecast(storage: Storage, found: Look) -> Forecast:
    """What the run that was looked at will do.

    Args:
        storage: the dataset's root.
        found: with a parent.

    Raises:
        ValueError: it has none.
    """
    before, outlook, plan, recipe = found.before, found.outlook, found.plan, found.job.recipe
    if before is None:
        raise ValueError("a first build refreshes nothing")
    seen = _walk(plan, outlook.touched or {})
    touched = {chip_id: one for of_tile in (outlook.touched or {}).values() for chip_id, one in of_tile.items()}
    unchanged = sum(chip_id in before.places for chip_id in outlook.untouched)
    known = [chip_id for chip_id in touched if chip_id in before.inputs and chip_id not in before.places]
    cost = _cost(plan, seen, found.job) if touched else NOTHING
    written, shards, size = _shards(found, before, seen.splits)
    used = steps_of(found.job.parts)
    asked = sum(bool(one.why - SAME_WORDS) for one in touched.values())
    captions = recipe.captions if recipe.captions is not None and recipe.captions.may_ask else None
    return Forecast(
        version=before.version,
        is_nothing_new=outlook.is_nothing_new,
        planned=len(touched) + len(outlook.untouched),
        touched=touched,
        unchanged=unchanged,
        still_rejected=len(outlook.untouched) - unchanged,
        again=tuple(sorted(known)),
        gone=outlook.removed,
        recipe=_edited(before.document.recipe, recipe),
        steps=tuple(step for step in keys_that_differ(before.document.steps, dict(STEPS)) if step in used),
        items=item_changes(storage, before, plan, seen.items) if touched else {},
        cost=cost,
        shards=shards,
        shards_written=written,
        shard_bytes=size,
        calls=estimate_calls(captions, asked) if captions is not None else {},
        currency=captions.prices.currency if captions is not None else "",
        notes=outlook.notes() + plan.notes + plan.left_out(),
    )


def _edited(before: Mapping[str, Any], recipe: Recipe) -> tuple[str, ...]:
    """Keys of the recipe that differ: not those that this software knows beside, where the recipe says nothing of them.

    Args:
        before: the recipe of the parent, with all keys that the software of its day knew.
        recipe: the recipe now.
    """
    now, said = (recipe.model_dump(mode="json", by_alias=True, exclude_defaults=only) for only in (False, True))
    return tuple(keys_that_differ(_with_later_keys(before, now, said), now))


def _with_later_keys(before: Any, now: Any, said: Any) -> Any:
    """``before`` with the keys that it lacks and that are at their default now: those that ``said`` lacks, too."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        said = said if isinstance(said, Mapping) else {}
        later = {key: value for key, value in now.items() if key not in before and key not in said}
        known = {key: _with_later_keys(value, now.get(key), said.get(key)) for key, value in before.items()}
        return later | known
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        said = said if isinstance(said, list) else [{}] * len(now)
        return [_with_later_keys(*one) for one in zip(before, now, said, strict=True)]
    return before


@dataclass
class _Seen:
    """What the touched tiles hold."""

    chips: list[int] = field(default_factory=list)
    """Touched chips of each tile."""
    pairs: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Modality -> (tile, chips that read it and that the item touches, item)."""
    splits: dict[str, str] = field(default_factory=dict)
    """Touched chip -> its split now."""
    sample: list[ChipSpec] = field(default_factory=list)
    """Some of them, for their size."""
    whole: list[int] = field(default_factory=list)
    """All chips of each of these tiles, which labels are read over."""
    beside: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Label source, or elevation of a modality -> as `pairs`, of all chips."""
    scenes: dict[str, dict[str, tuple[int, SceneItem]]] = field(default_factory=lambda: defaultdict(dict))
    """Label source -> id of an item over the tiles -> its number and itself."""
    items: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Modality or label source -> id of an item over the chips that it touched -> its content hash."""


def _walk(plan: StoredPlan, touched: Mapping[int, Mapping[str, Touched]]) -> _Seen:
    seen, total = _Seen(), sum(map(len, touched.values()))
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for index, (number, of_tile) in enumerate(sorted(touched.items())):
        whole = plan.tile(number)
        tile = whole.only(of_tile)
        seen.chips.append(len(tile.chips))
        _walk_beside(plan, seen, index, whole, {name for one in of_tile.values() for name in one.read})
        for spec in tile.chips:
            if len(seen.splits) * SAMPLE >= len(seen.sample) * total:
                seen.sample.append(spec)
            seen.splits[spec.chip_id] = spec.split
        for name, over in _items_over(tile, tile.items).items():
            is_read = np.array([name in of_tile[spec.chip_id].read for spec in tile.chips])
            component = name if name in plan.recipe.modalities else "labels"
            is_why = np.array([bool(of_tile[s.chip_id].why & {component, NEW}) for s in tile.chips])
            for item, lies_over in zip(tile.items[name], over, strict=True):
                count = int((lies_over & is_read).sum())
                if count:
                    row = numbers[name].setdefault(item.item_id, len(numbers[name]))
                    seen.pairs[name].append((index, count, row))
                if (lies_over & is_why).any():
                    seen.items[name][item.item_id] = item.content_hash
    return seen


def _walk_beside(plan: StoredPlan, seen: _Seen, index: int, tile: Tile, read: Collection[str]) -> None:
    """Labels over a tile, and elevation where radar is read."""
    seen.whole.append(len(tile.chips))
    sources = plan.recipe.labels.sources if plan.recipe.labels else {}
    for name, over in _items_over(tile, sources).items():
        for item, count in zip(tile.items[name], over.sum(axis=1).tolist(), strict=True):
            if count:
                row, _ = seen.scenes[name].setdefault(item.item_id, (len(seen.scenes[name]), item))
                seen.beside[name].append((index, count, row))
    outlines = np.asarray(shapely.from_wkb([spec.footprint_wkb for spec in tile.chips]))
    for name in plan.items.heights.keys() & read:
        over = shapely.intersects(plan.items.heights[name].footprint[:, None], outlines[None, :]).sum(axis=1)
        rows = np.flatnonzero(over)
        seen.beside[terrain_of(name)] += [(index, int(over[row]), int(row)) for row in rows]


def _items_over(tile: Tile, names: Collection[str]) -> dict[str, Any]:
    """Modality or label source -> (items, chips), whether the one lies over the other."""
    chips = np.asarray(shapely.from_wkb([spec.footprint_wkb for spec in tile.chips]))
    over = {}
    for name, found in tile.items.items():
        if name not in names:
            continue
        grounds = np.asarray(shapely.from_wkb([item.footprint_wkb for item in found]), dtype=object)
        over[name] = shapely.intersects(grounds[:, None], chips[None, :])
    return over


def _cost(plan: StoredPlan, seen: _Seen, job: Job) -> Estimate:
    pairs = {name: _columns(seen.pairs.get(name, [])) for name in plan.recipe.modalities}
    names = dict.fromkeys(layer.modality for layer in plan.layers)
    examples = {name: plan.example(name) for name in names}
    bands = {h: n for name in names for h, n in plan.items.file_bands(name, plan.examples[name]).items()}
    chips, beside = np.array(seen.whole), {name: _columns(found) for name, found in seen.beside.items()}
    scenes = {name: [item for _, item in found.values()] for name, found in seen.scenes.items()}
    read = [examples[name] for name in names if seen.pairs.get(name)]
    work = Work(plan.recipe, plan.items, chips, beside, scenes, seen.sample, read, partial(_is_kept, job.fetched))
    cost = estimate(plan.recipe, plan.layers, np.array(seen.chips), pairs, examples, bands, seen.sample)
    return replace(cost, beside=read_beside(work))


def _columns(rows: Sequence[tuple[int, int, int]]) -> Pairs:
    return Pairs(*np.array(rows, np.int64).reshape(-1, 3).T)


def _is_kept(fetched: Path, file: SceneItem | str) -> bool:
    """Whether a file was fetched whole by an earlier run."""
    href, edition = (file, None) if isinstance(file, str) else (file.refs[0].href, edition_of(file))
    return kept_extract(href, fetched, edition=edition).is_file()


def _shards(found: Look, before: Before, splits: Mapping[str, str]) -> tuple[int, int, int]:
    """Tars that are written, all tars, and the bytes of those that are written, were every touched chip kept."""
    recipe, plan = found.job.recipe, found.plan
    stored = [one.segment.length for one in before.places.values()]
    planned = round(plan.estimate.disk_bytes / len(recipe.write.kinds) / max(1, plan.estimate.chips))
    is_same = not other_layers(recipe, plan.layers, before.document.modalities)
    usual = round(sum(stored) / len(stored)) if stored and is_same else planned

    def size_of(chip_id: str) -> int:
        place = before.places.get(chip_id)
        return place.segment.length if place is not None and is_same else usual

    nowhere = Path()
    places = {chip_id: (split, nowhere, nowhere) for chip_id, split in splits.items()}
    layout = lay_out(found.job, places, found.outlook, before, size_of)
    members = [member for chips in layout.write.values() for member in chips]
    size = sum(m.segment.length if not isinstance(m, tuple) else size_of(m[0]) for m in members)
    return len(layout.write), len(layout.write) + len(layout.keep), size
