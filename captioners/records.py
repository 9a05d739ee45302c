"""Records made from sentences: ids, spans, geometries, licence, and the verifier's word on each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioners.base import CaptionInput
from captioners.number_words import Choice
from captioners.phrasing import Sentence, unmark
from captioners.question import Question
from captioners.reading import Reading, read_sheet
from captioners.sentences import Writer
from captioners.style import Violation
from captioners.verify import Verifier, as_checks
from schemas.text import Span, TextGeometry, TextKind, TextRecord, Turn, Verification, record_faults


@dataclass(frozen=True)
class Told:
    """One text before it is a record."""

    kind: TextKind
    """Kind of the record."""
    style: str
    """Style of the record."""
    sentences: tuple[Sentence, ...] = ()
    """What it says."""
    question: Question | None = None
    """For a question: with its answer."""
    turns: tuple[Turn, ...] = ()
    """For a dialogue."""
    answer: str = ""
    """For a referring expression: what is found."""
    empty_target: bool = False
    """Whether it asks for what is not there."""
    revises: str = ""
    """Style of the caption that it says in other words."""
    about: str = ""
    """What a model is to write instead, in words; empty: it is not asked."""
    plain: bool = False
    """Whether its sentences are titles or phrases, which end without a full stop."""


@dataclass
class Chip:
    """One chip with what its writers need."""

    one: CaptionInput
    """What is known."""
    reading: Reading
    """Its facts, read."""
    choice: Choice
    """Decides the wording."""
    writer: Writer
    """Makes sentences."""
    verifier: Verifier
    """Judges them."""

    @staticmethod
    def of(one: CaptionInput) -> Chip:
        """The chip of an input."""
        reading = read_sheet(one.facts)
        choice = Choice(one.seed, one.chip_id)
        return Chip(one, reading, choice, Writer(reading, choice), Verifier(reading))


class RecordMaker:
    """Turns texts into records, numbered by kind.

    Args:
        chip: the chip.
        verification: ``fallback`` where the template stands in for a model.
        checks: what is known of how it came to that.
    """

    def __init__(self, chip: Chip, verification: Verification, checks: Mapping[str, Any]) -> None:
        self.chip, self.verification, self.checks = chip, verification, dict(checks)
        self.facts_sha256 = chip.one.facts.sha256()
        self.counts: Counter[str] = Counter()
        self.nouns = {f.fact_id: f.subject for f in chip.one.facts.facts if f.kind == "share" and f.region == "chip"}

    def licence(self, facts: Sequence[str]) -> str:
        """Licence of the label, and of the map where a map fact is used."""
        one = self.chip.one
        ids = {one.licence} if one.licence else set()
        if any(fact.startswith(("osm.", "element.")) for fact in facts) and one.osm_licence:
            ids.add(one.osm_licence)
        return " AND ".join(sorted(ids))

    def record(self, told: Told, parent_id: str = "", *, is_spare: bool = False) -> TextRecord:
        """The record of a text; one that the verifier doubts does not count as verified.

        Args:
            told: the text.
            parent_id: record of the text that it says in other words.
            is_spare: it may stand in for a model's text: whoever puts it there asks for its `doubts`.

        Raises:
            ValueError: the record breaks its own form (a span beside its phrase, a box outside the image).
        """
        self.counts[told.kind] += 1
        text, spans, geometries, facts = self._body(told)
        found = [] if is_spare else doubts(self.chip, told)
        fields: dict[str, Any] = {}
        if told.question is not None:
            asked = told.question
            fields = {"question": asked.question, "answer": asked.answer, "options": asked.options}
        elif told.kind == "referring":
            fields = {"question": text, "answer": told.answer}
        record = TextRecord(
            text_id=f"{self.chip.one.chip_id}-{told.kind}-{self.counts[told.kind]}",
            chip_id=self.chip.one.chip_id,
            kind=told.kind,
            style=told.style,
            text=text,
            turns=told.turns,
            spans=spans,
            geometries=geometries,
            empty_target=told.empty_target,
            facts=facts,
            facts_sha256=self.facts_sha256,
            backend="template",
            parent_id=parent_id,
            verification="not_checked" if found else self.verification,
            checks={**self.checks, "violations": as_checks(found), **self._coverage(told, text)},
            visually_verifiable=_visible(told),
            licence=self.licence(facts),
            **fields,
        )
        faults = list(record_faults(record.model_dump()))
        if faults:
            raise ValueError(f"{record.text_id}: {faults[0]}")
        return record

    def _coverage(self, told: Told, text: str) -> dict[str, Any]:
        """Which of the large classes a caption names."""
        return {"over_5_percent": list(self.chip.verifier.named(text))} if told.kind == "caption" else {}

    def _body(self, told: Told) -> tuple[str, tuple[Span, ...], tuple[TextGeometry, ...], tuple[str, ...]]:
        """Text, spans, geometries and facts."""
        if told.question is not None:
            return f"{told.question.question} {told.question.answer}", (), (), told.question.facts
        marked = " ".join(sentence.text for sentence in told.sentences)
        facts = tuple(dict.fromkeys(fact for sentence in told.sentences for fact in sentence.facts))
        if told.turns:
            return "\n".join(turn.text for turn in told.turns), (), (), facts
        text, spans = unmark(marked)
        named = [self._named(span) for span in spans]
        spans_out, geometries = self._grounded(named)
        return text, tuple(spans_out), geometries, facts

    def _named(self, span: Span) -> Span:
        """The span with the class's noun for its code."""
        noun = self.nouns.get(f"share.{span.class_name}", span.class_name)
        return span.model_copy(update={"class_name": noun})

    def _grounded(self, spans: Sequence[Span]) -> tuple[list[Span], tuple[TextGeometry, ...]]:
        """Spans with targets, and the geometries they point to: box, oriented box and mask of every object."""
        objects = {one.object_id: one for one in self.chip.one.objects}
        geometries: list[TextGeometry] = []
        places: dict[str, tuple[int, ...]] = {}
        out = []
        for span in spans:
            targets: tuple[int, ...] = ()
            for fact_id in span.fact_ids:
                head = fact_id.removesuffix(".area")
                if head not in objects or head == fact_id:
                    continue
                if head not in places:
                    shapes = objects[head].geometries()
                    places[head] = tuple(range(len(geometries), len(geometries) + len(shapes)))
                    geometries += shapes
                targets += places[head]
            out.append(span.model_copy(update={"targets": targets}))
        return out, tuple(geometries)


def doubts(chip: Chip, told: Told) -> list[Violation]:
    """What the verifier finds in a text of the template: none is right by its making."""
    if told.empty_target or told.kind == "labels":
        return []  # it speaks of what is not there, on purpose; or is a list of names
    ended = "." if told.plain and not told.turns else ""
    return [
        violation
        for sentence in told.sentences
        for violation in chip.verifier.sentence(unmark(sentence.text)[0] + ended, sentence.facts)
    ]


def _visible(told: Told) -> bool:
    if told.question is not None:
        return told.question.visible
    return all(sentence.visible for sentence in told.sentences)
