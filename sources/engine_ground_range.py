"""Reads Sentinel-1 GRD: amplitude in radar geometry comes out as calibrated backscatter on the target grid.

For every target pixel the place in the image is solved for; the part of the image that is needed is read, calibrated,
and sampled once in linear power. No second resampling is due, whatever the target's zone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from schemas.errors import DecodeError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.block_window import read_window
from sources.documents import read_document
from sources.engine import blank
from sources.faults import READ_ERRORS, as_source_error
from sources.gdal_reads import gdal_reads
from sources.heights import read_heights
from sources.openers import driver_of, unsigned
from sources.raster_limits import check_open_file
from sources.sentinel1_grd_annotation import (
    Annotation,
    Quantity,
    parse_annotation,
    parse_calibration,
    parse_noise,
)
from sources.sentinel1_grd_calibration import border_noise, to_backscatter, with_edges
from sources.sentinel1_grd_geocode import image_coordinates, tie_point_coordinates

Floats = NDArray[np.float64]
Parsed = TypeVar("Parsed")
MARGIN_PX = 2
"""Samples read beyond the outermost ones."""
MAX_WINDOW_PX = 150_000_000
"""Largest part of an image that one read may need (12 km by 12 km has 1.5 million samples)."""
DOCUMENTS_KEPT = 24
"""Annotations, calibration and noise tables (a few MB each) that a process keeps."""
SEA_LEVEL = "sea_level"
"""Setting: where no elevation raster has data lies the sea, at height 0 above the geoid."""


class GroundRangeEngine:
    """See `sources.engine.Engine`; refs carry the addresses of their annotation in `SceneRef.needs`."""

    at_once = 1

    def __init__(self) -> None:
        self._documents: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def read(
        self,
        refs: Sequence[SceneRef],
        target: GeoRef,
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> NDArray[Any]:
        """See `sources.engine.Engine.read`.

        ``nearest`` takes the sample whose centre is nearest; every other kernel is bilinear, in linear power, and a
        pixel is no data where any of its four samples is.
        """
        return self.read_each(refs, [target], resampling, opener, fill)[0]

    def read_each(
        self,
        refs: Sequence[SceneRef],
        targets: Sequence[GeoRef],
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> list[NDArray[Any]]:
        """See `sources.engine.Engine.read_each`: the image is read once, everything else is done for each target."""
        answers = [blank(refs, target, fill) for target in targets]
        places: dict[tuple[tuple[str, str], ...], list[tuple[Floats, Floats]]] = {}
        for layer, ref in enumerate(refs):
            needs = dict(ref.needs)
            annotation = self._document(needs["annotation"], "annotation", parse_annotation, opener)
            key = tuple(pair for pair in ref.needs if pair[0] in ("heights", "geoid", "missing_heights"))
            if key not in places:  # the polarisations of a pass lie on each other
                places[key] = [_coordinates(annotation, target, ref, opener) for target in targets]
            windows = [_window(place, annotation.shape_yx) for place in places[key]]
            there = [window for window in windows if window is not None]
            if not there:
                continue
            rows, columns = (
                slice(min(window[axis].start for window in there), max(window[axis].stop for window in there))
                for axis in (0, 1)
            )
            dn = self._read_window(ref, annotation, rows, columns, opener)
            for answer, place, window in zip(answers, places[key], windows, strict=True):
                if window is not None:
                    mine = dn[_within(window[0], rows), _within(window[1], columns)]
                    found = self._backscatter(ref, annotation, mine, window, place, resampling, opener)
                    seen = np.isfinite(found)
                    answer[layer][seen] = found[seen]
        return answers

    def _backscatter(
        self,
        ref: SceneRef,
        annotation: Annotation,
        dn: NDArray[np.integer[Any]],
        window: tuple[slice, slice],
        place: tuple[Floats, Floats],
        resampling: str,
        opener: Opener,
    ) -> NDArray[np.float32]:
        """(y, x) linear power at the places (line, sample), NaN where the image has none."""
        needs, (rows, columns) = dict(ref.needs), window
        quantity = cast(Quantity, needs.get("quantity", "sigma0"))
        table = self._document(
            needs["calibration"], quantity, lambda text, url: parse_calibration(text, quantity, url), opener
        )
        noise = self._document(needs["noise"], "noise", parse_noise, opener) if "noise" in needs else None
        is_noisy = needs.get("denoise") == "yes" and not annotation.is_denoised
        power = to_backscatter(dn, rows, columns, table, noise if is_noisy else None)
        power[border_noise(dn, rows, columns, annotation.shape_yx, noise)] = np.nan
        where = np.stack([place[0] - rows.start, place[1] - columns.start])
        where[~np.isfinite(where)] = -1e6
        if resampling == "nearest":
            near = np.floor(where + 0.5)
            return cast(NDArray[np.float32], ndimage.map_coordinates(power, near, order=0, cval=np.nan))
        return cast(NDArray[np.float32], ndimage.map_coordinates(power, where, order=1, cval=np.nan))

    def _document(self, href: str, kind: str, parse: Callable[[bytes, str], Parsed], opener: Opener) -> Parsed:
        """A parsed document; the last few are kept."""
        key = (href, kind)
        found = self._documents.get(key)
        if found is None:
            found = parse(read_document(href, opener), unsigned(href))
            self._documents[key] = found
            while len(self._documents) > DOCUMENTS_KEPT:
                self._documents.popitem(last=False)
        return cast(Parsed, found)

    def _read_window(
        self, ref: SceneRef, annotation: Annotation, rows: slice, columns: slice, opener: Opener
    ) -> NDArray[np.integer[Any]]:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if math.prod(shape) > MAX_WINDOW_PX:
            raise UnsupportedItemError(
                f"{shape[0]} x {shape[1]} samples of {ref.asset_key} in one read: take smaller tiles", ref.href
            )
        resolved = opener.resolve(ref.href)
        try:
            with (
                gdal_reads(opener, [ref.href]),
                rasterio.open(resolved, driver=driver_of(ref.href)) as file,
            ):
                check_open_file(file, ref.href)
                if file.shape != annotation.shape_yx or file.count != 1:
                    raise DecodeError(
                        f"{file.count} bands of {file.shape}, the annotation says {annotation.shape_yx}",
                        unsigned(ref.href),
                    )
                if np.dtype(file.dtypes[0]).kind != "u":
                    raise DecodeError(f"the file holds {file.dtypes[0]}, no amplitude", unsigned(ref.href))
                window = Window(columns.start, rows.start, shape[1], shape[0])
                pixels = read_window(file, ref.href, [1], window, opener)[0]
        except READ_ERRORS as error:
            raise as_source_error(error, ref.href, resolved) from error
        return cast(NDArray[np.integer[Any]], pixels)


def _coordinates(annotation: Annotation, target: GeoRef, ref: SceneRef, opener: Opener) -> tuple[Floats, Floats]:
    """(line, sample) of the target's pixels: by range and Doppler where heights are known, else by tie points."""
    needs = dict(ref.needs)
    if "geoid" not in needs:
        return tie_point_coordinates(annotation, target)
    hrefs = [value for key, value in ref.needs if key == "heights"]
    is_sea = needs.get("missing_heights") == SEA_LEVEL
    heights = read_heights(hrefs, target, opener, needs["geoid"], missing=0.0 if is_sea else None)
    return image_coordinates(annotation, target, heights)


def _window(place: tuple[Floats, Floats], shape_yx: tuple[int, int]) -> tuple[slice, slice] | None:
    """Lines and samples that hold all places inside the image, and its edge where they come near it; None for none."""
    lines, samples = place
    inside = (lines > -1) & (lines < shape_yx[0]) & (samples > -1) & (samples < shape_yx[1])
    if not inside.any():
        return None
    spans = []
    for values, length in zip((lines[inside], samples[inside]), shape_yx, strict=True):
        first = max(0, math.floor(float(values.min())) - MARGIN_PX)
        last = min(length, math.ceil(float(values.max())) + MARGIN_PX + 1)
        spans.append(with_edges(slice(first, last), length))
    return spans[0], spans[1]


def _within(span: slice, whole: slice) -> slice:
    return slice(span.start - whole.start, span.stop - whole.start)
