from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.chip import Outcome
from schemas.errors import DatasetError, IntegrityError, RecipeError
from schemas.sample import Sample
from shards.check import check_dataset
from shards.export import ExportOptions, export_dataset
from shards.garbage import find_garbage, remove_garbage
from shards.layout import TABLES, version_path
from shards.outcome_tables import run_table
from shards.pointer import list_versions, read_pointer, unfinished_versions
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.text_table import texts_table
from shards.version import promote, publish
from tests.unit.shards import made_up
from tests.unit.shards.durability import files_of, synced_files

LATER = made_up.CREATED + timedelta(days=1)


def samples_of(count: int, seed: int = 1) -> list[Sample]:
    return [made_up.sample(n, seed=seed) for n in range(count)]


def tree(root: Path) -> dict[str, str]:
    """Every file of a dataset but Icechunk's and work/, with its hash."""
    files = (p for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in ("zarr", "work"))
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Killed(BaseException):
    """As if the process died."""


def killer(at: str) -> Any:
    def on_step(step: str) -> None:
        if step == at:
            raise Killed(step)

    return on_step


def test_a_version_holds_every_file_of_the_format(dataset_root: Path) -> None:
    pointer = read_pointer(open_storage(dataset_root))
    assert pointer is not None
    folder = dataset_root / "versions" / pointer.current
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "chips.parquet",
        "collection.json",
        "croissant.json",
        "dataset.json",
        "outcomes.parquet",
        "report",
        "run.parquet",
        "texts.parquet",
        "zarr.parquet",
    ]
    document = json.loads((folder / "dataset.json").read_text())
    assert pointer.current == f"20261120T101500Z-{document['content_hash'][:8]}"
    assert document["counts"] == {
        "planned": 12,
        "kept": 10,
        "rejected": {"clear_fraction": 1},
        "failed": {"AssetMissingError": 1},
    }
    assert document["splits"]["counts"] == {"test": 2, "train": 6, "val": 2}
    assert set(document["tables"]) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "dataset.json"
    }
    assert document["diff"]["added"] == 10


def test_two_builds_give_the_same_files_whatever_the_order(tmp_path: Path) -> None:
    samples = samples_of(10)
    for name, order in (("a", samples), ("b", samples[::-1])):
        publish(open_storage(tmp_path / name), made_up.draft(tmp_path / name, order))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_what_belongs_to_the_run_changes_no_name_and_no_table(tmp_path: Path) -> None:
    first = publish(open_storage(tmp_path / "a"), made_up.draft(tmp_path / "a", samples_of(4)))
    other = made_up.draft(tmp_path / "b", samples_of(4), run={"host": "other", "seconds": 99.0}, run_rows=run_table(()))
    second = publish(open_storage(tmp_path / "b"), other)
    assert first.version == second.version
    for name in TABLES:
        assert (tmp_path / "a" / first.path / name).read_bytes() == (tmp_path / "b" / second.path / name).read_bytes()


def test_the_same_content_again_publishes_nothing(dataset_root: Path) -> None:
    before = tree(dataset_root)
    chunks = {p.name for p in (dataset_root / "zarr/chunks").iterdir()}
    steps: list[str] = []
    result = publish(
        open_storage(dataset_root), made_up.draft(dataset_root, samples_of(10), created=LATER), on_step=steps.append
    )
    assert (result.published, result.version) == (False, open_dataset(dataset_root).version)
    assert tree(dataset_root) == before
    assert {p.name for p in (dataset_root / "zarr/chunks").iterdir()} == chunks
    assert steps == ["tables", "zarr"]


def test_a_changed_chip_makes_a_version_that_shares_the_other_shards(dataset_root: Path) -> None:
    old = open_dataset(dataset_root)
    samples = samples_of(10)
    samples[3] = made_up.sample(3, seed=2)
    result = publish(open_storage(dataset_root), made_up.draft(dataset_root, samples, created=LATER))
    new = open_dataset(dataset_root)
    assert new.document.parent_version == old.version
    assert {k: result.diff[k] for k in ("added", "changed", "unchanged", "removed")} == {
        "added": 0,
        "changed": 1,
        "unchanged": 9,
        "removed": 0,
    }
    changed = {r.path for r in new.document.shards} - {r.path for r in old.document.shards}
    assert [path.split("/")[1] for path in changed] == ["val"]
    assert result.diff["shard_bytes_written"] == sum(r.bytes for r in new.document.shards if r.path in changed)
    assert check_dataset(dataset_root).problems == []


