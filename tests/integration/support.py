"""What the integration tests hand to each other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.products import SandboxIndex


@dataclass(frozen=True)
class World:
    """A served sandbox."""

    index: SandboxIndex
    stac_url: str
    files_url: str

    def path_of(self, href: str) -> Path:
        """The file behind an address of the file server."""
        assert href.startswith(self.files_url), href
        return self.index.root / "files" / href.removeprefix(self.files_url).lstrip("/")


@dataclass(frozen=True)
class Build:
    """A recipe that was built."""

    recipe: Path
    root: Path
    output: str


Terraweft = Callable[..., "subprocess.CompletedProcess[str]"]


def current_version(root: Path) -> Path:
    """Folder of a dataset's current version."""
    return root / "versions" / str(json.loads((root / "terraweft.json").read_text())["current"])


def current_document(root: Path) -> dict[str, Any]:
    """What a dataset's current version says of itself."""
    return dict(json.loads((current_version(root) / "dataset.json").read_text()))


def content_hash(root: Path) -> str:
    """Hash of all that a dataset's current version holds: equal where two hold the same."""
    return str(current_document(root)["content_hash"])
