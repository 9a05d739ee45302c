"""Texts that a paid model wrote are those that lie there now; a fused label says what it derives from."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from chips.rows import licence_entry
from flows.captioning import TEXTS
from flows.fragments import FragmentWriter
from flows.second_pass import cited, finished_row
from schemas.georef import GeoRef
from schemas.labels import LabelLayer


def test_texts_that_were_asked_again_are_read_anew(tmp_path: Path) -> None:
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {}, {"row": {"chip_id": "chip"}})
    folder = writer.commit({})
    assert finished_row("chip", folder) == ({"chip_id": "chip"}, [])
    for text in ("the template's", "the model's own"):
        records = [{"kind": "caption", "style": "short", "text": text}]
        (folder / "new").write_text(json.dumps({"chip": records}))
        os.replace(folder / "new", folder / TEXTS)
        assert finished_row("chip", folder) == ({"chip_id": "chip", "caption": text}, records)


def test_the_fused_label_is_cited_with_what_binds_it() -> None:
    osm = licence_entry("osm", "ODbL-1.0", "(c) OpenStreetMap contributors")
    cover = licence_entry("cover", "CC-BY-4.0", "(c) ESA")
    scenes = licence_entry("s2", "copernicus-sentinel", "Sentinel")
    grid = GeoRef(32632, 0.0, 0.0, 10.0, (1, 1))
    layers = {
        name: LabelLayer(name, np.zeros((1, 1), np.uint8), grid, 0, "worldcover", "", entry["id"])
        for name, entry in (("osm", osm), ("cover", cover))
    }
    fused = replace(layers["osm"], source="fused", share_alike=True)
    found = cited([cover, osm, scenes], fused, layers)
    assert [entry["layer"] for entry in found] == ["cover", "label", "osm", "s2"]
    assert (found[1]["id"], found[1]["share_alike"]) == ("ODbL-1.0", True)
    assert found[1]["attribution"] == "(c) OpenStreetMap contributors; (c) ESA"
    assert cited(found, fused, layers) == found
    assert cited([scenes], None, {}) == [scenes]
