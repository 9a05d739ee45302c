"""Google Cloud and Azure: what they want otherwise than S3 does, behind a server of Google's interface on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import DatasetError
from shards.check import check_dataset
from shards.lease import Lease
from shards.lock import dataset_lock
from shards.pointer import move_pointer, read_tagged_pointer
from shards.reader import open_dataset
from shards.storage import StorageConflictError, StoreOptions, open_storage
from shards.version import publish
from tests.gcs_server import Bucket, gcs_server
from tests.unit.shards import made_up


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Google's server with the bucket ``data``, found by the variables of its clients."""
    with (
        gcs_server("data", tmp_path_factory.mktemp("gcs")) as (variables, bucket),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        yield bucket


def test_conditional_puts_go_by_googles_generations(bucket: Bucket) -> None:
    storage = open_storage("gs://data/puts")
    first = storage.put_if("p", b"1", None)
    second = storage.put_if("p", b"2", first)
    for content, tag in ((b"3", None), (b"3", first)):
        with pytest.raises(StorageConflictError):
            storage.put_if("p", content, tag)
    assert storage.read_tagged("p") == (b"2", second)


def test_versions_follow_each_other_on_google(bucket: Bucket, tmp_path: Path) -> None:
    """Tars, tables, Zarr, lease and pointer; the second build takes the lease that the first gave back."""
    storage, here = open_storage("gs://data/a b"), open_storage(tmp_path / "here")
    versions = []
    for count in (2, 3):
        for there in (here, storage):
            made = made_up.draft(tmp_path / "s", [made_up.sample(n) for n in range(count)], storage=there)
            made = replace(made, created=made.created + timedelta(hours=count))
            with dataset_lock(there, "build") as held:
                versions.append(publish(there, made, scratch=tmp_path / "v", held=held).version)
    assert versions[::2] == versions[1::2]
    assert check_dataset(storage).problems == []
    assert open_dataset(storage).xarray("s2_10m")["data"].shape[0] == 3
    assert {path: storage.sha256(path) for path, _ in here.list("shards")} == {
        path: here.sha256(path) for path, _ in here.list("shards")
    }
    assert "a b/terraweft.json" in bucket.objects
    tag = read_tagged_pointer(storage)[1]
    move_pointer(storage, "x", versions[0], tag)
    with pytest.raises(DatasetError, match="another publish moved the pointer"):
        move_pointer(storage, "x", versions[-1], tag)


def test_a_list_goes_on_over_all_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage("gs://data/many")
    names = [f"a/{n:03} +&%=~ü.tar" for n in range(7)]
    for name in names:
        storage.put(name, b"x")
    monkeypatch.setattr(bucket, "page", 2)
    assert [path for path, _ in storage.list("a")] == names
    assert storage.read(names[3]) == b"x"


@pytest.mark.parametrize("ask", [lambda lease: lease.acquire(), lambda lease: list(lease.storage.list("a"))])
def test_a_bucket_that_is_not_there_is_named(bucket: Bucket, ask: object) -> None:
    """A build was told that another one held the dataset."""
    with pytest.raises(DatasetError, match="there is no bucket or container 'dtaa'") as caught:
        ask(Lease(open_storage("gs://dtaa/x"), "build"))  # type: ignore[operator]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.line()
    assert "AWS" not in caught.value.line()


def test_azure_holds_zarr_beside_the_tars() -> None:
    storage = open_storage("az://data/a%20b", StoreOptions(azure_account="me"))
    assert "account=me, container=data, prefix=a b/zarr" in repr(storage.icechunk())


@pytest.mark.parametrize("root", ["gs://data/über", "az://data/50%25"])
def test_names_below_which_icechunk_loses_what_it_writes_are_refused(root: str) -> None:
    with pytest.raises(DatasetError, match="no Zarr can lie below a name with"):
        open_storage(root).icechunk()
