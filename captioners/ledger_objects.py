"""The ledger in an object store: one object per attempt, so that many machines may share it.

``attempts/<key>/<n>.json`` is written when a call is about to be sent, by a conditional put that only one process can
win, and written again when it has ended; the body lies in it. ``purses/<name>.json`` holds what is spent and held, and
changes by compare-and-swap, once for a group of calls. Whoever holds a ledger renews an object of its own: an intent
whose owner has not done so for a while is in doubt. Ages are told by the store's clock.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from captioners.ledger import (
    Answer,
    Attempt,
    Ending,
    Find,
    Found,
    Intent,
    LedgerFullError,
    Step,
    kept_headers,
    now_utc,
    refusal,
)
from schemas.errors import TerraweftError
from shards.storage import StorageConflictError, StoreOptions, open_storage, require_conditions

log = logging.getLogger(__name__)
A = TypeVar("A")
B = TypeVar("B")
Planned = tuple[int, Intent, int]
"""Place among the steps, what is to be written, number of the attempt."""

TTL_S = 60.0
"""An owner that has not renewed its object for so long is dead."""
PARALLEL = 32
"""Requests to the store at once."""
SWAPS = 50
"""Attempts at one compare-and-swap."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 2.0
"""Between them, at most: the pauses double, and are of random length, so that those who compete come apart."""
Document = dict[str, Any]


