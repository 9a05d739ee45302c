"""The openai-batch backend: the same questions in files, at half the price, answered within a day.

A pass goes over all chips: what the ledger answers is heard, what it does not is written into files of limited size.
Each file becomes a batch; when all have ended, the next pass begins, until nothing is left to ask (repairs are asked
in a pass of their own). Every batch has a note in the ledger, so that a process that was killed at any point goes on:

    made      rows are written, nothing was sent          -> the rows are released
    uploaded  the file is there; a batch may be, too      -> looked for by our name; started where there is none
    created   the server works on it                      -> waited for
    done      its answers are in the ledger
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from captioners.aside import stream_aside
from captioners.base import Access, Captioner, CaptionInput, Written
from captioners.batch_calls import BatchServer
from captioners.batch_results import Errand, read_results, remaining
from captioners.budget import ErrorGuard
from captioners.conversation import Conversation
from captioners.ledger import Ending, Find, Ledger, State, open_ledger
from captioners.llm import TIMEOUT_S, ChatServer, Key
from captioners.manner import Manner, is_refused, known_manner, server_name, to_note
from captioners.till import Question, Till
from schemas.errors import RecipeError
from schemas.recipe import Captions

log = logging.getLogger(__name__)

MOST_BYTES = 190_000_000
"""Bytes of one file; servers take 200 MB."""
MOST_REQUESTS = 50_000
"""Requests of one batch."""
TRIES = 3
"""Batches in which a request may go before the template takes over."""
POLL_S = (5.0, 60.0)
"""Seconds between looks at a batch: at first, and at last."""
ENDED = ("completed", "failed", "expired", "cancelled")
GROUP = 500
"""Rows written to the ledger at once."""


class BatchCaptioner(Captioner):
    """Writes with a model, in batches.

    Args:
        captions: the recipe's section.
        access: key, address and ledger.
        sleep: how waiting is done.
        most_requests: requests of one batch.
        most_bytes: bytes of one file.
    """

    def __init__(
        self,
        captions: Captions,
        access: Access,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.captions, self.access, self.sleep = captions, access, sleep
        self.base_url = access.base_url or captions.base_url
        self.most_requests, self.most_bytes = most_requests, most_bytes
        self.till = Till(captions, access.purse, batch=True)
        ChatServer(self.base_url, Key(access.api_key))  # a missing package is told now

    def stream(self, inputs: Iterable[CaptionInput]) -> Iterator[Written]:
        """See `Captioner.stream`; the inputs are gone over once for each pass.

        Raises:
            RecipeError: the server refuses the key, or every request.
            TextBackendError: it cannot be reached.
        """

        async def main(put: Callable[[Written], None]) -> None:
            ledger = open_ledger(self.access.ledger)
            self.till.purse = self.till.purse or ledger.owner
            server = ChatServer(self.base_url, Key(self.access.api_key), TIMEOUT_S)
            try:
                await _Run(self, ledger, server, put).all(inputs)
            finally:
                await server.close()
                ledger.close()

        return stream_aside(main)

    def cost(self) -> dict[str, Any]:
        """See `Captioner.cost`."""
        return self.till.summary()


class _Run:
    """One call of `stream`."""

    def __init__(
        self, owner: BatchCaptioner, ledger: Ledger, server: ChatServer, put: Callable[[Written], None]
    ) -> None:
        self.owner, self.ledger, self.put, self.till = owner, ledger, put, owner.till
        self.server = BatchServer(server, owner.till.events, owner.sleep)
        self.guard = ErrorGuard(owner.captions.max_error_ratio)
        self.tries: Counter[str] = Counter()
        self.server_name = server_name(owner.base_url, owner.captions.model)
        self.most_requests = owner.most_requests
        self.at_once = sys.maxsize  # batches; fewer once the server's queue was full
        self.queue_said = ""
        self.is_heard = False  # whether any answer was had as we ask now: another way would ask it anew
        note = ledger.load("server", self.server_name)
        self.manner: Manner = known_manner(note, owner.captions.model_profile)

    async def all(self, inputs: Iterable[CaptionInput]) -> None:
        """Every chip, pass by pass."""
        await self._finish(await self._take_up())
        done: set[str] = set()
        while True:
            with tempfile.TemporaryDirectory(prefix="terraweft-batch-") as folder:
                errands = self._pass(inputs, done, Path(folder))
                if not errands:
                    return
                await self._send(errands)

    async def _send(self, errands: Sequence[Errand]) -> None:
        """Start batches and wait for them; not more at once than the server's queue has held.

        Where even a single one is too large for the queue, the rest is written anew in smaller ones.
        """
        waiting, size = list(errands), self.most_requests
        while waiting and self.most_requests == size:
            group, waiting = waiting[: self.at_once], waiting[self.at_once :]
            await self._finish([await self._start(errand) for errand in group])
        for errand in waiting:
            self.tries.subtract(self._end(errand, "refused", "never sent"))

    def _pass(self, inputs: Iterable[CaptionInput], done: set[str], folder: Path) -> list[Errand]:
        """Hear what the ledger has, write down what it lacks; chips that are finished are put out."""
        errands: list[Errand] = []
        asked: set[str] = set()
        refused: list[Conversation] = []
        wanted: list[tuple[Question, Conversation]] = []
        for one in inputs:
            if one.chip_id in done:
                continue
            talk = Conversation(self.manner.shown(one), "openai-batch")
            question = self._advance(talk, asked)
            if question is None:
                self._close(talk, done)
            elif question.key not in asked:  # else another chip asks the same, and the next pass hears it
                asked.add(question.key)
                wanted.append((question, talk))
            if len(wanted) == GROUP:
                refused += self._spool(wanted, errands, folder)
                wanted = []
        refused += self._spool(wanted, errands, folder)
        for errand in errands:
            errand.close()
            if not errand.count:
                self._note(errand, "done")
        errands = [errand for errand in errands if errand.count]
        if not errands:  # nothing is in flight whose worst price could turn out to be less
            for talk in refused:
                talk.fail("budget")
                self._close(talk, done)
        return errands

    def _close(self, talk: Conversation, done: set[str]) -> None:
        records = talk.records()
        self.till.closed(records)
        done.add(talk.one.chip_id)
        self.put(Written(talk.one.chip_id, records, talk.open))

    def _advance(self, talk: Conversation, asked: Collection[str]) -> Question | None:
        """Go as far as the ledger knows; the question that it cannot answer, None where the conversation is over."""
        while talk.prompt is not None:
            question = self.till.question(talk, self.manner)
            found = self.ledger.apply([Find(question.key)])[0]
            if found.answer is not None:
                self.is_heard = True
                talk.hear(question.key, found.answer.body)
                self.till.heard(talk)
            elif self.guard.tripped or self.tries[question.key] >= TRIES:
                talk.fail("errors" if self.guard.tripped else "backend")
            elif found.in_flight and question.key not in asked:  # another process asks: the next build has its answer
                talk.fail("backend")
            elif found.doubts >= self.till.most_doubts:
                talk.fail("doubt")
            else:
                return question
        return None

    def _spool(
        self, wanted: Sequence[tuple[Question, Conversation]], errands: list[Errand], folder: Path
    ) -> list[Conversation]:
        """Write requests into files, after their rows; those that the purse refuses."""
        lines = [self._line(question) for question, _ in wanted]
        places = [self._room(len(line), errands, folder) for line in lines]
        intents = [
            self.till.intent(question, talk.purpose, talk.one.chip_id, batch=errand.name)
            for (question, talk), errand in zip(wanted, places, strict=True)
        ]
        refused = []
        rows = self.ledger.apply(intents)
        for (question, talk), line, errand, row in zip(wanted, lines, places, rows, strict=True):
            if isinstance(row, str):
                errand.add(line)
                self.tries[question.key] += 1
                self.till.spent(talk.one.chip_id).calls += 1
                self.till.events["repairs"] += talk.purpose == "repair"
            elif isinstance(row, Exception):  # else another process was quicker: the next pass sees what came of it
                refused.append(talk)
        return refused

    def _line(self, question: Question) -> bytes:
        body = {"model": self.owner.captions.model, "messages": question.messages, **question.parameters}
        line = {"custom_id": question.key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line).encode() + b"\n"

    def _room(self, size: int, errands: list[Errand], folder: Path) -> Errand:
        """The batch that takes a request of so many bytes: the last one, or a new one where that is full."""
        if not errands or not errands[-1].takes(size, self.most_requests, self.owner.most_bytes):
            name = uuid.uuid4().hex
            errands.append(Errand(name, folder / f"{name}.jsonl"))
            self._note(errands[-1], "made")
        errands[-1].reserve(size)
        return errands[-1]

    async def _start(self, errand: Errand) -> Errand:
        """Upload a file and start its batch; the order of notes is the order in which things can be found again."""
        assert errand.path is not None
        errand.file_id = await self.server.upload(errand.path)
        self._note(errand, "uploaded")
        await self._create(errand)
        return errand

    async def _create(self, errand: Errand, *, may_lack: bool = False) -> bool:
        """Start the batch of an uploaded file, unless there is one already; see `BatchServer.create`."""
        batch_id = await self.server.create(errand.file_id, errand.name, may_lack=may_lack)
        if batch_id is None:
            return False
        errand.batch_id = batch_id
        self._note(errand, "created")
        return True

    def _end(self, errand: Errand, state: State, error: str) -> list[str]:
        """End all that is left of a batch that nobody will answer; the keys of its requests."""
        rows = remaining(self.ledger, errand.name)
        self.ledger.apply([Ending(one.row, state, error=error) for one in rows.values()])
        self._note(errand, "done")
        return list(rows)

    async def _take_up(self) -> list[Errand]:
        """Batches that an earlier process left behind on this server, whosever they were.

        Those of other runs that live are theirs: rows are written long before their file is sent. Of our own run, which
        holds its dataset, no other process lives.
        """
        left = []
        for name, note in self.ledger.notes("batch").items():
            if note.get("server") != self.server_name or note["state"] == "done":
                continue
            by = str(note.get("by", ""))
            if by and note["purse"] != self.till.purse and self.ledger.is_alive(by):
                continue
            errand = Errand(name, None, note.get("file_id", ""), note.get("batch_id", ""))
            if note["state"] == "made":
                self._end(errand, "refused", "never sent")
            elif note["state"] == "uploaded" and not await self._create(errand, may_lack=True):
                log.warning("the server no longer has the requests of batch %s: they are in doubt", name)
                self._end(errand, "doubt", "its file is gone")  # a batch of another key's account would not be seen
            else:
                left.append(errand)
        if left:
            log.info("%d batch(es) of an earlier run are taken up", len(left))
        return left

    async def _finish(self, errands: Sequence[Errand]) -> None:
        """Wait for batches and put their answers into the ledger, each as soon as it has ended."""
        waiting, pause_s = list(errands), POLL_S[0]
        no_room: list[int] = []
        while waiting:
            for errand in list(waiting):
                batch = await self.server.batch(errand.batch_id)
                if batch is None:
                    raise RecipeError(
                        f"the server knows no batch {errand.batch_id}, which an earlier run started",
                        where="captions.api_key_env",
                        mend="use the key that started it, or another captions.ledger",
                    )
                if batch.get("status") in ENDED:
                    no_room += filter(None, [await self._harvest(errand, batch)])
                    waiting.remove(errand)
            if waiting:
                await self.owner.sleep(pause_s)
                pause_s = min(POLL_S[1], pause_s * 1.5)
        if no_room and len(no_room) < len(errands):  # those that were taken filled the queue
            self.at_once = len(errands) - len(no_room)
        elif no_room and max(no_room) == 1:
            raise RecipeError(f"the server refuses the batch: {self.queue_said}", where="captions.backend")
        elif no_room:
            self.at_once, self.most_requests = 1, max(no_room) // 2

    async def _harvest(self, errand: Errand, batch: dict[str, Any]) -> int:
        """Answers and errors of a batch into the ledger; what it left out was not billed, and may be asked again.

        Returns:
            The requests for which the server's queue had no room.
        """
        left, status, gone, said = remaining(self.ledger, errand.name), str(batch["status"]), False, ""
        with tempfile.TemporaryDirectory(prefix="terraweft-batch-") as folder:
            for kind in ("output_file_id", "error_file_id"):
                if not batch.get(kind):
                    continue
                path = Path(folder) / kind
                if not await self.server.fetch(str(batch[kind]), path):  # servers keep files for some weeks
                    gone = True
                    continue
                group: list[Ending] = []
                key = Key(self.owner.access.api_key)
                for one, ending in read_results(path, left, self.till, key):
                    self.is_heard |= ending.state == "answered"
                    if ending.status is not None and is_refused(ending.status, ending.error):
                        said = ending.error
                    self.guard.note(ending.state == "answered")
                    self.till.events["batch errors"] += ending.state != "answered"
                    self.till.add(one.subject, one.cost_nano, ending)  # until it has ended: its worst
                    group.append(ending)
                    if len(group) >= GROUP:
                        self.ledger.apply(group)
                        group = []
                self.ledger.apply(group)
        if gone:
            log.warning(
                "the server no longer has all answers of batch %s: what is missing is in doubt", errand.batch_id
            )
        why = "its answer is gone" if gone else f"left out by a batch that {status}"
        fate: State = "doubt" if gone else "refused"
        cost_nano = None if gone else 0
        self.ledger.apply([Ending(one.row, fate, error=why, cost_nano=cost_nano) for one in left.values()])
        self.till.events[f"batch {status}"] += 1
        self._note(errand, "done")
        if said and not self.is_heard:
            self._learn(said)
        if status != "failed":
            return 0
        self._failed(batch)
        self.tries.subtract(list(left))  # it was no try
        return len(left)

    def _learn(self, said: str) -> None:
        """Ask otherwise from now on, where a refusal of every request teaches how; remembered like a probe."""
        learned = self.manner.learned(said, self.manner.parameters(self.owner.captions, {}, 1))
        if learned is not None:
            log.info("the server wants to be asked otherwise: %s", learned)
            self.manner, self.guard = learned, ErrorGuard(self.owner.captions.max_error_ratio)
            self.ledger.save("server", self.server_name, to_note(learned, saw=False))

    def _failed(self, batch: dict[str, Any]) -> None:
        """A batch that the server did not even begin: its queue is full, or a person is needed.

        Raises:
            RecipeError: asking again would fail in the same way.
        """
        errors = (batch.get("errors") or {}).get("data") or [{}]
        code, said = str(errors[0].get("code") or ""), str(errors[0].get("message") or "no reason given")
        said = Key(self.owner.access.api_key).strike(said)[:300]
        if "limit" in code and "billing" not in code:
            self.queue_said = said
            return
        raise RecipeError(f"the server refuses the batch: {said}", where="captions.backend")

    def _note(self, errand: Errand, state: str) -> None:
        self.ledger.save(
            "batch", errand.name,
            {"state": state, "server": self.server_name, "model": self.owner.captions.model,
             "file_id": errand.file_id, "batch_id": errand.batch_id,
             "by": self.ledger.owner, "purse": self.till.purse},
        )  # fmt: skip
