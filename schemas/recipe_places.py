"""The recipe about places: regions, grid and splits."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from schemas.recipe_base import ChipId, Fraction, LonLatBox, Model, Name


def check_box(bbox: LonLatBox | None) -> None:
    """Raise where a box is none.

    Raises:
        ValueError: numbers out of order or of range.
    """
    if bbox is None:
        return
    west, south, east, north = bbox
    good = min(west, east) >= -180 and max(west, east) <= 180 and -90 <= south < north <= 90 and west != east
    if not good or (west > east and east - west + 360.0 > 180.0):
        raise ValueError(
            "bbox is west, south, east, north in degrees, -180 to 180, south < north, and west < east unless "
            "the box lies over the antimeridian"
        )


class Region(Model):
    """Where chips are cut: exactly one of the ways to say it."""

    name: Name
    """Stands in every chip's row."""
    bbox: LonLatBox | None = None
    """West, south, east, north in degrees."""
    geojson: str | None = None
    """Path of a file of polygons (GeoJSON, GeoPackage, GeoParquet, shapefile), beside the recipe or absolute."""
    feature: str | None = None
    """The one feature of that file with this ``id``; all together where absent."""

    @model_validator(mode="after")
    def _one_way(self) -> Region:
        if (self.bbox is None) == (self.geojson is None):
            raise ValueError("give either bbox or geojson")
        if self.feature is not None and self.geojson is None:
            raise ValueError("feature is one of a geojson file's: give geojson too")
        check_box(self.bbox)
        return self


class Cell(Model):
    """One explicit chip."""

    id: ChipId
    """Chip id."""
    epsg: int
    """UTM zone."""
    bounds: tuple[float, float, float, float]
    """Left, bottom, right, top in metres."""
    region: Name = "list"
    """Region it counts to."""


KINDS_WITH = {
    "cells": ("list",),
    "file": ("points", "list", "majortom", "mgrs", "degrees"),
    "names": ("majortom", "mgrs", "degrees"),
    "spacing_km": ("majortom",),
    "anchor": ("majortom",),
    "per_cell": ("majortom",),
    "extent": ("mgrs",),
    "step_deg": ("degrees",),
    "fit": ("points",),
    "id_column": ("points", "list", "majortom", "mgrs", "degrees"),
    "snap_m": ("points", "majortom", "mgrs", "degrees"),
}
"""Key of a grid -> the kinds that go by it."""


class Grid(Model):
    """Where chips lie."""

    kind: Literal["utm", "majortom", "mgrs", "degrees", "points", "list"] = "utm"
    """``utm``: squares on the zone's lattice; ``majortom``, ``mgrs``, ``degrees``: chips in the cells of a named grid;
    ``points``: chips around the places of a table; ``list``: the cells as given."""
    chip_m: float | None = Field(default=None, gt=0.0, le=1_000_000.0)
    """Edge of a chip in metres (all but ``list``); a zone of UTM is narrower than the limit."""
    gsd_m: float = Field(default=10.0, ge=0.01, le=1_000_000.0)
    """GSD of the labels and of layers put on one grid."""
    cells: tuple[Cell, ...] = ()
    """The chips (``list``)."""
    file: str | None = None
    """Table beside the recipe (CSV, GeoJSON, GeoParquet): the places of ``points``, the cells of ``list``, the names
    of ``majortom``, ``mgrs`` and ``degrees``."""
    id_column: str | None = None
    """Column of the file that names the chips; ``chip_id`` or ``id`` where there is one."""
    names: tuple[str, ...] = ()
    """Cells of ``majortom``, ``mgrs`` or ``degrees`` to take; all that the regions touch where empty."""
    spacing_km: float = Field(default=10.0, ge=1.0, le=1000.0)
    """Edge of a Major TOM cell."""
    anchor: Literal["centre", "corner", "product"] = "centre"
    """Where chips lie in a Major TOM cell: in its middle, from its lower left corner, or as the published products do,
    whose pixels share no lattice with Sentinel-2's."""
    per_cell: PositiveInt = 1
    """Chips across and down a Major TOM cell."""
    extent: Literal["square", "tile"] = "square"
    """``mgrs``: the 100 km square, or the 109.8 km tile of Sentinel-2, which overlaps its neighbours."""
    step_deg: float | None = Field(default=None, gt=0.0, le=90.0)
    """Edge of a square of degrees; divides 180."""
    snap_m: PositiveFloat | None = None
    """Chip edges of all kinds but ``utm`` and ``list`` lie on multiples of this: 60 where 60 divides the chip, else
    ``gsd_m``."""
    fit: Literal["centre", "cover"] = "centre"
    """``points`` with footprints: one chip in the middle, or as many as cover the footprint."""
    tile_chips: PositiveInt = 4
    """A tile is a block of this many by this many chips."""

    @model_validator(mode="after")
    def _complete(self) -> Grid:
        if self.kind != "list" and self.chip_m is None:
            raise ValueError(f"grid.kind {self.kind} needs chip_m, the edge of a chip in metres")
        if self.kind == "list" and bool(self.cells) == (self.file is not None):
            raise ValueError("grid.kind list needs cells or a file of them")
        if self.kind == "points" and self.file is None:
            raise ValueError("grid.kind points needs file, a table of places")
        if self.kind == "degrees":
            if self.step_deg is None:
                raise ValueError("grid.kind degrees needs step_deg")
            parts = 180.0 / self.step_deg
            if abs(parts - round(parts)) > 1e-9 * parts:
                near = sorted({180.0 / max(int(parts), 1), 180.0 / (int(parts) + 1)})
                raise ValueError(f"step_deg does not divide 180: take {' or '.join(f'{step:.9g}' for step in near)}")
        for key, kinds in KINDS_WITH.items():
            if self.kind not in kinds and getattr(self, key) != Grid.model_fields[key].default:
                last = f"{', '.join(kinds[:-1])} and {kinds[-1]}" if len(kinds) > 1 else kinds[0]
                raise ValueError(f"grid.{key} is for {last}, not for {self.kind}")
        if self.chip_m is not None and self.snap_m is not None:
            steps = self.chip_m / self.snap_m
            if abs(steps - round(steps)) > 1e-9:
                raise ValueError(f"snap_m {self.snap_m:g} does not divide chip_m {self.chip_m:g}")
        ids = [cell.id for cell in self.cells]
        if len(set(ids)) != len(ids):
            raise ValueError("two cells have the same id")
        return self

    @property
    def needs_regions(self) -> bool:
        """Whether the regions alone say where chips lie."""
        return self.kind == "utm" or (self.kind not in ("points", "list") and not self.names and self.file is None)


