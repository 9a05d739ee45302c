"""A build with a canary in every place where a secret can lie: none is found afterwards in anything that it wrote."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import yaml

from flows.catalogs import opener_of
from schemas.recipe_file import load_recipe
from tests.integration.support import Terraweft, World

CANARY = "canary5c1f"
VARIABLES = {
    name: f"{CANARY}-{name.lower()}"
    for name in ("TERRAWEFT_TOKEN", "BASIC_USER", "BASIC_PASSWORD", "OAUTH_USER", "OAUTH_PASSWORD", "SAS_KEY", "S3_KEY",
                 "S3_SECRET", "S3_SESSION", "EDL_TOKEN")
}  # fmt: skip
CREDENTIALS = {
    "token": {"kind": "bearer", "env": "TERRAWEFT_TOKEN", "hosts": "127.0.0.1"},
    "basic": {"kind": "basic", "env": ["BASIC_USER", "BASIC_PASSWORD"], "hosts": "basic.example.org"},
    "oauth": {
        "kind": "oauth",
        "env": ["OAUTH_USER", "OAUTH_PASSWORD"],
        "token_url": "https://login.example.org/token",
        "hosts": "oauth.example.org",
    },
    "sas": {"kind": "sas", "env": "SAS_KEY"},
    "keys": {"kind": "s3", "env": ["S3_KEY", "S3_SECRET", "S3_SESSION"], "hosts": "bucket"},
    "profile": {"kind": "s3", "profile": "mine", "hosts": "other-bucket"},
    "earthdata": {"kind": "earthdata", "env": "EDL_TOKEN"},
    "dlr": {"kind": "dlr", "netrc": "sso.eoc.dlr.de"},
}


@pytest.fixture
def recipe(sandbox_recipe: Path, tmp_path: Path) -> Path:
    document = yaml.safe_load(sandbox_recipe.read_text())
    document["credentials"] = CREDENTIALS
    document["limits"] = {"*": {"concurrency": 4}}
    for catalog in document["catalogs"].values():
        catalog["credentials"] = list(CREDENTIALS)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """The variables, and the files that they name."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "netrc").write_text(f"machine sso.eoc.dlr.de login {CANARY}-user password {CANARY}-netrc\n")
    (folder / "netrc").chmod(0o600)
    (folder / "aws").write_text(f"[mine]\naws_access_key_id={CANARY}-id\naws_secret_access_key={CANARY}-aws\n")
    return VARIABLES | {"NETRC": str(folder / "netrc"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws")}


@pytest.mark.slow
def test_no_secret_is_left_anywhere(
    terraweft: Terraweft,
    world: World,
    recipe: Path,
    places: dict[str, str],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path / "dataset"
    done = terraweft(
        "build", recipe, "--out", root, "--workers", 1, "--tiny", TERRAWEFT_SANDBOX_STAC=world.stac_url, **places,
        PREFECT_LOGGING_LEVEL="DEBUG",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    searched = 0
    for path in tmp_path_factory.getbasetemp().rglob("*"):
        if path.is_file() and path.parent != tmp_path / "home":
            searched += 1
            assert CANARY.encode() not in path.read_bytes(), path
    assert searched > 50


def test_a_secret_that_is_missing_stops_the_build_before_it_starts(
    terraweft: Terraweft, world: World, recipe: Path, places: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "dataset"
    given = places | {"SAS_KEY": "", "TERRAWEFT_SANDBOX_STAC": world.stac_url}
    done = terraweft("build", recipe, "--out", root, **given)
    assert done.returncode == 2
    assert "credentials.sas: the environment variable SAS_KEY is not set (export SAS_KEY=...)" in done.stderr
    assert not root.exists()


def test_what_travels_to_workers_holds_references_alone(
    recipe: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in places.items():
        monkeypatch.setenv(name, value)
    opener = opener_of(load_recipe(recipe), tmp_path)
    assert opener.headers("http://127.0.0.1:9/a.tif")["Authorization"] == f"Bearer {VARIABLES['TERRAWEFT_TOKEN']}"
    assert "X-Amz-Signature" in opener.resolve("s3://bucket/a.tif")
    assert "X-Amz-Signature" in opener.resolve("s3://other-bucket/a.tif")
    data = pickle.dumps(opener)
    assert CANARY.encode() not in data
    assert CANARY not in repr(opener) + str(vars(opener))
    again = pickle.loads(data)
    assert again.headers("http://127.0.0.1:9/a.tif") == opener.headers("http://127.0.0.1:9/a.tif")
