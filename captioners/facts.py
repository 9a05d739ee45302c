"""The fact sheet of a chip: what may be said of its land cover, computed from the label layer.

Shares are percent of the *labelled* pixels of their region (``labelled.share`` says how much of the chip that
is); facts about scenes, radar, terrain and map features come from `facts_scene` and `facts_osm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from captioners import facts_change, facts_osm, facts_scene
from captioners.facts_scene import DatedBands
from captioners.geometry_words import elongation, mask_edges, orientation_word, position_word, shape_word, size_word
from captioners.lexicon import noun_of
from captioners.objects import EIGHT, MIN_SHAPE_PIXELS, SceneObject, find_objects, relation_facts
from captioners.regions import MIN_ROWS, PLACE_REGIONS, SHARE_REGIONS, place_of, slices
from schemas.facts import Fact, FactSheet
from schemas.georef import GeoRef
from schemas.labels import FeatureTable
from schemas.legend import Legend

UNLABELLED = -1


@dataclass(frozen=True)
class Cover:
    """A label layer as class positions of its legend."""

    index: NDArray[np.int32]
    """(H, W) position in the legend; `UNLABELLED` where no class holds."""
    legend: Legend
    """The classes."""
    source: str
    """Layer the facts are said to come from."""
    pixel_m2: float
    """Area of a pixel."""

    def noun(self, position: int) -> str:
        """How a sentence names the class."""
        return noun_of(self.legend.classes[position])

    def fact(self, fact_id: str, kind: str, position: int, value: float | int | str, unit: str, region: str) -> Fact:
        """A fact about one class."""
        return Fact(fact_id, kind, self.noun(position), value, unit, region, self.source)


def to_cover(
    label: NDArray[Any],
    legend: Legend,
    georef: GeoRef,
    source: str,
    by: Literal["index", "code"],
) -> Cover:
    """The layer as positions in the legend; values the legend does not list count as unlabelled."""
    index = np.full(label.shape, UNLABELLED, dtype=np.int32)
    for position, entry in enumerate(legend.classes):
        index[label == (position if by == "index" else entry.code)] = position
    return Cover(index, legend, source, georef.pixel_size**2)


@dataclass(frozen=True)
class Evidence:
    """What a chip's facts are computed from."""

    label: NDArray[Any] | None
    """(H, W) class indices of a fused layer (255 = abstained) or product codes; None if there is none."""
    legend: Legend | None
    """Of the label layer."""
    georef: GeoRef
    """Of the label layer; its CRS must be metric (UTM)."""
    by: Literal["index", "code"] = "index"
    """What the label's values are."""
    label_source: str = "label"
    """Name of the label layer, cited by the facts."""
    features: FeatureTable | None = None
    """OSM features in the same CRS."""
    scenes: Sequence[DatedBands] = ()
    """Optical and radar dates, each with physical values; of composites there are pictures and no facts."""
    elevation: NDArray[Any] | None = None
    """(h, w) metres over the same ground, NaN where missing."""
    elevation_pixel_m: float = 0.0
    """Size of its pixels; 0: they fill the ground exactly. On its sensor's own lattice it overhangs the chip."""
    elevation_source: str = "dem"
    """Name of the elevation layer."""
    with_names: bool = False
    """Whether names of map features (data from strangers) and the climate zone become facts."""


def fact_sheet(
    chip_id: str, label: NDArray[Any] | None, legend: Legend | None, georef: GeoRef, **more: Any
) -> FactSheet:
    """All facts of a chip, ordered by id; see `Evidence` for the arguments and `describe` for the errors."""
    return describe(chip_id, Evidence(label, legend, georef, **more))[0]


def describe(chip_id: str, given: Evidence) -> tuple[FactSheet, tuple[SceneObject, ...]]:
    """All facts of a chip, ordered by id, and its objects, the largest of each class first.

    Raises:
        ValueError: label and georeference differ in shape, or features lie in another CRS.
    """
    georef = given.georef
    rows, columns = georef.shape_yx
    facts = [
        Fact("ground.gsd", "ground", "pixel", float(georef.pixel_size), "m", "chip", "grid"),
        Fact("ground.height", "ground", "chip", float(rows * georef.pixel_size), "m", "chip", "grid"),
        Fact("ground.width", "ground", "chip", float(columns * georef.pixel_size), "m", "chip", "grid"),
    ]
    objects: tuple[SceneObject, ...] = ()
    if given.label is not None and given.legend is not None:
        if tuple(given.label.shape) != (rows, columns):
            raise ValueError(f"{chip_id}: label {given.label.shape} does not fit its georeference {georef.shape_yx}")
        cover = to_cover(given.label, given.legend, georef, given.label_source, given.by)
        objects, about_objects = find_objects(cover.index, cover.legend, cover.pixel_m2, cover.source)
        facts += [*cover_facts(cover), *about_objects, *relation_facts(objects, cover.index, cover.legend)]
    dated = [scene for scene in given.scenes if not scene.is_composite]
    facts += facts_scene.scene_facts(dated, georef)
    facts += facts_change.change_facts(dated)
    if given.elevation is not None:
        filled_m = (georef.bounds_xyxy[3] - georef.bounds_xyxy[1]) / given.elevation.shape[0]
        pixel_m = given.elevation_pixel_m or filled_m
        facts += facts_scene.terrain_facts(given.elevation, given.elevation_source, pixel_m)
    if given.features is not None:
        facts += facts_osm.feature_facts(given.features, georef, with_names=given.with_names)
    if given.with_names:
        facts += facts_scene.zone_facts(georef)
    return FactSheet(chip_id, tuple(sorted(facts, key=lambda fact: fact.fact_id))), objects


