from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shards.storage import open_storage
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
