"""Shards and tables of strangers: refused with one line, or read; never followed, unpickled or believed."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import DatasetError, IntegrityError, TerraweftError
from shards.check import check_dataset
from shards.export import ExportOptions, export_dataset
from shards.npy import HEADER_LIMIT, decode_npy
from shards.npy_pieces import stored_array
from shards.reader import Dataset, open_dataset
from shards.sample_reader import SampleReader
from shards.sample_request import SampleRequest
from shards.tar import BLOCK, header_of
from shards.tar_reader import Member, parse_header, scan
from terraweft import ChipStream, StreamOptions
from tests.unit.shards import made_up

FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def npy(header: str, payload: bytes = b"") -> bytes:
    """``.npy`` bytes with a header of any text."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


HOSTILE_ARRAYS: dict[str, bytes] = {
    "pickle": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps([print])),
    "record of objects": npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    "strings": npy("{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", bytes(16)),
    "huge shape": npy("{'descr': '<u2', 'fortran_order': False, 'shape': (4611686018427387904, 8)}"),
    "shape that wraps round to what is there": npy(
        "{'descr': '<u2', 'fortran_order': False, 'shape': (9223372036854775808, 2)}"
    ),
    "negative shape": npy("{'descr': '<u2', 'fortran_order': False, 'shape': (-1, -1)}", bytes(2)),
    "code": npy("__import__('os').system('true')"),
    "deep": npy("(" * 3000 + ")" * 3000),
    "column order": npy("{'descr': '<u2', 'fortran_order': True, 'shape': (2, 1)}", bytes(4)),
    "long header": b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535,
    "version 3": b"\x93NUMPY\x03\x00" + struct.pack("<I", 2**31) + b"{}",
    "empty": b"",
    "a zip": b"PK\x03\x04" + bytes(100),
    "truncated": npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2)}", bytes(7)),
    "longer than it says": npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2)}", bytes(9)),
}


@pytest.mark.parametrize("what", HOSTILE_ARRAYS)
def test_an_array_that_is_not_plain_numbers_is_refused(what: str) -> None:
    content = HOSTILE_ARRAYS[what]
    with pytest.raises(IntegrityError):
        decode_npy(content)
    member = Member("c", "s1.npy", 0, len(content))
    with pytest.raises(IntegrityError):
        stored_array(member, content[:128], lambda length: content[:length])
    assert HEADER_LIMIT < 65535


def regular(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 3
    return info


def sparse_of_gnu() -> bytes:
    """A header of GNU tar's old sparse files: 1 TB real size, nothing stored."""
    block = bytearray(regular("c.s1.npy").tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[483:495] = b"17777777777\0"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(2 * BLOCK)


def pax(headers: dict[str, str]) -> bytes:
    info = regular("c.s1.npy")
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT) + b"abc" + bytes(509)


def named(name: str) -> bytes:
    return regular(name).tobuf(tarfile.USTAR_FORMAT) + b"abc" + bytes(509)


HOSTILE_TARS: dict[str, bytes] = {
    "old sparse": sparse_of_gnu(),
    "sparse by PAX": pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": str(2**50)}),
    "another name by PAX": pax({"path": "../../etc/passwd"}),
    "another size by PAX": pax({"size": str(2**60)}),
    "global PAX": tarfile.TarInfo.create_pax_global_header({"path": "x"}) + named("c.s1.npy"),
    "absolute": named("/etc/passwd"),
    "climbing": named("../c.s1.npy"),
    "climbing within": named("c/../../d.s1.npy"),
    "in a folder": named("a/c.s1.npy"),
    "backslash": named("a\\c.s1.npy"),
    "a dot first": named(".c.s1.npy"),
    "not ASCII": regular("ü.s1.npy").tobuf(tarfile.GNU_FORMAT, "utf-8") + bytes(512),
    "a name behind the name": b"c.s1.npy\0hidden" + named("c.s1.npy")[15:],
    "negative size": regular("c.s1.npy").tobuf(tarfile.GNU_FORMAT)[:124]
    + b"\xff" * 12
    + regular("c.s1.npy").tobuf(tarfile.GNU_FORMAT)[136:],
    "compressed": b"\x1f\x8b\x08\x00" + bytes(1020),
}


@pytest.mark.parametrize("what", HOSTILE_TARS)
def test_a_tar_that_is_not_plain_files_is_refused(what: str) -> None:
    content = HOSTILE_TARS[what]
    with pytest.raises(IntegrityError):
        list(scan(lambda start, length: content[start : start + length], 0, len(content)))


names = st.from_regex(r"[A-Za-z0-9_-]{1,60}\.[a-z0-9_-]{1,20}\.(npy|json)", fullmatch=True)


@given(names, st.integers(0, 8**11 - 1))
@FEW
def test_a_header_that_we_write_is_read_quickly_and_as_the_library_reads_it(name: str, size: int) -> None:
    block = header_of(name, size)
    found = parse_header(block, 1000, 2**40)
    info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    assert (f"{found.chip_id}.{found.suffix}", found.size, found.offset) == (info.name, info.size, 1000 + BLOCK)


@given(names, st.integers(0, 5000), st.integers(0, BLOCK - 1), st.integers(1, 255))
@FEW
def test_no_changed_byte_of_a_header_goes_unseen(name: str, size: int, place: int, change: int) -> None:
    block = bytearray(header_of(name, size))
    block[place] ^= change
    try:
        found = parse_header(bytes(block), 0, 2**40)
    except IntegrityError:
        return
    info = tarfile.TarInfo.frombuf(bytes(block), "ascii", "strict")  # what passes is what the library reads, too
    assert (f"{found.chip_id}.{found.suffix}", found.size) == (info.name, info.size)
    assert info.isreg()


kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, b"S", b"x"]
)


