"""Zarr groups of a version: `LayerGroup` for pixels, `LabelGroup` for labels, each written a few chips at a
time.

`shards.zarr_store` says what stands in them; chips with fewer dates or pixels than the largest are padded here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from schemas.dataset import LayerTable
from schemas.errors import IntegrityError
from schemas.sample import LayerArrays, Sample

NAT = int(np.iinfo(np.int64).min)
VECTOR_CHUNK = 1 << 16
"""Chips per chunk of the arrays that hold a number or two per chip."""
CHIP_COORDINATES = "chip_id x0 y0 epsg rows columns"


@dataclass(frozen=True, slots=True)
class LabelTable:
    """One label group: ``label_worldcover``, ``label`` or ``confidence``."""

    dtype: str
    """uint8 or uint16."""
    nodata: int
    """What padding and missing chips hold."""
    shape_yx: tuple[int, int]
    """Largest rows and columns of a chip."""
    legend: str = ""
    """Name of its legend."""


@dataclass(frozen=True)
class ZarrPlan:
    """What a version's Zarr groups shall be."""

    layers: tuple[LayerTable, ...]
    """Modality groups."""
    labels: Mapping[str, LabelTable]
    """Group name -> label table."""
    chip_ids: tuple[str, ...]
    """In the order of chips.parquet: position = ``zarr_index``."""
    shard_chips: int
    """Chips per Zarr shard."""


def padding_of(table: LayerTable) -> int | float:
    """What stands where a layer has no pixel: its nodata, else NaN for floats and 0 for integers (validity
    says 0).
    """
    if table.nodata is not None:
        return table.nodata if np.dtype(table.dtype).kind == "f" else int(table.nodata)
    return float("nan") if np.dtype(table.dtype).kind == "f" else 0


class _Group(ABC):
    """What layer groups and label groups have in common: the coordinates of their chips."""

    def __init__(self, top: zarr.Group, name: str, plan: ZarrPlan, attributes: Mapping[str, Any]) -> None:
        self.name = name
        self.group = top.create_group(name, attributes=dict(attributes))
        self.chips, self.shard_chips = len(plan.chip_ids), plan.shard_chips
        self.x0 = np.full(self.chips, np.nan)
        self.y0 = np.full(self.chips, np.nan)
        self.epsg = np.zeros(self.chips, np.int32)
        self.rows = np.zeros(self.chips, np.int32)
        self.columns = np.zeros(self.chips, np.int32)
        self._vector("chip_id", np.array(plan.chip_ids, dtype=object), ("chip",), {"long_name": "chip id"})

    @abstractmethod
    def write(self, start: int, batch: Sequence[Sample]) -> None:
        """Write the chips from ``start`` on."""

    @abstractmethod
    def close(self) -> None:
        """Write the coordinates, and what is known only at the end."""

    def _pixels(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        fill: float,
        dims: tuple[str, ...],
        **attributes: Any,
    ) -> zarr.Array[Any]:
        """An array whose inner chunks are one chip and whose shards are several."""
        inner = (1, *(max(1, size) for size in shape[1:]))
        return self.group.create_array(
            name,
            shape=shape,
            chunks=inner,
            shards=(self.shard_chips, *inner[1:]),
            dtype=dtype,
            fill_value=fill,
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize),
            dimension_names=dims,
            attributes=attributes,
        )

    def _vector(self, name: str, values: NDArray[Any], dims: tuple[str, ...], attributes: Mapping[str, Any]) -> None:
        text = values.dtype.kind == "O"
        array = self.group.create_array(
            name,
            shape=values.shape,
            chunks=tuple(max(1, min(size, VECTOR_CHUNK)) for size in values.shape),
            dtype="string" if text else values.dtype,
            fill_value=NAT if name == "time" else ("" if text else np.zeros((), values.dtype)[()]),
            dimension_names=dims,
            attributes=dict(attributes),
        )
        if values.size:
            array[...] = values

    def _place(self, index: int, epsg: int, x0: float, y0: float, shape_yx: tuple[int, int]) -> None:
        self.epsg[index], self.x0[index], self.y0[index] = epsg, x0, y0
        self.rows[index], self.columns[index] = shape_yx

    def _close_places(self) -> None:
        self._vector("x0", self.x0, ("chip",), {"units": "m", "long_name": "left edge of the first column"})
        self._vector("y0", self.y0, ("chip",), {"units": "m", "long_name": "top edge of the first row"})
        self._vector("epsg", self.epsg, ("chip",), {"long_name": "EPSG code of x0 and y0"})
        self._vector("rows", self.rows, ("chip",), {"long_name": "rows that are not padding"})
        self._vector("columns", self.columns, ("chip",), {"long_name": "columns that are not padding"})


