from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from captioners.base import Written
from captioners.template import TemplateCaptioner
from flows import captioning
from flows.caption_inputs import dated_bands
from flows.captioning import OPEN, TEXTS, Waiting
from flows.job import Job
from flows.run_marks import end_run, last_reading, run_purse
from schemas.georef import GeoRef
from schemas.sample import LayerArrays
from shards.layout import replace_durably
from shards.stored_tables import read_unasked
from shards.text_table import texts_table, write_texts
from tests.unit.captioners.answering import inputs
from tests.unit.shards.durability import synced_files


def tiles(folder: Path, **chips: list[str]) -> dict[str, Path]:
    """Fragments of a second pass in which chips wait."""
    second = {}
    for tile_id, waiting in chips.items():
        second[tile_id] = folder / tile_id
        second[tile_id].mkdir(parents=True)
        pending = {chip_id: {"facts": []} for chip_id in waiting}
        (second[tile_id] / "tile.json").write_text(json.dumps({"chips": waiting, "pending": pending}))
    return second


def job(folder: Path) -> Job:
    recipe = SimpleNamespace(name="r", hash=lambda: "0123456789abcdef")
    return cast(Job, SimpleNamespace(folder=folder, recipe=recipe))


def test_a_tile_is_kept_when_it_is_whole_and_open_chips_wait_again(tmp_path: Path) -> None:
    second = tiles(tmp_path, a=["a1", "a2"], b=["b1"], c=[])
    waiting = Waiting(job(tmp_path), second)
    assert (waiting.tiles, waiting.keep_empty()) == (["a", "b", "c"], 1)
    assert [waiting.take(Written(chip, [], why)) for chip, why in (("a2", "budget"), ("b1", ""), ("a1", ""))] == [
        False, True, True,
    ]  # fmt: skip
    assert json.loads((second["a"] / OPEN).read_text()) == {"a2": "budget"}
    assert not (second["b"] / OPEN).exists()
    again = Waiting(job(tmp_path), second)
    assert again.tiles == ["a"]
    one = inputs(1, kinds=("short",))[0]
    assert again.take(Written("a2", TemplateCaptioner().write([one])[0]))
    assert [len(rows) for rows in json.loads((second["a"] / TEXTS).read_text()).values()] == [0, 1]
    assert not (second["a"] / OPEN).exists()
    assert len(list(again.texts())) == 1
    assert Waiting(job(tmp_path), second).tiles == []


def test_a_kill_between_a_tiles_files_forgets_no_chip_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it comes before or after the texts are written, the first time or when a chip is asked again."""

    def keep_until(call: int, open_chips: str) -> list[str]:
        calls = iter(range(9))

        def stopped(path: Path, content: bytes) -> None:
            if next(calls) == call:
                raise KeyboardInterrupt
            replace_durably(path, content)

        monkeypatch.setattr(captioning, "replace_durably", stopped)
        waiting = Waiting(job(tmp_path), second)
        with suppress(KeyboardInterrupt):
            for chip_id in sorted(waiting._lacks["a"]):
                waiting.take(Written(chip_id, [], "budget" if chip_id in open_chips else ""))
        again = Waiting(job(tmp_path), second)
        return sorted(again._lacks.get("a", ()))

    for call in range(3):
        second = tiles(tmp_path / f"{call}", a=["1", "2", "3"])
        assert set("23") <= set(keep_until(call, "23"))
        assert "3" in keep_until(call, "3")


def test_texts_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = synced_files(monkeypatch)
    second = tiles(tmp_path / "second", a=["a1"])
    Waiting(job(tmp_path), second).take(Written("a1", [], "budget"))
    run_purse(job(tmp_path))
    written = [second["a"] / TEXTS, second["a"] / OPEN, tmp_path / "captions.json"]
    assert {path.stat().st_ino for path in written} <= synced


def test_a_purse_lasts_until_a_version_is_published(tmp_path: Path) -> None:
    purse = run_purse(job(tmp_path))
    assert run_purse(job(tmp_path)) == purse
    end_run(job(tmp_path))
    assert run_purse(job(tmp_path)) != purse


def test_a_run_that_does_again_has_one_name_until_it_has_ended(tmp_path: Path) -> None:
    run = job(tmp_path / "run")
    assert last_reading(run, "v1", False) == ""
    first = last_reading(run, "v1", True)
    assert last_reading(run, "v1", True) == first, "it was killed and goes on"
    assert last_reading(run, "v1", False) == first
    assert last_reading(run, "v2", True) != first, "another recipe's run was published meanwhile"
    end_run(run)
    assert last_reading(run, "v1", True) != first


def test_chips_that_no_model_could_be_asked_about_are_read_back(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for one, reason in zip(inputs(4, kinds=("short",)), ("budget", "violations", "backend", ""), strict=True):
        record = TemplateCaptioner().write([one])[0][0].model_dump(mode="json")
        status = "fallback" if reason else "pass"
        rows.append({**record, "verification": status, "checks": {"fallback": reason} if reason else {}})
    write_texts(tmp_path / "texts.parquet", texts_table(rows))
    assert read_unasked((tmp_path / "texts.parquet").read_bytes()) == {"u31-0000", "u31-0002"}


@pytest.mark.parametrize(
    ("row", "composed"),
    [
        ({}, [False] * 2),
        ({"s2.dates_used": [1, 3, 0]}, [False, True]),
        ({"s2.first_datetimes": ["a", "b", None], "s2.last_datetimes": ["a", "c", None]}, [False, True]),
    ],
)
def test_a_picture_of_several_dates_is_told_from_one(row: dict[str, Any], composed: list[bool]) -> None:
    days = np.array(["2021-08-15", "2022-02-16", "NaT"], "datetime64[ns]")
    grid = GeoRef(32632, 0.0, 0.0, 10.0, (1, 2))
    layer = LayerArrays(
        np.ones((3, 1, 1, 2), np.uint16), np.ones((3, 1, 2), np.uint8), days, np.ones(3), np.zeros(3), grid
    )
    facts = {
        "row": row,
        "layer_attrs": {"s2": {"kind": "optical", "unit": "reflectance", "nodata": 0}},
        "common_names": {"s2": ["red"]},
        "bands": {"s2": ["B04"]},
        "wavelengths_nm": {"s2": [664.6]},
    }
    dates = dated_bands("s2", layer, facts, "s2")
    assert [date.day for date in dates] == ["2021-08-15", "2022-02-16"]
    assert [date.is_composite for date in dates] == composed
