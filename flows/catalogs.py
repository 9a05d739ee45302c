"""The recipe's catalogs as a run uses them: opened once each, asked politely, with fallbacks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.vault import MachineVault
from schemas.recipe import LonLatBox, Modality, Recipe, fill
from schemas.scene import Opener
from sources.base import CatalogClient
from sources.breaker import Breaker
from sources.catalog import open_catalog
from sources.credentials import CredentialedOpener, make_opener
from sources.limits import HostLimits
from sources.search import Found, Provider, providers_of, search_in_order

Window = tuple[datetime, datetime]


def opener_of(recipe: Recipe, work: Path | None = None) -> CredentialedOpener:
    """The opener of a run: secrets by reference, limits shared by all who build the same dataset.

    Args:
        recipe: credentials, limits and permissions.
        work: the dataset's folder for unfinished work; None where nothing is built: limits are shared by this user's
            runs on this machine.
    """
    shared = Path(tempfile.gettempdir()) / f"terraweft-limits-{os.getuid()}"
    return make_opener(recipe, MachineVault(), HostLimits(recipe.limits, work / "limits" if work else shared))


class Catalogs:
    """The recipe's catalogs, opened once each.

    Args:
        recipe: names them.
        variables: values of ``${TERRAWEFT_...}``.
        opener: secrets and limits; made for this machine where absent.
    """

    def __init__(self, recipe: Recipe, variables: Mapping[str, str], opener: Opener | None = None) -> None:
        self.recipe, self.variables = recipe, variables
        self.opener = opener or opener_of(recipe)
        self.opened: dict[str, CatalogClient] = {}
        self.breaker = Breaker(failures=2)

    def __getitem__(self, name: str) -> CatalogClient:
        if name not in self.opened:
            catalog = self.recipe.catalogs[name]
            href = fill(catalog.href, self.variables, f"catalogs.{name}.href")
            self.opened[name] = open_catalog(catalog, href, self.opener)
        return self.opened[name]

    def search(self, name: str, collection: str, boxes: Sequence[LonLatBox], window: Window) -> dict[str, Any]:
        """Items of one catalog by id.

        Raises:
            UserError: the catalog cannot be used; one line for a person.
        """
        return search_in_order([Provider(name, collection)], self.__getitem__, boxes, window, self.breaker).items

    def search_modality(self, modality: Modality, boxes: Sequence[LonLatBox], window: Window) -> Found:
        """Items of a modality from the first of its catalogs that can be used.

        Raises:
            UserError: none can; one line for a person.
        """
        return search_in_order(providers_of(modality), self.__getitem__, boxes, window, self.breaker)
