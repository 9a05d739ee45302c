"""The recipe about catalogs: where items come from."""

from __future__ import annotations

from typing import Literal

from schemas.recipe_base import Model


class Catalog(Model):
    """Where items come from."""

    kind: Literal["stac-api", "static"]
    """A STAC API, or a static catalog (catalog.json) in a folder or behind HTTP."""
    href: str
    """Root URL or path; may hold ``${TERRAWEFT_...}``."""
    allow_local: bool = False
    """Whether hrefs may point to this machine or a private network."""
