"""What could leak between splits, measured on the chips themselves: computed, not promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

METRES_PER_DEGREE = 111_195.0
"""Mean length of a degree of latitude on the sphere of 6,371 km."""


def flat_geometries(footprints: Sequence[BaseGeometry]) -> NDArray[Any]:
    """Footprints of EPSG:4326 on a local plane in metres (equirectangular at their mean latitude).

    Distances under 100 km are true to about 1 % away from the poles; good for buffers and reports, not for pixels.
    """
    geometries = np.array(footprints, dtype=object)
    if geometries.size == 0:
        return geometries
    latitude = float(np.mean([geometry.centroid.y for geometry in geometries]))
    scale = np.array([METRES_PER_DEGREE * math.cos(math.radians(latitude)), METRES_PER_DEGREE])
    flat: NDArray[Any] = shapely.transform(geometries, lambda xy: xy * scale)
    return flat


def leakage_report(
    splits: Sequence[str],
    footprints: Sequence[BaseGeometry],
    blocks: Sequence[str],
    items: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """What could leak between train and the held-out splits, as measured on the kept chips.

    Args:
        splits: split per chip.
        footprints: EPSG:4326 polygon per chip.
        blocks: block per chip.
        items: ids of the items that each chip was cut from.

    Returns:
        Per held-out split: smallest distance to train in metres, overlapping pairs, shared blocks, and the share of
        its chips that come from an item which train uses too.
    """
    flat = flat_geometries(footprints)
    train = [i for i, split in enumerate(splits) if split == "train"]
    report: dict[str, Any] = {}
    train_items = {item for i in train for item in items[i]}
    for name in ("val", "test"):
        held = [i for i, split in enumerate(splits) if split == name]
        entry: dict[str, Any] = {
            "chips": len(held),
            "min_distance_m": None,
            "overlapping_pairs": 0,
            "shared_blocks": 0,
        }
        if held and train:
            tree = shapely.STRtree(flat[train])
            _, distances = tree.query_nearest(flat[held], return_distance=True, all_matches=False)
            inner = shapely.buffer(flat[held], -1.0)
            hits, _ = tree.query(inner, predicate="intersects")
            shared = [i for i in held if any(item in train_items for item in items[i])]
            entry |= {
                "min_distance_m": round(float(np.min(distances)), 1),
                "overlapping_pairs": int(hits.size),
                "shared_blocks": len({blocks[i] for i in held} & {blocks[i] for i in train}),
                "share_with_shared_items": round(len(shared) / len(held), 4),
            }
        report[name] = entry
    return report
