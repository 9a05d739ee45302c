"""`TextRecord`: a caption, question-answer or grounded phrase with what it rests on (one row of texts.parquet)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class Turn(BaseModel):
    """One turn of a dialogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    """Who speaks."""
    text: str
    """What is said."""


class TextGeometry(BaseModel):
    """A box, oriented box or mask in chip pixel coordinates of the label grid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["box", "oriented_box", "mask"]
    """What `values` holds."""
    values: tuple[float, ...] = ()
    """box: x0, y0, x1, y1 (edges, x right, y down). oriented_box: cx, cy, w, h, a with w >= h: the long side lies a
    degrees clockwise from the x axis as seen in the picture (y down), -90 <= a < 90."""
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
    turns: tuple[Turn, ...] = ()
    """For a dialogue: the user's and the assistant's turns; ``text`` holds them joined by line breaks."""
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
    views: tuple[str, ...] = ()
    """The pictures it was shown, in order: ``<view>:<sha256 of the PNG>``."""
    backend: Literal["template", "openai", "openai-batch", "replay"]
    """Who wrote it."""
    model: str = ""
    """Model name as the server returned it."""
    prompt_sha256: str = ""
    """Hash of the rendered prompt."""
    prompt_version: str = ""
    """Version of the prompt files and the first 8 of their hash: ``2-1f00ab34``."""
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

    @model_validator(mode="after")
    def _a_dialogue_has_turns(self) -> TextRecord:
        if (self.kind == "dialogue") != bool(self.turns):
            raise ValueError("a dialogue has turns, and nothing else has")
        return self


def record_faults(row: Mapping[str, Any]) -> Iterator[str]:
    """What breaks the form of a record: spans, targets, boxes, masks, turns, options, empty targets.

    Args:
        row: a `TextRecord` as a plain dictionary.
    """
    text, geometries = row["text"], row.get("geometries") or []
    for span in row.get("spans") or []:
        if text[span["start"] : span["end"]] != span["phrase"] or span["start"] >= span["end"]:
            yield f"span {span['start']}..{span['end']} is not {span['phrase']!r}"
        if any(not 0 <= target < len(geometries) for target in span["targets"]):
            yield f"span {span['phrase']!r} points to {list(span['targets'])}, there are {len(geometries)} geometries"
    for number, geometry in enumerate(geometries):
        yield from _geometry_faults(number, geometry)
    if row.get("empty_target") and geometries:
        yield "asks for what is not there, yet has geometries"
    options = list(row.get("options") or ())
    if options and (row["answer"] not in options or len(set(options)) < len(options)):
        yield f"its answer {row['answer']!r} is not one of its different options {options}"
    turns = [turn["text"] for turn in row.get("turns") or ()]
    if turns and text != "\n".join(turns):
        yield "its text is not its turns"


def _geometry_faults(number: int, geometry: Mapping[str, Any]) -> Iterator[str]:
    height, width = geometry["shape_yx"]
    values = geometry["values"]
    if geometry["kind"] == "box":
        inside = len(values) == 4 and 0 <= values[0] < values[2] <= width and 0 <= values[1] < values[3] <= height
        if not inside:
            yield f"box {number} {list(values)} does not lie inside {width} x {height}"
    elif geometry["kind"] == "oriented_box":
        if len(values) != 5 or min(values[2:4]) <= 0:
            yield f"oriented box {number} is {list(values)}, wanted cx, cy, w, h, degrees"
        elif not (0 <= values[0] <= width and 0 <= values[1] <= height):
            yield f"oriented box {number} is centred at {list(values[:2])}, outside {width} x {height}"
    elif sum(geometry["rle"]) != height * width:
        yield f"mask {number} has {sum(geometry['rle'])} pixels, the grid {height * width}"
