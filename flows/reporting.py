"""The HTML report of a version: its tables and the pictures of some chips, read through the public reader."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from reports.html import ReportInputs, write_report
from reports.quicklooks import quicklooks
from shards.reader import Dataset, open_staged
from shards.storage import Storage

GALLERY = 12
"""Chips with pictures, spread over the table's order."""


SUSPICIOUS = 6
"""Chips that a validation wants looked at, with pictures: the page stays small."""


def newest_validation(dataset: Dataset) -> dict[str, Any] | None:
    """The last validation of a version, or None."""
    paths = sorted(path for path, _ in dataset.storage.list(f"validations/{dataset.version}"))
    found: dict[str, Any] | None = json.loads(dataset.storage.read(paths[-1])) if paths else None
    return found


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
        validation = newest_validation(dataset)
        listed = [chip for gate in (validation or {}).get("gates", ()) for chip in gate.get("chips", ())]
        suspicious = {
            chip_id: quicklooks(dataset.sample(chip_id), document.modalities, document.legends)
            for chip_id in [chip for chip in listed if chip in set(ids)][:SUSPICIOUS]
        }
        return ReportInputs(
            dataset_json=document.model_dump(mode="json"),
            chips=chips,
            outcomes=dataset.outcomes,
            texts=dataset.texts,
            quicklooks=pictures,
            validation=validation,
            suspicious=suspicious,
        )


def write_html(storage: Storage, folder: Path) -> None:
    """Write ``report/index.html`` into a version that is being published."""
    write_report(folder, report_inputs(open_staged(storage, folder)))
