"""Text exports: each form read back with plain libraries, and held against the records it was made from."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from captioners.template import KINDS, template_records
from schemas.errors import DatasetError
from schemas.georef import GeoRef
from shards.export import ExportOptions, export_dataset
from shards.export_layers import thumbnail
from shards.export_pointing import scaled
from shards.exporters import EXPORTERS
from shards.reader import Dataset, open_dataset
from shards.storage import open_storage
from shards.version import publish
from tests.unit.captioners.worlds import caption_input, make_world
from tests.unit.shards import made_up

SHAPE = (24, 36)
Export = Callable[..., Path]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight chips with texts of every kind."""
    root = tmp_path_factory.mktemp("texts")
    samples = []
    for number in range(8):
        sample = made_up.sample(number)
        one = caption_input(make_world(40 + number, shape=SHAPE), sample.chip_id, kinds=tuple(KINDS))
        texts = tuple(record.model_dump(mode="json") for record in template_records(one))
        samples.append(replace(sample, texts=texts))
    publish(open_storage(root), made_up.draft(root, samples, zarr_shard_chips=None))
    return open_dataset(root)


@pytest.fixture
def export(dataset: Dataset, tmp_path: Path) -> Export:
    def run(form: str, *modalities: str) -> Path:
        export_dataset(dataset, tmp_path / form, ExportOptions(form, modalities=modalities or None))
        return tmp_path / form

    return run


def texts(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {text["text_id"]: dict(text) for sample in dataset.iterate(None) for text in sample.texts}


def rows_of(folder: Path, ending: str) -> list[Any]:
    return [row for path in sorted(folder.glob(f"*.{ending}")) if path.name != "export.json"
            for row in json.loads(path.read_text())]  # fmt: skip


def test_chatearthnet_lists_pair_every_picture_with_its_caption(dataset: Dataset, export: Export) -> None:
    root = export("chatearthnet")
    rows = rows_of(root, "json")
    wanted = {t["chip_id"]: t["text"] for t in texts(dataset).values() if t["style"] == "chatearthnet"}
    assert {row["image_id"]: row["caption"] for row in rows} == wanted
    for row in rows:
        with Image.open(root / row["image"]) as picture:
            assert picture.size == (36, 24)


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")  # webdataset leaves it to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_rsteller_annotations_have_one_description_and_its_revisions_with_map_ids(
    dataset: Dataset, export: Export
) -> None:
    import webdataset

    root = export("rsteller")
    found = 0
    for path in root.glob("*.tar"):
        for entry in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False):
            body = json.loads(entry["json"])
            assert entry["jpg"][:2] == b"\xff\xd8"
            assert body["metadata"]["image_name"] == f"{entry['__key__']}.jpg"
            tasks = [one["task"] for one in body["annotations"]]
            assert tasks[0] in (1, 2)
            assert 1 <= len(tasks) - 1 <= 4
            assert set(tasks[1:]) == {3}
            assert len({one["text"] for one in body["annotations"]}) == len(tasks)
            (identifier,) = body["metadata"]["osm_ids"]
            assert re.fullmatch(r"(?:way|relation)/\d+", identifier)
            found += 1
    assert found == sum(t["style"] == "rsteller" and t["kind"] == "caption" for t in texts(dataset).values()) > 0


def test_skyscript_rows_have_two_titles(dataset: Dataset, export: Export) -> None:
    root = export("skyscript")
    rows = [row for path in root.glob("*.csv") for row in csv.DictReader(path.read_text().splitlines())]
    titles = {t["chip_id"]: t["text"] for t in texts(dataset).values() if t["style"] == "title"}
    assert {Path(row["filepath"]).stem: row["title"] for row in rows} == titles
    assert all((root / row["filepath"]).is_file() and row["title_multi_objects"] for row in rows)
    assert {"chip_id", "bounds_xyxy", "epsg", "facts"} == set(json.loads(next((root / "meta").iterdir()).read_text()))


