"""Recipes: every mistake is one line with the line number and the mend; the hash holds what decides pixels."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RecipeError
from schemas.legend import load_crosswalk
from schemas.recipe import Recipe, fill
from schemas.recipe_file import load_recipe, parse_recipe

RECIPES = Path(__file__).parents[3] / "recipes"
GOOD = """\
format: 1
name: small
catalogs:
  main: {kind: stac-api, href: "https://stac.example.org"}
regions:
  - name: north
    bbox: [11.9, 47.8, 12.1, 47.9]
grid:
  chip_m: 960
time: {start: 2021-01-01, end: 2022-12-31}
modalities:
  s2: {sensor: sentinel-2-l2a, catalog: main, collection: sentinel-2-l2a}
"""

TARGET = """\
labels:
  sources:
    w: {kind: worldcover, href: a.tif}
  fuse: {}
  targets:
    x:
      kind: mask"""

BROKEN = {
    "unknown key": ("chip_m: 960", "chip_n: 960", "x.yaml:9: unknown key 'grid.chip_n' (did you mean 'chip_m'?)"),
    "missing key": ("format: 1\n", "", "x.yaml:1: 'format' is missing (add 'format')"),
    "later format, with a key of its own": (
        "format: 1",
        "later: 3\nformat: 2",
        "x.yaml:2: format 2 is unknown (this software reads format 1)",
    ),
    "wrong box": ("[11.9,", "[14.9,", "x.yaml:7: regions.0: bbox is west, south, east, north in degrees"),
    "unknown catalog": (
        "catalog: main",
        "catalog: man",
        "x.yaml:12: recipe: modalities.s2.catalog is 'man', but catalogs has ['main']",
    ),
    "duplicate key": ("grid:\n", "name: again\ngrid:\n", "x.yaml:8: not valid YAML: key 'name' stands twice"),
    "path traversal": ("name: small", "name: ../small", "x.yaml:2: name: a name has 1-64 characters"),
    "a chip's id too long for a sample": (
        "  chip_m: 960",
        f"  kind: list\n  cells:\n    - {{id: {'f' * 61}, epsg: 32632, bounds: [0, 0, 960, 960]}}",
        "x.yaml:11: grid.cells.0.id: a chip's id has 1-60 letters, digits, _ and -",
    ),
    "time backwards": ("end: 2022", "end: 2020", "time.end lies before time.start"),
    "bad yaml": ("chip_m: 960", "chip_m: [", "not valid YAML"),
    "alias bomb": (GOOD, "a: &a [1]\nb: [*a, *a]\n", "x.yaml:2: not valid YAML: anchors and aliases are not allowed"),
    "negative size": ("960", "-960", "x.yaml:9: grid.chip_m: Input should be greater than 0, got -960"),
    "no mapping": (GOOD, "- 1\n", "x.yaml:1: a recipe is a mapping"),
    "secret field": ("format: 1", "api_key: abc\nformat: 1", "x.yaml:1: unknown key 'api_key'"),
    "baseline of another sensor": (
        "{sensor: sentinel-2-l2a,",
        "{offset: pre04, sensor: landsat-c2-l2-sr,",
        "x.yaml:12: modalities.s2: offset: pre04 is for Sentinel-2, not landsat-c2-l2-sr",
    ),
    "region twice": (
        "grid:\n",
        "  - {name: north, bbox: [1.0, 2.0, 3.0, 4.0]}\ngrid:\n",
        "x.yaml:5: regions: region 'north' stands twice: give each its own name",
    ),
    "no such day": (
        "2022-12-31",
        "2022-06-31",
        "x.yaml:10: time.end: '2022-06-31' is no date (write a day of the calendar, as 2021-06-30)",
    ),
    "no such month": (
        "2021-01-01",
        "2021-13-01",
        "x.yaml:10: time.start: '2021-13-01' is no date (write a day of the calendar, as 2021-06-30)",
    ),
    "no such number": ("960", "0b_", "x.yaml:9: grid.chip_m: '0b_' is no whole number"),
    "orbit to the base of 8": (
        "collection: sentinel-2-l2a}",
        "collection: sentinel-2-l2a, relative_orbits: [124, 022]}",
        "x.yaml:12: modalities.s2.relative_orbits.1: '022' is no whole number (write it without leading zeros",
    ),
    "degrees and minutes": ("[11.9,", "[11:30,", "x.yaml:7: regions.0.bbox.0: '11:30' is no whole number (write it"),
    "degrees and minutes with a point": ("[11.9,", "[0:30.5,", "regions.0.bbox.0: '0:30.5' is no number (write it"),
    "section under remarks": (
        "{start: 2021-01-01, end: 2022-12-31}",
        "\n  # two summers\n\n  start: 2021-01-01",
        "x.yaml:10: 'time.end' is missing (add 'end')",
    ),
    "no number at all": ("960", "!!int _", "x.yaml:9: grid.chip_m: '_' is no whole number (write digits)"),
    "list called a mapping": ("960", "!!map [a]", "x.yaml:9: not valid YAML: expected a mapping node, but found"),
    "a day as a key": ("grid:\n", "2021-13-01: x\ngrid:\n", "x.yaml:8: '2021-13-01' is no date (write"),
    "a day alone": (GOOD, "2021-13-01", "x.yaml:1: '2021-13-01' is no date (write"),
    "no such tag's value": ("960", "!!bool maybe", "x.yaml:9: grid.chip_m: 'maybe' is no true or false"),
    "misspelt section": ("modalities:", "modalites:", "unknown key 'modalites' (did you mean 'modalities'?)"),
    "misspelt key in a list": ("    bbox:", "    bbx:", "x.yaml:7: unknown key 'regions.0.bbx' (did you mean 'bbox'?)"),
    "misspelt key of a target": (
        "grid:\n",
        f"{TARGET}\n      clases: [Built-up]\ngrid:\n",
        "x.yaml:15: unknown key 'labels.targets.x.clases' (did you mean 'classes'?)",
    ),
    "missing key of a target": (
        "grid:\n",
        f"{TARGET}\ngrid:\n",
        "x.yaml:13: 'labels.targets.x.classes' is missing (add 'classes')",
    ),
    "misspelt key of a step": (
        "grid:\n",
        "sample:\n  - kind: classes\n    per_clas: 3\ngrid:\n",
        "x.yaml:10: unknown key 'sample.0.per_clas' (did you mean 'per_class'?)",
    ),
    "misspelt key of windows": (
        "time: {",
        "time: {windows: {kind: every, dayss: 3}, ",
        "x.yaml:10: unknown key 'time.windows.dayss' (did you mean 'days'?)",
    ),
    "three numbers": ("11.9, 47.8, 12.1, 47.9", "11.9, 47.8, 12.1", "x.yaml:7: regions.0.bbox needs four numbers"),
    "two numbers": ("11.9, 47.8, 12.1, 47.9", "11.9, 47.8", "x.yaml:7: regions.0.bbox needs four numbers"),
    "five numbers": ("[11.9, 47.8,", "[11.9, 47.8, 0.0,", "x.yaml:7: regions.0.bbox needs four numbers"),
    "two fractions": ("grid:\n", "split: {fractions: [0.5, 0.5]}\ngrid:\n", "split.fractions needs three numbers"),
    "band twice": (
        "collection: sentinel-2-l2a}",
        "collection: sentinel-2-l2a, bands: [B04, B03, B04]}",
        "modalities.s2: bands: 'B04' stands twice",
    ),
    "vintage that is none": (
        "modalities:\n",
        "labels: {sources: {wc: {kind: worldcover, catalog: main, collection: w, year: 2019}}}\nmodalities:\n",
        "labels.sources.wc: there is no WorldCover of year 2019: take 2020 or 2021",
    ),
    "modality with a name of the format": (
        "  s2: {",
        "  label: {",
        "modalities.label cannot name a modality: the format uses this name itself",
    ),
    "modality with a name that no member holds": (
        "  s2: {",
        "  sentinel-2-surface-reflectance: {",
        "modalities.sentinel-2-surface-reflectance cannot name a modality: 30 characters are more than 26",
    ),
    "label source with the name of the fused layer": (
        "modalities:\n",
        "labels: {sources: {label: {kind: worldcover, href: a.tif}}, fuse: {}}\nmodalities:\n",
        "x.yaml:11: labels.sources: 'label' is the fused layer: give the source another name",
    ),
    "gates that are to learn a label that is not there": (
        "modalities:\n",
        "gates: {training: {label: clc}}\nmodalities:\n",
        "gates.training.label is 'clc', but products that are not fused are []",
    ),
    "gates that cannot choose a label": (
        "modalities:\n",
        "publish: {after_validation: true}\n"
        "labels: {sources: {a: {kind: worldcover, href: a.tif}, b: {kind: worldcover, href: b.tif}}}\nmodalities:\n",
        "publish.after_validation: gates cannot choose among ['a', 'b']: set gates.training.label, or labels.fuse",
    ),
    "label source with a name that no member holds": (
        "modalities:\n",
        "labels: {sources: {esa_worldcover_2021_version_200: {kind: worldcover, href: a.tif}}}\nmodalities:\n",
        "has 31 characters: a label source's name has at most 26",
    ),
    "list as a key": ("grid:\n", "? [a]\n: b\ngrid:\n", "x.yaml:8: not valid YAML: a key is one word"),
    "half a character": ("name: small", 'name: small\ntitle: "\\ud800"', "x.yaml:3: title: '\\ud800' is no text"),
    "end of a path": (
        "bbox: [11.9, 47.8, 12.1, 47.9]",
        'geojson: "a\\0b"',
        "x.yaml:7: regions.0.geojson: 'a\\x00b' is no text",
    ),
    "merge key": ("grid:\n", "<<: {seed: 8}\ngrid:\n", "x.yaml:8: not valid YAML: merge keys are"),
    "word for a list": ("{sensor:", "{bands: B02, sensor:", "modalities.s2.bands: Input should be a list, as [a, b]"),
    "list for keys": ("{start: 2021-01-01, end: 2022-12-31}", "[2021]", "time: Input should be keys with values"),
    "misspelt step": (
        "grid:\n",
        "sample:\n  - {kind: randm, n: 5}\ngrid:\n",
        "x.yaml:9: sample.0: kind 'randm' is none of all, random, spacing,",
    ),
    "step without a kind": ("grid:\n", "sample:\n  - {n: 5}\ngrid:\n", "x.yaml:9: sample.0: kind '' is none of all,"),
    "endless chip": ("960", ".inf", "x.yaml:9: grid.chip_m: Input should be a finite number, got inf"),
    "chip wider than a zone": ("960", "1e30", "x.yaml:9: grid.chip_m: Input should be less than or equal to 1000000"),
    "pixel of an atom": (
        "960",
        "960\n  gsd_m: 1e-9",
        "x.yaml:10: grid.gsd_m: Input should be greater than or equal to",
    ),
    "block of nothing": (
        "grid:\n",
        "split: {block_m: 1e-300}\ngrid:\n",
        "split.block_m: Input should be greater than or",
    ),
    "year that no picture is of": (
        "2021-01-01",
        "0001-01-01",
        "time.start: a day lies between 1900 and 2199",
    ),
    "day as a number": (
        "2021-01-01",
        "20210101",
        "time.start: write a day of the calendar, as 2021-06-30, got 20210101",
    ),
    "time of day": ("2021-01-01", "2021-01-01T10:00:00Z", "time.start: write a day of the calendar, as 2021-06-30"),
    "more dates than are kept": (
        "collection: sentinel-2-l2a}",
        "collection: sentinel-2-l2a, select: {max_dates: 2, min_dates: 3}}",
        "x.yaml:12: recipe: modalities.s2.select.min_dates is 3, but max_dates keeps 2: no chip would be kept",
    ),
    "unknown reference": (
        "grid:\n",
        "register:\n  mode: measure\n  reference: s1\ngrid:\n",
        "x.yaml:10: recipe: register.reference is 's1', but modalities has ['s2']",
    ),
    "places without their kind": (
        "chip_m: 960",
        "chip_m: 960\n  file: places.csv",
        "x.yaml:10: grid: grid.file is for points, list, majortom, mgrs and degrees, not for utm",
    ),
    "step of another grid": ("chip_m: 960", "chip_m: 960\n  step_deg: 1", "grid.step_deg is for degrees, not for utm"),
    "snap of a lattice": ("chip_m: 960", "chip_m: 960\n  snap_m: 60", "grid.snap_m is for points, majortom, mgrs and"),
    "key in place of its name": (
        "grid:\n",
        "captions: {backend: openai, api_key_env: sk-canary}\ngrid:\n",
        "x.yaml:8: captions: api_key_env takes the name of an environment variable, never the key itself",
    ),
    "log-in in a server's address": (
        "grid:\n",
        "captions: {backend: openai, base_url: 'https://me:word@host/v1', model: m}\ngrid:\n",
        "x.yaml:8: captions: base_url holds a user name or password: the variable of api_key_env takes them (see",
    ),
    "number for a name": ("name: small", "name: 2022", "x.yaml:2: name: Input should be text: what looks like"),
    "no for a name": ("name: north", "name: no", "regions.0.name: Input should be text: what looks like"),
    "day as Europe writes it": (
        "end: 2022-12-31",
        "end: 31.12.2022",
        "x.yaml:10: time.end: write a day of the calendar, as 2021-06-30, got '31.12.2022'",
    ),
    "no character of a text": (
        "name: north",
        "name: no\x00rth",
        "x.yaml:6: not valid YAML: character U+0000 is not allowed",
    ),
    "wrong choice": ("kind: stac-api", "kind: stac", "x.yaml:4: catalogs.main.kind: Input should be 'stac-api'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_recipe_gives_one_line(name: str) -> None:
    old, new, expected = BROKEN[name]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(GOOD.replace(old, new).encode(), "x.yaml")
    line = caught.value.line()
    assert "\n" not in line
    assert expected in line
    assert "canary" not in line


def test_what_is_no_utf8_names_its_line() -> None:
    with pytest.raises(RecipeError, match=r"^x\.yaml:3: not UTF-8 text"):
        parse_recipe(GOOD.replace("catalogs:", "title: Tälchen\ncatalogs:").encode("latin-1"), "x.yaml")


@pytest.mark.parametrize("chip_id", ["32N_1508_11040", "A-1", "_a", "f" * 60])
def test_a_cell_may_have_any_id_that_a_sample_may_have(chip_id: str) -> None:
    cells = f"  kind: list\n  cells:\n    - {{id: {chip_id}, epsg: 32632, bounds: [500040, 5300100, 501000, 5301060]}}"
    assert parse_recipe(GOOD.replace("  chip_m: 960", cells).encode(), "x.yaml").grid.cells[0].id == chip_id


def test_deep_nesting_is_refused_without_a_crash() -> None:
    with pytest.raises(RecipeError):
        parse_recipe(b"a: " + b"[" * 900_000, "x.yaml")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="no readable file"):
        load_recipe(tmp_path)


@pytest.mark.parametrize("size", [1_000_001, 2**40])
def test_oversized_recipe_is_refused_unread(tmp_path: Path, size: int) -> None:
    """Somebody gives the dataset in the place of the recipe: it is more than the memory holds."""
    path = tmp_path / "big.yaml"
    path.touch()
    os.truncate(path, size)
    with pytest.raises(RecipeError, match=f"{size:,} bytes"):
        load_recipe(path)


def _good(**changes: str) -> Recipe:
    text = GOOD
    for old, new in changes.items():
        text = text.replace(old, new)
    return parse_recipe(text.encode(), "x.yaml")


def test_hash_ignores_what_cannot_change_a_pixel() -> None:
    recipe = _good()
    assert _good(**{"stac.example.org": "mirror.example.org"}).hash() == recipe.hash()
    assert _good(**{"name: small\n": "name: small\ntitle: Small\n"}).hash() == recipe.hash()
    engine = "collection: sentinel-2-l2a, engine: stackstac}"
    assert _good(**{"collection: sentinel-2-l2a}": engine}).hash() == recipe.hash()


@pytest.mark.parametrize(
    ("old", "new"),
    [("960", "1200"), ("2021-01-01", "2021-01-02"), ("[11.9,", "[11.8,"), ("name: small\n", "name: small\nseed: 8\n")],
)
def test_hash_changes_with_what_decides_pixels(old: str, new: str) -> None:
    assert _good(**{old: new}).hash() != _good().hash()


def test_tiny_recipe_is_a_valid_smaller_recipe() -> None:
    tiny = _good().tiny()
    assert tiny.write.kinds == ("webdataset",)
    assert tiny.modalities["s2"].select.max_dates == 1
    box = tiny.regions[0].bbox
    assert box is not None
    assert (box[2] - box[0]) * (box[3] - box[1]) < 0.01


def test_shipped_recipes_can_be_read() -> None:
    folder = Path(__file__).parents[3] / "recipes"
    recipes = [load_recipe(path) for path in sorted(folder.glob("*.yaml"))]
    assert {"sandbox", "real-wervik", "real-terramesh", "real-bigearthnet", "real-potsdam"} <= {r.name for r in recipes}


@pytest.mark.parametrize("name", sorted(path.name for path in (Path(__file__).parents[3] / "recipes").glob("*.yaml")))
def test_a_recipe_with_all_its_defaults_said_is_the_same_recipe(name: str) -> None:
    """As a version tells it, as ``--tiny`` shrinks it, and as a region table makes it a region's."""
    recipe = load_recipe(Path(__file__).parents[3] / "recipes" / name)
    assert Recipe.model_validate(recipe.model_dump(mode="json", by_alias=True)) == recipe
    assert {one.select.max_dates for one in recipe.tiny().modalities.values()} == {1}


