"""What a build is asked for, from a recipe and this machine's environment: for the command line and for deployments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flows.build import BuildRequest
from flows.cluster import default_workers
from flows.site import ledger_path, limits_folder, require_publishable, require_variables, store_options, work_folder
from flows.vault import MachineVault
from schemas.recipe import Recipe
from shards.storage import open_storage
from sources.credentials import require_credentials


def request_of(recipe: Recipe, folder: Path, root: str, known: dict[str, str], **options: Any) -> BuildRequest:
    """The request, checked as far as nothing needs to be opened.

    Args:
        recipe: the recipe.
        folder: where its relative paths begin.
        root: folder or address of the dataset.
        known: values of ``${TERRAWEFT_...}``.
        options: further fields of `BuildRequest`; ``workers`` may be None: one per core, four at most.

    Raises:
        UserError: a variable or a credential is missing, or the recipe could not be published.
    """
    storage = open_storage(root, store_options(os.environ))
    require_variables(recipe, known)
    require_publishable(recipe)
    require_credentials(recipe, MachineVault())
    options["workers"] = options.get("workers") or default_workers()
    return BuildRequest(
        recipe=recipe,
        recipe_folder=folder,
        storage=storage,
        work=work_folder(storage, os.environ),
        variables=known,
        ledger=ledger_path(recipe, os.environ),
        limits=limits_folder(os.environ),
        **options,
    )
