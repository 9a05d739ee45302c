"""``croissant.json``: the dataset for MLCommons Croissant 1.0, so that `mlcroissant` reads tables and shards
as they lie.

Record sets: ``chips`` and ``texts`` (the tables), ``samples`` (key and row) over every shard; file sets name
the pixels and the masks of each modality group, the labels, the map, the targets and the texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.dataset import DatasetDocument
from shards.layout import pretty_json, sha256_of

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that `mlcroissant` 1.x writes for version 1.0."""


def write_croissant(path: Path, document: DatasetDocument, folder: Path, description: str) -> None:
    """Write the Croissant file of a version whose tables lie in ``folder``."""
    path.write_bytes(pretty_json(croissant_of(document, folder, description)))


def croissant_of(document: DatasetDocument, folder: Path, description: str) -> dict[str, Any]:
    """The Croissant document as JSON.

    Args:
        document: the version.
        folder: where chips.parquet and texts.parquet lie: their columns and hashes are read.
        description: for people; the title where empty.
    """
    title = document.title or document.name
    tables = ("chips", "texts")
    sources = sorted({source.attribution or source.collection for source in document.sources})
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": document.name,
        "description": description or title,
        "version": _semantic(document.version),
        "license": _licences(document),
        "url": f"https://terraweft.invalid/{document.name}/{document.version}",
        "citeAs": f"{title}, version {document.version}. Contains: {'; '.join(sources)}.",
        "creator": {"@type": "sc:Organization", "name": f"Terraweft {document.code_version}"},
        "datePublished": document.created,
        "keywords": sorted({layer.sensor for layer in document.modalities}),
        "isLiveDataset": False,
        "distribution": [
            *(_file(f"{name}.parquet", f"{name}.parquet", "application/x-parquet", folder) for name in tables),
            *(_shard(record.path, record.sha256, record.bytes) for record in document.shards),
            *_file_sets(document),
        ],
        "recordSet": [*(_table(name, folder) for name in tables), _samples(document)],
    }


def _semantic(version: str) -> str:
    """A version's name as Croissant wants it: 20261120T101500Z-3f9a1c0b -> 20261120.101500.0+3f9a1c0b."""
    time, _, short = version.partition("-")
    date, _, clock = time.rstrip("Z").partition("T")
    return f"{date}.{int(clock)}.0+{short}"


def _licences(document: DatasetDocument) -> list[str]:
    return sorted({source.licence for source in document.sources if source.licence}) or ["other"]


def _file(identifier: str, url: str, kind: str, folder: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": identifier,
        "contentUrl": url,
        "encodingFormat": kind,
        "contentSize": f"{(folder / url).stat().st_size} B",
        "sha256": sha256_of(folder / url),
    }


def _shard(path: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": f"../../{path}",
        "encodingFormat": "application/x-tar",
        "contentSize": f"{size} B",
        "sha256": sha256,
    }


def _members(document: DatasetDocument) -> list[tuple[str, str]]:
    """(file set, glob) of what samples hold: their row, pixels and masks of each group, labels, map, targets, texts."""
    arrays = []
    for layer in document.modalities:
        arrays += [f"{layer.group}{ending}" for ending in ("", "_valid", *(("_count",) if layer.composite else ()))]
    arrays += [f"label_{source}" for source in document.legends if source != "label"]
    arrays += ["label", "confidence"] if "label" in document.legends else []
    wanted = document.recipe.get("labels") or {}
    targets = {f"target_{name}": target for name, target in (wanted.get("targets") or {}).items() if _is_member(target)}
    arrays += [name for name, target in targets.items() if target.get("kind") != "graph"]
    documents = [name for name, target in targets.items() if target.get("kind") == "graph"]
    has_map = any(source.get("kind") == "osm" for source in (wanted.get("sources") or {}).values())
    documents += [*(["osm"] if has_map else []), *(["texts"] if document.texts else []), "meta"]
    return [*((name, f"*.{name}.json") for name in documents), *((name, f"*.{name}.npy") for name in arrays)]


def _is_member(target: Mapping[str, Any]) -> bool:
    """Whether a target of the recipe is a file of the sample; of a whole chip it is a column of chips.parquet."""
    kind = target.get("kind")
    return kind not in ("multi_label", "dominant") and (kind != "fractions" or target.get("cell_m") is not None)


def _file_sets(document: DatasetDocument) -> list[dict[str, Any]]:
    """Sets over the members of all samples.

    Two list every shard: ``files-meta``, which the record set ``samples`` reads, and ``files``, in which the others
    lie. `mlcroissant` takes time with the square of the shards for each set that lists them all.
    """
    shards = [{"@id": record.path} for record in document.shards]
    within = [{"@id": "files"}]
    named = [
        _file_set(f"files-{name}", glob, shards if name == "meta" else within) for name, glob in _members(document)
    ]
    return [_file_set("files", "*", shards), *named]


def _file_set(identifier: str, pattern: str, within: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": identifier,
        "name": identifier,
        "containedIn": within,
        "encodingFormat": "application/json" if pattern.endswith(".json") else "application/octet-stream",
        "includes": pattern,
    }


def _table(name: str, folder: Path) -> dict[str, Any]:
    """A record set over the plain columns of a table; structs, maps and footprints are left to geopandas."""
    schema = pq.read_schema(folder / f"{name}.parquet")
    key = {"chips": "chip_id", "texts": "text_id"}[name]
    fields = [entry for column in schema if (entry := _field(name, column)) is not None]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/{key}"},
        "field": fields,
    }


def _field(table: str, column: pa.Field) -> dict[str, Any] | None:
    repeated = pa.types.is_list(column.type)
    kind = _data_type(column.type.value_type if repeated else column.type)
    if kind is None:
        return None
    entry = {
        "@type": "cr:Field",
        "@id": f"{table}/{column.name}",
        "name": f"{table}/{column.name}",
        "dataType": kind,
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column.name}},
    }
    return entry | {"repeated": True} if repeated else entry


def _data_type(kind: pa.DataType) -> str | None:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    if pa.types.is_timestamp(kind):
        return "sc:Date"
    return "sc:Text" if pa.types.is_string(kind) else None


def _samples(document: DatasetDocument) -> dict[str, Any]:
    """A record set over the shards: the key of each sample and its row as JSON text."""

    def field(name: str, extract: str, **more: Any) -> dict[str, Any]:
        return {
            "@type": "cr:Field",
            "@id": f"samples/{name}",
            "name": f"samples/{name}",
            "dataType": "sc:Text",
            "source": {"fileSet": {"@id": "files-meta"}, "extract": {"fileProperty": extract}, **more},
        }

    key = field("key", "filename", transform={"regex": r"^([^.]*)\..*$"})
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "field": [key, field("meta", "content")],
    }
