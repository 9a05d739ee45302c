"""Items that are wrong in any way become a `SceneItem` or a `SourceError` that names them; nothing else comes out."""

from __future__ import annotations

import copy
import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import RecipeError, SourceError
from schemas.recipe import Modality
from sources.sensors import to_scene_item
from sources.window import SearchWindow, select_items

EARTH = SearchWindow((-180.0, -90.0, 180.0, 90.0), None, None, {})
FILES = {
    "earth-search/sentinel-2-l2a": ("sentinel-2-l2a", ()),
    "planetary-computer/sentinel-2-l2a": ("sentinel-2-l2a", ()),
    "planetary-computer/landsat-c2-l2": ("landsat-c2-l2-sr", ()),
    "planetary-computer/sentinel-1-rtc": ("sentinel-1-rtc", ("vv",)),
    "earth-search/sentinel-1-grd": ("sentinel-1-grd", ("hh",)),
    "dlr-eoc/ENMAP_HSI_L2A": ("enmap-l2a", ()),
    "nasa-cmr/HLSL30.v1.5": ("hls", ()),
    "earth-search/cop-dem-glo-30": ("dem", ()),
}
JUNK: list[Any] = [
    None, "", "n/a", "12", "NaN", "∞", -1, 0, 1e308, math.nan, math.inf, [], {}, [None], [[]], {"a": 1}, True, "EPSG:0",
    "EPSG:99999999", 3271, "../../etc/passwd", "file:///etc/passwd", "2022-13-45T99:99:99Z", "\x00\x1b[31m", "a" * 5000,
]  # fmt: skip


@cache
def real_items(realdata: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((realdata / "stac-items" / f"{name}.items.json").read_text())["features"]
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a document."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        found += places(part, (*path, key))
    return found


def spoil(item: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The item with one to three of its parts replaced or taken away; its id stays."""
    spoilt = copy.deepcopy(item)
    spoilt.pop("links", None)
    for _ in range(rng.randint(1, 3)):
        found = [path for path in places(spoilt) if path != ("id",)]
        shallow = [path for path in found if len(path) <= 2 or path[0] != "geometry"]
        *parents, last = rng.choice(shallow)
        parent: Any = spoilt
        for key in parents:
            parent = parent[key]
        if rng.random() < 0.4:
            del parent[last]
        else:
            parent[last] = copy.deepcopy(rng.choice(JUNK))
    return spoilt


@pytest.mark.realdata
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_item_is_a_scene_or_a_named_failure(realdata: Path, name: str) -> None:
    sensor, bands = FILES[name]
    modality = Modality.model_validate(
        {"sensor": sensor, "catalog": "c", "collection": "k", "bands": bands}
        | ({"ground_range": {}} if sensor == "sentinel-1-grd" else {})
    )
    rng = random.Random(name)
    read = named = 0
    for item in real_items(realdata, name)[:3]:
        for _ in range(30):
            spoilt = spoil(item, rng)
            try:
                for one in select_items([spoilt], EARTH, "https://example.org/stac", False, ""):
                    scene = to_scene_item(one, "m", modality, "c")
                    read += 1
                    for ref in (*scene.refs, *scene.masks):
                        assert not ref.href.startswith(("file:", "/", "..")), "of a remote catalog"
                        assert np.isfinite([ref.scale, ref.offset, ref.georef.x0, ref.georef.pixel_size]).all()
                        assert min(ref.georef.shape_yx) > 0
            except (SourceError, RecipeError) as error:
                named += bool(str(error))
    assert named > 2
    assert read > 20 or name.startswith("nasa-cmr"), "most faults do not touch what is read; HLS items state no lattice"
