"""What a captioner is: `CaptionInput` in, `TextRecord`s out, and how to make one from the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from captioners.elements import MapElement
from captioners.ledger import LedgerPlace
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


@dataclass(frozen=True)
class Written:
    """One chip, written."""

    chip_id: str
    """Which chip."""
    records: list[TextRecord]
    """Its texts."""
    open: str = ""
    """Why a later run may ask for it again (budget, backend, ...); empty where its answer came."""


class Captioner(Protocol):
    """Writes texts about chips.

    One chip never fails: what a model cannot deliver is written by the template, and the record's ``verification`` and
    ``checks`` say so.
    """

    def write(self, inputs: Sequence[CaptionInput]) -> list[list[TextRecord]]:
        """The records of each chip, in the order of the inputs; ids may not repeat."""
        done = {written.chip_id: written.records for written in self.stream(inputs)}
        return [done[one.chip_id] for one in inputs]

    def stream(self, inputs: Iterable[CaptionInput]) -> Iterator[Written]:
        """Chips as they are finished, in any order.

        Args:
            inputs: read as they are needed; some backends go over them more than once.
        """
        ...

    def cost(self) -> dict[str, Any]:
        """calls, tokens_in, tokens_out, cost and what else is known, since this captioner was made."""
        ...


@dataclass(frozen=True)
class Access:
    """What a paid backend needs beside the recipe."""

    ledger: LedgerPlace
    """The paid-answer ledger."""
    api_key: str | None = field(default=None, repr=False)
    """Key of the server, read by the caller; never stored."""
    base_url: str = ""
    """Root of the server with its variables filled in; the recipe's where empty."""
    purse: str = ""
    """Name under which the budget is kept over restarts; a new one where empty."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not leave its process")


def make_captioner(captions: Captions, access: Access | None = None) -> Captioner:
    """The captioner that a recipe asks for.

    Args:
        captions: the recipe's section.
        access: key, address and ledger, for every backend but the template.

    Raises:
        RecipeError: a paid backend without a ledger.
        MissingExtraError: the backend's library is not installed.
    """
    if captions.backend == "template":
        from captioners.template import TemplateCaptioner

        return TemplateCaptioner()
    if access is None:
        raise RecipeError(
            f"the {captions.backend} backend needs a ledger, so that no paid answer is lost",
            where="captions.ledger",
            mend="name a file on a local disk",
        )
    if captions.backend == "replay":
        from captioners.replay import ReplayCaptioner

        return ReplayCaptioner(captions, access)
    from captioners.batch import BatchCaptioner
    from captioners.live import LiveCaptioner

    return (LiveCaptioner if captions.backend == "openai" else BatchCaptioner)(captions, access)
