"""What texts will cost, and what a model will be told, before anything is sent: from the chips that wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from captioners.base import CaptionInput
from captioners.conversation import Conversation
from captioners.estimate import IMAGE_TOKENS, with_repairs
from captioners.ledger import NANO, Find, Ledger
from captioners.manner import Manner, known_manner, server_name
from captioners.prompt import Messages, canonical
from captioners.till import Till
from schemas.recipe import Captions

CHARACTERS_PER_TOKEN = (4.5, 3.0)
"""Of the prompts' text: least and most tokens that it makes."""


@dataclass
class DryRun:
    """What would be asked; pairs are (least, most)."""

    chips: int = 0
    """Chips that wait for texts."""
    reused: int = 0
    """Of them, those whose first answer the ledger has."""
    in_doubt: int = 0
    """Of them, those of which a call is in doubt."""
    calls: tuple[int, int] = (0, 0)
    """Calls, repairs included."""
    tokens_in: tuple[int, int] = (0, 0)
    """Input tokens."""
    tokens_out: tuple[int, int] = (0, 0)
    """Output tokens."""
    cost: tuple[float, float] = (0.0, 0.0)
    """In the currency of the prices."""
    worst: float = 0.0
    """What the budget guard would hold for all of them at once."""
    prompts: list[tuple[str, str]] = field(default_factory=list)
    """Chip id and rendered prompt of the first few."""


def dry_run(
    captions: Captions, inputs: Iterable[CaptionInput], ledger: Ledger | None, base_url: str, show: int
) -> DryRun:
    """Count what a build would ask. Nothing is sent, nothing is written.

    Args:
        captions: the recipe's section.
        inputs: the chips that wait.
        ledger: where answers may lie already; None where there is none yet.
        base_url: the server, whose manner may be known.
        show: so many prompts are rendered.
    """
    batch = captions.backend == "openai-batch"
    till, run = Till(captions, "dry run", batch=batch), DryRun()
    note = ledger.load("server", server_name(base_url, captions.model)) if ledger is not None else None
    manner: Manner = known_manner(note, captions.model_profile)
    tokens_in, asked = [0, 0], 0
    for one in inputs:
        run.chips += 1
        talk = Conversation(manner.shown(one))
        if talk.prompt is None:
            continue
        question = till.question(talk, manner)
        if len(run.prompts) < show:
            run.prompts.append((one.chip_id, _rendered(question.prompt.bare)))
        found = ledger.apply([Find(question.key)])[0] if ledger is not None else None
        if found is not None and found.answer is not None:
            run.reused += 1
            continue
        run.in_doubt += bool(found is not None and found.doubts)
        asked += 1
        size = len(canonical(question.prompt.bare))
        for end, pictures in ((0, IMAGE_TOKENS), (1, captions.picture_tokens)):
            tokens_in[end] += round(size / CHARACTERS_PER_TOKEN[end]) + question.prompt.images * pictures
        run.worst += till.intent(question, "write", one.chip_id).worst_nano / NANO
    whole = with_repairs(captions, asked, (tokens_in[0], tokens_in[1]))
    run.calls, run.tokens_in, run.tokens_out, run.cost = whole.calls, whole.tokens_in, whole.tokens_out, whole.cost
    return run


def _rendered(bare: Messages) -> str:
    """A prompt as a person reads it; a picture is its hash."""
    parts = []
    for message in bare:
        content = message["content"]
        pieces = [{"text": content}] if isinstance(content, str) else content
        text = "\n".join(piece.get("text") or f"[picture {piece['image_sha256'][:12]}]" for piece in pieces)
        parts.append(f"--- {message['role']}\n{text}")
    return "\n".join(parts)
