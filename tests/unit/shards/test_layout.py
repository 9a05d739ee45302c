"""One form of every value as JSON, and writes of which nothing is left behind in memory."""

from __future__ import annotations

import errno
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import DatasetError, IntegrityError
from shards.layout import (
    canonical_json,
    plain,
    pretty_json,
    replace_durably,
    require_shard_path,
    shard_path,
    sync_folder,
    version_path,
)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("inf"), None),
        (float("nan"), None),
        (np.int16(-3), -3),
        (np.True_, True),
        (np.datetime64("2021-06-01T10:00:00"), "2021-06-01T10:00:00Z"),
        (np.datetime64("NaT"), None),
        (np.array(["2021-06-01T10:00:00", "NaT"], "datetime64[s]"), ["2021-06-01T10:00:00Z", None]),
        (np.array([[1.5, np.nan]], np.float32), [[1.5, None]]),
        (datetime(2021, 6, 1, 10, tzinfo=UTC), "2021-06-01T10:00:00Z"),
        (date(2021, 6, 1), "2021-06-01"),
        ((1, {2: np.str_("a")}), [1, {"2": "a"}]),
    ],
)
def test_a_value_has_one_form(value: Any, wanted: Any) -> None:
    assert plain(value) == wanted
    assert type(plain(value)) is type(wanted)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="Path has no place in JSON"):
        plain({"a": [Path()]})


def test_the_hashed_form_is_utf_8_without_spaces_and_sorted() -> None:
    assert canonical_json({"b": "Zürich", "a": (1.0, np.nan)}) == '{"a":[1.0,null],"b":"Zürich"}'.encode()
    assert pretty_json({"b": "Zürich", "a": 1}) == '{\n  "b": "Zürich",\n  "a": 1\n}\n'.encode()


def test_all_of_a_file_is_brought_to_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[int, int] = {}
    monkeypatch.setattr(os, "fsync", lambda file: sizes.update({os.fstat(file).st_ino: os.fstat(file).st_size}))
    path = tmp_path / "terraweft.json"
    opened = len(os.listdir("/proc/self/fd"))
    replace_durably(path, b"content")
    assert len(os.listdir("/proc/self/fd")) == opened
    assert sizes[path.stat().st_ino] == len(b"content")
    assert tmp_path.stat().st_ino in sizes, "and its name after it"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "path",
    ["../a.tar", "/etc/passwd", f"shards/../{'0' * 16}.tar", f"shards/train/00000-{'0' * 16}.tar/..",
     f"shards/a/b/00000-{'0' * 16}.tar", f"shards/train/00000-{'0' * 15}.tar",
     f"shards/train/00000-{'0' * 16}.tar\n", None],
)  # fmt: skip
def test_a_table_leads_to_shards_alone(path: object) -> None:
    with pytest.raises(IntegrityError, match="is no name of a shard"):
        require_shard_path(path)
    assert require_shard_path(shard_path("train", 7, "0" * 64)) == f"shards/train/00007-{'0' * 16}.tar"


@pytest.mark.parametrize("version", ["", "..", "20261120T101500Z-3f9a1c0", "20261120T101500Z-3f9a1c0b/../x"])
def test_a_version_s_folder_lies_among_the_versions(version: str) -> None:
    with pytest.raises(DatasetError, match="is no version's name"):
        version_path(version)
    for ending in ("", ".tmp"):
        assert version_path(f"20261120T101500Z-3f9a1c0b{ending}") == f"versions/20261120T101500Z-3f9a1c0b{ending}"


@pytest.mark.parametrize(("code", "is_passed"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_folder_that_cannot_be_asked_is_passed_and_a_broken_disk_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_passed: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "fsync", refuse)
    if is_passed:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="no"):
            sync_folder(tmp_path)
