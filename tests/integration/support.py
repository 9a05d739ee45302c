"""What the integration tests hand to each other."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
