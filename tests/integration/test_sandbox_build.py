"""The main job on the tiny world: complete, correct to the bit, the same after kills, unchanged when repeated."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pystac_client
import pytest
import rasterio
from rasterio.windows import Window

from shards.check import check_dataset
from shards.reader import Dataset, open_dataset
from tests.integration.support import Build, Terraweft, World, current_version
from tests.integration.test_public_libraries import LIBRARIES_LEAVE_FILES_OPEN, check_with_public_libraries

TABLES = ("chips.parquet", "texts.parquet", "outcomes.parquet")


@pytest.fixture(scope="module")
def dataset(build: Build) -> Iterator[Dataset]:
    opened = open_dataset(build.root)
    yield opened
    opened.close()


def _fingerprint(root: Path) -> dict[str, str]:
    """What promise 2 speaks of: every tar, the three tables, and the arrays and chunks of Zarr."""
    folder = current_version(root)
    document = json.loads((folder / "dataset.json").read_text())
    files = sorted((root / "shards").rglob("*.tar"))
    hashes = {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    hashes |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in TABLES}
    return hashes | {"zarr": document["zarr"]["digest"], "content": document["content_hash"]}


def test_check_finds_nothing(build: Build, terraweft: Terraweft) -> None:
    report = check_dataset(build.root)
    assert report.problems == []
    done = terraweft("check", build.root)
    assert done.returncode == 0
    assert "nothing wrong" in done.stdout


@pytest.mark.filterwarnings(*LIBRARIES_LEAVE_FILES_OPEN)
def test_public_libraries_alone_read_everything(
    build: Build, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    counted = check_with_public_libraries(build.root)
    assert counted["chips"] == counted["samples"] == len(dataset.chips)


def test_check_finds_one_flipped_byte(build: Build, terraweft: Terraweft, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(build.root), str(copy)], check=True)
    shard = next(iter(sorted((copy / "shards").rglob("*.tar"))))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = terraweft("check", copy)
    assert done.returncode == 1
    assert shard.name in done.stdout


def test_every_planned_chip_is_accounted_for(build: Build, dataset: Dataset) -> None:
    counts = dataset.document.counts
    planned, kept = counts["planned"], counts["kept"]
    assert planned == kept + sum(counts["rejected"].values()) + sum(counts["failed"].values())
    assert len(dataset.outcomes) == planned
    assert kept == len(dataset.chips) > 5
    assert f"planned {planned} = kept {kept} + rejected" in build.output


def test_all_sensors_labels_and_texts_are_there(dataset: Dataset) -> None:
    assert {layer.modality for layer in dataset.document.modalities} == {"s2", "s1_asc", "s1_desc", "landsat", "enmap"}
    assert {"s2_10m", "s2_20m", "s2_60m"} <= set(dataset.groups)
    sample = dataset.sample(dataset.chip_ids()[0])
    assert set(sample.labels) == {"worldcover", "worldcover_2020", "corine", "osm"}
    assert sample.label is not None
    assert sample.confidence is not None
    assert {(text["kind"], text["style"]) for text in sample.texts} >= {("caption", "short"), ("caption", "long")}
    enmap = dataset.layer("enmap")
    assert len(enmap.bands) == 224
    centres = [band.centre_nm for band in enmap.bands if band.centre_nm is not None]
    assert any(later < earlier for earlier, later in itertools.pairwise(centres))  # VNIR/SWIR overlap


def test_every_target_of_the_recipe_is_there_and_follows_from_the_labels(dataset: Dataset) -> None:
    chips = dataset.chips.set_index("chip_id")
    for sample in dataset.iterate(modalities=[], members=["label", "targets"]):
        assert sample.label is not None
        assert not sample.layers
        assert set(sample.targets) == {"built_up", "cover_100m", "houses", "old_map"}
        np.testing.assert_array_equal(sample.targets["built_up"] == 255, sample.label == 255)
        np.testing.assert_array_equal(sample.targets["built_up"] == 1, sample.label == 4)
        assert sample.targets["cover_100m"].shape == (11, 5, 5)
        assert sample.targets["houses"].shape == (8, 8)
        assert set(sample.target_documents) == {"streets"}
        shares = dict(chips.loc[sample.chip_id, "label.fractions"])
        assert set(chips.loc[sample.chip_id, "target.covers"]) == {n for n, share in shares.items() if share >= 0.05}
    assert max(len(s.target_documents["streets"]["edges"]) for s in dataset.iterate(modalities=[])) > 3


def test_classes_are_counted_and_disagreement_is_told_pair_by_pair(dataset: Dataset) -> None:
    fusion = dataset.document.fusion
    assert set(fusion["statistics"]) == {"label", "worldcover", "worldcover_2020", "corine", "osm"}
    pixels = sum(split["pixels"] for split in fusion["statistics"]["worldcover"].values())
    assert pixels == 48 * 48 * len(dataset.chips)
    assert len(fusion["disagreement"]) == 6
    assert set(fusion["confusion"]["osm"]["regions"]) == {"", "north", "south"}
    assert fusion["weights"] == dict.fromkeys(("worldcover", "worldcover_2020", "corine", "osm"), 1.0)
    pairs = dict(dataset.chips["label.disagreement"].iloc[0])
    assert 0 <= pairs["worldcover|worldcover_2020"] <= 1


def test_both_regions_and_both_zones_are_there(dataset: Dataset) -> None:
    assert set(dataset.chips["region"]) == {"north", "south"}
    assert set(dataset.chips["epsg"]) == {32632, 32633, 32734}


def test_corine_is_absent_in_the_south_and_that_is_no_error(dataset: Dataset) -> None:
    south = dataset.chips[dataset.chips["region"] == "south"]["chip_id"]
    legend = dataset.document.legends["corine"]
    for chip_id in south:
        assert set(np.unique(dataset.sample(chip_id).labels["corine"])) <= set(legend["nodata"])


def _source_window(path: Path, band: int, transform: list[float], shape: tuple[int, int], epsg: int) -> Any:
    """A direct read of the source, or None where the chip's lattice is not the file's."""
    with rasterio.open(path) as file:
        zone = file.crs.to_epsg()
        if zone % 100 != epsg % 100:
            return None
        y0 = transform[5] - (10_000_000 if epsg >= 32700 and zone < 32700 else 0)
        column = (transform[2] - file.transform.c) / file.transform.a
        row = (file.transform.f - y0) / file.transform.a
        if abs(column - round(column)) > 1e-6 or abs(row - round(row)) > 1e-6 or file.transform.a != transform[0]:
            return None
        window = Window(round(column), round(row), shape[1], shape[0])
        if window.col_off < 0 or window.row_off < 0:
            return None
        if window.col_off + shape[1] > file.width or window.row_off + shape[0] > file.height:
            return None
        return file.read(band, window=window)


def test_pixels_equal_a_direct_read_of_the_source(dataset: Dataset, world: World) -> None:
    """Bit for bit, for every modality, wherever no resampling is due; nothing of ours reads the source here."""
    catalog = pystac_client.Client.open(world.stac_url)
    items: dict[str, Any] = {}
    compared: dict[str, int] = {}
    whole: dict[str, int] = {}
    for chip_id in dataset.chip_ids():
        sample = dataset.sample(chip_id)
        for layer in dataset.document.modalities:
            stored = sample.layers[layer.group]
            for t, item_id in enumerate(sample.row[f"{layer.modality}.item_ids"]):
                if item_id not in items:
                    items[item_id] = next(iter(catalog.search(ids=[item_id]).items()))
                for b, band in list(enumerate(layer.bands))[:: 1 if len(layer.bands) < 20 else 37]:
                    key, index = (band.name, 1) if band.name in items[item_id].assets else ("image", b + 1)
                    path = world.path_of(items[item_id].assets[key].href)
                    direct = _source_window(
                        path, index, sample.row[f"{layer.group}.transform"], stored.data.shape[-2:], sample.row["epsg"]
                    )
                    if direct is None:
                        continue
                    filled = direct != (layer.nodata if layer.nodata is not None else 0)
                    np.testing.assert_array_equal(
                        stored.data[t, b][filled], direct[filled], err_msg=f"{chip_id} {item_id}"
                    )
                    compared[layer.modality] = compared.get(layer.modality, 0) + int(filled.sum())
                    whole[layer.modality] = whole.get(layer.modality, 0) + int(filled.all())
    assert set(compared) == {"s2", "s1_asc", "s1_desc", "landsat", "enmap"}, compared
    assert all(count > 1000 for count in compared.values()), compared
    assert all(count > 0 for count in whole.values()), whole


def test_native_thirty_metre_layers_keep_their_own_lattice(dataset: Dataset) -> None:
    for row in dataset.chips.to_dict("records"):
        for group in ("landsat", "enmap"):
            pixel, _, x0, _, _, y0 = row[f"{group}.transform"]
            rows, columns = row[f"{group}.shape_yx"]
            left, bottom, right, top = row["bounds_xyxy"]
            assert pixel == 30
            assert x0 % 30 == 15
            assert (rows, columns) == (17, 17)  # 480 m are 16 pixels; one more, overhanging on both sides
            assert x0 < left < right < x0 + 30 * columns
            assert y0 - 30 * rows < bottom < top < y0


def test_repeating_the_build_publishes_nothing(
    build: Build, terraweft: Terraweft, world: World, sandbox_recipe: Path
) -> None:
    before, versions = _fingerprint(build.root), sorted((build.root / "versions").iterdir())
    done = terraweft("build", sandbox_recipe, "--out", build.root, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    assert "nothing had changed" in done.stdout
    assert _fingerprint(build.root) == before
    assert sorted((build.root / "versions").iterdir()) == versions


def _run_until(
    command: list[str], environment: dict[str, str], stop: Any, number: int, send: Any = os.kill
) -> tuple[int, str]:
    """Start a build, send the signal to the process as soon as ``stop`` holds; exit code and standard error."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not stop():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        send(process.pid, number)
    _, error = process.communicate(timeout=120)
    return process.returncode, error


