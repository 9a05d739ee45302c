"""Texts as tables beside the dataset's tars: the form that keeps all of them, with their facts, checks and licences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.sample import Sample
from shards.export_texts import Record, TextExporter, code_block
from shards.exporters import ExportJob
from shards.text_table import TEXT_SCHEMA, text_rows


class ParquetTextsExporter(TextExporter):
    """``texts-<shard>.parquet`` per tar of the dataset: rows in the order of its samples."""

    title = "texts per shard (Parquet)"
    pictures = False
    notes = (
        "One file per tar of the dataset, under the name of the tar; rows in the order of its samples, so that texts "
        "and pixels are read side by side.",
        "Geometries lie in pixels of the label grid: a box is x0, y0, x1, y1 (edges), an oriented box cx, cy, w, h and "
        "degrees clockwise; a mask's run lengths go row by row (COCO's: column by column), zeros first.",
    )

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self._shard, self._held = "", list[Record]()
        table = job.dataset.columns(("chip_id", "shard"))
        self._shards = dict(zip(table["chip_id"].to_pylist(), table["shard"].to_pylist(), strict=True))

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: samples come in the order of the shards."""
        shard = str(self._shards[sample.chip_id])
        if shard != self._shard:
            self._write()
            self._shard = shard
        self._held += sample.texts
        self.left_out += not sample.texts

    def _write(self) -> None:
        if self._held:
            name = self._shard.removeprefix("shards/").removesuffix(".tar").replace("/", "-")
            rows = in_order(self._held)
            pq.write_table(pa.Table.from_pylist(rows, TEXT_SCHEMA), self.job.folder / f"texts-{name}.parquet")
        self._held = []

    def finish(self) -> None:
        """See `Exporter.finish`."""
        self._write()
        super().finish()

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import pandas",
            "",
            f'rows = pandas.read_parquet("{self.first_file("texts-*.parquet")}")  # columns of texts.parquet',
        )


def in_order(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows of texts.parquet in the order of the records."""
    place = {record["text_id"]: number for number, record in enumerate(records)}
    return sorted(text_rows(list(records)), key=lambda row: place[row["text_id"]])
