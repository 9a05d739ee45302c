"""JSON objects of a dataset's document as small tables of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Block:
    """A small table of texts."""

    title: str
    """What it shows; empty for the plain values of an object."""
    columns: tuple[str, ...]
    """Headings; empty for pairs of name and value."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, as many as headings, or two."""


def blocks(value: Mapping[str, Any]) -> list[Block]:
    """A JSON object as small tables: its plain values in one, each table-like or nested value in one of its own.

    Args:
        value: any object of dataset.json, such as ``fusion``, ``texts`` or ``splits.leakage``.
    """
    plain = [(key, _flat_text(part)) for key, part in value.items() if _is_flat(part)]
    found = [Block("", (), tuple(plain))] if plain else []
    nested = {key: part for key, part in value.items() if not _is_flat(part) and part}
    if len(nested) > 1 and (whole := _table("", nested)):
        return [*found, whole]
    for key, part in nested.items():
        found.append(_table(key, part) or Block(key, (), tuple(leaves(part))))
    return found


def _table(title: str, value: Any) -> Block | None:
    """Objects of plain values, in a list or by name, as rows of one table; None where they are not of one kind."""
    named = isinstance(value, Mapping)
    parts = list(value.values()) if named else list(value)
    if not parts or not all(isinstance(part, Mapping) and all(map(_is_flat, part.values())) for part in parts):
        return None
    columns = list(dict.fromkeys(str(key) for part in parts for key in part))
    if named and any(set(map(str, part)) != set(columns) for part in parts):
        return None
    names = [(str(name),) for name in value] if named else [()] * len(parts)
    rows = [
        (*name, *(_flat_text(part[column]) if column in part else "" for column in columns))
        for name, part in zip(names, parts, strict=True)
    ]
    return Block(title, ("", *columns) if named else tuple(columns), tuple(rows))


def _is_flat(value: Any) -> bool:
    """Whether a value fits into one cell: a scalar, or a list of scalars."""
    if isinstance(value, list | tuple):
        return not any(isinstance(part, Mapping | list | tuple) for part in value)
    return not isinstance(value, Mapping)


def _flat_text(value: Any) -> str:
    return ", ".join(map(scalar_text, value)) if isinstance(value, list | tuple) else scalar_text(value)


def leaves(value: Any, path: str = "") -> list[tuple[str, str]]:
    """(dotted path, text) of every leaf of a JSON value; lists of plain values stand in one line."""
    if _is_flat(value):
        return [(path, _flat_text(value))]
    if isinstance(value, Mapping):
        return [leaf for key, part in value.items() for leaf in leaves(part, f"{path}.{key}" if path else str(key))]
    return [leaf for i, part in enumerate(value) for leaf in leaves(part, f"{path}[{i}]")]


def scalar_text(value: Any) -> str:
    """A JSON scalar for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
