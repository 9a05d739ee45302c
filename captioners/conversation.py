"""One chip's exchange with a model, step by step and without IO: what is asked next, what came, and the records.

Every backend drives it in the same way, one call at a time or a batch of thousands:

    talk = Conversation(one)
    while talk.prompt is not None:
        talk.hear(key, body)         # or talk.fail("budget")
    records = talk.records()

At most two questions are asked: the first, and one that lists what did not hold. None is where all texts of the chip
are computed.
"""

from __future__ import annotations

from captioners.base import CaptionInput
from captioners.drafts import CUT_OFF, Judged, Recorder, Reply, judge, read_reply
from captioners.prompt import Messages, Prompt, Request, make_request, render_prompt
from captioners.records import Chip
from schemas.text import TextRecord

ROUNDS = 2
"""The first answer and one repair."""


class Conversation:
    """What has been said so far.

    Args:
        one: the chip.
        backend: name that goes into records a model wrote.
    """

    def __init__(self, one: CaptionInput, backend: str = "openai") -> None:
        self.one, self.backend = one, backend
        self._chip = Chip.of(one)
        self.request: Request = make_request(self._chip)
        self.prompt: Prompt | None = None if self.request.is_empty else self.request.prompt
        """What to ask next; None when nothing is left to ask."""
        self.purpose = "write"
        """``write`` or ``repair``."""
        self._rounds: list[Judged] = []
        self._key, self._reply = "", Reply("", "", "was never asked for", None)
        self._reason = ""

    @property
    def messages(self) -> Messages | None:
        """`prompt` as it is sent."""
        return None if self.prompt is None else self.prompt.messages

    def hear(self, key: str, body: bytes) -> None:
        """Take the raw body of the answer to `prompt`; never raises, whatever it holds.

        Args:
            key: the request's key in the ledger.
            body: as the server sent it.
        """
        reply = read_reply(body)
        first = self.purpose == "write"
        if reply.draft is not None:
            self._rounds.append(judge(reply.draft, self.request, self._chip.verifier))
        if reply.draft is not None or not self._rounds:
            self._key, self._reply = key, reply
        problems = [{"where": "the answer", "text": "", "why": reply.problem}]
        if reply.draft is not None:
            problems = self._rounds[-1].problems()
        if not first or not problems or reply.problem == "refusal":
            self.prompt = None
            return
        said = {"role": "assistant", "content": reply.content or "(nothing)"}
        repair = {"role": "user", "content": render_prompt("prompt_repair.jinja", problems=problems)}
        self.prompt = self.request.prompt.followed([said, repair])
        self.purpose = "repair"

    def fail(self, reason: str) -> None:
        """Nothing came, and nothing more is asked; what held of the first answer is kept.

        Args:
            reason: budget, backend, doubt, errors, ...: why.
        """
        self.prompt = None
        self._reason = reason

    @property
    def readable(self) -> bool:
        """Whether the last answer could be read."""
        return self._reply.draft is not None

    @property
    def cut_off(self) -> bool:
        """Whether the last answer ended at its limit."""
        return self._reply.problem == CUT_OFF

    @property
    def open(self) -> str:
        """Why the chip may be asked again by a later run; empty where it may not: its answer came."""
        return self._reason

    def records(self) -> list[TextRecord]:
        """The records: what holds in the model's words, the rest in the template's."""
        recorder = Recorder(self._chip, self.request)
        if self.request.is_empty:
            return recorder.computed()
        if not self._rounds:
            reason = self._reason or ("refusal" if self._reply.problem == "refusal" else "unreadable")
            return recorder.fallback(reason)
        records = recorder.records(self._rounds, self._key, self._reply.model)
        return [
            one.model_copy(update={"backend": self.backend}) if one.backend == "openai" != self.backend else one
            for one in records
        ]