def test_a_reader_stays_with_its_version_while_another_is_published(dataset_root: Path) -> None:
    old = open_dataset(dataset_root)
    layer = old.xarray("s2_10m")
    ids = old.chip_ids("val")
    expected = {chip_id: old.sample(chip_id).layers["s2_10m"].data.copy() for chip_id in ids}
    late = open_dataset(dataset_root)
    publish(open_storage(dataset_root), made_up.draft(dataset_root, samples_of(10, seed=2), created=LATER))
    for reader in (old, late):
        for chip_id in ids:
            np.testing.assert_array_equal(reader.sample(chip_id).layers["s2_10m"].data, expected[chip_id])
    rows = dict(zip(old.chips["chip_id"], old.chips["zarr_index"], strict=True))
    for chip_id in ids:
        data = layer["data"].isel(chip=rows[chip_id]).values
        np.testing.assert_array_equal(data[: len(expected[chip_id])], expected[chip_id])
    assert open_dataset(dataset_root).version != old.version
    assert open_dataset(dataset_root, old.version).version == old.version
    assert not np.array_equal(open_dataset(dataset_root).sample(ids[0]).layers["s2_10m"].data, expected[ids[0]])


STEPS = ["tables", "zarr", "documents", "report", "guard", "verify", "zarr tag", "rename", "pointer"]


def test_a_name_whose_tag_was_freed_is_taken_by_no_other_version(dataset_root: Path) -> None:
    """By a clock that was set back all names follow the newest version: the same content had the same name again."""
    storage = open_storage(dataset_root)
    new = made_up.draft(dataset_root, samples_of(10, seed=2))
    with pytest.raises(Killed):
        publish(storage, new, on_step=killer("rename"))
    (dead,) = remove_garbage(storage, find_garbage(storage)).tags
    result = publish(storage, made_up.draft(dataset_root, samples_of(10, seed=2)))
    assert result.published
    assert (result.version != dead, result.version[-8:]) == (True, dead[-8:])
    assert open_dataset(dataset_root).xarray("s2_10m")["data"].shape[0] == 10
    assert check_dataset(dataset_root).problems == []


def test_the_steps_are_told_in_order(tmp_path: Path) -> None:
    steps: list[str] = []
    publish(
        open_storage(tmp_path),
        made_up.draft(tmp_path, samples_of(3), report=made_up.write_report),
        on_step=steps.append,
    )
    assert steps == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_in_between_leaves_the_last_version(dataset_root: Path, step: str) -> None:
    before = open_dataset(dataset_root)
    new = made_up.draft(dataset_root, samples_of(10, seed=2), created=LATER, report=made_up.write_report)
    with pytest.raises(Killed):
        publish(open_storage(dataset_root), new, on_step=killer(step))
    report = check_dataset(dataset_root)
    assert report.problems == []
    assert open_dataset(dataset_root).version == before.version
    result = publish(open_storage(dataset_root), replace(new, created=LATER + timedelta(hours=1)))
    assert result.published
    assert open_dataset(dataset_root).version == result.version
    after = check_dataset(dataset_root)
    assert after.problems == []
    assert len(list_versions(open_storage(dataset_root))) == 2


@pytest.mark.parametrize("step", ["zarr", "rename", "pointer"])
def test_whoever_dies_in_the_first_publish_leaves_no_dataset_and_can_go_on(tmp_path: Path, step: str) -> None:
    draft = made_up.draft(tmp_path, samples_of(5), report=made_up.write_report)
    with pytest.raises(Killed):
        publish(open_storage(tmp_path), draft, on_step=killer(step))
    with pytest.raises(DatasetError, match="no dataset"):
        open_dataset(tmp_path)
    assert publish(open_storage(tmp_path), draft).published
    assert check_dataset(tmp_path).problems == []