class SplitRule(Model):
    """Splits, decided by place before any read."""

    method: Literal["blocks", "stripes", "checkerboard", "groups", "kfold", "listed", "none"] = "blocks"
    """Square blocks, parallel stripes, a checkerboard of blocks, groups of chips that belong together, stratified
    folds of blocks or groups, the column ``split`` of a list of cells, or everything in train."""
    block_m: float = Field(default=3000.0, ge=1.0)
    """Edge of a block or width of a stripe."""
    angle_deg: float = Field(default=60.0, ge=0.0, lt=180.0)
    """Direction across the stripes, counter-clockwise from east."""
    by: str | None = None
    """What chips of one group share (``groups``, ``kfold``): ``region``, ``mgrs``, ``majortom``, ``scene``, ``year``,
    or a column of the table of points or cells."""
    scenes_of: tuple[Name, ...] = ()
    """Modalities whose scenes stand in one split alone (``by: scene``); the recipe's first where empty."""
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
        if self.scenes_of and self.by != "scene":
            raise ValueError("split.scenes_of is for by: scene")
        if self.fold >= self.folds:
            raise ValueError(f"split.fold is {self.fold}, but {self.folds} folds are counted from 0")
        both = set(self.held_out.get("val", ())) & set(self.held_out.get("test", ()))
        if both:
            raise ValueError(f"split.held_out names {sorted(both)[0]!r} for val and for test")
        if self.held_out and self.method not in ("blocks", "stripes", "checkerboard", "groups"):
            raise ValueError(f"split.held_out is not for {self.method}")
        if self.assign == "balanced" and self.method not in ("blocks", "stripes", "groups"):
            raise ValueError(f"split.assign balanced is not for {self.method}, which decides otherwise: leave it out")
        if self.assign == "rest_is_train" and not self.held_out:
            raise ValueError("split.assign rest_is_train needs held_out: the blocks or groups that are not train")
        if self.method == "kfold" and self.folds == 2 and self.fractions[1] > 0:
            raise ValueError("two folds are test and val, and leave none to train: 3 folds, or fractions without val")
        return self

    def aimed_at(self) -> tuple[float, float, float] | None:
        """Shares of train, val and test that the rule makes of many chips; None where names or a list decide."""
        _, val, test = self.fractions
        if self.method in ("listed", "none") or self.assign == "rest_is_train":
            return None
        if self.method == "kfold":
            of_val = 1 / self.folds if val > 0 else 0.0
            return 1 - 1 / self.folds - of_val, of_val, 1 / self.folds
        if self.method == "checkerboard" and val + test > 0:
            return 0.5, 0.5 * val / (val + test), 0.5 * test / (val + test)
        return self.fractions

    def said(self) -> dict[str, Any]:
        """The rule as a dataset states it: its method and what that method goes by."""
        ways: dict[str, tuple[str, ...]] = {
            "blocks": ("block_m",),
            "stripes": ("block_m", "angle_deg"),
            "checkerboard": ("block_m",),
            "groups": ("by", "assign"),
            "kfold": ("by", "folds", "fold", "stratify") if self.by else ("block_m", "folds", "fold", "stratify"),
        }
        facts = {name: getattr(self, name) for name in (*ways.get(self.method, ()), "buffer_m")}
        return {"method": self.method} | {name: value for name, value in facts.items() if value is not None}
