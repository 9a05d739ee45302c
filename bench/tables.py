"""The tables of ``bench/README.md``, written from ``bench/results/*.json`` between two markers.

    python -m bench.tables          write them; `bench.record.record` does so too

Takes any result with ``id``, ``figure``, ``unit``, ``target``, ``holds`` and ``rows``. Rows that report the same things
share a table; ``{"median": ..., "least": ..., "largest": ...}`` is one cell, lists of repeats are left to the JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- tables: python -m bench.tables -->\n", "<!-- end of tables -->\n"
HOLDS = {True: "yes", False: "**no**", None: "not proven"}
RESULT = {"id", "figure", "unit", "target", "holds", "rows"}
"""What makes a JSON file a result with a table."""
APART = RESULT | {"machine", "versions", "commit"}
"""What a result's first lines say; whatever else is a figure becomes a line of its own."""


def main() -> None:
    """Write the tables into the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(with_tables(text, results()), encoding="utf-8")


def results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Results of a folder in the order of their ids: P2 before P10, names after numbers."""
    loaded = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    found = [result for result in loaded if isinstance(result, dict) and result.keys() >= RESULT]
    return sorted(found, key=lambda result: _order(str(result["id"])))


def with_tables(text: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The page with all between its markers replaced.

    Raises:
        ValueError: the page lacks the markers.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name} lacks the lines {BEGIN.strip()!r} and {END.strip()!r}")
    return head + begin + "\n" + "\n".join([_summary(found), *map(_section, found)]) + "\n" + end + tail


def _order(name: str) -> tuple[bool, int, str]:
    number = re.fullmatch(r"P(\d+)(.*)", name)
    return (False, int(number[1]), number[2]) if number else (True, 0, name)


def _summary(found: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        {
            "row": result["id"],
            "figure": result["figure"],
            "what": result["unit"],
            "target": result["target"],
            "holds": result["holds"],
            "commit": result.get("commit", ""),
        }
        for result in found
    ]
    return _table(rows)


def _section(result: Mapping[str, Any]) -> str:
    machine = result.get("machine", {})
    about = [f"{machine['cores']} cores"] if "cores" in machine else []
    about += [f"{machine['memory_bytes'] / 1e9:.0f} GB"] if "memory_bytes" in machine else []
    about += [str(machine[key]) for key in ("gpu", "system") if machine.get(key)]
    about += [f"Python {machine['python']}"] if "python" in machine else []
    versions = {key: value for key, value in result.items() if key.endswith("versions") and isinstance(value, dict)}
    about += [f"{name} {version}" for group in versions.values() for name, version in group.items()]
    further = [
        f"- {key.replace('_', ' ')}: {cell(value, key)}"
        for key, value in result.items()
        if key not in APART | versions.keys() and value is not None and not isinstance(value, list)
    ]
    parts = [
        f"### {result['id']} in figures",
        *map(_table, _alike(result["rows"])),
        "\n".join(further),
        ", ".join(about),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _alike(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows grouped by what they report, in the order in which each kind first comes."""
    groups: dict[frozenset[str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(frozenset(row.keys() - {"note"}), []).append(row)
    return list(groups.values())


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list)))
    lines = [[key.removesuffix("_bytes").replace("_", " ") for key in keys], ["---"] * len(keys)]
    lines += [[cell(row.get(key, ""), key) for key in keys] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) if keys else ""


def cell(value: Any, key: str = "") -> str:
    """A figure as a table shows it.

    Example:
        >>> cell({"median": 1.5, "least": 1.0, "largest": 2.0, "repeats": 5}), cell(1_500_000, "peak_bytes")
        ('1.5 (1 to 2)', '1.5 MB')
        >>> cell(968000), cell(None), cell(0.12345678), cell(False, "holds")
        ('968,000', '', '0.1235', '**no**')
    """
    if key == "holds" and (value is None or isinstance(value, bool)):
        return HOLDS[value]
    if isinstance(value, Mapping):
        if {"median", "least", "largest"} <= value.keys():
            return f"{cell(value['median'], key)} ({cell(value['least'], key)} to {cell(value['largest'], key)})"
        return ", ".join(f"{name.replace('_', ' ')} {cell(inner, name)}" for name, inner in value.items())
    if value is None or isinstance(value, list):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value).replace("|", "/").replace("\n", " ")
    if key.endswith("bytes") and abs(value) >= 1e5:
        return f"{value / 1e6:,.4g} MB" if abs(value) < 1e9 else f"{value / 1e9:,.4g} GB"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


if __name__ == "__main__":
    main()