def test_bare_off_means_off() -> None:
    assert _good(**{"name: small\n": "name: small\nregister: {mode: off}\n"}).register_shifts.mode == "off"


def test_variable_that_is_not_set_is_one_line() -> None:
    with pytest.raises(RecipeError, match=r"TERRAWEFT_REALDATA is not set \(export TERRAWEFT_REALDATA="):
        fill("${TERRAWEFT_REALDATA}/catalog.json", {}, "catalogs.real.href")
    assert fill("${TERRAWEFT_A}/x", {"TERRAWEFT_A": "/data"}) == "/data/x"


@pytest.mark.parametrize("value", ["", " "])
def test_variable_that_is_empty_is_one_line(value: str) -> None:
    with pytest.raises(RecipeError, match=r"^catalogs\.a\.href: TERRAWEFT_A is empty \(export TERRAWEFT_A="):
        fill("${TERRAWEFT_A}", {"TERRAWEFT_A": value}, "catalogs.a.href")


@pytest.mark.parametrize("name", ["SANDBOX_STAC", "TERRAWEFT_sandbox", ""])
def test_variable_of_another_name_is_not_left_in_an_address(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"^catalogs\.a\.href: \$\{{{name}\}} is not filled in .*TERRAWEFT_"):
        fill(f"${{{name}}}/x", {"SANDBOX_STAC": "http://a"}, "catalogs.a.href")


