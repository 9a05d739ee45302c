"""A layer's bands are those of the item that speaks, and of the table where none does."""

from __future__ import annotations

import json
from dataclasses import replace

from chips.plan import LayerPlan
from schemas.sensor import Band
from sources.layer_bands import layer_bands
from sources.scenes import EXTRA_BANDS
from tests.unit.chips.test_inputs import recipe
from tests.unit.sources.test_duplicates import scene


def test_an_item_that_brings_its_bands_speaks_before_the_table_and_before_those_that_nobody_wants() -> None:
    modality = recipe().modalities["s2"].model_copy(update={"orbit_state": "ascending"})
    layer = LayerPlan("s2_10m", "s2", "sentinel-2-l2a", 10.0, ("B04", "other"), "uint16", 0.0, "reflectance")
    own = json.dumps([Band(name="B04", gsd_m=10.0, centre_nm=1.0).model_dump(mode="json")])
    one = replace(scene("a"), orbit_state="ascending", extra=((EXTRA_BANDS, own),))
    unwanted = replace(one, orbit_state="descending", extra=((EXTRA_BANDS, own.replace("1.0", "2.0")),))
    assert [band.centre_nm for band in layer_bands(layer, modality, (unwanted, one))] == [1.0, None]
    assert [band.centre_nm for band in layer_bands(layer, modality, (one,), unwanted)] == [2.0, None]
    by_table = layer_bands(layer, modality, ())
    assert by_table[0].common_name == "red"
    assert by_table[1] == Band(name="other", gsd_m=10.0)
