"""A catalog that fails at stated rates gives the same items in the end, or fails by name; never fewer items."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas.errors import SourceError
from schemas.recipe import Catalog
from sources.catalog_api import ApiCatalog
from sources.openers import PlainOpener
from sources.retry import Backoff
from tests.integration.flaky_catalog import FAULTS, TokenOpener, flaky_catalog
from tests.integration.support import World

EARTH = (-180.0, -90.0, 180.0, 90.0)
COLLECTION = "sentinel-2-l2a"
NAMED = {"PageLostError", "CatalogError", "ThrottledError", "TransientSourceError", "AccessDeniedError"}
CATALOG = Catalog.model_validate({"kind": "stac-api", "href": "x", "allow_local": True})


@pytest.fixture(scope="module")
def truth(world: World) -> list[str]:
    found = ApiCatalog(CATALOG, world.stac_url, PlainOpener()).search(COLLECTION, EARTH)
    assert len(found) > 6, "several pages of the proxy's size"
    return [item["id"] for item in found]


def ids(world: World, seed: int, slept: list[float], done: Counter[str], **rates: float) -> list[str] | str:
    """Ids of the items, or the name of the failure."""
    with flaky_catalog(world.stac_url, seed, **rates) as proxy:
        catalog = ApiCatalog(CATALOG, proxy.url, TokenOpener(proxy), slept.append, Backoff(attempts=8))
        try:
            return [item["id"] for item in catalog.search(COLLECTION, EARTH)]
        except SourceError as error:
            return type(error).__name__ if proxy.url in error.url else f"without its address: {error!r}"
        finally:
            done.update(proxy.done)


def test_without_faults_the_proxy_changes_nothing(world: World, truth: list[str]) -> None:
    assert ids(world, 0, [], Counter()) == truth


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_at_one_in_five(world: World, truth: list[str], fault: str) -> None:
    done: Counter[str] = Counter()
    slept: list[float] = []
    found = [ids(world, seed, slept, done, **{fault: 0.2}) for seed in range(10)]
    assert done[fault] > 0
    assert all(one == truth or str(one) in NAMED for one in found), "fewer items, and no word of it"
    assert sum(one == truth for one in found) >= 8
    if fault == "throttle":
        assert max(slept) >= 7.0, "as long as the server asked for"


def test_all_faults_together(world: World, truth: list[str]) -> None:
    done: Counter[str] = Counter()
    found = [ids(world, seed, [], done, **dict.fromkeys(FAULTS, 0.06)) for seed in range(12)]
    assert set(done) == set(FAULTS)
    assert all(one == truth or str(one) in NAMED for one in found)
    assert sum(one == truth for one in found) >= 9


def test_a_catalog_that_always_fails_is_named(world: World) -> None:
    assert ids(world, 1, [], Counter(), throttle=1.0) == "ThrottledError"
    assert ids(world, 1, [], Counter(), error=1.0) in ("ThrottledError", "TransientSourceError")
    assert ids(world, 1, [], Counter(), lose=1.0) == "PageLostError"
    assert ids(world, 1, [], Counter(), cut=1.0) == "TransientSourceError"
