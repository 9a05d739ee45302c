"""Residual shifts of a chip's layers against one reference date; `chips.decide` says what is done about them.

    shifts = measure_layers(layers, recipe.register_shifts, profiles)      # modality -> one Shift per date

The reference is the clearest date of one optical modality; every other date of it and of the other modalities is
measured against that date. Sign: the content of the layer must move ``dx_m`` east and ``dy_m`` north to match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.scene_shift import REFERENCE
from chips.screen import clear_fraction, is_clear
from chips.shift import Image, Kind, estimate_shift
from schemas.chip import Shift, Valid
from schemas.recipe import Register
from schemas.sensor import SensorProfile

WINDOWS_NM: dict[str, tuple[float, float]] = {
    "nir": (800.0, 900.0),
    "red": (640.0, 685.0),
    "green": (535.0, 585.0),
    "swir16": (1560.0, 1660.0),
}
"""What two optical sensors both see, best first: near infrared separates fields in every season, red separates
soil from plants. A sensor's picture of a window is the mean of its bands whose centres lie inside, so a
hyperspectral sensor gives a broad band; the windows hold the bands of Sentinel-2, Landsat and MODIS heritage."""
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
    windows: tuple[str, ...]
    """Names in `WINDOWS_NM`; for radar the reference's alone."""


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
        Every modality that has a layer. ``measured`` or ``unreliable`` against the reference;
        ``not_applicable`` where the mode is off, the sensor sees no edges of the ground (thermal, elevation),
        the geocoding is approximate, or too few pixels are clear on both dates. The reference date itself has
        shift 0 and reliability 1.
    """
    groups = _groups_by_modality(layers, profiles)
    reference = None if register.mode == "off" else _reference(groups, layers, register, profiles)
    shifts: dict[str, tuple[Shift, ...]] = {}
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
            else _measure(pair, index, date, layers, (profiles[modality], profiles[chosen]), register, label)
            for index in range(len(times))
        )
    return shifts


def windows_of(centres_nm: Sequence[float | None]) -> dict[str, tuple[int, ...]]:
    """Window name -> indices of the bands whose centre lies in it, best window first.

    Example:
        >>> windows_of([492.4, 559.8, 664.6, 832.8, None])
        {'nir': (3,), 'red': (2,), 'green': (1,)}
    """
    found = {
        name: tuple(i for i, nm in enumerate(centres_nm) if nm is not None and low <= nm <= high)
        for name, (low, high) in WINDOWS_NM.items()
    }
    return {name: bands for name, bands in found.items() if bands}


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
        valid = layers[groups[modality][0]]["valid"].values
        clear = [clear_fraction(date) for date in valid]
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
            shared = list(_windows(layers[theirs], reference_profile))
            if moving_profile.kind == "optical":
                seen = _windows(layers[ours], moving_profile)
                shared = [name for name in shared if name in seen]
            if shared:
                return Pair(ours, theirs, tuple(shared[:MAX_WINDOWS]))
    return None


def _windows(layer: xr.Dataset, profile: SensorProfile) -> dict[str, tuple[int, ...]]:
    if "wavelength_nm" in layer.coords:
        return windows_of([float(nm) for nm in layer["wavelength_nm"].values])
    known = {band.name: band.centre_nm for band in profile.bands}
    return windows_of([known.get(str(name)) for name in layer["band"].values])


def _measure(
    pair: Pair | None,
    index: int,
    reference_index: int,
    layers: Mapping[str, xr.Dataset],
    profiles: tuple[SensorProfile, SensorProfile],
    register: Register,
    label: str,
) -> Shift:
    """The shift of one date against the reference date, to the centimetre: what lies below differs by machine."""
    if pair is None:
        return _not_applicable()
    kind: Kind = "optical" if profiles[0].kind == "optical" else "optical-sar"
    reference = _optical_image(layers[pair.reference], reference_index, profiles[1], pair.windows)
    if kind == "optical":
        moving = _optical_image(layers[pair.moving], index, profiles[0], pair.windows)
    else:
        moving = _radar_image(layers[pair.moving], index, profiles[0], len(pair.windows))
    estimate = estimate_shift(moving, reference, kind=kind)
    if estimate is None:
        return _not_applicable()
    reliability = round(estimate.reliability, 3)
    return Shift(
        dx_m=round(estimate.dx_m, 2) + 0.0,
        dy_m=round(estimate.dy_m, 2) + 0.0,
        reliability=reliability,
        status="measured" if reliability >= register.min_reliability else "unreliable",
        reference=label,
        method=f"edges {'+'.join(pair.windows)} {pair.moving} on {pair.reference}",
        sigma_m=round(estimate.sigma_m, 2) if np.isfinite(estimate.sigma_m) else None,
        pixel_m=estimate.pixel_m,
    )


def _optical_image(layer: xr.Dataset, date: int, profile: SensorProfile, windows: Sequence[str]) -> Image:
    """One picture per window: the mean of its bands, less those that hold nothing on this date."""
    data, valid = layer["data"].values[date], layer["valid"].values[date]
    clear, found = is_clear(valid), _windows(layer, profile)
    pictures = []
    for name in windows:
        bands = data[list(found[name])].astype(np.float32)
        known = _known(bands, layer.attrs["nodata"])
        kept = known[:, clear].any(axis=1)
        clear = clear & known[kept].all(axis=0)
        pictures.append(bands[kept].mean(axis=0) if kept.any() else np.zeros(clear.shape, np.float32))
    return Image(np.stack(pictures), clear, layer.attrs["georef"], _resolved_m(layer, profile))


def _radar_image(layer: xr.Dataset, date: int, profile: SensorProfile, copies: int) -> Image:
    """The mean backscatter of all polarisations in dB (less speckle than each), repeated for every window."""
    data, valid = layer["data"].values[date], layer["valid"].values[date]
    stored = data.astype(np.float32)
    clear = (valid == Valid.CLEAR) & _known(stored, layer.attrs["nodata"]).all(axis=0)
    scale, offset = float(layer["scale"].values[date]), float(layer["offset"].values[date])
    physical = np.where(clear, stored * np.float32(scale) + np.float32(offset), np.float32(1))
    decibel = physical if layer.attrs["unit"] == "dB" else 10 * np.log10(np.maximum(physical, MIN_POWER))
    picture = np.repeat(decibel.mean(axis=0, keepdims=True), copies, axis=0)
    return Image(picture.astype(np.float32), clear, layer.attrs["georef"], _resolved_m(layer, profile))


def _resolved_m(layer: xr.Dataset, profile: SensorProfile) -> float:
    """What the layer's bands resolve: the sensor's GSD, also where they were put on a finer grid."""
    native = {band.name: band.gsd_m for band in profile.bands}
    return max(float(layer.attrs["gsd_m"]), *(native.get(str(name), 0.0) for name in layer["band"].values))


def _known(stored: NDArray[np.float32], nodata: float | None) -> NDArray[np.bool_]:
    known = np.isfinite(stored)
    if nodata is not None and np.isfinite(nodata):
        known &= stored != np.float32(nodata)
    return known


def _not_applicable() -> Shift:
    return Shift(0.0, 0.0, 0.0, "not_applicable")


def _text(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"
