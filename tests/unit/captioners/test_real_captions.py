"""Captions over real pixels: shares and index recomputed by a plain read of the files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio

from captioners.base import CaptionInput
from captioners.facts import fact_sheet
from captioners.facts_scene import DatedBands
from captioners.reading import read_sheet
from captioners.template import KINDS, template_records
from schemas.georef import GeoRef
from schemas.labels import FeatureTable
from schemas.legend import load_legend
from tests.unit.captioners.judge_records import judge_record
from tests.unit.captioners.worlds import World, caption_input

LABELS = {
    "lc-label": "lc-label/data/LABEL_wervik_2018",
    "terramesh-lulc": "terramesh-lulc/data",
    "enmap-landcover": "enmap-landcover/data/LANDCOVER_potsdam",
}


@pytest.mark.realdata
@pytest.mark.parametrize("legend", sorted(LABELS))
def test_real_labels_give_true_shares_and_texts_that_pass(legend: str, realdata: Path) -> None:
    paths = sorted(p for p in (realdata / "catalog" / LABELS[legend]).rglob("*.tif") if p.stem != "CT")
    assert paths
    for path in paths:
        with rasterio.open(path) as source:
            codes, transform, epsg = source.read(1), source.transform, source.crs.to_epsg()
        georef = GeoRef(epsg, transform.c, transform.f, transform.a, codes.shape)
        sheet = fact_sheet(path.stem, codes, load_legend(legend), georef, by="code", label_source=legend)
        known = [entry.code for entry in load_legend(legend).classes]
        counts = Counter(int(v) for v in codes.ravel() if int(v) in known)
        for one in read_sheet(sheet).classes:
            assert one.share == pytest.approx(100 * counts[one.code] / counts.total(), abs=1e-5)
        assert {one.code for one in read_sheet(sheet).classes} == set(counts)
        for row in template_records(CaptionInput(path.stem, sheet, legend=legend)):
            assert row.verification == "pass", (row.text, row.checks)


@pytest.mark.realdata
def test_the_index_of_a_real_clear_date_agrees_with_a_plain_computation(realdata: Path) -> None:
    folder = next((realdata / "catalog" / "sentinel-2-l2a" / "data").glob("*20180802*wervik"))
    bands = {}
    for name, key in (("red", "B04"), ("nir", "B08"), ("green", "B03")):
        with rasterio.open(folder / f"{key}.tif") as source:
            bands[name] = source.read(1).astype(np.float32) * 1e-4
            transform, epsg = source.transform, source.crs.to_epsg()
    georef = GeoRef(epsg, transform.c, transform.f, transform.a, bands["red"].shape)
    scene = DatedBands("s2", "2018-08-02", bands, np.ones(bands["red"].shape, np.uint8))
    sheet = fact_sheet("wervik", None, None, georef, scenes=[scene])
    truth = np.mean((bands["nir"].astype(float) - bands["red"]) / (bands["nir"].astype(float) + bands["red"]))
    fact = sheet.get("index.ndvi.s2.2018-08-02")
    assert fact is not None
    assert float(fact.value) == pytest.approx(truth, abs=2e-4)
    season = sheet.get("season.s2.2018-08-02")
    assert season is not None
    assert season.value == "summer"


WINDOWS = {**LABELS, "worldcover": "../worldcover"}
SIZE = 64


def windows(legend: str, realdata: Path) -> list[np.ndarray]:
    """Windows of real label rasters, at most twelve, spread over their files."""
    paths = sorted(p for p in (realdata / "catalog" / WINDOWS[legend]).rglob("*.tif") if p.stem != "CT")
    found = []
    for path in [p for p in paths if "InputQuality" not in p.name]:
        with rasterio.open(path) as source:
            codes = source.read(1)
        rows, columns = codes.shape[0] // SIZE, codes.shape[1] // SIZE
        every = [(r, c) for r in range(rows) for c in range(columns)]
        step = max(1, len(every) // 6)
        found += [codes[r * SIZE : (r + 1) * SIZE, c * SIZE : (c + 1) * SIZE] for r, c in every[::step][:6]]
    return found[:12]


@pytest.mark.realdata
@pytest.mark.parametrize("legend", sorted(WINDOWS))
def test_nothing_that_is_said_of_real_labels_is_false(legend: str, realdata: Path) -> None:
    """Every kind of text over real label maps, judged by the judge that shares no code with the captioners.

    The windows are taken as they lie, each pixel as 10 m: WorldCover's are degrees, EnMAP's labels 30 m.
    """
    table = load_legend(legend)
    judged = 0
    wrong: list[str] = []
    for number, codes in enumerate(windows(legend, realdata)):
        label = np.full(codes.shape, 255, np.uint8)
        for position, entry in enumerate(table.classes):
            label[codes == entry.code] = position
        if (label == 255).all():
            continue
        georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, codes.shape)
        world = World(label, table, georef, FeatureTable("osm", 32631, (), ""), (), None, measured=False)
        for row in template_records(caption_input(world, f"{legend}-{number}", kinds=tuple(KINDS))):
            judged += 1
            assert row.verification == "pass", (row.text, row.checks)
            wrong += [f"{legend} {number} {row.kind}/{row.style}: {one}" for one in judge_record(world, row)]
    assert judged > 25
    assert not wrong, "\n".join(wrong[:20])