def test_what_a_killed_process_left_is_swept_and_named(dataset_root: Path) -> None:
    leftover = dataset_root / version_path("20250101T000000Z-00000000.tmp")
    leftover.mkdir()
    (leftover / "chips.parquet").write_bytes(b"")
    assert any("never finished" in note for note in check_dataset(dataset_root).notes)
    publish(open_storage(dataset_root), made_up.draft(dataset_root, samples_of(10)))
    assert not leftover.exists()


def test_a_layer_that_may_not_be_given_on_is_refused_unless_private(tmp_path: Path) -> None:
    closed = (*made_up.SOURCES, made_up.SOURCES[0].model_copy(update={"layer": "enmap", "redistributable": False}))
    with pytest.raises(DatasetError, match="may not be given on: enmap"):
        publish(open_storage(tmp_path), made_up.draft(tmp_path, samples_of(3), sources=closed, zarr_shard_chips=None))
    assert list_versions(open_storage(tmp_path)) == []
    private = made_up.draft(tmp_path, samples_of(3), sources=closed, private=True, zarr_shard_chips=None)
    result = publish(open_storage(tmp_path), private)
    assert "**Private**" in (tmp_path / result.path / "README.md").read_text()


def test_the_card_tells_every_licence_and_that_of_the_fused_label(tmp_path: Path) -> None:
    """Of a collection whose items stand under two licences the card told the last; of the fused label none."""
    first = made_up.SOURCES[0]
    sources = (*made_up.SOURCES, first.model_copy(update={"licence": "CC-BY-SA-4.0", "share_alike": True}))
    fused = {"licence": "ODbL-1.0", "attribution": "(c) OSM", "share_alike": True, "non_commercial": False}
    draft = made_up.draft(tmp_path, samples_of(2), sources=sources, fusion={"licences": [fused]})
    card = (tmp_path / publish(open_storage(tmp_path), draft).path / "README.md").read_text()
    told = [line for line in card.splitlines() if line.startswith(f"| {first.layer} | {first.collection} |")]
    assert [licence in line for line, licence in zip(told, (first.licence, "CC-BY-SA-4.0"), strict=True)] == [True] * 2
    assert "| label | fused of the label sources |  | ODbL-1.0 | share alike | (c) OSM |\n" in card
    for form, is_bound in (("huggingface", True), ("ssl4eo", False)):
        export_dataset(open_dataset(tmp_path), tmp_path / form, ExportOptions(form))
        papers = (tmp_path / form / "LICENCES.md").read_text()
        assert ("- `label` (fused of the label sources): ODbL-1.0 (share alike). (c) OSM\n" in papers) == is_bound


def test_a_closed_licence_of_one_chip_is_enough_to_refuse(tmp_path: Path) -> None:
    samples = samples_of(3)
    licence = {"layer": "x", "id": "proprietary", "redistributable": False}
    samples[1] = replace(samples[1], row={**samples[1].row, "licences": [licence]})
    with pytest.raises(DatasetError, match="proprietary"):
        publish(open_storage(tmp_path), made_up.draft(tmp_path, samples))


