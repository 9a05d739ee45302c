"""The recipe: everything that decides what a dataset holds, as one YAML file.

`load_recipe` reads it and turns every mistake into one line with the line number and the mend. Names such as
``${TERRAWEFT_REALDATA}`` stay in the recipe as they are and are filled in only where something is opened
(`fill`), so that no local path reaches a hash or a published file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from schemas.errors import RecipeError

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VARIABLE = re.compile(r"\$\{(TERRAWEFT_[A-Z0-9_]+)\}")


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a name has 1-64 characters of a-z, 0-9, _ and -, and begins with a letter or digit")
    return value


def _off(value: object) -> object:
    return "off" if value is False else value


Name = Annotated[str, AfterValidator(_check_name)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
LonLatBox = tuple[float, float, float, float]


class Model(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Catalog(Model):
    """Where items come from."""

    kind: Literal["stac-api", "static"]
    """A STAC API, or a static catalog (catalog.json) in a folder or behind HTTP."""
    href: str
    """Root URL or path; may hold ``${TERRAWEFT_...}``."""
    allow_local: bool = False
    """Whether hrefs may point to this machine or a private network."""


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


class Time(Model):
    """The time window of every chip."""

    start: date
    """First day."""
    end: date
    """Last day, included."""
    reference: date | None = None
    """Day from which gaps are counted; the middle of the window where absent."""

    @model_validator(mode="after")
    def _ordered(self) -> Time:
        if self.end < self.start:
            raise ValueError("time.end lies before time.start")
        return self

    def window_utc(self) -> tuple[datetime, datetime, datetime]:
        """Start, end and reference as UTC times."""
        start = datetime.combine(self.start, time.min, UTC)
        end = datetime.combine(self.end, time.max, UTC).replace(microsecond=0)
        if self.reference is not None:
            return start, end, datetime.combine(self.reference, time(12), UTC)
        return start, end, (start + (end - start) / 2).replace(microsecond=0)


class Select(Model):
    """Which dates of a modality a chip keeps."""

    how: Literal["all", "closest", "least_cloudy", "newest"] = "all"
    """Order of preference; kept dates always stand in time order."""
    max_dates: PositiveInt = 4
    """At most so many."""
    min_dates: int = Field(default=1, ge=0)
    """Fewer reject the chip."""
    min_clear_fraction: Fraction = 0.0
    """A date with less clear ground over the chip is not kept."""
    max_nodata_fraction: Fraction = 0.5
    """A date with more missing pixels over the chip is not kept."""
    max_gap_days: PositiveFloat | None = None
    """A date further from the reference is not kept."""
    snow_is_clear: bool = False
    """Whether snow counts as clear."""


class Modality(Model):
    """One sensor's share of the dataset."""

    sensor: str
    """Sensor profile."""
    catalog: Name
    """Catalog to search."""
    collection: str
    """STAC collection id."""
    bands: tuple[str, ...] = ()
    """Band names of the profile; all where empty."""
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Item properties that must be equal (``sat:orbit_state: ascending``)."""
    time: Time | None = None
    """Its own window instead of the recipe's."""
    select: Select = Select()
    """Which dates."""
    engine: Literal["direct", "stackstac", "odc-stac"] = "direct"
    """How pixels are read; all three give the same bits."""
    grid: Literal["native", "snapped", "common"] = "native"
    """``native``: the sensor's own lattice; ``snapped``: its own GSD on the chip's edges; ``common``: grid.gsd_m."""
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    """Kernel for measurements where resampling is due; classes and masks are always nearest."""
    offset: Literal["as_delivered", "pre04", "post04"] = "as_delivered"
    """Sentinel-2 digital numbers: as they came, or brought to one baseline."""
    store: Literal["as_delivered", "linear", "db"] = "as_delivered"
    """SAR: as it came, linear power, or decibel."""
    optional: bool = False
    """Whether a chip without it is kept."""


