"""A chip's row of ``chips.parquet``: what was kept of it and where it came from (docs/dataset.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import shapely
import xarray as xr

from chips.screen import clear_fraction, nodata_fraction
from schemas.chip import PLACE_PREFIX, Chip, ChipSpec, DateSource, Shift
from schemas.licences import is_non_commercial, is_share_alike
from schemas.recipe import Composite, Modality, Recipe
from schemas.recipe_windows import Pair
from schemas.sample import joined_ids
from schemas.sensor import load_sensor


def chip_row(chip: Chip, recipe: Recipe) -> dict[str, Any]:
    """The row of a kept chip, less what labels, captions and writing add, and its ``input_hash``.

    Args:
        chip: with layers, provenance and shifts.
        recipe: the recipe.
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
        **{f"{PLACE_PREFIX}{name}": value for name, value in spec.columns},
    }
    for group, layer in chip.layers.items():
        georef = layer.attrs["georef"]
        row[f"{group}.transform"] = list(georef.transform)
        row[f"{group}.shape_yx"] = list(georef.shape_yx)
    for name, dates in chip.provenance.items():
        modality, layer = recipe.modalities[name], finest_layer(chip.layers, name)
        columns = _dates(spec, layer, dates, modality) | _windows(dates, name, recipe, chip.provenance)
        row |= {f"{name}.{key}": value for key, value in columns.items()}
        row |= shift_columns(name, chip.shifts.get(name, ()), len(dates))
    row["licences"] = licences(chip)
    return row


def finest_layer(layers: Mapping[str, xr.Dataset], modality: str) -> xr.Dataset:
    """The layer of a modality with the smallest pixels."""
    return min(
        (layer for layer in layers.values() if layer.attrs["modality"] == modality),
        key=lambda layer: float(layer.attrs["gsd_m"]),
    )


def _dates(spec: ChipSpec, layer: xr.Dataset, dates: Sequence[DateSource], modality: Modality) -> dict[str, Any]:
    """Lists over the dates; of an empty step, time and what follows from it are None."""
    valid = layer.variables["valid"].values
    gaps = [None if d.time_utc is None else (d.time_utc - spec.reference_utc).total_seconds() / 86_400 for d in dates]
    leads = [date.lead for date in dates]
    snow = modality.select.snow_is_clear
    return {
        "item_ids": [joined_ids(item.item_id for item in date.items) for date in dates],
        "datetimes": [date.time_utc for date in dates],
        "platform": [_unique(item.platform for item in date.items) for date in dates],
        "baseline": [_unique(item.baseline for item in date.items) for date in dates],
        "gap_days": [None if gap is None else round(gap, 4) for gap in gaps],
        "clear_fraction": [round(clear_fraction(valid[t], snow), 6) for t in range(len(dates))],
        "nodata_fraction": [round(nodata_fraction(valid[t]), 6) for t in range(len(dates))],
        "scale": [float(value) for value in layer.variables["scale"].values],
        "offset": [float(value) for value in layer.variables["offset"].values],
        "sun_azimuth_deg": [lead and lead.sun_azimuth_deg for lead in leads],
        "sun_elevation_deg": [lead and lead.sun_elevation_deg for lead in leads],
        "incidence_deg": [lead and lead.incidence_deg for lead in leads],
        "orbit_state": [_unique(item.orbit_state for item in date.items) for date in dates],
        "relative_orbit": [lead and lead.relative_orbit for lead in leads],
        "radiometry": [_unique((_as_stored(i.radiometry, modality) for i in date.items), "; ") for date in dates],
    }