def test_rsvlm_lines_hold_relations_and_typed_questions(dataset: Dataset, export: Export) -> None:
    root = export("rsvlm-qa")
    rows = [json.loads(line) for path in root.glob("*.jsonl") for line in path.read_text().splitlines()]
    known = texts(dataset)
    assert rows
    for row in rows:
        types = [pair["question_type"] for pair in row["vqa_pairs"]]
        assert min(types.count("spatial"), types.count("object"), types.count("scene"), types.count("quantity")) >= 2
        assert set(types) == {"spatial", "object", "scene", "quantity"}
        questions = [pair["question"] for pair in row["vqa_pairs"]]
        assert len(questions) == len(set(questions)) <= 9
        for pair in row["vqa_pairs"]:
            assert known[pair["question_id"]]["answer"] == pair["answer"]
        told = [t["text"] for t in known.values() if (t["chip_id"], t["style"]) == (row["id"], "relations")]
        assert ["; ".join(", ".join(one.values()) for one in row["relations"])] == (told or [""])
    assert any(row["relations"] for row in rows)


def test_relations_of_classes_whose_names_hold_commas_or_semicolons_are_exported(tmp_path: Path) -> None:
    """CORINE's beaches, BigEarthNet's moors, a legend of one's own: the export ended in a traceback."""
    kinds = {"labels": "relations", "qa": "relation"}
    told = "beach, dune or sand, north of, reed; rushes; grass; mown, adjacent to, moor, heath or sclerophyllous scrub"
    names = ("beach, dune or sand", "reed; rushes", "grass; mown", "moor, heath or sclerophyllous scrub")
    spans = [
        {"start": (at := told.index(name)), "end": at + len(name), "phrase": name, "class_name": name, "targets": []}
        for name in names
    ]
    sample = made_up.sample(0)
    made = [
        {**text, "kind": kind, "style": style, "text": told, "spans": spans, "geometries": []}
        for text, (kind, style) in zip(sample.texts, kinds.items(), strict=True)
    ]
    sample = replace(sample, texts=tuple(made))
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", [sample], zarr_shard_chips=None))
    export_dataset(open_dataset(tmp_path / "d"), tmp_path / "out", ExportOptions("rsvlm-qa"))
    (row,) = [json.loads(line) for path in (tmp_path / "out").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert row["relations"] == [
        {"object1": "beach, dune or sand", "relation": "north of", "object2": "reed; rushes"},
        {"object1": "grass; mown", "relation": "adjacent to", "object2": "moor, heath or sclerophyllous scrub"},
    ]


def test_conversations_alternate_and_boxes_stay_inside(dataset: Dataset, export: Export) -> None:
    root = export("llava")
    rows = rows_of(root, "json")
    known = texts(dataset)
    boxed = 0
    for row in rows:
        assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"] * (len(row["conversations"]) // 2)
        assert row["conversations"][0]["value"].startswith("<image>\n")
        assert not any("<image>" in turn["value"] for turn in row["conversations"][1:])
        told = row["conversations"][-1]["value"]
        for x0, y0, x1, y1, angle in re.findall(r"\{<(\d+)><(\d+)><(\d+)><(\d+)>\|<(-?\d+)>\}", told):
            assert 0 <= int(x0) <= int(x1) <= 100
            assert 0 <= int(y0) <= int(y1) <= 100
            assert -90 <= int(angle) < 91
            boxed += 1
        text = known[row["id"]]
        if text["kind"] == "referring":
            assert told == "There is none." if text["empty_target"] else told.startswith("{<")
        if text["kind"] == "grounded":
            assert re.sub(r"<p>|</p>( \{[^}]*\}|\{[^}]*\})*", "", told) == text["text"]
    assert boxed > 5
    assert {known[row["id"]]["kind"] for row in rows} >= {"dialogue", "qa", "caption", "grounded", "referring"}


def test_refcoco_masks_are_the_records_masks_column_by_column(dataset: Dataset, export: Export) -> None:
    root = export("refcoco")
    instances, refs = json.loads((root / "instances.json").read_text()), json.loads((root / "refs.json").read_text())
    annotations = {one["id"]: one for one in instances["annotations"]}
    images = {one["id"]: one for one in instances["images"]}
    known = {t["text"]: t for t in texts(dataset).values() if t["kind"] == "referring"}
    targets = 0
    for ref in refs:
        text = next(
            t for t in texts(dataset).values()
            if t["kind"] == "referring" and t["text"] == ref["sentences"][0]["raw"] and t["chip_id"] in ref["file_name"]
        )  # fmt: skip
        assert ref["no_target"] == text["empty_target"] == (ref["ann_id"] == -1)
        if ref["no_target"]:
            continue
        one = annotations[ref["ann_id"]]
        height, width = one["segmentation"]["size"]
        assert (images[one["image_id"]]["height"], images[one["image_id"]]["width"]) == (height, width)
        flat = np.repeat(np.arange(len(one["segmentation"]["counts"])) % 2, one["segmentation"]["counts"])
        pixels = flat.reshape((height, width), order="F").astype(bool)
        mask = next(g for g in text["geometries"] if g["kind"] == "mask")
        ours = np.repeat(np.arange(len(mask["rle"])) % 2, mask["rle"]).reshape(mask["shape_yx"]).astype(bool)
        np.testing.assert_array_equal(pixels, ours)
        x, y, w, h = one["bbox"]
        box = next(g for g in text["geometries"] if g["kind"] == "box")
        assert (x, y, x + w, y + h) == tuple(box["values"])
        assert one["area"] == int(pixels.sum())
        targets += 1
    assert targets > 3
    assert len(known) > 5


def test_boxes_and_masks_lie_where_they_lie_in_a_picture_that_overhangs_its_chip(
    dataset: Dataset, export: Export
) -> None:
    """The layer s1 begins 5 m outside of its chip on the left and above, and ends 5 m outside of it: 37 x 25 pixels."""
    known = texts(dataset)
    pointed = {(t["chip_id"], t["text"]): t for t in known.values() if t["kind"] == "referring" and t["geometries"]}
    root = export("refcoco", "s1")
    instances = json.loads((root / "instances.json").read_text())
    annotations = {one["id"]: one for one in instances["annotations"]}
    masks = 0
    for ref in json.loads((root / "refs.json").read_text()):
        text = pointed.get((Path(ref["file_name"]).stem, ref["sentences"][0]["raw"]))
        if text is None:
            continue
        told = annotations[ref["ann_id"]]["segmentation"]
        assert told["size"] == [25, 37]
        flat = np.repeat(np.arange(len(told["counts"])) % 2, told["counts"])
        mask = next(g for g in text["geometries"] if g["kind"] == "mask")
        ours = np.repeat(np.arange(len(mask["rle"])) % 2, mask["rle"]).reshape(SHAPE)
        np.testing.assert_array_equal(flat.reshape((25, 37), order="F")[:24, :36], ours)  # centres: 5 m less, and edges
        masks += 1
    boxes = 0
    for row in rows_of(export("llava", "s1"), "json"):
        if known[row["id"]]["kind"] != "referring" or known[row["id"]]["empty_target"]:
            continue
        box = next(g for g in known[row["id"]]["geometries"] if g["kind"] == "oriented_box")
        cx, cy, w, h, degrees = box["values"]
        across, down = ((cx - w / 2) * 10 + 5, (cx + w / 2) * 10 + 5), ((cy - h / 2) * 10 + 5, (cy + h / 2) * 10 + 5)
        wanted = [round(100 * edge) for edge in (across[0] / 370, down[0] / 250, across[1] / 370, down[1] / 250)]
        if min(wanted) < 0 or max(wanted) > 100:
            continue
        numbers = [int(number) for number in re.findall(r"<(-?\d+)>", row["conversations"][-1]["value"])]
        assert numbers == [*wanted, round(degrees)]
        boxes += 1
    assert masks > 3
    assert boxes > 3


def test_a_box_covers_its_object_at_the_border_of_the_picture_too(dataset: Dataset, export: Export) -> None:
    """Corners of a box before it is turned may lie outside of the picture: cut there, it was a box elsewhere."""
    known, outside = texts(dataset), 0
    for row in rows_of(export("llava"), "json"):
        text = known[row["id"]]
        shapes = {shape["kind"]: shape for shape in text["geometries"]}
        if text["kind"] != "referring" or text["empty_target"]:
            continue
        told = [int(number) for number in re.findall(r"<(-?\d+)>", row["conversations"][-1]["value"])]
        x0, y0, x1, y1 = np.array(told[:4]) / 100 * (36, 24, 36, 24)
        rle = shapes["mask"]["rle"]
        y, x = np.nonzero(np.repeat(np.arange(len(rle)) % 2, rle).reshape(SHAPE))
        turn = np.exp(-1j * np.radians(told[4]))  # back, about its centre
        place = (x + 0.5 - (x0 + x1) / 2 + 1j * (y + 0.5 - (y0 + y1) / 2)) * turn
        assert (abs(place.real) <= (x1 - x0) / 2).mean() > 0.9
        assert (abs(place.imag) <= (y1 - y0) / 2).mean() > 0.9
        cx, cy, w, h, _ = shapes["oriented_box"]["values"]
        outside += cx < w / 2 or cx + w / 2 > 36 or cy < h / 2 or cy + h / 2 > 24
    assert outside > 3


def test_an_object_smaller_than_a_pixel_of_the_picture_is_the_pixel_above_it() -> None:
    mask = {"shape_yx": SHAPE, "rle": [5 * 36 + 9, 1, 24 * 36 - 5 * 36 - 10]}  # row 5, column 9 of 10 m
    picture = GeoRef(made_up.EPSG, 500_000.0 - 20, 5_600_240.0 + 10, 30.0, (9, 13))
    found = scaled(mask, (500_000.0, 5_600_000.0, 500_360.0, 5_600_240.0), picture)
    assert np.argwhere(found).tolist() == [[2, 3]]  # 65 m from the top, 115 m from the left edge


def test_a_dataset_without_expressions_makes_no_refcoco(tmp_path: Path) -> None:
    publish(open_storage(tmp_path / "few"), made_up.draft(tmp_path / "few", [made_up.sample(0)], zarr_shard_chips=None))
    with pytest.raises(DatasetError, match="no chip holds a text of this form"):
        export_dataset(open_dataset(tmp_path / "few"), tmp_path / "out", ExportOptions("refcoco"))


def test_the_picture_is_of_the_date_that_shows_most_of_the_ground_water_too(tmp_path: Path) -> None:
    sample = made_up.sample(2)
    for group in ("s2_10m", "s2_20m"):
        layer = sample.layers[group]
        layer.valid[0], layer.valid[1], layer.valid[2] = 2, 6, 3  # cloud, clear water, shadow
        layer.valid[0, :2] = 1
    publish(open_storage(tmp_path / "sea"), made_up.draft(tmp_path / "sea", [sample], zarr_shard_chips=None))
    export_dataset(open_dataset(tmp_path / "sea"), tmp_path / "out", ExportOptions("chatearthnet", modalities=("s2",)))
    shown = np.asarray(Image.open(tmp_path / f"out/images/{sample.chip_id}.png"))
    clear = sample.layers["s2_10m"]
    wanted = np.asarray(Image.open(io.BytesIO(thumbnail(clear.data[1][:1], clear.valid[1]))))
    np.testing.assert_array_equal(shown, wanted)


@pytest.mark.parametrize("form", ["chatearthnet", "rsvlm-qa", "llava", "skyscript", "texts"])
def test_the_code_of_a_card_reads_the_split_that_was_exported(
    dataset: Dataset, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_dataset(dataset, tmp_path / form, ExportOptions(form, split="val"))
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / form / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path / form)
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "README.md", "exec"), found)
    assert len(found["rows"])


