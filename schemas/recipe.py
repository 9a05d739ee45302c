"""The recipe: everything that decides what a dataset holds, as one YAML file.

`load_recipe` reads it and turns every mistake into one line with the line number and the mend. Names such as
``${TERRAWEFT_REALDATA}`` stay in the recipe as they are and are filled in only where something is opened
(`fill`), so that no local path reaches a hash or a published file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from schemas.dataset import ZarrCodec
from schemas.errors import RecipeError
from schemas.legend import Crosswalk, Legend, known_tables, use_legends
from schemas.recipe_base import LonLatBox, Model, Name
from schemas.recipe_catalogs import Catalog, Credential, Fallback, Host, HostLimit
from schemas.recipe_gates import Gates
from schemas.recipe_labels import Fuse, Labels, LabelSource
from schemas.recipe_pixels import Composite, Modality, Near, Register, Screen, Select, Time, check_near
from schemas.recipe_places import Cell, Grid, Region, SplitRule
from schemas.recipe_radar import GroundRange, Terrain
from schemas.recipe_samples import Sample, SampleClasses
from schemas.recipe_texts import Captions
from schemas.recipe_writer import CANNOT_CHANGE_A_WORD
from schemas.sample import why_no_group
from schemas.sensor import SensorProfile, known_sensors, load_sensor, use_profiles

__all__ = [
    "Captions", "Catalog", "Cell", "Composite", "Credential", "Fallback", "Fuse", "Gates", "Grid", "GroundRange",
    "HostLimit", "LabelSource", "Labels", "LonLatBox", "Modality", "Near", "Publish", "Recipe", "Region", "Register",
    "Sample", "Screen", "Select", "SplitRule", "Terrain", "Time", "Write", "fill", "never_filled",
]  # fmt: skip

VARIABLE = re.compile(r"\$\{(TERRAWEFT_[A-Z0-9_]+)\}")
TINY_CHIPS = 4
"""Of a recipe that is shrunk to a smoke test, where its regions cannot be."""
_ANY_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


class Write(Model):
    """Shape of the output."""

    kinds: tuple[Literal["webdataset", "zarr"], ...] = ("webdataset", "zarr")
    """Which shard kinds; Zarr is made from the tars, so ``webdataset`` is always among them."""
    shard_bytes: PositiveInt = 64 * 1024 * 1024
    """Aim for the size of a tar: decides the number of buckets per split, which stays until ``terraweft repack``."""
    shard_chips: PositiveInt | None = None
    """Aim for so many chips in a tar instead."""
    zarr_shard_chips: PositiveInt = 16
    """Chips in one Zarr shard."""
    zarr_codec: ZarrCodec = "lz4"
    """How Blosc packs measurements: ``lz4`` is read and written faster, ``zstd`` is smaller (ADR 22)."""

    @model_validator(mode="after")
    def _has_tars(self) -> Write:
        if "webdataset" not in self.kinds:
            raise ValueError("write.kinds needs webdataset: Zarr is made from the tars")
        return self


class Publish(Model):
    """What may be given on, and when."""

    private: bool = False
    """Allow layers that may not be redistributed."""
    after_validation: bool = False
    """Make a new version the current one only when it passes the gates: until then readers stay with the one before."""


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
    credentials: dict[Name, Credential] = Field(default_factory=dict)
    """Name -> where a secret lies."""
    limits: dict[Host, HostLimit] = Field(default_factory=dict)
    """Host (``*.example.org``, ``*`` for all others) -> how it is asked."""
    regions: tuple[Region, ...] = ()
    """Where; not needed with grid.kind list."""
    grid: Grid
    """Lattice of the chips."""
    time: Time
    """When."""
    modalities: dict[Name, Modality]
    """Name -> sensor."""
    sensors: dict[Name, SensorProfile] = Field(default_factory=dict)
    """Name -> a sensor that is not shipped: its table, or the path of a YAML file that holds it."""
    legends: dict[Name, Legend] = Field(default_factory=dict)
    """Name -> a legend that is not shipped: its classes, or the path of a YAML file that holds them."""
    crosswalks: dict[Name, Crosswalk] = Field(default_factory=dict)
    """Name -> what a legend's codes say of a target's classes, where none is shipped or the shipped one is not wanted;
    the crosswalk, or the path of a YAML file that holds it."""
    labels: Labels | None = None
    """Weak labels, or none."""
    captions: Captions | None = None
    """Texts, or none."""
    register_shifts: Register = Field(default=Register(), alias="register")
    """Co-registration."""
    screen: Screen = Screen()
    """Screening."""
    sample: tuple[Sample, ...] = ()
    """Which of the grid's cells become chips: steps, applied in order; all where empty."""
    split: SplitRule = SplitRule()
    """Splits."""
    write: Write = Write()
    """Output."""
    publish: Publish = Publish()
    """Licences, and what must come first."""
    gates: Gates = Gates()
    """Thresholds of validation."""

    @field_validator("regions")
    @classmethod
    def _each_region_once(cls, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        counts = Counter(region.name for region in regions)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ValueError(f"region {twice[0]!r} stands twice: give each its own name")
        return regions

    @model_validator(mode="after")
    def _holds_together(self) -> Recipe:
        if not self.modalities:
            raise ValueError("modalities is empty: name at least one sensor")
        if "place" in self.modalities:
            raise ValueError(
                "modalities.place: the columns place.<name> are those of the chips' places; take another name"
            )
        for name in self.modalities:
            if why := why_no_group(name):
                raise ValueError(f"modalities.{name} cannot name a modality: {why}")
        if self.grid.needs_regions and not self.regions:
            raise ValueError(f"regions is empty: grid.kind {self.grid.kind} needs at least one region")
        used = {f"modalities.{n}": m.catalog for n, m in self.modalities.items()}
        for name, modality in self.modalities.items():
            used |= {f"modalities.{name}.fallbacks[{i}]": f.catalog for i, f in enumerate(modality.fallbacks)}
        radar = {f"modalities.{n}.ground_range": m.ground_range for n, m in self.modalities.items()}
        used |= {f"{n}.terrain": g.terrain.catalog for n, g in radar.items() if g and g.terrain and g.terrain.catalog}
        if self.labels:
            used |= {f"labels.sources.{n}": s.catalog for n, s in self.labels.sources.items() if s.catalog}
            both = set(self.labels.sources) & set(self.modalities)
            if both:
                raise ValueError(f"{sorted(both)[0]} names both a modality and a label source")
        classes = {f"sample.{i}": s for i, s in enumerate(self.sample) if isinstance(s, SampleClasses)}
        used |= {where: step.catalog for where, step in classes.items() if step.catalog}
        for where, catalog in used.items():
            if catalog not in self.catalogs:
                raise ValueError(f"{where}.catalog is {catalog!r}, but catalogs has {sorted(self.catalogs)}")
        for where, catalog_used in self.catalogs.items():
            for credential in catalog_used.credentials:
                if credential not in self.credentials:
                    known = sorted(self.credentials)
                    raise ValueError(f"catalogs.{where}.credentials names {credential!r}, but credentials has {known}")
        for sensor, profile in self.sensors.items():
            if sensor in known_sensors():
                raise ValueError(f"sensors.{sensor} has the name of a sensor that is shipped: give it another")
            if profile.sensor != sensor:
                raise ValueError(f"sensors.{sensor} is a table of {profile.sensor!r}: give both the same name")
        use_profiles(self.sensors)
        for name, legend in self.legends.items():
            if name in known_tables("legend_"):
                raise ValueError(f"legends.{name} has the name of a legend that is shipped: give it another")
            if legend.name != name:
                raise ValueError(f"legends.{name} is the legend {legend.name!r}: give both the same name")
        use_legends(self.legends, self.crosswalks.values())
        reference = self.register_shifts.reference
        if reference is not None and reference not in self.modalities:
            raise ValueError(f"register.reference is {reference!r}, but modalities has {sorted(self.modalities)}")
        unknown = sorted(set(self.split.scenes_of) - set(self.modalities))
        if unknown:
            raise ValueError(f"split.scenes_of names {unknown[0]!r}, but modalities has {sorted(self.modalities)}")
        for name, modality in self.modalities.items():
            wish = modality.select
            if wish.min_dates > wish.max_dates and (modality.time or self.time).windows is None:
                raise ValueError(
                    f"modalities.{name}.select.min_dates is {wish.min_dates}, but max_dates keeps {wish.max_dates}: no "
                    "chip would be kept"
                )
        check_near({name: modality.select.near for name, modality in self.modalities.items()})
        self._check_learned()
        if self.captions and self.captions.backend == "template" and self.labels is None:
            raise ValueError("captions need labels: template sentences speak of them")
        return self

    def _check_learned(self) -> None:
        """See that the gates know which label to learn."""
        products = sorted(self.labels.sources) if self.labels and self.labels.fuse is None else []
        learned = self.gates.training.label
        if learned is not None and learned not in products:
            raise ValueError(f"gates.training.label is {learned!r}, but products that are not fused are {products}")
        if learned is None and len(products) > 1 and self.publish.after_validation:
            raise ValueError(
                f"publish.after_validation: gates cannot choose among {products}: set gates.training.label, or "
                "labels.fuse"
            )

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Wherever a recipe arrives, its own sensors and legends are known: in every worker process too."""
        super().__setstate__(state)
        use_profiles(self.sensors)
        use_legends(self.legends, self.crosswalks.values())

    def hashed(self) -> dict[str, Any]:
        """The recipe less what cannot change a pixel or a word: title, description, engines, gates, catalogs but their
        names.

        Which items a catalog gave is hashed with each chip, by content: the same items from an API, a folder or a
        frozen index make the same dataset. Keys at their default are left out, so that a key added to the format later
        changes no hash of a recipe that does not use it; a default that is changed needs a step's version raised.
        What the order of modalities or label sources decides is written out: hashes are of sorted keys.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["catalogs"] = sorted(data["catalogs"])
        for key in ("title", "description", "credentials", "limits", "gates"):
            data.pop(key, None)
        if data.get("publish", {}).pop("after_validation", False) and not data["publish"]:
            del data["publish"]
        for modality in data["modalities"].values():
            modality.pop("engine", None), modality.pop("fallbacks", None)
        for key in CANNOT_CHANGE_A_WORD:
            data.get("captions", {}).pop(key, None)
        self._say_what_order_decides(data)
        return data

    def _say_what_order_decides(self, data: dict[str, Any]) -> None:
        """Put what stands first, where that decides, into what `hashed` gives."""
        register, optical = self.register_shifts, [n for n, m in self.modalities.items() if _is_optical(m.sensor)]
        if register.mode != "off" and register.reference is None and len(optical) > 1:
            data.setdefault("register", {})["reference"] = optical
        if self.split.by == "scene" and not self.split.scenes_of and len(self.modalities) > 1:
            data["split"]["scenes_of"] = list(self.modalities)[:1]
        if self.labels is None or len(self.labels.sources) < 2:
            return
        fuse = self.labels.fuse
        if fuse is None and self.captions is not None:
            data["captions"]["of"] = next(iter(self.labels.sources))
        elif fuse is not None and fuse.method == "priority":
            data["labels"]["fuse"]["priority"] = list(dict.fromkeys([*fuse.priority, *self.labels.sources]))

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
                region["bbox"] = _corner(region["bbox"], data["grid"]["chip_m"])
        if self.grid.kind != "utm" or any(region.bbox is None for region in self.regions):
            data["sample"].append({"kind": "random", "n": TINY_CHIPS})
        for modality in data["modalities"].values():
            modality["select"]["max_dates"] = 1
            modality["select"]["min_dates"] = min(modality["select"]["min_dates"], 1)
        return Recipe.model_validate(data)


def _is_optical(sensor: str) -> bool:
    """Whether a sensor is known, and optical; planning tells of one that is not known."""
    try:
        return load_sensor(sensor).kind == "optical"
    except RecipeError:
        return False


def _corner(bbox: LonLatBox, chip_m: float) -> LonLatBox:
    """The south-western corner of a box, a little more than two chips high and wide."""
    west, south, east, north = bbox
    step = 2.2 * chip_m / 111_000
    north = min(north, south + step)
    east = min(east + 360.0 * (east < west), west + 1.08 * step / math.cos(math.radians(south)))
    return west, south, east - 360.0 * (east > 180.0), north


def never_filled(text: str) -> str | None:
    """The first ``${...}`` of some text that has not the name of a variable."""
    return next((one.group() for one in _ANY_VARIABLE.finditer(text) if not VARIABLE.fullmatch(one.group())), None)


def fill(text: str, variables: Mapping[str, str], where: str = "") -> str:
    """``text`` with every ``${TERRAWEFT_...}`` replaced.

    Raises:
        RecipeError: a variable is not set, is empty, or has a name that is never filled in.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if never := never_filled(match.group()):
            mend = "a recipe's variables are named ${TERRAWEFT_...}, in capitals"
            raise RecipeError(f"{never} is not filled in", where=where, mend=mend)
        if not variables.get(name, "").strip():
            state = "empty" if name in variables else "not set"
            raise RecipeError(f"{name} is {state}", where=where, mend=f"export {name}=... and run again")
        return variables[name]

    return _ANY_VARIABLE.sub(value, text)
