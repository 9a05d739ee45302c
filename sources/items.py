"""Plain STAC items made uniform: `normalise_item`, their times and footprints, and a `content_hash`.

Catalogs disagree on small things: numbers as strings, ``proj:code`` or ``proj:epsg``, the projection on the item or on
its assets, relative addresses. What follows reads one form. Nothing here decides about pixels.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry import shape

from schemas.errors import UnsupportedItemError
from sources.epsg import epsg_of
from sources.footprint import box_parts, unfolded
from sources.older_stac import modernise
from sources.sound import as_number, make_sound

Item = dict[str, Any]
"""A STAC item as plain JSON."""

NUMERIC_PROPERTIES = frozenset(
    {
        "eo:cloud_cover", "eo:snow_cover", "gsd", "proj:epsg", "sat:absolute_orbit", "sat:relative_orbit",
        "view:azimuth", "view:incidence_angle", "view:off_nadir", "view:sun_azimuth", "view:sun_elevation",
        "enmap:acrossOffNadirAngle", "enmap:alongOffNadirAngle", "s2:mean_solar_azimuth", "s2:mean_solar_zenith",
    }
)  # fmt: skip
"""Properties that are numbers, whatever a catalog writes (WRS rows and ids keep their leading zeros)."""

PROJECTION_KEYS = ("proj:epsg", "proj:code", "proj:transform", "proj:shape")
COMMON_KEYS = frozenset({"raster:scale", "raster:offset", "nodata", "data_type", "unit"})
"""Fields that hold for every asset where they stand with the item (STAC 1.1)."""
HOUSEKEEPING_KEYS = frozenset({"created", "updated", "published"})
"""Stamps of the catalog: they say nothing about the content."""

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})?")
_EPSG = re.compile(r"EPSG(?::[\d.]*)?[:/](\d{4,5})$", re.IGNORECASE)
"""``EPSG:32632``, and as a URN or an address."""
_PRIVATE_MARK = "terraweft:"
DELIVERED_KEY = f"{_PRIVATE_MARK}delivered"
"""Key of a normalised item under which the item stands as the catalog gave it."""


def parse_time(text: str) -> datetime:
    """UTC time of an RFC 3339 string; a string without a zone is UTC.

    >>> parse_time("2024-04-19 04:58:14.219437+00:00").isoformat()
    '2024-04-19T04:58:14.219437+00:00'
    """
    moment = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def item_times(item: Mapping[str, Any]) -> tuple[datetime, datetime | None]:
    """Acquisition time (or the begin of its range) and the end of the range.

    Raises:
        UnsupportedItemError: the item carries no time at all.
    """
    properties = item["properties"]
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    moment = properties.get("datetime") or start or end
    if not moment:
        raise UnsupportedItemError(f"item {item['id']}: no datetime and no start_datetime")
    try:
        return parse_time(moment), parse_time(end) if end else None
    except (ValueError, OverflowError) as error:
        raise UnsupportedItemError(f"item {item['id']}: {moment!r} or {end!r} is no time") from error


def begin_of(item: Mapping[str, Any]) -> datetime | None:
    """Begin of the range that an item states beside a moment of its own; None where it states none that is a time."""
    try:
        return parse_time(item["properties"]["start_datetime"])
    except (KeyError, AttributeError, ValueError, OverflowError):
        return None


def item_geometry(item: Mapping[str, Any]) -> Any:
    """The footprint in EPSG:4326 as a shapely geometry within [-180, 180]; the bounding box where there is none.

    Raises:
        UnsupportedItemError: neither is there, or the geometry cannot be read.
    """
    geometry = item.get("geometry")
    if geometry:
        try:
            footprint = unfolded(shape(_without_empty_parts(geometry)))
            footprint = footprint if footprint.is_valid else shapely.make_valid(footprint)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as error:
            raise UnsupportedItemError(f"item {item['id']}: geometry cannot be read") from error
        if not footprint.is_empty:
            return footprint
    bbox = [as_number(value) for value in item["bbox"]] if isinstance(item.get("bbox"), (list, tuple)) else []
    numbers = [value for value in bbox if value is not None]
    if len(numbers) not in (4, 6) or len(numbers) < len(bbox):
        raise UnsupportedItemError(f"item {item['id']}: no geometry and no bbox")
    west, south, east, north = numbers if len(numbers) == 4 else [*numbers[:2], *numbers[3:5]]
    return box_parts(west, south, east, north)


def _without_empty_parts(geometry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The geometry less parts without a ring: real items cut at the date line carry such."""
    if geometry.get("type") != "MultiPolygon":
        return geometry
    return {**geometry, "coordinates": [part for part in geometry["coordinates"] if part]}


def normalise_item(item: Mapping[str, Any], base_href: str = "") -> Item:
    """A copy of the item in one form.

    Known numbers are numbers, `sat:orbit_state` is lower case, every asset carries its own ``proj:epsg`` (int),
    ``proj:transform`` (six coefficients) and ``proj:shape`` as far as asset or item state them (the asset wins:
    stale transforms stand on items), and addresses are absolute.

    Args:
        item: as the catalog gave it.
        base_href: address of the item's own document, against which relative addresses are resolved.
    """
    clean: Item = copy.deepcopy(dict(item))
    make_sound(clean)
    modernise(clean)
    properties = clean["properties"]
    for key in NUMERIC_PROPERTIES & properties.keys():
        properties[key] = _number(properties[key])
    if isinstance(properties.get("sat:orbit_state"), str):
        properties["sat:orbit_state"] = properties["sat:orbit_state"].lower()
    _unify_projection(properties)
    for asset in clean["assets"].values():
        _unify_projection(asset)
        for key in PROJECTION_KEYS:
            if asset.get(key) is None and properties.get(key) is not None:
                asset[key] = properties[key]
        for key in COMMON_KEYS & properties.keys():
            asset.setdefault(key, properties[key])
        asset["href"] = absolute_href(str(asset.get("href", "")), base_href)
    return clean