@pytest.mark.parametrize(
    "secret",
    [
        "/home/someone/data",
        "https://me:pw@host/x",
        "https://host/a.tif?sig=abc",
        "sk-abcdefghijklmnopqrstuvwxyz",
        "file:///x",
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_secrets_and_local_paths_are_not_published(tmp_path: Path, secret: str) -> None:
    storage = open_storage(tmp_path)
    draft = made_up.draft(tmp_path, samples_of(3), recipe={"href": secret}, zarr_shard_chips=None)
    with pytest.raises(DatasetError, match="must not be published") as caught:
        publish(storage, draft)
    assert "\n" not in caught.value.line()
    assert list_versions(open_storage(tmp_path)) == []
    assert not list((tmp_path / "versions").iterdir())


def test_messages_and_addresses_of_a_run_lose_their_signatures(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    failed = dataset.outcomes.set_index("chip_id").loc["u31_failed"]
    assert failed["reason"] == "404 at https://host/a.tif"
    assert {url for urls in dataset.run["urls"] for url in urls} == {"https://host/a.tif"}


def test_a_draft_that_does_not_hold_together_is_refused(tmp_path: Path) -> None:
    draft = made_up.draft(tmp_path, samples_of(4))
    kept = list(draft.outcomes)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"outcomes": kept[1:]}, "differ by 1 chip"),
        ({"outcomes": [*kept, kept[0]]}, "twice"),
        ({"chips": draft.chips.slice(1)}, "chips.parquet"),
        ({"chips": pa.concat_tables([draft.chips, draft.chips.slice(0, 1)])}, "twice"),
        ({"shards": draft.shards[1:]}, "the shards"),
        ({"texts": texts_table(made_up.texts(77))}, "not kept"),
    ]
    for change, message in wrong:
        with pytest.raises(IntegrityError, match=message):
            publish(open_storage(tmp_path), replace(draft, **change))
    nothing = replace(
        draft,
        outcomes=[Outcome("x", "rejected", "clear_fraction")],
        chips=draft.chips.slice(0, 0),
        shards=[],
        texts=texts_table(()),
    )
    said = r"no chip was kept of 1 \(clear_fraction 1\) \(loosen the recipe's select"
    with pytest.raises(RecipeError, match=said):  # as which a back-fill goes on to the next day
        publish(open_storage(tmp_path), nothing)
    lost = Outcome("y", "failed", "HTTP 404", error_class="AssetMissingError", url="https://host/map.tif")
    nothing = replace(nothing, outcomes=[*nothing.outcomes, lost])
    said = (
        r"\(clear_fraction 1, AssetMissingError 1\); the first failure, AssetMissingError: HTTP 404 \[https://host/map"
    )
    with pytest.raises(DatasetError, match=said):
        publish(open_storage(tmp_path), nothing)


def test_without_zarr_there_is_no_zarr(tmp_path: Path) -> None:
    publish(open_storage(tmp_path), made_up.draft(tmp_path, samples_of(3), zarr_shard_chips=None))
    assert not (tmp_path / "zarr").exists()
    assert check_dataset(tmp_path).problems == []
    with pytest.raises(DatasetError, match="no Zarr"):
        open_dataset(tmp_path).xarray("s2_10m")


@pytest.mark.parametrize("length", [None, 5000])
def test_a_shard_that_is_gone_or_cut_is_not_published(tmp_path: Path, length: int | None) -> None:
    draft = made_up.draft(tmp_path, [made_up.sample(n) for n in range(3)], zarr_shard_chips=None)
    path = tmp_path / draft.shards[0].record.path
    path.unlink() if length is None else os.truncate(path, length)
    with pytest.raises(IntegrityError, match=r"1 shard\(s\) are not there, or are cut, first shards/train/"):
        publish(open_storage(tmp_path), draft)
    assert list_versions(open_storage(tmp_path)) == []


def test_another_scheme_is_one_line() -> None:
    with pytest.raises(DatasetError, match=r"ftp:// holds no dataset") as caught:
        open_dataset("ftp://host/dataset?token=1")
    assert "token" not in caught.value.line()
    assert open_storage("file:///a%20b").uri == open_storage("file://localhost/a%20b").uri == "/a b"
    assert open_storage("x").uri == str(Path.cwd() / "x")


def test_an_address_that_lacks_a_slash_is_no_folder() -> None:
    with pytest.raises(DatasetError, match=r"s3:/ lacks a slash"):
        open_storage("s3:/bucket/dataset")
    assert open_storage("./s3:/x").uri == str(Path.cwd() / "s3:/x")


def test_a_tilde_that_no_shell_filled_in_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_storage("~/x").uri == open_storage(Path("~/x")).uri == str(tmp_path / "x")


