"""What a labeler is, and which one reads which kind of product."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, TypeVar

from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.recipe import LabelSource

LayerT = TypeVar("LayerT", contravariant=True)


class Labeler(Protocol[LayerT]):
    """Turns what a source read (`RasterLayer`, `FeatureTable`) into class ids on a chip's grid."""

    def label(self, layer: LayerT, georef: GeoRef) -> LabelLayer:
        """Classes on the grid of one chip, at the product's own codes.

        Args:
            layer: on the chip's grid or on an aligned larger one; features in the chip's coordinate system.
            georef: the chip's label grid.

        Raises:
            ValueError: the layer does not hold the grid, or lies in another coordinate system.
            UnsupportedItemError: a code that the legend does not know.
        """
        ...


LABELERS = {
    "worldcover": "labelers.worldcover:WorldCoverLabeler",
    "corine": "labelers.corine:CorineLabeler",
    "osm": "labelers.osm:OsmLabeler",
    "raster": "labelers.raster:RasterLabeler",
}
"""Kind of the recipe -> ``module:Class``."""

PUBLISHED_ACCURACY = {
    ("worldcover", 2020): 0.744,
    ("worldcover", 2021): 0.767,
    ("corine", 2018): 0.85,
}
"""Overall accuracy: WorldCover v100 and v200, Product Validation Reports; CLC2018, at least 85 % by
specification."""

CLASS_ACCURACY: dict[str, dict[int, float]] = {
    "worldcover": {10: 0.81, 20: 0.47, 30: 0.34, 40: 0.78, 50: 0.83, 60: 0.57, 80: 0.92, 90: 0.53},
}
"""Legend -> code -> accuracy, for the proportion of the classes alone. Source: Venter et al. 2022, Global 10 m Land Use
Land Cover Datasets, Remote Sensing 14(16) 4101: over three global 10 m maps, WorldCover 2020 among them."""

JUDGED_ACCURACY = {"worldcover": 0.767, "corine": 0.85, "osm": 0.9, "raster": 0.8}
"""Accuracy supposed at the start of an estimate where none is published."""

FIRST_ACCURACY = {"corine": 0.72, "osm": 0.94}
"""Kind -> share of the pixels at which the first class of a code is right where no land cover map speaks, away from
borders (`labelers.alone`). CORINE's, where the code admits several: what is published is the accuracy of polygons,
and a polygon holds what is smaller than 25 ha. Judgements; in the sandbox 0.69 to 0.78 of CORINE's arable land and
pastures, and 0.92 to 0.95 of what OpenStreetMap has beside roads (seeds 31 to 33)."""

FIRST_ACCURACY_OF: dict[str, dict[int, float]] = {
    "corine-44": dict.fromkeys((112, 124, 133, 141, 142, 241, 242, 243, 244, 324), 0.35)
    | dict.fromkeys((311, 312, 313), 0.9),
    "osm": dict.fromkeys((2, 3, 4, 14, 15, 22), 0.5),
}
"""Legend -> code -> the same of codes that admit several and are by their definition another matter. Judgements, on
the side of caution. CORINE's mixtures: discontinuous urban fabric is sealed to 30 to 80 %, a little above the least
of it is supposed. Its forests: crowns close over 30 % and more, where 10 % make a pixel of WorldCover's trees, and
one kind of forest taken for another is no error here (Kosztra et al. 2017, Updated CLC illustrated nomenclature
guidelines; Product User Manual of WorldCover). OpenStreetMap's roads and railways, mostly narrower than the pixel
whose centre they cover, and its land uses, which hold gardens and yards. In the sandbox (seeds 31 to 33) 0.15 to 0.17
of code 112, 0.81 to 0.96 of forests, 0.43 to 0.53 of roads."""


def make_labeler(source: LabelSource) -> Labeler[Any]:
    """The labeler of a recipe's label source.

    Raises:
        RecipeError: unknown kind; lists the known ones.
    """
    if source.kind not in LABELERS:
        raise RecipeError(f"unknown kind of labels {source.kind!r}", mend=f"known: {', '.join(sorted(LABELERS))}")
    module, _, name = LABELERS[source.kind].partition(":")
    factory: Callable[[str], Labeler[Any]] = getattr(import_module(module), name)
    return factory(source.legend_name())


def start_accuracy(source: LabelSource) -> float:
    """Overall accuracy (0..1) that an estimate starts from: the recipe's, else published, else judged."""
    if source.accuracy is not None:
        return source.accuracy
    if source.year is not None and (source.kind, source.year) in PUBLISHED_ACCURACY:
        return PUBLISHED_ACCURACY[source.kind, source.year]
    return JUDGED_ACCURACY[source.kind]


def first_accuracy(source: LabelSource) -> float:
    """The same (0..1) of a code's first class where no land cover map speaks: the recipe's, else `FIRST_ACCURACY`."""
    if source.accuracy is not None:
        return source.accuracy
    return FIRST_ACCURACY.get(source.kind, start_accuracy(source))
