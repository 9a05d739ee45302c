"""What a call costs and what was spent: prices and limits of a recipe in one place, for every backend that pays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captioners.budget import limit_nano, worst_tokens_in
from captioners.completion import read_usage
from captioners.conversation import Conversation
from captioners.ledger import NANO, Ending, Intent
from captioners.manner import Manner
from captioners.prompt import Messages, Prompt, canonical, request_key
from schemas.recipe_writer import Writer
from schemas.text import TextRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """One request, ready to be sent."""

    key: str
    """Its key in the ledger."""
    prompt: Prompt
    """What is said."""
    parameters: dict[str, Any]
    """How it is asked."""
    worst_in: int
    """Most input tokens."""
    worst_out: int
    """Most output tokens."""

    @property
    def messages(self) -> Messages:
        """What is sent."""
        return self.prompt.messages

    @property
    def tokens(self) -> int:
        """Most tokens in all."""
        return self.worst_in + self.worst_out


@dataclass
class Spent:
    """What one chip has cost this process."""

    calls: int = 0
    reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_nano: int = 0


@dataclass
class Till:
    """Prices, limits, and what was spent through one captioner."""

    writer: Writer
    """The recipe's section."""
    purse: str
    """Name under which the budget is kept over restarts."""
    batch: bool = False
    """Whether batch prices hold."""
    chips: dict[str, Spent] = field(default_factory=dict)
    """Chip id -> what it cost."""
    events: Counter[str] = field(default_factory=Counter)
    """What happened: retries by class, doubts, repairs, probes."""
    fallbacks: Counter[str] = field(default_factory=Counter)
    """Reason -> texts written by the template."""

    @property
    def most_doubts(self) -> int:
        """With so many calls in doubt a request is not sent again."""
        return 2 if self.writer.in_doubt == "ask_again" else 1

    def question(self, talk: Conversation, manner: Manner) -> Question:
        """The next request of a conversation.

        Raises:
            ValueError: it is over.
        """
        if talk.prompt is None:
            raise ValueError(f"{talk.one.chip_id}: nothing is left to ask")
        request = talk.request
        return self.asked(talk.prompt, request.schema, request.max_tokens, manner)

    def asked(self, prompt: Prompt, schema: Mapping[str, Any], max_tokens: int, manner: Manner) -> Question:
        """A request with its key and what it may cost at worst."""
        tokens_out = max_tokens + self.writer.model_profile.thinking_tokens
        parameters = manner.parameters(self.writer, schema, tokens_out)
        size = len(canonical(prompt.bare).encode()) + len(canonical(dict(schema)))
        return Question(
            request_key(self.writer.model, parameters, prompt.bare, schema),
            prompt,
            parameters,
            worst_tokens_in(size, prompt.images, self.writer.picture_tokens),
            tokens_out,
        )

    def intent(self, asked: Question, purpose: str, subject: str, batch: str = "") -> Intent:
        """The row to write before it is sent."""
        return Intent(
            asked.key, self.purse, purpose, self.writer.model,
            worst_nano=self.writer.prices.worst_nano(asked.worst_in, asked.worst_out, batch=self.batch),
            limit_nano=limit_nano(self.writer.max_cost), subject=subject,
            worst_tokens=asked.tokens, limit_tokens=self.writer.max_tokens, batch=batch,
            most_doubts=self.most_doubts,
        )  # fmt: skip

    def answered(self, row: str, status: int, headers: Mapping[str, str], body: bytes) -> Ending:
        """The row to write when its body is here; one that says no usage counts at its worst."""
        use = read_usage(body)
        if use is None:
            return Ending(row, "answered", status, headers, body, cost_nano=None)
        cost = self.writer.prices.cost_nano(use, batch=self.batch)
        return Ending(
            row, "answered", status, headers, body,
            tokens_in=use.tokens_in, tokens_out=use.tokens_out, tokens_cached=use.cached, cost_nano=cost,
        )  # fmt: skip

    def heard(self, talk: Conversation) -> None:
        """An answer was taken: those that ended at their limit are counted, and the first one says what helps."""
        if not talk.cut_off:
            return
        self.events["cut off"] += 1
        if self.events["cut off"] == 1:
            log.warning(
                "%s: an answer ended at its limit of tokens; a model that thinks before it answers needs more:"
                " captions.profile.thinking_tokens", talk.one.chip_id,
            )  # fmt: skip

    def spent(self, chip_id: str) -> Spent:
        """What a chip has cost so far."""
        return self.chips.setdefault(chip_id, Spent())

    def add(self, chip_id: str, worst_nano: int, ending: Ending) -> None:
        """One attempt of a chip has ended; ``worst_nano``: what was written down before it was sent."""
        one = self.spent(chip_id)
        one.tokens_in += ending.tokens_in
        one.tokens_out += ending.tokens_out
        one.cost_nano += worst_nano if ending.cost_nano is None else ending.cost_nano

    def summary(self) -> dict[str, Any]:
        """Calls, tokens and cost so far, with what was reused, refused, in doubt or replaced."""
        spent = list(self.chips.values())
        return {
            "calls": sum(one.calls for one in spent),
            "tokens_in": sum(one.tokens_in for one in spent),
            "tokens_out": sum(one.tokens_out for one in spent),
            "cost": sum(one.cost_nano for one in spent) / NANO,
            "reused": sum(one.reused for one in spent),
            "events": dict(sorted(self.events.items())),
            "fallbacks": dict(sorted(self.fallbacks.items())),
        }

    def closed(self, records: Sequence[TextRecord]) -> None:
        """A conversation is over: count what the template had to write."""
        for record in records:
            if record.verification == "fallback":
                self.fallbacks[str(record.checks.get("fallback", ""))] += 1
