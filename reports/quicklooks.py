"""Pictures of one chip from its sample: every view that its layers can show, and its labels in official colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.render import INVALID_RGB, VIEWS, fit, possible, render, render_labels, to_png
from reports.html import Quicklook
from schemas.chip import Valid
from schemas.dataset import LayerTable
from schemas.legend import stored_legend
from schemas.sample import LayerArrays, Sample
from shards.samples import to_physical

VIEWS_SHOWN = ("true_colour", "enmap_true_colour", "sar", "elevation")
"""One view per date: the first of these that the sensor can show, if it can show one."""
EDGE_PX = 192
"""Longest edge of a picture."""
MOST_DATES = 4
"""Dates of a modality that the report shows of a chip: forty would leave no room for a second chip, or for one."""


def sample_pictures(
    sample: Sample, layers: Sequence[LayerTable], legends: Mapping[str, Any], most_dates: int | None = None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(title, (H, W, 3) uint8) for each date of each modality, then each label layer.

    Args:
        sample: a chip as the reader gives it.
        layers: ``modalities`` of ``dataset.json``.
        legends: ``legends`` of ``dataset.json``.
        most_dates: of a modality with more, so many are shown, from the first to the last; all where absent.
    """
    for modality in dict.fromkeys(layer.modality for layer in layers):
        tables = [layer for layer in layers if layer.modality == modality and layer.group in sample.layers]
        if tables:
            yield from _modality_pictures(modality, sample, tables, most_dates)
    for name, codes in sample.labels.items():
        if name in legends:
            yield name, render_labels(codes, stored_legend(legends, name), by="code")
    if sample.label is not None and "label" in legends:
        yield "label", render_labels(sample.label, stored_legend(legends, "label"), by="index")


def _modality_pictures(
    modality: str, sample: Sample, tables: Sequence[LayerTable], most_dates: int | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """One picture per date, from the bands of the finest group that can show a view: one of `VIEWS_SHOWN`, else any
    (near infrared, red and green make no true colour); where there is none, the first band in grey.
    """
    for views in (VIEWS_SHOWN, tuple(VIEWS)):
        for table in tables:
            found = list(_in_view(modality, sample, table, views, most_dates))
            if found:
                yield from found
                return
    yield from _in_grey(modality, sample, tables[0], most_dates)


def _in_view(
    modality: str, sample: Sample, table: LayerTable, views: Sequence[str], most_dates: int | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """A group's dates, each in the first of the views that its bands can show."""
    layer = sample.layers[table.group]
    names, wavelengths = _names(table)
    for t in _dates_shown(layer, most_dates):
        physical = to_physical(_at(layer, t))[0]
        bands = dict(zip(names, physical, strict=True))
        view = next((view for view in views if view in possible(bands, wavelengths)), None)
        if view is not None:
            picture = render(
                view,
                bands,
                layer.valid[t],
                wavelengths_nm=wavelengths,
                unit=table.unit,
                pixel_size_m=table.gsd_m,
            )
            colours = "" if view in VIEWS_SHOWN else f", {view.replace('_', ' ')}"  # whose colours nobody can guess
            title = f"{modality} {_day(sample, modality, layer, t)}{colours}"
            yield f"{title}{_which(layer, t, most_dates)}", picture


def _in_grey(
    modality: str, sample: Sample, table: LayerTable, most_dates: int | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The first band of each date, black at its second percentile and white at its ninety-eighth: of a sensor that no
    view is made for (radar of one polarisation, heat) something is seen, though chips do not compare.
    """
    layer = sample.layers[table.group]
    for t in _dates_shown(layer, most_dates):
        plane = to_physical(_at(layer, t), table.nodata)[0, 0]
        shown = np.isfinite(plane) & ~np.isin(layer.valid[t], (Valid.NODATA, Valid.DEFECTIVE))
        low, high = np.percentile(plane[shown] if shown.any() else (0.0, 1.0), (2, 98)).tolist()
        level = np.clip((np.where(shown, plane, low) - low) / max(high - low, 1e-12), 0.0, 1.0)
        grey = np.repeat(np.rint(255 * level).astype(np.uint8)[..., None], 3, axis=-1)
        grey[~shown] = INVALID_RGB
        title = f"{modality} {_day(sample, modality, layer, t)}, {table.bands[0].name}"
        yield f"{title}{_which(layer, t, most_dates)}", grey


def _dates_shown(layer: LayerArrays, most: int | None) -> list[int]:
    """Numbers of the dates that are shown: all, or so many of those that are there (a series has empty steps)."""
    total = len(layer.time_utc)
    if most is None or total <= most:
        return list(range(total))
    there = np.flatnonzero(~np.isnat(layer.time_utc))
    spread = np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int)
    return [int(t) for t in there[spread]]


def _which(layer: LayerArrays, t: int, most: int | None) -> str:
    """``, date 14 of 40`` where not all are shown."""
    total = len(layer.time_utc)
    return "" if most is None or total <= most else f", date {t + 1} of {total}"


def _at(layer: LayerArrays, t: int) -> LayerArrays:
    """The layer with one of its dates alone."""
    one = slice(t, t + 1)
    return replace(
        layer,
        data=layer.data[one],
        valid=layer.valid[one],
        time_utc=layer.time_utc[one],
        scale=layer.scale[one],
        offset=layer.offset[one],
    )


def _names(table: LayerTable) -> tuple[list[str], dict[str, float] | None]:
    """Names that views are asked by: common names where they tell bands apart, else band names; and wavelengths."""
    names = [band.common_name or band.polarisation.lower() or band.name for band in table.bands]
    if len(set(names)) < len(names):
        names = [band.name for band in table.bands]
    wavelengths = {n: b.centre_nm for n, b in zip(names, table.bands, strict=True) if b.centre_nm is not None}
    return names, wavelengths or None


def _day(sample: Sample, modality: str, layer: LayerArrays, t: int) -> str:
    """Day of a date, of a composite with how it was made; the window it was taken from; or that there is none."""
    windows, how = (sample.row.get(f"{modality}.{name}") or [] for name in ("window", "composite"))
    moment = layer.time_utc[t]
    words = ["no date" if np.isnat(moment) else str(moment.astype("datetime64[D]"))]
    words += [how[t]] if t < len(how) and how[t] else []
    words += [f"({windows[t]})"] if t < len(windows) and windows[t] else []
    return " ".join(words)


def is_class_map(sample: Sample, title: str) -> bool:
    """Whether a picture of `sample_pictures` shows classes: smaller ones take a pixel's colour, since a mean of two
    classes' colours is that of neither, or of a third.
    """
    return title == "label" or title in sample.labels


def _classes(sample: Sample, title: str, legends: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes on a picture of a label layer, in the legend's order; of other pictures none."""
    if not is_class_map(sample, title):
        return ()
    values = sample.label if title == "label" else sample.labels[title]
    held = set(np.unique(np.asarray(values)).tolist())
    entries = enumerate(stored_legend(legends, title).classes)
    return tuple(entry.name for index, entry in entries if (index if title == "label" else entry.code) in held)


def quicklooks(sample: Sample, layers: Sequence[LayerTable], legends: Mapping[str, Any]) -> list[Quicklook]:
    """The pictures as PNG, scaled to at most `EDGE_PX`, of at most `MOST_DATES` dates of a modality."""
    return [
        Quicklook(
            title,
            to_png(fit(picture, EDGE_PX, classes=is_class_map(sample, title)), effort=4),
            _classes(sample, title, legends),
        )
        for title, picture in sample_pictures(sample, layers, legends, MOST_DATES)
    ]
