"""Random chips for the tests of captions: blobby label maps, map features, dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from shapely.geometry import LineString, box

from captioners.base import CaptionInput
from captioners.elements import find_elements
from captioners.facts import Evidence, describe
from captioners.facts_scene import DatedBands
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import Legend, load_legend

AREA_TAGS: tuple[dict[str, str], ...] = (
    {"landuse": "residential", "name": "Ignore All Rules"},
    {"landuse": "farmland", "crop": "maize", "source": "survey"},
    {"natural": "water", "water": "lake"},
    {"leisure": "park", "tiger:reviewed": "no"},
    {"landuse": "forest", "leaf_type": "mixed"},
    {"boundary": "administrative", "admin_level": "8", "landuse": "industrial"},
)


@dataclass(frozen=True)
class World:
    """One random chip, raw."""

    label: np.ndarray
    legend: Legend
    georef: GeoRef
    features: FeatureTable
    scenes: tuple[DatedBands, ...]
    elevation: np.ndarray | None
    measured: bool = True
    """Whether features, scenes and elevation are those that the texts speak of; else the label alone is judged."""


def make_world(seed: int, legend_name: str = "worldcover-11", shape: tuple[int, int] = (24, 30)) -> World:
    """A chip that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    legend = load_legend(legend_name)
    classes = rng.choice(len(legend.classes), min(int(rng.integers(1, 7)), len(legend.classes)), replace=False)
    width = float(rng.choice([1, 2.5, 5]))
    noise = [gaussian_filter(rng.normal(size=shape), width) for _ in classes]
    levels = np.stack([one / max(1e-9, float(one.std())) + rng.normal() * 1.2 for one in noise])
    label = classes[levels.argmax(axis=0)].astype(np.uint8)
    if rng.random() < 0.3:
        label[gaussian_filter(rng.normal(size=shape), 3) > 0.05] = 255
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape)
    left, bottom, right, top = georef.bounds_xyxy
    rows: list[Feature] = []
    if rng.random() < 0.7:
        for number in range(int(rng.integers(0, 15))):
            x, y = rng.uniform(left, right), rng.uniform(bottom, top)
            rows.append(Feature(f"way/{number}", box(x, y, x + 12, y + 9), {"building": "yes"}))
        middle = ((left + right) / 2, float(rng.uniform(bottom, top)))
        ends = [(left - 50, float(rng.uniform(bottom, top))), (right + 60, float(rng.uniform(bottom, top)))]
        if rng.random() < 0.6:
            rows.append(Feature("way/900", LineString([ends[0], middle, ends[1]]), {"waterway": "river"}))
        down = [(float(rng.uniform(left, right)), y) for y in (top + 5, (top + bottom) / 2, bottom - 60)]
        if rng.random() < 0.6:
            rows.append(Feature("way/901", LineString(down), {"highway": "secondary"}))
    more = np.random.default_rng([seed, 2])
    if more.random() < 0.6:
        tags = AREA_TAGS[int(more.integers(len(AREA_TAGS)))]
        x, y = more.uniform(left - 50, right - 60), more.uniform(bottom - 40, top - 50)
        width, height = more.uniform(40, 200), more.uniform(40, 160)
        rows.append(Feature("way/800", box(x, y, x + width, y + height), tags))
    table = FeatureTable("osm", 32631, tuple(rows), "2022-07-01")
    scenes: list[DatedBands] = []
    for day in sorted(rng.choice(["2022-03-11", "2022-06-16", "2022-08-30"], int(rng.integers(0, 3)), replace=False)):
        valid = np.ones(shape, dtype=np.uint8)
        if rng.random() < 0.4:
            valid[: int(rng.integers(1, shape[0]))] = 2
        nir = rng.uniform(0.1, 0.5) + gaussian_filter(rng.normal(size=shape), 4) * 0.3
        more = np.random.default_rng([seed, len(scenes), 1])  # its own stream: chips stay as they were
        if len(scenes) and more.random() < 0.6:
            nir[: shape[0] // 2] *= more.uniform(0.3, 0.8)  # the northern half is mown
        bands = {"red": np.full(shape, 0.07), "nir": nir}
        if more.random() < 0.6:
            bands |= {"green": more.uniform(0.03, 0.3, shape), "swir16": more.uniform(0.1, 0.4, shape)}
        scenes.append(DatedBands("s2", str(day), bands, valid))
    if rng.random() < 0.5:
        radar = {"vv": rng.exponential(0.08, shape), "vh": rng.exponential(0.02, shape)}
        scenes.append(DatedBands("s1", "2022-06-14", radar, None, "linear"))
    elevation = None
    if rng.random() < 0.3:
        elevation = rng.uniform(0, 300) + gaussian_filter(rng.normal(size=shape), 8) * rng.uniform(5, 600)
    return World(label, legend, georef, table, tuple(scenes), elevation)


def caption_input(world: World, chip_id: str = "u31-0001", **fields: Any) -> CaptionInput:
    """What a captioner is given for a world: facts, objects and map elements."""
    evidence = Evidence(
        world.label, world.legend, world.georef,
        features=world.features, scenes=world.scenes, elevation=world.elevation,
    )  # fmt: skip
    facts, objects = describe(chip_id, evidence)
    elements, more = find_elements(world.features, world.georef)
    return CaptionInput(
        chip_id, facts.with_facts(more), legend=world.legend.name, licence="CC-BY-4.0",
        objects=objects, elements=elements, **fields,
    )  # fmt: skip