def test_what_a_variable_holds_is_not_filled_in_again() -> None:
    assert fill("${TERRAWEFT_A}", {"TERRAWEFT_A": "${B}"}) == "${B}"


def test_a_sensor_table_with_a_day_that_is_none_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("sensor: mine\nbands:\n  - {name: a, gsd_m: 2021-02-30}\n")
    with pytest.raises(RecipeError) as caught:
        parse_recipe((GOOD + "sensors: {mine: mine.yaml}\n").encode(), "x.yaml", tmp_path)
    assert caught.value.line().startswith("x.yaml: sensors.mine: mine.yaml:3: bands.0.gsd_m: '2021-02-30' is no date (")


def test_tiny_recipe_keeps_to_its_region_at_any_place() -> None:
    for box in ("[179.995, -17.0, -179.0, -16.0]", "[10.0, 78.0, 30.0, 79.0]", "[11.9, 47.8, 11.905, 47.805]"):
        recipe = parse_recipe(GOOD.replace("[11.9, 47.8, 12.1, 47.9]", box).encode(), "x.yaml")
        west, south, east, north = recipe.tiny().regions[0].bbox or ()
        whole = shapely.box(*_unrolled(recipe.regions[0].bbox))
        assert whole.covers(shapely.box(*_unrolled((west, south, east, north))))
        wide_m = (_unrolled((west, south, east, north))[2] - west) * 111_000 * math.cos(math.radians(south))
        assert wide_m > 2 * 960 or east == recipe.regions[0].bbox[2]


