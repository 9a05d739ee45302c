"""What the Croissant file says of the members of a sample."""

from __future__ import annotations

import tarfile
from fnmatch import fnmatch
from pathlib import Path

from shards.croissant import croissant_of
from shards.reader import open_dataset


def test_every_file_of_a_sample_is_in_one_file_set(published: Path) -> None:
    document = open_dataset(published).document
    kinds = {"roads": "density", "streets": "graph", "cover": "fractions", "main": "dominant", "all": "multi_label"}
    labels = {"sources": {"map": {"kind": "osm"}}, "targets": {name: {"kind": kind} for name, kind in kinds.items()}}
    document = document.model_copy(update={"recipe": {"labels": labels}})
    croissant = croissant_of(document, published / "versions" / document.version, "")
    sets = [one for one in croissant["distribution"] if one["@type"] == "cr:FileSet"]
    globs = {one["includes"] for one in sets if one["@id"] != "files"}
    members: set[str] = set()
    for shard in document.shards:
        with tarfile.open(published / shard.path) as tar:
            members |= set(tar.getnames())
    assert any(name.endswith(".label.npy") for name in members)
    for name in members:
        assert sum(fnmatch(name, glob) for glob in globs) == 1, name
    assert all(any(fnmatch(name, glob) for name in members) for glob in globs)
    shards = {shard.path for shard in document.shards}  # mlcroissant: the square of them for each set that lists all
    listing = {one["@id"] for one in sets if {part["@id"] for part in one["containedIn"]} == shards}
    assert listing == {"files", "files-meta"}
    assert all(one["containedIn"] == [{"@id": "files"}] for one in sets if one["@id"] not in listing)


def test_counts_of_composites_and_fractions_of_squares_are_files_too(published: Path) -> None:
    document = open_dataset(published).document
    layers = (document.modalities[0].model_copy(update={"composite": "median"}),)
    recipe = {"labels": {"targets": {"cover": {"kind": "fractions", "cell_m": 100.0}}}}
    document = document.model_copy(update={"modalities": layers, "recipe": recipe})
    croissant = croissant_of(document, published / "versions" / document.version, "")
    globs = {one["includes"] for one in croissant["distribution"] if one["@type"] == "cr:FileSet"}
    assert {"*.s2_10m_count.npy", "*.target_cover.npy"} < globs
    assert "*.osm.json" not in globs