class Register(Model):
    """Measurement of residual shifts."""

    mode: Annotated[Literal["off", "measure", "correct", "reject"], BeforeValidator(_off)] = "measure"
    """What to do with them. YAML reads a bare ``off`` as false; both are taken."""
    reference: Name | None = None
    """Modality that the others are measured against; the first optical one where absent."""
    min_reliability: Fraction = 0.3
    """Below it the estimate is not used."""
    max_shift_m: PositiveFloat = 60.0
    """``reject``: a reliable larger shift rejects; ``correct``: only smaller ones are corrected."""
    correct_above_m: PositiveFloat = 5.0
    """``correct``: smaller shifts stay as they are."""


class Screen(Model):
    """What rejects a chip."""

    max_nodata_fraction: Fraction = 0.3
    """Largest share of missing pixels in a kept date of any modality, after selection."""
    max_saturated_fraction: Fraction = 0.2
    """Largest share of saturated or defective pixels."""
    reject_constant: bool = True
    """A date with a single value over the whole chip is defective."""


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

    @model_validator(mode="after")
    def _somewhere(self) -> LabelSource:
        if self.href is None and (self.catalog is None or self.collection is None):
            raise ValueError("give catalog and collection, or href")
        if self.kind == "raster" and self.legend is None:
            raise ValueError("kind raster needs a legend")
        return self


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


class Captions(Model):
    """Texts."""

    backend: Literal["template", "openai"] = "template"
    """Who writes."""
    kinds: tuple[Literal["short", "long", "qa"], ...] = ("short", "long", "qa")
    """What is written."""
    base_url: str = ""
    """openai: root of the server (``http://.../v1``); may hold ``${TERRAWEFT_...}``."""
    model: str = ""
    """openai: model name."""
    api_key_env: str = ""
    """openai: NAME of the environment variable that holds the key, never the key."""
    ledger: str = ""
    """openai: path of the paid-answer ledger; the site's default where empty."""
    max_cost: float = Field(default=0.0, ge=0.0)
    """openai: hard limit in the currency of the prices; 0: no calls that cost."""
    price_per_million_in: float = Field(default=0.0, ge=0.0)
    """Price of a million input tokens."""
    price_per_million_out: float = Field(default=0.0, ge=0.0)
    """Price of a million output tokens."""
    concurrency: PositiveInt = 8
    """Calls in flight."""

    @model_validator(mode="after")
    def _reachable(self) -> Captions:
        if self.backend == "openai" and not (self.base_url and self.model):
            raise ValueError("backend openai needs base_url and model")
        return self


