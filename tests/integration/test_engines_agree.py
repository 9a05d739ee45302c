"""stackstac, odc-stac and the direct reader give the same bits of the sandbox: both zones, masks, the EnMAP cube."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.georef import GeoRef
from schemas.recipe import Catalog, Modality
from schemas.scene import SceneRef
from sources.catalog_api import ApiCatalog
from sources.engine import ENGINES, open_engine
from sources.openers import PlainOpener
from sources.sensors import to_scene_item
from tests.integration.support import World

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
OPENER = PlainOpener()


def inner(source: GeoRef, rows: int = 36, columns: int = 45) -> GeoRef:
    """A grid on the source's own lattice, across several of its blocks."""
    row, column = source.shape_yx[0] // 3, source.shape_yx[1] // 3
    x0, y0 = source.x0 + column * source.pixel_size, source.y0 - row * source.pixel_size
    return GeoRef(source.epsg, x0, y0, source.pixel_size, (rows, columns))


def same_bits(refs: list[SceneRef], target: GeoRef) -> np.ndarray:
    found = {name: open_engine(name).read(refs, target, "nearest", OPENER) for name in ENGINES}
    first = found["direct"]
    for name, pixels in found.items():
        assert pixels.dtype == first.dtype, name
        np.testing.assert_array_equal(pixels, first, err_msg=name)
    return first


@pytest.mark.parametrize(
    ("sensor", "collection", "text"),
    [
        ("sentinel-2-l2a", "sentinel-2-l2a", "20220620T101039_R022_T32UQU"),
        ("sentinel-2-l2a", "sentinel-2-l2a", "20220620T101039_R022_T33UTP"),
        ("landsat-c2-l2-sr", "landsat-c2-l2", "192027_20220808"),
        ("enmap-l2a", "enmap-l2a", "20220619"),
    ],
)
def test_the_same_bits_for_the_same_tile(world: World, sensor: str, collection: str, text: str) -> None:
    settings: dict[str, Any] = {"kind": "stac-api", "href": "x", "allow_local": True}
    catalog = ApiCatalog(Catalog.model_validate(settings), world.stac_url, OPENER)
    modality = Modality.model_validate({"sensor": sensor, "catalog": "c", "collection": collection})
    items = catalog.search(collection, (-180.0, -90.0, 180.0, 90.0))
    (scene,) = [to_scene_item(item, "m", modality, "c") for item in items if text in item["id"]]
    first = scene.refs[0].georef
    refs = [ref for ref in scene.refs if ref.georef == first][:3]
    pixels = same_bits(refs, inner(first))
    assert np.unique(pixels).size > 20
    for mask in scene.masks[:2]:
        same_bits([mask], inner(mask.georef))
    if sensor == "sentinel-2-l2a":  # between zones, by the nearest pixel
        import pyproj

        other = 32633 if first.epsg == 32632 else 32632
        here = inner(first)
        x, y = pyproj.Transformer.from_crs(first.epsg, other, always_xy=True).transform(here.x0 + 100, here.y0 - 100)
        there = GeoRef(other, round(x, -1), round(y, -1), first.pixel_size, (20, 25))
        assert (same_bits(refs[:1], there) != 0).mean() > 0.3
        same_bits([scene.masks[0]], GeoRef(other, there.x0, there.y0, 20.0, (10, 12)))
