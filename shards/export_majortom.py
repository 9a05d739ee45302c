"""Parquet as Major TOM Core has it: a row is a cell (and a date), each band a GeoTIFF in a column; a row per row group.

Form: published documentation and metadata of Major TOM Core: ``images/part_00000.parquet`` with ``product_id``,
``grid_cell``, ``product_datetime``, ``thumbnail``, the bands and ``cloud_mask``, and ``metadata.parquet``
with ``grid_cell``, ``grid_row_u``, ``grid_col_r``, ``product_id``, ``timestamp``, ``cloud_cover``, ``nodata``,
``centre_lat``, ``centre_lon``, ``crs``, ``parquet_url``, ``parquet_row``, ``geometry``.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from schemas.dataset import LayerTable
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from shards.export_layers import CLOUD_NOTE, centre_of, cloud_mask, iso, no_data, shown_bands, tables_of, thumbnail
from shards.exporters import ExportJob
from shards.tables import as_geoparquet

ROWS_PER_FILE = 200
"""Rows of a part, as a default: one of Core's parts has about so many."""
METADATA = pa.schema(
    [
        ("grid_cell", pa.string()),
        ("grid_row_u", pa.int16()),
        ("grid_col_r", pa.int16()),
        ("product_id", pa.string()),
        ("timestamp", pa.string()),
        ("cloud_cover", pa.float32()),
        ("nodata", pa.float32()),
        ("centre_lat", pa.float32()),
        ("centre_lon", pa.float32()),
        ("crs", pa.string()),
        ("parquet_url", pa.string()),
        ("parquet_row", pa.int64()),
        ("geometry", pa.binary()),
        ("chip_id", pa.string()),
        ("split", pa.string()),
        ("scale", pa.float64()),
        ("offset", pa.float64()),
        ("item_ids", pa.string()),
    ]
)
"""Columns of Core's table, and five more: whose chip, of which split, how numbers become physical values, all items."""
_CELL = re.compile(r"(\d+)([UD])_(\d+)([LR])")


