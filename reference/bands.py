"""What the model is told about a modality group: numbers for each band, its GSD, and how its values are normalised."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import BandTable, LayerTable
from schemas.errors import DatasetError
from schemas.sample import LayerArrays
from shards.samples import to_physical

POLARISATIONS = ("VV", "VH", "HH", "HV")
WAVES = 6
"""Octaves of sine and cosine by which a wavelength is told."""
NAMED = 8
"""Bands without wavelength or polarisation (elevation, angles) are told apart by a hash of their name."""
BAND_NUMBERS = 3 + 2 * 2 * WAVES + len(POLARISATIONS) + NAMED
"""Numbers that describe a band: kind, centre, width, polarisation, name."""
DB_MEAN, DB_STD = -14.0, 6.0
"""Backscatter in decibel over land, C band, both polarisations together: fixed, because the manifest's statistics of
a layer in linear power say little of its decibels."""
CLIP = 8.0
"""Deviations beyond which a value is cut: one bright roof or a sun glint must not drown a chip."""


@dataclass(frozen=True)
class GroupTable:
    """One modality group for the model."""

    name: str
    """``s2_10m``."""
    modality: str
    """``s2``."""
    gsd_m: float
    """Native pixel."""
    step_m: float
    """Pixel of the prepared arrays, which begin where the chip does: the native one where its lattice does so too, else
    half of it, each native pixel shown twice. A lattice half a pixel off (30 m in chips of 960 m) then fits exactly."""
    numbers: NDArray[np.float32]
    """(C, BAND_NUMBERS) what each band is."""
    mean: NDArray[np.float32]
    """(C,) subtracted."""
    std: NDArray[np.float32]
    """(C,) divided by; infinite where a band has no clear pixel."""
    to_db: bool = False
    """Whether stored power becomes decibel first."""
    nodata: float | None = None
    """Stored value of no data."""

    def as_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {
            "name": self.name,
            "modality": self.modality,
            "gsd_m": self.gsd_m,
            "step_m": self.step_m,
            "numbers": self.numbers.tolist(),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "to_db": self.to_db,
            "nodata": self.nodata,
        }


def group_table(layer: LayerTable, aligned: bool = True) -> GroupTable:
    """The table of a group, from ``dataset.json``.

    Args:
        layer: of the manifest.
        aligned: whether its lattice begins where chips do.

    Raises:
        DatasetError: an optical group without mean and deviation of any band.
    """
    radar = any(band.polarisation for band in layer.bands)
    if not radar and all(band.mean is None for band in layer.bands):
        raise DatasetError(f"no mean and deviation for {layer.group}", mend="it has no clear pixel in train")
    if radar:
        mean, std = [DB_MEAN] * len(layer.bands), [DB_STD] * len(layer.bands)
    else:
        mean = [band.mean or 0.0 for band in layer.bands]
        std = [band.std or math.inf for band in layer.bands]
    return GroupTable(
        name=layer.group,
        modality=layer.modality,
        gsd_m=layer.gsd_m,
        step_m=layer.gsd_m if aligned else layer.gsd_m / 2.0,
        numbers=apart(layer.bands),
        mean=np.array(mean, np.float32),
        std=np.array(std, np.float32),
        to_db=radar and "db" not in layer.unit.lower(),
        nodata=layer.nodata,
    )


def band_numbers(band: BandTable) -> NDArray[np.float32]:
    """(BAND_NUMBERS,) of one band: neighbours in the spectrum have neighbouring numbers.

    >>> red, edge, far = (band_numbers(BandTable(name="x", centre_nm=c, fwhm_nm=30)) for c in (665, 705, 2200))
    >>> bool(np.linalg.norm(red - edge) < np.linalg.norm(red - far))
    True
    """
    kind, place = np.zeros(3), np.zeros(4 * WAVES)
    polarisation, named = np.zeros(len(POLARISATIONS)), np.zeros(NAMED)
    if band.centre_nm is not None:
        kind[0] = 1.0
        fwhm = band.fwhm_nm or 0.05 * band.centre_nm
        place = np.concatenate([waves(math.log(band.centre_nm / 300.0)), waves(math.log(fwhm) / 4.0)])
    elif band.polarisation.upper() in POLARISATIONS:
        kind[1] = 1.0
        polarisation[POLARISATIONS.index(band.polarisation.upper())] = 1.0
    else:
        kind[2] = 1.0
        named[int(hashlib.sha256(band.name.encode()).hexdigest(), 16) % NAMED] = 1.0
    return np.concatenate([kind, place, polarisation, named]).astype(np.float32)


def apart(bands: Sequence[BandTable]) -> NDArray[np.float32]:
    """(C, BAND_NUMBERS) of the bands of a group. Those of one wavelength, polarisation or hash get further numbers from
    their names: bands of the same numbers have the same weights, and the model would see nothing of them but their sum.
    """
    alike = np.stack([band_numbers(band) for band in bands])
    numbers = alike.copy()
    for i, own in enumerate(alike):
        if (alike == own).all(1).sum() > 1:
            digest = hashlib.sha256(bands[i].name.encode()).digest()
            numbers[i, -NAMED:] = np.frombuffer(digest[:NAMED], np.uint8) / 127.5 - 1.0
    return numbers


def waves(value: float) -> NDArray[np.float64]:
    """(2 * WAVES,) sine and cosine of a number at doubling frequencies."""
    angles = value * np.pi / 4.0 * 2.0 ** np.arange(WAVES)
    return np.concatenate([np.sin(angles), np.cos(angles)])


def normalised(table: GroupTable, layer: LayerArrays) -> NDArray[np.float32]:
    """(T, C, h, w) deviations from the mean, cut at `CLIP`; 0 where there is no data."""
    values = to_physical(layer, table.nodata)
    if table.to_db:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.float32(10.0) * np.log10(values)
    values -= table.mean[:, None, None]
    values /= table.std[:, None, None]
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=-CLIP if table.to_db else 0.0)
    return np.clip(values, -CLIP, CLIP, out=values)
