"""What the tests of paid backends share: chips, a model that knows them, and captioners that wait for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from captioners.base import Access, CaptionInput
from captioners.captions import long_caption, short_caption
from captioners.ledger import LedgerPlace
from captioners.live import LiveCaptioner
from captioners.number_words import Choice
from captioners.phrasing import unmark
from captioners.prompt import make_request
from captioners.records import Chip
from captioners.sentences import Writer
from schemas.recipe import Captions
from tests.fake_openai import FakeOpenAI
from tests.unit.captioners.worlds import caption_input, make_world


def inputs(count: int, **fields: Any) -> list[CaptionInput]:
    return [caption_input(make_world(seed), f"u31-{seed:04d}", **fields) for seed in range(count)]


def computed(count: int) -> list[CaptionInput]:
    """Chips of which a model is asked nothing: all their texts are computed."""
    return [replace(one, kinds=("grounded", "labels")) for one in inputs(count)]


def good_draft(one: CaptionInput) -> dict[str, Any]:
    """What a faithful model would answer: other true sentences, questions hardly changed."""
    chip = Chip.of(one)
    writer = Writer(chip.reading, Choice(99, one.chip_id))

    def plain(sentences: list[Any]) -> list[dict[str, Any]]:
        return [{"text": unmark(s.text)[0], "facts": list(s.facts)} for s in sentences]

    request = make_request(chip)
    asked = [
        {"id": slot, "question": text.question.question}
        for text, slot in zip(request.told, request.slots, strict=True)
        if text.question is not None
    ]
    draft = {"short": plain(short_caption(writer)[:1]), "long": plain(long_caption(writer)), "questions": asked}
    wanted = {"short": "short", "long": "long", "qa": "questions"}
    return {name: draft[name] for kind, name in wanted.items() if kind in one.kinds}


def user_text(request: dict[str, Any]) -> str:
    content = request["messages"][1]["content"]
    return str(content if isinstance(content, str) else content[-1]["text"])


def answers(
    chips: list[CaptionInput], change: Callable[[dict[str, Any], int], Any] | None = None
) -> Callable[..., str]:
    """The server's mind: knows each chip by its facts; ``change`` spoils a draft, given the round (0: first)."""
    table = {}
    for one in chips:
        content = make_request(Chip.of(one)).messages[1]["content"]
        table[content if isinstance(content, str) else content[-1]["text"]] = one

    def answer(request: dict[str, Any]) -> str:
        draft = good_draft(table[user_text(request)])
        changed = change(draft, (len(request["messages"]) - 2) // 2) if change else draft
        return changed if isinstance(changed, str) else json.dumps(changed)

    return answer


class Waits:
    """Stands in for sleep and remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def section(**fields: Any) -> Captions:
    base = {
        "backend": "openai", "base_url": "http://unused/v1", "model": "m", "price_per_million_in": 1.0,
        "price_per_million_out": 2.0, "max_cost": 10.0, "concurrency": 4, "probe": False,
    }  # fmt: skip
    return Captions.model_validate(base | fields)


def access(folder: Path, server: FakeOpenAI | None = None, *, key: str | None = "key-123", purse: str = "") -> Access:
    place = LedgerPlace(str(folder / "ledger.sqlite"))
    return Access(place, key, server.base_url if server is not None else "http://127.0.0.1:9/v1", purse)


def captioner(
    server: FakeOpenAI | None,
    folder: Path,
    *,
    waits: Waits | None = None,
    purse: str = "",
    timeout_s: float = 5.0,
    **fields: Any,
) -> LiveCaptioner:
    return LiveCaptioner(
        section(**fields), access(folder, server, purse=purse), sleep=waits or Waits(), timeout_s=timeout_s
    )
