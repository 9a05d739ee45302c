"""Files and items are what the providers ship."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio

from sandbox.place import regions_of
from sandbox.products import SandboxIndex, _clear, read_index, write_sandbox
from sandbox.scenes import scenes_of
from schemas.errors import UserError

Items = list[dict[str, Any]]


def of(items: Items, collection: str) -> Items:
    return [one for one in items if one["collection"] == collection]


def read(files: Path, item: dict[str, Any], asset: str) -> np.ndarray:
    with rasterio.open(files / item["assets"][asset]["href"]) as data:
        values: np.ndarray = data.read()
    return values[0] if values.shape[0] == 1 else values


def test_every_collection_is_there(tiny: SandboxIndex, items: Items) -> None:
    wanted = {"sentinel-2-l2a", "sentinel-1-rtc", "landsat-c2-l2", "enmap-l2a"}
    wanted |= {"esa-worldcover", "corine-clc2018", "osm-extract"}
    assert set(tiny.collections) == wanted == {one["collection"] for one in items}
    assert tiny.item_count == len(items)
    assert tiny.bytes < 25e6


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"size": "tiny"}', '{"size": "tiny", "regions": {"n": [1]}}'])
def test_a_sandbox_json_of_another_kind_is_refused_and_nothing_is_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "sandbox.json").write_text(content)
    (tmp_path / "files").mkdir()
    for call in (lambda: write_sandbox(tmp_path, size="tiny"), lambda: read_index(tmp_path)):
        with pytest.raises(UserError, match=r"sandbox\.json: this file is no index of a sandbox .remove it"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "sandbox.json"]


def test_a_second_call_finds_what_is_there(tiny: SandboxIndex) -> None:
    before = (tiny.root / "sandbox.json").stat().st_mtime_ns
    assert write_sandbox(tiny.root, size="tiny", seed=7) == tiny == read_index(tiny.root)
    assert (tiny.root / "sandbox.json").stat().st_mtime_ns == before


def test_a_sandbox_that_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "sandbox.unfinished").touch()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "torn.tif").touch()
    (tmp_path / "mine.txt").touch()
    _clear(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt", "sandbox.unfinished"]


def test_every_item_is_valid_json_for_pystac_and_keeps_its_links(items: Items) -> None:
    for one in items:
        parsed = pystac.Item.from_dict(json.loads(json.dumps(one)))
        assert set(parsed.assets) == set(one["assets"])


def test_size_and_checksum_are_those_of_the_files(items: Items, files: Path) -> None:
    for one in items:
        for asset in one["assets"].values():
            content = (files / asset["href"]).read_bytes()
            assert asset["file:size"] == len(content)
            assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()


def test_rasters_are_cogs_that_lie_where_their_items_say(items: Items, files: Path) -> None:
    for one in items:
        for asset in one["assets"].values():
            if "cloud-optimized" not in asset["type"]:
                continue
            with rasterio.open(files / asset["href"]) as data:
                assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                place = asset if "proj:transform" in asset else one["properties"]
                assert list(data.transform)[:6] == pytest.approx(place["proj:transform"])
                assert [data.height, data.width] == place["proj:shape"]
                code = asset.get("proj:code") or one["properties"]["proj:code"]
                assert code == f"EPSG:{data.crs.to_epsg()}"


def test_sentinel2_has_all_bands_at_native_sizes(items: Items, files: Path) -> None:
    gsds = {
        "B02": 10,
        "B03": 10,
        "B04": 10,
        "B08": 10,
        "B05": 20,
        "B06": 20,
        "B07": 20,
        "B8A": 20,
        "B11": 20,
        "B12": 20,
    }
    gsds |= {"B01": 60, "B09": 60, "SCL": 20}
    for one in of(items, "sentinel-2-l2a"):
        assert set(one["assets"]) == set(gsds) | {"product-metadata"}
        for name, gsd in gsds.items():
            with rasterio.open(files / one["assets"][name]["href"]) as data:
                assert data.res == (gsd, gsd)
                assert data.dtypes == ("uint8" if name == "SCL" else "uint16",)
                assert data.nodata == 0


def test_sentinel2_edges_lie_on_sixty_metres_and_at_forty_in_the_south(items: Items) -> None:
    for one in of(items, "sentinel-2-l2a"):
        left, bottom, right, top = one["assets"]["B01"]["proj:bbox"]
        y = 40 if one["properties"]["proj:epsg"] == 32734 else 0
        assert (left % 60, right % 60, bottom % 60, top % 60) == (0, 0, y, y)
        assert (
            one["assets"]["B02"]["proj:bbox"] == one["assets"]["B05"]["proj:bbox"] == one["assets"]["B01"]["proj:bbox"]
        )


def test_tiles_meet_at_the_seam_in_both_zones(items: Items) -> None:
    tiles = {
        one["properties"]["s2:mgrs_tile"]: one["assets"]["B02"]["proj:bbox"] for one in of(items, "sentinel-2-l2a")
    }
    assert set(tiles) == {"32UQU", "32TQT", "33UTP", "33TTN", "34HCH"}
    for upper, lower in (("32UQU", "32TQT"), ("33UTP", "33TTN")):
        assert tiles[lower][3] == 5_300_040
        assert tiles[upper][1] < 5_300_000 < tiles[lower][3]


def test_overlap_of_two_tiles_holds_the_same_pixels(items: Items, files: Path) -> None:
    pair = {
        one["properties"]["s2:mgrs_tile"]: one
        for one in of(items, "sentinel-2-l2a")
        if one["properties"]["datetime"].startswith("2022-06-20")
    }
    upper, lower = pair["32UQU"], pair["32TQT"]
    high, low = read(files, upper, "B8A"), read(files, lower, "B8A")
    first = round((upper["assets"]["B8A"]["proj:bbox"][3] - lower["assets"]["B8A"]["proj:bbox"][3]) / 20)
    common = high.shape[0] - first
    assert common > 10
    assert np.array_equal(high[first:], low[:common])


def test_landsat_edges_are_odd_multiples_of_fifteen_and_negative_in_the_south(items: Items) -> None:
    for one in of(items, "landsat-c2-l2"):
        _, _, left, _, _, top = one["properties"]["proj:transform"]
        assert left % 30 == 15
        assert top % 30 == 15
        assert 32601 <= one["properties"]["proj:epsg"] <= 32660
        assert (top < 0) == (one["bbox"][1] < 0)
        assert set(one["assets"]) == {
            "coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "lwir11", "qa_pixel", "qa_radsat"
        }  # fmt: skip


def test_enmap_and_landsat_differ_by_ten_metres_in_the_south(items: Items) -> None:
    landsat = next(one for one in of(items, "landsat-c2-l2") if one["bbox"][1] < 0)
    enmap = next(one for one in of(items, "enmap-l2a") if one["bbox"][1] < 0)
    top = enmap["assets"]["image"]["proj:transform"][5]
    assert top % 30 == 15
    assert (landsat["properties"]["proj:transform"][5] + 10_000_000 - top) % 30 == 10


def test_enmap_is_one_cube_whose_bands_step_back_once(items: Items, files: Path) -> None:
    one = of(items, "enmap-l2a")[0]
    assert one["properties"]["proj:epsg"] is None
    assert isinstance(one["properties"]["eo:cloud_cover"], str)
    bands = one["assets"]["image"]["eo:bands"]
    centres = np.array([b["center_wavelength"] for b in bands])
    assert [b["name"] for b in bands] == list(range(1, 225))
    assert (np.diff(centres) < 0).sum() == 1
    assert (centres[90], centres[91]) == (993.338, 901.962)
    cube = read(files, one, "image")
    assert cube.shape[0] == 224
    assert cube.dtype == np.int16
    assert (cube[129:135] == -32768).all()
    assert (np.delete(cube, range(129, 135), axis=0) != -32768).all()


def test_worldcover_lies_on_its_lattice_and_breaks_at_twelve_degrees(items: Items) -> None:
    for one in of(items, "esa-worldcover"):
        step, _, left, _, _, top = one["assets"]["map"]["proj:transform"]
        assert step == pytest.approx(1 / 12000)
        assert left * 12000 == pytest.approx(round(left * 12000), abs=1e-4)
        assert top * 12000 == pytest.approx(round(top * 12000), abs=1e-4)
        assert one["properties"]["datetime"] is None
    names = {one["id"].rsplit("_", 1)[-1] for one in of(items, "esa-worldcover")}
    assert names == {"N45E009", "N45E012", "S36E018"}


def test_corine_is_european_only_and_holds_no_patch_under_its_unit(items: Items, files: Path) -> None:
    (one,) = of(items, "corine-clc2018")
    assert one["bbox"][1] > 0
    with rasterio.open(files / one["assets"]["clc"]["href"]) as data:
        codes = data.read(1)
        assert data.crs.to_epsg() == 3035
        assert data.res == (100, 100)
    assert set(np.unique(codes)) <= {c["value"] for c in one["assets"]["clc"]["classification:classes"]}
    assert rasterio.features.sieve(codes.astype("int16"), 25, connectivity=4).tolist() == codes.tolist()


def test_same_seed_gives_the_same_bytes_whatever_the_workers(tiny: SandboxIndex, tmp_path: Path) -> None:
    again = write_sandbox(tmp_path / "again", size="tiny", seed=7, workers=1)

    def hashes(root: Path) -> dict[str, str]:
        found = sorted(p for p in root.rglob("*") if p.is_file() and "logs" not in p.parts)
        return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

    assert hashes(tiny.root) == hashes(again.root)


def test_an_unknown_size_is_the_users_error() -> None:
    for size in ("huge", "0x4", "400x4", "4x"):
        with pytest.raises(UserError, match="unknown size"):
            regions_of(size)


def test_larger_worlds_are_named_by_their_sides() -> None:
    north, south = regions_of("40x24.5")
    assert north.size_m == (40_080.0, 24_600.0)
    assert south.size_m == (4800.0, 4800.0)


def test_demo_has_a_clear_day_of_all_sensors_and_both_sides_of_the_baseline() -> None:
    scenes = [s for s in scenes_of("demo") if s.region.name == "north"]
    day = {s.sensor: float(s.row.get("cloud", 0)) for s in scenes if f"{s.time:%Y%m%d}" == "20220620"}
    assert set(day) == {"sentinel-2", "sentinel-1", "landsat"}
    assert max(day.values()) < 0.01
    assert any(s.sensor == "enmap" and abs((s.time - scenes[-1].time).days) < 60 for s in scenes)
    baselines = {s.row["baseline"] for s in scenes if s.sensor == "sentinel-2"}
    assert baselines == {"03.01", "04.00"}
    assert sum("reprocessed" in s.row for s in scenes if s.sensor == "sentinel-2") == 2
    assert {s.row["pass"] for s in scenes if s.sensor == "sentinel-1"} == {"ascending", "descending"}
