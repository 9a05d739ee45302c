"""An object store that is unwell: errors, slow-downs and lost answers end in the same dataset; a lost lease in none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import DatasetError, IntegrityError
from shards.check import check_dataset
from shards.garbage import find_garbage, remove_garbage
from shards.lease import Lease
from shards.pointer import list_versions, read_pointer
from shards.reader import open_dataset
from shards.repack import Sizes, repack
from shards.storage import Storage, StoreOptions, open_storage
from shards.version import promote, publish
from shards.writable import require_writable
from tests.s3_faults import Asked, FaultyS3, faulty_s3
from tests.s3_server import CREDENTIALS, s3_server
from tests.unit.shards import made_up

BUCKET = "terraweft-faults"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with s3_server(BUCKET) as url:
            yield url


@pytest.fixture
def proxy(endpoint: str) -> Iterator[FaultyS3]:
    """What stands before it."""
    with faulty_s3(endpoint) as found:
        yield found


@pytest.fixture
def storage(proxy: FaultyS3, tmp_path: Path) -> Storage:
    """A dataset's root behind the proxy."""
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}", StoreOptions(endpoint_url=proxy.url, region="us-east-1"))


def draft_on(
    storage: Storage, scratch: Path, count: int, hours: int = 0, zarr_shard_chips: int | None = None
) -> made_up.Draft:
    samples = [made_up.sample(n) for n in range(count)]
    draft = made_up.draft(scratch, samples, storage=storage, zarr_shard_chips=zarr_shard_chips)
    return replace(draft, created=draft.created + timedelta(hours=hours))


@pytest.mark.parametrize("what", ["500", "503", "lost"])
def test_errors_of_the_store_change_nothing(proxy: FaultyS3, storage: Storage, tmp_path: Path, what: str) -> None:
    """The first answer about every shard, document, table and the pointer is an error, or its answer is lost."""
    proxy.first(1, what, lambda asked: asked.method in ("PUT", "GET") and not asked.query)
    result = publish(storage, draft_on(storage, tmp_path / "s", 4), scratch=tmp_path / "v")
    hit = {asked.path.rpartition("/")[2] for _, asked in proxy.injected if asked.method == "PUT"}
    assert {"terraweft.json", "dataset.json", "chips.parquet"} < hit
    assert any(name.endswith(".tar") for name in hit)
    proxy.rule = lambda asked: ""
    here = open_storage(tmp_path / "here")
    assert publish(here, draft_on(here, tmp_path / "h", 4), scratch=tmp_path / "w").version == result.version
    for folder in ("shards", f"versions/{result.version}"):
        for path, _ in here.list(folder):
            assert storage.sha256(path) == here.sha256(path), path
    assert check_dataset(storage).problems == []


def test_what_was_written_and_not_answered_is_no_others_zarr(proxy: FaultyS3, storage: Storage, tmp_path: Path) -> None:
    """Every second answer about the branch and the tags is lost, while a version and its successor are written."""
    lost: list[str] = []

    def every_second(asked: Asked) -> str:
        if asked.method != "PUT" or "/zarr/refs/" not in asked.path:
            return ""
        lost.append(asked.path.split("/refs/")[1])
        return "lost" if lost.count(lost[-1]) % 2 else ""

    here = open_storage(tmp_path / "here")
    for count, hours in ((2, 0), (4, 1)):
        proxy.rule = every_second
        result = publish(storage, draft_on(storage, tmp_path / f"s{count}", count, hours, 2), scratch=tmp_path / "v")
        proxy.rule = lambda asked: ""
        same = publish(here, draft_on(here, tmp_path / f"h{count}", count, hours, 2), scratch=tmp_path / "w")
        assert same.version == result.version
        assert f"tag.{result.version}/ref.json" in lost
    assert lost.count("branch.main/ref.json") >= 6  # made, committed to, set back, and asked again each time
    assert check_dataset(storage).problems == []


