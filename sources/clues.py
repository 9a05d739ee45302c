"""What an item says of its origin: `Clues`, gathered once, on which sensors are recognised and variants chosen.

Catalogs put the same fact in different places. Everything that names a product is read: ids, product names among the
properties, file names of the assets, the collection. A catalog's own address is not evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sources.assets import is_pixel_asset

MOST_FILES = 80
"""File names that are looked at; an item of one product repeats itself long before."""

_NAME_PROPERTIES = (
    "s2:product_uri", "s2:granule_id", "s2:tile_id", "sentinel:product_id", "landsat:product_id",
    "landsat:landsat_product_id", "landsat:scene_id", "title", "odc:product", "product_id", "identifier",
)  # fmt: skip
_LEVEL_PROPERTIES = (
    "s2:product_type", "product:type", "product_type", "sar:product_type", "processing:level", "s1:processing_level",
    "landsat:correction", "landsat:processing_level", "eopf:product_type",
)  # fmt: skip
_PLATFORMS = (
    (r"(^|[^A-Z0-9])S([12])([A-D])_", "sentinel-{1}{2}"),
    (r"(^|[^A-Z0-9])L[COTEM]0([1-9])_", "landsat-{1}"),
    (r"(^|[^A-Z0-9])L[COTEM]([1-9])\d{13}[A-Z]{3}\d\d", "landsat-{1}"),
    (r"(^|[^A-Z0-9])(ENMAP)\d\d-", "enmap"),
)


@dataclass(frozen=True, slots=True)
class Clues:
    """Where an item comes from, as far as it says."""

    collection: str
    """Collection id, lower case."""
    platform: str
    """``sentinel-2a``, from the properties or the product's name; empty where neither says."""
    constellation: str
    """As stated, lower case."""
    instruments: tuple[str, ...]
    """As stated, lower case."""
    names: tuple[str, ...]
    """Everything that names the product: id, names among the properties, file names, collection."""
    levels: tuple[str, ...]
    """What the properties say of level and product type, upper case."""
    collection_number: str
    """``01`` or ``02`` as a Landsat item states it; empty where it does not."""
    keys: tuple[str, ...]
    """Keys of the assets that hold pixels, lower case."""

    def says(self, pattern: str) -> bool:
        """Whether any name of the product holds the pattern, in upper or lower case."""
        return any(re.search(pattern, name, re.IGNORECASE) for name in self.names)

    def is_level(self, *levels: str) -> bool:
        """Whether a level or product type is one of these (upper case)."""
        return any(level in levels for level in self.levels)


def clues_of(item: Mapping[str, Any]) -> Clues:
    """The clues of a normalised item."""
    properties, assets = item["properties"], item["assets"]
    pixels = [key for key, asset in assets.items() if is_pixel_asset(key, asset)]
    names = product_names(item)
    return Clues(
        collection=str(item.get("collection") or "").lower(),
        platform=platform_of(item, names),
        constellation=platform_name(properties.get("constellation")),
        instruments=tuple(str(name).lower() for name in _listed(properties.get("instruments"))),
        names=names,
        levels=tuple(str(properties[key]).upper() for key in _LEVEL_PROPERTIES if properties.get(key)),
        collection_number=_two_digits(properties.get("landsat:collection_number")),
        keys=tuple(key.lower() for key in pixels),
    )


def product_names(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything in an item that names its product, without folders: id, properties, file names, collection."""
    properties = item["properties"]
    said = [item.get("id"), *(properties.get(key) for key in _NAME_PROPERTIES), item.get("collection")]
    files = [file_name(str(asset.get("href") or "")) for asset in list(item["assets"].values())[:MOST_FILES]]
    return tuple(dict.fromkeys(str(name) for name in (*said, *files) if name))


def platform_of(item: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The platform as stated; where it is not, as the product's name says."""
    stated = platform_name(item["properties"].get("platform"))
    if stated and "," not in stated:
        return stated
    for pattern, form in _PLATFORMS:
        for name in names:
            if found := re.search(pattern, name.upper()):
                return form.format(*(found.groups())).lower()
    return stated


def platform_name(platform: Any) -> str:
    """``sentinel-2a`` whatever a catalog writes (``Sentinel-2A``, ``SENTINEL-1A``, ``LANDSAT_8``)."""
    said = re.sub(r"\s*,\s*", ",", str(platform or "").strip().lower())
    return re.sub(r"[\s_]+", "-", said)


def file_name(href: str) -> str:
    """Last part of an address.

    >>> file_name("s3://bucket/a/LC08_SR_B4.TIF?x=1")
    'LC08_SR_B4.TIF'
    """
    return urlsplit(href).path.rstrip("/").rsplit("/", 1)[-1]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []


def _two_digits(number: Any) -> str:
    text = str(number or "").strip()
    return f"{int(text):02d}" if text.isdigit() else ""
