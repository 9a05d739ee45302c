"""What captions will cost before any call is made: for ``terraweft plan``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from captioners.ledger import NANO
from schemas.model_profile import TokenUse
from schemas.recipe import Captions

PROMPT_TOKENS = (1_100, 9_000)
"""Tokens of the constant part and one chip's facts, pictures aside.

Of the prompts that ``terraweft caption --dry-run`` renders, by its characters a token: a chip of one sensor with two
classes and nothing else, and the longest of the sandbox's, 960 m with all sensors, maps, and kinds of text.
"""
ANSWER_TOKENS = {
    "short": (30, 90), "long": (150, 400), "qa": (60, 300), "per_class": (150, 700), "per_region": (150, 500),
    "quantitative": (150, 400), "theme": (20, 60), "change": (0, 200), "chatearthnet": (150, 450),
    "rsteller": (0, 200), "rsvlm_qa": (250, 800),
}  # fmt: skip
"""Tokens of the answer by kind, sentence objects and fact ids included; a kind that is not here is never asked."""
IMAGE_TOKENS = 85
"""Least that is billed for a picture; the most is in the model's profile."""
FREE = ("template", "replay")
"""Backends that send nothing."""
REPAIR_SHARE = (0.0, 1.0)
"""Share of chips that need the one repair round, which costs as much as the first call and its answer again."""


@dataclass(frozen=True)
class Range:
    """What calls take, repairs included, as (least, most)."""

    calls: tuple[int, int]
    """Number."""
    tokens_in: tuple[int, int]
    """Input tokens."""
    tokens_out: tuple[int, int]
    """Output tokens."""
    cost: tuple[float, float]
    """In the currency of the prices."""


def is_asked(kinds: Iterable[str]) -> bool:
    """Whether a model is asked for any of the kinds; all others are computed."""
    return any(kind in ANSWER_TOKENS for kind in kinds)


def with_repairs(captions: Captions, calls: int, tokens_in: tuple[int, int]) -> Range:
    """First calls, and the repairs that they may need. At least, the server's cache gives what all prompts begin with;
    at most, all input is billed at the dearest of its prices, as the budget's guard does.

    Args:
        captions: the recipe's section: kinds, prices, room for hidden reasoning.
        calls: number of first calls.
        tokens_in: their input tokens, as (least, most).
    """
    answer = [sum(ANSWER_TOKENS.get(kind, (0, 0))[end] for kind in captions.kinds) for end in (0, 1)]
    least, most = (1.0 + share for share in REPAIR_SHARE)
    thinking = captions.model_profile.thinking_tokens
    all_in = (tokens_in[0], round(tokens_in[1] * most + calls * answer[1] * REPAIR_SHARE[1]))
    all_out = (round(calls * answer[0] * least), round(calls * (answer[1] + thinking) * most))
    batch, kept = captions.backend == "openai-batch", min(all_in[0], calls * PROMPT_TOKENS[0])
    use = TokenUse(tokens_in=all_in[0], tokens_out=all_out[0], cached=kept)
    low = captions.prices.cost_nano(use, batch=batch) / NANO
    high = captions.prices.worst_nano(all_in[1], all_out[1], batch=batch) / NANO
    return Range((round(calls * least), round(calls * most)), all_in, all_out, (low, high))


def estimate_calls(captions: Captions, chips: int) -> dict[str, Any]:
    """Calls, tokens and price of so many chips, as (least, most); zeros where no model is asked.

    Chips that are rejected, and answers that the ledger has, take nothing of it. A model of which nobody knows whether
    it sees is sent no picture at least.

    Args:
        captions: the recipe's section.
        chips: number of chips planned.
    """
    asks = captions.backend not in FREE and is_asked(captions.kinds)
    asked = chips if asks else 0
    sees = captions.model_profile.images
    fewest, pictures = (len(captions.views) if is_sent else 0 for is_sent in (sees, sees is not False))
    least, most = PROMPT_TOKENS[0] + fewest * IMAGE_TOKENS, PROMPT_TOKENS[1] + pictures * captions.picture_tokens
    found = with_repairs(captions, asked, (asked * least, asked * most))
    return {"backend": captions.backend, "model": captions.model, "calls": list(found.calls),
            "tokens_in": list(found.tokens_in), "tokens_out": list(found.tokens_out), "cost": list(found.cost),
            "max_cost": captions.max_cost}  # fmt: skip
