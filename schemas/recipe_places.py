"""The recipe about places: regions, grid and splits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from schemas.recipe_base import Fraction, LonLatBox, Model, Name


class Region(Model):
    """Where chips are cut: exactly one of the ways to say it."""

    name: Name
    """Stands in every chip's row."""
    bbox: LonLatBox | None = None
    """West, south, east, north in degrees."""
    geojson: str | None = None
    """Path of a GeoJSON file (geopandas reads it), beside the recipe or absolute."""
    catalogs: tuple[Name, ...] = ()
    """Catalogs that serve this region; all where empty."""

    @model_validator(mode="after")
    def _one_way(self) -> Region:
        if (self.bbox is None) == (self.geojson is None):
            raise ValueError("give either bbox or geojson")
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise ValueError("bbox is west, south, east, north in degrees, west < east and south < north")
        return self


class Cell(Model):
    """One explicit chip."""

    id: Name
    """Chip id."""
    epsg: int
    """UTM zone."""
    bounds: tuple[float, float, float, float]
    """Left, bottom, right, top in metres."""
    region: Name = "list"
    """Region it counts to."""


class Grid(Model):
    """The lattice of the chips."""

    kind: Literal["utm", "list"] = "utm"
    """``utm``: squares on the zone's 60 m lattice; ``list``: the cells as given."""
    chip_m: PositiveFloat | None = None
    """Edge of a chip in metres (``utm``)."""
    gsd_m: PositiveFloat = 10.0
    """GSD of the labels and of layers put on one grid."""
    cells: tuple[Cell, ...] = ()
    """The chips (``list``)."""
    tile_chips: PositiveInt = 4
    """A tile is a block of this many by this many chips."""

    @model_validator(mode="after")
    def _complete(self) -> Grid:
        if self.kind == "utm" and self.chip_m is None:
            raise ValueError("grid.kind utm needs chip_m, the edge of a chip in metres")
        if self.kind == "list" and not self.cells:
            raise ValueError("grid.kind list needs cells")
        ids = [cell.id for cell in self.cells]
        if len(set(ids)) != len(ids):
            raise ValueError("two cells have the same id")
        return self


class SplitRule(Model):
    """Splits, decided by place before any read."""

    method: Literal["blocks", "stripes", "checkerboard", "groups", "kfold", "listed", "none"] = "blocks"
    """Square blocks, parallel stripes, a checkerboard of blocks, groups of chips that belong together, stratified
    folds of blocks or groups, the column ``split`` of a list of cells, or everything in train."""
    block_m: PositiveFloat = 3000.0
    """Edge of a block or width of a stripe."""
    angle_deg: float = Field(default=60.0, ge=0.0, lt=180.0)
    """Direction across the stripes, counter-clockwise from east."""
    by: str | None = None
    """What chips of one group share (``groups``, ``kfold``): ``region``, ``mgrs``, ``majortom``, ``scene``, ``year``,
    or a column of the table of points or cells."""
    assign: Literal["hash", "balanced", "rest_is_train"] = "hash"
    """How blocks and groups come to a split: by a hash that a larger region never changes, so that the fractions are
    met as nearly as may be, or to train whatever ``held_out`` does not name."""
    held_out: dict[Literal["val", "test"], tuple[str, ...]] = Field(default_factory=dict)
    """Blocks or groups whose split is decided by name."""
    folds: int = Field(default=5, ge=2, le=100)
    """Number of folds (``kfold``)."""
    fold: int = Field(default=0, ge=0)
    """The fold that is test; the next is val where the fractions want one."""
    stratify: str | None = None
    """Column whose values every fold shall hold alike (``kfold``)."""
    buffer_m: float = Field(default=0.0, ge=0.0)
    """Chips of train closer than this to a val or test chip are left out of the plan."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.15, 0.15)
    """train, val, test."""

    @model_validator(mode="after")
    def _makes_sense(self) -> SplitRule:
        if abs(sum(self.fractions) - 1.0) > 1e-6:
            raise ValueError("split.fractions must sum to 1")
        if self.method == "groups" and self.by is None:
            raise ValueError("split.method groups needs by: what the chips of a group share, such as mgrs or event")
        if self.by is not None and self.method not in ("groups", "kfold"):
            raise ValueError(f"split.by is for groups and kfold, not for {self.method}")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but {self.folds} folds are counted from 0")
        both = set(self.held_out.get("val", ())) & set(self.held_out.get("test", ()))
        if both:
            raise ValueError(f"split.held_out names {sorted(both)[0]!r} for val and for test")
        if self.held_out and self.method not in ("blocks", "stripes", "checkerboard", "groups"):
            raise ValueError(f"split.held_out is not for {self.method}")
        return self
