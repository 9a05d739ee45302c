"""Label files on this machine: other bytes are another file, wherever the bytes lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.label_files import label_files, local_path
from shards.layout import sha256_of
from sources.openers import PlainOpener
from tests.unit.chips.test_inputs import recipe


def hash_of(path: Path) -> str:
    """As a recipe that names the file remembers it."""
    source = {"kind": "raster", "href": str(path), "legend": "worldcover", "column": "code", "licence": "CC0-1.0"}
    return label_files(recipe(labels__sources={"mine": source}), {}, path.parent / "work")["mine"]


def test_a_files_hash_is_of_its_bytes_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "mine.gpkg").write_bytes(b"areas")
    (tmp_path / "mine.dbf").write_bytes(b"of another file")
    assert hash_of(tmp_path / "mine.gpkg") == sha256_of(tmp_path / "mine.gpkg")
    (tmp_path / "work" / "label_files.json").write_bytes(b"torn")
    assert hash_of(tmp_path / "mine.gpkg") == sha256_of(tmp_path / "mine.gpkg")


@pytest.mark.parametrize("ending", [".shp", ".dbf", ".prj"])
def test_a_shapefile_is_all_of_its_files(tmp_path: Path, ending: str) -> None:
    for name in (".shp", ".dbf", ".prj"):
        (tmp_path / f"mine{name}").write_bytes(b"before")
    before = hash_of(tmp_path / "mine.shp")
    assert hash_of(tmp_path / "mine.shp") == before
    (tmp_path / f"mine{ending}").write_bytes(b"afterwards")
    assert hash_of(tmp_path / "mine.shp") != before


@pytest.mark.parametrize("name", ["{}/a b.gpkg", "{}/a%20b.gpkg", "file://{}/a%20b.gpkg"])
def test_a_file_is_looked_at_where_it_is_read(tmp_path: Path, name: str) -> None:
    there = tmp_path / "a b.gpkg"
    there.write_bytes(b"areas")
    href = name.format(tmp_path)
    assert local_path(href) == Path(PlainOpener().resolve(href)) == there


@pytest.mark.parametrize("href", ["https://h.example.org/a.gpkg", "s3://bucket/a.gpkg", "/vsizip/a.zip/a.gpkg"])
def test_what_lies_elsewhere_is_no_file_of_this_machine(href: str) -> None:
    assert local_path(href) is None
