"""Parametric spectra of what covers the ground, seen through Gaussian bands, and how cover changes over the year."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from scipy.interpolate import PchipInterpolator

from .noise import Array

VARIANTS = 8
"""A stratum is class x 8 + variant: parcels of one class differ in phase."""

PHASE_DAYS = 4.5
"""Days between the calendars of neighbouring variants."""

WAVELENGTHS_NM = np.arange(380.0, 2521.0)
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


@lru_cache(maxsize=8)
def table(name: str) -> dict[str, Any]:
    """One of the room's YAML tables: ``bands``, ``landscape`` or ``acquisitions``."""
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


@dataclass(frozen=True)
class Band:
    """One spectral band as a Gaussian."""

    name: str
    """Asset key, or position in the file for EnMAP."""
    centre_nm: float
    """Centre wavelength."""
    fwhm_nm: float
    """Full width at half maximum."""
    gsd_m: float
    """Native pixel size."""


def bands_of(sensor: str) -> tuple[Band, ...]:
    """Bands of ``sentinel-2``, ``landsat`` or ``enmap`` in the order of their table."""
    rows = table("bands")[sensor]
    if sensor == "enmap":
        return tuple(Band(str(i + 1), float(c), float(w), 30.0) for i, (c, w) in enumerate(rows["bands"]))
    return tuple(Band(n, float(r["centre_nm"]), float(r["fwhm_nm"]), float(r["gsd_m"])) for n, r in rows.items())


def endmember_names() -> tuple[str, ...]:
    """Names of the endmembers in their order."""
    return tuple(table("landscape")["endmembers"])


def class_names() -> tuple[str, ...]:
    """Names of the ground classes in their order."""
    return tuple(table("landscape")["classes"])


def class_index(name: str) -> int:
    """Position of a ground class."""
    return class_names().index(name)


def worldcover_codes() -> npt.NDArray[np.uint8]:
    """(256,) WorldCover code of every stratum; 0 where no class has that number."""
    out = np.zeros(256, dtype=np.uint8)
    for i, row in enumerate(table("landscape")["classes"].values()):
        out[i * VARIANTS : (i + 1) * VARIANTS] = row["worldcover"]
    return out


def corine_codes() -> npt.NDArray[np.uint16]:
    """(256,) CORINE level-3 code of a large patch of every stratum; 0 for what never forms one."""
    out = np.zeros(256, dtype=np.uint16)
    for i, row in enumerate(table("landscape")["classes"].values()):
        out[i * VARIANTS : (i + 1) * VARIANTS] = row["corine"]
    return out


def _curve(row: dict[str, Any]) -> npt.NDArray[np.float64]:
    """(wavelengths,) reflectance of one endmember."""
    knots = row["knots"]
    nm = np.array(sorted(knots), dtype=np.float64)
    reflectance = np.array([knots[k] for k in sorted(knots)], dtype=np.float64)
    curve = np.asarray(PchipInterpolator(nm, reflectance)(np.clip(WAVELENGTHS_NM, nm[0], nm[-1])))
    for centre, depth, width in row["absorptions"]:
        curve *= 1.0 - depth * np.exp(-(((WAVELENGTHS_NM - centre) / width) ** 2))
    return curve


@lru_cache(maxsize=1)
def endmember_curves() -> npt.NDArray[np.float64]:
    """(K, wavelengths) reflectance of every endmember at :data:`WAVELENGTHS_NM`."""
    return np.stack([_curve(row) for row in table("landscape")["endmembers"].values()])


def integrate(curves: npt.NDArray[np.float64], bands: tuple[Band, ...]) -> Array:
    """Spectra as bands see them.

    Args:
        curves: (K, wavelengths) at :data:`WAVELENGTHS_NM`.
        bands: Gaussian bands.

    Returns:
        (K, B) float32: the curve averaged with each band's Gaussian response.
    """
    centres = np.array([b.centre_nm for b in bands])
    sigmas = np.array([b.fwhm_nm for b in bands]) / FWHM_PER_SIGMA
    response = np.exp(-0.5 * ((WAVELENGTHS_NM[:, None] - centres) / sigmas) ** 2)
    response /= response.sum(axis=0, keepdims=True)
    return np.asarray(curves @ response, dtype=np.float32)


def endmember_bands(sensor: str) -> Array:
    """(K, B) reflectance of the endmembers in a sensor's bands."""
    return integrate(endmember_curves(), bands_of(sensor))