class LayerGroup(_Group):
    """Writes one modality group, a few chips at a time."""

    def __init__(self, top: zarr.Group, table: LayerTable, plan: ZarrPlan) -> None:
        attributes = {"modality": table.modality, "sensor": table.sensor, "gsd_m": table.gsd_m}
        super().__init__(top, table.group, plan, attributes)
        self.table, self.pad = table, padding_of(table)
        self.times = max(1, table.max_dates)
        bands = len(table.bands)
        self.data = self._pixels(
            "data",
            (self.chips, self.times, bands, *table.shape_yx),
            table.dtype,
            self.pad,
            ("chip", "time", "band", "y", "x"),
        )
        self.valid = self._pixels(
            "valid",
            (self.chips, self.times, *table.shape_yx),
            "uint8",
            0,
            ("chip", "time", "y", "x"),
            coordinates=f"time {CHIP_COORDINATES}",
            flag_values=[0, 1, 2, 3, 4, 5, 6, 7],
            flag_meanings="nodata clear cloud cloud_shadow snow haze_or_cirrus clear_water defective",
        )
        self.count = self._counts(table.shape_yx) if table.composite else None
        self.time = np.full((self.chips, self.times), NAT, np.int64)
        self.scale = np.full((self.chips, self.times), np.nan)
        self.offset = np.full((self.chips, self.times), np.nan)

    def _counts(self, shape_yx: tuple[int, int]) -> zarr.Array[Any]:
        return self._pixels(
            "count",
            (self.chips, self.times, *shape_yx),
            "uint8",
            0,
            ("chip", "time", "y", "x"),
            coordinates=f"time {CHIP_COORDINATES}",
            long_name=f"clear dates behind each pixel of the {self.table.composite}",
            units="1",
        )

    def write(self, start: int, batch: Sequence[Sample]) -> None:
        """Write the chips from ``start`` on."""
        data = np.full((len(batch), *self.data.shape[1:]), self.pad, self.table.dtype)
        valid = np.zeros((len(batch), *self.valid.shape[1:]), np.uint8)
        for number, sample in enumerate(batch):
            layer = sample.layers.get(self.name)
            if layer is not None:
                self._one(start + number, sample.chip_id, layer, data[number], valid[number])
        self.data[start : start + len(batch)] = data
        self.valid[start : start + len(batch)] = valid
        if self.count is not None:
            count = np.zeros_like(valid)
            for number, sample in enumerate(batch):
                layer = sample.layers.get(self.name)
                if layer is not None and layer.count is not None:
                    dates, rows, columns = layer.count.shape
                    count[number, :dates, :rows, :columns] = layer.count
            self.count[start : start + len(batch)] = count

    def _one(self, index: int, chip_id: str, layer: LayerArrays, data: NDArray[Any], valid: NDArray[np.uint8]) -> None:
        dates, bands, rows, columns = layer.data.shape
        fits = dates <= self.times and bands == data.shape[1] and rows <= data.shape[2] and columns <= data.shape[3]
        if not fits or layer.data.dtype != np.dtype(self.table.dtype):
            raise IntegrityError(
                f"{chip_id}: {self.name} {layer.data.dtype} {layer.data.shape} does not fit the group's "
                f"{self.table.dtype} {data.shape}"
            )
        data[:dates, :, :rows, :columns] = layer.data
        valid[:dates, :rows, :columns] = layer.valid
        self.time[index, :dates] = layer.time_utc.astype("datetime64[ns]").astype(np.int64)
        self.scale[index, :dates], self.offset[index, :dates] = layer.scale, layer.offset
        self._place(index, layer.georef.epsg, layer.georef.x0, layer.georef.y0, (rows, columns))

    def close(self) -> None:
        """Write the coordinates, and what is known only now."""
        self._vector(
            "time",
            self.time,
            ("chip", "time"),
            {
                "units": "nanoseconds since 1970-01-01T00:00:00",
                "calendar": "proleptic_gregorian",
                "_FillValue": NAT,
                "standard_name": "time",
            },
        )
        note = "physical = data * scale + offset"
        self._vector("scale", self.scale, ("chip", "time"), {"long_name": note})
        self._vector("offset", self.offset, ("chip", "time"), {"long_name": note, "units": cf_unit(self.table.unit)})
        bands = self.table.bands
        self._vector("band", np.array([b.name for b in bands], dtype=object), ("band",), {"long_name": "band"})
        nanometres = {"units": "nm"}
        self._vector("wavelength_nm", _numbers([b.centre_nm for b in bands]), ("band",), nanometres)
        self._vector("fwhm_nm", _numbers([b.fwhm_nm for b in bands]), ("band",), nanometres)
        self._close_places()
        self.data.attrs.update(
            {
                "long_name": f"{self.table.sensor}, as stored",
                "units": cf_unit(self.table.unit),
                "dn_scale": _constant(self.scale),
                "dn_offset": _constant(self.offset),
                "nodata": self.table.nodata,
                "coordinates": f"time {CHIP_COORDINATES} scale offset wavelength_nm fwhm_nm",
            }
        )


