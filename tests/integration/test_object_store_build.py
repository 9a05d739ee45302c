"""A build into an object store: the same bytes as in a folder, and the same commands for its versions."""

from __future__ import annotations

import json
import shutil
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
import yaml

from shards.storage import StoreOptions, open_storage
from sources.stac_index import IndexCatalog
from sources.stac_index_write import IndexWriter
from tests.integration.forked import dask_cluster
from tests.integration.support import Terraweft, World
from tests.s3_server import CREDENTIALS, s3_server

pytestmark = pytest.mark.slow


def test_a_dataset_is_built_checked_and_gone_back_to_on_s3(
    terraweft: Terraweft,
    environment: dict[str, str],
    world: World,
    sandbox_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = yaml.safe_load(sandbox_recipe.read_text())
    recipe["regions"], recipe["modalities"] = recipe["regions"][:1], {"s2": recipe["modalities"]["s2"]}
    recipe["labels"] = {"sources": {"worldcover": recipe["labels"]["sources"]["worldcover"]}}
    recipe["captions"], recipe["register"] = None, {"mode": "off"}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3_server("terraweft-builds") as url, ExitStack() as until_the_end:
        root = "s3://terraweft-builds/sandbox"
        options = StoreOptions(endpoint_url=url, region="us-east-1")
        variables = {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": url,
            "TERRAWEFT_SANDBOX_STAC": world.stac_url,
            "TERRAWEFT_WORK": str(tmp_path / "work"),
        }
        cluster = until_the_end.enter_context(dask_cluster({**environment, **variables}, tmp_path))
        done = terraweft("build", path, "--out", root, "--dask", cluster, **variables)
        assert done.returncode == 0, done.stderr
        assert "published" in done.stdout
        there = open_storage(root, options)
        here = open_storage(tmp_path / "here")
        assert terraweft("build", path, "--out", here.uri, "--dask", cluster, **variables).returncode == 0
        assert dict(there.list("shards")) == dict(here.list("shards")) != {}
        for name, _ in there.list("shards"):
            assert there.sha256(name) == here.sha256(name)
        checked = terraweft("check", root, **variables)
        assert checked.returncode == 0, checked.stdout
        again = terraweft("build", path, "--out", root, "--dask", cluster, **variables)
        assert "unchanged" in again.stdout, again.stdout
        first = json.loads(there.read("terraweft.json"))["current"]
        recipe["modalities"]["s2"]["bands"] = ["B02", "B03", "B04"]
        path.write_text(yaml.safe_dump(recipe))
        assert terraweft("build", path, "--out", root, "--dask", cluster, **variables).returncode == 0
        listed = terraweft("versions", root, **variables).stdout
        assert listed.count(first) == 1
        assert "bands" in terraweft("diff", root, first, **variables).stdout
        assert terraweft("rollback", root, first, **variables).returncode == 0
        assert json.loads(there.read("terraweft.json"))["current"] == first
        assert "forgotten" in terraweft("gc", root, "--dry-run", **variables).stdout
        shutil.rmtree(tmp_path / "work")
        refreshed = terraweft("refresh", path, "--out", root, "--dask", cluster, **variables)
        assert "s2" in refreshed.stdout, refreshed.stderr
        assert "published" in refreshed.stdout
        nothing = terraweft("refresh", path, "--out", root, **variables)
        assert "0 of" in nothing.stdout, nothing.stderr
        repacked = terraweft("repack", root, "--buckets", 2, **variables)
        assert "published" in repacked.stdout, repacked.stderr
        assert "nothing wrong" in terraweft("check", root, **variables).stdout
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in there.read(f"versions/{first}/dataset.json")


def test_an_index_in_a_bucket_gives_what_the_file_gives(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = (-180.0, -90.0, 180.0, 90.0)
    path = tmp_path / "items.parquet"
    writer = IndexWriter(path)
    with urllib.request.urlopen(f"{world.stac_url}/search?collections=sentinel-2-l2a&limit=50") as page:
        writer.add(json.load(page)["features"])
    assert writer.close() > 2
    for name, value in {**CREDENTIALS, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    with s3_server("terraweft-index") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=url, **names)
        client.put_object(Bucket="terraweft-index", Key="part/items.parquet", Body=path.read_bytes())
        client.close()
        here = IndexCatalog(str(path), allow_local=True).search("sentinel-2-l2a", everywhere)
        for href in ("s3://terraweft-index/part/items.parquet", "s3://terraweft-index/part"):
            assert IndexCatalog(href, allow_local=True).search("sentinel-2-l2a", everywhere) == here
