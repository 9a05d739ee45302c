"""Which chips are rejected for what their kept dates hold: `screen`, and fractions of a mask.

All fractions are of the chip, not of the scene: pixels outside the acquisition count in the denominator.
The reason of a rejection is ``<modality>.<key of the recipe>``, for example ``s2.max_nodata_fraction``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from schemas.chip import Outcome, Valid
from schemas.recipe import Screen

ELEVATION_UNIT = "m"


def is_clear(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> NDArray[np.bool_]:
    """Where the ground is seen, same shape as ``valid``: clear land, clear water and, if asked, snow."""
    codes = (Valid.CLEAR, Valid.WATER, Valid.SNOW) if snow_is_clear else (Valid.CLEAR, Valid.WATER)
    return np.isin(valid, codes)


def clear_fraction(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> float:
    """Share of pixels (0..1) that show clear ground; 0 for an empty mask."""
    return _share(is_clear(valid, snow_is_clear))


def nodata_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that hold no data; 0 for an empty mask."""
    return _share(valid == Valid.NODATA)


def saturated_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that are saturated or defective; 0 for an empty mask."""
    return _share(valid == Valid.DEFECTIVE)


def is_constant(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> bool:
    """Whether a date shows one single value per band over every pixel that holds data.

    A detector that stands still, a tile filled by a default: nothing can be learnt from it. One band that is
    constant among others that are not is left alone (hyperspectral bands over deep water are all zero).

    Args:
        data: (band, y, x) as stored.
        valid: (y, x) validity mask.

    Returns:
        False where fewer than two pixels hold data: that is the business of the no-data rule.
    """
    seen = data[:, valid != Valid.NODATA]
    if seen.shape[1] < 2 or seen.shape[0] == 0:
        return False
    return bool(np.all(seen == seen[:, :1]))


def screen(chip_id: str, layers: Mapping[str, xr.Dataset], limits: Screen) -> Outcome | None:
    """The rejection of a chip whose kept dates break a rule of the recipe, or None.

    Args:
        chip_id: stands in the outcome.
        layers: group name -> layer (`schemas.chip.check_layer`).
        limits: the recipe's rules.

    Returns:
        The first broken rule, in the order missing, saturated, constant, at the layer and date where it is
        broken worst. Elevation may be constant: the sea is.
    """
    shares: tuple[tuple[str, Callable[[NDArray[np.uint8]], float], float], ...] = (
        ("max_nodata_fraction", nodata_fraction, limits.max_nodata_fraction),
        ("max_saturated_fraction", saturated_fraction, limits.max_saturated_fraction),
    )
    for rule, measure, limit in shares:
        found = [(measure(valid), modality) for modality, _, valid in _dates(layers)]
        worst, modality = max(found, key=lambda pair: pair[0], default=(0.0, ""))
        if worst > limit:
            return Outcome(chip_id, "rejected", f"{modality}.{rule}", worst, limit)
    if limits.reject_constant:
        for modality, data, valid in _dates(layers, skip_unit=ELEVATION_UNIT):
            if is_constant(data, valid):
                return Outcome(chip_id, "rejected", f"{modality}.reject_constant", 1.0, 0.0)
    return None


def _dates(
    layers: Mapping[str, xr.Dataset], skip_unit: str = ""
) -> Iterator[tuple[str, NDArray[np.generic], NDArray[np.uint8]]]:
    """Modality, (band, y, x) data and (y, x) mask of every date of every layer, by group name."""
    for group in sorted(layers):
        layer = layers[group]
        if skip_unit and layer.attrs["unit"] == skip_unit:
            continue
        data, valid = layer["data"].values, layer["valid"].values
        for index in range(valid.shape[0]):
            yield layer.attrs["modality"], data[index], valid[index]


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask)) / mask.size if mask.size else 0.0
