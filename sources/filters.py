"""Property filters sent to a server: only where it says that it understands them, and shows it.

Some servers answer a filter with no items and status 200, some ignore it. So before the first filtered search of a
collection an item that is known to fit is asked for twice by id: with the filter, and with one that cannot hold. Only
the answers "yes" and "none" make the filter worth sending. What comes back is compared here all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from sources.items import Item, is_same_value, matches

log = logging.getLogger(__name__)

Language = Literal["cql2", "query"]
Where = Mapping[str, str | int | float | bool]
Search = Callable[[dict[str, Any]], Sequence[Item]]
NEVER = "terraweft-no-such-value"
CQL2_JSON = "/conf/cql2-json"
FILTER, QUERY = "item-search#filter", "item-search#query"


def languages(conforms_to: Iterable[str]) -> list[Language]:
    """What a server says that it understands, the standard first.

    >>> languages(["https://api.stacspec.org/v1.0.0/item-search#query"])
    ['query']
    """
    classes = list(conforms_to)
    found: list[Language] = []
    if any(FILTER in name for name in classes) and any(CQL2_JSON in name for name in classes):
        found.append("cql2")
    if any(QUERY in name for name in classes):
        found.append("query")
    return found


def parameters(language: Language, variants: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Search parameters: each property is one of its variants."""
    if language == "query":
        return {"query": {key: {"in": list(values)} for key, values in variants.items()}}
    each = [{"op": "in", "args": [{"property": key}, list(values)]} for key, values in variants.items()]
    return {"filter-lang": "cql2-json", "filter": each[0] if len(each) == 1 else {"op": "and", "args": each}}


def variants(where: Where, sample: Sequence[Item]) -> dict[str, list[Any]]:
    """Key -> the ways in which this collection may write the wanted value, for keys that the sample shows.

    A key whose wanted value no item of the sample has, or that is written as text where a number is meant, is not
    sent: the server would compare it otherwise than `sources.items.matches`.
    """
    found: dict[str, list[Any]] = {}
    for key, wanted in where.items():
        written = [item["properties"][key] for item in sample if key in item["properties"]]
        equal = [value for value in written if is_same_value(value, wanted)]
        if not equal:
            continue
        if isinstance(wanted, str) and all(isinstance(value, str) for value in written):
            spelled = [*equal, wanted, wanted.lower(), wanted.upper(), wanted.capitalize()]
            found[key] = sorted(dict.fromkeys(spelled))
        elif not isinstance(wanted, (str, bool)) and all(_is_number(value) for value in written):
            found[key] = [wanted]
    return found


def probe(search: Search, conforms_to: Iterable[str], where: Where, sample: Sequence[Item]) -> dict[str, Any]:
    """The parameters that may be sent along with a search; empty where filtering is done here.

    Args:
        search: asks the server with further parameters and gives the first page.
        conforms_to: the server's conformance classes.
        where: the recipe's filter.
        sample: items of the collection as the server wrote them.
    """
    fitting = [item for item in sample if matches(item, where)]
    wanted = variants(where, sample)
    if not fitting or not wanted:
        return {}
    known = str(fitting[0]["id"])
    impossible: dict[str, list[Any]] = {
        key: [NEVER] if isinstance(values[0], str) else [-987654321] for key, values in wanted.items()
    }
    for language in languages(conforms_to):
        sent = parameters(language, wanted)
        hit = [item.get("id") for item in search({"ids": [known], **sent})]
        missed = search({"ids": [known], **parameters(language, impossible)})
        if hit == [known] and not missed:
            return sent
        log.info("the server's %s filter gave %s and %d items: filtered here", language, json.dumps(hit), len(missed))
    return {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