def test_a_file_system_that_brings_no_folder_to_the_disk_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_disk = os.fsync

    def as_on_a_shared_folder(file: int) -> None:
        if S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        to_disk(file)

    monkeypatch.setattr(os, "fsync", as_on_a_shared_folder)
    root = tmp_path / "dataset"
    publish(open_storage(root), made_up.draft(root, samples_of(1), zarr_shard_chips=None))
    dataset = open_dataset(root)
    export_dataset(dataset, tmp_path / "texts", ExportOptions("texts"))
    assert len(dataset.texts) == len(samples_of(1)[0].texts)


@pytest.mark.parametrize(
    "address", ["s3://bucket/run#2", "s3://bucket/run?sig=1", "gs://bucket/run#", "file:///run#2", "file://run/2"]
)
def test_an_address_is_taken_whole_or_refused(address: str) -> None:
    with pytest.raises(DatasetError) as caught:
        open_storage(address)
    assert "sig" not in caught.value.line()


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2, "name": "x", "current": "y"}', '{"format": 1}'])
def test_an_unreadable_pointer_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "terraweft.json").write_text(content)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("version", ["../../etc", "20261120T101500Z-00000000", "latest"])
def test_a_version_that_is_not_there_is_one_line(dataset_root: Path, version: str) -> None:
    with pytest.raises(DatasetError, match="no version"):
        open_dataset(dataset_root, version)


