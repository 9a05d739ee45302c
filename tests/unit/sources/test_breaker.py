"""A catalog that fails again and again is left alone, then tried once."""

from __future__ import annotations

import pytest

from schemas.errors import CatalogError, SourceError, TransientSourceError
from sources.breaker import Breaker, CatalogRestingError


class Catalog:
    def __init__(self) -> None:
        self.error: SourceError | None = TransientSourceError("HTTP 500")
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return "items"


def test_it_opens_rests_and_closes_after_one_good_trial() -> None:
    time = [0.0]
    breaker, catalog = Breaker(failures=3, rest_s=60.0, now=lambda: time[0]), Catalog()
    for _ in range(3):
        with pytest.raises(TransientSourceError):
            breaker.call("a", catalog)
    with pytest.raises(CatalogRestingError, match="a failed 3 times and rests 60 s"):
        breaker.call("a", catalog)
    assert catalog.asked == 3
    time[0] = 61.0
    with pytest.raises(TransientSourceError):
        breaker.call("a", catalog)
    with pytest.raises(CatalogRestingError):
        breaker.call("a", catalog)
    time[0], catalog.error = 130.0, None
    assert [breaker.call("a", catalog) for _ in range(2)] == ["items", "items"]


def test_others_are_asked_meanwhile_and_a_plain_no_is_no_failure() -> None:
    breaker, unwell, plain = Breaker(failures=1), Catalog(), Catalog()
    plain.error = CatalogError("no collection")
    with pytest.raises(TransientSourceError):
        breaker.call("a", unwell)
    for _ in range(3):
        with pytest.raises(CatalogError, match="no collection"):
            breaker.call("b", plain)
    assert plain.asked == 3
