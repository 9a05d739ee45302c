"""The template backend: fluent, varied, deterministic, never wrong about a fact. The default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from captioners.base import CaptionInput, Written
from captioners.records import Chip, RecordMaker, Told
from schemas.recipe_texts import TextName
from schemas.text import TextRecord, Verification

Kind = Callable[[Chip], Iterable[Told]]

KINDS: dict[TextName, str] = {
    "short": "captioners.captions:short",
    "long": "captioners.captions:long",
    "per_class": "captioners.parts:per_class",
    "per_region": "captioners.parts:per_region",
    "quantitative": "captioners.parts:quantitative",
    "theme": "captioners.parts:theme",
    "labels": "captioners.parts:labels",
    "qa": "captioners.questions:qa",
    "grounded": "captioners.grounding:grounded",
    "referring": "captioners.grounding:referring",
    "negative": "captioners.grounding:negative",
    "change": "captioners.changes:change",
    "dialogue": "captioners.dialogues:dialogue",
    "revision": "captioners.dialogues:revision",
    "chatearthnet": "captioners.form_chatearthnet:texts",
    "rsteller": "captioners.form_rsteller:texts",
    "skyscript": "captioners.form_skyscript:texts",
    "rsvlm_qa": "captioners.form_rsvlm_qa:texts",
}
"""Name in the recipe -> who writes it. The order is that of the records."""


class TemplateCaptioner:
    """Writes from phrase tables; needs no model, no key and no network."""

    def write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """The records of each chip, in order; no chip can fail."""
        return [template_records(one) for one in inputs]

    def stream(self, inputs: Iterable[CaptionInput]) -> Iterator[Written]:
        """See `Captioner.stream`: in their order."""
        for one in inputs:
            yield Written(one.chip_id, template_records(one))

    def cost(self) -> dict[str, Any]:
        """Nothing."""
        return {"calls": 0, "tokens_in": 0, "tokens_out": 0, "cost": 0.0}


def told(chip: Chip) -> list[Told]:
    """All texts of a chip, in the order of `KINDS`; a revision of what was not asked for is left out."""
    found: list[Told] = []
    for name, target in KINDS.items():
        if name in chip.one.kinds:
            module, _, function = target.partition(":")
            write: Kind = getattr(import_module(module), function)
            found += write(chip)
    written = {text.style for text in found if text.kind == "caption"}
    return [text for text in found if not text.revises or text.revises in written]


def template_records(
    one: CaptionInput,
    *,
    verification: Verification = "pass",
    checks: dict[str, Any] | None = None,
) -> list[TextRecord]:
    """All records of a chip, in the order of `KINDS`.

    Args:
        one: the chip.
        verification: ``fallback`` where the template stands in for a model.
        checks: what is known of how it came to that.
    """
    chip = Chip.of(one)
    return to_records(chip, told(chip), verification, checks or {})


def to_records(
    chip: Chip,
    texts: Sequence[Told],
    verification: Verification,
    checks: dict[str, Any],
    *,
    spare: Callable[[int], bool] = lambda _: False,
) -> list[TextRecord]:
    """The records of some texts; a revision names the caption that it says in other words.

    Args:
        chip: the chip.
        texts: the texts.
        verification: of those that the verifier does not doubt.
        checks: what is known of how it came to that.
        spare: whether the text of this number is a spare one, see `RecordMaker.record`.
    """
    maker = RecordMaker(chip, verification, checks)
    records: list[TextRecord] = []
    for number, text in enumerate(texts):
        parents = [r.text_id for r in records if r.kind == "caption" and r.style == text.revises]
        records.append(maker.record(text, parents[0] if parents else "", is_spare=spare(number)))
    return records
