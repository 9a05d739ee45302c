from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import IntegrityError
from shards.storage import open_storage
from shards.tar import Segment, write_shard
from shards.tar_reader import ShardFiles, members_in, scan
from tests.unit.shards import made_up

Change = Callable[[tarfile.TarInfo], None]


def _type(kind: bytes, link: str = "") -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, link, 0

    return change


def _name(name: str) -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.name = name

    return change


HOSTILE: dict[str, Change] = {
    "symbolic link": _type(tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": _type(tarfile.LNKTYPE, "other"),
    "device": _type(tarfile.CHRTYPE),
    "pipe": _type(tarfile.FIFOTYPE),
    "folder": _type(tarfile.DIRTYPE),
    "absolute path": _name("/etc/cron.d/x.npy"),
    "climbing path": _name("../../x.npy"),
    "no suffix": _name("chip"),
    "unknown suffix": _name("chip.meta.pickle"),
    "capital suffix": _name("chip.META.json"),
    "hidden": _name(".meta.json"),
}


def archive_of(*infos: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, content in infos:
            archive.addfile(info, io.BytesIO(content[: info.size]))
    return stream.getvalue()


def info_of(name: str, content: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info


def scan_bytes(tmp_path: Path, content: bytes) -> list[str]:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    read = ShardFiles(open_storage(tmp_path)).at("x.tar")
    return [f"{m.chip_id}.{m.suffix}" for m in scan(read, 0, len(content))]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_members_are_refused(tmp_path: Path, what: str) -> None:
    info = info_of("chip.meta.json", b"{}")
    HOSTILE[what](info)
    with pytest.raises(IntegrityError, match=r"refused|no tar header"):
        scan_bytes(tmp_path, archive_of((info, b"{}")))


def test_a_plain_member_passes(tmp_path: Path) -> None:
    assert scan_bytes(tmp_path, archive_of((info_of("chip.meta.json", b"{}"), b"{}"))) == ["chip.meta.json"]


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    twice = archive_of((info_of("c.meta.json", b"{}"), b"{}"), (info_of("c.meta.json", b"[]"), b"[]"))
    with pytest.raises(IntegrityError, match="twice"):
        scan_bytes(tmp_path, twice)
    with pytest.raises(IntegrityError, match="second one"):
        list(members_in(twice[:2048], "c"))


def test_a_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("c.meta.json")
    info.size = 2**33 - 1
    with pytest.raises(IntegrityError, match="more than there are"):
        scan_bytes(tmp_path, info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))


def test_long_names_of_gnu_and_pax_are_refused(tmp_path: Path) -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = info_of("c" * 150 + ".meta.json", b"{}")
        with pytest.raises(IntegrityError, match="refused"):
            scan_bytes(tmp_path, info.tobuf(form) + b"{}" + bytes(510))


def test_a_flipped_bit_in_a_header_is_found(tmp_path: Path) -> None:
    content = bytearray(archive_of((info_of("c.meta.json", b"{}"), b"{}")))
    content[3] ^= 1
    with pytest.raises(IntegrityError, match="no tar header"):
        scan_bytes(tmp_path, bytes(content))


def one_shard(root: Path) -> tuple[str, dict[str, Segment]]:
    shard = write_shard(open_storage(root), "train", 0, [made_up.sample(n) for n in (0, 1)], scratch=root / "work")
    return shard.record.path, shard.index


def test_a_sample_is_read_by_its_range_and_only_what_is_wanted(tmp_path: Path) -> None:
    path, index = one_shard(tmp_path)
    chip_id, segment = list(index.items())[1]
    with ShardFiles(open_storage(tmp_path)) as files:
        whole = files.read(path, segment.offset, segment.length, chip_id)
        part = files.read(path, segment.offset, segment.length, chip_id, lambda suffix: suffix.startswith("s1"))
    assert list(part) == ["s1.npy", "s1_valid.npy"]
    assert all(part[name] == whole[name] for name in part)


def test_a_range_that_is_not_the_sample_is_refused(tmp_path: Path) -> None:
    path, index = one_shard(tmp_path)
    (first, a), (second, b) = index.items()
    with ShardFiles(open_storage(tmp_path)) as files:
        for place in (
            (b.offset, b.length, first),
            (a.offset + 512, a.length, first),
            (0, 10**9, second),
            (0, 0, first),
        ):
            with pytest.raises(IntegrityError):
                files.members(path, *place)
        with pytest.raises(IntegrityError):
            files.read(path, b.offset, b.length, first)
        with pytest.raises(IntegrityError, match="No such file"):
            files.segment("shards/train/none.tar", 0, 10)


def test_open_files_do_not_travel(tmp_path: Path) -> None:
    path, index = one_shard(tmp_path)
    chip_id, segment = next(iter(index.items()))
    with ShardFiles(open_storage(tmp_path)) as files:
        files.segment(path, 0, 1)
        with pickle.loads(pickle.dumps(files)) as copy:
            assert copy.read(path, segment.offset, segment.length, chip_id)