def _complete(root: Path, stage: str) -> dict[str, float]:
    folders = root.glob(f"work/runs/*/{stage}/*")
    return {path.name: path.stat().st_mtime for path in folders if ".tmp-" not in path.name}


def test_an_interrupted_and_then_killed_build_resumes_to_the_same_dataset(
    build: Build, terraweft: Terraweft, environment: dict[str, str], command: list[str], world: World, tmp_path: Path
) -> None:
    """Ctrl-C in the first pass, SIGKILL in the second with four workers; a kill in the first: `test_stored_plans`."""
    root = tmp_path / "dataset"
    arguments = ["build", str(build.recipe), "--out", str(root)]
    variables = {"TERRAWEFT_SANDBOX_STAC": world.stac_url}
    code, error = _run_until(
        [*command, *arguments],
        {**environment, **variables},
        lambda: _complete(root, "first"),
        signal.SIGINT,
        os.killpg,  # as a terminal does
    )
    assert code == 130, error
    assert "run the same command again" in error
    assert len(error.strip().splitlines()) == 1, error
    interrupted = _complete(root, "first")
    code, _ = _run_until(
        [*command, *arguments, "--workers", "4"],
        {**environment, **variables},
        lambda: len(_complete(root, "second")) >= 2,
        signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    assert not (root / "terraweft.json").exists()
    done_before = _complete(root, "first") | interrupted
    assert len(done_before) > len(interrupted) >= 1
    done = terraweft(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert _fingerprint(root) == _fingerprint(build.root)
    after = _complete(root, "first")
    assert all(after[name] == written for name, written in done_before.items()), "a finished tile was done again"
    reused = re.search(r"(\d+) of them from an earlier run", done.stdout)
    assert reused is not None
    assert int(reused.group(1)) >= len(done_before)
    assert check_dataset(root).problems == []


def test_nothing_of_this_machine_stands_in_the_dataset(build: Build, world: World) -> None:
    paths = [str(build.root.parent).encode(), str(world.index.root).encode()]
    for path in build.root.rglob("*"):
        if path.is_file() and "work" not in path.relative_to(build.root).parts:
            content = path.read_bytes()
            frozen = path.name == "items.parquet"  # the catalog's own answers: what a rebuild reads them from
            for word in paths if frozen else [*paths, b"127.0.0.1", b"localhost"]:
                assert word not in content, f"{word!r} in {path.relative_to(build.root)}"


def test_show_and_report_work_from_the_command_line(build: Build, terraweft: Terraweft, tmp_path: Path) -> None:
    shown = terraweft("show", build.root)
    assert shown.returncode == 0, shown.stderr
    assert "s2_10m" in shown.stdout
    chip_id = pd.read_parquet(current_version(build.root) / "chips.parquet", columns=["chip_id"])["chip_id"][0]
    png = tmp_path / "chip.png"
    assert terraweft("show", build.root, chip_id, "--png", png).returncode == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    plain = terraweft("show", build.root, chip_id).stdout
    assert "▀" not in plain
    assert "no colours here" in plain
    assert "▀" in terraweft("show", build.root, chip_id, FORCE_COLOR="1", TERM="xterm-256color", PYTHONUTF8="1").stdout
    missing = terraweft("show", build.root, "no-such-chip")
    assert missing.returncode == 2
    assert len(missing.stderr.strip().splitlines()) == 1
    report = terraweft("report", build.root)
    assert report.returncode == 0, report.stderr
    assert Path(report.stdout.strip()).read_text().startswith("<!doctype html>")


def test_plan_writes_nothing(
    terraweft: Terraweft, world: World, sandbox_recipe: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    done = terraweft("plan", sandbox_recipe, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    for word in ("chips", "items", "to read", "requests", "on disk", "LLM calls", "tokens", "price"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_is_served_ends_in_a_line_and_leaves_nothing_behind(
    world: World, command: list[str], tmp_path: Path
) -> None:
    """A service manager's SIGTERM left the rewritten catalog in the folder for temporary files."""
    process = subprocess.Popen(
        [*command, "sandbox", "--out", str(world.index.root), "--size", "tiny", "--serve"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("serving"):
                break
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "terraweft: interrupted\n")
    assert list(tmp_path.iterdir()) == []
