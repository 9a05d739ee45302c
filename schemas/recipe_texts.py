"""The recipe about captions and questions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from schemas.recipe_base import Model

ViewName = Literal[
    "true_colour", "colour_infrared", "swir", "ndvi", "ndwi", "sar", "enmap_true_colour", "enmap_swir", "elevation",
    "labels",
]  # fmt: skip
"""A picture that a model can be shown: the names of `chips.views.VIEWS`, and the label map."""
TextName = Literal[
    "short",
    "long",
    "per_class",
    "per_region",
    "quantitative",
    "theme",
    "labels",
    "qa",
    "grounded",
    "referring",
    "negative",
    "change",
    "dialogue",
    "revision",
    "chatearthnet",
    "rsteller",
    "skyscript",
    "rsvlm_qa",
]
"""What can be written of a chip; the last four are the forms of published datasets."""


class Captions(Model):
    """Texts."""

    backend: Literal["template", "openai"] = "template"
    """Who writes."""
    kinds: tuple[TextName, ...] = ("short", "long", "qa")
    """What is written."""
    views: tuple[ViewName, ...] = ()
    """openai: pictures that the model is shown, in this order."""
    view_px: int = Field(default=448, ge=32, le=2048)
    """Longer edge of a picture in pixels."""
    names: bool = False
    """Whether names of map features and the climate zone may be told (they cannot be seen)."""
    base_url: str = ""
    """openai: root of the server (``http://.../v1``); may hold ``${TERRAWEFT_...}``."""
    model: str = ""
    """openai: model name."""
    api_key_env: str = ""
    """openai: NAME of the environment variable that holds the key, never the key."""
    ledger: str = ""
    """openai: path of the paid-answer ledger; the site's default where empty."""
    max_cost: float = Field(default=0.0, ge=0.0)
    """openai: hard limit in the currency of the prices; 0: no calls that cost."""
    price_per_million_in: float = Field(default=0.0, ge=0.0)
    """Price of a million input tokens."""
    price_per_million_out: float = Field(default=0.0, ge=0.0)
    """Price of a million output tokens."""
    concurrency: PositiveInt = 8
    """Calls in flight."""

    @model_validator(mode="after")
    def _reachable(self) -> Captions:
        if self.backend == "openai" and not (self.base_url and self.model):
            raise ValueError("backend openai needs base_url and model")
        return self