class SplitRule(Model):
    """Splits, decided by place before any read."""

    method: Literal["blocks", "stripes", "none"] = "blocks"
    """Square blocks, parallel stripes, or everything in train."""
    block_m: PositiveFloat = 3000.0
    """Edge of a block or width of a stripe."""
    buffer_m: float = Field(default=0.0, ge=0.0)
    """Chips of train closer than this to a val or test chip are left out of the plan."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.7, 0.15, 0.15)
    """train, val, test."""

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitRule:
        if abs(sum(self.fractions) - 1.0) > 1e-6:
            raise ValueError("split.fractions must sum to 1")
        return self


class Write(Model):
    """Shape of the output."""

    kinds: tuple[Literal["webdataset", "zarr"], ...] = ("webdataset", "zarr")
    """Which shard kinds; Zarr is made from the tars, so ``webdataset`` is always among them."""
    shard_bytes: PositiveInt = 64 * 1024 * 1024
    """Aim for the size of a tar: decides the number of buckets per split."""
    zarr_shard_chips: PositiveInt = 16
    """Chips in one Zarr shard."""

    @model_validator(mode="after")
    def _has_tars(self) -> Write:
        if "webdataset" not in self.kinds:
            raise ValueError("write.kinds needs webdataset: Zarr is made from the tars")
        return self


class Publish(Model):
    """What may be given on."""

    private: bool = False
    """Allow layers that may not be redistributed."""


class Recipe(Model):
    """A dataset, decided."""

    format: Literal[1]
    """Format of the recipe."""
    name: Name
    """Name of the dataset."""
    title: str = ""
    """For people."""
    description: str = ""
    """For people; stands in the dataset card."""
    seed: int = 7
    """Seed of everything random."""
    catalogs: dict[Name, Catalog]
    """Name -> catalog."""
    regions: tuple[Region, ...] = ()
    """Where; not needed with grid.kind list."""
    grid: Grid
    """Lattice of the chips."""
    time: Time
    """When."""
    modalities: dict[Name, Modality]
    """Name -> sensor."""
    labels: Labels | None = None
    """Weak labels, or none."""
    captions: Captions | None = None
    """Texts, or none."""
    register_shifts: Register = Field(default=Register(), alias="register")
    """Co-registration."""
    screen: Screen = Screen()
    """Screening."""
    split: SplitRule = SplitRule()
    """Splits."""
    write: Write = Write()
    """Output."""
    publish: Publish = Publish()
    """Licences."""

    @model_validator(mode="after")
    def _holds_together(self) -> Recipe:
        if not self.modalities:
            raise ValueError("modalities is empty: name at least one sensor")
        if self.grid.kind == "utm" and not self.regions:
            raise ValueError("regions is empty: grid.kind utm needs at least one region")
        used = {f"modalities.{n}": m.catalog for n, m in self.modalities.items()}
        if self.labels:
            used |= {f"labels.sources.{n}": s.catalog for n, s in self.labels.sources.items() if s.catalog}
            both = set(self.labels.sources) & set(self.modalities)
            if both:
                raise ValueError(f"{sorted(both)[0]} names both a modality and a label source")
        for where, catalog in used.items():
            if catalog not in self.catalogs:
                raise ValueError(f"{where}.catalog is {catalog!r}, but catalogs has {sorted(self.catalogs)}")
        reference = self.register_shifts.reference
        if reference is not None and reference not in self.modalities:
            raise ValueError(f"register.reference is {reference!r}, but modalities has {sorted(self.modalities)}")
        if self.captions and self.captions.backend == "template" and self.labels is None:
            raise ValueError("captions need labels: template sentences speak of them")
        return self

    def hashed(self) -> dict[str, Any]:
        """The recipe less what cannot change a pixel or a word: title, description, engines, addresses."""
        data = self.model_dump(mode="json", by_alias=True)
        data.pop("title"), data.pop("description")
        for catalog in data["catalogs"].values():
            catalog.pop("href"), catalog.pop("allow_local")
        for modality in data["modalities"].values():
            modality.pop("engine")
        if data["captions"]:
            for key in ("base_url", "api_key_env", "ledger", "concurrency", "max_cost"):
                data["captions"].pop(key)
        return data

    def hash(self) -> str:
        """sha256 of `hashed`, canonical JSON."""
        text = json.dumps(self.hashed(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def tiny(self) -> Recipe:
        """The same recipe shrunk to a smoke test: one tile's worth of chips, one date, one shard kind."""
        data = self.model_dump(mode="json", by_alias=True)
        data["grid"]["tile_chips"] = 2
        data["grid"]["cells"] = data["grid"]["cells"][:2]
        data["write"]["kinds"] = ["webdataset"]
        for region in data["regions"]:
            if region["bbox"] and data["grid"]["chip_m"]:
                west, south, _, _ = region["bbox"]
                step = 2.2 * data["grid"]["chip_m"] / 111_000
                region["bbox"] = [west, south, west + 1.6 * step, south + step]
        for modality in data["modalities"].values():
            modality["select"]["max_dates"] = 1
        return Recipe.model_validate(data)


def fill(text: str, variables: Mapping[str, str], where: str = "") -> str:
    """``text`` with every ``${TERRAWEFT_...}`` replaced.

    Raises:
        RecipeError: a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise RecipeError(f"{name} is not set", where=where, mend=f"export {name}=... and run again")
        return variables[name]

    return VARIABLE.sub(value, text)
