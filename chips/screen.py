"""Which chips are rejected for what their kept dates hold: `screen`, and fractions of a mask.

All fractions are of the chip, not of the scene: pixels outside the acquisition count in the denominator.
The reason of a rejection is ``<modality>.<key of the recipe>``, for example ``s2.max_nodata_fraction``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.defects import constant_band_fraction, equal_fraction, is_constant, repeated_line_fraction, striping
from schemas.chip import Outcome, Valid
from schemas.recipe import Screen


def _table(*codes: Valid) -> NDArray[np.bool_]:
    """(256,) whether a code is among them: a look-up is ten times as fast as a comparison with each."""
    table = np.zeros(256, np.bool_)
    table[list(codes)] = True
    return table


_CLEAR = (_table(Valid.CLEAR, Valid.WATER), _table(Valid.CLEAR, Valid.WATER, Valid.SNOW))
"""By whether snow is clear."""
SNOW_IS_CLEAR = "snow_is_clear"
"""Attribute of a layer whose modality takes snow for clear ground (``select.snow_is_clear``)."""


def is_clear(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> NDArray[np.bool_]:
    """Where the ground is seen, same shape as ``valid``: clear land, clear water and, if asked, snow."""
    table = _CLEAR[int(snow_is_clear)]
    if valid.size and (first := valid.min()) == valid.max():  # most chips of a clear day
        return np.full(valid.shape, table[first])
    return table.take(valid)


def clear_of(layer: xr.Dataset) -> NDArray[np.bool_]:
    """(time, y, x) `is_clear` of a layer, as its modality means it (`SNOW_IS_CLEAR`)."""
    return is_clear(layer.variables["valid"].values, bool(layer.attrs.get(SNOW_IS_CLEAR)))


def clear_fraction(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> float:
    """Share of pixels (0..1) that show clear ground; 0 for an empty mask."""
    return _share(is_clear(valid, snow_is_clear))


def nodata_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that hold no data; 0 for an empty mask."""
    return (valid.size - np.count_nonzero(valid)) / valid.size if valid.size else 0.0


def saturated_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that are saturated or defective; 0 for an empty mask."""
    return _share(valid == int(Valid.DEFECTIVE))


def screen(chip_id: str, layers: Mapping[str, xr.Dataset], limits: Screen) -> Outcome | None:
    """The rejection of a chip whose kept dates break a rule of the recipe, or None.

    Args:
        chip_id: stands in the outcome.
        layers: group name -> layer (`schemas.chip.check_layer`).
        limits: the recipe's rules.

    Returns:
        The first broken rule of `RULES` at the layer and date where it is broken worst, with the value measured there
        and the limit. Rules that can reject nothing are not measured.
    """
    for name, rule in RULES.items():
        limit = rule.limit(limits)
        if limit is None:
            continue
        found = [value for group in sorted(layers) for value in rule.values(layers[group])]
        worst, modality = max(found, key=lambda pair: rule.sign * pair[0], default=(limit, ""))
        if rule.sign * worst > rule.sign * limit:
            return Outcome(chip_id, "rejected", f"{modality}.{name}", worst, limit)
    return None


@dataclass(frozen=True)
class Rule:
    """One key of the recipe's ``screen``."""

    limit: Callable[[Screen], float | None]
    """The recipe's limit; None where it can reject nothing."""
    measure: Callable[[xr.Dataset], Iterable[float]]
    """Values of a layer, one per date or pair of dates."""
    sign: int = 1
    """1: more is worse; -1: less is."""
    skip: tuple[str, ...] = ()
    """Kinds of sensors that the rule does not mean."""

    def values(self, layer: xr.Dataset) -> list[tuple[float, str]]:
        """(value, modality) of a layer."""
        if layer.attrs.get("kind", "optical") in self.skip:
            return []
        is_date = ~np.isnat(layer.variables["time"].values)  # an empty step of a series is none
        dates = layer if is_date.all() else layer.isel(time=np.flatnonzero(is_date))
        return [(float(value), str(layer.attrs["modality"])) for value in self.measure(dates)]


def _below(limit: float, nothing: float) -> float | None:
    return None if limit == nothing else limit


def _of_mask(measure: Callable[[NDArray[np.uint8]], float]) -> Callable[[xr.Dataset], Iterable[float]]:
    return lambda layer: (measure(valid) for valid in layer.variables["valid"].values)


def _of_pixels(
    measure: Callable[[NDArray[Any], NDArray[np.uint8]], float],
) -> Callable[[xr.Dataset], Iterable[float]]:
    return lambda layer: (
        measure(data, valid)
        for data, valid in zip(layer.variables["data"].values, layer.variables["valid"].values, strict=True)
    )


def _clear_fractions(layer: xr.Dataset) -> Iterable[float]:
    return (_share(clear) for clear in clear_of(layer))


def _equal_fractions(layer: xr.Dataset) -> Iterable[float]:
    data, valid = layer.variables["data"].values, layer.variables["valid"].values
    return (equal_fraction(data[a], data[b], valid[a], valid[b]) for a, b in combinations(range(len(data)), 2))


def _gaps_days(layer: xr.Dataset) -> Iterable[float]:
    return [float(gap / np.timedelta64(1, "s")) / 86_400 for gap in np.diff(layer.variables["time"].values)]


_MAPS = ("elevation", "classes")
"""Kinds of sensors that draw a map and take no picture: the sea is level, a wood is one class, two years are alike."""

RULES: dict[str, Rule] = {
    "max_nodata_fraction": Rule(lambda s: s.max_nodata_fraction, _of_mask(nodata_fraction)),
    "max_saturated_fraction": Rule(lambda s: s.max_saturated_fraction, _of_mask(saturated_fraction)),
    "reject_constant": Rule(
        lambda s: 0.0 if s.reject_constant else None,
        _of_pixels(is_constant),
        skip=_MAPS,
    ),
    "min_clear_fraction": Rule(lambda s: _below(s.min_clear_fraction, 0.0), _clear_fractions, -1, skip=(*_MAPS, "sar")),
    "max_gap_days": Rule(lambda s: s.max_gap_days, _gaps_days),
    "max_constant_band_fraction": Rule(
        lambda s: _below(s.max_constant_band_fraction, 1.0), _of_pixels(constant_band_fraction), skip=_MAPS
    ),
    "max_repeated_line_fraction": Rule(
        lambda s: _below(s.max_repeated_line_fraction, 1.0), _of_pixels(repeated_line_fraction), skip=_MAPS
    ),
    "max_striping": Rule(lambda s: s.max_striping, _of_pixels(striping), skip=_MAPS),
    "max_equal_fraction": Rule(lambda s: _below(s.max_equal_fraction, 1.0), _equal_fractions, skip=_MAPS),
}
"""Key of the recipe -> how it is measured, in the order in which they are looked at: the cheap ones first."""


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask)) / mask.size if mask.size else 0.0
