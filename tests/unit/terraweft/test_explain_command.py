"""The command `explain`: what it reads, what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terraweft.cli import main
from tests.unit.sources.test_explain import S2, item


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["explain", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def written(folder: Path, document: Any, name: str = "item.json") -> str:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_a_file_as_json_has_the_documented_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, item(S2, {"B02": {}, "SCL": {}}))
    code, out, err = run([path, "--json"], capsys)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert list(told) == [
        "sensor", "platform", "datetime", "processing_baseline", "epsg", "cloud_cover", "assets", "mask", "licence",
        "verdict", "why",
    ]  # fmt: skip
    assert list(told["assets"]["B02"]) == [
        "common_name", "center_wavelength_nm", "gsd_m", "scale", "offset", "nodata", "unit",
    ]  # fmt: skip
    assert told["mask"] == {"asset": "SCL", "kind": "scl"}


def test_a_refusal_is_an_answer_and_not_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, item("MOD09A1.A2022153.h18v04", {"b": {}}, platform="terra"))
    code, out, _ = run([path, "--json"], capsys)
    assert (code, json.loads(out)["verdict"], json.loads(out)["sensor"]) == (0, "refuse", None)


def test_people_get_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([written(tmp_path, item(S2, {"B02": {}, "SCL": {}}))], capsys)
    assert code == 0
    for words in ("sentinel-2-l2a", "EPSG:32632", "SCL, read as scl", "verdict   use", "492.3", "0.0001"):
        assert words in out


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "not a JSON object"),
        ({"type": "Collection", "id": "c"}, "is a STAC Collection, not an item"),
        ({"id": "x", "properties": {}}, "no datetime"),
        ({"id": "x"}, "is no STAC item: no properties"),
        ({"type": "FeatureCollection", "features": []}, "holds 0 items"),
    ],
)
def test_what_is_no_item_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, words: str
) -> None:
    path = written(tmp_path, document)
    code, out, err = run([path, "--json"], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_an_id_is_found_in_a_file_of_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = [
        item(S2, {"B02": {}}),
        item("S2A_MSIL1C_20220601T101559_N0400_R065_T32TMR_20220601T130000", {"B10": {}}),
    ]
    path = written(tmp_path, {"type": "FeatureCollection", "features": features})
    code, out, _ = run([S2, "--catalog", path, "--json"], capsys)
    assert (code, json.loads(out)["sensor"]) == (0, "sentinel-2-l2a")
    assert run(["nobody", "--catalog", path], capsys)[0] == 2
    code, _, err = run([path], capsys)
    assert code == 2
    assert "holds 2 items" in err
