"""What a stored number means: `Radiometry` (scale, offset, unit and the reason as one sentence) and its rules.

physical = stored * scale + offset. Every decision is taken per item, from the product's own metadata, and its reason
is kept with the sample.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnsupportedItemError
from schemas.sensor import SensorProfile
from sources.assets import BandInfo
from sources.openers import is_jpeg_2000
from sources.sentinel2_baseline import NEW_FROM, sides_of_04
from sources.sound import as_number

S2_SCALE = 1e-4
"""Quantification value 10000 of Sentinel-2 L1C and L2A."""
S2_OFFSET = -0.1
"""BOA_ADD_OFFSET and RADIO_ADD_OFFSET of -1000 DN, from processing baseline 04.00 on."""
PRE04_NODATA = -32768
"""No-data value of numbers brought to the old baseline: there 0 and negative reflectances are valid."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_SAID = {"true": True, "1": True, "false": False, "0": False}
"""How catalogs write a flag that is no JSON boolean."""
_OFFSET_DN = "s2:radiometric_offset_dn"


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How stored numbers become physical values."""

    scale: float
    """physical = stored * scale + offset."""
    offset: float
    """See `scale`."""
    unit: str
    """reflectance, K, linear, dB, m, class."""
    why: str
    """One short sentence."""


def stated(item_id: str, infos: Sequence[BandInfo], field: Literal["scale", "offset", "unit"]) -> Any:
    """What the item says of all these bands, None where it is silent.

    Raises:
        UnsupportedItemError: bands of one layer differ, which a layer cannot express.
    """
    values = {getattr(info, field) for info in infos} - {None, ""}
    if len(values) > 1:
        raise UnsupportedItemError(f"item {item_id}: bands of one layer state different {field}s: {sorted(values)}")
    return values.pop() if values else None


def from_item_or_document(item_id: str, infos: Sequence[BandInfo], profile: SensorProfile, unit: str) -> Radiometry:
    """Scale and offset as the item states them, else as the product's document does; the reason names which.

    Raises:
        UnsupportedItemError: neither says, the item has an offset of its own and no scale, bands differ, or the item's
            own numbers are in feet or the like where a dataset holds metres.
    """
    found = _as_stated(item_id, infos, profile, unit)
    said, is_scaled = str(stated(item_id, infos, "unit") or ""), profile.scale not in (None, 1.0)
    if is_scaled and np.allclose([found.scale, found.offset], [profile.scale or 1.0, profile.offset or 0.0]):
        return found  # the product's own numbers, in whose meaning its document is believed
    plain = re.sub(r"[\s_-]+", " ", said.strip().lower())
    if unit == "K" and re.fullmatch(_CELSIUS, plain):
        return replace(found, offset=found.offset + ZERO_CELSIUS_K, why=f"{found.why}, in {said}")
    if re.fullmatch(_OTHER_UNITS.get(unit, "(?!)"), plain):
        raise UnsupportedItemError(f"item {item_id}: {profile.kind} in {said!r}, where a dataset holds {unit}")
    return found


ZERO_CELSIUS_K = 273.15
"""By definition."""
_CELSIUS = r"(deg|degrees?)? ?(c|celsius)|[°º] ?c"
_OTHER_UNITS = {
    "m": r"(us |international )?(survey )?(ft|foot|feet)( us)?|us ?ft|ftus|[cdmk]m|(centi|deci|milli|kilo)met(re|er)s?",
    "K": r"(deg|degrees?)? ?(f|fahrenheit)|[°º] ?f",
}
"""Unit of a dataset -> ways in which items state another unit of the same quantity."""


def _as_stated(item_id: str, infos: Sequence[BandInfo], profile: SensorProfile, unit: str) -> Radiometry:
    scale, offset = stated(item_id, infos, "scale"), stated(item_id, infos, "offset")
    is_scaled = profile.scale not in (None, 1.0)
    if is_scaled and says_nothing(infos, scale, offset):
        scale = offset = None
    if scale is None and offset is None:
        if profile.scale is None or profile.offset is None:
            raise UnsupportedItemError(
                f"item {item_id}: no scale and offset stated, and {profile.sensor} has no fixed ones"
            )
        if is_scaled and is_floating(infos):
            raise UnsupportedItemError(f"item {item_id}: {FLOATING}")
        return Radiometry(
            profile.scale,
            profile.offset,
            unit,
            f"scale and offset of the product's document ({profile.sensor})",
        )
    if scale is not None and profile.scale is not None and np.isclose(scale, profile.scale):
        offset = profile.offset if offset is None or _is_celsius(infos, offset, profile) else offset
    if scale is None and is_scaled:
        if is_floating(infos):
            raise UnsupportedItemError(f"item {item_id}: {FLOATING}")
        if not any(np.isclose(offset, known) for known in (0.0, profile.offset or 0.0)):
            raise UnsupportedItemError(f"item {item_id}: an offset of {offset:g} is stated, and no scale")
        scale, offset = profile.scale, profile.offset
    scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
    differs = profile.scale is not None and not np.allclose([scale, offset], [profile.scale, profile.offset or 0.0])
    why = "scale and offset as the item states them"
    if differs:
        why += f"; the product's document has {profile.scale:g} and {profile.offset or 0.0:g}"
    return Radiometry(scale, offset, unit, why)


FLOATING = "floating-point numbers are not the product's digital numbers, and the item states no scale for them"


def says_nothing(infos: Sequence[BandInfo], scale: float | None, offset: float | None) -> bool:
    """Whether a stated scale and offset are those of a file that has none: 1 and 0, of whole numbers without a unit.

    Tools that make items from files write them down for every raster (rio-stac does), whatever the numbers mean.
    """
    is_default = scale == 1.0 and offset in (None, 0.0)
    return is_default and not is_floating(infos) and not any(info.unit for info in infos)


def _is_celsius(infos: Sequence[BandInfo], offset: float, profile: SensorProfile) -> bool:
    """Whether temperatures of the product's scale count from 0 where the product's own do not, and no unit is stated.

    Files of HLS, in hundredths of a degree Celsius, have no offset, for which tools that make items write 0.
    """
    return profile.kind == "thermal" and offset == 0.0 and not is_floating(infos) and not any(i.unit for i in infos)


def is_floating(infos: Sequence[BandInfo]) -> bool:
    """Whether the item says that the numbers are stored as floating point."""
    return any(info.dtype.lower().startswith(("float", "cfloat")) for info in infos)


def decide_sentinel2(item: Mapping[str, Any], infos: Sequence[BandInfo]) -> Radiometry:
    """Scale and offset of a Sentinel-2 item; never decided by date.

    Order of evidence: what the provider measured or did to the pixels (``s2:radiometric_offset_dn``,
    ``earthsearch:boa_offset_applied``), the processing baseline, ``raster:bands``. What contradicts is named.

    Raises:
        UnsupportedItemError: no evidence, or evidence that cannot be decided (an unshifted flag with baseline >= 04.00,
            where shifted and unshifted files are both in circulation; baselines on both sides of 04.00; a scale or
            offset that the product never had).

    Source: Sentinel-2 Products Specification Document, offset of -1000 DN from baseline 04.00 on.
    """
    item_id, properties = item["id"], item["properties"]
    scale, listed = stated(item_id, infos, "scale"), stated(item_id, infos, "offset")
    if is_floating(infos):
        if scale is None:
            raise UnsupportedItemError(f"item {item_id}: {FLOATING}")
        return Radiometry(scale, listed or 0.0, "reflectance", "floating-point numbers: scale and offset as stated")
    if scale == 1.0 and listed in (None, 0.0):  # of whole numbers: what a file without any has
        scale = listed = None
    if scale is not None and not np.isclose(scale, S2_SCALE):
        raise UnsupportedItemError(f"item {item_id}: scale {scale:g} is stated, Sentinel-2 has {S2_SCALE:g}")
    if listed is not None and np.isclose(listed, S2_OFFSET / S2_SCALE):
        listed = S2_OFFSET  # written in digital numbers
    baseline = _decided_baseline(item)
    offset, why = _sentinel2_offset(item_id, properties, baseline, listed, _is_jp2(item, infos))
    if listed is not None and abs(listed - offset) > 1e-9:
        why += f"; raster:bands beside it says {listed:g}"
    return Radiometry(S2_SCALE, offset, "reflectance", why)


def _decided_baseline(item: Mapping[str, Any]) -> str:
    """The baseline that tells about the offset; empty where none does.

    Raises:
        UnsupportedItemError: properties and product names state baselines on both sides of 04.00.
    """
    before, after = sides_of_04(item)
    if before and after:
        raise UnsupportedItemError(
            f"item {item['id']}: baselines {before} and {after} are both stated, and the offset came between them"
        )
    return before or after


def _sentinel2_offset(
    item_id: str, properties: Mapping[str, Any], baseline: str, listed: float | None, is_jp2: bool
) -> tuple[float, str]:
    is_new = baseline >= NEW_FROM
    measured = as_number(properties.get(_OFFSET_DN))
    if measured is not None:
        offset = -abs(measured) * S2_SCALE or 0.0
        return offset, f"offset {offset:g}: {_OFFSET_DN} is {measured:g}"
    flags = {key: _SAID.get(str(properties.get(key)).lower()) for key in _FLAGS}
    flag = next((key for key, is_said in flags.items() if is_said is not None), "")
    if flag and not is_jp2:
        if flags[flag]:
            return (
                0.0,
                f"offset 0: {flag} is true, the files are already shifted (baseline {baseline or 'not stated'})",
            )
        if is_new:
            raise UnsupportedItemError(
                f"item {item_id}: {flag} is false with baseline {baseline}:"
                " metadata cannot tell whether the offset is in the pixels"
            )
        return 0.0, f"offset 0: {flag} is false and baseline {baseline or 'not stated'} knows no offset"
    if baseline:
        offset = S2_OFFSET if is_new else 0.0
        return (
            offset,
            f"offset {offset:g}: processing baseline {baseline} is {'04.00 or later' if is_new else 'before 04.00'}",
        )
    if listed is not None:
        if not any(np.isclose(listed, known) for known in (0.0, S2_OFFSET)):
            raise UnsupportedItemError(
                f"item {item_id}: offset {listed:g} is stated, Sentinel-2 has 0 or {S2_OFFSET:g}"
            )
        return float(listed), f"offset {listed:g}: raster:bands, no baseline and no flag"
    raise UnsupportedItemError(f"item {item_id}: no baseline, no flag and no raster:bands tell the radiometric offset")


def dark_pixel_offset(dn: NDArray[np.integer[Any]], bands: Sequence[str]) -> int | None:
    """Radiometric offset in DN that the pixels themselves show: 0, -1000, or None where they do not tell.

    In L1C the cirrus band B10 decides: it sees almost no ground, so its darkest pixels lie near 0 or near 1000.
    Else the darkest pixels of the land bands do: two bands whose 0.5 % quantile lies between 900 and 1250 speak for
    the offset, any band with one in a hundred pixels below 800 speaks against it (reflectance would be under -0.02).

    Args:
        dn: (bands, y, x) digital numbers as stored; 0 is no data.
        bands: names, B01 ... B12.
    """
    quantiles: dict[str, tuple[float, float]] = {}
    for name, layer in zip(bands, dn, strict=True):
        values = layer[layer > 0]
        if values.size:
            half, one = np.quantile(values, (0.005, 0.01))
            quantiles[name] = (float(half), float(one))
    if "B10" in quantiles:
        dark = quantiles["B10"][0]
        return -1000 if 900 <= dark <= 1300 else 0 if dark < 500 else None
    land = [pair for name, pair in quantiles.items() if name != "B09"]
    if any(one < 800 for _, one in land):
        return 0
    return -1000 if sum(900 <= half <= 1250 for half, _ in land) >= 2 else None


def _is_jp2(item: Mapping[str, Any], infos: Sequence[BandInfo]) -> bool:
    return any(is_jpeg_2000(str(item["assets"][info.asset_key].get("href", ""))) for info in infos)
