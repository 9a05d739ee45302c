"""A random chip whose raw truth is known, and the one chip that the sentences written by hand speak of."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as components
from shapely.geometry import LineString, box

from captioners.facts import Evidence, describe
from captioners.facts_scene import DatedBands
from captioners.reading import read_sheet
from captioners.verify import Verifier
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend

SAID = {
    10: ("trees", "woodland", "forest", "tree cover"), 20: ("shrubs", "scrub", "shrubland", "bushes"),
    30: ("grassland", "meadows", "pasture", "grass"), 40: ("cropland", "farmland", "arable land", "crops"),
    50: ("buildings", "built-up land", "urban land", "houses"), 60: ("bare soil", "barren ground", "sand", "bare rock"),
    70: ("snow", "ice", "snow and ice"), 80: ("water", "open water", "waters"), 90: ("wetland", "marsh", "reeds"),
    95: ("mangroves",), 100: ("moss", "lichen", "tundra"),
}  # fmt: skip
"""What people call the classes of WorldCover."""
BRINGS = {95: (10, 90)}
"""A class that other classes' words also fit: mangroves are trees, and wetland."""
QUARTERS = {"nw": "north-west", "ne": "north-east", "sw": "south-west", "se": "south-east"}
SHAPE = (24, 30)


class Chip:
    """A random chip with its raw truth.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 99])
        self.rng = rng
        legend = load_legend("worldcover-11")
        codes = [entry.code for entry in legend.classes]
        classes = rng.choice(len(codes), int(rng.integers(2, 6)), replace=False)
        noise = [gaussian_filter(rng.normal(size=SHAPE), float(rng.choice([1, 2.5, 5]))) for _ in classes]
        levels = np.stack([one / max(1e-9, float(one.std())) + rng.normal() * 1.1 for one in noise])
        index = classes[levels.argmax(axis=0)]
        self.codes = np.array(codes)[index]
        georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, SHAPE)
        left, bottom, right, top = georef.bounds_xyxy
        self.buildings = int(rng.integers(2, 12))
        rows = [
            Feature(
                f"way/{n}", box(left + 20 * n + 2, bottom + 30, left + 20 * n + 12, bottom + 38), {"building": "yes"}
            )
            for n in range(self.buildings)
        ]
        self.west_east = bool(rng.integers(2))
        y, x = (top + bottom) / 2, (left + right) / 2
        line = [(left - 5, y), (right + 5, y)] if self.west_east else [(x, top + 5), (x, bottom - 5)]
        rows.append(Feature("way/900", LineString(line), {"highway": "secondary"}))
        self.ndvi = tuple(float(v) for v in rng.uniform(0.15, 0.75, 2))
        self.days = (("2022-03-11", "11 March 2022", "spring"), ("2022-07-16", "16 July 2022", "summer"))
        scenes = []
        for value, (day, _, _) in zip(self.ndvi, self.days, strict=True):
            red = np.full(SHAPE, 0.08)
            scenes.append(DatedBands("s2", day, {"red": red, "nir": red * (1 + value) / (1 - value)}))
        ramp = np.linspace(0, float(rng.choice([4, 120])), SHAPE[1])[None].repeat(SHAPE[0], 0)
        self.relief = float(ramp.max())
        label = np.searchsorted(codes, self.codes).astype(np.uint8)
        order = {code: position for position, code in enumerate(codes)}
        label = np.vectorize(order.get)(self.codes).astype(np.uint8)
        evidence = Evidence(
            label, legend, georef, features=FeatureTable("osm", 32631, tuple(rows), "2022-07-01"), scenes=scenes,
            elevation=100.0 + ramp,
        )  # fmt: skip
        self.sheet, _ = describe(f"chip-{seed}", evidence)
        self.verifier = Verifier(read_sheet(self.sheet))
        self.present = [int(code) for code in np.unique(self.codes)]
        implied = {other for code in self.present for other in BRINGS.get(code, ())} | {50, 80}
        self.absent = [code for code in SAID if code not in self.present and code not in implied]
        self.absent += [80] if 80 not in self.present else []
        self.shares = {code: 100.0 * float((self.codes == code).mean()) for code in self.present}

    def pick(self, options: Any) -> Any:
        """One of some options."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))]

    def word(self, code: int) -> str:
        """A word for a class."""
        return str(self.pick(SAID[code]))

    def noun(self, code: int) -> str:
        """A word for a class, without an article."""
        return self.word(code).removeprefix("a ")

    def only(self, code: int) -> bool:
        """Whether no other class of the chip goes by the words of this one."""
        return not any(code in BRINGS.get(other, ()) for other in self.present)

    def single(self) -> list[int]:
        """Classes whose words mean them alone."""
        return [code for code in self.present if self.only(code)]

    def quarter(self, name: str) -> np.ndarray[Any, Any]:
        """Codes of a quarter."""
        rows, columns = SHAPE
        ys = slice(0, rows // 2) if name[0] == "n" else slice(rows - rows // 2, rows)
        xs = slice(0, columns // 2) if name[1] == "w" else slice(columns - columns // 2, columns)
        return self.codes[ys, xs]

    def patches(self, code: int) -> list[int]:
        """Sizes of a class's patches in pixels, the largest first."""
        found, count = components(self.codes == code, structure=np.ones((3, 3)))
        return sorted((int((found == n).sum()) for n in range(1, count + 1)), reverse=True)


def described() -> Chip:
    """The chip of the sentences written by hand."""
    shape = (20, 30)
    codes = np.full(shape, 40, np.uint8)
    codes[:10, :15], codes[17:] = 10, 80
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape)
    left, bottom, right, top = georef.bounds_xyxy
    rows = [Feature("way/1", LineString([(left, bottom + 15), (right, bottom + 15)]), {"waterway": "river"})]
    for n in range(4):
        x = right - 40 - 20 * n
        rows.append(Feature(f"way/{n + 2}", box(x, top - 20, x + 10, top - 10), {"building": "yes"}))
    scene = DatedBands("s2", "2022-06-16", {"red": np.full(shape, 0.05), "nir": np.full(shape, 0.35)})
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", scenes=[scene],
        features=FeatureTable("osm", 32631, tuple(rows), "2022-07-01"), elevation=np.full(shape, 100.0),
    )  # fmt: skip
    chip = Chip(0)
    chip.sheet, _ = describe("written-by-hand", evidence)
    chip.verifier = Verifier(read_sheet(chip.sheet))
    return chip
