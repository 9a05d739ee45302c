"""The recipe about who writes the texts: a backend, its server and model, and what it may cost."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from schemas.model_profile import ModelProfile, Prices, find_profile
from schemas.recipe_base import Model
from schemas.recipe_catalogs import VARIABLE, has_log_in

CANNOT_CHANGE_A_WORD = (
    "base_url", "api_key_env", "ledger", "concurrency", "max_cost", "max_tokens", "max_error_ratio", "profile", "probe",
    "price_per_million_in", "price_per_million_out", "in_doubt", "missing",
)  # fmt: skip
"""Keys that the recipe's hash leaves out."""


class Writer(Model):
    """Who writes, and what it may cost."""

    backend: Literal["template", "openai", "openai-batch", "replay"] = "template"
    """template: phrase tables, no model. openai: chat completions of any compatible server. openai-batch: the same in
    batches, at half the price, within a day. replay: answers from the ledger alone."""
    base_url: str = ""
    """Root of the server (``http://.../v1``); may hold ``${TERRAWEFT_...}``."""
    model: str = ""
    """Model name."""
    parameters: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Further parameters of the model (temperature, seed, reasoning_effort, ...), as its profile allows."""
    profile: ModelProfile | None = None
    """What is known of the model; the shipped table's entry where absent."""
    api_key_env: str = ""
    """NAME of the environment variable that holds the key, never the key."""
    ledger: str = ""
    """The paid-answer ledger: a file on a local disk, or an ``s3://`` address; the site's default where empty."""
    max_cost: NonNegativeFloat = 0.0
    """Hard limit of a run in the currency of the prices; 0: no calls that cost."""
    max_tokens: NonNegativeInt = 0
    """Hard limit of a run in tokens, input and output together; 0: none."""
    max_error_ratio: float = Field(default=0.5, ge=0.0, le=1.0)
    """Calls stop where more than this share of the last fifty brought no usable answer."""
    price_per_million_in: NonNegativeFloat | None = None
    """Price of a million input tokens; the profile's where absent, 0 for a server of one's own."""
    price_per_million_out: NonNegativeFloat | None = None
    """Price of a million output tokens; the profile's where absent."""
    in_doubt: Literal["ask_again", "template"] = "ask_again"
    """What becomes of a call that was sent and never answered: asked once more, or written by the template."""
    missing: Literal["error", "template"] = "error"
    """replay: what becomes of an answer that the ledger does not hold."""
    probe: bool = True
    """Whether the server is asked once what it can (schemas, pictures) before the first chip."""
    concurrency: PositiveInt = 8
    """Calls in flight at most; fewer where the server asks for it."""

    @property
    def pays(self) -> bool:
        """Whether a ledger is needed."""
        return self.backend != "template"

    @property
    def may_ask(self) -> bool:
        """Whether a model is asked and there is money for a call."""
        is_free = self.prices.tokens_in == 0 == self.prices.tokens_out
        return self.pays and (self.max_cost > 0 or is_free or self.backend == "replay")

    @property
    def model_profile(self) -> ModelProfile:
        """What is known of the model."""
        return self.profile if self.profile is not None else find_profile(self.model)

    @property
    def picture_tokens(self) -> int:
        """Most that is billed for one picture."""
        return self.model_profile.image_tokens

    @property
    def prices(self) -> Prices:
        """What tokens cost: as the recipe says, else as the profile says, else nothing."""
        known = self.model_profile.prices
        if self.price_per_million_in is None and self.price_per_million_out is None:
            return known or Prices(tokens_in=0.0, tokens_out=0.0)
        known = known or Prices(tokens_in=0.0, tokens_out=0.0)
        told_in, told_out = self.price_per_million_in, self.price_per_million_out
        if told_in == 0 and told_out is None:  # a server of one's own
            told_out = 0.0
        # a price in the recipe is what is paid, in a batch too
        return Prices(
            tokens_in=known.tokens_in if told_in is None else told_in,
            tokens_out=known.tokens_out if told_out is None else told_out,
            currency=known.currency,
            batch_factor=1.0,
        )

    @model_validator(mode="after")
    def _writes(self) -> Self:
        if self.api_key_env and not VARIABLE.fullmatch(self.api_key_env):
            raise ValueError("api_key_env takes the name of an environment variable, never the key itself")
        if has_log_in(self.base_url):
            raise ValueError("base_url holds a user name or password: the variable of api_key_env takes them")
        if self.backend == "template":
            return self
        if not self.model or (self.backend != "replay" and not self.base_url):
            needed = "model" if self.backend == "replay" else "base_url and model"
            raise ValueError(f"backend {self.backend} needs {needed}")
        unknown = sorted(set(self.parameters) - set(self.model_profile.parameters))
        if unknown:
            takes = ", ".join(self.model_profile.parameters) or "none"
            raise ValueError(f"parameters.{unknown[0]}: {self.model} takes {takes}; profile.parameters says otherwise")
        told = (self.price_per_million_in, self.price_per_million_out)
        no_price = self.model_profile.prices is None and None in told and told != (0, None)
        if no_price and (self.api_key_env or any(told)):
            raise ValueError(f"no price of {self.model} is known: give price_per_million_in and price_per_million_out")
        return self
