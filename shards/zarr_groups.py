"""Zarr groups of a version: `LayerSpec` for pixels, `LabelSpec` for labels; what their arrays are and what is in them.

`shards.zarr_store` says what stands in a group. A spec makes the arrays, writes the chips of a shard, and writes the
coordinates when all shards are there; it pickles, so that shards may be written by whoever is free. Chips with fewer
dates or pixels than the largest are padded here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from schemas.dataset import LayerTable, ZarrCodec
from schemas.errors import IntegrityError
from schemas.sample import LayerArrays, Sample
from shards.sample_request import ABSTAIN
from shards.samples import label_arrays
from shards.zarr_arrays import (
    CHIP_COORDINATES,
    NAT,
    Vectors,
    array_of,
    blank_places,
    cf_unit,
    constant,
    make_pixels,
    numbers,
    set_place,
    signature_of,
    write_places,
    write_vector,
)

_NO_FLAG = re.compile(r"[^A-Za-z0-9_.+@-]+")
"""What CF does not let a flag's meaning hold: meanings stand in one text, with blanks between them."""


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
    gsd_m: float | None = None
    """Pixel size; None where the recipe does not say."""
    flags: tuple[tuple[int, str], ...] = ()
    """(number in the array, what it means), as `label_flags` gives them; none for measurements."""


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
    codec: ZarrCodec = "lz4"
    """How measurements are packed."""

    def specs(self) -> list[GroupSpec]:
        """The groups, in their order."""
        layers: list[GroupSpec] = [LayerSpec(table, self.shard_chips, self.codec) for table in self.layers]
        return layers + [LabelSpec(name, table, self.shard_chips) for name, table in sorted(self.labels.items())]