def test_parquet_of_a_shard_holds_its_texts_in_the_order_of_its_samples(dataset: Dataset, export: Export) -> None:
    root = export("texts")
    tables = [pandas.read_parquet(path) for path in sorted(root.glob("texts-*.parquet"))]
    assert sum(map(len, tables)) == len(texts(dataset))
    assert "run lengths go row by row" in (root / "README.md").read_text()
    order = dict(zip(dataset.chips["chip_id"], dataset.chips["shard_index"], strict=True))
    for table in tables:
        assert set(table.columns) >= {"text_id", "chip_id", "kind", "spans", "geometries", "turns", "facts"}
        indices = [order[chip] for chip in table["chip_id"]]
        assert indices == sorted(indices)


def test_a_dataset_without_texts_is_told_so(tmp_path: Path) -> None:
    samples = [replace(made_up.sample(number), texts=()) for number in range(2)]
    publish(open_storage(tmp_path / "bare"), made_up.draft(tmp_path / "bare", samples, zarr_shard_chips=None))
    with pytest.raises(DatasetError, match="no chip holds a text"):
        export_dataset(open_dataset(tmp_path / "bare"), tmp_path / "out", ExportOptions("llava"))


TEXTS = ("shards.export_texts:", "shards.export_text_tables:", "shards.export_pointing:")


@pytest.mark.parametrize("form", sorted(name for name, place in EXPORTERS.items() if place.startswith(TEXTS)))
def test_an_export_of_texts_that_dies_leaves_nothing_under_its_name(
    dataset: Dataset, tmp_path: Path, form: str
) -> None:
    class Died(Exception):
        pass

    def die(done: int, total: int) -> None:
        raise Died

    to = tmp_path / "out"
    with pytest.raises(Died):
        export_dataset(dataset, to, ExportOptions(form), on_sample=die)
    assert not to.exists()
    export_dataset(dataset, to, ExportOptions(form))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
