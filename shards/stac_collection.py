"""``collection.json``: the dataset as a STAC 1.1 collection, assets relative to its version's folder."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from schemas.dataset import DatasetDocument, LayerTable
from shards.layout import pretty_json

SPDX = re.compile(r"(CC0|CC-BY|CC-BY-SA|CC-BY-NC|CC-BY-NC-SA|ODbL|ODC-By|PDDL|Apache|MIT|DL-DE-BY|OGL-UK)-[0-9.]+")
"""Licence ids in use here that SPDX knows; anything else makes the collection's licence ``other``."""
EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
"""Named where a band has one of its fields: its schema refuses a collection that has none, as of radar alone."""
EO_NAMES = frozenset(
    ("pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078",
     "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12")
)  # fmt: skip
"""Common names that the schema knows; a sensor of a recipe's own may have others."""
EXTENSIONS = (
    "https://stac-extensions.github.io/table/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/version/v1.2.0/schema.json",
)
COLUMNS = {
    "chips.parquet": (
        ("chip_id", "byte_array", "Key of the sample in the shards"),
        ("geometry", "byte_array", "Footprint, EPSG:4326"),
        ("split", "byte_array", "train, val or test"),
        ("shard", "byte_array", "Shard that holds the sample, relative to the dataset's root"),
    ),
    "texts.parquet": (
        ("text_id", "byte_array", "Id of the text"),
        ("chip_id", "byte_array", "Chip it is about"),
        ("text", "byte_array", "The text"),
    ),
    "outcomes.parquet": (
        ("chip_id", "byte_array", "Planned chip"),
        ("state", "byte_array", "kept, rejected or failed"),
    ),
}


def write_collection(path: Path, document: DatasetDocument, rows: pa.Table, description: str, has_report: bool) -> None:
    """Write the collection of a version."""
    path.write_bytes(pretty_json(collection_of(document, rows, description, has_report)))


def collection_of(document: DatasetDocument, rows: pa.Table, description: str, has_report: bool) -> dict[str, Any]:
    """The collection as JSON.

    Args:
        document: the version; its ``tables`` are not needed.
        rows: rows of chips.parquet.
        description: for people; the title where empty.
        has_report: whether ``report/index.html`` will stand beside it.
    """
    title = document.title or document.name
    bands = [_band(band) for layer in document.modalities for band in layer.bands]
    is_optical = any(name.startswith("eo:") for band in bands for name in band)
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": [*([EO] if is_optical else []), *EXTENSIONS],
        "id": document.name,
        "title": title,
        "description": description or title,
        "keywords": sorted({"earth observation", "training data", *(m.sensor for m in document.modalities)}),
        "license": licence_of(document),
        "version": document.version,
        "providers": _providers(document),
        "extent": {
            "spatial": {"bbox": [list(bbox_of(rows))]},
            "temporal": {"interval": [list(interval_of(rows, document))]},
        },
        "summaries": _summaries(document, bands),
        "item_assets": {layer.group: _item_asset(layer) for layer in document.modalities},
        "assets": _assets(document, len(rows), has_report),
        "links": [
            {
                "rel": "license",
                "href": "./README.md",
                "type": "text/markdown",
                "title": "Sources, licences, attributions",
            }
        ],
    }


def licence_of(document: DatasetDocument) -> str:
    """The SPDX id where all layers share one, else ``other``: STAC's schema takes no SPDX expression."""
    found = sorted({source.licence for source in document.sources if source.licence})
    return found[0] if len(found) == 1 and SPDX.fullmatch(found[0]) else "other"


def bbox_of(rows: pa.Table) -> tuple[float, float, float, float]:
    """West, south, east, north of all footprints: west is more than east where the antimeridian cuts some of them
    (RFC 7946, 5.2), or where they lie on both sides of it within 60 degrees, and the box ends at the
    widest gap between them.
    """
    footprints = shapely.from_wkb(rows["geometry"].to_numpy(zero_copy_only=False))
    west, south, east, north = shapely.bounds(shapely.get_parts(footprints)).T  # of those that it cuts each side
    first, last = float(west.min()), float(east.max())
    is_cut = first == -180.0 and last == 180.0
    if is_cut or last - first > 300.0:
        order = np.argsort(west, kind="stable")
        reached = np.maximum.accumulate(east[order])
        gaps = west[order][1:] - reached[:-1]
        if gaps.max(initial=0.0) > (0.0 if is_cut else 300.0):
            widest = int(gaps.argmax())
            first, last = float(west[order][widest + 1]), float(reached[widest])
    return first, float(south.min()), last, float(north.max())


