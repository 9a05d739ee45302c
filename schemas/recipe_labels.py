"""The recipe about weak labels."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, model_validator

from schemas.recipe_base import Fraction, Model, Name

OWN_LEGEND = {"worldcover": "worldcover", "corine": "corine-44", "osm": "osm"}
"""Kind of product -> its legend, where the recipe names none."""


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
    weight: PositiveFloat = 1.0
    """Vote of this source in ``vote`` fusion."""
    column: str | None = None
    """A vector file instead of a raster: the column that holds the class code (``CODE_18``)."""
    layer: str | None = None
    """Layer of the vector file; its only one where absent."""

    @model_validator(mode="after")
    def _somewhere(self) -> LabelSource:
        if self.href is None and (self.catalog is None or self.collection is None):
            raise ValueError("give catalog and collection, or href")
        if self.kind == "raster" and self.legend is None:
            raise ValueError("kind raster needs a legend")
        if self.column is not None and (self.kind not in ("corine", "raster") or self.href is None):
            raise ValueError("column is for a vector file: kind corine or raster, with href")
        if self.layer is not None and self.column is None:
            raise ValueError("layer is for a vector file: give its column too")
        return self

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