class LabelGroup(_Group):
    """Writes one label group, a few chips at a time."""

    def __init__(self, top: zarr.Group, name: str, table: LabelTable, plan: ZarrPlan) -> None:
        super().__init__(top, name, plan, {"legend": table.legend})
        self.table = table
        shape = (self.chips, *table.shape_yx)
        self.data = self._pixels(
            "data",
            shape,
            table.dtype,
            table.nodata,
            ("chip", "y", "x"),
            units="1",
            nodata=table.nodata,
            coordinates=CHIP_COORDINATES,
        )

    def write(self, start: int, batch: Sequence[Sample]) -> None:
        """Write the chips from ``start`` on."""
        data = np.full((len(batch), *self.table.shape_yx), self.table.nodata, self.table.dtype)
        for number, sample in enumerate(batch):
            codes = label_arrays(sample).get(self.name)
            if codes is None:
                continue
            rows, columns = codes.shape
            if rows > data.shape[1] or columns > data.shape[2] or codes.dtype != np.dtype(self.table.dtype):
                raise IntegrityError(f"{sample.chip_id}: {self.name} {codes.dtype} {codes.shape}, wanted {self.table}")
            data[number, :rows, :columns] = codes
            x0, y0 = _label_origin(sample, self.name)
            self._place(start + number, int(sample.row["epsg"]), x0, y0, (rows, columns))
        self.data[start : start + len(batch)] = data

    def close(self) -> None:
        """Write the coordinates."""
        self._close_places()


def label_arrays(sample: Sample) -> dict[str, NDArray[Any]]:
    """Group name -> label array of a sample."""
    arrays: dict[str, NDArray[Any]] = {f"label_{source}": codes for source, codes in sample.labels.items()}
    if sample.label is not None:
        arrays["label"] = sample.label
    if sample.confidence is not None:
        arrays["confidence"] = sample.confidence
    return arrays


def _label_origin(sample: Sample, name: str) -> tuple[float, float]:
    """Upper left corner of a label: its own transform, the fused label's, else the chip's bounds."""
    for prefix in (name, "label"):
        transform = sample.row.get(f"{prefix}.transform")
        if transform is not None:
            return float(transform[2]), float(transform[5])
    left, _, _, top = sample.row["bounds_xyxy"]
    return float(left), float(top)


def cf_unit(unit: str) -> str:
    """UDUNITS spelling of a unit."""
    known = {"reflectance": "1", "linear": "1", "index": "1", "": "1", "metre": "m", "kelvin": "K"}
    return known.get(unit, unit)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _constant(values: NDArray[np.float64]) -> float | str:
    """The one value of an array, or where to look."""
    found = np.unique(values[np.isfinite(values)])
    return float(found[0]) if found.size == 1 else "differs by date: see the arrays scale and offset"
