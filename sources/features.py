"""Vector features in one form, whichever way they came: areas and lines told apart, repaired, moved, found
by place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from schemas.georef import Bounds
from schemas.labels import Feature, FeatureTable
from schemas.shipped import shipped_table

TagsWanted = Mapping[str, bool | str | list[str]]
"""Key -> True (every value), one value or several: the form that osmnx takes."""

WGS84 = 4326

MOST_CROSSINGS = 20_000
"""An area whose edges cross each other more often is no area: to mend one of four times as many takes ten seconds, and
a ring of 2,000 points may have two million.
"""
EDGES_TOGETHER = 4
"""So many edges are looked at before crossings are counted: each could have a million."""


def to_feature(feature_id: str, geometry: BaseGeometry, tags: Mapping[str, str], timestamp: str = "") -> Feature | None:
    """A feature with its geometry as `shaped_geometries` gives it; None if nothing is left."""
    shaped = shaped_geometries(np.array([geometry], dtype=object))[0]
    return None if shaped is None else Feature(feature_id, shaped, dict(sorted(tags.items())), timestamp)


def shaped_geometries(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Geometries in one form: repaired, single where they are single, areas normalised; None where nothing is left,
    and of areas that cross themselves so often that nobody drew them.

    Args:
        geometries: (n,) of any kind.

    Returns:
        (n,) of the dimensions that they came with.
    """
    shaped = geometries.copy()
    dimensions = shapely.get_dimensions(shaped)
    for broken in np.flatnonzero(~shapely.is_valid(shaped)):
        if _is_tangled(shaped[broken]):
            shaped[broken] = None
            continue
        mended = shapely.make_valid(shaped[broken], method="structure", keep_collapsed=False)
        shaped[broken] = mended if shapely.get_dimensions(mended) == dimensions[broken] else None
    shaped[shapely.is_empty(shaped)] = None
    single = shapely.get_num_geometries(shaped) == 1
    shaped[single] = shapely.get_geometry(shaped[single], 0)
    areas = shapely.get_dimensions(shaped) == 2
    shaped[areas] = shapely.normalize(shaped[areas])
    return shaped


def _is_tangled(area: BaseGeometry) -> bool:
    """Whether the edges of an area cross each other more than `MOST_CROSSINGS` times."""
    places, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(area)), return_index=True)
    if len(places) ** 2 < 2 * MOST_CROSSINGS:
        return False
    edges = shapely.linestrings(np.stack([places[:-1], places[1:]], axis=1)[ring[:-1] == ring[1:]])
    tree, found = shapely.STRtree(edges), 0
    for start in range(0, len(edges), EDGES_TOGETHER):
        some = edges[start : start + EDGES_TOGETHER]
        found += tree.query(some, predicate="intersects").shape[1] - 3 * len(some)  # itself and its neighbours
        if found > 2 * MOST_CROSSINGS:  # each is met twice
            return True
    return False


def is_area(tags: Mapping[str, str]) -> bool:
    """Whether a closed way with these tags is an area: ``area`` decides, else the table ``osm_areas.yaml``.

    >>> is_area({"building": "yes"}), is_area({"highway": "residential"})
    (True, False)
    >>> is_area({"natural": "wood", "area": "no"})
    False
    """
    if "area" in tags:
        return tags["area"] != "no"
    rules = _area_rules()
    for key, value in tags.items():
        rule = rules.get(key)
        if rule is None or value == "no":
            continue
        if "only" in rule:
            if value in rule["only"]:
                return True
        elif value not in rule.get("except", ()):
            return True
    return False


@cache
def _area_rules() -> dict[str, dict[str, list[str]]]:
    rules: dict[str, dict[str, list[str]]] = shipped_table("sources", "osm_areas.yaml")["keys"]
    return rules


def has_wanted(tags: Mapping[str, str], tags_wanted: TagsWanted) -> bool:
    """Whether one of the wanted tags is there."""
    for key, value in tags.items():
        wanted = tags_wanted.get(key)
        if wanted is None:
            continue
        if wanted is True or value == wanted or (isinstance(wanted, list) and value in wanted):
            return True
    return False


def id_order(feature_id: str) -> tuple[str, int]:
    """Sorting key of ``way/123``: kind, then number."""
    kind, _, number = feature_id.partition("/")
    return kind, int(number)


def to_crs(table: FeatureTable, epsg: int) -> FeatureTable:
    """The table in another coordinate system, always x before y; vertices are moved, nothing is added
    between them.
    """
    if table.epsg == epsg:
        return table
    transformer = pyproj.Transformer.from_crs(table.epsg, epsg, always_xy=True)

    def moved(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

    places = np.array([feature.geometry for feature in table.features], dtype=object)
    shaped = shaped_geometries(shapely.transform(places, moved))
    features = tuple(
        Feature(feature.feature_id, geometry, feature.tags, feature.timestamp)
        for feature, geometry in zip(table.features, shaped, strict=True)
        if geometry is not None
    )
    return replace(table, epsg=epsg, features=features)


class FeatureIndex:
    """A table with a tree over its geometries, for many chips."""

    def __init__(self, table: FeatureTable) -> None:
        self.table = table
        self._tree = shapely.STRtree([feature.geometry for feature in table.features])

    def near(self, bounds: Bounds, margin: float = 0.0) -> FeatureTable:
        """Features that meet the bounds (left, bottom, right, top) widened by a margin, in the table's
        order.
        """
        left, bottom, right, top = bounds
        area = shapely.box(left - margin, bottom - margin, right + margin, top + margin)
        hits = sorted(self._tree.query(area, predicate="intersects").tolist())
        return replace(self.table, features=tuple(self.table.features[i] for i in hits))


def merged(tables: Iterable[FeatureTable]) -> FeatureTable:
    """Tables of one source and coordinate system as one; a feature that several hold is kept once, as the
    newest table has it, whose date stands.

    Raises:
        ValueError: no tables, or different coordinate systems.
    """
    listed = sorted(tables, key=lambda table: table.extract_date)
    if len({table.epsg for table in listed}) != 1:
        raise ValueError("tables must lie in one coordinate system")
    by_id = {feature.feature_id: feature for table in listed for feature in table.features}
    return replace(listed[-1], features=tuple(by_id[key] for key in sorted(by_id, key=id_order)))
