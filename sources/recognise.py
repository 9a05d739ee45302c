"""Which sensor an item is of: `recognise`, by what the item itself says and never by which catalog it came from.

Each rule looks at one family of products and answers with a sensor, a refusal with its reason, or None where the item
is not its family's. The first answer counts. Products derived from a sensor (land cover, mosaics) come before the
sensor whose platform they name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sources.clues import Clues


@dataclass(frozen=True, slots=True)
class Recognised:
    """The answer of a rule."""

    sensor: str
    """Sensor profile; empty where none fits."""
    why: str
    """The evidence, as one sentence."""
    is_refused: bool = False
    """True where the product is known and cannot be used."""


def recognise(clues: Clues) -> Recognised:
    """The sensor that an item is of, or why it is refused."""
    for rule in RULES:
        if answer := rule(clues):
            return answer
    said = ", ".join(part for part in (clues.collection, clues.platform, *clues.instruments) if part) or "nothing"
    return Recognised("", f"no sensor profile fits: the item says {said} and has {_some(clues.keys)}", True)


def hls(clues: Clues) -> Recognised | None:
    """Harmonized Landsat Sentinel-2, as its product names say."""
    if clues.says(r"HLS-?VI"):
        return _refused("an HLS vegetation index, not reflectance")
    if clues.says(r"(^|[^A-Z])HLS[._-]?2?[._-]?[LS]30"):
        product = "L30" if clues.says(r"HLS[._-]?2?[._-]?L30") else "S30"
        return Recognised("hls", f"the product is named HLS {product}")
    return None


def coarse(clues: Clues) -> Recognised | None:
    """Sensors of the kilometre class and others that are named here only to be refused by their name."""
    unread = {
        "modis": r"(^|[^A-Z])(MODIS|M[OYC]D\d\d)",
        "viirs": r"(^|[^A-Z])(VIIRS|V(NP|J1)\d\d)",
        "sentinel-3": r"(^|[^A-Z0-9])S3[AB]_",
        "sentinel-5p": r"(^|[^A-Z0-9])S5P_",
        "aster": r"(^|[^A-Z])(ASTER|AST_?L?1)",
        "palsar": r"PALSAR",
    }
    stated = (clues.platform, clues.constellation, *clues.instruments)
    for name, pattern in unread.items():
        if clues.says(pattern) or any(word == name or word.startswith(f"{name}-") for word in stated):
            return _refused(f"{name.upper()} has no sensor profile")
    if {"terra", "aqua"} & set(stated):
        return _refused("MODIS has no sensor profile")
    return None


def mosaics(clues: Clues) -> Recognised | None:
    """Composites of many acquisitions: they have no acquisition whose radiometry or time could be decided."""
    is_mosaic = clues.says(r"S[12](SAR|MSI)?_L3_|L3__MC|GLOBAL-MOSAIC|L3_MOSAIC") or clues.is_level("L3", "S2MSI3A")
    # An RTC tile that its publisher calls level 3 is one acquisition.
    return (
        _refused("a mosaic of many acquisitions, not an acquisition") if is_mosaic and not clues.says("RTC") else None
    )


def elevation(clues: Clues) -> Recognised | None:
    """Elevation models."""
    pattern = (
        r"COP(ERNICUS)?[-_]?D[ES]M|NASADEM|SRTM|AW3D|ALOS[-_]DEM|ARCTICDEM|FABDEM|HRDEM|MRDEM|3DEP-SEAMLESS|"
        r"(^|[^A-Z])(D[ETS]M|ELEVATION)([^A-Z]|$)"
    )
    named = (clues.collection, *clues.names[:2])
    if _any(r"(^|[^A-Z])HAND([^A-Z]|$)", named):
        return _refused("height above the nearest drainage, not elevation")
    if _any(pattern, named) and not clues.says(r"(^|[^A-Z0-9])(S[12][A-D]_|L[COTEM]0\d_)") and not _is_lidar(clues):
        return Recognised("dem", "named as an elevation model")
    if clues.keys and set(clues.keys) <= {"elevation", "dem", "dsm", "dtm"}:
        return Recognised("dem", f"its pixels are {_some(clues.keys)}")
    return None


def land_cover(clues: Clues) -> Recognised | None:
    """Class rasters; their platforms are those of the imagery that they were made from."""
    pattern = (
        r"WORLD-?COVER|(^|[^A-Z])LULC|LAND[-_ ]?(COVER|USE)|DYNAMIC[-_ ]?WORLD|(^|[^A-Z])(NLCD|CDL|CLC|LCMAP|DLCD|"
        r"NALCMS|C-?CAP|LC-LABEL)|CORINE|CCI-LC|GLULC"
    )
    if _any(pattern, (clues.collection, *clues.names[:2])):
        return Recognised("landcover", "named as a land-cover product")
    if clues.keys and set(clues.keys) <= {"lulc", "landcover", "land_cover", "classification"}:
        return Recognised("landcover", f"its pixels are {_some(clues.keys)}")
    return None


def enmap(clues: Clues) -> Recognised | None:
    """EnMAP: only L2A is surface reflectance on a map grid."""
    if clues.platform != "enmap" and not clues.says(r"(^|[^A-Z])ENMAP"):
        return None
    if clues.says(r"ENMAP\d\d-_*L2A") or clues.is_level("L2A", "2A") or "l2a" in clues.collection:
        return Recognised("enmap-l2a", "EnMAP, level L2A")
    return _refused(f"EnMAP of level {' '.join(clues.levels) or 'not stated'}: only L2A is surface reflectance")


def landsat(clues: Clues) -> Recognised | None:
    """Landsat: the collection decides about quality bits, the level about what the numbers mean."""
    is_named = clues.says(r"(^|[^A-Z0-9])L[COTEM](0\d_|\d{14})")
    if not (is_named or clues.platform.startswith("landsat") or "landsat" in clues.collection):
        return None
    if clues.says(r"(^|[^A-Z])NBART?_|GA_LS"):
        return _refused("Landsat reflectance of another producer (NBAR), not the USGS product")
    if "mss" in clues.instruments or clues.says(r"(^|[^A-Z0-9])LM0?\d"):
        return _refused("Landsat MSS: Level-1 digital numbers, no surface reflectance is made of them")
    number, level = _landsat_collection(clues), _landsat_level(clues)
    if level == "1":
        sensor = "landsat-c1" if number == "01" else ""
        return Recognised(
            sensor, f"Landsat Collection {number or 'not stated'} Level-1: top of atmosphere, not surface", True
        )
    if level == "3":
        return _refused("a Landsat Level-3 science product, not reflectance")
    if not number:
        return _refused("Landsat of a collection that is not stated: its quality bits cannot be chosen")
    if number == "01":
        return Recognised("landsat-c1", "Landsat Collection 1, surface reflectance")
    has_temperature = clues.says(r"(^|_)ST_B\d|(^|_)L2ST(_|$)|C2L?2?-ST$") or any(
        k.startswith("lwir") for k in clues.keys
    )
    has_reflectance = clues.says(r"(^|_)SR_B\d|_SR$|-SR$") or {"red", "nir08"} & set(clues.keys)
    if has_temperature and not has_reflectance:
        return Recognised("landsat-c2-l2-st", "Landsat Collection 2 Level-2, surface temperature alone")
    return Recognised("landsat-c2-l2-sr", "Landsat Collection 2 Level-2, surface reflectance")


def sentinel2(clues: Clues) -> Recognised | None:
    """Sentinel-2 by level."""
    is_named = clues.says(r"(^|[^A-Z0-9])S2[A-D]_")
    stated = (clues.platform, clues.constellation)
    if not (is_named or any(word.startswith("sentinel-2") for word in stated) or "sentinel-2" in clues.collection):
        return None
    if clues.says(r"(^|[^A-Z])NBART?_|GA_S2|SENTINEL2[ABC]_\d{8}-\d{6}-\d{3}_L2A"):
        return _refused("Sentinel-2 reflectance of another producer, not the product of ESA")
    if clues.is_level("S2MSI1C", "L1C") or clues.says(r"MSIL1C|_L1C(_|$|\.)|-L1C(-|$)"):
        return Recognised("sentinel-2-l1c", "Sentinel-2, level L1C")
    if clues.is_level("S2MSI2A", "L2A", "S2MSI2AP") or clues.says(r"MSIL2A|_L2A(_|$|\.)|-L2A(-|$)|S2-L2A"):
        return Recognised("sentinel-2-l2a", "Sentinel-2, level L2A")
    if {"scl", "scl_20m"} & set(clues.keys):
        return Recognised("sentinel-2-l2a", "Sentinel-2 with a scene classification: L2A")
    if clues.collection == "bigearthnet-s2":
        return Recognised("sentinel-2-l2a", "Sentinel-2, level L2A")
    return _refused("Sentinel-2 of a level that is not stated")


def sentinel1(clues: Clues) -> Recognised | None:
    """Sentinel-1 by product type."""
    is_named = clues.says(r"(^|[^A-Z0-9])S1[A-D]?_(IW|EW|SM|WV|S\d|20\d\d)") or clues.says(r"S1RTC_|RTC-S1")
    stated = (clues.platform, clues.constellation)
    if not (is_named or any(word.startswith("sentinel-1") for word in stated) or "sentinel-1" in clues.collection):
        return None
    has_gamma = any(key.startswith("gamma0") for key in clues.keys)
    if has_gamma or clues.is_level("RTC") or clues.says(r"(^|[^A-Z])RTC([^A-Z]|$)|-RTC|S1RTC"):
        return Recognised("sentinel-1-rtc", "Sentinel-1, radiometrically terrain-corrected gamma0")
    for other, name in (("SL", "SLC"), ("OC", "OCN"), ("RA", "RAW")):
        if clues.is_level(name) or clues.says(rf"(^|_)S1[A-D]_[A-Z0-9]{{2}}_{other}"):
            return _refused(f"Sentinel-1 {name}: no backscatter on a grid")
    if clues.is_level("GRD", "GRDH", "GRDM") or clues.says(r"_GRD[FHM]?_|-GRD(-|$)|GRD-COG"):
        return Recognised("sentinel-1-grd", "Sentinel-1, ground range detected")
    return _refused("Sentinel-1 of a product type that is not stated")


RULES: tuple[Callable[[Clues], Recognised | None], ...] = (
    hls,
    coarse,
    mosaics,
    elevation,
    land_cover,
    enmap,
    landsat,
    sentinel2,
    sentinel1,
)
"""In this order; the first answer counts."""


def _landsat_collection(clues: Clues) -> str:
    for number in ("01", "02"):
        if clues.says(rf"L[COTEM]0\d_.*_{number}_(T1|T2|RT|A1|A2|SR|ST|TOA|BT)(?![0-9A-Z])"):
            return number
    if clues.collection_number:
        return clues.collection_number
    if clues.says(r"LANDSAT[-_]?(\d[-_])?C2|COLLECTION[-_]?0?2") or "qa_pixel" in clues.keys:
        return "02"
    if clues.says(r"LANDSAT[-_]?(\d[-_])?(L\d[-_])?C1|COLLECTION[-_]?0?1") or "pixel_qa" in clues.keys:
        return "01"
    return ""


def _landsat_level(clues: Clues) -> str:
    """``1``, ``2``, ``3``, or empty where nothing says."""
    if clues.says(r"L[COTEM]0\d_L2S[PRT]|(^|_)S[RT]_B\d|(^|_)SR_BAND\d|(^|_)L2ST_") or clues.is_level("L2SP", "L2SR"):
        return "2"
    if clues.says(r"L[COTEM]0\d_L1|(^|[^A-Z0-9])L[COTEM]\d{14}.*_B\d|C2L1|-L1(-|$)|_(TA|BT)_B\d"):
        return "1"
    if any(level.startswith(("L1T", "L1G", "L1")) for level in clues.levels):
        return "1"
    if clues.says(r"C2L3|_(DSWE|BA|FSC|BC|INWM)[._]"):
        return "3"
    return "2" if clues.says(r"L2|(^|[^A-Z])SR([^A-Z]|$)") else ""


def _is_lidar(clues: Clues) -> bool:
    return clues.says(r"LIDAR") and not clues.says(r"LIDAR-?(D[TS]M)")


def _any(pattern: str, names: tuple[str, ...]) -> bool:
    return any(re.search(pattern, name, re.IGNORECASE) for name in names if name)


def _refused(why: str) -> Recognised:
    return Recognised("", why, True)


def _some(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "") if keys else "no raster assets"
