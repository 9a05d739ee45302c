"""A search over pages that get lost, shift and repeat is whole in the end, or fails by name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import AccessDeniedError, AssetMissingError, CatalogError, SourceError, TransientSourceError
from sources.paging import PageLostError, PageRequest, gather, newest


def made(number: int, updated: str = "2024-01-01T00:00:00Z") -> dict[str, Any]:
    return {"id": f"i{number}", "collection": "c", "properties": {"updated": updated}}


class Pages:
    """A server of items by pages; what goes wrong is said by (pass, page)."""

    def __init__(self, count: int, **wrong: Any) -> None:
        self.count, self.wrong, self.passes = count, wrong, 0

    def first(self, limit: int) -> PageRequest:
        self.passes += 1
        return PageRequest("http://a/search", "POST", {"limit": limit, "token": 0})

    def read(self, request: PageRequest) -> Mapping[str, Any]:
        start, limit = int(request.body["token"]), int(request.body["limit"])
        number = start // limit + 1
        error = self.wrong.get("errors", {}).get((self.passes, number))
        if error is not None:
            raise error
        features = [made(i) for i in range(start, min(start + limit, self.count))]
        if (self.passes, number) in self.wrong.get("empty", ()):
            features = []
        if (self.passes, number) in self.wrong.get("repeats", ()):
            features = [made(max(start - 1, 0)), *features[1:]]
        page: dict[str, Any] = {"features": features, "links": []}
        if self.wrong.get("counts", True):
            page["numberMatched"] = self.wrong.get("matched", self.count)
        follows = start + limit < self.count and (self.passes, number) not in self.wrong.get("unlinked", ())
        if follows:
            token = start if self.wrong.get("circle") else start + limit
            page["links"] = [
                {"rel": "next", "href": "search", "method": "POST", "merge": True, "body": {"token": token}}
            ]
        return page

    def ids(self) -> list[str]:
        return sorted(item["id"] for item in gather(self.read, self.first))

    @property
    def all_ids(self) -> list[str]:
        return sorted(f"i{i}" for i in range(self.count))


@pytest.mark.parametrize("count", [0, 1, 250, 251, 777])
def test_all_pages_are_read_once(count: int) -> None:
    pages = Pages(count)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 1


def test_a_lost_token_is_mended_by_another_pass() -> None:
    pages = Pages(600, errors={(1, 2): AssetMissingError("HTTP 404")})
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_a_page_lost_for_good_is_a_named_failure() -> None:
    errors: dict[tuple[int, int], SourceError] = {(n, 2): CatalogError("HTTP 400") for n in range(1, 9)}
    with pytest.raises(PageLostError, match="page 2 was lost: HTTP 400"):
        Pages(600, errors=errors).ids()


@pytest.mark.parametrize("error", [TransientSourceError("HTTP 500"), AccessDeniedError("HTTP 403")])
def test_what_may_go_better_later_is_not_called_lost(error: SourceError) -> None:
    with pytest.raises(type(error)):
        Pages(600, errors={(1, 2): error}).ids()


@pytest.mark.parametrize("wrong", [{"empty": [(1, 2)]}, {"unlinked": [(1, 1)]}])
def test_a_short_answer_of_status_200_is_asked_again(wrong: dict[str, Any]) -> None:
    pages = Pages(600, **wrong)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


@pytest.mark.parametrize("wrong", [{"empty": [(1, 2)]}, {"unlinked": [(1, 1)]}, {"unlinked": [(1, 2)]}])
def test_without_a_count_a_last_page_that_is_full_or_empty_is_doubted(wrong: dict[str, Any]) -> None:
    pages = Pages(610, counts=False, **wrong)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_a_full_last_page_that_was_the_last_costs_one_more_pass() -> None:
    pages = Pages(500, counts=False)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_a_count_that_is_an_estimate_is_not_waited_for() -> None:
    pages = Pages(10_300, matched=12_000)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_a_small_count_that_is_never_reached_is_a_named_failure() -> None:
    with pytest.raises(PageLostError, match="passes over the pages gave 600 items, the catalog counts 650"):
        Pages(600, matched=650).ids()


def test_items_that_shift_between_pages_are_found_by_a_second_pass() -> None:
    pages = Pages(610, repeats=[(1, 2)], counts=False)
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_an_item_that_is_always_given_twice_costs_one_more_pass() -> None:
    pages = Pages(600, repeats=[(n, 2) for n in range(1, 9)])
    assert pages.ids() == pages.all_ids
    assert pages.passes == 2


def test_a_catalog_that_holds_an_item_twice_and_counts_it_twice_is_believed() -> None:
    """It gave as many as it counts, and the same ones on two passes; no plan could be made of it."""
    pages = Pages(600)

    def read(request: PageRequest) -> Mapping[str, Any]:
        page = dict(pages.read(request))
        if not page["links"]:
            page["features"] = [*page["features"], made(3)]
        return {**page, "numberMatched": 601}

    assert sorted(item["id"] for item in gather(read, pages.first)) == pages.all_ids
    assert pages.passes == 2


def test_pages_that_go_in_circles_are_a_named_failure() -> None:
    with pytest.raises(PageLostError, match="there before"):
        Pages(600, circle=True).ids()


def test_of_two_states_of_an_item_the_one_updated_last_counts() -> None:
    old, new = made(1, "2024-01-01T00:00:00Z"), made(1, "2024-01-01T00:30:00+00:00")
    assert newest(old, new) is new
    assert newest(new, old) is new
    assert newest({"id": "i1", "properties": {}}, old) is old


pairs = st.sets(st.tuples(st.integers(1, 4), st.integers(1, 9)), max_size=12)


@settings(max_examples=40)
@given(st.integers(0, 900), pairs, pairs, pairs)
def test_whatever_is_lost_the_items_are_all_there_or_the_failure_has_a_name(
    count: int, lost: set[tuple[int, int]], empty: set[tuple[int, int]], unlinked: set[tuple[int, int]]
) -> None:
    errors: dict[tuple[int, int], SourceError] = {
        place: AssetMissingError("HTTP 404") for place in lost if place[1] > 1
    }
    pages = Pages(count, errors=errors, empty=empty, unlinked=unlinked)
    with contextlib.suppress(PageLostError):
        assert pages.ids() == pages.all_ids


def test_a_full_page_without_a_next_link_is_not_believed_where_nobody_counts() -> None:
    pages = Pages(600, counts=False, unlinked={(1, 1)})
    assert pages.ids() == pages.all_ids
    assert pages.passes > 1
    short = Pages(120, counts=False)
    assert short.ids() == short.all_ids
    assert short.passes == 1, "a page that is not full is the last one"