@given(
    st.lists(st.tuples(st.one_of(names, st.text(max_size=30)), kinds, st.binary(max_size=600)), max_size=4),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@FEW
def test_whatever_a_foreign_tar_holds_only_plain_members_of_known_names_come_through(
    entries: list[tuple[str, bytes, bytes]], form: int
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            try:
                tar.addfile(info, io.BytesIO(content))
            except (ValueError, UnicodeEncodeError):
                return  # a name that this form of tar cannot write
    content = stream.getvalue()
    try:
        members = list(scan(lambda start, length: content[start : start + length], 0, len(content)))
    except IntegrityError:
        return
    found = [(f"{m.chip_id}.{m.suffix}", content[m.offset : m.offset + m.size]) for m in members]
    assert found == [(name, part) for name, kind, part in entries]
    assert all(kind == tarfile.REGTYPE for _, kind, _ in entries)


EVERYTHING = SampleRequest(groups=("s2_10m", "s2_20m", "s1"), sources=("worldcover",), texts=True, osm=True)


@given(st.data())
@settings(FEW, max_examples=40)
def test_a_damaged_shard_is_refused_or_read_and_never_more(dataset_root: Path, data: st.DataObject) -> None:
    dataset = open_dataset(dataset_root)
    path = dataset_root / dataset.places.path_of(0)
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=3))
    path.write_bytes(content)
    try:
        reader = SampleReader(dataset, EVERYTHING)
        arrays = {name: np.empty(one.shape, one.dtype) for name, one in reader.fields().items()}
        for number in (n for n in range(10) if dataset_root / dataset.places.path_of(n) == path):
            with suppress(TerraweftError):
                reader.read(number, arrays)
            with suppress(TerraweftError):
                dataset.sample(dataset.places.of(number)[0])
    finally:
        path.write_bytes(whole)
        dataset.close()


def rewritten(root: Path, change: Callable[[pa.Table], pa.Table]) -> Dataset:
    """The dataset with another chips.parquet."""
    dataset = open_dataset(root)
    path = root / "versions" / dataset.version / "chips.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return open_dataset(root)


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "shards/../../x.tar", "shards/train/x.tar", ""])
def test_a_table_that_leads_out_of_the_dataset_is_refused(dataset_root: Path, path: str) -> None:
    dataset = rewritten(dataset_root, lambda table: with_column(table, "shard", [path] * 10))
    with pytest.raises(IntegrityError, match="refused"):
        dataset.sample(made_up.chip_id(0))


def first_of(dataset: Dataset) -> None:
    """Read the first chip as a stream does."""
    reader = SampleReader(dataset, EVERYTHING)
    reader.read(0, {name: np.empty(one.shape, one.dtype) for name, one in reader.fields().items()})


@pytest.mark.parametrize(("column", "value"), [("shard_offset", -512), ("shard_offset", 2**62), ("shard_length", -1)])
def test_a_place_that_cannot_be_is_refused(dataset_root: Path, column: str, value: int) -> None:
    dataset = rewritten(dataset_root, lambda table: with_column(table, column, [value] * 10))
    with pytest.raises(IntegrityError):
        dataset.sample(made_up.chip_id(0))
    with pytest.raises(IntegrityError):
        first_of(dataset)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("texts.json", b"[1]"), ("texts.json", b'[{"kind":3}]'), ("texts.json", b"{"), ("osm.json", b"[]"),
     ("s2_10m.npy", b"PK"), ("label.npy", b"no"), ("label_worldcover.npy", b"no")],
)  # fmt: skip
def test_a_member_that_is_not_what_it_is_called_is_one_line_with_shard_and_chip(
    dataset_root: Path, suffix: str, content: bytes
) -> None:
    dataset = open_dataset(dataset_root)
    number = int(dataset.select(split="train")[0])
    chip_id, path, offset, length = dataset.places.of(number)
    member = next(m for m in dataset.files.members(path, offset, length, chip_id) if m.suffix == suffix)
    whole = bytearray((dataset_root / path).read_bytes())
    whole[member.offset : member.offset + member.size] = content.ljust(member.size)
    (dataset_root / path).write_bytes(whole)
    stream = ChipStream(dataset_root, StreamOptions(texts=True, osm=True, sources=("worldcover",)))
    for read in (lambda: open_dataset(dataset_root).sample(chip_id), lambda: stream.sample(number)):
        with pytest.raises(IntegrityError) as told:
            read()
        assert str(told.value).startswith(f"{path}: {chip_id}: ")
        assert str(told.value).count(chip_id) == 1


