"""`Sample`: one finished chip as the writers take it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.georef import GeoRef

CHIP_ID = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""What a key may be: no dot, for WebDataset ends the key at the first one; short, for USTAR names end at 100
bytes."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
"""What the name of a dataset, a split or a layer may be: exports name files and folders by it."""
RESERVED = ("label", "confidence", "osm", "texts", "meta")
"""Names that no modality group may have; nor may one begin with ``label_`` or ``target_`` or end in ``_valid`` or
``_count``."""
MAX_MEMBER = 32
"""Longest name of a member of a sample, its ending left out."""


def why_no_group(group: str) -> str:
    """Why a name cannot be that of a modality group; empty where it can.

    Example:
        >>> why_no_group("label"), why_no_group("s2_10m")
        ('the format uses this name itself', '')
    """
    if group in RESERVED or group.startswith(("label_", "target_")) or group.endswith(("_valid", "_count")):
        return "the format uses this name itself"
    spare = MAX_MEMBER - len("_valid")
    return f"{len(group)} characters are more than {spare}" if len(group) > spare else ""


def joined_ids(ids: Iterable[str]) -> str:
    """All items behind one date as ``item_ids`` holds them: apart by a space. Inverse: `split_ids`.

    Example:
        >>> joined_ids(["S2A_T32UPU", "an odd id"]), split_ids("S2A_T32UPU an%20odd%20id")
        ('S2A_T32UPU an%20odd%20id', ['S2A_T32UPU', 'an odd id'])
    """
    return " ".join(item_id.replace("%", "%25").replace(" ", "%20") for item_id in ids)


def split_ids(joined: str) -> list[str]:
    """The items that `joined_ids` put together; none of an empty step of a series."""
    return [part.replace("%20", " ").replace("%25", "%") for part in joined.split()]


@dataclass(frozen=True)
class LayerArrays:
    """One modality group, ready to write."""

    data: NDArray[Any]
    """(T, C, H, W) as stored."""
    valid: NDArray[np.uint8]
    """(T, H, W), see `schemas.chip.Valid`."""
    time_utc: NDArray[np.datetime64]
    """(T,) datetime64[ns], rising; NaT for a step of a series at which the chip has nothing."""
    scale: NDArray[np.float64]
    """(T,) physical = stored * scale + offset."""
    offset: NDArray[np.float64]
    """(T,)."""
    georef: GeoRef
    """The layer's own grid."""
    count: NDArray[np.uint8] | None = None
    """(T, H, W) clear dates behind each pixel of a composite; None where dates are single."""

    def __repr__(self) -> str:
        days = [str(day) for day in self.time_utc.astype("datetime64[D]")]
        return f"<LayerArrays {self.data.shape} {self.data.dtype}: {' '.join(days) or 'no date'}>"


@dataclass(frozen=True)
class Sample:
    """One chip, finished. Members appear in a shard in the order of docs/dataset.md."""

    chip_id: str
    """Key in every shard."""
    split: str
    """train, val or test."""
    layers: Mapping[str, LayerArrays]
    """Group name -> arrays, in the recipe's order."""
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Source -> (H, W) codes."""
    label: NDArray[np.uint8] | None = None
    """(H, W) fused class index, 255 = abstain."""
    confidence: NDArray[np.uint8] | None = None
    """(H, W) 0..255."""
    osm: Mapping[str, Any] | None = None
    """GeoJSON FeatureCollection in chip pixel coordinates."""
    texts: tuple[Mapping[str, Any], ...] = ()
    """Text records as plain dictionaries."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """The chip's row of chips.parquet, less shard, shard_index, zarr_index and sample_sha256."""
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Target of the recipe -> array."""
    target_documents: Mapping[str, Any] = field(default_factory=dict)
    """Target of the recipe -> JSON (a graph)."""

    def __repr__(self) -> str:
        parts = [f"{group} {arrays.data.shape}" for group, arrays in self.layers.items()]
        if self.label is not None:
            parts.append(f"label {self.label.shape}")
        targets = [*self.targets, *self.target_documents]
        parts += [
            f"{what} {' '.join(names)}" for what, names in (("labels", self.labels), ("targets", targets)) if names
        ]
        return f"<Sample {self.chip_id} {self.split}: {', '.join([*parts, f'{len(self.texts)} texts'])}>"
