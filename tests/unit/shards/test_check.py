from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from schemas.errors import DatasetError
from schemas.sample import LayerArrays, Sample
from shards.check import check_dataset
from shards.pointer import move_pointer, read_tagged_pointer
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.version import publish
from shards.zarr_store import open_repository
from tests.unit.shards import made_up


def folder_of(root: Path) -> Path:
    return root / open_dataset(root).folder


def words(root: Path) -> str:
    return "\n".join(str(problem) for problem in check_dataset(root).problems)


def test_a_sound_dataset_has_no_problem(dataset_root: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_dataset(dataset_root, on_shard=lambda done, total: told.append((done, total)))
    assert report.ok
    assert report.notes == []
    assert report.chips == 10
    assert report.files == 4 + 9
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    shards = sum(p.stat().st_size for p in (dataset_root / "shards").rglob("*.tar"))
    assert report.bytes > shards


def test_there_must_be_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset"):
        check_dataset(tmp_path)


def test_a_version_that_is_not_the_current_one_is_checked_by_its_name(dataset_root: Path) -> None:
    """One that waits for its validation could only be checked once readers had it."""
    first = open_dataset(dataset_root)
    samples = [made_up.sample(number) for number in range(4)]
    created = made_up.CREATED + timedelta(days=1)
    waits = publish(first.storage, made_up.draft(dataset_root, samples, created=created), current=False).version
    table = dataset_root / "versions" / waits / "texts.parquet"
    pq.write_table(pq.read_table(table).slice(1), table)
    assert check_dataset(dataset_root).version == first.version
    found = check_dataset(dataset_root, waits)
    assert (found.version, found.chips) == (waits, 4)
    assert "differs from the texts.json members of the shards" in [problem.what for problem in found.problems]
    (dataset_root / "terraweft.json").unlink()  # as the first of all, which waits
    assert check_dataset(dataset_root, first.version).ok is False
    assert check_dataset(dataset_root, first.version).chips == len(first)
    for version, said in ((None, "there is no dataset"), ("../versions", "there is no version ../versions")):
        with pytest.raises(DatasetError, match=said):
            check_dataset(dataset_root, version)


def _flip_pixel(root: Path) -> None:
    path = sorted((root / "shards").rglob("*.tar"))[0]
    content = bytearray(path.read_bytes())
    content[1024] ^= 1
    path.write_bytes(content)


def _cut_shard(root: Path) -> None:
    path = sorted((root / "shards").rglob("*.tar"))[0]
    path.write_bytes(path.read_bytes()[:5000])


def _lose_shard(root: Path) -> None:
    sorted((root / "shards").rglob("*.tar"))[0].unlink()


def _lose_table(root: Path) -> None:
    (folder_of(root) / "texts.parquet").unlink()


def _change_card(root: Path) -> None:
    path = folder_of(root) / "README.md"
    path.write_text(path.read_text().replace("made-up", "made-op"))


def _add_file(root: Path) -> None:
    (folder_of(root) / "notes.txt").write_text("x")


def _add_secret(root: Path) -> None:
    (folder_of(root) / "extra.json").write_text('{"href": "https://h/a?sig=1"}')


def _edit_document(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = folder_of(root) / "dataset.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit


def _unlist_croissant(root: Path) -> None:
    _edit_document(lambda d: d["tables"].pop("croissant.json"))(root)
    (folder_of(root) / "croissant.json").unlink()


def _unlist_report(root: Path) -> None:
    _edit_document(lambda d: d["tables"].pop("report/index.html"))(root)
    shutil.rmtree(folder_of(root) / "report")


def _lose_version(root: Path) -> None:
    shutil.rmtree(folder_of(root))


def _lose_zarr(root: Path) -> None:
    shutil.rmtree(root / "zarr")


def _lose_tag(root: Path) -> None:
    shutil.rmtree(next((root / "zarr/refs").glob("tag.*")))


def _lose_chunk(root: Path) -> None:
    max((root / "zarr/chunks").iterdir(), key=lambda p: p.stat().st_size).unlink()


def _chunks(root: Path) -> list[Path]:
    return sorted((root / "zarr/chunks").iterdir(), key=lambda p: p.stat().st_size)


def _flip_chunk(root: Path) -> None:
    path = _chunks(root)[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _cut_chunk(root: Path) -> None:
    path = _chunks(root)[-1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _file_for_folder(root: Path) -> None:
    shutil.rmtree(root / "shards/val")
    (root / "shards/val").write_text("x")


def _edit_column(table: str, column: str, values: Callable[[pa.Table], Any]) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = folder_of(root) / table
        content = pq.read_table(path)
        place = content.column_names.index(column)
        kind = content.schema.field(place)
        pq.write_table(content.set_column(place, kind, pa.array(values(content), kind.type)), path)

    return edit


def _other_table(root: Path) -> None:
    path = folder_of(root) / "chips.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (_flip_pixel, "sha256 is not the manifest's"),
    "a cut shard": (_cut_shard, "has 5000 bytes"),
    "a lost shard": (_lose_shard, "is not there"),
    "a lost table": (_lose_table, "texts.parquet: is not there"),
    "a changed card": (_change_card, "README.md: its sha256"),
    "an unlisted file": (_add_file, "notes.txt: is not listed"),
    "a secret": (_add_secret, "a signed address"),
    "a lost version": (_lose_version, "there is no version"),
    "no Zarr": (_lose_zarr, "this dataset has no Zarr"),
    "no tag": (_lose_tag, "has no tag"),
    "a lost chunk": (_lose_chunk, "zarr: cannot be read"),
    "another table": (_other_table, "is not in chips.parquet"),
    "wrong counts": (_edit_document(lambda d: d["counts"].update(planned=99)), "planned 99 is not"),
    "wrong version": (_edit_document(lambda d: d.update(version="x")), "dataset.json says version x"),
    "wrong recipe": (_edit_document(lambda d: d.update(recipe_hash="b" * 64)), "content_hash does not follow"),
    "another content": (_edit_document(lambda d: d.update(content_hash="b" * 64)), "with the content hash bbbbbbbb"),
    "no Croissant": (_unlist_croissant, ": croissant.json is not listed in dataset.json"),
    "not to be given on": (
        _edit_document(lambda d: d["sources"][0].update(redistributable=False)),
        "may not be given on",
    ),
    "another row": (_edit_column("chips.parquet", "caption", lambda t: ["x"] * len(t)), "differ in ['caption']"),
    "another order": (
        _edit_document(lambda d: d["shards"][0]["chip_ids"].reverse()),
        "those of the manifest, in order",
    ),
    "another place": (
        _edit_column("chips.parquet", "shard_offset", lambda t: [n + 1 for n in t["shard_offset"].to_pylist()]),
        "does not lie where chips.parquet says",
    ),
    "another split": (_edit_column("chips.parquet", "split", lambda t: ["test"] * len(t)), "is of split test"),
    "wrong band": (_edit_document(lambda d: d["modalities"][0]["bands"].pop()), "2 bands, dataset.json lists 1"),
    "wrong digest": (_edit_document(lambda d: d["zarr"].update(digest="0" * 64)), "zarr: digest"),
    "wrong dtype": (_edit_document(lambda d: d["modalities"][0].update(dtype="int16")), "stored as uint16"),
    "wrong legend": (_edit_document(lambda d: d["legends"]["label"]["classes"].pop()), "label holds class 1"),
    "a flipped bit in Zarr": (_flip_chunk, "cannot be read: RuntimeError"),
    "a cut chunk": (_cut_chunk, "cannot be read: IcechunkError"),
    "a file for a folder": (_file_for_folder, "Not a directory"),
    "no footprints": (_edit_column("chips.parquet", "geometry", lambda t: [b"xx"] * len(t)), "GEOSException"),
    "an unknown CRS": (_edit_column("chips.parquet", "epsg", lambda t: [999999] * len(t)), "CRSError"),
    "no place in Zarr": (_edit_column("chips.parquet", "zarr_index", lambda t: [99] * len(t)), "zarr u31_0003: cannot"),
    "a text of nothing": (_edit_column("texts.parquet", "text", lambda t: [None] * len(t)), "texts.parquet: cannot be"),
    "no size": (
        _edit_document(lambda d: d["tables"]["chips.parquet"].pop("bytes")),
        ".bytes: Field required",
    ),
    "odd counts": (_edit_document(lambda d: d["counts"].update(rejected=3)), "cannot be read: counts.rejected"),
    "odd legend": (
        _edit_document(lambda d: d["legends"]["label"].update(classes=3)),
        "read: legends.label.classes",
    ),
    "odd type": (_edit_document(lambda d: d["modalities"][0].update(dtype="bits")), "u31_0003: cannot be read"),
    "a shard elsewhere": (_edit_document(lambda d: d["shards"][0].update(path="../../a.tar")), "is no name of a shard"),
    "a table elsewhere": (
        _edit_document(lambda d: d["tables"].update({"../../../dev/zero": {"bytes": 0, "sha256": ""}})),
        "lies elsewhere: refused",
    ),
    "another mean": (_edit_document(lambda d: d["modalities"][0]["bands"][0].update(mean=0.7)), "json: was changed"),
    "another licence": (_edit_document(lambda d: d["sources"][0].update(licence="CC0-1.0")), "json: was changed"),
    "another run": (_edit_document(lambda d: d["run"].update(seconds=1)), "json: was changed"),
    "a deep document": (lambda root: (folder_of(root) / "dataset.json").write_text("[" * 100_000), "cannot be read"),
    "no document": (_edit_document(lambda d: d.pop("name")), "cannot be read"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_is_found(dataset_root: Path, what: str) -> None:
    damage, message = BREAKS[what]
    damage(dataset_root)
    assert message in words(dataset_root)


def _sample_with(change: Callable[[LayerArrays], LayerArrays]) -> Sample:
    sample = made_up.sample(2)
    return replace(sample, layers={**sample.layers, "s2_10m": change(sample.layers["s2_10m"])})


def _silent_zero(layer: LayerArrays) -> LayerArrays:
    data = layer.data.copy()
    data[1, 0, 10, 11:14] = 0
    return replace(layer, data=data)


def _unknown_validity(layer: LayerArrays) -> LayerArrays:
    valid = layer.valid.copy()
    valid[0, 9, 9] = 8
    return replace(layer, valid=valid)


def _moved(sample: Sample) -> Sample:
    row = {**sample.row, "s2_10m.transform": [10.0, 0.0, 499_970.0, 0.0, -10.0, 5_600_240.0]}
    return replace(sample, row=row)


def _row(**more: Any) -> Callable[[], Sample]:
    return lambda: replace(made_up.sample(2), row={**made_up.sample(2).row, **more})


def _silent_nan() -> Sample:
    sample = made_up.sample(2)
    data = sample.layers["s1"].data.copy()
    data[1, 1, 7, 8] = np.nan
    return replace(sample, layers={**sample.layers, "s1": replace(sample.layers["s1"], data=data)})


def _no_confidence() -> Sample:
    return replace(made_up.sample(2), confidence=None)


def _texts_of(**more: Any) -> Callable[[], Sample]:
    def make() -> Sample:
        sample = made_up.sample(2)
        grounded = {**sample.texts[1], **more}
        return replace(sample, texts=(sample.texts[0], grounded))

    return make


SPAN = {"start": 0, "end": 5, "phrase": "Trees", "targets": [0], "fact_ids": [], "class_name": "Tree"}
BOX = {"kind": "box", "values": [1.0, 2.0, 30.0, 20.0], "shape_yx": [24, 36], "source": "label", "rle": []}

BROKEN_SAMPLES: dict[str, tuple[Callable[[], Sample], str]] = {
    "a zero that no mask tells of": (lambda: _sample_with(_silent_zero), "3 pixel(s) hold no data or NaN"),
    "a NaN that no mask tells of": (_silent_nan, "1 pixel(s) hold no data or NaN"),
    "a validity of 8": (lambda: _sample_with(_unknown_validity), "up to 8"),
    "a layer beside its chip": (lambda: _moved(made_up.sample(2)), "off by more than a pixel"),
    "a label without confidence": (_no_confidence, "one is there without the other"),
    "a footprint elsewhere": (
        _row(geometry_wkb=made_up.footprint((5e5, 5.7e6, 5e5 + 360, 5.7e6 + 240))),
        "from bounds_xyxy",
    ),
    "a span that is not its phrase": (_texts_of(spans=[{**SPAN, "end": 4}]), "is not 'Trees'"),
    "a target that is not there": (_texts_of(spans=[{**SPAN, "targets": [5]}]), "points to [5]"),
    "a box outside": (
        _texts_of(geometries=[{**BOX, "values": [1.0, 2.0, 40.0, 20.0]}, BOX]),
        "does not lie inside 36 x 24",
    ),
    "a mask too short": (
        _texts_of(geometries=[{**BOX, "kind": "mask", "values": [], "rle": [3]}, BOX]),
        "mask 0 has 3 pixels",
    ),
    "a revision of nothing": (_texts_of(parent_id="none"), "revises none"),
    "a text of another chip": (_texts_of(chip_id=made_up.chip_id(0)), "texts.json holds"),
}


@pytest.mark.parametrize("what", BROKEN_SAMPLES)
def test_a_sample_that_breaks_a_promise_is_found(tmp_path: Path, what: str) -> None:
    make, message = BROKEN_SAMPLES[what]
    samples = [made_up.sample(0), made_up.sample(1), make()]
    publish(open_storage(tmp_path), made_up.draft(tmp_path, samples, zarr_shard_chips=None))
    assert message in words(tmp_path)


def test_a_hostile_shard_is_refused_and_named(dataset_root: Path) -> None:
    path = sorted((dataset_root / "shards").rglob("*.tar"))[0]
    content = bytearray(path.read_bytes())
    content[156:157] = b"2"
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * 32 + sum(content[156:512]))
    path.write_bytes(content)
    found = words(dataset_root)
    assert "is no plain file" in found
    assert "are in no shard" in found


def test_a_document_that_is_laid_out_otherwise_is_the_same(dataset_root: Path) -> None:
    path = folder_of(dataset_root) / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert check_dataset(dataset_root).problems == []


def test_a_document_of_before_documents_held_their_hash_is_a_note(dataset_root: Path) -> None:
    _edit_document(lambda d: d["run"].pop("document_sha256"))(dataset_root)
    report = check_dataset(dataset_root)
    assert report.problems == []
    assert ["holds no hash of itself" in note for note in report.notes] == [True]


def test_a_version_without_a_report_is_a_note(dataset_root: Path) -> None:
    _unlist_report(dataset_root)
    report = check_dataset(dataset_root)
    assert f"versions/{report.version} has no report/index.html" in report.notes


def test_leftovers_are_notes_and_no_problems(dataset_root: Path) -> None:
    (dataset_root / "shards/train/00009-aaaaaaaaaaaaaaaa.tar").write_bytes(b"x")
    (dataset_root / "work").mkdir(exist_ok=True)
    (dataset_root / "work/fragment").write_bytes(b"xyz")
    (dataset_root / "work/marker").write_bytes(b"")
    (dataset_root / "versions/20260101T000000Z-00000000").mkdir()
    (dataset_root / "versions/20260101T000000Z-00000000/chips.parquet").write_bytes(b"x")
    repository = open_repository(open_storage(dataset_root))
    version = open_dataset(dataset_root).version
    repository.create_tag("20260101T000000Z-00000000", snapshot_id=repository.lookup_tag(version))
    shutil.rmtree(folder_of(dataset_root) / "report")
    report = check_dataset(dataset_root)
    assert [str(problem) for problem in report.problems] == [
        f"versions/{report.version}/report/index.html: is not there"
    ]
    assert any("1 file(s) in shards/ belong to no version" in note for note in report.notes)
    assert any("work/ holds 1 file(s), 3 bytes" in note for note in report.notes)
    assert "versions/20260101T000000Z-00000000 was never finished; `terraweft gc` removes it" in report.notes
    assert "zarr/ holds 1 tag(s) of no version, first 20260101T000000Z-00000000" in report.notes


def test_versions_after_the_current_one_are_a_note(dataset_root: Path) -> None:
    storage, first = open_storage(dataset_root), open_dataset(dataset_root).version
    later = made_up.draft(
        dataset_root, [made_up.sample(n) for n in range(3)], created=made_up.CREATED + timedelta(days=1)
    )
    second = publish(storage, later).version
    move_pointer(storage, "made-up", first, read_tagged_pointer(storage)[1])
    assert f"1 version(s) are newer than the current one, last {second}" in check_dataset(dataset_root).notes


def test_problems_are_listed_up_to_a_limit(dataset_root: Path) -> None:
    for number in range(250):
        (folder_of(dataset_root) / f"x{number}.txt").write_text("")
    report = check_dataset(dataset_root)
    assert len(report.problems) == 200
    assert report.notes[-1] == "50 further problem(s) are not listed"


def test_statistics_are_measured_again_when_asked_for(dataset_root: Path, tmp_path: Path) -> None:
    samples = [made_up.sample(n) for n in range(4)]
    layers = []
    for layer in made_up.LAYERS:
        bands = []
        for number, band in enumerate(layer.bands):
            values = [
                arrays.data[t, number][np.isin(arrays.valid[t], (1, 6))] * arrays.scale[t] + arrays.offset[t]
                for arrays in (s.layers[layer.group] for s in samples if s.split == "train")
                for t in range(arrays.data.shape[0])
            ]
            flat = np.concatenate(values).astype(np.float64)
            update = {"mean": float(flat.mean()), "std": float(flat.std()), "count": flat.size}
            bands.append(band.model_copy(update=update))
        layers.append(layer.model_copy(update={"bands": tuple(bands)}))
    root = tmp_path / "measured"
    publish(open_storage(root), made_up.draft(root, samples, layers=tuple(layers), zarr_shard_chips=None))
    assert check_dataset(root, statistics=True).problems == []
    found = "\n".join(str(p) for p in check_dataset(dataset_root, statistics=True).problems)
    assert "s2_10m B02" in found
    assert "dataset.json says 9" in found
    shifted = (layers[0].bands[0].model_copy(update={"mean": 0.5}), layers[0].bands[1])
    wrong = layers[0].model_copy(update={"bands": shifted})
    other = tmp_path / "wrong"
    publish(open_storage(other), made_up.draft(other, samples, layers=(wrong, *layers[1:]), zarr_shard_chips=None))
    assert "0.5, " in "\n".join(str(p) for p in check_dataset(other, statistics=True).problems)
    kept = {"version": "20261119T101500Z-0a0a0a0a", "chips": 4, "touched_since": 0}
    for own, problems in ((layers[0].group, 1), (layers[1].group, 0)):
        root = tmp_path / own
        estimated = kept | {"bands": {own: ""}}
        changed = made_up.draft(
            root, samples, layers=(wrong, *layers[1:]), zarr_shard_chips=None, estimates={}, estimated=estimated
        )
        publish(open_storage(root), changed)
        report = check_dataset(root, statistics=True)
        assert len(report.problems) == problems
        others = ", ".join(layer.group for layer in layers if layer.group != own)
        assert f"statistics of {others} are those of {kept['version']}, taken over: not measured again" in report.notes


def test_zarr_that_is_not_its_shard_is_found(dataset_root: Path) -> None:
    """The same dataset, but the tag holds the arrays of other samples."""
    other = dataset_root.parent / "other"
    publish(open_storage(other), made_up.draft(other, [made_up.sample(n, seed=9) for n in range(10)]))
    version = open_dataset(dataset_root).version
    shutil.rmtree(dataset_root / "zarr")
    shutil.copytree(other / "zarr", dataset_root / "zarr")
    tag = next((dataset_root / "zarr/refs").glob("tag.*"))
    tag.rename(tag.with_name(f"tag.{version}"))
    found = words(dataset_root)
    for name in ("s2_10m/data", "s1/data", "label", "label_worldcover", "confidence"):
        assert f"zarr {name} differs" in found


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("s2_10m/data", (10, 3, 2, 1 << 20, 1 << 20)),
        ("s2_10m/time", (10, 1 << 40)),
        ("label/data", (1 << 40, 24, 36)),
    ],
)
def test_zarr_of_a_size_that_no_memory_holds_is_told_and_not_read(
    dataset_root: Path, path: str, shape: tuple[int, ...]
) -> None:
    version = open_dataset(dataset_root).version
    repository = open_repository(open_storage(dataset_root))
    repository.create_branch("evil", repository.lookup_tag(version))
    session = repository.writable_session("evil")
    array = zarr.open_group(session.store)[path]
    assert isinstance(array, zarr.Array)
    array.resize(shape)
    repository.create_tag("evil", snapshot_id=session.commit("larger"))
    tag = dataset_root / f"zarr/refs/tag.{version}"
    shutil.rmtree(tag)
    tag.with_name("tag.evil").rename(tag)
    assert f"zarr {path} h" in words(dataset_root)
