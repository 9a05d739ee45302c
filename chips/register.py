"""Residual shifts of a chip's layers against one reference date; `chips.decide` says what is done about them.

    shifts = measure_layers(layers, recipe.register_shifts, profiles)      # modality -> one Shift per date

The reference is the clearest date of one optical modality; every other date of it and of the other modalities is
measured against that date. Sign: the content of the layer must move ``dx_m`` east and ``dy_m`` north to match.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.matched_bands import Light, Pairing, pair_bands
from chips.scene_shift import REFERENCE
from chips.screen import SNOW_IS_CLEAR, clear_fraction, is_clear
from chips.shift import Image, Kind, Reference, estimate_shift
from schemas.chip import Shift, Valid
from schemas.recipe import Register
from schemas.sensor import SensorProfile

MAX_WINDOWS = 2
"""Windows compared at once."""
MIN_POWER = 1e-5
"""Least linear backscatter (-50 dB): below it is no signal but rounding."""
APPROXIMATE = "approximate"
"""Value of a layer's attribute ``geocoding`` that says: warped by tie points alone, its shift means nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Which groups of two modalities are compared, in which windows."""

    moving: str
    """Group of the moving modality."""
    reference: str
    """Group of the reference."""
    pictures: tuple[Pairing, ...]
    """What is compared with what; for radar the moving weights mean nothing."""

    @property
    def key(self) -> Hashable:
        """What decides the picture of the reference."""
        return self.reference, tuple(picture.reference.tobytes() for picture in self.pictures)


def measure_layers(
    layers: Mapping[str, xr.Dataset], register: Register, profiles: Mapping[str, SensorProfile]
) -> dict[str, tuple[Shift, ...]]:
    """Modality -> the residual shift of each of its dates.

    Args:
        layers: group name -> layer (`schemas.chip.check_layer`). A coordinate ``wavelength_nm`` along ``band``
            goes before the profile's wavelengths (EnMAP lists its bands per item).
        register: the recipe's wishes.
        profiles: modality -> sensor profile, in the recipe's order.

    Returns:
        Every modality that has a layer. ``measured`` or ``unreliable`` against the reference, the latter too where
        too few pixels are clear on both dates; ``not_applicable`` where the mode is off, no date can be the
        reference, the sensor sees no edges of the ground (thermal, elevation), the geocoding is approximate, or a
        step of a series is empty. The reference date itself has shift 0 and reliability 1.
    """
    groups = _groups_by_modality(layers, profiles)
    reference = None if register.mode == "off" else _reference(groups, layers, register, profiles)
    shifts: dict[str, tuple[Shift, ...]] = {}
    known: dict[Hashable, Reference] = {}
    for modality, names in groups.items():
        times = layers[names[0]]["time"].values
        if reference is None:
            shifts[modality] = tuple(_not_applicable() for _ in times)
            continue
        chosen, date = reference
        pair = _pair(names, groups[chosen], layers, profiles[modality], profiles[chosen])
        label = f"{chosen} {_text(layers[groups[chosen][0]]['time'].values[date])}"
        shifts[modality] = tuple(
            Shift(0.0, 0.0, 1.0, "measured", label, REFERENCE, sigma_m=0.0)
            if modality == chosen and index == date
            else _measure(pair, index, date, layers, (profiles[modality], profiles[chosen]), register, label, known)
            for index in range(len(times))
        )
    return shifts


def _groups_by_modality(
    layers: Mapping[str, xr.Dataset], profiles: Mapping[str, SensorProfile]
) -> dict[str, list[str]]:
    """Modality -> its groups, the finest first, in the order of the profiles."""
    groups: dict[str, list[str]] = {modality: [] for modality in profiles}
    for name in sorted(layers, key=lambda n: (float(layers[n].attrs["georef"].pixel_size), n)):
        groups[layers[name].attrs["modality"]].append(name)
    return {modality: names for modality, names in groups.items() if names}


def _reference(
    groups: Mapping[str, Sequence[str]],
    layers: Mapping[str, xr.Dataset],
    register: Register,
    profiles: Mapping[str, SensorProfile],
) -> tuple[str, int] | None:
    """Modality and index of the date that the others are measured against, the clearest (the first of equals)."""
    wanted = [register.reference] if register.reference else list(groups)
    for modality in wanted:
        if modality not in groups or profiles[modality].kind != "optical":
            continue
        finest = layers[groups[modality][0]]
        clear = [clear_fraction(date, _takes_snow(finest)) for date in finest["valid"].values]
        if clear and max(clear) > 0:
            return modality, int(np.argmax(clear))
    return None


def _pair(
    moving: Sequence[str],
    reference: Sequence[str],
    layers: Mapping[str, xr.Dataset],
    moving_profile: SensorProfile,
    reference_profile: SensorProfile,
) -> Pair | None:
    """The finest groups that see the same windows; None where there are none or the geocoding is approximate."""
    if moving_profile.kind not in ("optical", "sar"):
        return None
    for ours in moving:
        if layers[ours].attrs.get("geocoding") == APPROXIMATE:
            continue
        for theirs in reference:
            lights = _lights(layers[theirs], reference_profile)
            if moving_profile.kind == "optical":
                pictures = pair_bands(_lights(layers[ours], moving_profile), lights)
            else:
                pictures = pair_bands(lights, lights)
            if pictures:
                return Pair(ours, theirs, tuple(pictures[:MAX_WINDOWS]))
    return None


