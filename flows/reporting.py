"""The HTML report of a version: its tables and the pictures of some chips, read through the public reader."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from reports.html import ReportInputs, write_report
from reports.quicklooks import quicklooks
from shards.reader import Dataset, open_staged
from shards.storage import Storage

GALLERY = 12
"""Chips with pictures, spread over the table's order."""


def report_inputs(opened: Dataset) -> ReportInputs:
    """What the report of a version shows; the dataset is closed."""
    with closing(opened) as dataset:
        chips = dataset.chips
        ids = list(chips["chip_id"])
        step = max(1, len(ids) // GALLERY)
        document = dataset.document
        pictures = {
            chip_id: quicklooks(dataset.sample(chip_id), document.modalities, document.legends)
            for chip_id in ids[::step][:GALLERY]
        }
        return ReportInputs(
            dataset_json=document.model_dump(mode="json"),
            chips=chips,
            outcomes=dataset.outcomes,
            texts=dataset.texts,
            quicklooks=pictures,
        )


def write_html(storage: Storage, folder: Path) -> None:
    """Write ``report/index.html`` into a version that is being published."""
    write_report(folder, report_inputs(open_staged(storage, folder)))
