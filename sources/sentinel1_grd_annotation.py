"""What the annotation of a Sentinel-1 GRD product says: geometry, calibration table and thermal noise.

Source: Sentinel-1 Product Specification S1-RS-MDA-52-7441; thermal denoising MPC-0392 (noise in range and azimuth from
IPF 2.90 on, one list of noise vectors before). Times are seconds after the product's first line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DecodeError
from sources.documents import parse_xml

Floats = NDArray[np.float64]
Quantity = Literal["sigma0", "beta0", "gamma0"]
Result = TypeVar("Result")
_TABLE_OF: dict[str, str] = {"sigma0": "sigmaNought", "beta0": "betaNought", "gamma0": "gamma"}


@dataclass(frozen=True, slots=True)
class Vectors:
    """Values at lines and samples: a table whose rows may have samples of their own."""

    lines: Floats
    """(vectors,) line numbers, rising; they may begin before the image and end after it."""
    pixels: tuple[Floats, ...]
    """Per vector, sample numbers, rising."""
    values: tuple[Floats, ...]
    """Per vector, as many values as samples."""

    def on(self, rows: slice, columns: slice) -> Floats:
        """(rows, columns) values by bilinear interpolation; beyond the first and last vector they stay."""
        samples = np.arange(columns.start, columns.stop, dtype=np.float64)
        wanted = np.arange(rows.start, rows.stop, dtype=np.float64)
        place = np.interp(wanted, self.lines, np.arange(len(self.lines), dtype=np.float64))
        first = int(place[0])
        last = min(int(np.ceil(place[-1])), len(self.lines) - 1)
        near = np.stack([np.interp(samples, self.pixels[k], self.values[k]) for k in range(first, last + 1)])
        lower = np.minimum(np.floor(place).astype(np.intp), max(len(self.lines) - 2, 0)) - first
        upper = np.minimum(lower + 1, last - first)
        weight = (place - first - lower)[:, np.newaxis]
        answer: Floats = near[lower] * (1.0 - weight) + near[upper] * weight
        return answer


@dataclass(frozen=True, slots=True)
class AzimuthBlock:
    """Factors of the noise along lines, for a rectangle of the image (one sub-swath)."""

    rows: slice
    """Lines."""
    columns: slice
    """Samples."""
    lines: Floats
    """Line numbers, rising."""
    factors: Floats
    """As many factors."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Thermal noise power in the unit of DN squared: range part times azimuth part."""

    in_range: Vectors
    """Noise vectors."""
    in_azimuth: tuple[AzimuthBlock, ...]
    """Empty in products before IPF 2.90."""

    def on(self, rows: slice, columns: slice) -> Floats:
        """(rows, columns) noise power to be taken from DN squared."""
        noise = self.in_range.on(rows, columns)
        for block in self.in_azimuth:
            top, bottom = max(rows.start, block.rows.start), min(rows.stop, block.rows.stop)
            left, right = max(columns.start, block.columns.start), min(columns.stop, block.columns.stop)
            if top < bottom and left < right:
                factors = np.interp(np.arange(top, bottom, dtype=np.float64), block.lines, block.factors)
                noise[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] *= factors[
                    :, np.newaxis
                ]
        return noise


@dataclass(frozen=True, slots=True)
class RangeConversion:
    """From slant range to ground range, at one azimuth time."""

    time_s: float
    """Seconds after the first line."""
    slant_origin_m: float
    """Slant range from which the polynomial counts."""
    coefficients: tuple[float, ...]
    """Ground range in m, by rising powers of (slant range - origin)."""


@dataclass(frozen=True, slots=True)
class TiePoint:
    """A point of the geolocation grid."""

    line: float
    pixel: float
    longitude: float
    latitude: float
    height_m: float
    incidence_deg: float


@dataclass(frozen=True, slots=True)
class Annotation:
    """Geometry of one image."""

    first_line_utc: np.datetime64
    """Azimuth time of line 0."""
    line_interval_s: float
    """Seconds between lines."""
    pixel_spacing_m: float
    """Ground range between samples."""
    shape_yx: tuple[int, int]
    """Lines and samples."""
    is_descending: bool
    """Direction of the pass."""
    is_denoised: bool
    """Whether the processor took the thermal noise away already."""
    orbit_times_s: Floats
    """(vectors,) seconds after the first line."""
    orbit_positions_m: Floats
    """(vectors, 3) Earth-fixed."""
    conversions: tuple[RangeConversion, ...]
    """In time order."""
    tie_points: tuple[TiePoint, ...]
    """Geolocation grid, by line and sample."""

    def ground_range(self, time_s: Floats, slant_range_m: Floats) -> Floats:
        """Ground range in m of points at azimuth times and slant ranges; linear between conversions.

        Args:
            time_s: any shape, seconds after the first line.
            slant_range_m: the same shape.
        """
        times = np.array([conversion.time_s for conversion in self.conversions])
        place = np.clip(np.interp(time_s, times, np.arange(times.size, dtype=np.float64)), 0, times.size - 1)
        lower = np.floor(place).astype(np.intp)
        upper = np.minimum(lower + 1, times.size - 1)
        weight = place - lower
        answer = np.zeros_like(slant_range_m)
        for index in np.union1d(lower, upper):
            conversion = self.conversions[int(index)]
            share = np.where(lower == index, 1.0 - weight, 0.0) + np.where(
                (upper == index) & (upper != lower), weight, 0
            )
            touched = share > 0
            offset = slant_range_m[touched] - conversion.slant_origin_m
            answer[touched] += share[touched] * np.polynomial.polynomial.polyval(offset, conversion.coefficients)
        return answer


