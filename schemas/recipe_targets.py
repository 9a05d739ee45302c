"""The recipe about targets: what a model is trained on, derived from label layers and vectors, one chip at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from schemas.recipe_base import Fraction, Model, Name

LABEL = "label"
"""The fused layer, where a target names its layer."""

ClassName = Annotated[str, Field(min_length=1)]


class MaskTarget(Model):
    """Where some classes are: (H, W) uint8, 1 there, 0 elsewhere, 255 unknown."""

    kind: Literal["mask"]
    """Which target."""
    of: Name = LABEL
    """``label``, or a label source at its own codes."""
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    """Class names of the layer's legend."""


class MultiLabelTarget(Model):
    """Names of the classes that cover enough of the chip: a list in chips.parquet, null where nothing is known."""

    kind: Literal["multi_label"]
    """Which target."""
    of: Name = LABEL
    """See `MaskTarget.of`."""
    min_fraction: Fraction = 0.05
    """Least share of the pixels that are known."""


class FractionsTarget(Model):
    """Shares of the classes of a legend: of the whole chip in chips.parquet, or of squares as an array."""

    kind: Literal["fractions"]
    """Which target."""
    of: Name = LABEL
    """See `MaskTarget.of`."""
    cell_m: PositiveFloat | None = None
    """Side of the squares; (classes, H, W) float32, NaN where nothing is known. None: one number per class."""


class DominantTarget(Model):
    """The commonest class of the chip: a name in chips.parquet."""

    kind: Literal["dominant"]
    """Which target."""
    of: Name = LABEL
    """See `MaskTarget.of`."""


class DensityTarget(Model):
    """How much of something OpenStreetMap holds in squares: (H, W) float32.

    Buildings: share of the area, 0..1. Roads: kilometres in a square kilometre. 0 says that nothing is mapped, not that
    nothing is there.
    """

    kind: Literal["density"]
    """Which target."""
    of: Literal["buildings", "roads"]
    """What is counted."""
    cell_m: PositiveFloat = 100.0
    """Side of the squares."""


class GraphTarget(Model):
    """The network of roads, railways or waterways of OpenStreetMap in pixel coordinates: a JSON of nodes and edges."""

    kind: Literal["graph"]
    """Which target."""
    of: Literal["roads", "railways", "waterways"] = "roads"
    """Which network."""


class PairTarget(Model):
    """A map of before and one of after: (3, H, W) uint8, classes of both and where they differ (1, 0, 255 unknown).

    Both are brought to the target legend; a class is one where the source's code admits one class alone, else 255.
    """

    kind: Literal["pair"]
    """Which target."""
    before: Name
    """A label source."""
    after: Name = LABEL
    """A label source, or ``label``."""


class DegradedTarget(Model):
    """A worse map of the same place, as old or careless maps are: (H, W) uint8 class index, 255 unknown.

    Steps follow each other as they stand here; what is random hangs on the recipe's seed and the chip's id.
    """

    kind: Literal["degraded"]
    """Which target."""
    of: Name = LABEL
    """``label``, or a label source whose map is brought to the target legend (an old vintage)."""
    drop: tuple[ClassName, ...] = ()
    """Classes that such a map does not know: the class around them takes their place."""
    drop_objects: Fraction = 0.0
    """Share of the patches of a class that are left out, each whole."""
    shift_m: NonNegativeFloat = 0.0
    """The whole map is moved so far, in a direction of the chip's own."""
    blur_m: NonNegativeFloat = 0.0
    """Edges are as a map of this pixel size has them: the commonest class in squares of this side."""

    @model_validator(mode="after")
    def _does_something(self) -> DegradedTarget:
        if self.of == LABEL and not (self.drop or self.drop_objects or self.shift_m or self.blur_m):
            raise ValueError("a degraded map needs one of drop, drop_objects, shift_m, blur_m, or an older source")
        return self


Target = Annotated[
    MaskTarget
    | MultiLabelTarget
    | FractionsTarget
    | DominantTarget
    | DensityTarget
    | GraphTarget
    | PairTarget
    | DegradedTarget,
    Field(discriminator="kind"),
]
"""One target; stored as ``target_<name>`` in the shards or ``target.<name>`` in chips.parquet."""
