"""An object store that is unwell under a build: errors, slow-downs, lost and cut answers end in the same shards."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shards.storage import StoreOptions, open_storage
from tests.faults.conftest import Tally
from tests.integration.faulty import write_recipe_of_both_kinds
from tests.integration.support import Terraweft, World
from tests.s3_faults import Asked, FaultyS3, faulty_s3
from tests.s3_server import CREDENTIALS, s3_server

BUCKET = "terraweft-builds"
SHARE = 0.1
"""Of all requests."""


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, one date, one label product; both kinds of shards."""
    return write_recipe_of_both_kinds(sandbox_recipe, tmp_path_factory.mktemp("recipe") / "store.yaml")


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyS3]:
    """What stands before a real S3 server."""
    with s3_server(BUCKET) as url, faulty_s3(url) as found:
        yield found


def _document(root: Path | str, url: str = "") -> dict[str, Any]:
    storage = open_storage(root, StoreOptions(endpoint_url=url, region="us-east-1"))
    version = json.loads(storage.read("terraweft.json"))["current"]
    return dict(json.loads(storage.read(f"versions/{version}/dataset.json")))


@pytest.mark.parametrize("kind", ["500", "503", "lost", "cut"])
def test_a_store_that_fails_now_and_then_gets_the_same_dataset(
    kind: str,
    recipe: Path,
    proxy: FaultyS3,
    world: World,
    terraweft: Terraweft,
    tally: Tally,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    root = f"s3://{BUCKET}/{kind}"
    variables = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": proxy.url,
        "TERRAWEFT_SANDBOX_STAC": world.stac_url,
        "TERRAWEFT_WORK": str(tmp_path / "work"),
    }
    chance = random.Random(kind)

    def rule(_: Asked) -> str:
        return kind if chance.random() < SHARE else ""

    right = False
    try:
        here = terraweft("build", recipe, "--out", tmp_path / "here", "--workers", 2, **variables)
        assert here.returncode == 0, here.stderr
        proxy.rule, proxy.injected = rule, []
        done = terraweft("build", recipe, "--out", root, "--workers", 2, **variables)
        proxy.rule = lambda asked: ""
        assert done.returncode == 0, done.stderr
        assert len(proxy.injected) >= 5, "too few answers were broken"
        right = _document(root, proxy.url)["content_hash"] == _document(tmp_path / "here")["content_hash"]
        checked = terraweft("check", root, **variables)
        right = right and checked.returncode == 0
    finally:
        proxy.rule = lambda asked: ""
        tally.note(f"object store: {kind} for one request in ten", right, "asked again, same bytes" if right else "")
    assert right