def test_a_tar_in_parts_is_seen_whole_or_not_at_all(proxy: FaultyS3, storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "big.bin"
    content = bytes(range(256)) * (12 << 12)  # 12 MB: several parts

    def parts(asked: Asked) -> bool:
        return asked.method == "PUT" and "partNumber" in asked.query

    file.write_bytes(content)
    proxy.first(2, "500", parts)
    storage.put_file("shards/big.bin", file)
    assert len({asked.query for _, asked in proxy.injected}) >= 2
    assert storage.read("shards/big.bin") == content
    file.write_bytes(content)
    proxy.rule = lambda asked: "refused" if asked.method == "POST" and "uploadId" in asked.query else ""
    with pytest.raises(DatasetError):
        storage.put_file("shards/other.bin", file)
    proxy.rule = lambda asked: ""
    assert storage.size("shards/other.bin") is None
    assert file.exists(), "what was not taken in is still there"


def test_who_reads_at_their_own_cost_says_so_with_every_request(
    proxy: FaultyS3, storage: Storage, tmp_path: Path
) -> None:
    samples = [made_up.sample(n) for n in range(3)]
    publish(storage, made_up.draft(tmp_path / "s", samples, storage=storage), scratch=tmp_path / "v")
    proxy.asked.clear()
    options = StoreOptions(endpoint_url=proxy.url, region="us-east-1", requester_pays=True)
    opened = open_dataset(storage.uri, options=options)
    opened.sample(opened.chip_ids()[0])
    assert opened.xarray("s2_10m")["data"].isel(chip=0).values.any()
    reads = [asked for asked in proxy.asked if asked.method in ("GET", "HEAD")]
    assert any(asked.path.endswith(".tar") for asked in reads)
    assert any("/zarr/" in asked.path for asked in reads)
    assert {asked.payer for asked in reads} == {"requester"}


def test_whoever_lost_the_lease_publishes_nothing(storage: Storage, tmp_path: Path) -> None:
    """A build is held up for so long that its lease runs out; another takes it and publishes; the first wakes."""
    slow, fast = Lease(storage, "slow", ttl_s=0.0), Lease(storage, "fast")
    slow.acquire()
    draft = draft_on(storage, tmp_path / "s", 4)
    overtaken: list[str] = []

    def overtake(step: str) -> None:
        if step == "verify":
            Lease(storage, "fast", ttl_s=0.0).acquire()
            overtaken.append(step)

    with pytest.raises(DatasetError, match="the lease was lost to fast: nothing was published"):
        publish(storage, draft, scratch=tmp_path / "v", held=slow, on_step=overtake)
    assert overtaken == ["verify"]
    assert list_versions(storage) == []
    assert read_pointer(storage) is None
    fast.ttl_s = 0.0
    fast.acquire()
    assert publish(storage, draft, scratch=tmp_path / "v", held=fast).published
    assert check_dataset(storage).problems == []


def test_a_version_that_was_freed_before_it_was_whole_is_never_the_current_one(
    storage: Storage, tmp_path: Path
) -> None:
    """A publisher is held up; `gc` takes its lease and its Zarr tag for garbage; it wakes and uploads the rest."""
    slow = Lease(storage, "slow", ttl_s=0.0)
    slow.acquire()
    samples = [made_up.sample(n) for n in range(4)]
    publish(storage, made_up.draft(tmp_path / "s", samples[:3], storage=storage), scratch=tmp_path / "v", held=slow)

    def next_draft() -> made_up.Draft:
        made = made_up.draft(tmp_path / "s", samples, storage=storage)
        return replace(made, created=made.created + timedelta(hours=1))

    def freed(step: str) -> None:
        if step == "rename":
            with Lease(storage, "gc", ttl_s=0.0) as held:
                assert remove_garbage(storage, find_garbage(storage), held).tags

    with pytest.raises(DatasetError, match="the lease was lost"):
        publish(storage, next_draft(), scratch=tmp_path / "v", held=slow, on_step=freed)
    (broken,) = set(list_versions(storage)) - {open_dataset(storage).version}
    with pytest.raises(DatasetError, match="are gone or cut, first"):
        promote(storage, broken)
    slow.acquire()
    result = publish(storage, next_draft(), scratch=tmp_path / "v", held=slow)
    assert result.version != broken
    assert open_dataset(storage).xarray("s2_10m")["data"].shape[0] == 4
    assert check_dataset(storage).problems == []


def test_whoever_lost_the_lease_frees_nothing_more(storage: Storage, tmp_path: Path) -> None:
    """A `gc` is held up; a build follows that needs a shard which nobody listed when it looked."""
    publish(storage, draft_on(storage, tmp_path / "s", 3), scratch=tmp_path / "v")
    orphans = [shard.record.path for shard in draft_on(storage, tmp_path / "s", 4).shards]
    slow = Lease(storage, "gc", ttl_s=0.0)
    slow.acquire()
    garbage = find_garbage(storage)
    assert set(garbage.shards) <= set(orphans)
    with Lease(storage, "build", ttl_s=0.0) as held:
        publish(storage, draft_on(storage, tmp_path / "s", 4, hours=1), scratch=tmp_path / "v", held=held)
    with pytest.raises(DatasetError, match="the lease was lost"):
        remove_garbage(storage, garbage, slow)
    assert check_dataset(storage).problems == []


def test_zarr_that_may_not_be_written_is_one_line(proxy: FaultyS3, storage: Storage, tmp_path: Path) -> None:
    """Credentials that may write shards and versions, and nothing below ``zarr/``: of a build, and of ``gc``."""
    samples = [made_up.sample(n) for n in range(3)]
    publish(storage, made_up.draft(tmp_path / "s", samples[:2], storage=storage), scratch=tmp_path / "v")
    proxy.rule = lambda asked: "refused" if asked.method == "PUT" and "/zarr/" in asked.path else ""
    made = made_up.draft(tmp_path / "s", samples, storage=storage)
    with pytest.raises(DatasetError, match=r"^zarr/: error writing object .*Access Denied") as caught:
        publish(storage, replace(made, created=made.created + timedelta(hours=1)), scratch=tmp_path / "v")
    assert "\n" not in caught.value.line()
    with pytest.raises(DatasetError, match=r"^zarr/: .*Access Denied"):
        remove_garbage(storage, find_garbage(storage))
    proxy.rule = lambda asked: ""
    assert len(open_dataset(storage)) == 2
    assert check_dataset(storage).problems == []


def test_zarr_that_may_not_be_deleted_is_one_line(proxy: FaultyS3, storage: Storage, tmp_path: Path) -> None:
    """Icechunk passes over it, and says that it freed nothing."""
    samples = [made_up.sample(n) for n in range(3)]
    for hours in (0, 1):
        made = made_up.draft(tmp_path / "s", samples[hours : hours + 2], storage=storage)
        publish(storage, replace(made, created=made.created + timedelta(hours=hours)), scratch=tmp_path / "v")
    remove_garbage(storage, replace(find_garbage(storage, keep=1), tags=()))
    proxy.rule = lambda asked: "refused" if asked.method == "POST" and "delete" in asked.query else ""
    with pytest.raises(DatasetError, match=r"/zarr: the store did not delete \d+ bytes .*, 0 are freed"):
        remove_garbage(storage, find_garbage(storage))
    proxy.rule = lambda asked: ""
    assert remove_garbage(storage, find_garbage(storage)).zarr_bytes > 0
    assert check_dataset(storage).problems == []


def test_a_draft_of_another_parent_is_refused(storage: Storage, tmp_path: Path) -> None:
    first = publish(storage, draft_on(storage, tmp_path / "s", 3), scratch=tmp_path / "v").version
    stale = replace(draft_on(storage, tmp_path / "s", 4, hours=1), parent=first)
    second = publish(storage, draft_on(storage, tmp_path / "s", 5, hours=2), scratch=tmp_path / "v").version
    with pytest.raises(DatasetError, match=f"from {first} to {second}"):
        publish(storage, stale, scratch=tmp_path / "v")
    assert list_versions(storage) == [first, second]


def test_a_version_without_one_of_its_shards_is_not_published(storage: Storage, tmp_path: Path) -> None:
    draft = draft_on(storage, tmp_path / "s", 4)
    storage.delete(draft.shards[0].record.path)
    with pytest.raises(IntegrityError, match="1 shard"):
        publish(storage, draft, scratch=tmp_path / "v")
    assert read_pointer(storage) is None


def test_repack_works_through_slow_downs(proxy: FaultyS3, storage: Storage, tmp_path: Path) -> None:
    publish(storage, draft_on(storage, tmp_path / "s", 6), scratch=tmp_path / "v")
    before = open_dataset(storage)
    samples = {chip_id: before.sample(chip_id).row for chip_id in before.chip_ids()}
    proxy.first(1, "503", lambda asked: ".tar" in asked.path)
    result = repack(storage, Sizes(buckets={"train": 3}), scratch=tmp_path / "r")
    proxy.rule = lambda asked: ""
    after = open_dataset(storage)
    assert (after.version, after.document.splits["buckets"]["train"]) == (result.version, 3)
    assert result.diff["unchanged"] == len(samples)
    assert {chip_id: after.sample(chip_id).row for chip_id in after.chip_ids()} == samples
    assert check_dataset(storage).problems == []


def test_a_bucket_that_takes_a_lease_and_no_tars_is_told_before_there_are_any(
    proxy: FaultyS3, storage: Storage
) -> None:
    require_writable(storage)
    assert list(storage.list("")) == []
    proxy.rule = lambda asked: "refused" if asked.method == "DELETE" else ""
    require_writable(storage)  # who may not delete may write
    proxy.rule = lambda asked: "refused" if asked.method == "PUT" and "/shards/" in asked.path else ""
    with Lease(storage, "build"), pytest.raises(DatasetError, match=r"/shards/.*privileges"):
        require_writable(storage)
