"""What captions will cost before any call is made: for ``terraweft plan``."""

from __future__ import annotations

from typing import Any

from captioners.ledger import NANO
from schemas.model_profile import TokenUse
from schemas.recipe import Captions

PROMPT_TOKENS = (900, 3000)
"""Tokens of the constant part and one chip's facts: a chip with two classes, one with ten and map features.

Measured on the rendered prompts of the sandbox's kind of chip at four characters a token.
"""
ANSWER_TOKENS = {
    "short": (30, 90), "long": (150, 400), "qa": (60, 300), "per_class": (150, 700), "per_region": (150, 500),
    "quantitative": (150, 400), "theme": (20, 60), "change": (0, 200), "chatearthnet": (150, 450),
    "rsteller": (0, 200), "rsvlm_qa": (250, 800),
}  # fmt: skip
"""Tokens of the answer by kind, sentence objects and fact ids included."""
REPAIR_SHARE = (0.0, 1.0)
"""Share of chips that need the one repair round, which costs as much as the first call and its answer again."""


def estimate_calls(captions: Captions, chips: int) -> dict[str, Any]:
    """Calls, tokens and price of so many chips, as (least, most); zeros for the template.

    Args:
        captions: the recipe's section.
        chips: number of chips planned.
    """
    if captions.backend == "template":
        zero = [0, 0]
        return {"backend": "template", "model": "", "calls": zero, "tokens_in": zero, "tokens_out": zero,
                "cost": [0.0, 0.0], "max_cost": captions.max_cost}  # fmt: skip
    answer = [sum(ANSWER_TOKENS.get(kind, (0, 0))[end] for kind in captions.kinds) for end in (0, 1)]
    rounds = [1.0 + share for share in REPAIR_SHARE]
    calls = [round(chips * r) for r in rounds]
    tokens_in = [
        round(chips * PROMPT_TOKENS[0]),
        round(chips * (PROMPT_TOKENS[1] * rounds[1] + answer[1] * REPAIR_SHARE[1])),
    ]
    tokens_out = [round(chips * answer[end] * rounds[end]) for end in (0, 1)]
    cost = [
        captions.prices.cost_nano(TokenUse(tokens_in=i, tokens_out=o), batch=captions.backend == "openai-batch") / NANO
        for i, o in zip(tokens_in, tokens_out, strict=True)
    ]
    return {"backend": captions.backend, "model": captions.model, "calls": calls, "tokens_in": tokens_in,
            "tokens_out": tokens_out, "cost": cost, "max_cost": captions.max_cost}  # fmt: skip
