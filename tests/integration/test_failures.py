"""What a build does when its sources fail: which chips are lost, what is said, and how the next run mends it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.faulty import Faulty, faulty, faulty_recipe
from tests.integration.support import Terraweft, World, current_document, current_version

LATE = "S2B_MSIL2A_20220620T101039_R022_T32TQT_20220620T142239"
"""The southern of the two parts of the later date."""


@pytest.fixture
def recipe(sandbox_recipe: Path, tmp_path: Path) -> Path:
    """One region, two bands, one label: chips of 480 m, one tile."""
    found = faulty_recipe(sandbox_recipe)
    found["grid"]["tile_chips"] = 8
    path = tmp_path / "faulty.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@pytest.fixture
def source(world: World, tmp_path: Path) -> Iterator[Faulty]:
    """The world's files behind a server that fails on demand."""
    with faulty(world.index, tmp_path / "catalog") as server:
        yield server


Run = subprocess.CompletedProcess[str]


def _build(on_cluster: Terraweft, recipe: Path, root: Path, source: Faulty, *more: object) -> Run:
    return on_cluster("build", recipe, "--out", root, *more, TERRAWEFT_FAULTY=str(source.catalog))


def _table(root: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(current_version(root) / f"{name}.parquet").set_index("chip_id")


def _one_line(done: Run) -> str:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


def test_missing_asset_fails_its_chips_alone_and_the_next_run_repairs_them(
    on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path
) -> None:
    root, whole = tmp_path / "dataset", tmp_path / "whole"
    path = source.path_of(LATE, "B04")
    source.missing.add(path)
    done = _build(on_cluster, recipe, root, source)
    assert done.returncode == 0, done.stderr
    outcomes, run = _table(root, "outcomes"), _table(root, "run")
    failed = outcomes[outcomes["state"] == "failed"]
    kept = outcomes[outcomes["state"] == "kept"]
    assert 0 < len(failed) < len(outcomes)
    assert len(failed) + len(kept) == len(outcomes)
    assert set(failed["error_class"]) == {"AssetMissingError"}
    for chip_id in failed.index:
        assert list(run.loc[chip_id, "urls"]) == [source.url + path]
    assert f"planned {len(outcomes)} = kept {len(kept)} + rejected 0 + failed {len(failed)}" in done.stdout
    assert current_document(root)["counts"]["failed"] == {"AssetMissingError": len(failed)}
    first = _table(root, "chips")
    assert check_dataset(root).problems == []

    source.missing.clear()
    again = _build(on_cluster, recipe, root, source)
    assert again.returncode == 0, again.stderr
    assert "published" in again.stdout
    document, second = current_document(root), _table(root, "chips")
    assert set(second.index) - set(first.index) == set(failed.index)
    for chip_id in failed.index:  # exactly those that need the file
        assert LATE in second.loc[chip_id, "s2.item_ids"]
    for chip_id in first.index:
        assert LATE not in first.loc[chip_id, "s2.item_ids"]
        assert second.loc[chip_id, "sample_sha256"] == first.loc[chip_id, "sample_sha256"]
    assert document["diff"]["added"] == len(failed)
    assert document["diff"]["changed"] == 0
    assert check_dataset(root).problems == []

    fresh = _build(on_cluster, recipe, whole, source, "--estimates", root)  # what was estimated with some chips missing
    assert fresh.returncode == 0, fresh.stderr
    assert current_document(whole)["content_hash"] == document["content_hash"]


def test_failures_that_change_from_run_to_run_leave_no_stale_fragment(
    on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path
) -> None:
    other = LATE.replace("T32TQT", "T32UQU")
    root = tmp_path / "dataset"
    kept = []
    for item_id in (LATE, other):
        source.missing = {source.path_of(item_id, "B02")}
        done = _build(on_cluster, recipe, root, source)
        assert done.returncode == 0, done.stderr
        outcomes = _table(root, "outcomes")
        kept.append(set(outcomes.index[outcomes["state"] == "kept"]))
        assert set(_table(root, "chips").index) == kept[-1]
    assert kept[0]
    assert kept[1]
    assert kept[0] != kept[1]
    assert check_dataset(root).problems == []


def test_truncated_raster_is_a_decode_error(
    on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path
) -> None:
    root, path = tmp_path / "dataset", source.path_of(LATE, "B04")
    source.cut[path] = (source.files / path.lstrip("/")).stat().st_size * 2 // 3
    done = _build(on_cluster, recipe, root, source)
    assert done.returncode == 0, done.stderr
    outcomes = _table(root, "outcomes")
    failed = outcomes[outcomes["state"] == "failed"]
    assert 0 < len(failed) < len(outcomes)
    assert set(failed["error_class"]) == {"DecodeError"}
    assert set(outcomes["state"]) == {"failed", "kept"}


def test_bursts_of_500_lose_nothing(on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path) -> None:
    """The first two answers for every file are 500: pixels, masks and labels."""
    source.failing["*"] = 2
    root = tmp_path / "dataset"
    done = _build(on_cluster, recipe, root, source)
    assert done.returncode == 0, done.stderr
    outcomes = _table(root, "outcomes")
    assert set(outcomes["state"]) == {"kept"}, outcomes["reason"].unique()
    dataset = open_dataset(root)
    for chip_id in dataset.chip_ids():
        assert not np.isin(dataset.sample(chip_id).labels["worldcover"], [0]).all()
    dataset.close()


def test_item_without_an_asset_is_left_out_and_named(
    on_cluster: Terraweft, recipe: Path, world: World, tmp_path: Path
) -> None:
    def edit(item: dict[str, Any]) -> dict[str, Any] | None:
        if item["id"] == LATE:
            del item["assets"]["B04"]
        if item["id"].startswith("ESA_WorldCover_10m_2020"):
            del item["assets"]["map"]
        return item

    root = tmp_path / "dataset"
    with faulty(world.index, tmp_path / "catalog", edit) as source:
        done = _build(on_cluster, recipe, root, source)
    assert done.returncode == 0, done.stderr
    assert f"item {LATE}: no asset for B04" in done.stdout
    assert set(_table(root, "outcomes")["state"]) == {"kept"}
    assert not any(LATE in ids for ids in _table(root, "chips")["s2.item_ids"])
    dataset = open_dataset(root)
    for chip_id in dataset.chip_ids():  # a product's item that is not wanted does not take the wanted one along
        assert (dataset.sample(chip_id).labels["worldcover"] != 0).any()
    dataset.close()


def _as_strings(value: Any) -> Any:
    """Every number of a document as a string."""
    if isinstance(value, dict):
        return {key: _as_strings(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_strings(one) for one in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def test_items_with_numbers_as_strings_or_without_a_crs_give_the_same_pixels(
    on_cluster: Terraweft, recipe: Path, source: Faulty, world: World, tmp_path: Path
) -> None:
    def edit(item: dict[str, Any]) -> dict[str, Any]:
        if not item["id"].startswith("S2"):
            return item
        if "_T32TQT_" in item["id"]:  # what was told as a number is told as a string
            return item | {"properties": _as_strings(item["properties"]), "assets": _as_strings(item["assets"])}
        for one in (item["properties"], *item["assets"].values()):  # the file's header knows better
            one |= {key: None for key in ("proj:epsg", "proj:code", "proj:wkt2") if key in one}
        return item

    whole, root = tmp_path / "whole", tmp_path / "dataset"
    assert _build(on_cluster, recipe, whole, source).returncode == 0
    with faulty(world.index, tmp_path / "spoilt", edit) as spoilt:
        done = _build(on_cluster, recipe, root, spoilt)
    assert done.returncode == 0, done.stderr
    seen = {item_id for ids in _table(root, "chips")["s2.item_ids"] for item_id in ids}
    assert {"T32TQT", "T32UQU"} <= {item_id.split("_")[4] for item_id in seen}, done.stdout
    built, wanted = open_dataset(root), open_dataset(whole)
    assert built.chip_ids() == wanted.chip_ids()
    for chip_id in built.chip_ids():
        one, other = (opened.sample(chip_id).layers["s2"] for opened in (built, wanted))
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.scale, other.scale)
    built.close()
    wanted.close()


def test_missing_label_raster_fails_the_chips_and_says_which(
    on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path
) -> None:
    text = yaml.safe_load(recipe.read_text())
    text["grid"]["tile_chips"] = 1
    recipe.write_text(yaml.safe_dump(text))
    items = [item for item in source.items() if item["id"].startswith("ESA_WorldCover_10m_2021")]
    source.missing = {item["assets"]["map"]["href"].removeprefix(source.url) for item in items}
    done = _build(on_cluster, recipe, tmp_path / "dataset", source)
    line = _one_line(done)
    assert "no chip was kept" in line
    assert "AssetMissingError" in line
    source.missing.clear()
    again = _build(on_cluster, recipe, tmp_path / "dataset", source)
    assert again.returncode == 0, again.stderr
    assert set(_table(tmp_path / "dataset", "outcomes")["state"]) == {"kept"}


def test_second_build_of_one_dataset_is_refused(
    on_cluster: Terraweft,
    recipe: Path,
    source: Faulty,
    environment: dict[str, str],
    command: list[str],
    tmp_path: Path,
) -> None:
    root = tmp_path / "dataset"
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        go_on.wait(300)

    source.before = wait
    first = subprocess.Popen(
        [*command, "build", str(recipe), "--out", str(root), "--workers", "1"],
        env={**environment, "TERRAWEFT_FAULTY": str(source.catalog)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert reached.wait(300)
        line = _one_line(_build(on_cluster, recipe, root, source))
    finally:
        go_on.set()
        _, error = first.communicate(timeout=300)
    assert "another build holds this dataset" in line
    assert first.returncode == 0, error
    assert set(_table(root, "outcomes")["state"]) == {"kept"}


def test_output_that_is_a_file_is_one_line(on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path) -> None:
    file = tmp_path / "not-a-folder"
    file.write_text("mine")
    assert str(file) in _one_line(_build(on_cluster, recipe, file, source))
    assert str(file) in _one_line(_build(on_cluster, recipe, file / "below", source))
    assert file.read_text() == "mine"


def test_output_that_cannot_be_written_is_one_line(
    on_cluster: Terraweft, recipe: Path, source: Faulty, tmp_path: Path
) -> None:
    if os.geteuid() == 0:  # modes do not bind root; the process table takes no folders from anybody
        closed = Path("/proc/self/fdinfo/terraweft")
    else:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o555)
    assert closed.name in _one_line(_build(on_cluster, recipe, closed, source))
