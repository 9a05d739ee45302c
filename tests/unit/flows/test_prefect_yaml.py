"""A file of deployments is refused for what a deployment is refused for."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pytest
import shapely
import yaml

from flows.deployments import prefect_yaml
from flows.regions import load_regions
from schemas.errors import UserError

TABLE = """\
format: 1
name: alps
recipe: sandbox
root: data/{region}
schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}
regions:
  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}
"""


def _yaml(folder: Path, text: str) -> str:
    path = folder / "regions.yaml"
    path.write_text(text)
    return prefect_yaml(load_regions(path), "regions.yaml")


def test_a_sound_table_is_written(tmp_path: Path) -> None:
    assert [one["name"] for one in yaml.safe_load(_yaml(tmp_path, TABLE))["deployments"]] == ["alps-inn"]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("recipe: sandbox", "recipe: nowhere.yaml", "nowhere"),
        ("0 2 * * *", "99 2 * * *", "regions.yaml: region inn: cron '99 2 * * *' cannot be used: Bad minute"),
        ("0 2 * * *", "0 0 30 2 *", "regions.yaml: region inn: cron '0 0 30 2 *' cannot be used: Bad day-of-month"),
        ("0 2 * * *", "0 2 LW * *", "regions.yaml: region inn: cron '0 2 LW * *' cannot be used: Invalid cron string"),
        (", bbox: [12.1, 47.7, 12.3, 47.9]}", "}\ngeojson: areas.geojson", "there is no file areas.geojson"),
        (", bbox: [12.1, 47.7, 12.3, 47.9]}", "}\ngeojson: one.geojson", "one.geojson has no feature 'inn'"),
        ("recipe: sandbox", "recipe: real-wervik", "region inn: the cells of real-wervik lie where they lie"),
        ("data/{region}", "data/{regoin}/{region}", "root holds {regoin}, which is not filled in"),
    ],
)
def test_what_cannot_run_is_told_before_the_night(tmp_path: Path, before: str, after: str, line: str) -> None:
    (tmp_path / "one.geojson").write_text(geopandas.GeoSeries([shapely.box(12, 47, 13, 48)], crs=4326).to_json())
    with pytest.raises(UserError) as told:
        _yaml(tmp_path, TABLE.replace(before, after))
    assert line in told.value.line()


def test_every_row_that_cannot_run_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("format: 1\nnonsense: 1\n")
    rows = [
        f"  - {{name: {name}, recipe: {recipe}.yaml}}" for name, recipe in zip("abc", ("odd", "odd", "no"), strict=True)
    ]
    with pytest.raises(UserError) as told:
        _yaml(tmp_path, TABLE + "\n".join(rows))
    assert told.value.line().startswith("regions.yaml: region a, b: odd.yaml:")
    assert "; region c: no.yaml: there is no such recipe" in told.value.line()
    assert "no region was deployed" in told.value.line()
