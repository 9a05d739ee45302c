"""What a recipe names that is not there, and what nobody may publish, is told before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.plan_checks import check_names, refuse_closed
from flows.planning import make_plan
from schemas.errors import RecipeError
from schemas.legend import Legend, LegendClass, use_legends
from schemas.recipe import Recipe
from schemas.sensor import SensorProfile, load_sensor, use_profiles
from sources.stac_index_columns import Selection
from tests.unit.flows.catalog_made_up import recipe_data, sentinel2_item, write_catalog

MODALITIES: dict[str, Any] = {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}}


def _recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(recipe_data(**{"modalities": MODALITIES, **changes}))


def test_legend_without_a_crosswalk_is_told_before_anything_is_read() -> None:
    labels = {
        "sources": {"osm": {"kind": "raster", "href": "x.tif", "legend": "worldcover"}},
        "fuse": {"method": "vote", "legend": "osm"},
    }
    with pytest.raises(RecipeError, match=r"from legend worldcover to osm .*may be .*corine-44, .*worldcover-11;"):
        check_names(_recipe(labels=labels))


def test_a_label_file_that_is_not_there_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    labels = {"sources": {"wc": {"kind": "worldcover", "href": "${TERRAWEFT_MAPS}/wc.tif"}}}
    with pytest.raises(
        RecipeError, match=r"^labels\.sources\.wc\.href: there is no file wc\.tif \(give its whole path"
    ):
        make_plan(_recipe(labels=labels), tmp_path, {"TERRAWEFT_MAPS": str(tmp_path)}, tmp_path / "plan")
    assert not (tmp_path / "plan").exists()


WORLDCOVER = {"wc": {"kind": "worldcover", "href": "a.tif", "year": 2021}}
UNKNOWN = {
    "sensor": ({"sensor": "sentinel-9"}, r"^modalities\.s2\.sensor: unknown sensor 'sentinel-9' \(known: "),
    "engine": ({"engine": "gdalwarp"}, r"^modalities\.s2\.engine: unknown engine 'gdalwarp' \(known: "),
    "store": ({"store": "db"}, r"^modalities\.s2\.store: sentinel-2-l2a has nothing that this could change \(leave it"),
    "ground range": ({"ground_range": {}}, r"^modalities\.s2\.ground_range: sentinel-2-l2a has nothing that this"),
    "ground range of what is corrected": (
        {"sensor": "sentinel-1-rtc", "ground_range": {}},
        r"^modalities\.s2\.ground_range: sentinel-1-rtc has nothing that this",
    ),
    "order of bands": ({"bands_order": "wavelength"}, r"^modalities\.s2\.bands_order: sentinel-2-l2a has nothing"),
    "mean of codes": (
        {"sensor": "landcover", "bands": [], "composite": {"how": "median"}},
        r"^modalities\.s2\.composite\.how: a median of class codes is no class \(take best, or no composite\)",
    ),
    "band": ({"bands": ["B04", "B4"]}, r"^modalities\.s2\.bands: sentinel-2-l2a has no band 'B4' \(known: B01, "),
}


def test_a_reference_that_shows_no_light_is_told_where_shifts_are_measured() -> None:
    radar = {"sensor": "sentinel-1-rtc", "catalog": "c", "collection": "s1"}
    layers = MODALITIES | {"s1": radar}
    said = r"^register\.reference: nothing is measured against sentinel-1-rtc \(name an optical modality"
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(modalities=layers, register={"reference": "s1"}))
    check_names(_recipe(modalities=layers, register={"reference": "s1", "mode": "off"}))
    check_names(_recipe(modalities=layers, register={"reference": "s2"}))


def test_limits_between_which_no_shift_lies_are_told() -> None:
    limits = {"correct_above_m": 60.0, "max_shift_m": 60.0}
    with pytest.raises(RecipeError, match=r"^register\.correct_above_m: no shift is above 60 m and not above"):
        check_names(_recipe(register=limits | {"mode": "correct"}))
    check_names(_recipe(register=limits))
    check_names(_recipe(register={"mode": "correct", "correct_above_m": 59.0}))


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_name_that_is_unknown_or_changes_nothing_is_told_with_its_place(what: str) -> None:
    change, said = UNKNOWN[what]
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(modalities={"s2": MODALITIES["s2"] | change}))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"sources": {"mine": {"kind": "raster", "href": "a.tif", "legend": "no"}}},
            r"^labels\.sources\.mine\.legend: ",
        ),
        ({"sources": WORLDCOVER, "fuse": {"legend": "worldcover-12"}}, r"^labels\.fuse\.legend: unknown legend"),
        (
            {"sources": WORLDCOVER, "targets": {"x": {"kind": "mask", "of": "wc", "classes": ["Buildup"]}}},
            r"^labels\.targets\.x: legend worldcover has no class 'Buildup' \(it has Tree cover, ",
        ),
    ],
)
def test_a_label_that_is_unknown_is_told_before_anything_is_read(labels: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(labels=labels))


MANY = {"kind": "raster", "href": "a.tif", "legend": "many"}
MAIN = {"x": {"kind": "dominant", "of": "mine"}}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"sources": {"mine": MANY}}, ""),
        ({"sources": {"mine": MANY}, "targets": MAIN}, r"^labels\.targets\.x: legend many has 300 classes"),
        (
            {"sources": {"mine": MANY}, "fuse": {"legend": "many"}},
            r"^labels\.fuse\.legend: legend many has 300 classes",
        ),
        ({"sources": {f"wc{i}": WORLDCOVER["wc"] for i in range(14)}, "fuse": {}}, "14 label sources"),
    ],
)
def test_more_than_labels_can_hold_is_told_before_anything_is_read(labels: dict[str, object], said: str) -> None:
    """Codes of a product may be many; an index of a fused label or a target is one byte."""
    classes = tuple(LegendClass(code=i + 1, name=f"c{i}", colour=f"#{i:06x}") for i in range(300))
    use_legends({"many": Legend(name="many", title="many", version="1", nodata=(0,), classes=classes, source="x")})
    with pytest.raises(RecipeError, match=said) if said else nullcontext():
        check_names(_recipe(labels=labels))


def test_a_composite_by_ndvi_of_bands_that_no_layer_has_is_refused(tmp_path: Path) -> None:
    """Else every chip would fail when it is read."""
    item = sentinel2_item("a", 0, 12, "2021-06-01")
    item["assets"]["B8A"] = item["assets"]["B04"] | {"eo:bands": [{"name": "B8A", "common_name": "nir08"}]}
    write_catalog(tmp_path, [item])
    recipe, here = recipe_data(), {"TERRAWEFT_CATALOG": str(tmp_path)}
    recipe["modalities"]["s2"]["composite"] = {"how": "best", "best_by": "ndvi"}
    with pytest.raises(RecipeError, match=r"^modalities\.s2\.composite\.best_by: no layer has red and near infrared"):
        make_plan(Recipe.model_validate(recipe), tmp_path, here, tmp_path / "plan")
    recipe["modalities"]["s2"]["bands"] = ["B04", "B8A"]
    assert len(make_plan(Recipe.model_validate(recipe), tmp_path, here, tmp_path / "other").layers) == 1


class _Frozen:
    """Items by their licence; None is one that was refused."""

    def __init__(self, licences: Sequence[str | None]) -> None:
        self.licences = licences

    def scene(self, _: str, row: int) -> Any:
        licence = self.licences[row]
        return None if licence is None else SimpleNamespace(licence=licence)


TOLD_APART = {"terms": [{"products": "open", "licence": "CC-BY-4.0", "attribution": "x"}]}


@pytest.mark.parametrize(
    ("licences", "further", "is_closed"),
    [
        (["enmap-dlr"], {}, True),
        ([None, "enmap-dlr"], {}, True),
        (["CC-BY-4.0"], {}, False),
        (["CC-BY-4.0", "enmap-dlr"], TOLD_APART, True),
        ([None], {}, False),
    ],
    ids=["the first", "behind one that was refused", "open", "another product", "none can be read"],
)
def test_a_layer_that_may_not_be_given_on_is_refused_before_it_is_read(
    licences: list[str | None], further: dict[str, object], is_closed: bool
) -> None:
    """Else a build ends when all is read, and is to be published."""
    own = load_sensor("enmap-l2a").model_dump() | {"sensor": "own", **further}
    use_profiles({"own": SensorProfile.model_validate(own)})
    recipe = {"modalities": {"e": {"sensor": "own", "catalog": "c", "collection": "e"}}}
    count, texts = len(licences), np.full(len(licences), "", object)
    offered = {"e": Selection(np.arange(count), texts, texts, np.arange(count), texts, texts)}
    frozen: Any = _Frozen(licences)
    said = r"^modalities\.e: items of licence enmap-dlr may not be given on"
    with pytest.raises(RecipeError, match=said) if is_closed else nullcontext():
        refuse_closed(_recipe(**recipe), frozen, offered)
    refuse_closed(_recipe(**recipe, publish={"private": True}), frozen, offered)
