"""The openai backend: chat completions of any compatible server. The only file of this room that uses the network.

One strict structured call per chip for all its texts. The client's own retries are off: a retry after a time-out can
be billed twice, so every attempt is a row of the ledger, and the waiting is done here, by class of failure.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from captioners.base import CaptionInput
from captioners.budget import Prices, limit_nano
from captioners.drafts import Judged, Recorder, Reply, judge, read_reply, read_usage
from captioners.ledger import NANO, Answer, Ledger
from captioners.prompt import Messages, Request, canonical, make_request, render_prompt, request_key, without_images
from captioners.reading import read_sheet
from captioners.verify import Verifier
from schemas.errors import BudgetExceededError, MissingExtraError, RecipeError, TextBackendError
from schemas.recipe import Captions
from schemas.text import TextRecord

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 6
"""Attempts at one request before the template takes over."""
MAX_WAIT_S = 120.0
"""A server that asks for more is not waited for."""
MAX_DOUBTS = 2
"""A request in doubt is asked again at most once."""
TIMEOUT_S = 300.0
"""Read time-out: long, since a call given up is a call in doubt."""
FORMATS = ("json_schema", "json_object", "text")
"""How the schema is asked for, the strictest first; a server that refuses one is asked the next way."""
TOKEN_NAMES = ("max_tokens", "max_completion_tokens")
"""What the limit of the answer is called; reasoning models want the second."""


@dataclass
class _Spent:
    """What one chip has cost."""

    calls: int = 0
    reused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_nano: int = 0


class OpenAICaptioner:
    """Writes with a model; whatever fails or is false is written by the template instead.

    Args:
        captions: the recipe's section.
        api_key: key of the server; None for a server that wants none.
        base_url: root of the server, ``http://host/v1``.
        ledger_path: the paid-answer ledger.
        purse: name under which the budget is kept over restarts (the run's hash); a new one where empty.
        sleep: how waiting is done.
        timeout_s: read time-out of a call.
    """

    def __init__(
        self,
        captions: Captions,
        *,
        api_key: str | None,
        base_url: str,
        ledger_path: Path,
        purse: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError.of("openai", "build") from error
        self._openai = openai
        self._captions, self._base_url, self._ledger_path = captions, base_url, ledger_path
        self._api_key = api_key or "none"
        self._purse, self._sleep, self._timeout_s = purse, sleep, timeout_s
        self._prices = Prices(captions.price_per_million_in, captions.price_per_million_out)
        self._limit_nano = limit_nano(captions.max_cost)
        self._format, self._token_name = FORMATS[0], TOKEN_NAMES[0]
        self._chips: dict[str, _Spent] = {}
        self._events: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()

    def write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """The records of each chip, in order.

        Raises:
            RecipeError: the server refuses the key, the model or the address: no chip could be written.
        """
        running: dict[str, Any] = {}

        async def main() -> list[list[TextRecord]]:
            running.update(loop=asyncio.get_running_loop(), task=asyncio.current_task())
            return await self._write(inputs)

        with ThreadPoolExecutor(1, "captions") as thread:  # a loop of its own, whoever calls
            future = thread.submit(lambda: asyncio.run(main()))
            try:
                return future.result()
            except BaseException:  # Ctrl-C: calls in flight are given up (and in doubt), answers on disk stay
                if not future.done() and running:
                    running["loop"].call_soon_threadsafe(running["task"].cancel)
                raise

    def cost(self) -> dict[str, Any]:
        """Calls, tokens and cost of this captioner so far, with what was reused, refused, in doubt or replaced."""
        spent = list(self._chips.values())
        return {
            "calls": sum(one.calls for one in spent),
            "tokens_in": sum(one.tokens_in for one in spent),
            "tokens_out": sum(one.tokens_out for one in spent),
            "cost": sum(one.cost_nano for one in spent) / NANO,
            "reused": sum(one.reused for one in spent),
            "events": dict(sorted(self._events.items())),
            "fallbacks": dict(sorted(self._fallbacks.items())),
            "chips": {
                chip_id: {
                    "calls": one.calls, "tokens_in": one.tokens_in, "tokens_out": one.tokens_out,
                    "cost": one.cost_nano / NANO,
                }
                for chip_id, one in sorted(self._chips.items())
            },
        }  # fmt: skip

    async def _write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """All chips at once, `concurrency` calls in flight."""
        client = self._openai.AsyncOpenAI(
            api_key=self._api_key, base_url=self._base_url, max_retries=0, timeout=self._timeout_s
        )
        client.organization = client.project = None  # never taken from the environment
        with Ledger(self._ledger_path) as ledger, ThreadPoolExecutor(1, "ledger") as ledger_thread:
            session = _Session(self, client, ledger, ledger_thread, asyncio.Semaphore(self._captions.concurrency))
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(session.chip(one)) for one in inputs]
            except* RecipeError as errors:
                raise errors.exceptions[0] from None
            finally:
                await client.close()
        return [task.result() for task in tasks]


class _Session:
    """One call of `write`: the client, the ledger and the gate shared by its chips."""

    def __init__(
        self, owner: OpenAICaptioner, client: Any, ledger: Ledger, thread: ThreadPoolExecutor, gate: asyncio.Semaphore
    ) -> None:
        self.owner, self.client, self.ledger, self.thread, self.gate = owner, client, ledger, thread, gate
        self.purse = owner._purse or ledger.owner

    async def _on_disk(self, call: Callable[..., T], *values: Any, **named: Any) -> T:
        """A ledger call in the ledger's own thread: a sync to disk must not stop the loop, nor Ctrl-C the sync."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self.thread, lambda: call(*values, **named)))

    async def chip(self, one: CaptionInput) -> list[TextRecord]:
        """The records of one chip; the template's where the model cannot deliver."""
        reading = read_sheet(one.facts)
        request, verifier = make_request(one, reading), Verifier(reading)
        recorder = Recorder(one, request, verifier)
        self.owner._chips.setdefault(one.chip_id, _Spent())
        try:
            rounds, key, reply = await self._rounds(one, request, verifier)
        except BudgetExceededError as error:
            log.warning("%s: %s", one.chip_id, error)
            return self._fallback(recorder, "budget")
        except TextBackendError as error:
            log.warning("%s: %s after %d attempt(s)", one.chip_id, error, error.attempts)
            return self._fallback(recorder, "backend")
        if not rounds:
            return self._fallback(recorder, "refusal" if reply.problem == "refusal" else "unreadable")
        records = recorder.records(rounds, key, reply.model)
        self.owner._fallbacks["violations"] += sum(r.verification == "fallback" for r in records)
        return records

    def _fallback(self, recorder: Recorder, reason: str) -> list[TextRecord]:
        records = recorder.fallback(reason)
        self.owner._fallbacks[reason] += len(records)
        return records

    async def _rounds(self, one: CaptionInput, request: Request, verifier: Verifier) -> tuple[list[Judged], str, Reply]:
        """The judged answers: the first, and one repair where something does not hold."""
        key, reply = await self._ask(one.chip_id, request, request.messages, "write")
        rounds = []
        problems = [{"where": "the answer", "text": "", "why": reply.problem}]
        if reply.draft is not None:
            rounds.append(judge(reply.draft, one.kinds, request, verifier))
            problems = rounds[0].problems()
        if not problems or reply.problem == "refusal":
            return rounds, key, reply
        repair = render_prompt("prompt_repair.jinja", problems=problems)
        messages: Messages = [
            *request.messages,
            {"role": "assistant", "content": reply.content or "(nothing)"},
            {"role": "user", "content": repair},
        ]
        self.owner._events["repairs"] += 1
        try:
            key2, reply2 = await self._ask(one.chip_id, request, messages, "repair")
        except TextBackendError:
            if not rounds:
                raise
            return rounds, key, reply  # what held the first time is kept
        if reply2.draft is None:
            return rounds, key, reply if rounds else reply2
        return [*rounds, judge(reply2.draft, one.kinds, request, verifier)], key2, reply2

    async def _ask(self, chip_id: str, request: Request, messages: Messages, purpose: str) -> tuple[str, Reply]:
        """The answer to one request: from the ledger if it was ever received, else from the server.

        Raises:
            TextBackendError: no answer after all attempts.
            BudgetExceededError: the call could cost more than what is left.
            RecipeError: the server refuses key, model or address.
        """
        owner, spent = self.owner, self.owner._chips[chip_id]
        for attempt in range(ATTEMPTS):
            parameters = owner_parameters(owner, request)
            key = request_key(owner._captions.model, parameters, messages, request.schema)
            stored = await self._on_disk(self.ledger.answer, key)
            if stored is not None:
                spent.reused += 1
                return key, read_reply(stored.body)
            if await self._on_disk(self.ledger.doubts, key) >= MAX_DOUBTS:
                raise TextBackendError("asked twice, and both calls are in doubt", attempt)
            async with self.gate:
                outcome = await self._send(key, parameters, request, messages, purpose, spent)
            if isinstance(outcome, Answer):
                return key, read_reply(outcome.body)
            if outcome is not None:
                await owner._sleep(_wait_s(outcome, attempt, key))
        raise TextBackendError("no answer", ATTEMPTS)

    async def _send(
        self, key: str, parameters: dict[str, Any], request: Request, messages: Messages, purpose: str, spent: _Spent
    ) -> Answer | float | None:
        """One attempt: an answer; or seconds to wait before the next (0: our own pace); or None to go on at once."""
        owner, openai = self.owner, self.owner._openai
        size = len(canonical(without_images(messages)).encode()) + len(canonical(request.schema))
        worst = owner._prices.worst_nano(size, request.images, request.max_tokens)
        row = await self._on_disk(
            self.ledger.intend, key, purse=self.purse, purpose=purpose, model=owner._captions.model,
            worst_nano=worst, limit_nano=owner._limit_nano,
        )  # fmt: skip
        spent.calls += 1
        try:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=owner._captions.model, messages=messages, **parameters
            )
            body, status, headers = bytes(raw.content), int(raw.status_code), dict(raw.headers)
        except openai.APIStatusError as error:
            headers = dict(error.response.headers)
            await self._on_disk(self.ledger.refused, row, status=error.status_code, headers=headers, error=str(error))
            owner._events[f"http {error.status_code}"] += 1
            return self._after_refusal(error, parameters)
        except openai.APIConnectionError as error:
            never_left = type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout")
            end = self.ledger.unsent if never_left else self.ledger.doubtful
            await self._on_disk(end, row, type(error.__cause__ or error).__name__)
            owner._events["unreachable" if never_left else "in doubt"] += 1
            spent.cost_nano += 0 if never_left else worst
            return 0.0
        usage = read_usage(body)
        tokens_in, tokens_out = usage or (0, 0)
        cost = worst if usage is None else owner._prices.cost_nano(tokens_in, tokens_out)
        await self._on_disk(
            self.ledger.answered, row, status=status, headers=headers, body=body,
            tokens_in=tokens_in, tokens_out=tokens_out, cost_nano=cost,
        )  # fmt: skip
        spent.tokens_in += tokens_in
        spent.tokens_out += tokens_out
        spent.cost_nano += cost
        return Answer(body, tokens_in, tokens_out, cost)

    def _after_refusal(self, error: Any, parameters: dict[str, Any]) -> float | None:
        """What an HTTP error means: wait so long, ask another way at once, or give up by raising."""
        status, text, owner = int(error.status_code), str(error).lower(), self.owner
        if status in (401, 403):
            raise RecipeError(
                f"the model's server refused the key (HTTP {status})", "captions.api_key_env", "check the key"
            )
        if status == 404:
            raise RecipeError(
                f"the server knows no model {owner._captions.model!r}", "captions.model", "check model and base_url"
            )
        if status in (400, 422):
            asked = parameters.get("response_format", {}).get("type", "text")
            if any(word in text for word in ("response_format", "json_schema", "schema")) and asked != FORMATS[-1]:
                owner._format = FORMATS[FORMATS.index(asked) + 1]
                return None
            if "max_completion_tokens" in text and TOKEN_NAMES[0] in parameters:
                owner._token_name = TOKEN_NAMES[1]
                return None
            raise TextBackendError(f"the server cannot take the request (HTTP {status})")
        if status in (408, 409, 429) or status >= 500:
            return _retry_after_s(error.response.headers.get("retry-after"))
        raise TextBackendError(f"HTTP {status}")


def owner_parameters(owner: OpenAICaptioner, request: Request) -> dict[str, Any]:
    """Parameters of a call as this server takes them; part of the key."""
    parameters: dict[str, Any] = {owner._token_name: request.max_tokens}
    if owner._format == "json_schema":
        schema = {"name": "texts", "strict": True, "schema": request.schema}
        parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif owner._format == "json_object":
        parameters["response_format"] = {"type": "json_object"}
    return parameters


def _retry_after_s(header: str | None) -> float:
    """Seconds that the server asks for; 0 where it does not say.

    Raises:
        TextBackendError: it asks for more than `MAX_WAIT_S`.
    """
    try:
        seconds = float(header or 0.0)
    except ValueError:
        return 0.0
    if seconds > MAX_WAIT_S:
        raise TextBackendError(f"the server asks for a wait of {seconds:.0f} s")
    return max(0.0, seconds)


def _wait_s(asked: float, attempt: int, key: str) -> float:
    """Seconds to wait: as asked, else 0.5, 1, 2, ... 16, with up to a quarter more that depends on the key."""
    spread = 1.0 + int(key[:4], 16) / 0xFFFF / 4.0
    return asked if asked > 0 else min(16.0, 0.5 * 2.0**attempt) * spread
