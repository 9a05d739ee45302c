"""The replay backend: answers from the ledger alone. Nothing is sent; what is missing is named, or the template's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from captioners.base import Access, Captioner, CaptionInput, Written
from captioners.conversation import Conversation
from captioners.ledger import Find, Ledger, open_ledger
from captioners.manner import FORMATS, LIMIT_NAMES, Manner, first_manner
from captioners.till import Till
from schemas.errors import RecipeError
from schemas.recipe import Captions


class ReplayCaptioner(Captioner):
    """Writes what was once answered.

    Args:
        captions: the recipe's section: the model, its parameters and kinds as they were when it was paid.
        access: the ledger.
    """

    def __init__(self, captions: Captions, access: Access) -> None:
        self.captions, self.access = captions, access
        self.till = Till(captions, access.purse)
        self._manners = _manners(first_manner(captions.model_profile), sorted(captions.parameters))

    def stream(self, inputs: Iterable[CaptionInput]) -> Iterator[Written]:
        """See `Captioner.stream`.

        Raises:
            RecipeError: answers are missing and the recipe does not want the template's texts instead; raised after
                all others were given, with their number.
        """
        missing, count = [], 0
        ledger = open_ledger(self.access.ledger)
        try:
            for one in inputs:
                count += 1
                talk = self._replayed(ledger, one)
                if talk.open:
                    missing.append(one.chip_id)
                if not talk.open or self.captions.missing == "template":
                    records = talk.records()
                    self.till.closed(records)
                    yield Written(one.chip_id, records, talk.open)
        finally:
            ledger.close()
        if missing and self.captions.missing == "error":
            raise RecipeError(
                f"the ledger lacks answers for {len(missing)} of {count} chips: {', '.join(missing[:5])}"
                + (", ..." if len(missing) > 5 else ""),
                where="captions.backend",
                mend="write them with the openai backend, or set captions.missing: template",
            )

    def cost(self) -> dict[str, Any]:
        """See `Captioner.cost`: nothing was paid."""
        return self.till.summary()

    def _replayed(self, ledger: Ledger, one: CaptionInput) -> Conversation:
        """A conversation as far as the ledger has it, in whatever way its server was asked."""
        self.till.spent(one.chip_id)
        for shown in (one, replace(one, views={})) if one.views else (one,):
            talk = Conversation(shown, "replay")
            while talk.prompt is not None:
                answer = self._answer(ledger, talk)
                if answer is None:
                    talk.fail("missing")
                else:
                    self.till.spent(one.chip_id).reused += 1
                    talk.hear(*answer)
            if not talk.open or talk.readable:
                break
        return talk

    def _answer(self, ledger: Ledger, talk: Conversation) -> tuple[str, bytes] | None:
        """Key and body of the answer to a conversation's next question; None where the ledger has none."""
        for manners in self._manners:
            keys = [self.till.question(talk, manner).key for manner in manners]
            for key, found in zip(keys, ledger.apply([Find(key) for key in keys]), strict=True):
                if found.answer is not None:
                    return key, found.answer.body
        return None


def _manners(first: Manner, parameters: Sequence[str]) -> list[list[Manner]]:
    """Every way in which a server may have been asked, the likeliest first, by the parameters that it did not take."""
    names = (first.limit_name, *(name for name in LIMIT_NAMES if name != first.limit_name))
    ways = [replace(first, format=format_, limit_name=name) for name, format_ in itertools.product(names, FORMATS)]
    left_out = (some for count in range(len(parameters) + 1) for some in itertools.combinations(parameters, count))
    return [[replace(way, dropped=some) for way in ways] for some in left_out]
