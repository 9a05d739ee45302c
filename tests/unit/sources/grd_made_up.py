"""A Sentinel-1 GRD product whose truth is known: amplitude drawn around the annotation of a real product.

Where a ground point lies in the image is solved here a second way: state vectors by Hermite interpolation, the
zero-Doppler time by bisection, and slant range turned into ground range by inverting the annotated polynomial of the
other direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from schemas.georef import GeoRef
from schemas.scene import SceneRef

PRODUCT = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
NAME = "s1b-iw-grd-vv-20211223t051122-20211223t051147-030148-039993-001"
GRID = GeoRef(32633, 330_000.0, 4_650_000.0, 10.0, (300, 360))
"""In the Apennines east of Rome, inside the image."""
BACKGROUND = 0.1
"""sigma0 of the ground, linear."""
LOOKS = 4.4


@dataclass(frozen=True)
class Product:
    """The files of a product and what is true of it."""

    image: Path
    annotation: Path
    calibration: Path
    noise: Path
    heights: Path
    targets: tuple[tuple[float, float], ...]
    """x and y of bright points in `GRID`'s zone."""

    def ref(self, **needs: str) -> SceneRef:
        """The image's ref."""
        found = {"annotation": self.annotation, "calibration": self.calibration, "noise": self.noise}
        pairs = {key: str(path) for key, path in found.items()} | {"quantity": "sigma0", "denoise": "yes"} | needs
        return SceneRef("grd", "vv", str(self.image), "vv", 1, GRID, "float32", -32768.0, needs=tuple(pairs.items()))

    def terrain(self) -> dict[str, str]:
        """Settings of a terrain correction with the product's own heights."""
        return {"geoid": "ellipsoid", "missing_heights": "nodata", "heights": str(self.heights)}