class MajorTomExporter:
    """``Core-<MODALITY>/`` for each modality."""

    title = "Parquet, a row per cell (Major TOM Core)"
    members = ()
    order = "shards"
    notes = (
        "Core has one date per cell; here a cell has a row for each date. Chips that are no Major TOM cells keep their "
        "nearest cell's name in grid_cell; their product_id ends with the chip_id, so that Core's own code tells them "
        "apart.",
        "product_id begins with the first item behind a date; item_ids of metadata.parquet names all of them.",
        CLOUD_NOTE,
        "Every band has its own GeoTIFF on its own grid; parquet_row is the row, and the row group, of its part.",
    )

    def __init__(self, job: ExportJob) -> None:
        modalities = dict.fromkeys(job.dataset.layer(group).modality for group in job.groups)
        self._parts = {m: _Part(job, m, tables_of(job.dataset, job.groups, m)) for m in modalities}

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: a row group is written at once."""
        for part in self._parts.values():
            part.add(sample)

    def finish(self) -> None:
        """See `Exporter.finish`."""
        for part in self._parts.values():
            part.finish()

    def abandon(self) -> None:
        """See `Exporter.abandon`."""
        for part in self._parts.values():
            part.close()

    def card(self) -> str:
        """See `Exporter.card`."""
        part = next(iter(self._parts.values()))
        return f"""```python
import io, pyarrow.parquet, rasterio

table = pyarrow.parquet.read_table("{part.name}/metadata.parquet").to_pylist()
row = table[0]
file = pyarrow.parquet.ParquetFile(row["parquet_url"])
cell = file.read_row_group(row["parquet_row"], columns=["{part.columns[0]}"])  # one range of the file
with rasterio.open(io.BytesIO(cell["{part.columns[0]}"][0].as_py())) as band:
    print(band.crs, band.read(1).shape)
```"""


class _Part:
    """The files of one modality."""

    def __init__(self, job: ExportJob, modality: str, tables: list[LayerTable]) -> None:
        self.name = f"Core-{modality.upper().replace('_', '-')}"
        self.columns = [band.name for table in tables for band in table.bands]
        self._job, self._modality, self._tables = job, modality, tables
        self._rows_per_file = job.samples_per_file or ROWS_PER_FILE
        self._has_cells = (job.dataset.document.recipe.get("grid") or {}).get("kind") == "majortom"
        self._shown = shown_bands(tables)
        binary = [(name, pa.binary()) for name in (*self.columns, "cloud_mask", "thumbnail")]
        self._schema = pa.schema(
            [("product_id", pa.string()), ("grid_cell", pa.string()), ("product_datetime", pa.string()), *binary]
        )
        (job.folder / self.name / "images").mkdir(parents=True)
        self._metadata: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._in_file = self._files = 0
        self._url = ""

    def add(self, sample: Sample) -> None:
        """A row for each date of the chip."""
        layers = {t.group: sample.layers[t.group] for t in self._tables if t.group in sample.layers}
        if not layers:
            return
        finest = layers[next(t.group for t in self._tables if t.group in layers)]
        for date, time in enumerate(finest.time_utc):
            if not np.isnat(time):
                self._write(sample, layers, finest, date, iso(time))

    def _write(
        self, sample: Sample, layers: dict[str, LayerArrays], finest: LayerArrays, date: int, timestamp: str
    ) -> None:
        items = str((sample.row.get(f"{self._modality}.item_ids") or [""] * (date + 1))[date])
        row: dict[str, Any] = {
            "product_id": self._product_id(sample, items),
            "grid_cell": sample.row.get("majortom_cell") or sample.chip_id,
            "product_datetime": timestamp,
        }
        planes = {}
        for table in self._tables:
            layer = layers.get(table.group)
            for number, band in enumerate(table.bands):
                if layer is not None:
                    planes[band.name] = layer.data[date, number]
                    row[band.name] = geotiff(planes[band.name], layer.georef, no_data(table))
        valid = finest.valid[date]
        row["cloud_mask"] = geotiff(cloud_mask(valid), finest.georef, 255)
        shown = [planes[name] for name in self._shown if name in planes and planes[name].shape == valid.shape]
        row["thumbnail"] = thumbnail(np.stack(shown[:3] if len(shown) >= 3 else shown[:1]), valid) if shown else None
        self._put(row)
        self._note(sample, row, finest, date, items)

    def _product_id(self, sample: Sample, items: str) -> str:
        """The first item behind a date, with the chip where a cell may hold several.

        Core's own code unpacks a row into ``<row>/<grid_cell>/<product_id>/`` and reads it there: rows that share both
        become one picture. All items of a border or a composite would be no name of a folder: too long.
        """
        first = next(iter(items.split()), self._modality)
        return first if self._has_cells else f"{first}_{sample.chip_id}"

    def _put(self, row: dict[str, Any]) -> None:
        """Write a row group of one row."""
        if self._writer is None or self._in_file >= self._rows_per_file:
            self.close()
            self._url = f"{self.name}/images/part_{self._files:05d}.parquet"
            words = self._schema.names[:3]
            # Of a column of pictures the least and the most are pictures: with them a file of small chips is five
            # times as large, and whoever opens it reads two fifths of it before the first row.
            self._writer = pq.ParquetWriter(
                self._job.folder / self._url,
                self._schema,
                compression="zstd",
                write_statistics=words,
                use_dictionary=words,
            )
            self._files, self._in_file = self._files + 1, 0
        self._writer.write_table(pa.Table.from_pylist([row], self._schema), row_group_size=1)
        self._in_file += 1

    def _note(self, sample: Sample, row: dict[str, Any], finest: LayerArrays, date: int, items: str) -> None:
        longitude, latitude = centre_of(sample)
        valid = finest.valid[date]
        codes = cloud_mask(valid)
        seen = codes != 255
        cell = _CELL.fullmatch(row["grid_cell"])
        self._metadata.append(
            {
                "grid_cell": row["grid_cell"],
                "grid_row_u": int(cell[1]) * (1 if cell[2] == "U" else -1) if cell else None,
                "grid_col_r": int(cell[3]) * (1 if cell[4] == "R" else -1) if cell else None,
                "product_id": row["product_id"],
                "timestamp": row["product_datetime"],
                "cloud_cover": float(100 * np.isin(codes[seen], (1, 2, 3)).mean()) if seen.any() else None,
                "nodata": float((valid == 0).mean()),
                "centre_lat": latitude,
                "centre_lon": longitude,
                "crs": f"EPSG:{finest.georef.epsg}",
                "parquet_url": self._url,
                "parquet_row": self._in_file - 1,
                "geometry": sample.row["geometry_wkb"],
                "chip_id": sample.chip_id,
                "split": sample.split,
                "scale": float(finest.scale[date]),
                "offset": float(finest.offset[date]),
                "item_ids": items,
            }
        )

    def close(self) -> None:
        """End the open part."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def finish(self) -> None:
        """Write the table of all rows, as GeoParquet."""
        self.close()
        table = as_geoparquet(pa.Table.from_pylist(self._metadata, METADATA))
        pq.write_table(table, self._job.folder / self.name / "metadata.parquet", compression="zstd")


def geotiff(plane: NDArray[Any], georef: GeoRef, nodata: float | None) -> bytes:
    """A deflated GeoTIFF of one band (H, W)."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=1,
            height=plane.shape[0],
            width=plane.shape[1],
            dtype=plane.dtype.name,
            crs=CRS.from_epsg(georef.epsg),
            transform=Affine(*georef.transform),
            nodata=nodata,
            compress="deflate",
        ) as file:
            file.write(plane, 1)
        return bytes(memory.getbuffer())
