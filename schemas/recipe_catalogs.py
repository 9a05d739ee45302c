"""The recipe about catalogs: where items come from."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from schemas.recipe_base import Model, Name


class Catalog(Model):
    """Where items come from."""

    kind: Literal["stac-api", "static", "stac-geoparquet"]
    """A STAC API; a static catalog (catalog.json) in a folder or behind HTTP; or an index of items as stac-geoparquet,
    one file or a folder of them, on disk, behind HTTP or in object storage."""
    href: str
    """Root URL or path; may hold ``${TERRAWEFT_...}``."""
    frozen: Name | None = None
    """``stac-geoparquet``, an index that a run froze: take the items of this catalog of that run; all where absent."""
    allow_local: bool = False
    """Whether hrefs may point to this machine or a private network."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Catalog:
        if self.frozen is not None and self.kind != "stac-geoparquet":
            raise ValueError("frozen names a catalog inside an index: it needs kind stac-geoparquet")
        return self
