"""How a server wants to be asked: the way to JSON, the names of parameters, whether it sees. Probed once, remembered.

What a model's profile says is taken for known. The rest is asked by a call or two of a few tokens, and what is found is
kept in the ledger for the server and model. A server may change: a refusal in mid-run teaches as well (`learned`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from captioners.base import CaptionInput
from captioners.completion import UNREADABLE, json_in, read_content
from captioners.prompt import Messages
from schemas.model_profile import Format, ModelProfile
from schemas.recipe_writer import Writer

FORMATS: tuple[Format, ...] = ("json_schema", "json_object", "text")
"""How JSON is asked for, the strictest first."""
LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
"""What the limit of the answer may be called."""
_TOO_LONG = re.compile(r"context (?:length|size|window)")
"""How servers say that a request has more tokens than the model takes."""
_UNKNOWN = re.compile(r"unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|not permitted|forbidden")
"""How they say that they do not know a parameter that they name."""
_SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "schema", "grammar")
"""What their refusals of a way to JSON speak of; llama.cpp speaks of the grammar that it makes of a schema."""
_NO_PICTURES = re.compile(r"image input|image_url")
"""How they say that they take no pictures."""
PROBE_TOKENS = 1000
"""Longest answer of a probe: room for a model that thinks before it names a colour."""
PROBE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"type": "string"}, "is_dark": {"type": "boolean"}},
    "required": ["colour", "is_dark"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Manner:
    """How to ask one model of one server."""

    format: Format = "json_schema"
    """Way to JSON."""
    limit_name: str = "max_tokens"
    """Name of the limit of the answer."""
    images: bool = True
    """Whether it takes pictures."""
    dropped: tuple[str, ...] = ()
    """Parameters that it turned out not to take."""

    def parameters(self, writer: Writer, schema: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        """Parameters of a call; part of its key.

        Args:
            writer: whose further parameters go with it.
            schema: JSON schema of the answer.
            tokens: longest answer, hidden reasoning included.
        """
        out: dict[str, Any] = {self.limit_name: tokens}
        out |= {name: value for name, value in writer.parameters.items() if name not in self.dropped}
        if self.format == "json_schema":
            out["response_format"] = {
                "type": "json_schema", "json_schema": {"name": "texts", "strict": True, "schema": dict(schema)},
            }  # fmt: skip
        elif self.format == "json_object":
            out["response_format"] = {"type": "json_object"}
        return out

    def shown(self, one: CaptionInput) -> CaptionInput:
        """The chip as the model is shown it: without its pictures where it takes none."""
        return one if self.images else replace(one, views={})

    def learned(self, text: str, parameters: Mapping[str, Any]) -> Manner | None:
        """Another way to ask, after a refusal (HTTP 400 or 422) of these parameters; None where it teaches nothing."""
        low = text.lower()
        if _TOO_LONG.search(low):  # it is this request's length, whatever parameters are named beside it
            return None
        asked = str(parameters.get("response_format", {}).get("type", "text"))
        if any(word in low for word in _SCHEMA_WORDS) and asked != "text":
            return replace(self, format=FORMATS[FORMATS.index(asked) + 1])
        mine, other = LIMIT_NAMES if LIMIT_NAMES[0] in parameters else LIMIT_NAMES[::-1]
        if other in low or (mine in low and _UNKNOWN.search(low)):  # most name the one they lack, not the one they have
            return replace(self, limit_name=other)
        for name in parameters:
            if name in low and name not in (*LIMIT_NAMES, "response_format"):
                return replace(self, dropped=(*self.dropped, name))
        return None


def is_refused(status: int, text: str) -> bool:
    """Whether an HTTP error is about the request itself, not about the model's name or the server's health.

    Pictures are refused by any status: llama.cpp and Ollama say 500 where a model has no eyes, OpenRouter 404.
    """
    return status in (400, 422) or (status in (404, 500) and _NO_PICTURES.search(text.lower()) is not None)


def first_manner(profile: ModelProfile) -> Manner:
    """How to ask a model of which no more than its profile is known."""
    formats = profile.formats or FORMATS
    return Manner(format=formats[0], limit_name=profile.limit_name, images=profile.images is not False)


def server_name(base_url: str, model: str) -> str:
    """Name under which a server's manner is kept: a hash, since an address may be private."""
    return hashlib.sha256(f"{base_url.rstrip('/')}\n{model}".encode()).hexdigest()[:32]


def to_note(manner: Manner, *, saw: bool) -> dict[str, Any]:
    """The note that is kept; ``saw``: whether pictures were asked about."""
    return {**asdict(manner), "saw": saw}


def known_manner(note: Mapping[str, Any] | None, profile: ModelProfile) -> Manner:
    """How a server is asked first: as its note says, else as the profile does."""
    return from_note(note, profile)[0] if note else first_manner(profile)


def from_note(note: Mapping[str, Any], profile: ModelProfile) -> tuple[Manner, bool]:
    """A manner and whether pictures were asked about; what the profile says goes before what was found."""
    known = {name: note[name] for name in ("format", "limit_name", "images") if name in note}
    if profile.formats and known.get("format") not in profile.formats:
        known["format"] = profile.formats[0]
    if profile.images is not None:
        known["images"] = profile.images
    return Manner(**known, dropped=tuple(note.get("dropped", ()))), bool(note.get("saw"))


def format_probe() -> Messages:
    """A question whose answer takes the shape only if the server enforces or understands it."""
    return [
        {"role": "system", "content": 'Answer with one JSON object: {"colour": a word, "is_dark": true or false}.'},
        {"role": "user", "content": "Name any colour, and say whether it is dark."},
    ]


def picture_probe() -> Messages:
    """A question that only somebody who sees can answer."""
    url = f"data:image/png;base64,{base64.b64encode(red_png()).decode()}"
    words = "One plain colour fills this picture. Which? Answer with that one word."
    return [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": words}]}
    ]


def fits(body: bytes) -> bool:
    """Whether the answer to `format_probe` has the shape."""
    try:
        found = json.loads(json_in(read_content(body)))
        return isinstance(found["colour"], str) and isinstance(found["is_dark"], bool) and len(found) == 2
    except UNREADABLE:
        return False


def sees(body: bytes) -> bool:
    """Whether the answer to `picture_probe` is right."""
    return "red" in read_content(body).lower()


def red_png(side: int = 64) -> bytes:
    """A red square as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + b"\xd0\x10\x10" * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
