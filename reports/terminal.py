"""A dataset and a chip in the terminal: a table of what is in a version, and a picture in half blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports.html import count_line

RESET = "\x1b[0m"
HALF_BLOCK = "\u2580"


def printable(text: object) -> str:
    """The text with every control character replaced, so that no name can steer the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def half_blocks(rgb: NDArray[np.uint8], width: int = 64, *, classes: bool = False) -> str:
    """A picture as lines of coloured half blocks: two pixel rows per line, 24-bit ANSI colours.

    Args:
        rgb: (H, W, 3) uint8.
        width: largest number of columns; smaller pictures are not enlarged, larger ones are averaged down.
        classes: whether colours stand for classes: then a cell has that of its middle, for means are other colours.

    Returns:
        Lines joined by newlines, each ending in a reset.

    Raises:
        ValueError: not an (H, W, 3) uint8 array, or without pixels.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"wanted (H, W, 3) uint8 pixels, got {rgb.shape} {rgb.dtype}")
    rows, columns = rgb.shape[:2]
    out_columns = max(1, min(width, columns))
    out_rows = max(1, round(rows * out_columns / columns))
    small = (_middles if classes else _averaged)(rgb, out_rows, out_columns)
    lines = []
    for top in range(0, out_rows, 2):
        cells = []
        for column in range(out_columns):
            r, g, b = small[top, column]
            cell = f"\x1b[38;2;{r};{g};{b}m"
            if top + 1 < out_rows:
                r, g, b = small[top + 1, column]
                cell += f"\x1b[48;2;{r};{g};{b}m"
            cells.append(cell + HALF_BLOCK)
        lines.append("".join(cells) + RESET)
    return "\n".join(lines)


def describe(dataset_json: Mapping[str, Any]) -> RenderableType:
    """What a version holds, for `rich` to print: counts, layers, labels, texts, sources.

    Args:
        dataset_json: ``dataset.json`` of the version.
    """
    document = dataset_json
    counts = count_line(document.get("counts", {}))
    head = Table.grid(padding=(0, 2))
    equation = "{planned:,} planned = {kept:,} kept + {rejected:,} rejected + {failed:,} failed".format(**counts)
    splits = document.get("splits", {}).get("counts", {})
    shards = document.get("shards", ())
    size_mb = sum(int(shard.get("bytes", 0)) for shard in shards) / 1e6
    for name, value in (
        ("dataset", f"{document['name']}  {document.get('title', '')}"),
        ("version", document["version"]),
        ("chips", equation if counts["adds_up"] else f"{equation}  (does not add up)"),
        ("splits", ", ".join(f"{name} {splits[name]}" for name in ("train", "val", "test") if name in splits)),
        ("tar shards", f"{len(shards):,}, {size_mb:,.1f} MB" if shards else ""),
        ("zarr", _zarr_line(document.get("zarr") or {})),
        ("labels", ", ".join(document.get("legends") or ())),
        ("texts", ", ".join(f"{kind} {count}" for kind, count in document.get("texts", {}).get("kinds", {}).items())),
    ):
        if value:
            head.add_row(Text(name, style="dim"), Text(printable(value)))
    parts: list[RenderableType] = [head]
    layers = document.get("modalities", ())
    if layers:
        parts += [
            Text(),
            _table("layer", "bands", "GSD", "stored as", "unit", "dates", "pixels", rows=map(_layer, layers)),
        ]
    sources = document.get("sources", ())
    if sources:
        rows = ((s.get("layer"), s.get("collection"), s.get("licence"), s.get("attribution")) for s in sources)
        parts += [Text(), _table("source", "collection", "licence", "attribution", rows=rows)]
    return Group(*parts)


def _zarr_line(zarr: Mapping[str, Any]) -> str:
    """``zarr/, 12 groups``, or nothing."""
    return f"{zarr['path']}/, {len(zarr.get('groups', ()))} groups" if zarr else ""


def _layer(layer: Mapping[str, Any]) -> tuple[Any, ...]:
    names = [str(band["name"]) for band in layer.get("bands", ())]
    bands = " ".join(names) if len(names) <= 6 else f"{len(names)}: {names[0]} .. {names[-1]}"
    shape = layer.get("shape_yx") or ()
    pixels = " x ".join(str(edge) for edge in shape)
    return (
        layer.get("group"),
        bands,
        f"{layer.get('gsd_m')} m",
        layer.get("dtype"),
        layer.get("unit"),
        layer.get("max_dates"),
        pixels,
    )


def _table(*headings: str, rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=number == 0)  # in a narrow terminal nothing is cut
    for row in rows:
        table.add_row(*(Text(printable("" if value is None else value)) for value in row))
    return table


def _averaged(rgb: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(rows, columns, 3): mean of the pixels of each cell."""
    y = np.linspace(0, rgb.shape[0], rows + 1).astype(int)[:-1]
    x = np.linspace(0, rgb.shape[1], columns + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(rgb.astype(np.float64), y, axis=0), x, axis=1)
    tall = np.diff(np.append(y, rgb.shape[0]))[:, None, None]
    wide = np.diff(np.append(x, rgb.shape[1]))[None, :, None]
    return np.asarray(np.rint(sums / (tall * wide)), dtype=np.uint8)


def _middles(rgb: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """(rows, columns, 3): the pixel in the middle of each cell."""
    y = ((np.arange(rows) + 0.5) * rgb.shape[0] / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * rgb.shape[1] / columns).astype(int)
    return np.asarray(rgb[y[:, np.newaxis], x])
