"""What a captioner is: `CaptionInput` in, `TextRecord`s out, and how to make one from the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from captioners.elements import MapElement
from captioners.objects import SceneObject
from schemas.errors import RecipeError
from schemas.facts import FactSheet
from schemas.recipe import Captions
from schemas.recipe_texts import TextName
from schemas.text import TextRecord

KINDS: tuple[TextName, ...] = ("short", "long", "qa")


@dataclass(frozen=True)
class CaptionInput:
    """One chip, as a captioner sees it."""

    chip_id: str
    """Which chip."""
    facts: FactSheet
    """All that may be said."""
    legend: str = ""
    """Name of the legend behind the class facts."""
    views: Mapping[str, bytes] = field(default_factory=dict)
    """View name -> PNG, for models that see; the name ``labels`` is the label map."""
    objects: tuple[SceneObject, ...] = ()
    """What can be pointed at, the largest of each class first."""
    elements: tuple[MapElement, ...] = ()
    """Map features, one by one, where a kind speaks of single ones."""
    kinds: tuple[TextName, ...] = KINDS
    """What to write."""
    licence: str = ""
    """Licence id of the label layer that the facts came from."""
    osm_licence: str = "ODbL-1.0"
    """Licence id that a text takes on as soon as it uses a map feature."""
    seed: int = 7
    """The recipe's seed."""


class Captioner(Protocol):
    """Writes texts about chips."""

    def write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """The records of each chip, in the order of the inputs.

        Never raises for one chip: what a model cannot deliver is written by the template, and the record's
        ``verification`` and ``checks`` say so.
        """
        ...

    def cost(self) -> dict[str, Any]:
        """calls, tokens_in, tokens_out, cost and what else is known, since this captioner was made."""
        ...


def make_captioner(
    captions: Captions,
    *,
    api_key: str | None = None,
    base_url: str = "",
    ledger_path: Path | None = None,
    purse: str = "",
) -> Captioner:
    """The captioner that a recipe asks for.

    Args:
        captions: the recipe's section.
        api_key: key of the server, read by the caller; never stored.
        base_url: root of the server with its variables filled in; the recipe's where empty.
        ledger_path: SQLite file of the paid-answer ledger, needed by every backend that pays.
        purse: name under which the budget is kept over restarts, best the run's hash; a new one where empty.

    Raises:
        RecipeError: a paid backend without a ledger.
        MissingExtraError: the backend's library is not installed.
    """
    if captions.backend == "template":
        from captioners.template import TemplateCaptioner

        return TemplateCaptioner()
    if ledger_path is None:
        raise RecipeError(
            "the openai backend needs a ledger, so that no paid answer is lost",
            where="captions.ledger",
            mend="name a file on a local disk",
        )
    from captioners.llm import OpenAICaptioner

    return OpenAICaptioner(
        captions, api_key=api_key, base_url=base_url or captions.base_url, ledger_path=ledger_path, purse=purse
    )
