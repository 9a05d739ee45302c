"""The recipe about sampling: which of the grid's cells become chips, by steps that are applied in order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from schemas.recipe_base import Fraction, Model, Name


class _Step(Model):
    seed: int | None = None
    """Seed of this step; made from the recipe's seed and the step's place where absent."""


class SampleAll(_Step):
    """Every cell."""

    kind: Literal["all"]


class SampleRandom(_Step):
    """Some cells, drawn by a hash of seed and id: of a larger region, the same ones and more."""

    kind: Literal["random"]
    n: PositiveInt | None = None
    """This many."""
    fraction: Fraction | None = None
    """This share."""

    @model_validator(mode="after")
    def _one_way(self) -> SampleRandom:
        if (self.n is None) == (self.fraction is None):
            raise ValueError("sample random needs n or fraction")
        return self


class SampleSpacing(_Step):
    """Cells whose centres keep a distance from each other, as many as random order gives."""

    kind: Literal["spacing"]
    min_distance_m: PositiveFloat
    """Between centres."""


class SampleClasses(_Step):
    """As many cells of every land-cover class as there are, up to equal shares."""

    kind: Literal["classes"]
    files: tuple[str, ...] = ()
    """Rasters of class codes; the first that has data at a place counts. Read as overviews."""
    catalog: Name | None = None
    """Catalog of a class product instead of files: its items are found, frozen with the plan, and read as overviews."""
    collection: str | None = None
    """Its STAC collection."""
    asset: str | None = None
    """Asset key; the only one with the role ``data`` where absent."""
    year: int | None = None
    """Its vintage; the newest that has data at a place where absent."""
    n: PositiveInt | None = None
    """Cells in all, shared equally among the classes as far as they reach."""
    per_class: PositiveInt | None = None
    """Most cells of one class."""
    by: Literal["dominant", "rarest"] = "dominant"
    """A cell counts to its largest class, or to the rarest that fills ``min_share`` of it."""
    min_share: Fraction = 0.1
    """Least share of a cell that a class must fill to be counted by ``rarest``."""
    classes: tuple[int, ...] = ()
    """Codes that are wanted; all where empty."""
    column: str = "class"
    """Name of the column that says each cell's class: splits may stratify by it."""

    @model_validator(mode="after")
    def _one_way(self) -> SampleClasses:
        if (self.n is None) == (self.per_class is None):
            raise ValueError("sample classes needs n or per_class")
        if bool(self.files) == (self.catalog is not None) or (self.catalog is None) != (self.collection is None):
            raise ValueError("sample classes needs files, or a catalog and its collection")
        if self.files and (self.asset is not None or self.year is not None):
            raise ValueError("asset and year are for a catalog's items, not for files")
        return self


class SampleFeatures(_Step):
    """Cells that hold features, at most ``cap`` for each category: common ones do not drown the rare."""

    kind: Literal["features"]
    file: str
    """Table of points, lines or polygons."""
    column: str
    """Its column of categories."""
    cap: PositiveInt
    """Most cells of one category; a cell counts to the rarest of its categories."""


class SampleCities(_Step):
    """Cells by their distance to the nearest city."""

    kind: Literal["cities"]
    file: str
    """Table of points."""
    min_km: float = Field(default=0.0, ge=0.0)
    """No nearer."""
    max_km: PositiveFloat | None = None
    """No farther."""
    sigma_km: PositiveFloat | None = None
    """With ``n``: the chance to be drawn falls with distance as a normal curve of this deviation."""
    n: PositiveInt | None = None
    """Draw this many."""

    @model_validator(mode="after")
    def _makes_sense(self) -> SampleCities:
        if self.max_km is not None and self.max_km <= self.min_km:
            raise ValueError(f"max_km {self.max_km:g} is not above min_km {self.min_km:g}")
        if self.sigma_km is not None and self.n is None:
            raise ValueError("sigma_km needs n, the number of cells to draw")
        return self


class SampleEcoregions(_Step):
    """A quota of cells for every class of a table of areas."""

    kind: Literal["ecoregions"]
    file: str
    """Table of polygons."""
    column: str
    """Its column of classes; the cells carry it on."""
    quota: PositiveInt | dict[str, PositiveInt]
    """Most cells of each class, or of each named class (others are left out)."""


class SamplePoints(_Step):
    """Cells that touch a place of a table; they take on its columns."""

    kind: Literal["points"]
    file: str
    """Table of points or footprints."""


class SampleList(_Step):
    """The cells that a list names, by id or by Major TOM cell."""

    kind: Literal["list"]
    file: str | None = None
    """Table with a column of names."""
    column: str | None = None
    """That column; the first of chip_id, majortom_cell, grid_cell, name, id where absent."""
    names: tuple[str, ...] = ()
    """The names."""

    @model_validator(mode="after")
    def _one_way(self) -> SampleList:
        if (self.file is None) == (not self.names):
            raise ValueError("sample list needs a file or names")
        return self


class SamplePlugin(_Step):
    """A sampler of another package."""

    kind: str
    """Name of an entry point of the group ``terraweft.samplers``, or ``module:function``."""
    file: str | None = None
    """Table of places that it is given."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What it makes of them is its own affair."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_slip(cls, value: Any) -> Any:
        strange = sorted(set(map(str, value)) - set(cls.model_fields)) if isinstance(value, dict) else []
        if strange:
            raise ValueError(
                f"kind {value.get('kind', '')!r} is none of {', '.join(KINDS)}, and a sampler of another package takes "
                f"file and options, not {strange[0]}"
            )
        return value


KINDS = ("all", "random", "spacing", "classes", "features", "cities", "ecoregions", "points", "list")


def _tag(value: Any) -> str:
    kind = value.get("kind", "") if isinstance(value, dict) else getattr(value, "kind", "")
    return kind if kind in KINDS else "plugin"


Sample = Annotated[
    Annotated[SampleAll, Tag("all")]
    | Annotated[SampleRandom, Tag("random")]
    | Annotated[SampleSpacing, Tag("spacing")]
    | Annotated[SampleClasses, Tag("classes")]
    | Annotated[SampleFeatures, Tag("features")]
    | Annotated[SampleCities, Tag("cities")]
    | Annotated[SampleEcoregions, Tag("ecoregions")]
    | Annotated[SamplePoints, Tag("points")]
    | Annotated[SampleList, Tag("list")]
    | Annotated[SamplePlugin, Tag("plugin")],
    Discriminator(_tag),
]
"""One step of sampling."""
