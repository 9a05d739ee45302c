"""docs/catalogs.md says what is so: its recipe is one, and its table names what the tests have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from schemas.recipe import Recipe
from schemas.recipe_catalogs import CredentialKind
from sources.credentials import SIGNERS, covers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "catalogs.md").read_text()
RECORDED = {
    "Earth Search (Element 84)": "earth-search",
    "Planetary Computer": "planetary-computer",
    "Copernicus Data Space (CDSE)": "cdse",
    "USGS LandsatLook": "usgs-landsatlook",
    "DLR EOC Geoservice": "dlr-eoc",
    "NASA CMR (LP DAAC)": "nasa-cmr",
}
"""Row of the table -> folder of its recorded items."""


def rows() -> dict[str, list[str]]:
    table = PAGE.split("<!-- table of catalogs")[1].split("\n\n")[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {cell[0]: cell[1:] for cell in cells}


def recipe() -> Recipe:
    text = PAGE.split("```yaml")[1].split("```")[0]
    rest = {
        "format": 1,
        "name": "page",
        "regions": [{"name": "r", "bbox": [11.0, 47.0, 11.1, 47.1]}],
        "grid": {"chip_m": 2640},
        "time": {"start": "2024-01-01", "end": "2024-02-01"},
    }
    return Recipe.model_validate({**rest, **yaml.safe_load(text)})


def test_the_recipe_of_the_page_is_one_and_names_the_addresses_of_the_table() -> None:
    found = recipe()
    hrefs = {row[0].strip("`") for row in rows().values()}
    assert {catalog.href for catalog in found.catalogs.values()} <= hrefs
    assert {name for catalog in found.catalogs.values() for name in catalog.credentials} == set(found.credentials)


def test_no_catalog_is_called_live() -> None:
    assert {row[1] for row in rows().values()} == {"no"}


@pytest.mark.realdata
def test_recorded_means_that_its_items_are_there(realdata: Path) -> None:
    folders = {path.name for path in (realdata / "stac-items").iterdir() if list(path.glob("*.items.json"))}
    for name, row in rows().items():
        if row[2] == "yes" and name != "static catalog":
            assert RECORDED[name] in folders


def test_every_kind_of_credential_has_a_line_and_a_signer() -> None:
    kinds = set(CredentialKind.__args__)  # type: ignore[attr-defined]
    table = PAGE.split("| kind | secret |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z0-9]+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))) == kinds
    assert set(SIGNERS) == kinds


def test_credentials_of_the_page_are_for_the_addresses_that_the_providers_use() -> None:
    found = recipe().credentials
    assert covers(found["pc-sas"], "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif")
    assert covers(found["landsat-bucket"], "s3://usgs-landsat/collection02/a.TIF")
    assert covers(found["cdse-s3"], "s3://eodata/Sentinel-2/a.jp2")
    assert covers(found["dlr-login"], "https://download.geoservice.dlr.de/ENMAP/a.TIF")
    assert covers(found["earthdata"], "https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/a.tif")
    assert not any(covers(one, "https://evil.example.org/a.tif") for one in found.values())
