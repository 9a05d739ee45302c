"""The openai backend: chat completions one by one, many in flight. One strict structured call per chip for all texts.

Every attempt is a row of the ledger; the waiting is done here, by class of failure. Words are made and judged in a
thread of their own, so that the event loop is always there when an answer comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

from captioners.aside import stream_aside
from captioners.base import Access, Captioner, CaptionInput, Written
from captioners.budget import ErrorGuard
from captioners.clerk import Clerk
from captioners.conversation import Conversation
from captioners.estimate import is_asked
from captioners.ledger import Ending, Found, Intent, LedgerFullError, State, open_ledger
from captioners.llm import TIMEOUT_S, ChatServer, Key, Lost, Received, Refused, moved, refused_key
from captioners.manner import first_manner, is_refused
from captioners.pace import MAX_WAIT_S, Pace, pause_s, retry_after_s
from captioners.probe import find_manner
from captioners.till import Question, Till
from schemas.errors import BudgetExceededError, RecipeError, TextBackendError, UserError
from schemas.recipe import Captions
from schemas.text import TextRecord

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 6
"""Failed attempts at one request before the template takes over."""
THROTTLED = 30
"""Refusals for want of capacity before it does."""
LESSONS = 8
"""Refusals from which one question learns how to be asked."""
OTHERS_WAIT_S = 0.5
"""How often to look whether another process has the answer that it waits for."""


class Stop(Exception):
    """Nothing more is sent; the rest is the template's."""