def parse_annotation(document: bytes, url: str = "") -> Annotation:
    """The annotation of one polarisation.

    Raises:
        DecodeError: no annotation of a ground-range product.
    """
    return _reading(document, url, "annotation", _annotation)


def parse_calibration(document: bytes, quantity: Quantity, url: str = "") -> Vectors:
    """The calibration table A of a quantity: quantity = (DN squared - noise) / A squared.

    Raises:
        DecodeError: no calibration annotation.
    """
    return _reading(document, url, "calibration", lambda root: _calibration(root, quantity))


def parse_noise(document: bytes, url: str = "") -> Noise:
    """Thermal noise in either format.

    Raises:
        DecodeError: no noise annotation.
    """
    return _reading(document, url, "noise annotation", _noise)


def _reading(document: bytes, url: str, what: str, read: Callable[[ElementTree.Element], Result]) -> Result:
    root = parse_xml(document, url)
    try:
        return read(root)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise DecodeError(f"is no {what} of a Sentinel-1 GRD product: {error}", url) from error


def _annotation(root: ElementTree.Element) -> Annotation:
    if _text(root, "adsHeader/productType") != "GRD":
        raise ValueError(f"product type {_text(root, 'adsHeader/productType')}")
    image = _need(root, "imageAnnotation/imageInformation")
    first = _time(image, "productFirstLineUtcTime")
    orbit = _rows(root, "generalAnnotation/orbitList/orbit")
    if any(_text(row, "frame") != "Earth Fixed" for row in orbit):
        raise ValueError("orbit is not Earth-fixed")
    return Annotation(
        first_line_utc=first,
        line_interval_s=_number(image, "azimuthTimeInterval"),
        pixel_spacing_m=_number(image, "rangePixelSpacing"),
        shape_yx=(int(_text(image, "numberOfLines")), int(_text(image, "numberOfSamples"))),
        is_descending=_text(root, "generalAnnotation/productInformation/pass").lower() == "descending",
        is_denoised=_text(root, "imageAnnotation/processingInformation/thermalNoiseCorrectionPerformed") == "true",
        orbit_times_s=np.array([_seconds(_time(row, "time"), first) for row in orbit]),
        orbit_positions_m=np.array([[_number(row, f"position/{axis}") for axis in "xyz"] for row in orbit]),
        conversions=tuple(
            RangeConversion(
                _seconds(_time(row, "azimuthTime"), first),
                _number(row, "sr0"),
                tuple(_numbers(row, "srgrCoefficients").tolist()),
            )
            for row in _rows(root, "coordinateConversion/coordinateConversionList/coordinateConversion")
        ),
        tie_points=tuple(
            TiePoint(*(_number(row, name) for name in _TIE_POINT))
            for row in _rows(root, "geolocationGrid/geolocationGridPointList/geolocationGridPoint")
        ),
    )


_TIE_POINT = ("line", "pixel", "longitude", "latitude", "height", "incidenceAngle")


def _calibration(root: ElementTree.Element, quantity: Quantity) -> Vectors:
    return _vectors(_rows(root, "calibrationVectorList/calibrationVector"), _TABLE_OF[quantity])


def _noise(root: ElementTree.Element) -> Noise:
    if root.find("noiseVectorList") is not None:
        return Noise(_vectors(_rows(root, "noiseVectorList/noiseVector"), "noiseLut"), ())
    blocks = root.findall("noiseAzimuthVectorList/noiseAzimuthVector")
    return Noise(
        _vectors(_rows(root, "noiseRangeVectorList/noiseRangeVector"), "noiseRangeLut"),
        tuple(
            AzimuthBlock(
                slice(int(_text(row, "firstAzimuthLine")), int(_text(row, "lastAzimuthLine")) + 1),
                slice(int(_text(row, "firstRangeSample")), int(_text(row, "lastRangeSample")) + 1),
                _numbers(row, "line"),
                _numbers(row, "noiseAzimuthLut"),
            )
            for row in blocks
        ),
    )


def _vectors(rows: list[ElementTree.Element], name: str) -> Vectors:
    found = sorted(((_number(row, "line"), row) for row in rows), key=lambda pair: pair[0])
    pixels = tuple(_numbers(row, "pixel") for _, row in found)
    values = tuple(_numbers(row, name) for _, row in found)
    if any(a.shape != b.shape or not a.size for a, b in zip(pixels, values, strict=True)):
        raise ValueError(f"{name} and its samples differ in number")
    if not all(np.isfinite(v).all() for v in values):
        raise ValueError(f"{name} is not finite")
    return Vectors(np.array([line for line, _ in found]), pixels, values)


def _need(root: ElementTree.Element, path: str) -> ElementTree.Element:
    found = root.find(path)
    if found is None:
        raise ValueError(f"no {path}")
    return found


def _rows(root: ElementTree.Element, path: str) -> list[ElementTree.Element]:
    found = root.findall(path)
    if not found:
        raise ValueError(f"no {path}")
    return found


def _text(root: ElementTree.Element, path: str) -> str:
    return (_need(root, path).text or "").strip()


def _number(root: ElementTree.Element, path: str) -> float:
    value = float(_text(root, path))
    if not np.isfinite(value):
        raise ValueError(f"{path} is not finite")
    return value


def _numbers(root: ElementTree.Element, path: str) -> Floats:
    return np.array(_text(root, path).split(), dtype=np.float64)


def _time(root: ElementTree.Element, path: str) -> np.datetime64:
    return np.datetime64(datetime.fromisoformat(_text(root, path)), "ns")


def _seconds(moment: np.datetime64, first: np.datetime64) -> float:
    return float((moment - first) / np.timedelta64(1, "ns")) * 1e-9