class ObjectLedger:
    """See `captioners.ledger.Ledger`.

    Args:
        uri: ``s3://bucket/prefix``.
        options: how the store is reached.
        ttl_s: age at which an owner counts as dead.
        sleep: how waiting is done.

    Raises:
        DatasetError: the store cannot be reached, or passes over the conditions of puts.
    """

    def __init__(
        self,
        uri: str,
        options: StoreOptions | None = None,
        ttl_s: float = TTL_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.owner, self.ttl_s, self._sleep = uuid.uuid4().hex, ttl_s, sleep
        self._storage: Any = open_storage(uri, options or StoreOptions())
        self._pool = ThreadPoolExecutor(PARALLEL, "ledger-objects")
        self._open: dict[str, Document] = {}
        self._dead: set[str] = set()
        self._owed: dict[str, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._beat()
        require_conditions(self._storage, f"owners/{self.owner}.json", b"")  # else an answer could be paid twice
        self._heart = threading.Thread(target=self._beat_until_stopped, name="ledger-heart", daemon=True)
        self._heart.start()

    def close(self) -> None:
        """Give it back; with it what purses still lack of what was given back."""
        try:
            self._swap({})
        except TerraweftError as error:
            log.warning("a purse holds more than was spent: %s", error)
        self._stop.set()
        self._heart.join()
        self._pool.shutdown()
        self._storage.delete(f"owners/{self.owner}.json")
        self._storage.close()

    def __enter__(self) -> ObjectLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _beat(self) -> None:
        self._storage.put(f"owners/{self.owner}.json", now_utc().encode())

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self.ttl_s / 4):
            try:
                self._beat()
            except TerraweftError as error:
                log.warning("the ledger's owner could not be renewed: %s", error)

    def _all(self, call: Callable[[A], B], values: Iterable[A]) -> list[B]:
        return list(self._pool.map(call, values))

    def apply(self, steps: Sequence[Step]) -> list[Any]:
        """See `Ledger.apply`; each object is durable when its put returns."""
        results: list[Any] = [None] * len(steps)
        finds = [(n, step) for n, step in enumerate(steps) if isinstance(step, Find)]
        intents = [(n, step) for n, step in enumerate(steps) if isinstance(step, Intent)]
        endings = [step for step in steps if isinstance(step, Ending)]
        given_back = self._all(self._end, endings)
        self._swap(_sums(given_back))
        for (number, _), found in zip(finds, self._all(lambda pair: self._find(pair[1].key), finds), strict=True):
            results[number] = found
        for number, result in self._intend(intents):
            results[number] = result
        return results

    def _find(self, key: str) -> Found:
        return _found(self._documents(key))

    def _documents(self, key: str) -> list[Document]:
        """All attempts at a request; those of dead owners are in doubt."""
        return [self._judged(path) for path in sorted(path for path, _ in self._storage.list(f"attempts/{key}"))]

    def _judged(self, path: str) -> Document:
        """An attempt; an intent of a dead owner is put in doubt, unless the owner lives after all and ends it first."""
        while True:
            content, tag = self._tagged(path)
            document: Document = dict(json.loads(content))
            if document["state"] != "intent" or document["batch"] or self.is_alive(document["owner"]):
                return document
            document |= {"state": "doubt", "ended_utc": now_utc(), "error": "process died"}
            try:
                self._storage.put_if(path, json.dumps(document).encode(), tag)
            except StorageConflictError:
                continue
            return document

    def _tagged(self, path: str) -> tuple[bytes, str]:
        found = self._storage.read_tagged(path)
        if found is None:
            raise FileNotFoundError(path)
        return found[0], str(found[1])

    def _intend(self, intents: Sequence[tuple[int, Intent]]) -> Iterator[tuple[int, Any]]:
        """Write intents down: what the purse lets through, where no other process was quicker."""
        before = self._all(lambda pair: self._documents(pair[1].key), intents)
        wanted = []
        for (number, intent), documents in zip(intents, before, strict=True):
            found = _found(documents)
            if found.settles(intent):
                yield number, found
            else:
                wanted.append((number, intent, len(documents) + 1))
        let, refused = self._reserve(wanted)
        yield from refused
        made = self._all(lambda one: self._create(one[1], one[2]), let)
        lost = [intent for (_, intent, _), row in zip(let, made, strict=True) if row is None]
        self._swap(_sums((intent.purse, -intent.worst_nano, -intent.worst_tokens) for intent in lost))
        for (number, _, _), row in zip(let, made, strict=True):
            yield number, Found(in_flight=True) if row is None else row

    def _reserve(self, wanted: Sequence[Planned]) -> tuple[list[Planned], list[tuple[int, Any]]]:
        """Hold the worst price of as many as fit, in their order."""
        let: list[Planned] = []
        refused: list[tuple[int, Any]] = []
        purses: dict[str, list[Planned]] = defaultdict(list)
        for one in wanted:
            purses[one[1].purse].append(one)
        for purse, ones in purses.items():
            for _ in self._turns(purse):
                let_here: list[Planned] = []
                refused_here: list[tuple[int, Any]] = []
                nano, tokens, tag = self._purse(purse)
                for number, intent, attempt in ones:
                    error = refusal(intent, nano, tokens)
                    if error is not None:
                        refused_here.append((number, error))
                        continue
                    nano, tokens = nano + intent.worst_nano, tokens + intent.worst_tokens
                    let_here.append((number, intent, attempt))
                if not let_here or self._try_purse(purse, nano, tokens, tag):
                    break
            let, refused = let + let_here, refused + refused_here
        return let, refused

    def _create(self, intent: Intent, attempt: int) -> str | None:
        row = f"{intent.key}/{attempt:04d}"
        document: Document = {
            "key": intent.key, "attempt": attempt, "owner": self.owner, "purse": intent.purse,
            "purpose": intent.purpose, "model": intent.model, "state": "intent", "subject": intent.subject,
            "batch": intent.batch, "started_utc": now_utc(), "ended_utc": "", "status": None, "headers": {},
            "error": "", "tokens_in": 0, "tokens_out": 0, "tokens_cached": 0, "cost_nano": intent.worst_nano,
            "worst_nano": intent.worst_nano, "worst_tokens": intent.worst_tokens, "body": None,
        }  # fmt: skip
        try:
            self._storage.put_if(f"attempts/{row}.json", json.dumps(document).encode(), None)
        except StorageConflictError:
            return None
        self._open[row] = document
        return row

    def _end(self, ending: Ending) -> tuple[str, int, int]:
        """Write an ending down; (purse, change of its money, of its tokens)."""
        path = f"attempts/{ending.row}.json"
        document = self._open.pop(ending.row, None) or self._read(path)
        if document["state"] not in ("intent", "doubt"):
            return document["purse"], 0, 0
        worst, worst_tokens = document["worst_nano"], document["worst_tokens"]
        at_worst = ending.cost_nano is None
        cost = worst if ending.cost_nano is None else ending.cost_nano
        document |= {
            "state": ending.state, "ended_utc": now_utc(), "status": ending.status,
            "headers": kept_headers(ending.headers), "error": ending.error[:500], "tokens_in": ending.tokens_in,
            "tokens_out": ending.tokens_out, "tokens_cached": ending.tokens_cached, "cost_nano": cost,
            "body": None if ending.body is None else base64.b64encode(ending.body).decode(),
        }  # fmt: skip
        self._write(path, document)
        tokens = worst_tokens if at_worst and not ending.tokens_in else ending.tokens_in + ending.tokens_out
        return document["purse"], cost - worst, tokens - worst_tokens

    def _purse(self, purse: str) -> tuple[int, int, str | None]:
        found = self._storage.read_tagged(f"purses/{purse}.json")
        if found is None:
            return 0, 0, None
        held = json.loads(found[0])
        return int(held["held_nano"]), int(held["held_tokens"]), str(found[1])

    def _try_purse(self, purse: str, nano: int, tokens: int, tag: str | None) -> bool:
        # two who add the same sum must not take each other's content for their own (`Storage.put_if`)
        held = {"held_nano": nano, "held_tokens": tokens, "written_by": uuid.uuid4().hex}
        content = json.dumps(held).encode()
        try:
            self._storage.put_if(f"purses/{purse}.json", content, tag)
        except StorageConflictError:
            return False
        return True

    def _swap(self, changes: Mapping[str, tuple[int, int]]) -> None:
        """Change what purses hold. What cannot be written now goes with the next change, at the latest with `close`.

        Raises:
            LedgerFullError: others change a purse too often.
        """
        self._owed = _sums((purse, *change) for one in (self._owed, changes) for purse, change in one.items())
        for purse, (nano, tokens) in list(self._owed.items()):
            for _ in self._turns(purse) if nano or tokens else ():
                held = self._purse(purse)
                if self._try_purse(purse, held[0] + nano, held[1] + tokens, held[2]):
                    break
            del self._owed[purse]

    def _turns(self, purse: str) -> Iterator[int]:
        """Attempts at one compare-and-swap, with pauses between them.

        Raises:
            LedgerFullError: none of them was the last.
        """
        for number in range(SWAPS):
            if number:
                self._sleep(random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number)))
            yield number
        raise LedgerFullError(
            f"others changed the purse {purse} {SWAPS} times in a row",
            where=self._storage.uri,
            mend="run the same command again: answers that came are kept, and are not asked again",
        )

    def is_alive(self, owner: str) -> bool:
        """See `Ledger.is_alive`: whether it has renewed its object lately."""
        if owner == self.owner:
            return True
        if owner in self._dead:
            return False
        beat = self._storage.modified_s(f"owners/{owner}.json")
        self._beat()
        now = self._storage.modified_s(f"owners/{self.owner}.json")
        if beat is None or now is None or now - beat > self.ttl_s:
            self._dead.add(owner)
            return False
        return True

    def recover(self) -> int:
        """See `Ledger.recover`: here intents of the dead are found when they are looked at."""
        self._dead.clear()
        return 0

    def attempts(self, purse: str | None = None) -> Iterator[Attempt]:
        """See `Ledger.attempts`; every object is read."""
        paths = [path for path, _ in self._storage.list("attempts")]
        documents = self._all(lambda path: (path, self._judged(path)), paths)
        for path, one in sorted(documents, key=lambda pair: (pair[1]["started_utc"], pair[0])):
            if purse is None or one["purse"] == purse:
                row = path.removeprefix("attempts/").removesuffix(".json")
                names = [name for name in Attempt.__dataclass_fields__ if name != "row"]
                yield Attempt(row=row, **{name: one[name] for name in names})

    def body(self, key: str) -> bytes | None:
        """See `Ledger.body`."""
        found = self._find(key).answer
        return None if found is None else found.body

    def load(self, kind: str, name: str) -> dict[str, Any] | None:
        """See `Ledger.load`."""
        found = self._storage.read_tagged(f"notes/{kind}/{name}.json")
        return None if found is None else dict(json.loads(found[0]))

    def save(self, kind: str, name: str, note: Mapping[str, Any]) -> None:
        """See `Ledger.save`."""
        self._storage.put(f"notes/{kind}/{name}.json", json.dumps(dict(note)).encode())

    def notes(self, kind: str) -> dict[str, dict[str, Any]]:
        """See `Ledger.notes`."""
        paths = [path for path, _ in self._storage.list(f"notes/{kind}")]
        return {path.rsplit("/", 1)[-1].removesuffix(".json"): self._read(path) for path in paths}

    def _read(self, path: str) -> Document:
        return dict(json.loads(self._storage.read(path)))

    def _write(self, path: str, document: Document) -> None:
        self._storage.put(path, json.dumps(document).encode())


def _found(documents: Sequence[Document]) -> Found:
    answers = [one for one in documents if one["state"] == "answered"]
    answer = None
    if answers:
        first = answers[0]
        answer = Answer(base64.b64decode(first["body"]), first["tokens_in"], first["tokens_out"], first["cost_nano"])
    doubts = sum(one["state"] == "doubt" for one in documents)
    flying = [one for one in documents if one["state"] == "intent"]
    return Found(answer, doubts, bool(flying), any(one["batch"] for one in flying))


def _sums(changes: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """Purse -> all its changes together."""
    out: dict[str, tuple[int, int]] = {}
    for purse, nano, tokens in changes:
        one = out.get(purse, (0, 0))
        out[purse] = (one[0] + nano, one[1] + tokens)
    return out