def _windows(
    dates: Sequence[DateSource], name: str, recipe: Recipe, provenance: Mapping[str, Sequence[DateSource]]
) -> dict[str, Any]:
    """Further lists over the dates, where the recipe names windows, composites or a near modality."""
    modality = recipe.modalities[name]
    columns: dict[str, Any] = {}
    if any(date.window for date in dates):
        columns["window"] = [date.window for date in dates]
        columns["window_gap_days"] = [_days_between(date.time_utc, date.reference_utc) for date in dates]
    if modality.composite is not None:
        columns["composite"] = [_how(modality.composite) if date.items else "" for date in dates]
        columns["dates_used"] = [len(date.pictures) for date in dates]
    ranges = [[picture[0].range_utc for picture in date.pictures] for date in dates]
    if modality.composite is not None or any(first < last for several in ranges for first, last in several):
        columns["first_datetimes"] = [min((first for first, _ in several), default=None) for several in ranges]
        columns["last_datetimes"] = [max((last for _, last in several), default=None) for several in ranges]
    near = modality.select.near
    if near is not None and near.modality in provenance:
        others = [(other.window, picture[0]) for other in provenance[near.modality] for picture in other.pictures]
        times = [recipe.modalities[one].time or recipe.time for one in (name, near.modality)]
        is_pair = all(isinstance(time.windows, Pair) for time in times)
        columns["near_gap_days"] = [
            _nearest_gap(
                date.time_utc, [lead.datetime_utc for window, lead in others if not is_pair or window == date.window]
            )
            for date in dates
        ]
    return columns


def _how(composite: Composite) -> str:
    return f"best by {composite.best_by}" if composite.how == "best" else composite.how


def _days_between(moment: datetime | None, reference: datetime | None) -> float | None:
    """Signed, from the reference."""
    if moment is None or reference is None:
        return None
    return round((moment - reference).total_seconds() / 86_400, 4)


def _nearest_gap(moment: datetime | None, others: Sequence[datetime]) -> float | None:
    """Signed days from the nearest of other times."""
    gaps = [gap for other in others if (gap := _days_between(moment, other)) is not None]
    return min(gaps, key=abs, default=None)


def _unique(values: Iterable[str], between: str = " ") -> str:
    """Different values in the order in which they come."""
    return between.join(value for value in dict.fromkeys(values) if value)


def _as_stored(radiometry: str, modality: Modality) -> str:
    """Why the delivered numbers mean what they mean, and what was made of them."""
    made = [form for form in (modality.offset, modality.store) if form != "as_delivered"]
    return f"delivered with {radiometry}; stored as {made[0]}" if made else radiometry


def shift_columns(modality: str, shifts: Sequence[Shift], dates: int) -> dict[str, Any]:
    """Columns about the shifts of a modality's dates."""
    known = list(shifts) or [Shift(0.0, 0.0, 0.0, "not_applicable")] * dates
    measured = [shift.status != "not_applicable" for shift in known]
    columns = {
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
    return {f"{modality}.{key}": value for key, value in columns.items()}


def licences(chip: Chip) -> list[dict[str, Any]]:
    """One entry per modality and label source of the chip, ordered by layer."""
    found: dict[str, dict[str, Any]] = {}
    for name, dates in chip.provenance.items():
        items = [item for date in dates for item in date.items]
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
    """A layer's licence, and what it asks for."""
    return {
        "layer": layer,
        "id": licence,
        "attribution": attribution,
        "share_alike": is_share_alike(licence),
        "non_commercial": is_non_commercial(licence),
        "redistributable": redistributable,
    }


def physical(layer: xr.Dataset, time_index: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Band name -> (y, x) float32 physical values of one date; NaN where there is no data."""
    data = layer.variables["data"].values[time_index].astype(np.float32)
    nodata = layer.attrs["nodata"]
    if nodata is not None and not np.isnan(nodata):
        data[layer.variables["data"].values[time_index] == nodata] = np.nan
    data = data * np.float32(layer.variables["scale"].values[time_index]) + np.float32(
        layer.variables["offset"].values[time_index]
    )
    data[:, layer.variables["valid"].values[time_index] == 0] = np.nan
    return {str(name): data[index] for index, name in enumerate(layer.variables["band"].values)}
