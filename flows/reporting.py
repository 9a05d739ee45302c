"""The HTML report of a version: its tables and the pictures of some chips, read through the public reader."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from reports.html import Quicklook, ReportInputs, is_shown, write_report
from reports.outcomes import OUTCOME_COLUMNS
from reports.quicklooks import quicklooks
from reports.tables import TEXT_COLUMNS
from schemas.errors import DatasetError
from shards.reader import Dataset, open_staged
from shards.storage import Storage
from shards.waiting import validations_of

GALLERY = 12
"""Chips with pictures, spread over the table's order."""


REMOVE = "remove it, or let terraweft validate write another"
SUSPICIOUS = 6
"""Chips that a validation wants looked at, with pictures: the page stays small."""


def _validation(storage: Storage, path: str) -> dict[str, Any]:
    """What the gates found.

    Raises:
        DatasetError: the file is torn, or none of theirs.
    """
    try:
        found = json.loads(storage.read(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"cannot be read: {error}", where=f"{storage.uri}/{path}", mend=REMOVE) from error
    gates = found.get("gates") if isinstance(found, dict) else None
    sound = isinstance(gates, list) and all(isinstance(g, dict) and isinstance(g.get("chips", []), list) for g in gates)
    if not sound:
        raise DatasetError("holds no gates", where=f"{storage.uri}/{path}", mend=REMOVE)
    return dict(found)


def spread(total: int, most: int) -> list[int]:
    """At most so many numbers below ``total``, the first and the last among them.

    >>> spread(3, 12), spread(23, 4)
    ([0, 1, 2], [0, 7, 15, 22])
    """
    return sorted({round(k * (total - 1) / max(most - 1, 1)) for k in range(most)} if total > most else range(total))


def report_inputs(opened: Dataset) -> ReportInputs:
    """What the report of a version shows; the dataset is closed."""
    with closing(opened) as dataset:
        document = dataset.document
        ids = dataset.places.chip_ids
        paths = validations_of(dataset.storage, dataset.version)
        validation = _validation(dataset.storage, paths[-1]) if paths else None
        listed = [str(chip) for gate in (validation or {}).get("gates", ()) for chip in gate.get("chips", ())]
        known = [chip_id for chip_id in listed if dataset.places.number(chip_id) is not None]
        gallery = [str(ids[number]) for number in spread(len(ids), GALLERY)]

        def pictures(chip_ids: list[str]) -> dict[str, list[Quicklook]]:
            return {i: quicklooks(dataset.sample(i), document.modalities, document.legends) for i in chip_ids}

        return ReportInputs(
            dataset_json=document.model_dump(mode="json"),
            chips=dataset.columns([name for name in dataset.column_names if is_shown(name)]),
            outcomes=dataset.table("outcomes", OUTCOME_COLUMNS),
            texts=dataset.table("texts", TEXT_COLUMNS),
            quicklooks=pictures(gallery),
            validation=validation,
            suspicious=pictures(known[:SUSPICIOUS]),
        )


def write_html(storage: Storage, folder: Path) -> None:
    """Write ``report/index.html`` into a version that is being published."""
    write_report(folder, report_inputs(open_staged(storage, folder)))
