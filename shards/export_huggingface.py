"""Parquet that Hugging Face ``datasets`` loads by the folder's name: a row per chip, arrays with their shapes, a card.

The features stand in the schema's metadata as ``datasets`` writes them, so that arrays come back as arrays. Written
with Arrow alone, a row group at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.errors import DatasetError
from schemas.sample import LayerArrays, Sample
from shards.export_layers import VALID_NOTE, iso
from shards.exporters import ExportJob

ROWS_PER_FILE = 500
ROWS_PER_GROUP, NUMBERS_PER_GROUP = 16, 1 << 27
"""Held in memory at once: so many rows, fewer of large arrays; Arrow's lists count to 2**31."""


class HuggingFaceExporter:
    """``data/<split>-<number>.parquet`` and a card with the configuration."""

    title = "Parquet for Hugging Face datasets"
    members = ("labels", "label", "confidence", "texts")
    order = "shards"
    notes = (
        "Arrays are (dates, bands, rows, columns); a chip that is smaller than the largest is padded with 0, "
        "and its mask is "
        "0 there.",
        "Values are as stored; <group>.scale and <group>.offset per date turn them into physical values.",
        "<group>.transform is the layer's affine (a, b, c, d, e, f) in epsg; labels fill bounds_xyxy.",
        "Read coordinates from rows without a format: formats (`numpy`, `torch`) make float32 of them, so that "
        "a northing is rounded to half a metre.",
        "Axis of bands: the order of `bands` in `layers` of export.json.",
        VALID_NOTE,
    )

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._tables = [job.dataset.layer(group) for group in job.groups]
        self._labels = [f"label_{s}" for s in job.dataset.label_sources()]
        self._labels += ["label", "confidence"] if job.dataset.has_label else []
        self._label_shape = job.dataset.label_shape_yx if self._labels else (0, 0)
        self._features = self._feature_table()
        self._rows_per_group = rows_per_group(self._tables)
        self._rows_per_file = job.samples_per_file or ROWS_PER_FILE
        self._held: dict[str, list[Sample]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._written: dict[str, int] = {}
        (job.folder / "data").mkdir()

    def _feature_table(self) -> dict[str, Any]:
        """Column -> feature, as ``datasets`` writes it into a schema."""
        strings = ("chip_id", "split", "region", "caption", "majortom_cell")
        found: dict[str, Any] = {name: _value("string") for name in strings}
        found |= {"epsg": _value("int32"), "bounds_xyxy": _list("float64"), "bbox": _list("float64")}
        for table in self._tables:
            shape = [len(table.bands), *table.shape_yx]
            found[table.group] = _array("Array4D", [None, *shape], table.dtype)
            found[f"{table.group}_valid"] = _array("Array3D", [None, *table.shape_yx], "uint8")
            found |= {f"{table.group}.times": _list("string")}
            found |= {f"{table.group}.{name}": _list("float64") for name in ("scale", "offset", "transform")}
        for name in self._labels:
            found[name] = _array("Array2D", list(self._label_shape), "int32" if name.startswith("label_") else "uint8")
        return found | {"texts": _list("string")}

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: a row group's samples are held."""
        held = self._held.setdefault(sample.split, [])
        held.append(sample)
        if len(held) == self._rows_per_group:
            self._write(sample.split)

    def _write(self, split: str) -> None:
        held = self._held.pop(split, [])
        while held:
            done = self._written.get(split, 0)
            if done % self._rows_per_file == 0:
                self._close(split)
                path = self._job.folder / "data" / f"{split}-{done // self._rows_per_file:05d}.parquet"
                schema = self._table(held[:1]).schema
                self._writers[split] = pq.ParquetWriter(path, schema, compression="zstd")
            fitting = held[: self._rows_per_file - done % self._rows_per_file]
            self._writers[split].write_table(self._table(fitting), row_group_size=self._rows_per_group)
            self._written[split], held = done + len(fitting), held[len(fitting) :]

    def _table(self, samples: Sequence[Sample]) -> pa.Table:
        columns: dict[str, pa.Array] = {
            "chip_id": pa.array([s.chip_id for s in samples]),
            "split": pa.array([s.split for s in samples]),
            **{name: pa.array([s.row.get(name) for s in samples], pa.string()) for name in ("region", "caption")},
            "majortom_cell": pa.array([s.row.get("majortom_cell") for s in samples], pa.string()),
            "epsg": pa.array([s.row["epsg"] for s in samples], pa.int32()),
            "bounds_xyxy": pa.array([list(s.row["bounds_xyxy"]) for s in samples], pa.list_(pa.float64())),
            "bbox": pa.array([_bbox(s) for s in samples], pa.list_(pa.float64())),
            "texts": pa.array([[str(text["text"]) for text in s.texts] for s in samples], pa.list_(pa.string())),
        }
        for table in self._tables:
            columns |= self._layer(table, [s.layers.get(table.group) for s in samples])
        for name in self._labels:
            columns[name] = self._label(name, samples)
        fields = [_field(name, columns[name].type, feature) for name, feature in self._features.items()]
        metadata = {"huggingface": json.dumps({"info": {"features": self._features}})}
        return pa.table([columns[name] for name in self._features], pa.schema(fields, metadata))

    def _layer(self, table: LayerTable, layers: Sequence[LayerArrays | None]) -> dict[str, pa.Array]:
        empty = np.zeros((0, len(table.bands), *table.shape_yx), table.dtype)
        pixels, masks = [], []
        for layer in layers:
            data = empty if layer is None else layer.data
            valid = empty[:, 0].astype(np.uint8) if layer is None else layer.valid
            pixels.append(_padded(data, (len(data), len(table.bands), *table.shape_yx)))
            masks.append(_padded(valid, (len(valid), *table.shape_yx)))
        floats = pa.list_(pa.float64())
        return {
            table.group: nested(pixels),
            f"{table.group}_valid": nested(masks),
            f"{table.group}.times": pa.array(
                [[] if one is None else [iso(t) for t in one.time_utc] for one in layers], pa.list_(pa.string())
            ),
            f"{table.group}.scale": pa.array([[] if o is None else o.scale.tolist() for o in layers], floats),
            f"{table.group}.offset": pa.array([[] if o is None else o.offset.tolist() for o in layers], floats),
            f"{table.group}.transform": pa.array([[] if o is None else o.georef.transform for o in layers], floats),
        }

    def _label(self, name: str, samples: Sequence[Sample]) -> pa.Array:
        source = name.removeprefix("label_")
        kind: type[np.generic]
        if name == "label":
            fill, kind, arrays = 255, np.uint8, [s.label for s in samples]
        elif name == "confidence":
            fill, kind, arrays = 0, np.uint8, [s.confidence for s in samples]
        else:
            fill, kind = self._job.dataset.label_nodata(source), np.int32
            arrays = [s.labels.get(source) for s in samples]
        padded = []
        for array in arrays:
            full = np.full(self._label_shape, fill, kind)
            if array is not None:
                full[: array.shape[0], : array.shape[1]] = array
            padded.append(full)
        return nested(padded)

    def _close(self, split: str) -> None:
        if split in self._writers:
            self._writers.pop(split).close()

    def finish(self) -> None:
        """See `Exporter.finish`."""
        for split in list(self._held):
            self._write(split)
        for split in list(self._writers):
            self._close(split)
        files = [
            f"  - split: {'validation' if split == 'val' else split}\n    path: data/{split}-*.parquet"
            for split in sorted(self._written)
        ]
        front = ["---", "configs:", "- config_name: default", "  data_files:", *files, "---", ""]
        (self._job.folder / "README.md").write_text("\n".join(front) + "\n", encoding="utf-8")

    def abandon(self) -> None:
        """See `Exporter.abandon`."""
        for split in list(self._writers):
            self._close(split)

    def card(self) -> str:
        """See `Exporter.card`."""
        if not self._written:
            raise DatasetError("nothing was exported", where=self._job.dataset.name)
        split = "validation" if (first := sorted(self._written)[0]) == "val" else first
        return f"""```python
import datasets, pathlib

folder = str(pathlib.Path(".").resolve())
samples = datasets.load_dataset(folder, split="{split}", streaming=True).with_format("numpy")
print(next(iter(samples))["{self._tables[0].group}"].shape)  # (dates, bands, rows, columns)
```"""


def rows_per_group(tables: Sequence[LayerTable]) -> int:
    """Rows of a row group, of chips that may be as large as the tables say."""
    sizes = [table.max_dates * len(table.bands) * table.shape_yx[0] * table.shape_yx[1] for table in tables]
    return max(1, min(ROWS_PER_GROUP, NUMBERS_PER_GROUP // max(1, *sizes)))


def nested(arrays: Sequence[NDArray[Any]]) -> pa.Array:
    """Arrays of equal rank as an Arrow array of nested lists, one entry per array.

    Example:
        >>> nested([np.ones((2, 3), np.uint8), np.zeros((1, 3), np.uint8)]).to_pylist()
        [[[1, 1, 1], [1, 1, 1]], [[0, 0, 0]]]
    """
    values = pa.array(np.concatenate([array.reshape(-1) for array in arrays]))
    for axis in range(arrays[0].ndim - 1, -1, -1):
        sizes = np.concatenate(
            [np.full(int(np.prod(array.shape[:axis])), array.shape[axis], np.int64) for array in arrays]
        )
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        values = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    return values


def _padded(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.shape == shape:
        return array
    full = np.zeros(shape, array.dtype)
    full[tuple(slice(0, size) for size in array.shape)] = array
    return full


def _bbox(sample: Sample) -> list[float]:
    return [float(side) for side in shapely.from_wkb(sample.row["geometry_wkb"]).bounds]


def _field(name: str, kind: pa.DataType, feature: dict[str, Any]) -> pa.Field:
    """A column; arrays are marked as the extension type by which ``datasets`` knows them, to others they are lists."""
    if "shape" not in feature:
        return pa.field(name, kind)
    marks = {
        "ARROW:extension:name": f"datasets.features.features.{feature['_type']}ExtensionType",
        "ARROW:extension:metadata": json.dumps([feature["shape"], feature["dtype"]]),
    }
    return pa.field(name, kind, metadata=marks)


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list(dtype: str) -> dict[str, Any]:
    return {"feature": _value(dtype), "_type": "List"}


def _array(kind: str, shape: list[int | None], dtype: str) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "_type": kind}
