"""What a chip is made of as arrays and JSON, which is what fragments hold: layers, sources of dates, features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import shapely
from numpy.typing import NDArray

from flows.fragments import Arrays
from schemas.chip import DateSource
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.sample import LayerArrays
from schemas.scene import SceneItem


def pack_layers(layers: Mapping[str, LayerArrays]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Layers as flat arrays and a JSON-ready description. Inverse: `unpack_layers`."""
    arrays: dict[str, NDArray[Any]] = {}
    described: dict[str, Any] = {}
    for group, layer in layers.items():
        arrays |= {
            f"{group}/data": layer.data,
            f"{group}/valid": layer.valid,
            f"{group}/time": layer.time_utc.astype("int64"),
            f"{group}/scale": layer.scale,
            f"{group}/offset": layer.offset,
        }
        if layer.count is not None:
            arrays[f"{group}/count"] = layer.count
        described[group] = asdict(layer.georef)
    return arrays, described


def unpack_layers(arrays: Arrays, described: Mapping[str, Any]) -> dict[str, LayerArrays]:
    """The layers that `pack_layers` flattened, in their order."""
    return {
        group: LayerArrays(
            data=arrays[f"{group}/data"],
            valid=arrays[f"{group}/valid"],
            time_utc=arrays[f"{group}/time"].astype("datetime64[ns]"),
            scale=arrays[f"{group}/scale"],
            offset=arrays[f"{group}/offset"],
            georef=georef_of(georef),
            count=arrays.get(f"{group}/count"),
        )
        for group, georef in described.items()
    }


def pack_source(source: DateSource) -> dict[str, Any]:
    """Where a date comes from, as JSON, items by id. Inverse: `unpack_source`."""
    return {
        "pictures": [[item.item_id for item in parts] for parts in source.pictures],
        "window": source.window,
        "reference_utc": source.reference_utc,
    }


def unpack_source(packed: Mapping[str, Any], items: Mapping[str, SceneItem]) -> DateSource:
    """The source that `pack_source` flattened, with its items again."""
    pictures = tuple(tuple(items[item_id] for item_id in parts) for parts in packed["pictures"])
    return DateSource(pictures, packed["window"], packed["reference_utc"])


def georef_of(fields: Mapping[str, Any]) -> GeoRef:
    """A georeference from its JSON fields."""
    return GeoRef(**{**fields, "shape_yx": tuple(fields["shape_yx"])})


def pack_features(table: FeatureTable | None) -> dict[str, Any] | None:
    """A feature table as JSON. Inverse: `unpack_features`."""
    if table is None:
        return None
    features = [
        {
            "id": f.feature_id,
            "wkb": shapely.to_wkb(f.geometry).hex(),
            "tags": dict(f.tags),
            "timestamp": f.timestamp,
        }
        for f in table.features
    ]
    fields = {name: getattr(table, name) for name in ("source", "epsg", "extract_date", "licence", "attribution")}
    return {**fields, "features": features}


def unpack_features(packed: Mapping[str, Any] | None) -> FeatureTable | None:
    """The table that `pack_features` flattened."""
    if packed is None:
        return None
    features = tuple(
        Feature(f["id"], shapely.from_wkb(bytes.fromhex(f["wkb"])), f["tags"], f["timestamp"])
        for f in packed["features"]
    )
    fields = {name: packed[name] for name in ("source", "epsg", "extract_date", "licence", "attribution")}
    return FeatureTable(features=features, **fields)
