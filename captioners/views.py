"""What a vision model is shown: PNGs of the named views of a chip, rendered once, each named with its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from numpy.typing import NDArray

from captioners.facts_scene import DatedBands
from chips.render import fit, possible, render, render_labels, to_png
from chips.screen import clear_fraction
from schemas.legend import Legend

CLEAR = 0.9
"""Part of a date that must be clear for it to count as a clear one."""
LABELS = "labels"
"""Name of the label map among the views."""


def render_views(
    names: Sequence[str],
    scenes: Sequence[DatedBands],
    *,
    label: NDArray[Any] | None = None,
    legend: Legend | None = None,
    by: Literal["index", "code"] = "index",
    elevation: NDArray[Any] | None = None,
    size_px: int = 448,
) -> dict[str, bytes]:
    """View -> PNG, in the order of the names; a view that this chip's layers cannot show is left out.

    Of several dates that can show a view, one that is clear is taken, of these the one with the finest pixels, then the
    clearest, the latest of equals.

    Args:
        names: keys of `chips.views.VIEWS`, or ``labels``.
        scenes: the dates with physical values.
        label: (H, W) label layer.
        legend: of the label layer.
        by: what the label's values are.
        elevation: (h, w) metres.
        size_px: longer edge of every picture.
    """
    pictures = {}
    for name in names:
        if name == LABELS:
            if label is not None and legend is not None:
                pictures[name] = to_png(fit(render_labels(label, legend, by), size_px, classes=True))
        elif name == "elevation":
            if elevation is not None:
                pictures[name] = to_png(fit(render(name, {"elevation": elevation}), size_px))
        else:
            able = [s for s in scenes if name in possible(s.bands, s.wavelengths_nm)]
            if able:
                best = max(able, key=lambda s: (_clear(s) >= CLEAR, _rows(s), _clear(s), s.day))
                unit = best.unit if name == "sar" else ""
                rgb = render(name, best.bands, best.valid, wavelengths_nm=best.wavelengths_nm, unit=unit)
                pictures[name] = to_png(fit(rgb, size_px))
    return pictures


def _rows(scene: DatedBands) -> int:
    """Rows of its finest band: all scenes lie over the same ground."""
    return max(int(band.shape[0]) for band in scene.bands.values())


def _clear(scene: DatedBands) -> float:
    """Part 0..1 of a date that is clear."""
    return 1.0 if scene.valid is None else clear_fraction(scene.valid)


def view_hashes(views: Mapping[str, bytes]) -> tuple[str, ...]:
    """``<view>:<sha256>`` of every picture, in order."""
    return tuple(f"{name}:{hashlib.sha256(png).hexdigest()}" for name, png in views.items())