@pytest.mark.filterwarnings(
    "ignore:.*unclosed file:ResourceWarning",  # webdataset leaves closing to the garbage collector
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
def test_the_card_says_what_is_in_it_and_its_code_runs(
    dataset_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (dataset_root / open_dataset(dataset_root).folder / "README.md").read_text()
    assert "planned 12 = kept 10 + rejected 1 + failed 1" in card
    assert "| osm | extract | 0 | ODbL-1.0 | share alike | (c) OpenStreetMap contributors |" in card
    assert "- `label`: Two classes (2 classes; 255 = abstain): 0 Tree, 1 Water\n- `label_worldcover`" in card
    assert "run lengths go row by row" in card
    assert "of physical values, not of stored ones" in card
    assert "of the train split.\n" in card
    assert "\n\n\n" not in card
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(dataset_root)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out.count("(1, 2, 24, 36)") == 2
    assert names["layer"]["data"].dims == ("chip", "time", "band", "y", "x")
    assert names["sample"].chip_id == names["dataset"].chips["chip_id"].iloc[0]


def test_papers_name_the_version_over_whose_train_split_statistics_were_taken(tmp_path: Path) -> None:
    """A refresh keeps them, and may deal chips out anew: today's test chips are in means of yesterday's train split."""
    kept = {"version": "20261119T101500Z-0a0a0a0a", "chips": 2, "touched_since": 2}
    draft = made_up.draft(tmp_path, samples_of(2), estimates={"statistics": {}}, estimated=kept)
    card = (tmp_path / publish(open_storage(tmp_path), draft).path / "README.md").read_text()
    said = "train split, as it was in version `20261119T101500Z-0a0a0a0a`"
    assert f"{said}: a refresh keeps them.\n" in card
    export_dataset(open_dataset(tmp_path), tmp_path / "out", ExportOptions("texts"))
    assert f"{said}.\n" in (tmp_path / "out" / "README.md").read_text()


def test_papers_name_the_dataset_that_estimates_were_taken_from(tmp_path: Path) -> None:
    """A version alone led nowhere: this dataset has none of that name."""
    other = "20261119T101500Z-0a0a0a0a"
    kept = {"version": other, "chips": 2, "touched_since": 2, "datasets": {other: "elsewhere"}}
    draft = made_up.draft(tmp_path, samples_of(2), estimates={"statistics": {}}, estimated=kept)
    result = publish(open_storage(tmp_path), draft)
    document = open_dataset(tmp_path).document
    assert document.estimates_for_another()["datasets"] == {other: "elsewhere"}
    card = (tmp_path / result.path / "README.md").read_text()
    assert f"as it was in version `{other}` of the dataset `elsewhere`: a refresh keeps them.\n" in card
    assert f"The fusion behind `label` was estimated in version `{other}` of the dataset `elsewhere`.\n" in card
    export_dataset(open_dataset(tmp_path), tmp_path / "out", ExportOptions("texts"))
    assert f"`{other}` of the dataset `elsewhere`.\n" in (tmp_path / "out" / "README.md").read_text()
    assert f"those of {other} of the dataset elsewhere, taken over" in "\n".join(
        check_dataset(tmp_path, statistics=True).notes
    )


def test_papers_say_where_fusion_was_estimated_apart_from_statistics(tmp_path: Path) -> None:
    """Edited labels are fused anew, and the card and the report said that the parent's fusion stands."""
    other = "20261119T101500Z-0a0a0a0a"
    kept = {"version": other, "chips": 2, "touched_since": 2, "parts": {"fusion": ""}}
    draft = made_up.draft(tmp_path, samples_of(2), estimates={"statistics": {}}, estimated=kept)
    result = publish(open_storage(tmp_path), draft)
    document = open_dataset(tmp_path).document
    assert (document.part_of("fusion"), document.part_of("shifts")) == (result.version, other)
    assert "The fusion behind" not in (tmp_path / result.path / "README.md").read_text()


def test_papers_tell_groups_apart_whose_statistics_are_of_several_versions(tmp_path: Path) -> None:
    """Those of a modality that was edited are this version's, and were said to be the parent's."""
    last, new = made_up.LAYERS[-1].group, {made_up.LAYERS[-1].group: ""}
    kept = {"version": "20261119T101500Z-0a0a0a0a", "chips": 2, "touched_since": 2, "bands": new}
    draft = made_up.draft(tmp_path, samples_of(2), estimates={"statistics": {}}, estimated=kept)
    result = publish(open_storage(tmp_path), draft)
    document = open_dataset(tmp_path).document
    assert document.estimates["bands"] == {last: result.version}
    assert document.statistics_of(last) == result.version
    assert document.statistics_of(made_up.LAYERS[0].group) == kept["version"]
    card = (tmp_path / result.path / "README.md").read_text()
    export_dataset(open_dataset(tmp_path), tmp_path / "out", ExportOptions("zarr", modalities=(last,)))
    assert f" and `{result.version}` (`{last}`): a refresh keeps them.\n" in card
    assert "whole dataset's train split.\n" in (tmp_path / "out" / "README.md").read_text()


def test_names_in_the_card_cannot_break_its_tables(tmp_path: Path) -> None:
    hostile = made_up.SOURCES[0].model_copy(update={"attribution": "a | b\n# c <script>x</script> [d](e)"})
    result = publish(open_storage(tmp_path), made_up.draft(tmp_path, samples_of(2), sources=(hostile,)))
    card = (tmp_path / result.path / "README.md").read_text()
    assert r"a \| b # c &lt;script>x&lt;/script> \[d](e) |" in card


def test_an_unchanged_zarr_is_tagged_again_and_not_written(dataset_root: Path) -> None:
    chunks = {p.name for p in (dataset_root / "zarr/chunks").iterdir()}
    old = open_dataset(dataset_root)
    result = publish(
        open_storage(dataset_root), made_up.draft(dataset_root, samples_of(10), created=LATER, recipe_hash="c" * 64)
    )
    assert result.published
    assert {p.name for p in (dataset_root / "zarr/chunks").iterdir()} == chunks
    new = open_dataset(dataset_root)
    assert new.document.zarr["digest"] == old.document.zarr["digest"]
    assert new.document.zarr["tag"] == new.version
    assert check_dataset(dataset_root).problems == []


def test_a_version_that_waits_leaves_readers_where_they_are_until_it_is_promoted(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    first = publish(storage, made_up.draft(tmp_path / "dataset", samples_of(3)))
    later = made_up.draft(tmp_path / "dataset", samples_of(4), created=LATER)
    waiting = publish(storage, later, current=False)
    assert waiting.published
    assert waiting.version != first.version
    assert read_pointer(storage).current == first.version  # type: ignore[union-attr]
    again = publish(storage, later, current=False)
    assert (again.version, again.published) == (waiting.version, True)
    assert read_pointer(storage).current == first.version  # type: ignore[union-attr]
    assert promote(storage, waiting.version) == first.version
    assert read_pointer(storage).current == waiting.version  # type: ignore[union-attr]
    assert promote(storage, waiting.version) == waiting.version


def test_a_version_whose_parent_was_replaced_meanwhile_is_not_promoted(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    first, later, latest = (
        made_up.draft(
            tmp_path / "dataset", samples_of(3 + n), created=made_up.CREATED + timedelta(days=n), zarr_shard_chips=None
        )
        for n in range(3)
    )
    publish(storage, first)
    waiting = publish(storage, later, current=False)
    other = publish(storage, latest)
    with pytest.raises(DatasetError, match="is current"):
        promote(storage, waiting.version)
    assert read_pointer(storage).current == other.version  # type: ignore[union-attr]


def test_a_draft_made_from_another_version_than_the_current_one_is_not_published(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    root, samples = tmp_path / "dataset", [samples_of(2 + n) for n in range(4)]
    with pytest.raises(DatasetError, match="moved the pointer meanwhile, from 20200101T000000Z-00000000 to nothing"):
        publish(storage, made_up.draft(root, samples[0], parent="20200101T000000Z-00000000", zarr_shard_chips=None))
    first = publish(storage, made_up.draft(root, samples[0], parent="", zarr_shard_chips=None)).version
    second = publish(storage, made_up.draft(root, samples[1], parent=first, zarr_shard_chips=None)).version
    for parent in ("", first):
        with pytest.raises(DatasetError, match=f"from {parent or 'nothing'} to {second}"):
            publish(storage, made_up.draft(root, samples[2], parent=parent, zarr_shard_chips=None))
    assert list_versions(storage) == [first, second]
    assert read_pointer(storage).current == second  # type: ignore[union-attr]


def test_content_that_was_there_before_another_is_a_version_of_its_own(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    one, other = (made_up.draft(tmp_path / "dataset", samples_of(n), zarr_shard_chips=None) for n in (2, 3))
    first, second, again = (publish(storage, draft) for draft in (one, other, one))
    assert again.published
    assert list_versions(storage) == [first.version, second.version, again.version]
    assert open_dataset(tmp_path / "dataset").document.parent_version == second.version


def test_versions_are_folders_of_their_names_that_hold_a_document(tmp_path: Path) -> None:
    names = ("20261120T101500Z-3f9a1c0b", "20261119T101500Z-3f9a1c0b", "20261121T101500Z-3f9a1c0b.tmp", "mine")
    for name, file in zip(names, ("dataset.json", "chips.parquet", "dataset.json", "dataset.json"), strict=True):
        (tmp_path / "versions" / name).mkdir(parents=True)
        (tmp_path / "versions" / name / file).touch()
    (tmp_path / "versions" / names[1] / "report").mkdir()
    (tmp_path / "versions" / names[1] / "report" / "dataset.json").touch()
    storage = open_storage(tmp_path)
    assert list_versions(storage) == [names[0]]
    assert unfinished_versions(storage) == sorted(names[1:])


def test_a_first_version_that_waits_is_found_by_its_name_alone(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "dataset")
    draft = made_up.draft(tmp_path / "dataset", samples_of(3), zarr_shard_chips=None)
    waiting = publish(storage, draft, current=False)
    with pytest.raises(DatasetError, match="there is no dataset"):
        open_dataset(storage)
    assert len(open_dataset(storage, waiting.version)) == 3
    assert promote(storage, waiting.version) == ""
    assert open_dataset(storage).version == waiting.version


def test_all_that_a_version_lists_is_on_the_disk_before_the_pointer_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = synced_files(monkeypatch)
    waiting: list[Path] = []

    def look(step: str) -> None:
        if step == "pointer":
            folders = (tmp_path / name for name in ("shards", "versions", "zarr"))
            waiting.extend(path for folder in folders for path, inode in files_of(folder) if inode not in synced)

    for seed in (1, 2):
        publish(open_storage(tmp_path), made_up.draft(tmp_path, samples_of(6, seed)), on_step=look)
        assert waiting == []
