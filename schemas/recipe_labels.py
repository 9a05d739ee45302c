"""The recipe about weak labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from schemas.recipe_base import Fraction, Model, Name
from schemas.recipe_targets import (
    LABEL,
    DegradedTarget,
    DensityTarget,
    DominantTarget,
    FractionsTarget,
    GraphTarget,
    MaskTarget,
    MultiLabelTarget,
    PairTarget,
    Target,
)
from schemas.sample import MAX_MEMBER

OF_LAYER = (MaskTarget, MultiLabelTarget, FractionsTarget, DominantTarget, DegradedTarget)
"""Targets that are made of one label layer."""

OWN_LEGEND = {"worldcover": "worldcover", "corine": "corine-44", "osm": "osm"}
"""Kind of product -> its legend, where the recipe names none."""

WORLDCOVER_YEARS = (2020, 2021)
"""The vintages that there are."""


class LabelSource(Model):
    """One label product."""

    kind: Literal["worldcover", "corine", "osm", "raster"]
    """Which labeler reads it."""
    catalog: Name | None = None
    """Catalog to search."""
    collection: str | None = None
    """STAC collection id."""
    asset: str | None = None
    """Asset key; the product's usual one where absent."""
    legend: str | None = None
    """Legend; the product's own where absent."""
    year: int | None = None
    """Vintage to use (worldcover 2020 or 2021)."""
    href: str | None = None
    """A file instead of a catalog; for osm also the URL of an Overpass server when ``by`` is area."""
    by: Literal["extract", "area"] = "extract"
    """osm: read a .osm.pbf extract, or query by area."""
    optional: bool = True
    """Whether a chip outside the product's coverage is kept."""
    resampling: Literal["nearest", "mode"] = "nearest"
    """Of a raster: the code under a pixel's centre, or the commonest under all of it where the product is finer."""
    licence: str | None = None
    """Licence id of a file, or where a catalog names another; OpenStreetMap's is known."""
    attribution: str | None = None
    """Text that is to be shown, of a file, or where a catalog names another."""
    weight: PositiveFloat = 1.0
    """Vote of this source in ``vote`` fusion."""
    accuracy: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Share of its pixels that are right, by a validation report; what is published or judged where absent."""
    column: str | None = None
    """A vector file instead of a raster: the column that holds the class code (``CODE_18``)."""
    layer: str | None = None
    """Layer of the vector file; its only one where absent."""
    window_px: Annotated[int, Field(ge=1, le=255)] | None = None
    """A vector file of points: each names the pixel that it lies in and those around it, a square of so many pixels
    (an odd number)."""

    @model_validator(mode="after")
    def _somewhere(self) -> LabelSource:
        if self.href is None and (self.catalog is None or self.collection is None):
            raise ValueError("give catalog and collection, or href")
        if self.kind == "raster" and self.legend is None:
            raise ValueError("kind raster needs a legend")
        if self.kind == "worldcover" and self.year not in (None, *WORLDCOVER_YEARS):
            raise ValueError(f"there is no WorldCover of year {self.year}: take 2020 or 2021")
        if self.kind == "osm" and (self.licence is not None or self.attribution is not None):
            raise ValueError("OpenStreetMap's licence and attribution are known: leave them out")
        if self.column is not None and (self.kind not in ("corine", "raster") or self.href is None):
            raise ValueError("column is for a vector file: kind corine or raster, with href")
        if self.window_px is not None and (self.column is None or self.window_px % 2 == 0):
            raise ValueError("window_px is an odd number and for a vector file of points: give its column too")
        if self.resampling == "mode" and self.is_vector:
            raise ValueError("resampling: mode is for rasters")
        if self.layer is not None and self.column is None:
            raise ValueError("layer is for a vector file: give its column too")
        return self

    @property
    def is_vector(self) -> bool:
        """Whether it has features and not pixels: a file of them is fetched whole."""
        return self.kind == "osm" or self.column is not None

    def legend_name(self) -> str:
        """Name of the legend: the recipe's, or the product's own."""
        return self.legend or OWN_LEGEND[self.kind]


class Fuse(Model):
    """How label products become one layer."""

    method: Literal["priority", "vote", "dawid-skene"] = "dawid-skene"
    """Rules in order, weighted vote, or EM over per-source confusion matrices."""
    legend: str = "worldcover-11"
    """Target legend."""
    priority: tuple[Name, ...] = ()
    """``priority``: sources, the strongest first; the recipe's order where empty."""
    abstain_below: Fraction = 0.5
    """Pixels with less confidence abstain."""


class Labels(Model):
    """Weak labels."""

    sources: dict[Name, LabelSource]
    """Name -> product."""
    fuse: Fuse | None = None
    """None: keep the products apart."""
    targets: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,20}$")], Target] = Field(default_factory=dict)
    """Name -> what is derived of the layers for training; stored as ``target_<name>`` or ``target.<name>``."""

    @field_validator("sources")
    @classmethod
    def _sources_can_be_stored(cls, sources: dict[str, LabelSource]) -> dict[str, LabelSource]:
        longest = MAX_MEMBER - len("label_")
        for name in sources:
            if name == LABEL:
                raise ValueError(f"{name!r} is the fused layer: give the source another name")
            if len(name) > longest:
                raise ValueError(f"{name!r} has {len(name)} characters: a label source's name has at most {longest}")
        maps = [name for name, source in sources.items() if source.kind == "osm"]
        if len(maps) > 1:  # a chip has one table of features: graphs, densities and texts speak of it too
            raise ValueError(f"{maps[0]!r} and {maps[1]!r} are both of kind osm: merge their extracts, or keep one")
        return sources

    @model_validator(mode="after")
    def _targets_have_layers(self) -> Labels:
        for name, target in self.targets.items():
            layers = [getattr(target, key) for key in ("before", "after") if hasattr(target, key)]
            layers += [target.of] if isinstance(target, OF_LAYER) else []
            for layer in layers:
                self._check_layer(name, layer)
            if isinstance(target, DensityTarget | GraphTarget) and "osm" not in {s.kind for s in self.sources.values()}:
                raise ValueError(f"targets.{name} is made of OpenStreetMap: add a source of kind osm")
            if isinstance(target, PairTarget):
                self._check_pair(name, target)
            if isinstance(target, PairTarget | DegradedTarget) and self.fuse is None:
                raise ValueError(f"targets.{name} needs a target legend: set fuse.legend")
        return self

    def _check_layer(self, name: str, layer: str) -> None:
        if layer == LABEL and self.fuse is None:
            raise ValueError(f"targets.{name} is made of the fused layer: set fuse, or name a source under of")
        if layer != LABEL and layer not in self.sources:
            raise ValueError(f"targets.{name} names {layer!r}; label sources: {', '.join(self.sources)}")

    def _check_pair(self, name: str, target: PairTarget) -> None:
        kinds = [self.sources[layer].kind for layer in (target.before, target.after) if layer != LABEL]
        if kinds == ["worldcover", "worldcover"]:
            raise ValueError(
                f"targets.{name}: WorldCover 2020 and 2021 differ by their algorithm, not only by change: no pair"
            )