def test_a_pipe_in_the_place_of_a_shard_is_refused_at_once(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    chip_id, path, _, _ = dataset.places.of(0)
    (dataset_root / path).unlink()
    os.mkfifo(dataset_root / path)
    with pytest.raises(IntegrityError, match=path):
        dataset.sample(chip_id)
    with pytest.raises(IntegrityError, match=path):
        ChipStream(dataset_root, StreamOptions(split=None)).sample(0)


@pytest.mark.parametrize(
    "name", ["terraweft.json", "dataset.json", "chips.parquet", "outcomes.parquet", "report/index.html", "x.json"]
)
def test_a_pipe_in_the_place_of_any_file_is_told_and_not_waited_for(dataset_root: Path, name: str) -> None:
    version = dataset_root / "versions" / open_dataset(dataset_root).version
    document = json.loads((version / "dataset.json").read_text())
    if name in document["tables"]:
        document["tables"][name]["bytes"] = 0  # as large as a pipe says that it is
        (version / "dataset.json").write_text(json.dumps(document))
    path = (dataset_root if name == "terraweft.json" else version) / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if name == "terraweft.json":
        with pytest.raises(DatasetError, match="no plain file"):
            check_dataset(dataset_root)
        return
    report = check_dataset(dataset_root)
    assert name == "x.json" or any(problem.where.endswith((name, version.name)) for problem in report.problems)
    if name in ("dataset.json", "chips.parquet"):
        with pytest.raises(DatasetError, match="no plain file"):
            open_dataset(dataset_root).chips  # noqa: B018


def test_a_device_in_the_place_of_a_shard_is_not_hashed_for_ever(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    path = dataset_root / "versions" / dataset.version / "dataset.json"
    document = json.loads(path.read_text())
    shard = dataset_root / document["shards"][0]["path"]
    document["shards"][0]["bytes"] = 0
    path.write_text(json.dumps(document))
    shard.unlink()
    shard.symlink_to("/dev/zero")
    problems = check_dataset(dataset_root).problems
    assert any(problem.where == document["shards"][0]["path"] for problem in problems)


def test_more_pixels_than_bytes_are_refused_before_memory_is_taken(dataset_root: Path) -> None:
    dataset = rewritten(dataset_root, lambda table: with_column(table, "s1.shape_yx", [[100_000, 100_000]] * 10))
    with pytest.raises(IntegrityError, match="more pixels of s1 than a sample has bytes"):
        SampleReader(dataset, EVERYTHING)
    shutil.rmtree(dataset_root / "work", ignore_errors=True)


def test_a_table_of_more_rows_than_chips_is_not_read(dataset_root: Path) -> None:
    """Two megabytes of equal rows took gigabytes, in ``check`` too."""
    dataset = rewritten(dataset_root, lambda table: table.take(pa.array([0] * 1000)))
    said = "1000 rows, dataset.json says 10"
    with pytest.raises(DatasetError, match=said):
        dataset.chips  # noqa: B018
    with pytest.raises(DatasetError, match=said):
        dataset.chip_ids()
    assert any(said in problem.what for problem in check_dataset(dataset_root).problems)


@pytest.mark.parametrize("form", ["huggingface", "ssl4eo", "terramesh", "texts"])
def test_a_split_that_leads_out_of_a_folder_is_not_exported(dataset_root: Path, tmp_path: Path, form: str) -> None:
    for path in (dataset_root / "shards").rglob("*.tar"):
        whole = path.read_bytes()
        for split in (b"train", b"val", b"test"):
            whole = whole.replace(b'"split":"%s"' % split, b'"split":"/%s"' % split[1:])
        path.write_bytes(whole)
    with pytest.raises(IntegrityError, match="no name of a split"):
        export_dataset(open_dataset(dataset_root), tmp_path / "a", ExportOptions(form, private=True))


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", ".ssh", "a/b", "a\\b", "", "x" * 101])
@pytest.mark.parametrize(
    "place",
    [("name",), ("modalities", 0, "modality"), ("modalities", 0, "group"), ("shards", 0, "split")],
)
def test_a_document_whose_names_lead_out_of_a_folder_is_refused(
    dataset_root: Path, place: tuple[Any, ...], name: str
) -> None:
    path = dataset_root / "versions" / open_dataset(dataset_root).version / "dataset.json"
    said = json.loads(path.read_text())
    *parents, last = place
    part = said
    for key in parents:
        part = part[key]
    part[last] = name
    path.write_text(json.dumps(said))
    with pytest.raises(DatasetError, match="cannot be read"):
        open_dataset(dataset_root)


def test_a_document_that_pads_beyond_all_reason_is_refused(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    path = dataset_root / "versions" / dataset.version / "dataset.json"
    said = json.loads(path.read_text())
    said["modalities"][0]["shape_yx"] = [200_000, 200_000]
    path.write_text(json.dumps(said))
    with pytest.raises(IntegrityError, match="refused"):
        SampleReader(open_dataset(dataset_root), replace(EVERYTHING, groups=("s2_10m",)))
