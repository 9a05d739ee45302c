"""What is known of a language model before it is asked: the parameters it takes, its limits, what its tokens cost.

The table ``model_profiles.yaml`` covers models that many people use; a recipe brings its own entry for any other, or
to correct one. Prices change: each carries the day on which it was read and where.
"""

from __future__ import annotations

import math
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from schemas.recipe_base import Model
from schemas.shipped import shipped_table

NANO = 1_000_000_000
"""Units of money in one unit of the currency: sums of integers are exact."""
Format = Literal["json_schema", "json_object", "text"]


class TokenUse(Model):
    """Tokens of one call, as billed."""

    tokens_in: int = 0
    """Input, cached ones included."""
    tokens_out: int = 0
    """Output, those of hidden reasoning included."""
    cached: int = 0
    """Input tokens read from the server's cache."""
    cache_written: int = 0
    """Input tokens that the server bills for writing them into its cache."""


class Prices(Model):
    """Prices of a million tokens, in one currency."""

    tokens_in: NonNegativeFloat
    """Input."""
    tokens_out: NonNegativeFloat
    """Output."""
    cached_in: NonNegativeFloat | None = None
    """Input that the server had in its cache; as any input where absent."""
    cache_write: NonNegativeFloat | None = None
    """Input that is written into the cache; as any input where absent."""
    batch_factor: float = Field(default=0.5, gt=0.0, le=1.0)
    """What a batch costs of the same in single calls."""
    currency: str = "USD"
    """Of these prices, of ``max_cost`` and of every report."""
    as_of: date | None = None
    """Day on which they were read."""
    source: str = ""
    """Where."""

    def cost_nano(self, use: TokenUse, *, batch: bool = False) -> int:
        """Price of a call in billionths of the currency, rounded up."""
        cached = self.tokens_in if self.cached_in is None else self.cached_in
        written = self.tokens_in if self.cache_write is None else self.cache_write
        plain = max(0, use.tokens_in - use.cached - use.cache_written)
        exact = (
            plain * self.tokens_in
            + use.cached * cached
            + use.cache_written * written
            + use.tokens_out * self.tokens_out
        )
        return math.ceil(round(exact * (self.batch_factor if batch else 1.0) * NANO / 1e6, 3))

    def worst_nano(self, tokens_in: int, tokens_out: int, *, batch: bool = False) -> int:
        """Most that a call of so many tokens can cost: all its input at the dearest of the input prices."""
        dearest = max(self.tokens_in, self.cached_in or 0.0, self.cache_write or 0.0)
        exact = tokens_in * dearest + tokens_out * self.tokens_out
        return math.ceil(round(exact * (self.batch_factor if batch else 1.0) * NANO / 1e6, 3))


class ModelProfile(Model):
    """One model, or a family of them."""

    models: tuple[str, ...] = ()
    """Names, with ``*`` for any ending."""
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the limit of the answer is called."""
    parameters: tuple[str, ...] = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
    """Further parameters that it takes."""
    context_tokens: PositiveInt | None = None
    """Longest request and answer together."""
    thinking_tokens: int = Field(default=0, ge=0)
    """Tokens of hidden reasoning to leave room for; they are billed as output."""
    image_tokens: PositiveInt = 2_000
    """Most that is billed for one picture of 512 pixels (85 to 1,700 on the servers we know)."""
    formats: tuple[Format, ...] = ()
    """Ways to ask for JSON that it is known to take; asked by probe where empty."""
    images: bool | None = None
    """Whether it sees; asked by probe where unknown."""
    prices: Prices | None = None
    """Unknown where absent."""


class _Table(Model):
    profiles: tuple[ModelProfile, ...]
    """In order of preference."""


@cache
def known_profiles() -> tuple[ModelProfile, ...]:
    """The shipped table."""
    return _Table.model_validate(shipped_table("schemas", "model_profiles.yaml")).profiles


def find_profile(model: str) -> ModelProfile:
    """The table's entry for a model; one that assumes little where there is none.

    A provider's prefix is ignored: ``openai/gpt-5.4-mini`` is ``gpt-5.4-mini``.
    """
    name = model.rsplit("/", 1)[-1]
    for profile in known_profiles():
        if any(fnmatchcase(name, pattern) for pattern in profile.models):
            return profile
    return ModelProfile()
