"""The HTML report of a version: its tables and the pictures of some chips, read through the public reader."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from reports.html import ReportInputs, write_report
from reports.quicklooks import quicklooks
from shards.reader import open_dataset

GALLERY = 12
"""Chips with pictures, spread over the table's order."""


def write_html(root: Path, folder: Path) -> None:
    """Write ``report/index.html`` below a version's folder.

    Args:
        root: the dataset.
        folder: the version's folder, published or about to be.
    """
    with closing(open_dataset(root, version=folder.name)) as dataset:
        chips = dataset.chips
        ids = list(chips["chip_id"])
        step = max(1, len(ids) // GALLERY)
        document = dataset.document
        legends = document.legends
        pictures = {
            chip_id: quicklooks(dataset.sample(chip_id), document.modalities, legends)
            for chip_id in ids[::step][:GALLERY]
        }
        write_report(
            folder,
            ReportInputs(
                dataset_json=document.model_dump(mode="json"),
                chips=chips,
                outcomes=dataset.outcomes,
                texts=dataset.texts,
                quicklooks=pictures,
            ),
        )