def _lights(layer: xr.Dataset, profile: SensorProfile) -> list[Light]:
    """Centre and width of the layer's bands; what the layer says goes before the profile."""
    known = {band.name: (band.centre_nm, band.fwhm_nm) for band in profile.bands}
    lights = [known.get(str(name), (None, None)) for name in layer["band"].values]
    if "wavelength_nm" not in layer.coords:
        return lights
    centres = [float(nm) if np.isfinite(nm) else None for nm in layer["wavelength_nm"].values]
    return [(centre, width) for centre, (_, width) in zip(centres, lights, strict=True)]


def _measure(
    pair: Pair | None,
    index: int,
    reference_index: int,
    layers: Mapping[str, xr.Dataset],
    profiles: tuple[SensorProfile, SensorProfile],
    register: Register,
    label: str,
    known: dict[Hashable, Reference],
) -> Shift:
    """The shift of one date against the reference date, to the centimetre: what lies below differs by machine."""
    if pair is None or np.isnat(layers[pair.moving]["time"].values[index]):
        return _not_applicable()
    kind: Kind = "optical" if profiles[0].kind == "optical" else "optical-sar"
    reference = known.get(pair.key)
    if reference is None:
        theirs = [picture.reference for picture in pair.pictures]
        reference = Reference(_optical_image(layers[pair.reference], reference_index, profiles[1], theirs))
        known[pair.key] = reference
    if kind == "optical":
        ours = [picture.moving for picture in pair.pictures]
        moving = _optical_image(layers[pair.moving], index, profiles[0], ours)
    else:
        moving = _radar_image(layers[pair.moving], index, profiles[0], len(pair.pictures))
    estimate = estimate_shift(moving, reference, kind=kind)
    if estimate is None:
        return Shift(0.0, 0.0, 0.0, "unreliable", label)
    reliability = round(estimate.reliability, 3)
    return Shift(
        dx_m=round(estimate.dx_m, 2) + 0.0,
        dy_m=round(estimate.dy_m, 2) + 0.0,
        reliability=reliability,
        status="measured" if reliability >= register.min_reliability else "unreliable",
        reference=label,
        method=f"edges {'+'.join(picture.window for picture in pair.pictures)} {pair.moving} on {pair.reference}",
        sigma_m=round(estimate.sigma_m, 2) if np.isfinite(estimate.sigma_m) else None,
        pixel_m=estimate.pixel_m,
    )


def _optical_image(
    layer: xr.Dataset, date: int, profile: SensorProfile, weights: Sequence[NDArray[np.float32]]
) -> Image:
    """One picture per row of weights, less the bands that hold nothing on this date."""
    data, valid = layer["data"].values[date], layer["valid"].values[date]
    clear = is_clear(valid, _takes_snow(layer))
    pictures = []
    for weight in weights:
        chosen = np.flatnonzero(weight)
        bands = data[chosen].astype(np.float32)
        given = _known(bands, layer.attrs["nodata"])
        kept = given[:, clear].any(axis=1)
        clear = clear & given[kept].all(axis=0)
        picture = np.zeros(clear.shape, np.float32)
        if kept.any():
            share = weight[chosen][kept] / weight[chosen][kept].sum()
            picture = bands[0] if kept.size == 1 else np.tensordot(share, bands[kept], axes=1)
        pictures.append(picture)
    seen = np.any(weights, axis=0)
    return Image(np.stack(pictures), clear, layer.attrs["georef"], _resolved_m(layer, profile, seen))


def _radar_image(layer: xr.Dataset, date: int, profile: SensorProfile, copies: int) -> Image:
    """The mean backscatter of all polarisations in dB (less speckle than each), repeated for every window."""
    data, valid = layer["data"].values[date], layer["valid"].values[date]
    stored = data.astype(np.float32)
    clear = (valid == Valid.CLEAR) & _known(stored, layer.attrs["nodata"]).all(axis=0)
    scale, offset = float(layer["scale"].values[date]), float(layer["offset"].values[date])
    physical = np.where(clear, stored * np.float32(scale) + np.float32(offset), np.float32(1))
    decibel = physical if layer.attrs["unit"] == "dB" else 10 * np.log10(np.maximum(physical, MIN_POWER))
    picture = np.repeat(decibel.mean(axis=0, keepdims=True), copies, axis=0)
    seen = np.ones(len(stored), np.bool_)
    return Image(picture.astype(np.float32), clear, layer.attrs["georef"], _resolved_m(layer, profile, seen))


def _resolved_m(layer: xr.Dataset, profile: SensorProfile, seen: NDArray[np.bool_]) -> float:
    """What the bands of a picture resolve: the sensor's GSD, also where they were put on a finer grid.

    With ``grid: common`` bands of 10 m lie beside those of 60 m, which are not looked at.
    """
    native = {band.name: band.gsd_m for band in profile.bands}
    return max(float(layer.attrs["gsd_m"]), *(native.get(str(name), 0.0) for name in layer["band"].values[seen]))


def _takes_snow(layer: xr.Dataset) -> bool:
    return bool(layer.attrs.get(SNOW_IS_CLEAR))


def _known(stored: NDArray[np.float32], nodata: float | None) -> NDArray[np.bool_]:
    known = np.isfinite(stored)
    if nodata is not None and np.isfinite(nodata):
        known &= stored != np.float32(nodata)
    return known


def _not_applicable() -> Shift:
    return Shift(0.0, 0.0, 0.0, "not_applicable")


def _text(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"
