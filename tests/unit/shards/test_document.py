"""A ``dataset.json`` that is torn, edited or of another software is one line when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from schemas.errors import DatasetError
from shards.document import parse_document
from shards.history import describe_versions
from shards.pointer import list_versions
from shards.reader import open_dataset
from shards.storage import open_storage
from terraweft.versions import show_diff, show_versions


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return edit


EDITS = {
    "format 2": (_set("format", to=2), r"format '2' is unknown \(this software reads format 1\)"),
    "a key of later software": (_set("quality", to={}), "quality: .*update terraweft"),
    "no count": (lambda document: document["counts"].pop("kept"), r"counts.*kept: Field required"),
    "a count that is a word": (_set("counts", "rejected", to={"cloudy": "many"}), "counts"),
    "a count that no number holds": (_set("counts", "planned", to=10**400), "counts"),
    "bytes that no number holds": (_set("shards", to=[{"bytes": 10**400}]), "shards"),
    "buckets that are none": (_set("splits", "buckets", to={"train": 0}), "splits"),
    "no splits": (_set("splits", to={}), "splits"),
    "Zarr without a tag": (_set("zarr", to={"groups": []}), "zarr"),
    "a table that is a number": (_set("tables", "chips.parquet", to=5), "tables"),
    "a legend that is a word": (_set("legends", "label", to="x"), "legends"),
    "classes without names": (_set("legends", "label", "classes", to=[{"code": 1}]), "legends"),
    "a time that is none": (_set("created", to="yesterday"), "created"),
    "a recipe's day that is none": (_set("recipe", "time", to={"end": "soon"}), "recipe"),
    "a modality that is a number": (_set("recipe", "modalities", to={"s2": 5}), "recipe"),
    "half a character": (_set("fusion", to={"note": "\ud800"}), "surrogates"),
    "a diff in words": (_set("diff", "touched", to="all"), "diff"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_document_of_another_form_is_told_by_its_key(published: Path, name: str) -> None:
    edit, said = EDITS[name]
    dataset = open_dataset(published)
    document = json.loads(dataset.storage.read(f"{dataset.folder}/dataset.json"))
    edit(document)
    with pytest.raises(DatasetError, match=rf"^here: .*{said}") as told:
        parse_document(json.dumps(document).encode(), "here")
    assert "\n" not in told.value.line()


def test_versions_lists_what_is_whole_beside_what_is_not(dataset_root: Path) -> None:
    storage = open_storage(dataset_root)
    (current,) = list_versions(storage)
    torn = "20251120T101500Z-00000000"
    (dataset_root / "versions" / torn).mkdir()
    (dataset_root / "versions" / torn / "dataset.json").write_text("{")
    assert [(info.version, bool(info.problem)) for info in describe_versions(storage)] == [
        (torn, True),
        (current, False),
    ]
    out = Console(record=True, width=200)
    show_versions(str(dataset_root), out)
    said = out.export_text()
    assert f"{current} *" in said
    assert f"versions/{torn}/dataset.json: cannot be read" in said


def test_a_pointer_to_a_version_that_is_gone_is_told_by_diff(dataset_root: Path) -> None:
    (version,) = list_versions(open_storage(dataset_root))
    gone = "20251120T101500Z-00000000"
    (dataset_root / "terraweft.json").write_text(json.dumps({"format": 1, "name": "made-up", "current": gone}))
    with pytest.raises(DatasetError, match=f"there is no version {gone}"):
        show_diff(str(dataset_root), version, None, Console())
