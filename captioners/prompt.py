"""What a model is sent: messages from the jinja files, the answer's strict schema, and the key of a request."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from jinja2 import FunctionLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from captioners.base import CaptionInput
from captioners.number_words import Choice
from captioners.qa import questions
from captioners.question import Question
from captioners.reading import Reading
from captioners.regions import QUADRANTS
from chips.views import VIEWS
from schemas.facts import Fact
from schemas.legend import load_legend

Messages = list[dict[str, Any]]
Seen = Literal["text_only", "label_map", "rgb", "pseudo_images"]

BORDERS = 4
"""So many of the longest boundaries are told."""
MAX_TOKENS = {"short": 300, "long": 1200, "qa": 1200}
"""Longest answer allowed, by kind; an answer cut off there is paid and lost, so these are generous."""


@dataclass(frozen=True)
class Request:
    """One chip's request, rendered."""

    messages: Messages
    """With pictures as data URLs."""
    schema: dict[str, Any]
    """JSON schema of the answer."""
    questions: tuple[Question, ...]
    """Questions to be put in other words; ids q1, q2, ..."""
    max_tokens: int
    """Longest answer."""
    seen: Seen
    """What the model is shown."""
    images: int
    """Number of pictures."""

    def sha256(self) -> str:
        """Hash of the messages, pictures by their own hash."""
        return hashlib.sha256(canonical(without_images(self.messages)).encode()).hexdigest()


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    def load(name: str) -> str:
        return (resources.files("captioners") / name).read_text(encoding="utf-8")

    return ImmutableSandboxedEnvironment(
        loader=FunctionLoader(load), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )


def render_prompt(name: str, **values: Any) -> str:
    """A prompt file filled in; an unknown variable is an error."""
    return _environment().get_template(name).render(**values).strip()


def make_request(one: CaptionInput, reading: Reading) -> Request:
    """The request for one chip: constant rules first, then pictures, then the chip's facts."""
    asked = tuple(questions(reading, Choice(one.seed, one.chip_id))) if "qa" in one.kinds else ()
    gsd = reading.by_id.get("ground.gsd")
    views = [
        {"title": VIEWS[name].title, "guide": VIEWS[name].guide}
        if name in VIEWS
        else {"title": "Land cover", "guide": colour_key(one.legend)}
        for name in one.views
    ]
    system = render_prompt(
        "prompt_system.jinja", kinds=one.kinds, gsd_m=f"{10.0 if gsd is None else float(gsd.value):g}", views=views
    )
    listed = [{"id": f"q{number}", "text": q.question} for number, q in enumerate(asked, 1)]
    facts = [[f.fact_id, f.subject, _short(f.value), f.unit, f.region] for f in told_facts(reading)]
    text = render_prompt("prompt.jinja", facts=facts, questions=listed)
    content: Any = text
    if one.views:
        content = [
            *(
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"}}
                for png in one.views.values()
            ),
            {"type": "text", "text": text},
        ]
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    tokens = sum(MAX_TOKENS[kind] for kind in one.kinds)
    return Request(messages, answer_schema(one.kinds), asked, tokens, seen_by(one.views), len(one.views))


def colour_key(legend: str) -> str:
    """Guide to a label map: the colour of every class, the same for all chips, so that a server can cache it."""
    if not legend:
        return "Each colour stands for one land cover; neutral grey has none."
    listed = ", ".join(f"{c.colour} {c.noun or c.name.lower()}" for c in load_legend(legend).classes)
    return f"Colours: {listed}; neutral grey has no class."


def told_facts(reading: Reading) -> list[Fact]:
    """The facts worth a prompt's tokens: no zero shares, no 3x3 grid, no details of classes under 1 %, few borders."""
    main = {one.code for one in reading.classes if one.share >= 1.0}
    borders = sorted((f for f in reading.sheet.facts if f.kind == "adjacency"), key=lambda f: -float(f.value))
    longest = {f.fact_id for f in borders[:BORDERS]}
    told = []
    for fact in reading.sheet.facts:
        parts = fact.fact_id.split(".")
        if fact.kind == "share":
            keep = float(fact.value) > 0 and fact.region in ("chip", *QUADRANTS, "middle")
            keep = keep and (fact.region == "chip" or int(parts[1]) in main)
        elif fact.kind in ("patches", "place"):
            keep = int(parts[1]) in main
        elif fact.kind == "dominant":
            keep = fact.region in ("chip", *QUADRANTS, "middle")
        elif fact.kind == "adjacency":
            keep = fact.fact_id in longest
        else:
            keep = True
        if keep:
            told.append(fact)
    return told


def _short(value: float | int | str | bool) -> float | int | str | bool:
    """A value with the digits that a sentence could use."""
    return round(value, 2) if isinstance(value, float) else value


def seen_by(views: Mapping[str, bytes]) -> Seen:
    """What a model that is shown these views has seen."""
    if not views:
        return "text_only"
    names = set(views)
    if names == {"labels"}:
        return "label_map"
    return "rgb" if names <= {"true_colour", "enmap_true_colour"} else "pseudo_images"


def answer_schema(kinds: Sequence[str]) -> dict[str, Any]:
    """Strict JSON schema of the answer: every property required, nothing else, no lengths or ranges."""
    sentence = _object({"text": {"type": "string"}, "facts": {"type": "array", "items": {"type": "string"}}})
    question = _object({"id": {"type": "string"}, "question": {"type": "string"}})
    parts: dict[str, Any] = {kind: {"type": "array", "items": sentence} for kind in ("short", "long") if kind in kinds}
    if "qa" in kinds:
        parts["questions"] = {"type": "array", "items": question}
    return _object(parts)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def canonical(value: object) -> str:
    """Canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def without_images(messages: Messages) -> Messages:
    """The messages with each picture replaced by the hash of its bytes."""
    out = []
    for message in messages:
        content = message["content"]
        if isinstance(content, list):
            content = [
                {
                    "image_sha256": hashlib.sha256(
                        base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
                    ).hexdigest()
                }
                if part["type"] == "image_url"
                else part
                for part in content
            ]
        out.append({**message, "content": content})
    return out


def request_key(model: str, parameters: Mapping[str, Any], messages: Messages, schema: Mapping[str, Any]) -> str:
    """Key in the ledger: what is asked of whom, and nothing of the recipe, the dataset or this code's version."""
    request = {
        "model": model,
        "parameters": dict(parameters),
        "messages": without_images(messages),
        "schema_sha256": hashlib.sha256(canonical(schema).encode()).hexdigest(),
    }
    return hashlib.sha256(canonical(request).encode()).hexdigest()
