"""Whether an OpenStreetMap feature is there and seen from above: one rule for labels and texts, ``osm_hidden.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from schemas.shipped import shipped_table

ANY = "any"
"""Stands for every value but ``no``."""
ENDED = ("end_date",)
BEGINS = ("start_date", "opening_date")
ISO_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def matches(tags: Mapping[str, str], key: str, values: tuple[str, ...]) -> bool:
    """Whether a key has one of some values, of which `ANY` is one that all but ``no`` are."""
    value = tags.get(key)
    return value is not None and value != "no" and (value in values or ANY in values)


def is_hidden(tags: Mapping[str, str], date: str) -> bool:
    """Whether the tags say that nothing is to be seen from above: tunnels, what is planned or gone.

    Args:
        tags: of the feature.
        date: ISO date of the extract: what ended before it or begins after it is not there. Empty: dates are not
            looked at. Dates are compared as far as they are told (a year, a month, a day).

    >>> is_hidden({"building": "yes", "end_date": "2019"}, "2024-05-06")
    True
    >>> is_hidden({"building": "yes", "end_date": "2024"}, "2024-05-06")
    False
    """
    keys = _hiding_keys()
    if keys.isdisjoint(tags):
        return False
    return _is_hidden(tuple((key, value) for key, value in tags.items() if key in keys), date)


@cache
def _hiding_tags() -> Mapping[str, tuple[str, ...]]:
    table = shipped_table("schemas", "osm_hidden.yaml")
    return {key: tuple(values) for key, values in table.items()}


@cache
def _hiding_keys() -> frozenset[str]:
    return frozenset({*_hiding_tags(), *ENDED, *BEGINS})


@lru_cache(maxsize=4096)
def _is_hidden(told: tuple[tuple[str, str], ...], date: str) -> bool:
    tags = dict(told)
    if any(matches(tags, key, values) for key, values in _hiding_tags().items()):
        return True
    return bool(date) and (
        any(_is_before(tags.get(key, ""), date) for key in ENDED)
        or any(_is_before(date, tags.get(key, ""), len(tags.get(key, ""))) for key in BEGINS)
    )


def _is_before(one: str, other: str, digits: int = 10) -> bool:
    """Whether an ISO date, told to a year, a month or a day, lies before another; False of anything else."""
    told = min(len(one), len(other), digits)
    dates = one[:told], other[:told]
    return all(ISO_DATE.fullmatch(date) for date in dates) and dates[0] < dates[1]
