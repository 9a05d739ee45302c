"""What the tests of the lobby share."""

from __future__ import annotations

from typing import Any

from schemas.sample import Sample

RECIPE: dict[str, Any] = {
    "format": 1,
    "name": "small",
    "catalogs": {"c": {"kind": "stac-api", "href": "${TERRAWEFT_SOMEWHERE}"}},
    "regions": [{"name": "r", "bbox": [11.0, 47.0, 11.1, 47.1]}],
    "grid": {"chip_m": 960, "gsd_m": 10},
    "time": {"start": "2021-01-01", "end": "2021-12-31"},
    "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s2"}},
}
"""A recipe whose catalog's address is a variable."""


def sample_of(**row: Any) -> Sample:
    """A sample without layers."""
    return Sample("chip", "train", {}, row=row)
