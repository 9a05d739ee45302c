"""Searches whose items go to disk as they come: whole, each item once, and nothing of a catalog that failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.frozen_items import _IntoIndex
from schemas.errors import CatalogError, UserError
from sources.breaker import Breaker
from sources.search import MOST_YEARS, Provider, search_in_order, years_of
from sources.stac_index import IndexCatalog
from sources.stac_index_write import IndexWriter

BOXES = [(0.0, 0.0, 10.0, 5.0), (10.0, 0.0, 20.0, 5.0)]
WINDOW = (datetime(2019, 6, 1, tzinfo=UTC), datetime(2021, 3, 1, tzinfo=UTC))


def _item(number: int, west: float) -> dict[str, Any]:
    ring = [[west, 1.0], [west + 3, 1.0], [west + 3, 2.0], [west, 2.0], [west, 1.0]]
    moment = WINDOW[0] + timedelta(days=60 * number)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"i{number}",
        "collection": "k",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, 1.0, west + 3, 2.0],
        "properties": {"datetime": moment.isoformat()},
        "links": [],
        "assets": {},
    }


ITEMS = [_item(number, west) for number, west in enumerate((1.0, 8.0, 15.0, 2.0, 9.0, 16.0, 3.0))]


class Client:
    """A catalog of `ITEMS`, which may fail in mid-search; it remembers what it was asked."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at, self.asked = fails_at, list[tuple[Any, ...]]()

    def search(self, collection: str, box: Any, start: datetime, end: datetime, where: Any) -> list[dict[str, Any]]:
        if len(self.asked) == self.fails_at:
            raise CatalogError("is gone", "http://a/")
        self.asked.append((box, start, end))
        moments = {item["id"]: datetime.fromisoformat(item["properties"]["datetime"]) for item in ITEMS}
        return [
            item
            for item in ITEMS
            if item["bbox"][0] <= box[2] and item["bbox"][2] >= box[0] and start <= moments[item["id"]] <= end
        ]

    def left_out(self, collection: str) -> dict[str, str]:
        return {}


def _frozen(path: Path, clients: dict[str, Client]) -> tuple[list[str], Sequence[str]]:
    writer = IndexWriter(path)
    writer.add([_item(99, 1.0)], "earlier")  # of another modality: stays whatever happens
    providers = [Provider(name, "k") for name in clients]
    found = search_in_order(providers, clients.__getitem__, BOXES, WINDOW, Breaker(), _IntoIndex(writer))
    count = writer.close()
    index = IndexCatalog(str(path))
    assert len(index) == count
    return sorted(item["id"] for item in index.delivered(range(count))), found.notes


def test_every_item_is_frozen_once_a_box_and_a_year_at_a_time(tmp_path: Path) -> None:
    client = Client()
    ids, _ = _frozen(tmp_path / "items.parquet", {"c": client})
    assert ids == sorted([*(item["id"] for item in ITEMS), "i99"])
    assert len(client.asked) == len(BOXES) * 3
    assert all(end.year - start.year <= 1 for _, start, end in client.asked)


def test_nothing_of_a_catalog_that_failed_in_the_middle_is_frozen(tmp_path: Path) -> None:
    ids, notes = _frozen(tmp_path / "items.parquet", {"bad": Client(fails_at=4), "good": Client()})
    assert ids == sorted([*(item["id"] for item in ITEMS), "i99"])
    index = IndexCatalog(str(tmp_path / "items.parquet"), frozen="bad")
    assert len(index.select("k", BOXES, *WINDOW)) == 0
    assert notes[0] == "catalog bad cannot be used: is gone"


@given(st.datetimes(datetime(1980, 1, 1), datetime(2030, 1, 1)), st.integers(0, 120 * 365))
def test_years_join_to_the_whole_window(start: datetime, days: int) -> None:
    end = start + timedelta(days=days)
    parts = years_of((start, end))
    assert (parts[0][0], parts[-1][1]) == (start, end)
    assert all(one[1] == other[0] for one, other in pairwise(parts))
    assert len(parts) == (end.year - start.year + 1 if end.year - start.year <= MOST_YEARS else 1)
    assert years_of((None, end)) == [(None, end)]


def test_a_catalog_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    clients = {"first": Client(fails_at=0), "last": Client(fails_at=0)}
    with pytest.raises(UserError, match="is gone"):
        search_in_order([Provider(name, "k") for name in clients], clients.__getitem__, BOXES, WINDOW, Breaker())
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["first"]
