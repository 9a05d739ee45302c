"""The recipe about captions and questions."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from schemas.recipe_writer import Writer

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


class Captions(Writer):
    """Texts."""

    kinds: tuple[TextName, ...] = ("short", "long", "qa")
    """What is written."""
    views: tuple[ViewName, ...] = ()
    """openai: pictures that the model is shown, in this order."""
    view_px: int = Field(default=448, ge=32, le=2048)
    """Longer edge of a picture in pixels."""
    names: bool = False
    """Whether names of map features and the climate zone may be told (they cannot be seen)."""

    @property
    def picture_tokens(self) -> int:
        """Most that is billed for one picture of ``view_px``: the profile's figure is for 512 pixels."""
        return math.ceil(self.model_profile.image_tokens * max(1.0, self.view_px / 512) ** 2)
