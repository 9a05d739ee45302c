from __future__ import annotations

from pathlib import Path

import pytest

from shards.version import publish
from tests.unit.shards import made_up


@pytest.fixture
def dataset_root(tmp_path: Path) -> Path:
    """A published dataset of ten chips with shards and Zarr."""
    root = tmp_path / "dataset"
    publish(root, made_up.draft(root, [made_up.sample(n) for n in range(10)]))
    return root
