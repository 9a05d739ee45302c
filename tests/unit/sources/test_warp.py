"""One resampling between lattices: its kernel is that of the two pixel sizes, whatever the extents are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.warp import kernel_stretch, needed_window, warp_into

ZONE_31 = GeoRef(32631, 720_000.0, 5_600_000.0, 30.0, (240, 260))
"""At the eastern edge of its zone, where the neighbour's north is 4.7 degrees off."""


def warped(source: GeoRef, pixels: NDArray[np.float32], target: GeoRef, resampling: str) -> NDArray[np.float32]:
    """The source on the target, from the window that it needs."""
    window = needed_window(source, target, resampling)
    assert window is not None
    rows, columns = window.toslices()
    part = GeoRef(
        source.epsg,
        source.x0 + columns.start * source.pixel_size,
        source.y0 - rows.start * source.pixel_size,
        source.pixel_size,
        (rows.stop - rows.start, columns.stop - columns.start),
    )
    answer = np.full((1, *target.shape_yx), np.nan, np.float32)
    ref = SceneRef("i", "a", "a.tif", "b", 1, source, "float32", None)
    warp_into(answer, [0], [ref], pixels[np.newaxis, rows, columns], part, target, resampling)
    return answer[0]


def noise(source: GeoRef) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(0, 2000, source.shape_yx).astype(np.float32)


def beside(shape_yx: tuple[int, int], east_m: float = 3_000.0) -> GeoRef:
    """A target of zone 32 over the source."""
    x, y = Transformer.from_crs(32631, 32632, always_xy=True).transform(720_000.0 + east_m, 5_596_400.0)
    return GeoRef(32632, round(x / 30) * 30.0, round(y / 30) * 30.0 + 15 * shape_yx[0], 30.0, shape_yx)


@pytest.mark.parametrize("east_m", [-700.0, 0.0, 3_000.0, 6_500.0], ids=["over its edge", "at it", "inside", "east"])
def test_a_neighbouring_zone_is_interpolated_and_not_smoothed(east_m: float) -> None:
    target, pixels = beside((60, 64), east_m), noise(ZONE_31)
    x, y = np.meshgrid(target.x_centres(), target.y_centres())
    x, y = Transformer.from_crs(32632, 32631, always_xy=True).transform(x, y)
    places = [(ZONE_31.y0 - y) / 30 - 0.5, (x - ZONE_31.x0) / 30 - 0.5]
    exact = ndimage.map_coordinates(pixels.astype(float), places, order=1, cval=np.nan)
    found = warped(ZONE_31, pixels, target, "bilinear")
    inside = np.isfinite(exact)
    assert inside.mean() > 0.3
    assert np.abs(found - exact)[inside].max() < 1.0, "of 2000: the transformation is drawn, see `warp_into`"


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
@pytest.mark.parametrize("size_m", [10.0, 20.0, 30.0, 90.0])
def test_a_chip_and_a_part_of_it_are_resampled_by_one_kernel(resampling: str, size_m: float) -> None:
    fine = GeoRef(32631, 720_000.0, 5_596_400.0 + 120 * size_m, size_m, (240, 260))
    pixels, whole = noise(fine), beside((24, 36), 20 * size_m)
    part = GeoRef(whole.epsg, whole.x0 + 90.0, whole.y0 - 60.0, 30.0, (5, 7))
    large = warped(fine, pixels, whole, resampling)[2:7, 3:10]
    small = warped(fine, pixels, part, resampling)
    assert np.isfinite(small).all()
    np.testing.assert_allclose(small, large, atol=1.0)


def test_the_stretch_is_that_of_the_pixels() -> None:
    target = beside((24, 36))
    assert kernel_stretch(ZONE_31, target) == (1.0, 1.0), "turned, not smaller"
    assert kernel_stretch(GeoRef(32631, 0.0, 0.0, 10.0, (9, 9)), target) == (3.0, 3.0)
    assert kernel_stretch(GeoRef(32631, 0.0, 0.0, 90.0, (9, 9)), target) == (1.0, 1.0), "finer pixels need no more"
    across, down = kernel_stretch(GeoRef(4326, 6.0, 50.5, 1 / 3600, (9, 9), 1 / 7200), target)
    assert (across, down) == pytest.approx((1.53, 1.94), abs=0.03), "of degrees, flat"
    seam = GeoRef(32701, 180_000.0, 8_000_000.0, 10.0, (4, 3))
    assert kernel_stretch(GeoRef(4326, 179.0, -17.0, 1 / 36_000, (9, 9)), seam)[0] < 4, "over the antimeridian"
