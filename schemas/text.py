"""`TextRecord`: a caption, question-answer or grounded phrase with what it rests on (one row of texts.parquet)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TextKind = Literal["caption", "qa", "grounded", "referring", "change", "dialogue", "revision", "labels"]
Verification = Literal["pass", "repaired", "fallback", "not_checked"]


class Span(BaseModel):
    """A phrase of the text and what it points to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int
    """First character."""
    end: int
    """One past the last character: ``text[start:end] == phrase``."""
    phrase: str
    """The phrase itself."""
    class_name: str = ""
    """Class or feature kind it names."""
    fact_ids: tuple[str, ...] = ()
    """Facts it rests on."""
    targets: tuple[int, ...] = ()
    """Indices into `geometries`."""


class TextGeometry(BaseModel):
    """A box, oriented box or mask in chip pixel coordinates of the label grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["box", "oriented_box", "mask"]
    """What `values` holds."""
    values: tuple[float, ...] = ()
    """box: x0, y0, x1, y1 (edges, x right, y down); oriented_box: cx, cy, w, h, degrees clockwise from x."""
    rle: tuple[int, ...] = ()
    """mask: run lengths, row by row, beginning with zeros."""
    shape_yx: tuple[int, int]
    """Rows and columns of the grid."""
    source: str
    """Layer it was made from."""


class TextRecord(BaseModel):
    """One text about one chip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_id: str
    """``<chip_id>-<kind>-<n>``."""
    chip_id: str
    """Which chip."""
    kind: TextKind
    """What sort of text."""
    style: str = "short"
    """short, long, quantitative, count, share, ..."""
    lang: str = "en"
    """Language code."""
    text: str
    """The text; for qa: question and answer in one line."""
    question: str = ""
    """For qa."""
    answer: str = ""
    """For qa: computed from the facts."""
    options: tuple[str, ...] = ()
    """For multiple choice."""
    spans: tuple[Span, ...] = ()
    """Phrases that point to something."""
    geometries: tuple[TextGeometry, ...] = ()
    """What spans point to."""
    empty_target: bool = False
    """Whether the text asks for something that is not there."""
    facts: tuple[str, ...] = ()
    """Ids of the facts the text rests on."""
    facts_sha256: str
    """Hash of the fact sheet."""
    seen_by_model: Literal["text_only", "label_map", "rgb", "pseudo_images"] = "text_only"
    """What the writer was shown."""
    backend: Literal["template", "openai", "openai-batch", "replay"]
    """Who wrote it."""
    model: str = ""
    """Model name as the server returned it."""
    prompt_sha256: str = ""
    """Hash of the rendered prompt."""
    request_key: str = ""
    """Key in the paid-answer ledger."""
    parent_id: str = ""
    """Text it revises."""
    verification: Verification
    """How it fared."""
    checks: dict[str, Any] = Field(default_factory=dict)
    """What was checked and found: rule -> count or list."""
    visually_verifiable: bool = True
    """Whether the picture alone could prove it."""
    licence: str = ""
    """Licence id, from the layers the facts came from."""