def endmember_backscatter() -> Array:
    """(K, 2) linear gamma0 of the endmembers in VV and VH."""
    rows = table("landscape")["endmembers"].values()
    return np.asarray([[10 ** (r["vv_db"] / 10), 10 ** (r["vh_db"] / 10)] for r in rows], dtype=np.float32)


def endmember_kelvin() -> Array:
    """(K, 1) surface minus air temperature of the endmembers on a clear summer day."""
    return np.asarray([[r["kelvin"]] for r in table("landscape")["endmembers"].values()], dtype=np.float32)


def _cover_on(calendar: dict[int, dict[str, float]], day: float) -> npt.NDArray[np.float64]:
    """(K,) cover fractions on a day of the year, linear between the calendar's days."""
    names = endmember_names()
    days = sorted(calendar)
    values = np.zeros((len(days), len(names)))
    for i, key in enumerate(days):
        for name, fraction in calendar[key].items():
            values[i, names.index(name)] = fraction
    circle = np.array([days[-1] - 365.25, *days, days[0] + 365.25])
    values = np.concatenate([values[-1:], values, values[:1]])
    after = int(np.clip(np.searchsorted(circle, day % 365.25), 1, len(circle) - 1))
    part = (day % 365.25 - circle[after - 1]) / (circle[after] - circle[after - 1])
    return np.asarray(values[after - 1] * (1 - part) + values[after] * part)


@lru_cache(maxsize=1)
def _green_and_dead() -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which endmembers grow, and which lie bare or dry."""
    names = endmember_names()
    green = np.array([n.startswith("gv_") or n == "rape_flower" for n in names])
    return green, np.array([n.startswith(("soil_", "npv_")) for n in names])


def _stressed(cover: npt.NDArray[np.float64], wave: float, sign: int) -> npt.NDArray[np.float64]:
    """Cover where growth is poorer (-1) or better (+1) than the class's calendar says."""
    names = endmember_names()
    green, dead = _green_and_dead()
    out = cover.copy()
    if not green @ cover > 0.02:
        return np.asarray(out * (1.0 + 0.22 * wave * sign))
    if sign < 0:
        lost = out[green] * 0.5 * wave
        out[green] -= lost
        out[names.index("soil_loam")] += 0.5 * lost.sum()
        out[names.index("npv_straw")] += 0.3 * lost.sum()
    else:
        gained = (out[dead] * 0.6 * wave).sum()
        out[dead] *= 1.0 - 0.6 * wave
        out[green] *= 1.0 + gained / max(out[green].sum(), 1e-6)
    return out


@dataclass(frozen=True)
class Cover:
    """Cover fractions of every stratum on one day."""

    low: Array
    """(256, K) where vigour is 0."""
    high: Array
    """(256, K) where vigour is 1."""


@lru_cache(maxsize=64)
def cover_on(day_of_year: float, southern: bool, snow: float = 0.0) -> Cover:
    """Cover of every stratum on a day.

    Args:
        day_of_year: 1..366.
        southern: seasons turned round, and sandier soil.
        snow: 0..1, how much of open ground lies under snow.

    Returns:
        the two ends between which vigour chooses.
    """
    names = endmember_names()
    loam, sand, white = (names.index(n) for n in ("soil_loam", "soil_sand", "snow"))
    low, high = np.zeros((256, len(names))), np.zeros((256, len(names)))
    for i, (name, row) in enumerate(table("landscape")["classes"].items()):
        held = 0.25 if row["worldcover"] == 10 else 0.0 if row["worldcover"] == 80 else 0.55 if name == "road" else 0.9
        for variant in range(VARIANTS):
            phase = (variant - (VARIANTS - 1) / 2) * PHASE_DAYS
            day = day_of_year + phase + (182.6 if southern else 0.0)
            cover = _cover_on(row["calendar"], day)
            for out, sign in ((low, -1), (high, 1)):
                ends = _stressed(cover, float(row["wave"]), sign)
                if southern:
                    ends[sand] += 0.55 * ends[loam]
                    ends[loam] *= 0.45
                lying = held * np.clip(2.2 * snow - (0.0 if sign < 0 else 0.9), 0, 0.97)
                ends = ends * (1 - lying)
                ends[white] += lying
                out[i * VARIANTS + variant] = ends
    return Cover(low.astype(np.float32), high.astype(np.float32))