def interval_of(rows: pa.Table, document: DatasetDocument) -> tuple[str | None, str | None]:
    """First and last acquisition, ISO, those that went into a composite too; (None, None) where no layer has a date."""
    names = {
        f"{name}.{ending}"
        for layer in document.modalities
        for name in (layer.modality, layer.group)
        for ending in ("datetimes", "first_datetimes", "last_datetimes")
    }
    ends = [pc.min_max(pc.list_flatten(rows[name])).as_py() for name in sorted(names & {*rows.column_names})]
    firsts, lasts = ([end[which] for end in ends if end[which] is not None] for which in ("min", "max"))
    return (_rfc3339(min(firsts)), _rfc3339(max(lasts))) if firsts else (None, None)


def _rfc3339(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


def _providers(document: DatasetDocument) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    for source in document.sources:
        found.setdefault(source.attribution or source.collection, []).append(source.layer)
    named = [
        {
            "name": name,
            "roles": ["licensor", "producer"],
            "description": f"Source of {', '.join(sorted(set(layers)))}",
        }
        for name, layers in sorted(found.items())
    ]
    return [*named, {"name": f"Terraweft {document.code_version}", "roles": ["processor"]}]


def _summaries(document: DatasetDocument, bands: list[dict[str, Any]]) -> dict[str, Any]:
    summaries: dict[str, Any] = {
        "gsd": sorted({layer.gsd_m for layer in document.modalities}),
        "terraweft:splits": document.splits.get("counts", {}),
        "terraweft:counts": document.counts,
        "terraweft:licences": sorted({s.licence for s in document.sources if s.licence}),
    }
    if bands:
        summaries["bands"] = [dict(entry) for entry in dict.fromkeys(tuple(band.items()) for band in bands)]
    return summaries


def _band(band: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": band.name}
    if band.common_name in EO_NAMES:
        entry["eo:common_name"] = band.common_name
    if band.centre_nm is not None:
        entry["eo:center_wavelength"] = round(band.centre_nm / 1000, 6)
    if band.fwhm_nm is not None:
        entry["eo:full_width_half_max"] = round(band.fwhm_nm / 1000, 6)
    return entry


def _item_asset(layer: LayerTable) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "title": f"{layer.group}: {layer.sensor}",
        "type": "application/x-npy",
        "gsd": layer.gsd_m,
        "data_type": layer.dtype,
        "unit": layer.unit,
        "bands": [_band(band) for band in layer.bands],
        "roles": ["data"],
    }
    return entry if layer.nodata is None else entry | {"nodata": layer.nodata}


def _assets(document: DatasetDocument, chips: int, has_report: bool) -> dict[str, Any]:
    def asset(href: str, kind: str, title: str, *roles: str, **more: Any) -> dict[str, Any]:
        return {"href": href, "type": kind, "title": title, "roles": list(roles), **more}

    parquet = "application/vnd.apache.parquet"
    rows = {"chips.parquet": chips, "outcomes.parquet": document.counts.get("planned", 0)}
    assets = {
        name.partition(".")[0]: asset(
            f"./{name}",
            parquet,
            name,
            "data" if name != "outcomes.parquet" else "metadata",
            **{"table:columns": [{"name": n, "type": t, "description": d} for n, t, d in columns]},
            **({"table:row_count": rows[name]} if name in rows else {}),
        )
        for name, columns in COLUMNS.items()
    }
    assets["manifest"] = asset("./dataset.json", "application/json", "Manifest", "metadata")
    assets["croissant"] = asset("./croissant.json", "application/ld+json", "MLCommons Croissant", "metadata")
    assets["card"] = asset("./README.md", "text/markdown", "Dataset card", "overview")
    if has_report:
        assets["report"] = asset("./report/index.html", "text/html", "Report", "overview")
    for record in document.shards:
        name = record.path.rpartition("/")[2].removesuffix(".tar")
        assets[f"shard-{record.split}-{name}"] = asset(
            f"../../{record.path}",
            "application/x-tar",
            f"WebDataset shard, {record.split}, {len(record.chip_ids)} samples",
            "data",
            **{"file:size": record.bytes, "file:checksum": f"1220{record.sha256}"},
        )
    if document.zarr:
        assets["zarr"] = asset(
            "../../zarr", "application/vnd+zarr", f"Icechunk repository, tag {document.zarr['tag']}", "data"
        )
    return assets
