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

from captioners.lexicon import noun_of
from captioners.reading import Reading
from captioners.records import Chip, Told
from captioners.regions import QUADRANTS
from captioners.template import told
from chips.views import VIEWS
from schemas.facts import Fact
from schemas.legend import load_legend

Messages = list[dict[str, Any]]
Seen = Literal["text_only", "label_map", "rgb", "pseudo_images"]

BORDERS = 4
"""So many of the longest boundaries are told."""
MAX_TOKENS = {"short": 300, "long": 1200, "questions": 1200, "text": 500}
"""Longest answer allowed, by part; an answer cut off there is paid and lost, so these are generous."""
VERSION = "2"
"""Version of the prompt files; raised when their meaning changes."""
FILES = ("prompt_system.jinja", "prompt.jinja", "prompt_repair.jinja")


@dataclass(frozen=True)
class Prompt:
    """Messages as they are sent, and as they are counted and hashed: pictures are large, and decoded once."""

    messages: Messages
    """With pictures as data URLs."""
    bare: Messages
    """Each picture replaced by the hash of its bytes."""
    images: int = 0
    """Number of pictures."""

    @staticmethod
    def of(messages: Messages) -> Prompt:
        """The prompt of some messages."""
        bare = without_images(messages)
        parts = (part for message in bare if isinstance(message["content"], list) for part in message["content"])
        return Prompt(messages, bare, sum("image_sha256" in part for part in parts))

    def followed(self, turns: Messages) -> Prompt:
        """The same, with turns of plain text after it."""
        return Prompt([*self.messages, *turns], [*self.bare, *turns], self.images)


@dataclass(frozen=True)
class Request:
    """One chip's request, rendered."""

    prompt: Prompt
    """What is said."""
    schema: dict[str, Any]
    """JSON schema of the answer."""
    told: tuple[Told, ...]
    """Every text of the chip as the template has it."""
    slots: tuple[str, ...]
    """Of every text: under which name the model is asked for it (short, long, t1, q1); empty: it is not."""
    max_tokens: int
    """Longest answer."""
    seen: Seen
    """What the model is shown."""

    @property
    def messages(self) -> Messages:
        """With pictures as data URLs."""
        return self.prompt.messages

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask: all texts are computed."""
        return not any(self.slots)

    def sha256(self) -> str:
        """Hash of the messages, pictures by their own hash."""
        return hashlib.sha256(canonical(self.prompt.bare).encode()).hexdigest()


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


def make_request(chip: Chip) -> Request:
    """The request for one chip: constant rules first, then pictures, then the chip's facts."""
    one, reading = chip.one, chip.reading
    texts = tuple(told(chip))
    slots = slots_of(texts)
    asked = [text.question for text, slot in zip(texts, slots, strict=True) if text.question and slot]
    gsd = reading.by_id.get("ground.gsd")
    views = [
        {"title": VIEWS[name].title, "formula": VIEWS[name].formula, "guide": VIEWS[name].guide}
        if name in VIEWS
        else {"title": "Land cover", "formula": "one colour for each class", "guide": colour_key(one.legend)}
        for name in one.views
    ]
    parts = parts_of(slots)
    system = render_prompt(
        "prompt_system.jinja", parts=parts, gsd_m=f"{10.0 if gsd is None else float(gsd.value):g}", views=views
    )
    listed = [{"id": f"q{number}", "text": q.question} for number, q in enumerate(asked, 1)]
    wanted = [
        {"id": slot, "about": text.about} for text, slot in zip(texts, slots, strict=True) if slot.startswith("t")
    ]
    facts = [[f.fact_id, f.subject, _short(f.value), f.unit, f.region] for f in told_facts(reading, texts)]
    text = render_prompt("prompt.jinja", facts=facts, texts=wanted, questions=listed)
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
    tokens = sum(MAX_TOKENS[part] for part in parts if part != "texts") + MAX_TOKENS["text"] * len(wanted)
    return Request(Prompt.of(messages), answer_schema(parts), texts, slots, tokens, seen_by(one.views))


