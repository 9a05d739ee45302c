from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shards.reader import open_dataset
from shards.storage import Storage, open_storage
from shards.version import publish
from tests.unit.shards import made_up


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published dataset of ten chips with shards and Zarr; tests that write get a copy, `dataset_root`."""
    root = tmp_path_factory.mktemp("published") / "dataset"
    publish(
        open_storage(root), made_up.draft(root, [made_up.sample(n) for n in range(10)], report=made_up.write_report)
    )
    return root


@pytest.fixture
def dataset_root(published: Path, tmp_path: Path) -> Path:
    """A copy of the published dataset."""
    root = tmp_path / "dataset"
    shutil.copytree(published, root)
    return root


@pytest.fixture(scope="session")
def three_versions(published: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A dataset of three versions, and their names; tests get a copy, `history`."""
    root = tmp_path_factory.mktemp("three_versions") / "dataset"
    shutil.copytree(published, root)
    first = open_dataset(root).version
    return root, [first, *(made_up.publish_again(root, open_storage(root), h, h) for h in (1, 2))]


@pytest.fixture
def history(three_versions: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, Storage, list[str]]:
    """Three versions."""
    root = tmp_path / "dataset"
    shutil.copytree(three_versions[0], root)
    return root, open_storage(root), list(three_versions[1])