def frozen_item(item: Mapping[str, Any], unsign: Callable[[str], str]) -> Item:
    """The item as its catalog gave it, every field, but with absolute and unsigned addresses: what a run freezes.

    Args:
        item: as a catalog client gave it, with `DELIVERED_KEY`; without, the item itself is taken.
        unsign: takes signatures and user names off an address.
    """
    delivered = item.get(DELIVERED_KEY, item)
    frozen: Item = {key: value for key, value in delivered.items() if key != DELIVERED_KEY}
    if isinstance(delivered.get("assets"), Mapping):
        frozen["assets"] = {
            key: _with_href(asset, unsign(item["assets"][key]["href"]))
            for key, asset in delivered["assets"].items()
            if key in item["assets"]
        }
    if isinstance(delivered.get("links"), list):
        links = [link for link in delivered["links"] if isinstance(link, Mapping)]
        frozen["links"] = [_with_href(link, unsign(str(link.get("href", "")))) for link in links]
    return frozen


def _with_href(part: Mapping[str, Any], href: str) -> dict[str, Any]:
    return {**part, "href": href} if "href" in part else dict(part)


def matches(item: Mapping[str, Any], where: Mapping[str, str | int | float | bool]) -> bool:
    """Whether all properties are equal to what is wanted; text without regard to case, a missing one never is."""
    properties = item["properties"]
    return all(key in properties and is_same_value(properties[key], wanted) for key, wanted in where.items())


def is_same_value(found: Any, wanted: str | int | float | bool) -> bool:
    """Whether a property is what is wanted: text without regard to case, numbers also where written as text."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.casefold() == wanted.casefold()
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    return bool(_number(found) == _number(wanted))


def absolute_href(href: str, base_href: str) -> str:
    """The address itself if it is absolute, else resolved against the address of the document it stands in."""
    if not href or not base_href or urlsplit(href).scheme or href.startswith("/"):
        if href.startswith("/") and not href.startswith("//") and urlsplit(base_href).scheme in ("http", "https"):
            return urljoin(base_href, href)
        return href
    if urlsplit(base_href).scheme in ("http", "https"):
        return urljoin(base_href, href)
    folder = base_href.rsplit("/", 1)[0] if "/" in base_href else "."
    parts: list[str] = []
    for part in f"{folder}/{href}".split("/"):
        if part == ".." and parts and parts[-1] not in ("", ".."):
            parts.pop()
        elif part != "." or not parts:
            parts.append(part)
    return "/".join(parts)


def content_hash(item: Mapping[str, Any]) -> str:
    """sha256 of the item less what changes without its content: links, stamps of the catalog, addresses' places.

    Of an address only the last two parts are kept (folder and file), so a catalog moved to another host, port or
    folder gives the same hash; a changed checksum, size, band table or property gives another. Whole numbers,
    absent and null values, and the ways to write a time are told apart by no server's habits.
    """
    kept = {key: item.get(key) for key in ("id", "collection", "bbox", "geometry", "properties", "assets")}
    text = json.dumps(_canonical(kept), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        inner = {name: _canonical(part, name) for name, part in value.items() if _counts(name)}
        return {name: part for name, part in inner.items() if part is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(part) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 9)
    if isinstance(value, str):
        if key == "href":
            return "/".join(urlsplit(value).path.split("/")[-2:])
        if _TIME.fullmatch(value):
            return parse_time(value).isoformat()
    return value


def _counts(name: str) -> bool:
    return name not in HOUSEKEEPING_KEYS and name not in ("links", "stac_version") and _PRIVATE_MARK not in name


def _unify_projection(part: dict[str, Any]) -> None:
    epsg = _number(part.get("proj:epsg"))
    code = part.get("proj:code")
    for text in (code, epsg):
        if isinstance(text, str) and (found := _EPSG.search(text)):
            epsg = int(found[1])
    if epsg is None:
        epsg = _described_epsg(part)
    part.pop("proj:epsg", None)
    if isinstance(epsg, (int, float)) and not isinstance(epsg, bool) and 1024 <= epsg < 100_000:
        part["proj:epsg"] = int(epsg)
        part["proj:code"] = f"EPSG:{int(epsg)}"
    transform = part.get("proj:transform")
    if isinstance(transform, list) and len(transform) in (6, 9):
        part["proj:transform"] = [float(value) for value in transform[:6]]


def _described_epsg(part: Mapping[str, Any]) -> int | None:
    """The EPSG code of a coordinate system given as text (``proj:wkt2``) or PROJJSON, where it has one."""
    for key, read in (("proj:projjson", CRS.from_json_dict), ("proj:wkt2", CRS.from_wkt)):
        if part.get(key):
            try:
                code = epsg_of(read(part[key]))
            except (CRSError, TypeError, AttributeError):
                continue
            if code is not None:
                return code
    return None


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
