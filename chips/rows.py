"""A chip's row of ``chips.parquet``: what was kept of it and where it came from (DATASET_FORMAT.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr

from chips.screen import clear_fraction, nodata_fraction
from schemas.chip import Chip, ChipSpec, Shift, Tile
from schemas.recipe import Modality, Recipe
from schemas.scene import SceneItem
from schemas.sensor import load_sensor


def chip_row(chip: Chip, recipe: Recipe, input_hash: str) -> dict[str, Any]:
    """The row of a kept chip, less what labels, captions and writing add.

    Args:
        chip: with layers, provenance and shifts.
        recipe: the recipe.
        input_hash: see `input_hash`.
    """
    spec = chip.spec
    footprint = shapely.from_wkb(spec.footprint_wkb)
    west, south, east, north = footprint.bounds
    row: dict[str, Any] = {
        "chip_id": spec.chip_id,
        "geometry_wkb": spec.footprint_wkb,
        "bbox": {"xmin": west, "ymin": south, "xmax": east, "ymax": north},
        "epsg": spec.epsg,
        "bounds_xyxy": [float(value) for value in spec.bounds_xyxy],
        "majortom_cell": spec.majortom_cell,
        "block_id": spec.block_id,
        "split": spec.split,
        "region": spec.region,
        "input_hash": input_hash,
    }
    for group, layer in chip.layers.items():
        georef = layer.attrs["georef"]
        row[f"{group}.transform"] = list(georef.transform)
        row[f"{group}.shape_yx"] = list(georef.shape_yx)
    for name, items in chip.provenance.items():
        layer = finest_layer(chip.layers, name)
        snow = recipe.modalities[name].select.snow_is_clear
        row |= {f"{name}.{key}": value for key, value in _dates(spec, layer, items, snow).items()}
        row[f"{name}.radiometry"] = [_as_stored(item.radiometry, recipe.modalities[name]) for item in items]
        row |= {f"{name}.{key}": value for key, value in _shifts(chip.shifts.get(name, ()), len(items)).items()}
    row["licences"] = licences(chip)
    return row


def finest_layer(layers: Mapping[str, xr.Dataset], modality: str) -> xr.Dataset:
    """The layer of a modality with the smallest pixels."""
    return min(
        (layer for layer in layers.values() if layer.attrs["modality"] == modality),
        key=lambda layer: float(layer.attrs["gsd_m"]),
    )


def _dates(spec: ChipSpec, layer: xr.Dataset, items: Sequence[SceneItem], snow_is_clear: bool) -> dict[str, Any]:
    valid = layer["valid"].values
    gaps = [(item.datetime_utc - spec.reference_utc).total_seconds() / 86_400 for item in items]
    return {
        "item_ids": [item.item_id for item in items],
        "datetimes": [item.datetime_utc for item in items],
        "platform": [item.platform for item in items],
        "baseline": [item.baseline for item in items],
        "gap_days": [round(gap, 4) for gap in gaps],
        "clear_fraction": [round(clear_fraction(valid[t], snow_is_clear), 6) for t in range(len(items))],
        "nodata_fraction": [round(nodata_fraction(valid[t]), 6) for t in range(len(items))],
        "scale": [float(value) for value in layer["scale"].values],
        "offset": [float(value) for value in layer["offset"].values],
        "sun_azimuth_deg": [item.sun_azimuth_deg for item in items],
        "sun_elevation_deg": [item.sun_elevation_deg for item in items],
        "incidence_deg": [item.incidence_deg for item in items],
        "orbit_state": [item.orbit_state for item in items],
        "relative_orbit": [item.relative_orbit for item in items],
    }


def _as_stored(radiometry: str, modality: Modality) -> str:
    """Why the delivered numbers mean what they mean, and what was made of them."""
    made = [form for form in (modality.offset, modality.store) if form != "as_delivered"]
    return f"delivered with {radiometry}; stored as {made[0]}" if made else radiometry


def _shifts(shifts: Sequence[Shift], dates: int) -> dict[str, Any]:
    known = list(shifts) or [Shift(0.0, 0.0, 0.0, "not_applicable")] * dates
    measured = [shift.status != "not_applicable" for shift in known]
    return {
        "shift_dx_m": [round(s.dx_m, 3) if m else None for s, m in zip(known, measured, strict=True)],
        "shift_dy_m": [round(s.dy_m, 3) if m else None for s, m in zip(known, measured, strict=True)],
        "shift_reliability": [round(s.reliability, 4) for s in known],
        "shift_sigma_m": [s.sigma_m for s in known],
        "shift_reference": [s.reference for s in known],
        "registered": [s.status for s in known],
        "applied_dx_m": [s.applied_dx_m if s.status == "corrected" else 0.0 for s in known],
        "applied_dy_m": [s.applied_dy_m if s.status == "corrected" else 0.0 for s in known],
        "applied_by": [s.applied_by if s.status == "corrected" else "" for s in known],
    }


def licences(chip: Chip) -> list[dict[str, Any]]:
    """One entry per modality and label source of the chip, ordered by layer."""
    found: dict[str, dict[str, Any]] = {}
    for name, items in chip.provenance.items():
        if items:
            redistributable = load_sensor(items[0].sensor).may_be_given_on(items[0].licence)
            attributions = "; ".join(sorted({item.attribution for item in items}))
            found[name] = licence_entry(name, items[0].licence, attributions, redistributable)
    for name, raster in chip.rasters.items():
        found[name] = licence_entry(name, raster.licence, raster.attribution)
    if chip.features is not None:
        found[chip.features.source] = licence_entry(
            chip.features.source, chip.features.licence, chip.features.attribution
        )
    return [found[name] for name in sorted(found)]


def licence_entry(layer: str, licence: str, attribution: str, redistributable: bool = True) -> dict[str, Any]:
    """What a licence id says: share-alike and non-commercial are read from the id itself."""
    words = licence.upper().replace("_", "-").split("-")
    return {
        "layer": layer,
        "id": licence,
        "attribution": attribution,
        "share_alike": "SA" in words or words[0] == "ODBL",
        "non_commercial": "NC" in words,
        "redistributable": redistributable,
    }


def input_hash(recipe_hash: str, spec: ChipSpec, items: Iterable[SceneItem], steps: Mapping[str, str]) -> str:
    """sha256 over everything that decides a chip: recipe, place, split, the items that lie over it, step versions."""
    inputs = {
        "recipe": recipe_hash,
        "chip": [spec.chip_id, spec.epsg, list(spec.bounds_xyxy), spec.split],
        "items": sorted({item.content_hash or item.item_id for item in items}),
        "steps": dict(sorted(steps.items())),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def items_over(spec: ChipSpec, tile: Tile) -> list[SceneItem]:
    """Candidate items of a tile whose footprint touches a chip."""
    here = shapely.from_wkb(spec.footprint_wkb)
    return [
        item for items in tile.items.values() for item in items if shapely.from_wkb(item.footprint_wkb).intersects(here)
    ]


def physical(layer: xr.Dataset, time_index: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Band name -> (y, x) float32 physical values of one date; NaN where there is no data."""
    data = layer["data"].values[time_index].astype(np.float32)
    nodata = layer.attrs["nodata"]
    if nodata is not None and not np.isnan(nodata):
        data[layer["data"].values[time_index] == nodata] = np.nan
    data = data * np.float32(layer["scale"].values[time_index]) + np.float32(layer["offset"].values[time_index])
    data[:, layer["valid"].values[time_index] == 0] = np.nan
    return {str(name): data[index] for index, name in enumerate(layer["band"].values)}
