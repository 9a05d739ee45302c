"""Objects: the patches of a label layer that are large enough to point at, with box, oriented box and mask.

Everything is measured in the chip's own grid, which lies in its UTM zone: pixels are square and of equal size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely import convex_hull, minimum_rotated_rectangle, multipoints

from captioners.geometry_words import elongation, mask_edges, orientation_word, position_word, shape_word, size_word
from captioners.lexicon import noun_of
from schemas.facts import Fact
from schemas.legend import Legend
from schemas.text import TextGeometry

MIN_PIXELS = 20
"""Smaller patches are no objects: nobody could point at them."""
MAX_OBJECTS = 40
"""So many objects of a class have facts and geometry, the largest; all are counted."""
MIN_SHAPE_PIXELS = 30
"""Smaller patches get no shape word: a staircase of pixels has none."""
EIGHT = np.ones((3, 3), dtype=int)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One patch of one class."""

    object_id: str
    """``object.<code>.<rank>``: what its facts' ids begin with; rank 1 is the largest of its class."""
    code: int
    """Class code in the legend."""
    noun: str
    """How a sentence names the class."""
    pixels: int
    """Its size."""
    area_m2: float
    """Its size on the ground."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in pixels, edges."""
    oriented: tuple[float, float, float, float, float]
    """cx, cy, w, h, degrees, as in `TextGeometry`."""
    rle: tuple[int, ...]
    """Run lengths of its mask, row by row, beginning with zeros."""
    shape_yx: tuple[int, int]
    """Of the grid."""
    position: str
    """Ninth of the chip in which its centre of gravity lies."""
    size: str
    """Size word."""
    edges: str
    """Edges of the chip it reaches, letters of ``nesw``."""
    shape: str
    """Shape word, or empty."""
    axis: str
    """Direction of the long axis of an elongated one, or empty."""
    source: str
    """Layer it was made from."""

    def geometries(self) -> tuple[TextGeometry, ...]:
        """Box, oriented box and mask."""
        shared: dict[str, Any] = {"shape_yx": self.shape_yx, "source": self.source}
        return (
            TextGeometry(kind="box", values=tuple(map(float, self.box)), **shared),
            TextGeometry(kind="oriented_box", values=self.oriented, **shared),
            TextGeometry(kind="mask", rle=self.rle, **shared),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. Inverse: `object_of`."""
        return asdict(self)


def object_of(values: Mapping[str, Any]) -> SceneObject:
    """An object from its plain values."""
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return SceneObject(**known)


def find_objects(
    index: NDArray[Any], legend: Legend, pixel_m2: float, source: str
) -> tuple[tuple[SceneObject, ...], tuple[Fact, ...]]:
    """The objects of every class, the largest of a class first, and the facts about them.

    Args:
        index: (H, W) positions in the legend; negative where no class holds.
        legend: the classes.
        pixel_m2: area of a pixel.
        source: layer that the facts are said to come from.
    """
    objects: list[SceneObject] = []
    facts: list[Fact] = []
    for position in np.unique(index[index >= 0]):
        entry = legend.classes[int(position)]
        noun = noun_of(entry)
        labels, _ = ndimage.label(index == position, structure=EIGHT)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        large = [int(n) for n in np.argsort(-sizes, kind="stable") if sizes[n] >= MIN_PIXELS]
        if not large:
            continue
        facts.append(Fact(f"object.{entry.code}.count", "object", noun, len(large), "count", "chip", source))
        slices = ndimage.find_objects(labels)
        for rank, number in enumerate(large[:MAX_OBJECTS], 1):
            name = f"object.{entry.code}.{rank}"
            one = _object(name, entry.code, noun, labels, number, slices[number - 1], pixel_m2, source)
            objects.append(one)
            facts += _facts(one)
    return tuple(objects), tuple(facts)


def _object(
    name: str,
    code: int,
    noun: str,
    labels: NDArray[Any],
    number: int,
    window: tuple[slice, slice],
    pixel_m2: float,
    source: str,
) -> SceneObject:
    mask = labels == number
    height, width = mask.shape
    cut = mask[window]  # its shape is the same, and a chip may hold hundreds
    rows, columns = np.nonzero(cut)
    rows, columns = rows + window[0].start, columns + window[1].start
    pixels = int(rows.size)
    shape = shape_word(cut) if pixels >= MIN_SHAPE_PIXELS else ""
    return SceneObject(
        object_id=name,
        code=code,
        noun=noun,
        pixels=pixels,
        area_m2=round(pixels * pixel_m2, 2),
        box=(window[1].start, window[0].start, window[1].stop, window[0].stop),
        oriented=oriented_box(rows, columns, (height, width)),
        rle=run_lengths(mask),
        shape_yx=(height, width),
        position=position_word(
            (float(columns.mean()) + 0.5) / width,
            (float(rows.mean()) + 0.5) / height,
        ),
        size=size_word(pixels / mask.size),
        edges=mask_edges(mask),
        shape=shape,
        axis=orientation_word(elongation(cut)[1]) if shape == "elongated" else "",
        source=source,
    )


def _facts(one: SceneObject) -> list[Fact]:
    def make(name: str, value: float | int | str, unit: str) -> Fact:
        return Fact(f"{one.object_id}.{name}", "object", one.noun, value, unit, "chip", one.source)

    facts = [
        make("area", one.area_m2, "m2"),
        make("position", one.position, "position"),
        make("size", one.size, "word"),
    ]
    for name, value, unit in (("edges", one.edges, "edges"), ("shape", one.shape, "word"), ("axis", one.axis, "axis")):
        facts += [make(name, value, unit)] if value else []
    return facts


def run_lengths(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Run lengths of a mask, row by row, beginning with zeros. Inverse: `mask_of`."""
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs = [int(n) for n in np.diff(edges)]
    return tuple([0, *runs] if flat[0] else runs)


def mask_of(rle: Sequence[int], shape_yx: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of some run lengths."""
    values = np.arange(len(rle)) % 2 == 1
    return np.repeat(values, np.asarray(rle, dtype=np.int64)).reshape(shape_yx)


def oriented_box(
    rows: NDArray[Any], columns: NDArray[Any], shape_yx: tuple[int, int]
) -> tuple[float, float, float, float, float]:
    """cx, cy, w, h, degrees of the smallest rectangle around some pixels, their corners included.

    ``w >= h``; the long side lies ``degrees`` clockwise from the x axis as seen in the picture, -90 <= d < 90.
    The centre is moved into the grid by rounding alone: it lies inside the hull of the pixels.

    Args:
        rows: of the pixels, row by row from left to right, as `numpy.nonzero` gives them.
        columns: of the pixels.
        shape_yx: of the grid.
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))  # the hull needs a row's first and last pixel alone
    ends = np.concatenate([columns[starts], columns[np.append(starts[1:], rows.size) - 1] + 1])
    corners = np.concatenate([np.stack([ends, np.tile(rows[starts], 2) + dy], axis=1) for dy in (0, 1)])
    hull = convex_hull(multipoints(corners.astype(np.float64)))
    ring = np.asarray(minimum_rotated_rectangle(hull).exterior.coords)[:4]
    sides = np.linalg.norm(ring[1] - ring[0]), np.linalg.norm(ring[2] - ring[1])
    long, short = max(sides), min(sides)
    along = ring[1] - ring[0] if sides[0] >= sides[1] else ring[2] - ring[1]
    degrees = float(np.degrees(np.arctan2(along[1], along[0])))
    degrees = (degrees + 90.0) % 180.0 - 90.0
    centre = ring.mean(axis=0)
    x, y = float(np.clip(centre[0], 0, shape_yx[1])), float(np.clip(centre[1], 0, shape_yx[0]))
    angle = round(degrees, 3)
    return round(x, 3), round(y, 3), round(float(long), 3), round(float(short), 3), -90.0 if angle >= 90.0 else angle


