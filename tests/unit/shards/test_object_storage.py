"""A dataset in an object store, behind a real S3 server on loopback: everything that a folder can."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import DatasetError
from shards.check import check_dataset
from shards.garbage import find_garbage, remove_garbage
from shards.history import roll_back
from shards.lease import PATH, Lease
from shards.lock import dataset_lock
from shards.object_storage import ObjectStorage
from shards.pointer import list_versions, move_pointer, read_tagged_pointer
from shards.reader import open_dataset
from shards.storage import FolderStorage, Storage, StorageConflictError, StoreOptions, open_storage
from shards.version import publish
from tests.s3_server import CREDENTIALS, s3_server
from tests.unit.shards import made_up

BUCKET = "terraweft-tests"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with s3_server(BUCKET) as url:
            yield url


@pytest.fixture
def options(endpoint: str) -> StoreOptions:
    return StoreOptions(endpoint_url=endpoint, region="us-east-1")


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, options: StoreOptions) -> Storage:
    """Both kinds: the same contract."""
    if request.param == "folder":
        return open_storage(tmp_path / "dataset")
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}", options)


def draft_on(storage: Storage, tmp_path: Path, numbers: range, hours: int = 0, seed: int = 1) -> made_up.Draft:
    samples = [made_up.sample(n, seed=seed if n % 3 == 0 else 1) for n in numbers]
    draft = made_up.draft(tmp_path / "scratch", samples, storage=storage, report=made_up.write_report)
    return replace(draft, created=draft.created + timedelta(hours=hours))


def test_what_is_put_is_read(storage: Storage, tmp_path: Path) -> None:
    storage.put("a/b.bin", bytes(range(200)))
    assert storage.read("a/b.bin") == bytes(range(200))
    assert storage.read_range("a/b.bin", 10, 5) == bytes(range(10, 15))
    assert (storage.size("a/b.bin"), storage.size("a/none")) == (200, None)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    storage.put_file("a/c/d.bin", file)
    assert not file.exists()
    assert list(storage.list("a")) == [("a/b.bin", 200), ("a/c/d.bin", 100_000)]
    assert list(storage.list("none")) == []
    assert storage.sha256("a/c/d.bin") == hashlib.sha256(b"x" * 100_000).hexdigest()
    with storage.local("a") as folder:
        assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
            "b.bin",
            "c/d.bin",
        ]
    storage.delete("a/b.bin")
    storage.delete("a/b.bin")
    with pytest.raises(FileNotFoundError):
        storage.read("a/b.bin")


def test_a_conditional_put_wins_once(storage: Storage) -> None:
    first = storage.put_if("p", b"1", None)
    with pytest.raises(StorageConflictError):
        storage.put_if("p", b"2", None)
    second = storage.put_if("p", b"2", first)
    with pytest.raises(StorageConflictError):
        storage.put_if("p", b"3", first)
    assert storage.read_tagged("p") == (b"2", second)
    assert storage.read_tagged("none") is None


def test_a_version_is_published_read_checked_and_freed(storage: Storage, tmp_path: Path) -> None:
    first = publish(storage, draft_on(storage, tmp_path, range(6)), scratch=tmp_path / "v")
    second = publish(storage, draft_on(storage, tmp_path, range(1, 7), hours=1, seed=5), scratch=tmp_path / "v")
    assert list_versions(storage) == [first.version, second.version]
    opened = open_dataset(storage)
    assert opened.version == second.version
    chip_id = opened.chip_ids()[0]
    whole, part = opened.sample(chip_id), opened.sample(chip_id, modalities=["s2"], members=["label"])
    assert set(part.layers) == {"s2_10m", "s2_20m"} < set(whole.layers)
    assert (opened.xarray("s2_10m")["data"].shape[0], len(opened.chips), len(opened)) == (6, 6, 6)
    assert check_dataset(storage).problems == []
    roll_back(storage, first.version)
    assert open_dataset(storage).version == first.version
    roll_back(storage, second.version)
    done = remove_garbage(storage, find_garbage(storage, keep=1))
    assert done.forgotten == (first.version,)
    assert check_dataset(storage).problems == []
    assert find_garbage(storage).bytes == 0


def test_unfinished_work_of_a_dataset_in_a_store_is_freed_where_it_lies(storage: Storage, tmp_path: Path) -> None:
    publish(storage, draft_on(storage, tmp_path, range(2)), scratch=tmp_path / "v")
    scratch = tmp_path / "work" / "0123"
    for path in ("runs/a/first/x.npz", "reports/r.html", "captions/paid.sqlite", "lock.json"):
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).write_text("12345")
    is_folder = isinstance(storage, FolderStorage)
    assert find_garbage(storage, scratch=scratch).scratch == {}
    garbage = find_garbage(storage, work=True, scratch=scratch)
    assert garbage.scratch == ({} if is_folder else {str(scratch / "runs/a/first/x.npz"): 5})
    remove_garbage(storage, garbage)
    assert (scratch / "runs/a/first/x.npz").exists() == is_folder
    assert (scratch / "reports/r.html").exists()
    assert (scratch / "captions/paid.sqlite").exists()


def test_both_kinds_hold_the_same_bytes(tmp_path: Path, options: StoreOptions) -> None:
    there = open_storage(f"s3://{BUCKET}/same", options)
    here = open_storage(tmp_path / "here")
    versions = [publish(s, draft_on(s, tmp_path, range(5)), scratch=tmp_path / "v").version for s in (here, there)]
    assert versions[0] == versions[1]
    for folder in ("shards", f"versions/{versions[0]}"):
        files = dict(here.list(folder))
        assert files == dict(there.list(folder))
        for path in files:
            assert here.sha256(path) == there.sha256(path), path


def test_whoever_lost_the_race_moves_nothing(storage: Storage, tmp_path: Path) -> None:
    slow = draft_on(storage, tmp_path, range(4))
    other: list[str] = []

    def overtaken(step: str) -> None:
        if step == "documents":
            draft = draft_on(storage, tmp_path / "other", range(5), hours=1)
            other.append(publish(storage, draft, scratch=tmp_path / "w").version)

    if isinstance(storage, FolderStorage):
        _, tag = read_tagged_pointer(storage)
        publish(storage, slow)
        with pytest.raises(DatasetError, match="another publish moved the pointer"):
            move_pointer(storage, "x", "20260101T000000Z-00000000", tag)
        return
    with pytest.raises(DatasetError, match="another publish"):
        publish(storage, slow, scratch=tmp_path / "v", on_step=overtaken)
    assert open_dataset(storage).version == other[0]
    assert check_dataset(storage).problems == []


def test_a_storage_pickles_small_and_without_secrets(options: StoreOptions) -> None:
    storage = open_storage(f"s3://{BUCKET}/pickled", options)
    storage.put("x", b"1")
    content = pickle.dumps(storage)
    assert b"secret" not in content
    assert pickle.loads(content).read("x") == b"1"


@pytest.mark.parametrize("name", ["a%20b", "a b", "%C3%9Cbung", "50%"])
def test_zarr_lies_below_the_root_whatever_letters_it_has(name: str, options: StoreOptions) -> None:
    root = ObjectStorage(f"s3://{BUCKET}/{name}", options)
    assert f"prefix={root.store.prefix}/zarr," in repr(root.icechunk())


def test_what_a_store_refuses_is_one_line(options: StoreOptions) -> None:
    with pytest.raises(DatasetError, match="s3://no-such-bucket-here") as caught:
        open_dataset("s3://no-such-bucket-here/x", options=options)
    assert "\n" not in caught.value.line()
    assert "secret" not in caught.value.line()


def test_a_lease_is_held_by_one_and_followed_when_old(options: StoreOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(f"s3://{BUCKET}/leased", options)
    with dataset_lock(storage, "first"):
        with pytest.raises(DatasetError, match="another build holds this dataset: first"):
            Lease(storage, "second").acquire()
        assert Lease(storage, "third")._tag is None
    second = Lease(storage, "second")
    second.acquire()  # the first gave it back
    real = ObjectStorage.modified_s
    monkeypatch.setattr(
        ObjectStorage, "modified_s", lambda self, path: (real(self, path) or 0.0) - (61.0 if path == PATH else 0.0)
    )
    third = Lease(storage, "third")
    third.acquire()  # the second died long ago by the store's clock
    assert not second.renew()
    monkeypatch.undo()
    second.release()
    assert third.renew()
    with pytest.raises(DatasetError, match="third"):
        Lease(storage, "fourth").acquire()
    third.release()
    Lease(storage, "fifth").acquire()


def test_two_who_take_a_free_lease_at_once_cannot_both_have_it(options: StoreOptions) -> None:
    storage = open_storage(f"s3://{BUCKET}/raced", options)

    class Overtaken(ObjectStorage):
        def put_if(self, path: str, content: bytes, tag: str | None) -> str:
            storage.put(path, content.replace(b"slow", b"fast"))
            return super().put_if(path, content, tag)

    with pytest.raises(DatasetError, match="fast"):
        Lease(Overtaken(storage.uri, options), "slow").acquire()


@pytest.mark.parametrize("passed_over", ["If-None-Match", "If-Match"])
def test_a_store_that_passes_over_conditions_is_refused(passed_over: str, options: StoreOptions) -> None:
    """Old S3 servers: two builds at once would each have had the lease, and the pointer."""

    class Old(ObjectStorage):
        def put_if(self, path: str, content: bytes, tag: str | None) -> str:
            if (tag is None) != (passed_over == "If-None-Match"):
                return super().put_if(path, content, tag)
            self.put(path, content)
            return str((self.read_tagged(path) or (b"", ""))[1])

    storage = Old(f"s3://{BUCKET}/{passed_over}", options)
    Lease(ObjectStorage(storage.uri, options), "before").acquire()
    storage.put(PATH, b'{"released":true}')
    for _ in range(2):  # the second time, too: a lease that nobody can hold is left free
        with pytest.raises(DatasetError, match=f"passes over {passed_over}: two who write at once"):
            Lease(storage, "build").acquire()
