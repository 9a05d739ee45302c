"""Items that came, went or were changed since a version froze its own: why a refresh touches the chips under them."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.before import Before
from flows.frozen_items import ITEMS
from flows.plan_store import PAIRS, StoredPlan
from schemas.errors import UnsupportedItemError
from schemas.recipe import Recipe
from shards.guard import redact
from shards.layout import version_path
from shards.storage import Storage
from shards.stored_tables import file_of
from sources.items import content_hash
from sources.stac_index import IndexCatalog
from sources.stac_index_columns import CATALOG_COLUMN

TAKEN_OUT = redact("/tmp/x")
"""What stands in the place of a path of a machine."""
NAMED = 2
"""So many ids stand in a line."""


@dataclass(frozen=True)
class ItemChanges:
    """Items of a modality or label source, against the parent's."""

    new: tuple[str, ...] = ()
    """Ids over touched chips that the parent did not know."""
    changed: tuple[str, ...] = ()
    """Ids over touched chips whose items say something else now."""
    gone: tuple[str, ...] = ()
    """Ids that the parent was made of and the plan is not: withdrawn, processed anew, or away from its chips."""

    def words(self) -> str:
        """For people: how many, and the first of each.

        >>> ItemChanges(("a", "b", "c"), (), ("d",)).words()
        '3 new (a, b, ...), 1 gone (d)'
        """
        said = {"new": self.new, "changed": self.changed, "gone": self.gone}
        return ", ".join(
            f"{len(ids)} {what} ({', '.join([*ids[:NAMED], *['...'][: len(ids) > NAMED]])})"
            for what, ids in said.items()
            if ids
        )


def item_changes(
    storage: Storage, before: Before, plan: StoredPlan, over: Mapping[str, Mapping[str, str]]
) -> dict[str, ItemChanges]:
    """Modality or label source -> what became of its items; those of which nothing is to be told are left out.

    Args:
        storage: the dataset's root.
        before: the parent.
        plan: the plan.
        over: modality or label source -> id -> content hash of the items over the chips that it touched.
    """
    path = f"{version_path(before.version)}/{ITEMS}"
    if storage.size(path) is None:
        return {}
    used: dict[str, set[str]] = defaultdict(set)
    for source in before.document.sources:
        used[source.layer].update(source.items)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(file_of(storage, before.document, ITEMS))
        file.flush()
        known = _hashes(Path(file.name), plan.recipe, {item_id for found in over.values() for item_id in found})
    planned = _planned(plan)
    changes = {}
    for name in sorted(plan.offered):
        now = over.get(name, {})
        ground_range = plan.recipe.modalities[name].ground_range if name in plan.recipe.modalities else None
        is_told = ground_range is None  # else its hash counts the elevation that it is corrected with, too
        changes[name] = ItemChanges(
            tuple(sorted(now.keys() - known.keys())),
            tuple(sorted(i for i, found in now.items() if is_told and known.get(i) and found not in known[i])),
            tuple(sorted(used[name] - planned.get(name, set()))),
        )
    return {name: found for name, found in changes.items() if found != ItemChanges()}


def _hashes(path: Path, recipe: Recipe, wanted: set[str]) -> dict[str, set[str]]:
    """Id -> content hashes of the frozen items that have it: ids are unique in a collection only.

    None where it is not known any more: published items lose paths of their machine (`flows.published_items`).
    """
    table = pq.read_table(path, columns=["id", CATALOG_COLUMN])
    rows: dict[str, list[int]] = defaultdict(list)
    for row, (item_id, catalog) in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True)):
        if item_id in wanted:
            rows[catalog].append(row)
    found: dict[str, set[str]] = defaultdict(set)
    for catalog, numbers in rows.items():
        alternate = recipe.catalogs[catalog].alternate if catalog in recipe.catalogs else None
        index = IndexCatalog(str(path), allow_local=True, alternate=alternate)
        for item in index.delivered(numbers):
            hashes = found[str(item["id"])]
            if TAKEN_OUT not in json.dumps(item["assets"]):
                with suppress(UnsupportedItemError):  # it was refused then, too
                    hashes.add(content_hash(index.as_found(item)))
    return dict(found)


def _planned(plan: StoredPlan) -> dict[str, set[str]]:
    """Modality or label source -> ids of its items over planned chips."""
    ids = pq.read_table(plan.items.path, columns=["id"])["id"]
    pairs = pq.read_table(plan.folder / PAIRS, columns=["layer", "item"])
    return {
        name: set(ids.take(pc.unique(pairs.filter(pc.equal(pairs["layer"], name))["item"])).to_pylist())
        for name in plan.offered
    }
