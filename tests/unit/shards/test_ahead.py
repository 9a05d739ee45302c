"""Reading ahead is ``map``, but for when things are read."""

from __future__ import annotations

from itertools import count, islice

import pytest

from shards.ahead import read_ahead


def test_values_come_in_order_and_an_error_in_its_place() -> None:
    found = read_ahead(lambda n: 6 // (3 - n), range(9), 4)
    assert list(islice(found, 3)) == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_no_more_is_read_than_so_many_before_the_one_that_is_wanted() -> None:
    read: list[int] = []
    found = read_ahead(lambda n: read.append(n) or n, count(), 4)
    assert [next(found), next(found)] == [0, 1]
    found.close()  # type: ignore[attr-defined]
    assert set(read) <= set(range(5))