def slots_of(texts: Sequence[Told]) -> tuple[str, ...]:
    """Under which name the model is asked for each text: ``short``, ``long``, ``t1`` ..., ``q1`` ..., or not at all.

    Boxes and masks, dialogues, titles and revisions are the template's: a model could only spoil what is computed.
    """
    slots, texts_asked, questions_asked = [], 0, 0
    for text in texts:
        slot = ""
        if text.question is not None:
            questions_asked += 1
            slot = f"q{questions_asked}"
        elif text.about and text.kind == "caption" and text.style in ("short", "long"):
            slot = text.style
        elif text.about:
            texts_asked += 1
            slot = f"t{texts_asked}"
        slots.append(slot)
    return tuple(slots)


def parts_of(slots: Sequence[str]) -> tuple[str, ...]:
    """Parts of the answer that some slots need, in a fixed order."""
    names = {"texts" if slot[:1] == "t" else "questions" if slot[:1] == "q" else slot for slot in slots if slot}
    return tuple(part for part in ("short", "long", "texts", "questions") if part in names)


@cache
def prompt_version() -> str:
    """Version of the prompt files and the first 8 of the hash of their text."""
    room = resources.files("captioners")
    text = "\0".join((room / name).read_text(encoding="utf-8") for name in FILES)
    return f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def colour_key(legend: str) -> str:
    """Guide to a label map: the colour of every class, the same for all chips, so that a server can cache it."""
    if not legend:
        return "Each colour stands for one land cover; neutral grey has none."
    listed = ", ".join(f"{c.colour} {noun_of(c)}" for c in load_legend(legend).classes)
    return f"Colours: {listed}; neutral grey has no class."


def told_facts(reading: Reading, texts: Sequence[Told] = ()) -> list[Fact]:
    """The facts worth a prompt's tokens: no zero shares, no 3x3 grid, no details of classes under 1 %, few borders.

    Args:
        reading: the chip's facts.
        texts: what the template says of it; single map features are told where a text speaks of them.
    """
    used = {fact for text in texts for sentence in text.sentences for fact in sentence.facts}
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
        elif fact.kind == "object":
            keep = False  # patches say the same of the largest; single objects are pointed at by the template
        elif fact.unit == "bearing":
            keep = False  # the direction in words says it
        elif fact.kind == "element":
            keep = fact.fact_id in used
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


def answer_schema(parts: Sequence[str]) -> dict[str, Any]:
    """Strict JSON schema of the answer: every property required, nothing else, no lengths or ranges.

    Args:
        parts: of ``short``, ``long``, ``texts``, ``questions``.
    """
    sentence = _object({"text": {"type": "string"}, "facts": {"type": "array", "items": {"type": "string"}}})
    question = _object({"id": {"type": "string"}, "question": {"type": "string"}})
    sentences = {"type": "array", "items": sentence}
    shapes = {
        "short": sentences,
        "long": sentences,
        "texts": {"type": "array", "items": _object({"id": {"type": "string"}, "sentences": sentences})},
        "questions": {"type": "array", "items": question},
    }
    return _object({part: shapes[part] for part in parts})


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


def request_key(model: str, parameters: Mapping[str, Any], bare: Messages, schema: Mapping[str, Any]) -> str:
    """Key in the ledger: what is asked of whom, and nothing of the recipe, the dataset or this code's version.

    Args:
        model: model asked.
        parameters: how it is asked.
        bare: the messages, pictures by their hash (`Prompt.bare`).
        schema: JSON schema of the answer.
    """
    request = {
        "model": model,
        "parameters": dict(parameters),
        "messages": bare,
        "schema_sha256": hashlib.sha256(canonical(schema).encode()).hexdigest(),
    }
    return hashlib.sha256(canonical(request).encode()).hexdigest()
