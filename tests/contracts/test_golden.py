"""Bytes that change without their step's version are found here: raise the version in flows/steps.py, then record anew.

    python tests/contracts/test_golden.py        writes tests/contracts/golden.json

Only exact arithmetic is recorded (places, counts, words, bytes of a shard), so that the file holds on every machine.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely

from captioners.base import CaptionInput, make_captioner
from captioners.facts import fact_sheet
from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.plan import chip_specs, plan_cells
from flows.steps import STEPS
from labelers import fuse
from labelers.voters import setup_of
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.legend import load_legend
from schemas.recipe import Captions, Labels, Recipe
from schemas.sample import LayerArrays, Sample
from shards.storage import open_storage
from shards.tar import write_shard

GOLDEN = Path(__file__).with_name("golden.json")
GRID = GeoRef(32632, 722_880.0, 5_300_160.0, 10.0, (32, 48))


def _cover() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(32, 48) WorldCover codes: crops, a wood in the north-west, a river from west to east, a village."""
    codes = np.full(GRID.shape_yx, 40, np.uint8)
    codes[:10, :16], codes[20:22], codes[24:29, 30:40] = 10, 80, 50
    return codes


def _plan() -> bytes:
    recipe = Recipe.model_validate(
        {
            "format": 1,
            "name": "golden",
            "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
            "regions": [{"name": "seam", "bbox": [11.95, 47.80, 12.05, 47.85]}],
            "grid": {"chip_m": 960},
            "time": {"start": "2021-01-01", "end": "2021-12-31"},
            "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}},
        }
    )
    cells = CellTable.concat(cells_of(recipe.grid, {"seam": shapely.box(11.95, 47.80, 12.05, 47.85)}))
    planned = plan_cells(recipe, cells)
    chips = chip_specs(recipe, planned, shapely.to_wkb(planned.cells.footprints()))
    rows = [
        (c.chip_id, c.epsg, c.bounds_xyxy, c.split, c.block_id, c.majortom_cell, str(c.reference_utc)) for c in chips
    ]
    return json.dumps([recipe.hash(), rows]).encode()


def _fuse() -> bytes:
    sources = {name: {"kind": "worldcover", "href": f"{name}.tif"} for name in ("a", "b")}
    labels = Labels.model_validate({"sources": sources, "fuse": {"method": "vote", "legend": "worldcover-11"}})
    votes = [
        LabelLayer(name, codes, GRID, 0, "worldcover", "2021", "CC-BY-4.0")
        for name, codes in (("a", _cover()), ("b", np.roll(_cover(), 2, axis=1)))
    ]
    setup = setup_of(labels)
    counted = fuse.statistics(votes, setup)
    label, confidence = fuse.apply(fuse.estimate(counted, setup), votes)
    return json.dumps(counted.to_dict()).encode() + label.tobytes() + confidence.tobytes()


def _caption() -> bytes:
    legend = load_legend("worldcover")
    sheet = fact_sheet("32N_753_5520", _cover(), legend, GRID, by="code", label_source="worldcover")
    kinds = ("short", "long", "qa")
    (records,) = make_captioner(Captions(kinds=kinds)).write(
        [CaptionInput("32N_753_5520", sheet, legend.name, kinds=kinds)]
    )
    return json.dumps([record.model_dump(mode="json") for record in records], sort_keys=True).encode()


def _write() -> bytes:
    time = np.array([datetime(2021, 6, 1), datetime(2021, 7, 1)], "datetime64[ns]")
    data = (np.arange(2 * 3 * 4 * 5) * 37 % 4001).astype(np.uint16).reshape(2, 3, 4, 5)
    layer = LayerArrays(
        data,
        np.ones((2, 4, 5), np.uint8),
        time,
        np.full(2, 1e-4),
        np.array([0.0, -0.1]),
        GeoRef(32632, 0.0, 0.0, 10.0, (4, 5)),
    )
    row = {
        "chip_id": "a",
        "s2.datetimes": [datetime(2021, 6, 1, tzinfo=UTC)],
        "s2.transform": [10.0, 0, 0, 0, -10.0, 0],
    }
    sample = Sample(
        "a", "train", {"s2": layer}, {"worldcover": _cover()}, _cover() // 10, _cover(), {"type": "FeatureCollection"},
        ({"text_id": "a-1", "text": "Größe: 5 ha"},), row,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        root, scratch = Path(folder) / "dataset", Path(folder) / "scratch"
        scratch.mkdir()
        written = write_shard(open_storage(root), "train", 0, [sample], scratch=scratch)
        return (root / written.record.path).read_bytes() + json.dumps(asdict(written.index["a"])).encode()


STEPS_RECORDED: dict[str, Callable[[], bytes]] = {"plan": _plan, "fuse": _fuse, "caption": _caption, "write": _write}


def recorded() -> dict[str, dict[str, str]]:
    """Step -> its declared version and the hash of what it makes now."""
    return {
        step: {"version": STEPS[step], "sha256": hashlib.sha256(make()).hexdigest()}
        for step, make in STEPS_RECORDED.items()
    }


@pytest.mark.parametrize("step", STEPS_RECORDED)
def test_bytes_change_only_with_the_steps_version(step: str) -> None:
    golden = json.loads(GOLDEN.read_text())[step]
    now = recorded()[step]
    if golden["version"] == now["version"]:
        assert now["sha256"] == golden["sha256"], (
            f"step {step!r} makes other bytes: raise its version in flows/steps.py"
        )
    assert now == golden, f"step {step!r} has a new version: record it (python tests/contracts/test_golden.py)"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(recorded(), indent=1) + "\n")
