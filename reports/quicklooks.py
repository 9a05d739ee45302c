"""Pictures of one chip from its sample: every view that its layers can show, and its labels in official colours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.render import fit, possible, render, render_labels, to_png
from reports.html import Quicklook
from schemas.dataset import LayerTable
from schemas.legend import Legend
from schemas.sample import LayerArrays, Sample
from shards.samples import to_physical

VIEWS_SHOWN = ("true_colour", "enmap_true_colour", "sar", "elevation")
"""One view per date: the first of these that the sensor can show."""
EDGE_PX = 192
"""Longest edge of a picture."""


def sample_pictures(
    sample: Sample, layers: Sequence[LayerTable], legends: Mapping[str, Any]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(title, (H, W, 3) uint8) for each date of each modality, then each label layer.

    Args:
        sample: a chip as the reader gives it.
        layers: ``modalities`` of ``dataset.json``.
        legends: ``legends`` of ``dataset.json``.
    """
    for modality in dict.fromkeys(layer.modality for layer in layers):
        tables = [layer for layer in layers if layer.modality == modality and layer.group in sample.layers]
        if tables:
            yield from _modality_pictures(modality, sample, tables)
    for name, codes in sample.labels.items():
        if name in legends:
            yield name, render_labels(codes, Legend.model_validate(legends[name]), by="code")
    if sample.label is not None and "label" in legends:
        yield "label", render_labels(sample.label, Legend.model_validate(legends["label"]), by="index")


def _modality_pictures(
    modality: str, sample: Sample, tables: Sequence[LayerTable]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """One picture per date, from the bands of the finest group that can show a view."""
    for table in tables:
        layer = sample.layers[table.group]
        names, wavelengths = _names(table)
        physical = to_physical(layer)
        shown = False
        for t in range(physical.shape[0]):
            bands = dict(zip(names, physical[t], strict=True))
            views = [view for view in VIEWS_SHOWN if view in possible(bands, wavelengths)]
            if views:
                shown = True
                picture = render(
                    views[0],
                    bands,
                    layer.valid[t],
                    wavelengths_nm=wavelengths,
                    unit=table.unit,
                    pixel_size_m=table.gsd_m,
                )
                yield f"{modality} {_day(sample, modality, layer, t)}", picture
        if shown:
            return


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


def quicklooks(sample: Sample, layers: Sequence[LayerTable], legends: Mapping[str, Any]) -> list[Quicklook]:
    """The pictures as PNG, scaled to at most `EDGE_PX`."""
    return [
        Quicklook(title, to_png(fit(picture, EDGE_PX), effort=4))
        for title, picture in sample_pictures(sample, layers, legends)
    ]
