"""Items that a catalog no longer has: `withdrawn` compares a plan's items with those of the plan before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import shapely
from shapely.geometry import box

from schemas.recipe import LonLatBox

MOST_NAMED = 20
"""So many ids stand in a note; of more the number is told."""


@dataclass(frozen=True)
class UsedItem:
    """An item that an earlier plan used."""

    collection: str
    """STAC collection id."""
    item_id: str
    """STAC item id."""
    moment: datetime | None
    """Acquisition time."""
    footprint: Any
    """Shapely geometry in EPSG:4326, or None."""


def used_items(table: Path | BinaryIO) -> list[UsedItem]:
    """Items of a plan's or version's ``items.parquet``; none where there is no such file."""
    if isinstance(table, Path) and not table.is_file():
        return []
    file = pq.ParquetFile(table)
    names = file.schema_arrow.names
    id_column = "id" if "id" in names else "item_id"
    columns = [name for name in (id_column, "collection", "datetime", "geometry") if name in names]
    rows = file.read(columns=columns).to_pylist()
    return [
        UsedItem(
            str(row["collection"]),
            str(row[id_column]),
            row.get("datetime"),
            shapely.from_wkb(row["geometry"]) if row.get("geometry") else None,
        )
        for row in rows
    ]


def withdrawn(
    before: Sequence[UsedItem],
    now: Mapping[str, Collection[str]],
    boxes: Sequence[LonLatBox],
    window: tuple[datetime, datetime],
    replaced: Collection[str] = (),
) -> list[str]:
    """One line for each collection that lost items since.

    Args:
        before: items of the earlier plan.
        now: collection -> ids that the catalogs give now; other collections are not compared.
        boxes: where was searched now: what lies elsewhere was not looked for.
        window: when, likewise.
        replaced: ids of which a newer processing is used: they are told of elsewhere.
    """
    ground = shapely.union_all([box(*part) for part in boxes]) if boxes else None
    lost: dict[str, list[str]] = {}
    for item in before:
        if item.collection not in now or item.item_id in now[item.collection] or item.item_id in replaced:
            continue
        was_asked = ground is not None and (item.footprint is None or ground.intersects(item.footprint))
        if was_asked and (item.moment is None or window[0] <= item.moment <= window[1]):
            lost.setdefault(item.collection, []).append(item.item_id)
    return [_line(collection, sorted(set(ids))) for collection, ids in sorted(lost.items())]


def _line(collection: str, ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"{collection}: {len(ids)} item(s) withdrawn since they were last used: {', '.join(ids[:MOST_NAMED])}{more}"
