from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.buckets import bucket_count, bucket_of
from shards.storage import open_storage
from shards.tar import header_of, sample_sha256, segment_length, write_shard
from tests.unit.shards import made_up

TRAIN = [0, 1, 2, 5, 6, 7]


def test_the_same_samples_give_the_same_bytes_in_whatever_order_they_come(tmp_path: Path) -> None:
    samples = [made_up.sample(n) for n in TRAIN]
    first = write_shard(open_storage(tmp_path / "a"), "train", 3, samples, scratch=tmp_path / "a/work")
    random.Random(5).shuffle(samples)
    second = write_shard(open_storage(tmp_path / "b"), "train", 3, iter(samples), scratch=tmp_path / "b/work")
    assert first == second
    assert (tmp_path / "a" / first.record.path).read_bytes() == (tmp_path / "b" / second.record.path).read_bytes()


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    here = write_shard(
        open_storage(tmp_path / "a"), "train", 0, [made_up.sample(n) for n in TRAIN], scratch=tmp_path / "a/work"
    )
    code = (
        "import sys; from pathlib import Path; from shards.tar import write_shard;"
        "from shards.storage import open_storage;"
        "from tests.unit.shards import made_up;"
        f"root = Path(sys.argv[1]); samples = [made_up.sample(n) for n in {TRAIN[::-1]}];"
        "print(write_shard(open_storage(root), 'train', 0, samples, scratch=root / 'work').record.sha256)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == here.record.sha256


def test_the_name_is_the_hash_and_every_sample_lies_where_the_index_says(tmp_path: Path) -> None:
    samples = {one.chip_id: one for one in (made_up.sample(n) for n in TRAIN)}
    shard = write_shard(open_storage(tmp_path), "train", 7, samples.values(), scratch=tmp_path / "work")
    content = (tmp_path / shard.record.path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert shard.record.path == f"shards/train/00007-{digest[:16]}.tar"
    assert (shard.record.sha256, shard.record.bytes) == (digest, len(content))
    assert list(shard.index) == sorted(samples) == list(shard.record.chip_ids)
    for chip_id, segment in shard.index.items():
        part = content[segment.offset : segment.offset + segment.length]
        assert hashlib.sha256(part).hexdigest() == segment.sha256 == sample_sha256(samples[chip_id])
        assert segment.length == segment_length(samples[chip_id])


def test_tar_reads_it_and_finds_nothing_of_this_machine_in_it(tmp_path: Path) -> None:
    shard = write_shard(
        open_storage(tmp_path), "train", 0, [made_up.sample(n) for n in TRAIN], scratch=tmp_path / "work"
    )
    with tarfile.open(tmp_path / shard.record.path) as archive:
        members = archive.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime, m.mode, m.type) for m in members} == {
        (0, 0, "", "", 0, 0o644, tarfile.REGTYPE)
    }
    assert shard.record.bytes % tarfile.RECORDSIZE == 0
    assert [m.name.split(".")[0] for m in members] == sorted(m.name.split(".")[0] for m in members)


def test_an_identical_shard_is_kept_and_a_torn_one_replaced(tmp_path: Path) -> None:
    samples = [made_up.sample(n) for n in TRAIN]
    first = write_shard(open_storage(tmp_path), "train", 0, samples, scratch=tmp_path / "work")
    path = tmp_path / first.record.path
    before = path.stat().st_ino
    again = write_shard(open_storage(tmp_path), "train", 0, samples, scratch=tmp_path / "work")
    assert (first.written, again.written, path.stat().st_ino) == (True, False, before)
    content = path.read_bytes()
    path.write_bytes(content[:-10_000])
    assert write_shard(open_storage(tmp_path), "train", 0, samples, scratch=tmp_path / "work").written
    assert path.read_bytes() == content


def test_a_failure_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = replace(made_up.sample(1), chip_id="no.dots")
    with pytest.raises(ValueError, match="chip id"):
        write_shard(open_storage(tmp_path), "train", 0, [made_up.sample(0), bad], scratch=tmp_path / "work")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(("numbers", "message"), [([0, 0], "twice"), ([0, 3], "of split 'val'"), ([], "no samples")])
def test_a_shard_holds_chips_of_its_split_once(tmp_path: Path, numbers: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_shard(open_storage(tmp_path), "train", 0, [made_up.sample(n) for n in numbers], scratch=tmp_path / "work")


def test_buckets_depend_on_the_id_alone_and_fill_evenly() -> None:
    ids = [f"c{n}" for n in range(2000)]
    found = [bucket_of(chip_id, 8) for chip_id in ids]
    assert found == [bucket_of(chip_id, 8) for chip_id in ids]
    assert [bucket_of(c, 8) for c in ("c0", "c1", "c2", "c3")] == [3, 2, 2, 0]
    assert 190 < min(found.count(b) for b in range(8)) <= max(found.count(b) for b in range(8)) < 310


@pytest.mark.parametrize(("total", "target", "count"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (100, 7, 15)])
def test_bucket_count_is_the_ceiling(total: int, target: int, count: int) -> None:
    assert bucket_count(total, target) == count


def test_bucket_count_wants_a_target() -> None:
    with pytest.raises(ValueError, match="target"):
        bucket_count(10, 0)


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True), st.integers(0, 8**11 - 1))
def test_headers_are_those_that_tarfile_writes(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header_of(name, size) == info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
