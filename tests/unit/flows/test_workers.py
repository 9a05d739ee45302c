"""Workers of somebody else's cluster are asked for what they have to bring before they are given work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from distributed import Client

from flows.build import OnCluster
from flows.software import fingerprint
from flows.stages import run_stages
from flows.workers import Wanted, files_of, require_workers, wanted_of
from schemas.errors import DatasetError, UserError
from schemas.recipe import Recipe
from tests.dask_cluster import own_cluster
from tests.unit.chips.test_inputs import recipe

CREDENTIAL = {
    "catalogs": {"c": {"kind": "stac-api", "href": "https://stac.example.org", "credentials": ["key"]}},
    "credentials": {"key": {"kind": "bearer", "env": ["WORKERS_TEST_KEY"], "hosts": ["files.example.org"]}},
}


class Store:
    """A dataset's root that answers or does not, and takes files or does not."""

    uri = "s3://bucket/dataset"

    def __init__(self, error: Exception | None = None, refusal: Exception | None = None) -> None:
        self.error, self.refusal = error, refusal

    def size(self, path: str) -> int | None:
        """Bytes of a file."""
        if self.error:
            raise self.error
        return None

    def put(self, path: str, content: bytes) -> None:
        """Write a file."""
        if self.refusal:
            raise self.refusal

    def delete(self, path: str) -> None:
        """Remove one."""


def look(folder: Path, asked: Recipe | None = None, error: Exception | None = None) -> Any:
    told = SimpleNamespace(
        recipe=asked or recipe(), work=folder, folder=folder / "run", storage=Store(error), variables={}
    )
    return SimpleNamespace(job=told, plan=SimpleNamespace(examples={}))


@pytest.fixture
def wanted(tmp_path: Path) -> Iterator[Wanted]:
    with wanted_of(look(tmp_path)) as found:
        yield found


def test_a_worker_that_has_everything_is_taken_and_nothing_is_left(tmp_path: Path) -> None:
    with wanted_of(look(tmp_path)) as found:
        found.require()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_worker_lacks_is_named(wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"differs: step read .* \(here 0\)"):
        replace(wanted, software=fingerprint() | {"step read": "0"}).require()
    with pytest.raises(UserError, match="does not see the folder of unfinished work"):
        replace(wanted, mark=tmp_path / "of another machine").require()
    with pytest.raises(UserError, match=r"has no file osm.pbf, which labels.sources.osm.href names"):
        replace(wanted, files={"labels.sources.osm.href": tmp_path / "osm.pbf"}).require()
    with (
        wanted_of(look(tmp_path, recipe(**CREDENTIAL))) as asks,
        pytest.raises(UserError, match="WORKERS_TEST_KEY is not set"),
    ):
        asks.require()
    with (
        wanted_of(look(tmp_path, error=DatasetError("no credentials"))) as asks,
        pytest.raises(UserError, match="cannot read the dataset: no credentials"),
    ):
        asks.require()
    found = look(tmp_path)
    found.job.storage = Store(refusal=DatasetError("Access Denied"))
    with wanted_of(found) as asks, pytest.raises(UserError, match="cannot write the dataset: Access Denied"):
        asks.require()
    monkeypatch.setattr("flows.workers.PASSES", "flows.that_is_not_there")
    with pytest.raises(UserError, match="cannot run this software"):
        wanted.require()


def test_files_of_this_machine_that_workers_read(tmp_path: Path) -> None:
    asked = recipe(labels={"sources": {"osm": {"kind": "osm", "href": "/data/osm.pbf"}}})
    assert files_of(look(tmp_path, asked)) == {"labels.sources.osm.href": Path("/data/osm.pbf")}
    asked = recipe(labels={"sources": {"osm": {"kind": "osm", "href": "https://files.example.org/osm.pbf"}}})
    assert files_of(look(tmp_path, asked)) == {}


def test_a_cluster_s_workers_are_asked_at_once_and_who_joins_later_with_its_first_unit(
    wanted: Wanted, tmp_path: Path
) -> None:
    def units(asked: Wanted) -> dict[Any, Any]:
        return OnCluster(client, asked)("read", abs, lambda number: (number,), [-3, -1], str)

    elsewhere = replace(wanted, mark=tmp_path / "of another machine")
    with own_cluster(1, processes=False) as cluster, Client(cluster) as client:
        with pytest.raises(UserError, match=r"inproc: worker inproc.* does not see"):
            require_workers(client, "inproc", elsewhere)
        with pytest.raises(UserError, match="which joined later, does not see"):
            units(elsewhere)
        require_workers(client, "inproc", wanted)
        assert units(wanted) == {"-3": 3, "-1": 1}


def test_a_dataset_that_takes_no_tars_is_told_before_a_tile_is_read() -> None:
    def first(found: Any) -> Any:
        raise AssertionError("read")

    found: Any = SimpleNamespace(plan=None, job=None, outlook=None)
    asked: Any = SimpleNamespace(storage=Store(refusal=DatasetError("Access Denied")))
    with pytest.raises(DatasetError, match="Access Denied"):
        run_stages(asked, found, cast(Any, SimpleNamespace(first=first)), cast(Any, None), 0.0)
