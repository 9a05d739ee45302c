"""Sensor profiles: what a sensor measures and how its products are laid out, read from ``sensor_<name>.yaml``.

A new optical sensor is one such table and no code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import RecipeError
from schemas.scene import MaskKind
from schemas.shipped import shipped_table


class Band(BaseModel):
    """One band of a sensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Name used in recipes and datasets, for example B02 or vv."""
    common_name: str = ""
    """STAC common name (blue, nir08), empty where there is none."""
    centre_nm: float | None = None
    """Centre wavelength in nm; None for SAR and elevation."""
    fwhm_nm: float | None = None
    """Full width at half maximum in nm."""
    gsd_m: float
    """Native GSD in m."""
    polarisation: str = ""
    """VV, VH, ... for SAR."""
    aliases: tuple[str, ...] = ()
    """Asset keys under which catalogs offer it, beside name and common name."""
    unasked: bool = True
    """Whether a recipe that names no bands gets it."""


class Variant(BaseModel):
    """How the bands of one platform or one product line differ from the profile's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Sentinel-2B, L30, TM, ..."""
    platforms: tuple[str, ...] = ()
    """Platforms it holds for, as `sentinel-2b`."""
    products: str = ""
    """Regular expression found in names of its products (id, collection, file names), upper or lower case."""
    bands: tuple[Band, ...] = ()
    """All its bands; empty where they are the profile's own."""
    centres: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Band name -> centre and full width at half maximum in nm, where only these differ."""

    def is_meant(self, platform: str, names: Sequence[str]) -> bool:
        """Whether a platform or a product's name says this variant."""
        if platform in self.platforms:
            return True
        return bool(self.products) and any(re.search(self.products, name, re.IGNORECASE) for name in names)

    def bands_of(self, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        """Its bands, given the profile's own."""
        moved = {name: {"centre_nm": centre, "fwhm_nm": width} for name, (centre, width) in self.centres.items()}
        return tuple(band.model_copy(update=moved.get(band.name, {})) for band in self.bands or bands)


class Terms(BaseModel):
    """Licence of one product among several that share a profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    products: str
    """Regular expression found in names of the product, upper or lower case."""
    licence: str
    """Licence id."""
    attribution: str
    """Attribution text; ``{year}`` is the year of acquisition."""


class SensorProfile(BaseModel):
    """What is known of a sensor and its product before any item is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: str
    """sentinel-2-l2a, landsat-c2-l2-sr, ..."""
    title: str
    """For people."""
    kind: Literal["optical", "sar", "thermal", "elevation", "classes"]
    """What the bands measure."""
    unit: str
    """Unit of the physical value: reflectance, K, linear, dB, m."""
    scale: float | None = None
    """Scale of the product's document, used where the item is silent; None: must be decided per item."""
    offset: float | None = None
    """Offset of the product's document, used where the item is silent; None: must be decided per item."""
    nodata: float | None = None
    """Stored no-data value of the product's document."""
    dtype: str = "uint16"
    """NumPy name of the stored type, used where the item is silent."""
    nodata_rule: Literal["any", "all"] = "any"
    """A pixel is no data when any (or only when every) band holds the no-data value."""
    valid_range: tuple[float, float] | None = None
    """Stored values outside are defective (Valid.DEFECTIVE): numbers as `scale` and `offset` above mean them."""
    masks: dict[MaskKind, tuple[str, ...]] = Field(default_factory=dict)
    """Mask kind -> asset keys under which it may be found, in order of preference."""
    lattice_phase_m: float = 0.0
    """Pixel edges lie on this plus multiples of the GSD (15 for Landsat and EnMAP)."""
    bands: tuple[Band, ...]
    """Bands in the order of the product; empty for a sensor whose items list their own (EnMAP)."""
    variants: tuple[Variant, ...] = ()
    """Platforms or product lines whose bands differ; `bands` are those that a recipe gets without naming any."""
    companions: tuple[str, ...] = ()
    """Sensors whose bands the same items carry beside these (surface temperature beside reflectance)."""
    bands_from_item: bool = False
    """Whether bands, wavelengths and gains are read from each item."""
    licence: str
    """Licence id."""
    attribution: str
    """Attribution text; ``{year}`` is the year of acquisition."""
    terms: tuple[Terms, ...] = ()
    """Licences by product, for a profile that several products share; the first that fits."""
    redistributable: bool = True
    """Whether derived pixels may be given on."""
    source: str
    """Document the constants were checked against."""

    def band(self, name: str) -> Band:
        """The band of that name.

        Raises:
            KeyError: there is none.
        """
        for band in self.bands:
            if band.name == name:
                return band
        raise KeyError(name)

    def variant(self, platform: str = "", names: Sequence[str] = ()) -> Variant | None:
        """The variant that the platform, or else a product's name, says; None where neither does."""
        for variant in self.variants:
            if platform and platform in variant.platforms:
                return variant
        return next((variant for variant in self.variants if variant.is_meant("", names)), None)

    def as_variant(self, variant: Variant | None) -> SensorProfile:
        """The profile with a variant's bands; the bands that a recipe gets unasked stand first, in their order."""
        if variant is None:
            return self
        theirs = {band.name: band for band in variant.bands_of(self.bands)}
        usual = [theirs.pop(band.name) for band in self.bands if band.name in theirs]
        return self.model_copy(update={"bands": (*usual, *theirs.values())})

    def band_names(self) -> tuple[str, ...]:
        """Names of all bands that any variant has."""
        listed = [band.name for band in self.bands]
        listed += [band.name for variant in self.variants for band in variant.bands]
        return tuple(dict.fromkeys(listed))

    def may_be_given_on(self, licence: str) -> bool:
        """Whether derived pixels may be redistributed, under the licence that an item names."""
        return self.redistributable or licence != self.licence


_OF_RECIPES: dict[str, SensorProfile] = {}


def use_profiles(profiles: Mapping[str, SensorProfile]) -> None:
    """Make a recipe's own profiles known under their names in this process; the last of one name holds."""
    _OF_RECIPES.update(profiles)


def known_sensors() -> list[str]:
    """Names of the sensor profiles that are shipped."""
    names = [entry.name for entry in resources.files("schemas").iterdir()]
    return sorted(
        n.removeprefix("sensor_").removesuffix(".yaml").replace("_", "-")
        for n in names
        if n.startswith("sensor_") and n.endswith(".yaml")
    )


def load_sensor(name: str) -> SensorProfile:
    """The profile of a sensor: a recipe's own, or a shipped one.

    Raises:
        RecipeError: unknown name; lists the known ones.
    """
    return _OF_RECIPES[name] if name in _OF_RECIPES else _shipped(name)


@cache
def _shipped(name: str) -> SensorProfile:
    try:
        table = shipped_table("schemas", f"sensor_{name.replace('-', '_')}.yaml")
    except (OSError, ValueError):  # no such file, or no name that a file may have
        known = ", ".join(sorted({*known_sensors(), *_OF_RECIPES}))
        raise RecipeError(f"unknown sensor {name!r}", mend=f"known: {known}") from None
    return SensorProfile.model_validate(table)