Direction = Literal["north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west"]
_ROSE: tuple[Direction, ...] = (
    "north", "north-east", "east", "south-east", "south", "south-west", "west", "north-west",
)  # fmt: skip
MIN_DISTANCE = 0.15
"""Centres closer than this part of the chip's longer edge have no direction."""
DEAD_DEGREES = 7.5
"""Directions this near to the border of two sectors have no word."""


def direction_word(dx: float, dy: float) -> Direction | Literal[""]:
    """Word for a step of dx to the east and dy to the south, in parts of the chip's longer edge; empty where none is
    sure.
    """
    if float(np.hypot(dx, dy)) < MIN_DISTANCE:
        return ""
    degrees = float(np.degrees(np.arctan2(dx, -dy))) % 360.0
    sector = round(degrees / 45.0)
    if abs(degrees - 45.0 * sector) > 22.5 - DEAD_DEGREES:
        return ""
    return _ROSE[sector % 8]


MAX_RELATED = 5
"""Relations are told between the largest objects of so many classes."""


def relation_facts(objects: Iterable[SceneObject], index: NDArray[Any], legend: Legend) -> list[Fact]:
    """Where the largest object of one class lies of that of another, and what surrounds a class's largest object.

    ``relation.<a>.<b>`` = north: the centre of a's largest object lies north of that of b's. ``enclosed.<a>`` = the
    noun of the class that makes up at least 95 % of the border of a's largest object, which touches no edge of the
    chip. ``bearing.<a>.<b>``: the direction in degrees clockwise from north, for pairs that lie apart.
    """
    seconds = {o.code: o.pixels for o in objects if o.object_id.endswith(".2")}
    alone = [o for o in objects if o.object_id.endswith(".1") and o.pixels > seconds.get(o.code, 0)]
    firsts = sorted(alone, key=lambda o: (-o.pixels, o.code))[:MAX_RELATED]
    centres = {}
    facts: list[Fact] = []
    for one in firsts:
        mask = mask_of(one.rle, one.shape_yx)
        rows, columns = np.nonzero(mask)
        edge = max(mask.shape)  # one length for both axes: a listed cell need not be square
        centres[one.code] = ((columns.mean() + 0.5) / edge, (rows.mean() + 0.5) / edge)
        around = ndimage.binary_dilation(mask, structure=EIGHT) & ~mask
        if one.edges or not around.any():
            continue
        values, counts = np.unique(index[around], return_counts=True)
        best = int(counts.argmax())
        if values[best] >= 0 and counts[best] >= 0.95 * counts.sum():
            entry = legend.classes[int(values[best])]
            noun = noun_of(entry)
            facts.append(Fact(f"enclosed.{one.code}", "relation", one.noun, noun, "class", "chip", one.source))
    for a in firsts:
        for b in firsts:
            if a.code == b.code:
                continue
            (ax, ay), (bx, by) = centres[a.code], centres[b.code]
            if float(np.hypot(ax - bx, ay - by)) >= MIN_DISTANCE:
                bearing = round(float(np.degrees(np.arctan2(ax - bx, by - ay))) % 360.0, 1)
                facts.append(
                    Fact(
                        f"bearing.{a.code}.{b.code}",
                        "relation",
                        f"{a.noun} / {b.noun}",
                        bearing,
                        "bearing",
                        "chip",
                        a.source,
                    )
                )
            word = direction_word(float(ax - bx), float(ay - by))
            if word:
                subject = f"{a.noun} / {b.noun}"
                facts.append(
                    Fact(f"relation.{a.code}.{b.code}", "relation", subject, word, "direction", "chip", a.source)
                )
    return facts
