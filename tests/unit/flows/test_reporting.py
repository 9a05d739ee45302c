"""What a report is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.reporting import _validation
from schemas.errors import DatasetError
from shards.storage import FolderStorage


@pytest.mark.parametrize("content", ["{", "[]", '{"gates": 5}', '{"gates": [3]}', '{"gates": [{"chips": 3}]}'])
def test_a_torn_validation_is_told_by_its_file(tmp_path: Path, content: str) -> None:
    storage = FolderStorage(tmp_path)
    storage.put("validations/v/1.json", content.encode())
    with pytest.raises(DatasetError, match=r"validations/v/1\.json: (cannot be read|holds no gates)"):
        _validation(storage, "validations/v/1.json")
    storage.put("validations/v/2.json", b'{"gates": [{"name": "leak"}]}')
    assert _validation(storage, "validations/v/2.json") == {"gates": [{"name": "leak"}]}
