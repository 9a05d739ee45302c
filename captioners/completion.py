"""What the raw body of a chat completion says: its text, and the tokens that were billed. Never raises."""

from __future__ import annotations

import json
from typing import Any

from schemas.model_profile import TokenUse


def read_content(body: bytes) -> str:
    """Text of the message; empty where there is none."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return content if isinstance(content, str) else ""


def read_usage(body: bytes) -> TokenUse | None:
    """Tokens that a raw body says were billed; None where it does not say."""
    try:
        usage = json.loads(body)["usage"]
        tokens_in, tokens_out = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (ValueError, KeyError, TypeError):
        return None
    if tokens_in < 0 or tokens_out < 0:
        return None
    details = usage.get("prompt_tokens_details")
    cached, written = (_count(details, name) for name in ("cached_tokens", "cache_write_tokens"))
    cached = min(cached, tokens_in)
    return TokenUse(
        tokens_in=tokens_in, tokens_out=tokens_out, cached=cached, cache_written=min(written, tokens_in - cached)
    )


def _count(details: Any, name: str) -> int:
    value = details.get(name) if isinstance(details, dict) else 0
    return value if isinstance(value, int) and value > 0 else 0