class LiveCaptioner(Captioner):
    """Writes with a model; whatever fails or is false is written by the template instead.

    Args:
        captions: the recipe's section.
        access: key, address and ledger.
        sleep: how waiting is done.
        timeout_s: read time-out of a call.
    """

    def __init__(
        self,
        captions: Captions,
        access: Access,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.captions, self.base_url = captions, access.base_url or captions.base_url
        self.key = Key(access.api_key)
        self.ledger = access.ledger
        self.sleep, self.timeout_s = sleep, timeout_s
        self.till = Till(captions, access.purse)
        self.manner = first_manner(captions.model_profile)
        self.guard = ErrorGuard(captions.max_error_ratio)
        ChatServer(self.base_url, self.key)  # a missing package is told now

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not leave its process")

    def stream(self, inputs: Iterable[CaptionInput]) -> Iterator[Written]:
        """See `Captioner.stream`.

        Raises:
            RecipeError: the server refuses the key, the model or the address: no chip could be written.
            LedgerFullError: the ledger cannot be written to.
        """
        return stream_aside(lambda put: _Session.run(self, inputs, put))

    def cost(self) -> dict[str, Any]:
        """See `Captioner.cost`."""
        return self.till.summary()


class _Session:
    """One call of `stream`: the client, the clerk and the gate shared by its chips."""

    def __init__(self, owner: LiveCaptioner, server: ChatServer, clerk: Clerk, words: Executor) -> None:
        self.owner, self.server, self.clerk, self.words, self.till = owner, server, clerk, words, owner.till
        self.pace = Pace(owner.captions.concurrency, owner.sleep)
        self.asking: dict[str, asyncio.Future[None]] = {}
        self.settled = asyncio.Event()
        self.held = 0
        self.stop = ""
        self.fatal: UserError | None = None

    @classmethod
    async def run(cls, owner: LiveCaptioner, inputs: Iterable[CaptionInput], put: Callable[[Written], None]) -> None:
        """Write all chips; each is handed to ``put`` when it is done."""
        ledger = open_ledger(owner.ledger)
        owner.till.purse = owner.till.purse or ledger.owner
        clerk = Clerk(ledger, asyncio.get_running_loop())
        server = ChatServer(owner.base_url, owner.key, owner.timeout_s)
        words = ThreadPoolExecutor(1, "words")
        session = cls(owner, server, clerk, words)
        try:
            if owner.captions.probe and is_asked(owner.captions.kinds):
                await session._probe()
            iterator = iter(inputs)
            async with asyncio.TaskGroup() as group:
                for _ in range(2 * owner.captions.concurrency):
                    group.create_task(session._worker(iterator, put))
        except* UserError as errors:
            raise errors.exceptions[0] from None
        finally:
            await server.close()
            words.shutdown(wait=True, cancel_futures=True)
            clerk.close()
            ledger.close()
        if session.fatal is not None:  # calls that were in flight have ended by now: none is left in doubt
            raise session.fatal

    async def _probe(self) -> None:
        """Find out, or remember, how the server wants to be asked."""
        owner = self.owner

        async def ask(asked: Question) -> bytes | Refused:
            return await self._answer(asked, "probe", "")

        try:
            owner.manner = await find_manner(owner.captions, owner.base_url, owner.manner, self.clerk, self.till, ask)
        except (TextBackendError, Stop) as error:
            log.warning("the server was not probed: %s", error)

    async def _in_words(self, call: Callable[..., T], *values: Any) -> T:
        """Work on words, in their own thread."""
        return await asyncio.get_running_loop().run_in_executor(self.words, call, *values)

    async def _worker(self, inputs: Iterator[CaptionInput], put: Callable[[Written], None]) -> None:
        """One chip after the other; twice as many of these as places in flight, so that there is always one waiting."""
        while self.fatal is None and (begun := await self._in_words(self._begin, inputs)) is not None:
            written = await self._chip(*begun)
            if self.fatal is None:
                put(written)

    def _begin(self, inputs: Iterator[CaptionInput]) -> tuple[Conversation, Question | list[TextRecord]] | None:
        """The next chip with what is asked about it, or its records; None where all are taken."""
        one = next(inputs, None)
        if one is None:
            return None
        shown = self.owner.manner.shown(one)
        if len(shown.views) < len(one.views):
            self.till.events["pictures left out"] += 1
        talk = Conversation(shown)
        return talk, self._next(talk)

    def _hear(self, talk: Conversation, key: str, body: bytes) -> Question | list[TextRecord]:
        """Take an answer: what is asked next, or the records."""
        talk.hear(key, body)
        self.till.heard(talk)
        return self._next(talk)

    def _next(self, talk: Conversation) -> Question | list[TextRecord]:
        """What is asked next, or the records where nothing is."""
        return self.till.question(talk, self.owner.manner) if talk.prompt is not None else talk.records()

    async def _chip(self, talk: Conversation, follows: Question | list[TextRecord]) -> Written:
        """The records of one chip; the template's where the model cannot deliver."""
        chip_id = talk.one.chip_id
        self.till.spent(chip_id)
        while isinstance(follows, Question):
            try:
                key, body = await self._ask(talk, follows)
            except BudgetExceededError as error:
                log.log(logging.DEBUG if self.till.events["budget"] else logging.WARNING, "%s: %s", chip_id, error)
                self.till.events["budget"] += 1
                talk.fail("budget")
            except Stop as stop:
                talk.fail(str(stop))
            except TextBackendError as error:
                log.warning("%s: %s after %d attempt(s)", chip_id, error, error.attempts)
                talk.fail("doubt" if "call(s) in doubt" in str(error) else "backend")
            else:
                follows = await self._in_words(self._hear, talk, key, body)
                self.till.events["repairs"] += isinstance(follows, Question)
                self.owner.guard.note(talk.readable)
                continue
            follows = await self._in_words(talk.records)
        self.till.closed(follows)
        return Written(chip_id, follows, talk.open)

    async def _ask(self, talk: Conversation, asked: Question) -> tuple[str, bytes]:
        """The answer to a question; asked in other ways where the server refuses this one.

        Raises:
            TextBackendError: no answer after all attempts.
            BudgetExceededError: the call could cost more than what is left.
            Stop: nothing more is sent.
        """
        owner, why = self.owner, ""
        for _ in range(LESSONS):
            answer = await self._answer(asked, talk.purpose, talk.one.chip_id)
            if isinstance(answer, bytes):
                return asked.key, answer
            learned, why = owner.manner.learned(answer.text, asked.parameters), answer.why
            if learned is None:
                break
            if learned != owner.manner:
                owner.manner = learned
                log.info("the server wants to be asked otherwise: %s", learned)
            asked = await self._in_words(self.till.question, talk, owner.manner)
        owner.guard.note(False)
        raise TextBackendError(f"the server cannot take the request ({why})")

    async def _answer(self, asked: Question, purpose: str, chip_id: str) -> bytes | Refused:
        """The body of an answer, from the ledger if it was ever received, else from the server; or why it refuses.

        One coroutine asks; others that want the same wait for it.
        """
        while (other := self.asking.get(asked.key)) is not None:
            await other
        turn = self.asking[asked.key] = asyncio.get_running_loop().create_future()
        try:
            return await self._attempts(asked, purpose, chip_id)
        finally:
            del self.asking[asked.key]
            turn.set_result(None)

    async def _attempts(self, asked: Question, purpose: str, chip_id: str) -> bytes | Refused:
        failed, throttled, why = 0, 0, ""
        while failed < ATTEMPTS and throttled < THROTTLED:
            outcome = await self._send(asked, purpose, chip_id)
            if isinstance(outcome, Found):
                if outcome.answer is not None:
                    self.till.spent(chip_id).reused += 1
                    return outcome.answer.body
                if outcome.in_batch:
                    raise TextBackendError("a batch that has not ended holds it", failed)
                if not outcome.in_flight:
                    raise TextBackendError(f"{outcome.doubts} call(s) in doubt", failed)
                await self.owner.sleep(OTHERS_WAIT_S)  # another process asks; if it dies, its call is in doubt
                await self.clerk.call(lambda ledger: ledger.recover())
                continue
            if isinstance(outcome, Received):
                return outcome.body
            if isinstance(outcome, Refused) and is_refused(outcome.status, outcome.text):
                return outcome
            why = outcome.why
            too_many = isinstance(outcome, Refused) and outcome.status == 429
            throttled, failed = throttled + too_many, failed + (not too_many)
            if failed < ATTEMPTS and throttled < THROTTLED:
                await self._wait(outcome, failed + throttled - 1, asked.key)
        if throttled >= THROTTLED:  # one refusal is no error, a day's allowance that is used up refuses them all
            self.owner.guard.note(False)
        raise TextBackendError(f"no answer ({why})", failed + throttled)

    async def _send(self, asked: Question, purpose: str, chip_id: str) -> Received | Refused | Lost | Found:
        """One attempt; or what the ledger has where there is nothing to ask."""
        intent = self.till.intent(asked, purpose, chip_id)
        async with self.pace.slot(asked.tokens):
            row = await self._intend(intent)
            if isinstance(row, Found):
                return row
            self.pace.sent(asked.tokens)
            self.till.spent(chip_id).calls += 1
            outcome = await self.server.complete(self.owner.captions.model, asked.messages, asked.parameters)
        try:
            if isinstance(outcome, Received):
                self.pace.answered(outcome.headers)
                ending = self.till.answered(row, outcome.status, outcome.headers, outcome.body)
            elif isinstance(outcome, Refused):
                ending = Ending(row, "refused", outcome.status, outcome.headers, error=outcome.text)
                self.till.events[f"http {outcome.status}"] += 1
            else:
                lost: State = "doubt" if outcome.was_sent else "refused"
                ending = Ending(row, lost, error=outcome.error, cost_nano=None if outcome.was_sent else 0)
                self.till.events["in doubt" if outcome.was_sent else "unreachable"] += 1
            await self.clerk.end(ending)
        except LedgerFullError as error:
            raise self._fatal(error) from None
        finally:
            self.held -= 1
            self.settled.set()
        self.till.add(chip_id, intent.worst_nano, ending)
        self._heed(outcome)
        return outcome

    def _fatal(self, error: UserError) -> Stop:
        """A mistake that ends the run, once the calls in flight have ended."""
        self.fatal, self.stop = self.fatal or error, "stopped"
        return Stop(self.stop)

    async def _intend(self, intent: Intent) -> str | Found:
        """Write the intent down; where the purse is full of calls that may yet turn out cheaper, wait for them.

        Raises:
            BudgetExceededError: with nothing in flight the call could still cost too much.
            Stop: nothing more is sent.
        """
        while True:
            self.settled.clear()
            try:
                if self.stop or self.owner.guard.tripped:
                    found = await self.clerk.find(intent.key)
                    if found.answer is not None:
                        return found
                    raise Stop(self.stop or "errors")
                row = await self.clerk.intend(intent)
            except BudgetExceededError:
                if self.held == 0:
                    raise
                await self.settled.wait()
                continue
            except LedgerFullError as error:
                raise self._fatal(error) from None
            self.held += isinstance(row, str)
            return row

    def _heed(self, outcome: Received | Refused | Lost) -> None:
        """What a failure means for all that follows.

        Raises:
            Stop: nothing more is to be sent.
            TextBackendError: it asks for too long a wait.
        """
        if isinstance(outcome, Received):
            return
        if isinstance(outcome, Lost):
            self.owner.guard.note(False)
            return
        status, model = outcome.status, self.owner.captions.model
        if is_refused(status, outcome.text):
            return
        if status in (401, 403):
            raise self._fatal(refused_key(outcome))
        if status < 400:
            raise self._fatal(moved(outcome))
        if status == 404:
            what = f"the server knows no model {model!r} ({outcome.why})"
            raise self._fatal(RecipeError(what, "captions.model", "check model and base_url"))
        if status == 402 or (status == 429 and outcome.code == "insufficient_quota"):
            if not self.stop:
                log.warning("the account's quota is used up: the rest is the template's")
            self.stop = "quota"
            raise Stop(self.stop)
        asked_s = self.pace.refused(outcome.headers, overloaded=status in (429, 503, 529))
        if status != 429 or asked_s > MAX_WAIT_S:
            self.owner.guard.note(False)
        if status not in (408, 409, 429) and status < 500:
            raise TextBackendError(outcome.why)
        if asked_s > MAX_WAIT_S:
            raise TextBackendError(f"the server asks for a wait of {asked_s:.0f} s")

    async def _wait(self, outcome: Refused | Lost, attempt: int, key: str) -> None:
        """Wait 0.5, 1, 2, ... 16 s, with up to a quarter more that depends on the key; a server that says how long is
        waited for at the gate, by all calls.
        """
        if isinstance(outcome, Refused) and retry_after_s(outcome.headers) > 0:
            return
        spread = 1.0 + int(key[:4], 16) / 0xFFFF / 4.0
        await self.owner.sleep(pause_s(attempt) * spread)
