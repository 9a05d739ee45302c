"""What the raw body of a chat completion says: its message, and the tokens that were billed. Never raises."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from schemas.model_profile import TokenUse

MOST_TOKENS = 1_000_000_000
"""A body that says more of one call says nothing of use."""
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a body raises that is not what it should be."""
_THOUGHT = re.compile(r"</think(?:ing)?>|\[/THINK\]", re.IGNORECASE)
"""Where a model's thoughts end that its server leaves in the text: DeepSeek's and Qwen's, Magistral's."""


@dataclass(frozen=True)
class Message:
    """The first choice of a chat completion."""

    content: str
    """Its text; empty where it has none."""
    model: str
    """Model name as the server returned it."""
    is_refusal: bool
    """Whether the model, or a filter, refused."""
    is_cut_off: bool
    """Whether the answer ran into its limit."""


def read_message(body: bytes) -> Message | None:
    """The message of a raw body; None where it holds none."""
    try:
        data = json.loads(body)
        choice = data["choices"][0]
        message, finish = choice["message"], str(choice.get("finish_reason") or "")
        content, refusal = _text(message.get("content")), message.get("refusal")
        model = whole(str(data.get("model") or ""))
    except UNREADABLE:
        return None
    is_refusal = bool(refusal) or finish == "content_filter"
    return Message("" if refusal else content, model, is_refusal, finish == "length")


def read_content(body: bytes) -> str:
    """Text of the message; empty where there is none."""
    message = read_message(body)
    return "" if message is None else message.content


def is_error(body: bytes) -> bool:
    """Whether a raw body is an error in an answer's place, as gateways send with HTTP 200 what befell them later."""
    try:
        data = json.loads(body)
        return bool(data.get("error")) and not data.get("choices") and not data.get("usage")
    except UNREADABLE:
        return False


def _text(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts as some servers send it."""
    if isinstance(content, list):
        content = "".join(str(part["text"]) for part in content if part.get("type") == "text")
    return whole(content) if isinstance(content, str) else ""


def whole(text: str) -> str:
    """The text with a question mark for every half of a character (lone surrogate): no file could hold it."""
    return text.encode("utf-8", "replace").decode()


def json_in(content: str) -> str:
    """The JSON object in a text: models that keep to no format put thoughts, a fence or courtesies around it."""
    said = content.strip()
    if not said.startswith("{"):
        said = said[max((found.end() for found in _THOUGHT.finditer(said)), default=0) :]
        fenced = re.search(r"```(?:json)?\s*(\{.*\})\s*```", said, re.DOTALL)
        said = fenced.group(1) if fenced else said
    begin, end = said.find("{"), said.rfind("}")
    try:  # what follows may hold braces of its own
        return said[begin : json.JSONDecoder().raw_decode(said, begin)[1]] if begin >= 0 else said
    except UNREADABLE:
        return said[begin : end + 1] if begin < end else said


def read_usage(body: bytes) -> TokenUse | None:
    """Tokens that a raw body says were billed; None where it does not say.

    No request has no tokens, and no text: servers that do not count say 0, which would pay for everything.
    """
    try:
        usage = json.loads(body)["usage"]
        tokens_in, tokens_out = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        tokens_out = max(tokens_out, int(usage.get("total_tokens") or 0) - tokens_in)  # some leave hidden reasoning out
    except UNREADABLE:
        return None
    if not (1 <= tokens_in <= MOST_TOKENS and 0 <= tokens_out <= MOST_TOKENS):
        return None
    if tokens_out == 0 and read_content(body):
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
