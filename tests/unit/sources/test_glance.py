"""A look from afar sees what a whole read sees, and fails where it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.glance import glance
from sources.openers import PlainOpener
from tests.unit.sources.damage import spoil

SOURCE = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (160, 192))
GRIDS = {"chip": GeoRef(32633, 400_320.0, 5_299_680.0, 10.0, (64, 96))}


@pytest.fixture
def heights(make_raster: Callable[..., SceneRef]) -> SceneRef:
    """Two metres, but for the western half, where the file marks no data and the item does not say so."""
    pixels = np.full(SOURCE.shape_yx, 2, np.int16)
    pixels[:, :80] = -32_768
    ref = make_raster(pixels, SOURCE, tag=-32_768)
    with rasterio.open(ref.href, "r+") as file:
        file.build_overviews([2])
    return replace(ref, dtype="float32", nodata=None)


def test_what_the_file_marks_as_no_data_is_none_from_afar(heights: SceneRef) -> None:
    found = glance(heights, GRIDS, PlainOpener(), is_mask=False)
    assert found is not None
    assert found["chip"].shape == (32, 48)
    assert np.isnan(found["chip"][:, :24]).all()
    assert (found["chip"][:, 24:] == 2).all()


def test_it_lies_where_the_file_says_whatever_the_catalog_says(heights: SceneRef) -> None:
    """As a whole read has it: else the date is judged by other ground."""
    said = replace(heights, georef=replace(SOURCE, x0=SOURCE.x0 + 400))
    found, wrong = (glance(ref, GRIDS, PlainOpener(), is_mask=False) for ref in (heights, said))
    assert found is not None
    assert wrong is not None
    np.testing.assert_array_equal(wrong["chip"], found["chip"])
    finer = replace(heights, georef=replace(SOURCE, pixel_size=5.0, shape_yx=(320, 384)))
    assert glance(finer, {"chip": replace(GRIDS["chip"], pixel_size=5.0)}, PlainOpener(), is_mask=False) is None


def test_a_damaged_overview_is_not_looked_at(make_raster: Callable[..., SceneRef], tmp_path: Path) -> None:
    """One that GDAL alone takes, and says nothing: other dates would be chosen."""
    grid = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (256, 256))
    pixels = np.random.default_rng(2).choice(np.array([4, 8, 9], np.uint8), grid.shape_yx)
    ref, path = make_raster(pixels, grid), tmp_path / "b04.tif"
    rasterio.shutil.copy(
        ref.href, path, driver="COG", blocksize=128, compress="deflate", overview_resampling="nearest", overview_count=2
    )
    ref = replace(ref, href=str(path))
    found = glance(ref, {"chip": grid}, PlainOpener(), is_mask=True)
    assert found is not None
    spoil(path, OVERVIEW_LEVEL=1)
    with pytest.raises(DecodeError, match="checksum"):
        glance(ref, {"chip": grid}, PlainOpener(), is_mask=True)


def test_a_band_or_a_type_that_the_file_does_not_have_is_named(heights: SceneRef) -> None:
    for wrong in (replace(heights, band_index=4), replace(heights, dtype="uint8")):
        with pytest.raises(DecodeError, match="the file"):
            glance(wrong, GRIDS, PlainOpener(), is_mask=True)