def hill(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height above the ellipsoid: a hill of 500 m on a plain at 300 m, too gentle for layover."""
    return 300.0 + 500.0 * np.exp(-(((x - 331_800.0) / 900.0) ** 2) - ((y - 4_648_500.0) / 800.0) ** 2)


class Geometry:
    """The second way from the ground into the image."""

    def __init__(self, annotation: Path) -> None:
        root = ElementTree.parse(annotation).getroot()
        image = root.find("imageAnnotation/imageInformation")
        assert image is not None
        self.first = np.datetime64(image.findtext("productFirstLineUtcTime"))
        self.interval = float(image.findtext("azimuthTimeInterval") or "")
        self.spacing = float(image.findtext("rangePixelSpacing") or "")
        self.shape = (int(image.findtext("numberOfLines") or ""), int(image.findtext("numberOfSamples") or ""))
        orbit = root.findall("generalAnnotation/orbitList/orbit")
        times = [self._seconds(row.findtext("time")) for row in orbit]
        positions = [[float(row.findtext(f"position/{a}") or "") for a in "xyz"] for row in orbit]
        velocities = [[float(row.findtext(f"velocity/{a}") or "") for a in "xyz"] for row in orbit]
        self.orbit = CubicHermiteSpline(times, positions, velocities)
        self.velocity = self.orbit.derivative()
        self.conversions = [
            (
                self._seconds(row.findtext("azimuthTime")),
                float(row.findtext("gr0") or ""),
                np.array((row.findtext("grsrCoefficients") or "").split(), dtype=float),
            )
            for row in root.findall("coordinateConversion/coordinateConversionList/coordinateConversion")
        ]

    def _seconds(self, text: str | None) -> float:
        return float((np.datetime64(text) - self.first) / np.timedelta64(1, "ns")) * 1e-9

    def line_and_sample(self, longitude: float, latitude: float, height: float) -> tuple[float, float]:
        """Where a point lies in the image."""
        ground = np.array(Transformer.from_crs(4979, 4978, always_xy=True).transform(longitude, latitude, height))

        def doppler(time: float) -> float:
            return float((ground - self.orbit(time)) @ self.velocity(time))

        time = brentq(doppler, -5.0, 30.0, xtol=1e-10)
        slant = float(np.linalg.norm(ground - self.orbit(time)))
        _, origin, coefficients = min(self.conversions, key=lambda c: abs(c[0] - time))
        distance = brentq(
            lambda r: np.polynomial.polynomial.polyval(r - origin, coefficients) - slant, -1e3, 3e5, xtol=1e-4
        )
        return time / self.interval, distance / self.spacing


def make_product(safe: Path, folder: Path) -> Product:
    """A product over `GRID` with speckle, thermal noise and point targets; empty elsewhere."""
    annotation = safe / "annotation" / f"{NAME}.xml"
    documents = [safe / "annotation" / "calibration" / f"{kind}-{NAME}.xml" for kind in ("calibration", "noise")]
    geometry = Geometry(annotation)
    to_lonlat = Transformer.from_crs(GRID.epsg, 4326, always_xy=True)
    left, bottom, right, top = GRID.bounds_xyxy
    targets = tuple(
        (left + 45.0 + 10 * column, top - 75.0 - 10 * row)
        for row, column in ((20, 30), (60, 300), (150, 180), (140, 175), (250, 80), (260, 320))
    )
    corners = [(x, y) for x in (left, (left + right) / 2, right) for y in (bottom, (bottom + top) / 2, top)]
    places = [
        geometry.line_and_sample(*to_lonlat.transform(x, y), float(hill(np.float64(x), np.float64(y))))
        for x, y in [*corners, *targets]
    ]
    lines, samples = np.array(places).T
    rows = slice(int(lines.min()) - 40, int(lines.max()) + 40)
    columns = slice(int(samples.min()) - 220, int(samples.max()) + 220)
    dn = _amplitude(documents[0], documents[1], rows, columns)
    for line, sample in places[len(corners) :]:
        row, column = round(line) - rows.start, round(sample) - columns.start
        dn[row, column] = 20_000
    image = folder / "vv.tiff"
    points = [GroundControlPoint(0, 0, 15.3, 42.4), GroundControlPoint(geometry.shape[0], 0, 14.9, 40.9)]
    points += [GroundControlPoint(0, geometry.shape[1], 12.2, 42.8), GroundControlPoint(*geometry.shape, 11.9, 41.3)]
    with rasterio.open(
        image, "w", driver="GTiff", dtype="uint16", count=1, height=geometry.shape[0], width=geometry.shape[1],
        tiled=True, blockxsize=512, blockysize=512, compress="deflate", sparse_ok=True, gcps=points, crs="EPSG:4326",
    ) as file:  # fmt: skip
        file.write(dn, 1, window=Window(columns.start, rows.start, dn.shape[1], dn.shape[0]))
    heights = folder / "heights.tif"
    wide = GeoRef(GRID.epsg, left - 600, top + 600, 30.0, (140, 160))
    with rasterio.open(
        heights, "w", driver="GTiff", dtype="float32", count=1, height=wide.shape_yx[0], width=wide.shape_yx[1],
        crs=f"EPSG:{GRID.epsg}", transform=Affine(*wide.transform),
    ) as file:  # fmt: skip
        file.write(hill(*np.meshgrid(wide.x_centres(), wide.y_centres())).astype(np.float32), 1)
    return Product(image, annotation, documents[0], documents[1], heights, targets)


def _amplitude(calibration: Path, noise: Path, rows: slice, columns: slice) -> NDArray[np.uint16]:
    """Digital numbers of `BACKGROUND` with speckle and thermal noise, by rules written out once more.

    The tables are looked up with SciPy's interpolator on the whole grid; the noise's azimuth factor by sub-swath.
    """
    from scipy.interpolate import RegularGridInterpolator

    shape = (rows.stop - rows.start, columns.stop - columns.start)
    lines, samples = np.mgrid[rows, columns]

    def table(path: Path, vectors: str, name: str) -> NDArray[np.float64]:
        found = ElementTree.parse(path).getroot().findall(vectors)
        at = [float(row.findtext("line") or "") for row in found]
        pixels = np.array((found[0].findtext("pixel") or "").split(), dtype=float)
        values = [
            np.interp(pixels, np.array((row.findtext("pixel") or "").split(), dtype=float),
                      np.array((row.findtext(name) or "").split(), dtype=float))
            for row in found
        ]  # fmt: skip
        look_up = RegularGridInterpolator((at, pixels), np.array(values))
        answer: NDArray[np.float64] = look_up(np.stack([lines, samples], axis=-1).reshape(-1, 2)).reshape(shape)
        return answer

    thermal = table(noise, "noiseRangeVectorList/noiseRangeVector", "noiseRangeLut")
    for row in ElementTree.parse(noise).getroot().findall("noiseAzimuthVectorList/noiseAzimuthVector"):
        inside = (samples >= int(row.findtext("firstRangeSample") or "")) & (
            samples <= int(row.findtext("lastRangeSample") or "")
        )
        at = np.array((row.findtext("line") or "").split(), dtype=float)
        factor = np.interp(lines, at, np.array((row.findtext("noiseAzimuthLut") or "").split(), dtype=float))
        thermal = np.where(inside, thermal * factor, thermal)
    gain = table(calibration, "calibrationVectorList/calibrationVector", "sigmaNought") ** 2
    speckle = np.random.default_rng(11).gamma(LOOKS, 1 / LOOKS, shape)
    return np.clip(np.round(np.sqrt((BACKGROUND * gain + thermal) * speckle)), 1, 65535).astype(np.uint16)
