"""`terraweft show`: what is in a dataset, or one chip with its pictures and texts, in the terminal or as a PNG."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from flows.site import store_options
from schemas.errors import DatasetError
from shards.reader import open_dataset
from terraweft.options import require_local

if TYPE_CHECKING:
    from schemas.sample import Sample

PICTURE_PX = 160
"""Edge of one picture on the contact sheet."""
TITLE_CHARACTERS = 25
"""Of a title that stand beside each other above a picture; what a longer one says goes on below."""


def show_dataset(uri: str, version: str | None, out: Console) -> None:
    """Counts, layers, splits, licences."""
    from reports.terminal import describe

    with closing(open_dataset(uri, version, store_options(os.environ))) as dataset:
        ids = list(dataset.chips["chip_id"][:1])  # a table that is damaged is told alone
        versions = dataset.versions()
        out.print(describe(dataset.document.model_dump(mode="json")))
    if len(versions) > 1:
        out.print(f"versions: {', '.join(versions)}", markup=False, soft_wrap=True)
    line = f"one chip: {shlex.join(['terraweft', 'show', uri, ids[0]])}" if ids else "no chips"
    out.print(line, style="dim", markup=False, soft_wrap=True)


def show_chip(uri: str, chip_id: str, version: str | None, png: Path | None, out: Console) -> None:
    """Pictures of every date and label layer, then the chip's row and texts.

    Raises:
        DatasetError: there is no such chip, or nothing of it for a file.
    """
    from reports.quicklooks import is_class_map, sample_pictures
    from reports.terminal import half_blocks

    require_local(png, "--png")
    with closing(open_dataset(uri, version, store_options(os.environ))) as dataset:
        if chip_id not in set(dataset.chips["chip_id"]):
            near = ", ".join(sorted(dataset.chips["chip_id"])[:5])
            raise DatasetError(f"there is no chip {chip_id!r}", where=uri, mend=f"for example: {near}")
        sample = dataset.sample(chip_id)
        pictures = list(sample_pictures(sample, dataset.document.modalities, dataset.document.legends))
    classes = {title for title, _ in pictures if is_class_map(sample, title)}
    if png is not None:
        if not pictures:
            raise DatasetError("there is nothing to draw: no date of any layer, no label", where=f"{uri}, {chip_id}")
        png.parent.mkdir(parents=True, exist_ok=True)
        png.write_bytes(contact_sheet(pictures, classes))
        out.print(str(png), markup=False, soft_wrap=True)
        return
    if can_draw(out):
        width = max(20, min(64, out.width))
        for title, picture in _best(pictures, sample.row):
            out.print(title, style="bold", markup=False)
            out.print(Text.from_ansi(half_blocks(picture, width, classes=title in classes)))
    else:
        line = f"no colours here, so no pictures: {shlex.join(['terraweft', 'show', uri, chip_id])} --png FILE"
        out.print(line, style="dim", markup=False, soft_wrap=True)
    _print_facts(sample, [title for title, _ in pictures], out)


def _best(pictures: list[tuple[str, NDArray[np.uint8]]], row: Mapping[str, Any]) -> list[tuple[str, NDArray[np.uint8]]]:
    """The clearest date of the first modality, and the fused label."""
    modality = pictures[0][0].partition(" ")[0] if pictures else ""
    dates = [pair for pair in pictures if pair[0].partition(" ")[0] == modality]
    clear: list[float] = list(row.get(f"{modality}.clear_fraction") or ())
    best = dates[clear.index(max(clear))] if clear and len(clear) == len(dates) else None
    return [best or pair for pair in dates[:1]] + [pair for pair in pictures if pair[0] == "label"]


def can_draw(out: Console) -> bool:
    """Whether pictures in half blocks would be seen: a terminal with colours, and an encoding that has the block."""
    return out.color_system is not None and not out.no_color and out.encoding.lower().startswith("utf")


def _print_facts(sample: Sample, titles: list[str], out: Console) -> None:
    row = sample.row
    out.print(f"{sample.chip_id} ({', '.join(_place(sample))})", style="bold", markup=False, soft_wrap=True)
    out.print(f"  pictures: {', '.join(titles)}", markup=False, soft_wrap=True)
    for name, layer in sample.layers.items():
        days = layer.time_utc.astype("datetime64[D]")
        dates = ", ".join("an empty step" if np.isnat(day) else str(day) for day in days)
        line = f"  {name}: {tuple(layer.data.shape)} {layer.data.dtype} on {dates or 'no date'}"
        out.print(line, markup=False, soft_wrap=True)
    fractions: Mapping[str, float] = row.get("label.fractions") or {}
    if fractions:
        shares = sorted(fractions.items(), key=lambda pair: -pair[1])
        line = f"  label: {', '.join(f'{name} {_percent(share)}' for name, share in shares)}"
        out.print(line, markup=False, soft_wrap=True)
    for text in sample.texts:
        out.print(f"  [{text['kind']}/{text['style']}] {text['text']}", markup=False, soft_wrap=True)


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _place(sample: Sample) -> list[str]:
    """Split, region, zone and corner of a chip, as far as its row says."""
    row = sample.row
    parts = [sample.split]
    if row.get("region"):
        parts.append(f"region {row['region']}")
    if row.get("epsg") and row.get("bounds_xyxy") is not None:
        parts.append(f"EPSG:{row['epsg']} " + " ".join(f"{edge:.0f}" for edge in row["bounds_xyxy"]))
    return parts


def contact_sheet(
    pictures: list[tuple[str, NDArray[np.uint8]]], classes: Collection[str] = (), columns: int = 4
) -> bytes:
    """All pictures on one PNG, each under its title.

    Args:
        pictures: (title, (H, W, 3) uint8).
        classes: titles of those whose colours stand for classes and must not be mixed.
        columns: pictures in a row.

    Raises:
        MissingExtraError: pillow is not installed.
    """
    from chips.render import fit, to_png

    titles = [textwrap.wrap(title, TITLE_CHARACTERS) for title, _ in pictures]
    line, gap = 14 * max(1, *map(len, titles)), 6
    cells: list[NDArray[np.uint8]] = []
    for (title, picture), words in zip(pictures, titles, strict=True):
        cell = np.full((PICTURE_PX + line, PICTURE_PX, 3), 255, np.uint8)
        small = fit(picture, PICTURE_PX, classes=title in classes)
        cell[line : line + small.shape[0], : small.shape[1]] = small
        cell[:line] = _words("\n".join(words), PICTURE_PX, line)
        cells.append(cell)
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * (PICTURE_PX + line + gap), columns * (PICTURE_PX + gap), 3), 255, np.uint8)
    for index, cell in enumerate(cells):
        y, x = (index // columns) * (PICTURE_PX + line + gap), (index % columns) * (PICTURE_PX + gap)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return to_png(sheet)


def _words(text: str, width: int, height: int) -> NDArray[Any]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((1, 1), text, fill="black")
    return np.asarray(image)
