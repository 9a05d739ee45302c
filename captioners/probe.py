"""Asking a server once what it can, and remembering it in the ledger."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from captioners.clerk import Clerk
from captioners.llm import Refused
from captioners.manner import (
    FORMATS,
    PROBE_SCHEMA,
    PROBE_TOKENS,
    Manner,
    fits,
    format_probe,
    from_note,
    picture_probe,
    sees,
    server_name,
    to_note,
)
from captioners.prompt import Prompt
from captioners.till import Question, Till
from schemas.recipe import Captions

log = logging.getLogger(__name__)

Ask = Callable[[Question], Awaitable[bytes | Refused]]


async def find_manner(captions: Captions, base_url: str, first: Manner, clerk: Clerk, till: Till, ask: Ask) -> Manner:
    """How the server wants to be asked: as its profile says, as it was found before, or by probe.

    Args:
        captions: the recipe's section.
        base_url: the server.
        first: what the profile says.
        clerk: the ledger.
        till: prices; a probe is paid for like any call.
        ask: sends a question.

    Raises:
        TextBackendError: the server does not answer, or the budget does not allow a probe; nothing is remembered.
    """
    profile, name = captions.model_profile, server_name(base_url, captions.model)
    shows = bool(getattr(captions, "views", ()))
    note = await clerk.call(lambda ledger: ledger.load("server", name))
    manner, saw = from_note(note, profile) if note is not None else (first, False)
    asks_format = note is None and not profile.formats
    asks_sight = shows and not saw and profile.images is None
    prober = _Prober(name, till, ask)
    if asks_format:
        manner = await prober.format(manner)
    if asks_sight:
        manner = await prober.sight(manner)
    if asks_format or asks_sight:
        kept = to_note(manner, saw=saw or asks_sight)
        await clerk.call(lambda ledger: ledger.save("server", name, kept))
        log.info("%s on this server: %s", captions.model, manner)
    return manner


class _Prober:
    def __init__(self, server: str, till: Till, ask: Ask) -> None:
        self.server, self.till, self.ask = server, till, ask

    async def format(self, manner: Manner) -> Manner:
        """The strictest way to JSON by which an answer has the right shape."""
        for name in FORMATS:
            manner = replace(manner, format=name)
            body, manner = await self._patiently(Prompt.of(format_probe()), PROBE_SCHEMA, manner)
            if body is not None and manner.format == name and fits(body):
                return manner
        return replace(manner, format="text")

    async def sight(self, manner: Manner) -> Manner:
        """Whether a picture is taken and seen."""
        plain = replace(manner, format="text")
        body, _ = await self._patiently(Prompt.of(picture_probe()), {}, plain)
        return replace(manner, images=body is not None and sees(body))

    async def _patiently(self, prompt: Prompt, schema: dict[str, Any], manner: Manner) -> tuple[bytes | None, Manner]:
        """An answer, asked another way where a parameter's name was all that was wrong."""
        for _ in range(4):
            asked = self.till.asked(prompt, schema, PROBE_TOKENS, manner)
            key = hashlib.sha256(f"{self.server}{asked.key}".encode()).hexdigest()  # what one server can, not the model
            answer = await self.ask(replace(asked, key=key))
            if not isinstance(answer, Refused):
                return answer, manner
            learned = manner.learned(answer.text, asked.parameters)
            if learned is None or learned.format != manner.format:
                return None, manner
            manner = learned
        return None, manner
