"""A model's answer: parsed, judged sentence by sentence, and turned into records; the template fills what fails."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from captioners.completion import json_in, read_message
from captioners.form_chatearthnet import BANNED
from captioners.mentions import find_mentions
from captioners.prompt import Request, prompt_version
from captioners.records import Chip, doubts
from captioners.rewording import check_question
from captioners.style import Violation
from captioners.template import to_records
from captioners.things import told_words, unknown_things
from captioners.verify import Verifier, as_checks
from captioners.views import view_hashes
from schemas.text import Span, TextRecord, Verification

SHORT_WORDS = 45
"""A short caption with more words is none."""
LONG_LEAST = 3
"""A long caption of which fewer sentences hold is replaced."""
CUT_OFF = "was cut off: be shorter"
"""What is wrong with an answer that ended at its limit."""
DROPS = ("long", "quantitative", "rsvlm_paragraph")
"""Styles of which single sentences may be dropped; any other text holds as a whole or not at all."""


class DraftSentence(BaseModel):
    """A sentence as a model wrote it."""

    model_config = ConfigDict(extra="forbid")

    text: str
    """The sentence."""
    facts: list[str]
    """Ids it says it rests on."""


class DraftQuestion(BaseModel):
    """A question as a model put it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    """q1, q2, ..."""
    question: str
    """In its words."""


class DraftText(BaseModel):
    """One of the further texts."""

    model_config = ConfigDict(extra="forbid")

    id: str
    """t1, t2, ..."""
    sentences: list[DraftSentence]
    """What it says."""


class Draft(BaseModel):
    """A whole answer."""

    model_config = ConfigDict(extra="forbid")

    short: list[DraftSentence] = []
    """Sentences of the short caption."""
    long: list[DraftSentence] = []
    """Sentences of the long caption."""
    texts: list[DraftText] = []
    """The further texts."""
    questions: list[DraftQuestion] = []
    """Questions in other words."""


@dataclass(frozen=True)
class Reply:
    """What the server sent, read."""

    content: str
    """Text of the message; empty for a refusal."""
    model: str
    """Model name as the server returned it."""
    problem: str
    """Why there is no draft; empty where there is one."""
    draft: Draft | None
    """The answer, where it fits the schema."""


@dataclass
class Judged:
    """A draft with what is wrong with each part."""

    captions: dict[str, list[tuple[DraftSentence, list[Violation]]]] = field(default_factory=dict)
    """Slot (short, long, t1, ...) -> sentences and their violations."""
    questions: dict[str, tuple[str, list[Violation]]] = field(default_factory=dict)
    """Id -> wording and its violations."""
    missing: list[str] = field(default_factory=list)
    """Kinds or question ids that the draft lacks."""

    def problems(self) -> list[dict[str, str]]:
        """All violations, for the repair round."""
        rows = [
            {"where": kind, "text": sentence.text, "why": "; ".join(v.detail for v in found)}
            for kind, sentences in self.captions.items()
            for sentence, found in sentences
            if found
        ]
        rows += [
            {"where": f"question {name}", "text": text, "why": "; ".join(v.detail for v in found)}
            for name, (text, found) in self.questions.items()
            if found
        ]
        return rows + [{"where": name, "text": "", "why": "is missing"} for name in self.missing]