def cover_facts(cover: Cover) -> list[Fact]:
    """Shares, dominant classes, places, patches and borders of a label layer."""
    labelled = cover.index >= 0
    share = 100.0 * float(labelled.mean())
    facts = [Fact("labelled.share", "labelled", "label", round(share, 6), "percent", "chip", cover.source)]
    if not labelled.any():
        return facts
    facts += _share_facts(cover, "chip", list(range(len(cover.legend.classes))))
    present = [int(p) for p in np.unique(cover.index[labelled])]
    facts.append(Fact("classes.count", "classes", "class", len(present), "count", "chip", cover.source))
    if min(cover.index.shape) >= MIN_ROWS:
        for region in SHARE_REGIONS:
            facts += _share_facts(cover, region, present)
        for position in present:
            facts += _place_facts(cover, position)
    for position in present:
        facts += _patch_facts(cover, position)
    return facts + _border_facts(cover, present)


def _share_facts(cover: Cover, region: str, positions: list[int]) -> list[Fact]:
    """Share of each class among the labelled pixels of a region, and the class with most."""
    part = cover.index[slices(region, cover.index.shape)]
    counts = np.bincount(part[part >= 0].ravel(), minlength=len(cover.legend.classes))
    total = int(counts.sum())
    if total == 0:
        return []
    tail = "" if region == "chip" else f".{region}"
    facts = []
    for position in positions:
        code = cover.legend.classes[position].code
        value = round(100.0 * int(counts[position]) / total, 6)
        facts.append(cover.fact(f"share.{code}{tail}", "share", position, value, "percent", region))
    top = int(counts.argmax())
    facts.append(cover.fact(f"dominant{tail}", "dominant", top, cover.noun(top), "class", region))
    return facts


def _place_facts(cover: Cover, position: int) -> list[Fact]:
    """Where a class lies, if one word fits: the place and the percent of the class's pixels inside it."""
    mask = cover.index == position
    total = int(mask.sum())
    fractions = {name: int(mask[slices(name, mask.shape)].sum()) / total for name in PLACE_REGIONS}
    place = place_of(fractions)
    if place is None:
        return []
    code = cover.legend.classes[position].code
    return [
        cover.fact(f"place.{code}", "place", position, place[0], "region", "chip"),
        cover.fact(f"place.{code}.fraction", "place", position, round(100 * place[1], 4), "percent", place[0]),
    ]


def _patch_facts(cover: Cover, position: int) -> list[Fact]:
    """Patches of a class (8-connected, single pixels too): count, largest, mean, and the largest's look."""
    labels, count = ndimage.label(cover.index == position, structure=EIGHT)
    sizes = np.bincount(labels.ravel())[1:]
    head = f"patches.{cover.legend.classes[position].code}"
    largest = labels == int(sizes.argmax()) + 1
    pixels = int(sizes.max())
    rows, columns = np.nonzero(largest)
    x, y = (columns.mean() + 0.5) / largest.shape[1], (rows.mean() + 0.5) / largest.shape[0]

    def make(name: str, value: float | int | str, unit: str) -> Fact:
        return cover.fact(f"{head}.{name}", "patches", position, value, unit, "chip")

    facts = [
        make("count", int(count), "count"),
        make("largest", round(pixels * cover.pixel_m2, 2), "m2"),
        make("largest.position", position_word(float(x), float(y)), "position"),
        make("largest.size", size_word(pixels / largest.size), "word"),
        make("mean", round(float(sizes.mean()) * cover.pixel_m2, 2), "m2"),
    ]
    edges = mask_edges(largest)
    if edges:
        facts.append(make("largest.edges", edges, "edges"))
    shape = shape_word(largest) if pixels >= MIN_SHAPE_PIXELS else ""
    if shape:
        facts.append(make("largest.shape", shape, "word"))
    if shape == "elongated":
        facts.append(make("largest.axis", orientation_word(elongation(largest)[1]), "axis"))
    return facts


def _border_facts(cover: Cover, present: list[int]) -> list[Fact]:
    """Length of pixel edges shared by each pair of classes, in metres along the staircase of pixels."""
    index, size = cover.index, len(cover.legend.classes)
    pairs = np.zeros((size, size), dtype=np.int64)
    for one, two in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        border = (one != two) & (one >= 0) & (two >= 0)
        np.add.at(pairs, (one[border], two[border]), 1)
    pairs += pairs.T
    edge_m = cover.pixel_m2**0.5
    facts = []
    for rank, a in enumerate(present):
        for b in present[rank + 1 :]:
            if pairs[a, b]:
                codes = f"{cover.legend.classes[a].code}.{cover.legend.classes[b].code}"
                subject = f"{cover.noun(a)} / {cover.noun(b)}"
                length = round(float(pairs[a, b]) * edge_m, 2)
                facts.append(Fact(f"border.{codes}", "adjacency", subject, length, "m", "chip", cover.source))
    return facts
