"""Under which licence a label product stands, and what is to be shown of it: the recipe's word, else the provider's."""

from __future__ import annotations

from typing import Any

from schemas.recipe import LabelSource

LICENCE = {"worldcover": "CC-BY-4.0", "corine": "Copernicus-CLC", "osm": "ODbL-1.0"}
"""Licence by kind where the item names none."""

ATTRIBUTION = {
    "worldcover": (
        "(c) ESA WorldCover project {year} / Contains modified Copernicus Sentinel data ({year})"
        " processed by ESA WorldCover consortium"
    ),
    "corine": ("(c) European Union, Copernicus Land Monitoring Service {year}, European Environment Agency (EEA)"),
    "osm": "(c) OpenStreetMap contributors",
}
"""The attribution that each provider asks for."""


def licence_of_item(item: dict[str, Any], source: LabelSource) -> str:
    """Licence of an item: the recipe's word, the item's, or the product's. OpenStreetMap's is known."""
    stated = source.licence or str(item.get("properties", {}).get("license") or LICENCE.get(source.kind, ""))
    return LICENCE["osm"] if source.kind == "osm" else stated


def attribution_of_item(item: dict[str, Any], source: LabelSource, year: str) -> str:
    """What is to be shown of an item: the recipe's word, the item's, the product's, or its providers."""
    if source.attribution:
        return source.attribution
    if stated := item.get("properties", {}).get("attribution"):
        return str(stated)
    if source.kind in ATTRIBUTION:
        return ATTRIBUTION[source.kind].format(year=year)
    providers = item.get("properties", {}).get("providers", [])
    return "; ".join(str(p["name"]) for p in providers if "host" not in p.get("roles", []))


def licence_of_file(source: LabelSource) -> str:
    """Licence of a file that the recipe names: the recipe's word, else the product's; empty where neither is known."""
    return source.licence or LICENCE.get(source.kind, "")


def attribution_of_file(source: LabelSource) -> str:
    """What is to be shown of a file that the recipe names, as `licence_of_file`."""
    known = ATTRIBUTION.get(source.kind, "").format(year=source.year or "").replace("()", "")
    return source.attribution or " ".join(known.split()).replace(" ,", ",")
