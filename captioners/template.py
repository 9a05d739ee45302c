"""The template backend: fluent, varied, deterministic, never wrong about a fact. The default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captioners.base import CaptionInput
from captioners.number_words import Choice
from captioners.qa import Question, questions
from captioners.reading import read_sheet
from captioners.sentences import Sentence, Writer, unmark
from captioners.verify import Verifier, Violation, as_checks
from schemas.text import TextRecord, Verification

LONG_EXTRAS = 4
"""A long caption adds at most so many sentences to those about cover."""


class TemplateCaptioner:
    """Writes from phrase tables; needs no model, no key and no network."""

    def write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """The records of each chip, in order; no chip can fail."""
        return [template_records(one) for one in inputs]

    def cost(self) -> dict[str, Any]:
        """Nothing."""
        return {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost": 0.0}


def template_records(
    one: CaptionInput,
    *,
    verification: Verification = "pass",
    checks: dict[str, Any] | None = None,
) -> list[TextRecord]:
    """All records of a chip, in the order short, long, questions.

    Args:
        one: the chip.
        verification: ``fallback`` where the template stands in for a model.
        checks: what is known of how it came to that.
    """
    reading, choice = read_sheet(one.facts), Choice(one.seed, one.chip_id)
    writer = Writer(reading, choice)
    captions = []
    if "short" in one.kinds:
        captions.append(("short", short_caption(writer)))
    if "long" in one.kinds:
        captions.append(("long", long_caption(writer)))
    common = _Common(one, Verifier(reading), verification, checks or {})
    records = [common.caption(number, style, list_) for number, (style, list_) in enumerate(captions, 1)]
    if "qa" in one.kinds:
        records += [common.question(number, q) for number, q in enumerate(questions(reading, choice), 1)]
    return records


def short_caption(writer: Writer) -> list[Sentence]:
    """One sentence on cover; or, where the land has no class, on that."""
    if not writer.reading.classes:
        nothing = writer.unmapped()
        return [nothing] if nothing else [writer.extent()]
    sentences = [writer.opening("short_")[0]]
    crossing = [s for s in writer.map_features() if any(f.endswith(".course") for f in s.facts)]
    if crossing and writer.choice.number("short/crossing") % 3 == 0:
        sentences.append(crossing[0])
    return sentences


def long_caption(writer: Writer) -> list[Sentence]:
    """Cover first, all of it; then where, how, what the map and the sensors say."""
    choice = writer.choice
    sentences: list[Sentence | None] = []
    if writer.reading.classes:
        opening, told = writer.opening()
        sentences += [opening, writer.rest(told), *writer.places()]
    sentences.append(writer.unmapped())
    about_cover = [writer.patches(), writer.border()] if writer.reading.classes else []
    sensors = [writer.change() or writer.vegetation(), writer.clouds(), writer.radar(), writer.terrain()]
    extras = [s for s in (*about_cover, *writer.map_features(), *sensors) if s is not None]
    chosen = set(choice.shuffled("long/extras", range(len(extras)))[:LONG_EXTRAS])
    sentences += [s for rank, s in enumerate(extras) if rank in chosen]
    told_sentences = [s for s in sentences if s is not None]
    return told_sentences or [writer.extent()]


class _Common:
    """What all records of a chip share."""

    def __init__(
        self, one: CaptionInput, verifier: Verifier, verification: Verification, checks: dict[str, Any]
    ) -> None:
        self.one, self.verifier, self.verification, self.checks = one, verifier, verification, checks
        self.facts_sha256 = one.facts.sha256()

    def licence(self, facts: Sequence[str]) -> str:
        """Licence of the label, and of the map where a map fact is used."""
        ids = {self.one.licence} if self.one.licence else set()
        if any(fact.startswith("osm.") for fact in facts) and self.one.osm_licence:
            ids.add(self.one.osm_licence)
        return " AND ".join(sorted(ids))

    def record(self, text_id: str, facts: tuple[str, ...], found: Sequence[Violation], **fields: Any) -> TextRecord:
        """A record with what is common filled in; one that the verifier doubts does not count as verified."""
        return TextRecord(
            text_id=text_id,
            chip_id=self.one.chip_id,
            facts=facts,
            facts_sha256=self.facts_sha256,
            backend="template",
            verification="not_checked" if found else self.verification,
            checks={**self.checks, "violations": as_checks(found)},
            licence=self.licence(facts),
            **fields,
        )

    def caption(self, number: int, style: str, sentences: Sequence[Sentence]) -> TextRecord:
        """A caption from its sentences."""
        text, spans = unmark(" ".join(sentence.text for sentence in sentences))
        facts = tuple(dict.fromkeys(fact for sentence in sentences for fact in sentence.facts))
        nouns = {f.fact_id: f.subject for f in self.one.facts.facts if f.kind == "share" and f.region == "chip"}
        named = tuple(span.model_copy(update={"class_name": nouns[span.fact_ids[0]]}) for span in spans)
        found = [v for s in sentences for v in self.verifier.sentence(unmark(s.text)[0], s.facts)]
        return self.record(
            f"{self.one.chip_id}-caption-{number}",
            facts,
            found,
            kind="caption",
            style=style,
            text=text,
            spans=named,
            visually_verifiable=all(sentence.visible for sentence in sentences),
        )

    def question(self, number: int, question: Question) -> TextRecord:
        """A question with its answer."""
        return self.record(
            f"{self.one.chip_id}-qa-{number}",
            question.facts,
            (),
            kind="qa",
            style=question.style,
            text=f"{question.question} {question.answer}",
            question=question.question,
            answer=question.answer,
            options=question.options,
            visually_verifiable=question.visible,
        )
