"""One tiny sandbox for all tests of the room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.products import SandboxIndex
from tests.made_once import tiny_world


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SandboxIndex:
    """The smallest sandbox, written once per run."""
    return tiny_world(tmp_path_factory)


@pytest.fixture(scope="session")
def items(tiny: SandboxIndex) -> list[dict[str, Any]]:
    """All its items, with hrefs relative to its files."""
    lines = [line for path in sorted((tiny.root / "stac").glob("*.ndjson")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def truth(tiny: SandboxIndex) -> dict[str, Any]:
    """What is true of it."""
    loaded: dict[str, Any] = json.loads((tiny.root / "truth" / "truth.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def files(tiny: SandboxIndex) -> Path:
    """Where hrefs begin."""
    return tiny.root / "files"