def _unrolled(box: Any) -> tuple[float, float, float, float]:
    west, south, east, north = box
    return west, south, east + 360.0 * (east < west), north


def test_tiny_recipe_takes_few_chips_of_what_is_no_box() -> None:
    outline = GOOD.replace("bbox: [11.9, 47.8, 12.1, 47.9]", "geojson: valley.geojson")
    for text in (outline, GOOD.replace("chip_m: 960", "chip_m: 960\n  kind: points\n  file: a.csv")):
        assert parse_recipe(text.encode(), "x.yaml").tiny().sample[-1].n == 4  # type: ignore[union-attr]


def test_tiny_recipe_asks_for_no_more_dates_than_it_keeps() -> None:
    asking = "collection: sentinel-2-l2a, select: {min_dates: 3}}"
    recipe = parse_recipe(GOOD.replace("collection: sentinel-2-l2a}", asking).encode(), "x.yaml")
    assert recipe.tiny().modalities["s2"].select.min_dates == 1


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(text.encode("utf-8", "surrogatepass"), "x.yaml")


LEGEND = """\
name: parcels
title: parcels
version: "1"
source: survey
nodata: [0]
classes: [{code: 1, name: beet, colour: "#ff0000"}]
"""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (LEGEND.replace("code: 1", "code: 0"), "legends.parcels: code 0 stands twice in legend parcels"),
        (LEGEND.replace("name: parcels", "name: other"), "legends.parcels is the legend 'other'"),
        (LEGEND.replace("#ff0000", "red"), "legends.parcels.classes.0.colour"),
        (LEGEND.replace("nodata: [0]", "nodata: []"), "legends.parcels.nodata"),
        ("- 1\n", "parcels.yaml is no legend"),
        ("a: [", "parcels.yaml is not valid YAML"),
        (None, "No such file"),
    ],
)
def test_a_legend_that_is_none_is_one_line(tmp_path: Path, file: str | None, said: str) -> None:
    if file is not None:
        (tmp_path / "parcels.yaml").write_text(file)
    with pytest.raises(RecipeError) as caught:
        parse_recipe((GOOD + "legends: {parcels: parcels.yaml}\n").encode(), "x.yaml", tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipes_own_crosswalk_is_read_beside_it(tmp_path: Path) -> None:
    (tmp_path / "parcels.yaml").write_text(LEGEND)
    walk = "source: parcels\ntarget: worldcover-11\nversion: '1'\nmaps: {1: [40, 30]}\nnote: mine\n"
    (tmp_path / "walk.yaml").write_text(walk)
    text = GOOD + "legends: {parcels: parcels.yaml}\ncrosswalks: {mine: walk.yaml}\n"
    recipe = parse_recipe(text.encode(), "x.yaml", tmp_path)
    assert load_crosswalk("parcels", "worldcover-11").maps == {1: (40, 30)}
    assert (
        recipe.hash()
        != parse_recipe(text.replace("crosswalks: {mine: walk.yaml}\n", "").encode(), "x", tmp_path).hash()
    )
    (tmp_path / "walk.yaml").write_text(walk.replace("[40, 30]", "forty"))
    with pytest.raises(RecipeError, match=r"crosswalks\.mine\.maps"):
        parse_recipe(text.encode(), "x.yaml", tmp_path)


def test_a_shipped_legend_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(LEGEND.replace("name: parcels", "name: worldcover"))
    with pytest.raises(RecipeError, match="name of a legend that is shipped"):
        parse_recipe((GOOD + "legends: {worldcover: w.yaml}\n").encode(), "x.yaml", tmp_path)