class GroupSpec(Protocol):
    """One group."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def shard_chips(self) -> int:
        """Chips per shard."""
        ...

    @property
    def arrays(self) -> Mapping[str, tuple[int, ...]]:
        """Array of pixels -> its shape, less the chips."""
        ...

    def signature(self) -> str:
        """Hash of all that the encoded chunks follow from, beside the pixels."""
        ...

    def create(self, top: zarr.Group, chips: int) -> None:
        """Make the group with its arrays of pixels, empty, and the attributes that the signature speaks for."""
        ...

    def write(self, group: zarr.Group, start: int, batch: Sequence[Sample]) -> Vectors:
        """Write the chips from ``start`` on; their coordinates.

        Raises:
            IntegrityError: a chip that does not fit.
        """
        ...

    def close(self, group: zarr.Group, chip_ids: Sequence[str], vectors: Vectors) -> None:
        """Write the coordinates, what is known only now, and what may be another while the arrays stay."""
        ...

    def blank(self, chips: int) -> Vectors:
        """Coordinates of so many chips of which nothing is known."""
        ...


def padding_of(table: LayerTable) -> int | float:
    """What stands where a layer has no pixel: its nodata, else NaN for floats and 0 for integers (validity
    says 0).
    """
    if table.nodata is not None:
        return table.nodata if np.dtype(table.dtype).kind == "f" else int(table.nodata)
    return float("nan") if np.dtype(table.dtype).kind == "f" else 0


@dataclass(frozen=True)
class LayerSpec:
    """A modality group."""

    table: LayerTable
    """What it holds."""
    shard_chips: int
    """Chips per shard."""
    codec: ZarrCodec
    """How measurements are packed."""

    @property
    def name(self) -> str:
        """See `GroupSpec.name`."""
        return self.table.group

    @property
    def times(self) -> int:
        """Largest number of dates."""
        return max(1, self.table.max_dates)

    @property
    def arrays(self) -> Mapping[str, tuple[int, ...]]:
        """See `GroupSpec.arrays`."""
        mask = (self.times, *self.table.shape_yx)
        found: dict[str, tuple[int, ...]] = {
            "data": (self.times, len(self.table.bands), *self.table.shape_yx),
            "valid": mask,
        }
        return found | ({"count": mask} if self.table.composite else {})

    def signature(self) -> str:
        """See `GroupSpec.signature`."""
        return signature_of(self.arrays, self.table.dtype, str(padding_of(self.table)), self.shard_chips, self.codec)

    def create(self, top: zarr.Group, chips: int) -> None:
        """See `GroupSpec.create`."""
        table = self.table
        group = top.create_group(self.name)
        shapes, coordinates = self.arrays, f"time {CHIP_COORDINATES}"
        dims = ("chip", "time", "band", "y", "x")
        data, fill = (chips, *shapes["data"]), padding_of(table)
        make_pixels(group, "data", data, self.shard_chips, table.dtype, fill, dims, self.codec)
        masks = ("chip", "time", "y", "x")
        make_pixels(
            group,
            "valid",
            (chips, *shapes["valid"]),
            self.shard_chips,
            "uint8",
            0,
            masks,
            coordinates=coordinates,
            flag_values=[0, 1, 2, 3, 4, 5, 6, 7],
            flag_meanings="nodata clear cloud cloud_shadow snow haze_or_cirrus clear_water defective",
        )
        if "count" in shapes:
            make_pixels(
                group,
                "count",
                (chips, *shapes["count"]),
                self.shard_chips,
                "uint8",
                0,
                masks,
                coordinates=coordinates,
                long_name="",
                units="1",
            )

    def blank(self, chips: int) -> Vectors:
        """See `GroupSpec.blank`."""
        return blank_places(chips) | {
            "time": np.full((chips, self.times), NAT, np.int64),
            "scale": np.full((chips, self.times), np.nan),
            "offset": np.full((chips, self.times), np.nan),
        }

    def write(self, group: zarr.Group, start: int, batch: Sequence[Sample]) -> Vectors:
        """See `GroupSpec.write`."""
        shapes, vectors = self.arrays, self.blank(len(batch))
        filled = {
            name: np.full((len(batch), *shape), padding_of(self.table), self.table.dtype)
            if name == "data"
            else np.zeros((len(batch), *shape), np.uint8)
            for name, shape in shapes.items()
        }
        for number, sample in enumerate(batch):
            layer = sample.layers.get(self.name)
            if layer is not None:
                self._one(number, sample.chip_id, layer, filled, vectors)
        for name, values in filled.items():
            array_of(group, name)[start : start + len(batch)] = values
        return vectors

    def _one(
        self, number: int, chip_id: str, layer: LayerArrays, filled: Mapping[str, NDArray[Any]], vectors: Vectors
    ) -> None:
        data = filled["data"][number]
        dates, bands, rows, columns = layer.data.shape
        fits = dates <= self.times and bands == data.shape[1] and rows <= data.shape[2] and columns <= data.shape[3]
        if not fits or layer.data.dtype != np.dtype(self.table.dtype):
            raise IntegrityError(
                f"{chip_id}: {self.name} {layer.data.dtype} {layer.data.shape} does not fit the group's "
                f"{self.table.dtype} {data.shape}"
            )
        data[:dates, :, :rows, :columns] = layer.data
        filled["valid"][number, :dates, :rows, :columns] = layer.valid
        if "count" in filled and layer.count is not None:
            filled["count"][number, :dates, :rows, :columns] = layer.count
        vectors["time"][number, :dates] = layer.time_utc.astype("datetime64[ns]").astype(np.int64)
        vectors["scale"][number, :dates], vectors["offset"][number, :dates] = layer.scale, layer.offset
        set_place(vectors, number, layer.georef.epsg, layer.georef.x0, layer.georef.y0, (rows, columns))

    def close(self, group: zarr.Group, chip_ids: Sequence[str], vectors: Vectors) -> None:
        """See `GroupSpec.close`."""
        table = self.table
        group.attrs.update({"modality": table.modality, "sensor": table.sensor, "gsd_m": table.gsd_m})
        if "count" in self.arrays:
            note = f"clear dates behind each pixel of the {table.composite}"
            array_of(group, "count").attrs.update({"long_name": note})
        write_vector(group, "chip_id", np.array(chip_ids, dtype=object), ("chip",), {"long_name": "chip id"})
        times = {
            "units": "nanoseconds since 1970-01-01T00:00:00",
            "calendar": "proleptic_gregorian",
            "_FillValue": NAT,
            "standard_name": "time",
        }
        write_vector(group, "time", vectors["time"], ("chip", "time"), times)
        note, unit = "physical = data * scale + offset", cf_unit(self.table.unit)
        write_vector(group, "scale", vectors["scale"], ("chip", "time"), {"long_name": note})
        write_vector(group, "offset", vectors["offset"], ("chip", "time"), {"long_name": note, "units": unit})
        bands, nanometres = self.table.bands, {"units": "nm"}
        write_vector(group, "band", np.array([b.name for b in bands], dtype=object), ("band",), {"long_name": "band"})
        write_vector(group, "wavelength_nm", numbers([b.centre_nm for b in bands]), ("band",), nanometres)
        write_vector(group, "fwhm_nm", numbers([b.fwhm_nm for b in bands]), ("band",), nanometres)
        write_places(group, vectors)
        array_of(group, "data").attrs.update(
            {
                "long_name": f"{self.table.sensor}, as stored",
                "units": unit,
                "dn_scale": constant(vectors["scale"]),
                "dn_offset": constant(vectors["offset"]),
                "nodata": self.table.nodata,
                "coordinates": f"time {CHIP_COORDINATES} scale offset wavelength_nm fwhm_nm",
            }
        )


@dataclass(frozen=True)
class LabelSpec:
    """A label group."""

    name: str
    """``label``, ``confidence`` or ``label_<source>``."""
    table: LabelTable
    """What it holds."""
    shard_chips: int
    """Chips per shard."""

    @property
    def arrays(self) -> Mapping[str, tuple[int, ...]]:
        """See `GroupSpec.arrays`."""
        return {"data": tuple(self.table.shape_yx)}

    def signature(self) -> str:
        """See `GroupSpec.signature`."""
        return signature_of(self.arrays, self.table.dtype, str(self.table.nodata), self.shard_chips)

    def create(self, top: zarr.Group, chips: int) -> None:
        """See `GroupSpec.create`."""
        table = self.table
        group = top.create_group(self.name)
        make_pixels(
            group,
            "data",
            (chips, *table.shape_yx),
            self.shard_chips,
            table.dtype,
            table.nodata,
            ("chip", "y", "x"),
        )

    def blank(self, chips: int) -> Vectors:
        """See `GroupSpec.blank`."""
        return blank_places(chips)

    def write(self, group: zarr.Group, start: int, batch: Sequence[Sample]) -> Vectors:
        """See `GroupSpec.write`."""
        data = np.full((len(batch), *self.table.shape_yx), self.table.nodata, self.table.dtype)
        vectors = self.blank(len(batch))
        for number, sample in enumerate(batch):
            codes = label_arrays(sample).get(self.name)
            if codes is None:
                continue
            rows, columns = codes.shape
            if rows > data.shape[1] or columns > data.shape[2] or codes.dtype != np.dtype(self.table.dtype):
                raise IntegrityError(f"{sample.chip_id}: {self.name} {codes.dtype} {codes.shape}, wanted {self.table}")
            data[number, :rows, :columns] = codes
            x0, y0 = _label_origin(sample, self.name)
            set_place(vectors, number, int(sample.row["epsg"]), x0, y0, (rows, columns))
        array_of(group, "data")[start : start + len(batch)] = data
        return vectors

    def close(self, group: zarr.Group, chip_ids: Sequence[str], vectors: Vectors) -> None:
        """See `GroupSpec.close`."""
        size = {} if self.table.gsd_m is None else {"gsd_m": self.table.gsd_m}
        group.attrs.update({"legend": self.table.legend, **size})
        notes: dict[str, Any] = {"units": "1", "nodata": self.table.nodata, "coordinates": CHIP_COORDINATES}
        if self.table.flags:
            notes["flag_values"] = [number for number, _ in self.table.flags]
            notes["flag_meanings"] = " ".join(meaning for _, meaning in self.table.flags)
        array_of(group, "data").attrs.put(notes)  # all of them: the parent's legend may have had others
        write_vector(group, "chip_id", np.array(chip_ids, dtype=object), ("chip",), {"long_name": "chip id"})
        write_places(group, vectors)


def label_flags(group: str, legends: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """What the numbers of a label group mean, as CF's ``flag_values`` and ``flag_meanings`` say it.

    Args:
        group: ``label`` (numbers are positions in the legend, 255 abstains) or ``label_<source>`` (its own codes).
        legends: as in ``dataset.json``.

    >>> label_flags("label", {"label": {"nodata": [0], "classes": [{"code": 10, "name": "Tree cover"}]}})
    ((0, 'Tree_cover'), (255, 'abstain'))
    """
    legend = legends.get(group.removeprefix("label_")) or {}
    entries = list(enumerate(legend.get("classes") or ()))
    if group == "label":
        named = [(index, str(entry["name"])) for index, entry in entries]
        none = [(ABSTAIN, "abstain")] if entries else []
    else:
        named = [(int(entry.get("code", index)), str(entry["name"])) for index, entry in entries]
        none = [(int(code), "nodata") for code in legend.get("nodata") or ()]
    words = [(number, _NO_FLAG.sub("_", name).strip("_") or f"class_{number}") for number, name in named] + none
    often = Counter(word for _, word in words)
    return tuple((number, word if often[word] == 1 else f"{word}_{number}") for number, word in sorted(words))


def label_gsd_m(recipe: Mapping[str, Any]) -> float | None:
    """Pixel size of a dataset's labels, from its resolved recipe; None of one without a grid."""
    size = recipe.get("grid", {}).get("gsd_m")
    return None if size is None else float(size)


def _label_origin(sample: Sample, name: str) -> tuple[float, float]:
    """Upper left corner of a label: its own transform, the fused label's, else the chip's bounds."""
    for prefix in (name, "label"):
        transform = sample.row.get(f"{prefix}.transform")
        if transform is not None:
            return float(transform[2]), float(transform[5])
    left, _, _, top = sample.row["bounds_xyxy"]
    return float(left), float(top)