def read_reply(body: bytes) -> Reply:
    """The reply in a raw body; never raises, whatever the body holds."""
    message = read_message(body)
    if message is None:
        return Reply("", "", "is no chat completion", None)
    content, model = message.content, message.model
    if message.is_refusal:
        return Reply(content, model, "refusal", None)
    if message.is_cut_off:  # thoughts may have taken all the room, and left no text
        return Reply(content, model, CUT_OFF, None)
    if not content:
        return Reply(content, model, "has no text", None)
    try:
        return Reply(content, model, "", Draft.model_validate_json(json_in(content)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        return Reply(content, model, f"does not fit the schema: {where}: {first['msg']}", None)


def judge(draft: Draft, request: Request, verifier: Verifier) -> Judged:
    """Every sentence and question of a draft, recomputed.

    Args:
        draft: the answer.
        request: what was asked.
        verifier: the chip's facts.
    """
    judged = Judged()
    given: dict[str, list[DraftSentence]] = {"short": draft.short, "long": draft.long}
    given |= {text.id: text.sentences for text in draft.texts}
    asked = {q.id: q.question for q in draft.questions}
    for slot, told in zip(request.slots, request.told, strict=True):
        if told.question is not None and slot:
            if slot in asked:
                judged.questions[slot] = (asked[slot], check_question(told.question, asked[slot], verifier))
            else:
                judged.missing.append(f"question {slot}")
        elif slot:
            sentences = given.get(slot) or []
            judged.captions[slot] = []
            before: list[str] = []
            for s in sentences:
                found = [*verifier.sentence(s.text, s.facts, before), *form_violations(told.style, s.text)]
                judged.captions[slot].append((s, found))
                before += [] if found else [s.text]  # what is dropped tells nothing to those after it
            if not sentences:
                judged.missing.append(slot if slot in ("short", "long") else f"text {slot}")
    short = judged.captions.get("short", [])
    if sum(len(s.text.split()) for s, _ in short) > SHORT_WORDS:
        short[0][1].append(Violation("form", "the short caption is too long"))
    return judged


def form_violations(style: str, text: str) -> list[Violation]:
    """What the form of a published dataset forbids in a sentence."""
    if style != "chatearthnet":
        return []
    found = [Violation("form", "holds a figure")] if re.search(r"\d|\bper ?cent", text) else []
    banned = re.search(rf"\b(?:{'|'.join(BANNED)})\b", text, re.IGNORECASE)
    return [*found, Violation("form", f"says {banned.group(0)!r}")] if banned else found


class Recorder:
    """Makes one chip's records from what holds of a model's drafts.

    Args:
        chip: the chip.
        request: what was asked.
    """

    def __init__(self, chip: Chip, request: Request) -> None:
        self.chip, self.one, self.request, self.verifier = chip, chip.one, request, chip.verifier

    def computed(self) -> list[TextRecord]:
        """All records from the template."""
        return to_records(self.chip, self.request.told, "pass", {})

    def fallback(self, reason: str) -> list[TextRecord]:
        """All records from the template, with the reason."""
        return to_records(self.chip, self.request.told, "fallback", {"fallback": reason})

    def records(self, rounds: Sequence[Judged], key: str, model: str) -> list[TextRecord]:
        """The records: from the last round what holds, from the template what does not.

        Args:
            rounds: the judged answers in order: one, or two where a repair was asked for.
            key: ledger key of the last answer.
            model: model name as the server returned it.
        """
        last, prompt_sha256, views = rounds[-1], self.request.sha256(), view_hashes(self.one.views)
        slots, texts, records = self.request.slots, self.request.told, []
        spares = to_records(self.chip, texts, "pass", {}, spare=lambda number: bool(slots[number]))
        for spare, slot, text in zip(spares, slots, texts, strict=True):
            if not slot:  # computed, and never asked of a model
                records.append(spare)
                continue
            judged = [[v for _, found in r.captions.get(slot, []) for v in found] for r in rounds]
            judged += [r.questions[slot][1] for r in rounds if slot in r.questions]
            checks: dict[str, Any] = {
                "rounds": len(rounds),
                "violations": as_checks(v for each in judged for v in each),
            }
            said = [s.text for r in rounds for s, _ in r.captions.get(slot, [])]
            if said:
                checks["mentions"] = sum(self.verifier.mentions(text) for text in said)
            if spare.kind == "qa":
                written = self._question(spare, last.questions.get(slot), checks)
            else:
                written = self._caption(spare, last.captions.get(slot, []), len(rounds), checks)
            common = {
                "request_key": key, "prompt_sha256": prompt_sha256, "prompt_version": prompt_version(),
                "views": views, "checks": checks,
            }  # fmt: skip
            if written is None:
                status = "not_checked" if doubts(self.chip, text) else "fallback"
                told = {**common, "verification": status, "checks": {**checks, "fallback": "violations"}}
                records.append(spare.model_copy(update=told))
            else:
                seen = {"backend": "openai", "model": model, "seen_by_model": self.request.seen}
                records.append(written.model_copy(update={**common, **seen}))
        return records

    def _caption(
        self,
        spare: TextRecord,
        sentences: Sequence[tuple[DraftSentence, list[Violation]]],
        rounds: int,
        checks: dict[str, Any],
    ) -> TextRecord | None:
        """A caption of the sentences that hold; None where too few do."""
        once: dict[str, tuple[DraftSentence, list[Violation]]] = {}
        for one in sentences:  # a model may run in circles
            once.setdefault(" ".join(one[0].text.lower().split()), one)
        kept = [sentence for sentence, found in once.values() if not found]
        least = min(LONG_LEAST, len(once)) if spare.style in DROPS else len(once)
        if not kept or len(kept) < least or 2 * len(kept) < len(once):
            return None
        dropped = len(sentences) - len(kept)
        if dropped:
            checks["dropped"] = dropped
        text, spans = "", []
        for sentence in kept:
            clean = " ".join(sentence.text.split())
            begin = len(text) + (1 if text else 0)
            text = f"{text} {clean}".strip()
            spans += self._spans(clean, begin, sentence.facts)
        if spare.kind == "caption":
            checks["over_5_percent"] = list(self.verifier.named(text))
        facts = tuple(dict.fromkeys(f for sentence in kept for f in sentence.facts))
        status: Verification = "pass" if rounds == 1 and not dropped else "repaired"
        visible = all(self.verifier.reading.by_id[f].kind in _VISIBLE for f in facts)
        from_map = any(f.startswith(("osm.", "element.")) for f in facts) or self._rests_on_map(text)
        licences = {self.one.licence} | ({self.one.osm_licence} if from_map else set())
        return spare.model_copy(
            update={
                "text": text, "spans": tuple(spans), "facts": facts, "verification": status,
                "visually_verifiable": visible, "licence": " AND ".join(sorted(licences - {""})),
            }
        )  # fmt: skip

    def _rests_on_map(self, text: str) -> bool:
        """Whether a text names what only the map knows, whatever facts it cites: the map's licence asks no leave."""
        verifier = self.verifier
        named = {m.concept for m in find_mentions(text, verifier.nouns) if not m.negated}
        only_mapped = any(one in verifier.mapped and not verifier.classes_of(one) for one in named)
        things = unknown_things(text, told_words(verifier.reading, with_map=False))
        return only_mapped or any(things) or verifier.names.search(text) is not None

    def _spans(self, sentence: str, begin: int, facts: Sequence[str]) -> list[Span]:
        """Spans of the covers that a sentence mentions, with the facts among its own that speak of them."""
        spans = []
        for mention in find_mentions(sentence, self.verifier.nouns):
            classes = self.verifier.classes_of(mention.concept)
            if mention.negated or not classes:
                continue
            nouns = {one.noun for one in classes}
            ids = tuple(f for f in facts if self.verifier.reading.by_id[f].subject in nouns)
            spans.append(
                Span(
                    start=begin + mention.start,
                    end=begin + mention.end,
                    phrase=sentence[mention.start : mention.end],
                    class_name=classes[0].noun,
                    fact_ids=ids,
                )
            )
        return spans

    def _question(
        self, spare: TextRecord, given: tuple[str, list[Violation]] | None, checks: dict[str, Any]
    ) -> TextRecord | None:
        """The question in the model's words with the computed answer; None where it does not hold."""
        if given is None or given[1]:
            return None
        question = " ".join(given[0].split())
        status: Verification = "repaired" if checks["violations"] else "pass"
        return spare.model_copy(
            update={"question": question, "text": f"{question} {spare.answer}", "verification": status}
        )


_VISIBLE = frozenset({"share", "dominant", "place", "patches", "adjacency", "classes", "labelled"})
