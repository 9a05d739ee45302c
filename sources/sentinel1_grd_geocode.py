"""Where a point of the ground lies in a Sentinel-1 GRD image: by range and Doppler, or approximately by tie points.

The zero-Doppler equation is solved by sarsen (Newton's method over a polynomial through the annotated orbit); range
becomes a sample number by the annotated polynomials. Both are smooth in place and height, so they are solved on nodes
160 m apart at three heights and interpolated: quadratic in height, linear in place (below a thousandth of a pixel).
Source: Guide to Sentinel-1 Geocoding, UZH-S1-GC-AD 1.10.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyproj
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer

from schemas.georef import GeoRef
from sources.sentinel1_grd_annotation import Annotation

Floats = NDArray[np.float64]
SPEED_OF_LIGHT_M_S = 299_792_458.0
NODE_STEP_M = 160.0
"""Distance of the nodes."""
ORBIT_DEGREE = 5
"""Of the polynomial through the state vectors (sarsen's own); 7, 9 and 11 move no point by a thousandth of a line."""


def image_coordinates(annotation: Annotation, target: GeoRef, heights_m: Floats) -> tuple[Floats, Floats]:
    """(line, sample) of every pixel centre of the target, by range and Doppler.

    Args:
        annotation: of the image.
        target: any projected grid in metres.
        heights_m: (y, x) above the ellipsoid; NaN where unknown, and NaN comes out there.

    Returns:
        Two (y, x) arrays; numbers outside the image mean that it does not show the point.
    """
    known = heights_m[np.isfinite(heights_m)]
    if not known.size:
        nothing = np.full(target.shape_yx, np.nan)
        return nothing, nothing.copy()
    low, high = float(known.min()), float(known.max())
    levels = np.array([low, (low + high) / 2, high]) if high - low > 1.0 else np.array([low, low + 1.0, low + 2.0])
    x_nodes, y_nodes = _nodes(target)
    longitude, latitude = _lonlat(target.epsg, *np.meshgrid(x_nodes, y_nodes))
    solved = [solve_range_doppler(annotation, longitude, latitude, np.full(longitude.shape, level)) for level in levels]
    lines = _at(target, x_nodes, y_nodes, np.stack([line for line, _ in solved]), levels, heights_m)
    samples = _at(target, x_nodes, y_nodes, np.stack([sample for _, sample in solved]), levels, heights_m)
    return lines, samples


def solve_range_doppler(
    annotation: Annotation, longitude: Floats, latitude: Floats, height_m: Floats
) -> tuple[Floats, Floats]:
    """(line, sample) of points given in EPSG:4979, any shape.

    Against the geolocation grid of a real product: within 0.2 lines and 0.6 samples, 0.01 and 0.04 in the mean.
    """
    import xarray as xr
    from sarsen.geocoding import backward_geocode
    from sarsen.orbit import OrbitPolyfitInterpolator

    to_ecef = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    ground = np.stack(to_ecef.transform(longitude.ravel(), latitude.ravel(), height_m.ravel()))
    times = annotation.first_line_utc + np.round(annotation.orbit_times_s * 1e9).astype("timedelta64[ns]")
    positions = xr.DataArray(
        annotation.orbit_positions_m.T, dims=("axis", "azimuth_time"), coords={"axis": [0, 1, 2], "azimuth_time": times}
    )
    middle = annotation.first_line_utc + np.timedelta64(
        round(annotation.line_interval_s * annotation.shape_yx[0] / 2 * 1e9), "ns"
    )
    orbit = OrbitPolyfitInterpolator.from_position(positions, deg=ORBIT_DEGREE, epoch=middle)
    points = xr.DataArray(ground, dims=("axis", "point"), coords={"axis": [0, 1, 2]})
    found = backward_geocode(points, orbit, zero_doppler_distance=0.01)
    slant_range_m = np.sqrt((found["dem_distance"].values ** 2).sum(axis=found["dem_distance"].dims.index("axis")))
    time_s = (found["azimuth_time"].values - annotation.first_line_utc) / np.timedelta64(1, "ns") * 1e-9
    sample = annotation.ground_range(time_s, slant_range_m) / annotation.pixel_spacing_m
    return (time_s / annotation.line_interval_s).reshape(longitude.shape), sample.reshape(longitude.shape)


def tie_point_coordinates(annotation: Annotation, target: GeoRef) -> tuple[Floats, Floats]:
    """(line, sample) of every pixel centre by a thin plate through the geolocation grid: wrong in relief.

    The tie points lie at the heights that the processor used; what stands higher or lower than its surroundings is
    shifted in range by its height over the tangent of the incidence angle.
    """
    points = tuple((p.line, p.pixel, p.longitude, p.latitude) for p in annotation.tie_points)
    x_nodes, y_nodes = _nodes(target)
    longitude, latitude = _lonlat(target.epsg, *np.meshgrid(x_nodes, y_nodes))
    with GCPTransformer([GroundControlPoint(*point) for point in points], tps=True) as transformer:
        rows, columns = transformer.rowcol(longitude.ravel(), latitude.ravel(), op=np.asarray)
    nothing = np.zeros(target.shape_yx)
    levels = np.array([-1.0, 0.0, 1.0])
    found = []
    for flat in (rows, columns):
        nodes = np.asarray(flat, dtype=np.float64).reshape(longitude.shape)
        found.append(_at(target, x_nodes, y_nodes, np.stack([nodes] * 3), levels, nothing))
    return found[0], found[1]


def _nodes(target: GeoRef) -> tuple[Floats, Floats]:
    """x rising and y rising of nodes that hold all the pixel centres."""
    left, bottom, right, top = target.bounds_xyxy
    across = max(2, int(np.ceil((right - left) / NODE_STEP_M)) + 1)
    along = max(2, int(np.ceil((top - bottom) / NODE_STEP_M)) + 1)
    return np.linspace(left, right, across), np.linspace(bottom, top, along)


def _at(target: GeoRef, x_nodes: Floats, y_nodes: Floats, values: Floats, levels: Floats, heights_m: Floats) -> Floats:
    """(y, x) of the target: linear between nodes, quadratic between the three levels of height."""
    columns, column_share = _place(target.x_centres(), x_nodes)
    rows, row_share = _place(target.y_centres(), y_nodes)
    answer = np.zeros(target.shape_yx)
    for k in range(3):
        layer = values[k]
        upper = layer[rows][:, columns] * (1 - column_share) + layer[rows][:, columns + 1] * column_share
        lower = layer[rows + 1][:, columns] * (1 - column_share) + layer[rows + 1][:, columns + 1] * column_share
        here = upper * (1 - row_share[:, np.newaxis]) + lower * row_share[:, np.newaxis]
        i, j = (n for n in range(3) if n != k)
        weight = (heights_m - levels[i]) * (heights_m - levels[j])
        answer += here * weight / ((levels[k] - levels[i]) * (levels[k] - levels[j]))
    return answer


def _place(centres: Floats, nodes: Floats) -> tuple[NDArray[np.intp], Floats]:
    place = (centres - nodes[0]) / (nodes[1] - nodes[0])
    lower = np.clip(np.floor(place).astype(np.intp), 0, nodes.size - 2)
    return lower, place - lower


def _lonlat(epsg: int, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    longitude, latitude = _to_lonlat(epsg).transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


@lru_cache(maxsize=64)
def _to_lonlat(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
