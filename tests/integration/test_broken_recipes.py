"""A user's mistake is one line that says what, where and the mend; exit code 2; nothing is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

from sources.catalog import open_catalog
from terraweft.cli import main
from tests.integration.support import World

OFF = "catalog that is off"
"""It may be on again later, or its address be wrong: who runs us by night is told to try again, and the line says both.
"""
MISTAKES = {
    "unknown key": ({"grid": {"chip_n": 960}}, "did you mean 'chip_m'?"),
    "unknown sensor": ({"modalities": {"s2": {"sensor": "sentinel-9"}}}, "unknown sensor 'sentinel-9'"),
    "unknown band": ({"modalities": {"s2": {"bands": ["B02", "B99"]}}}, "'B99'"),
    "unknown collection": ({"modalities": {"s2": {"collection": "sentinel-3"}}}, "sentinel-3"),
    "unknown engine": ({"modalities": {"s2": {"engine": "gdal"}}}, "unknown engine 'gdal'"),
    "chip that does not divide": ({"grid": {"chip_m": 500}}, "use 480 m (48 px) or 540 m (54 px)"),
    "region without chips": ({"grid": {"chip_m": 60_000}}, "no chip fits into the regions"),
    "window without scenes": ({"time": {"start": "2031-01-01", "end": "2031-02-01"}}, "no item of 'sentinel-2-l2a'"),
    "unknown legend": ({"labels": {"fuse": {"legend": "corine-19"}}}, "corine-19"),
    "unknown catalog": ({"modalities": {"s2": {"catalog": "nowhere"}}}, "catalogs has ['sandbox']"),
    OFF: ({"catalogs": {"sandbox": {"href": "http://127.0.0.1:9"}}}, "127.0.0.1:9"),
    "private address not allowed": ({"catalogs": {"sandbox": {"allow_local": False}}}, "allow_local"),
    "fractions": ({"split": {"fractions": [0.5, 0.1, 0.1]}}, "split.fractions must sum to 1"),
    "path as a name": ({"name": "../../etc"}, "a name has 1-64 characters"),
    "captions without labels": ({"labels": None}, "captions need labels"),
    "variable not set": ({"catalogs": {"sandbox": {"href": "${TERRAWEFT_NOT_SET}"}}}, "export TERRAWEFT_NOT_SET="),
}


def _merged(base: dict[str, object], change: dict[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_with_its_exit_code(
    name: str,
    sandbox_recipe: Path,
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, expected = MISTAKES[name]
    recipe = _merged(yaml.safe_load(sandbox_recipe.read_text()), change)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    monkeypatch.setenv("TERRAWEFT_SANDBOX_STAC", world.stac_url)
    monkeypatch.setattr("flows.catalogs.open_catalog", partial(open_catalog, sleep=lambda seconds: None))
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(path)])
    assert ended.value.code == (1 if name == OFF else 2)
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert len(error.splitlines()) == 1
    assert "Traceback" not in error
    assert [entry.name for entry in tmp_path.iterdir()] == ["recipe.yaml"]


def test_recipe_that_is_not_there_names_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plan", "sandbocks"])
    assert ended.value.code == 2
    assert "real-wervik" in capsys.readouterr().err


def test_dataset_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_an_address_that_holds_no_dataset_is_refused_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["build", "sandbox", "--out", "ftp://host/dataset"])
    assert ended.value.code == 2
    assert "ftp:// holds no dataset" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
