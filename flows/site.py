"""What this installation and this shell bring: the one place where the environment is read.

The command line and deployments that a Prefect worker starts both begin here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from captioners.ledger import LedgerPlace
from captioners.server_address import BASIC, require_address
from schemas.errors import RecipeError
from schemas.recipe import VARIABLE, Recipe, fill
from schemas.recipe_catalogs import has_log_in
from schemas.recipe_file import load_recipe
from shards.guard import findings
from shards.layout import WORK
from shards.storage import FolderStorage, Storage, StoreOptions


def variables(recipe: Recipe) -> dict[str, str]:
    """Values of the ``${TERRAWEFT_...}`` that the recipe names, and no other: a secret may have such a name too."""
    named = set(VARIABLE.findall(recipe.model_dump_json()))
    return {name: value for name, value in os.environ.items() if name in named}


def find_recipe(given: Path) -> tuple[Recipe, Path]:
    """A recipe from a file, or from the shipped ones by name; and the folder in which its relative paths begin.

    Raises:
        RecipeError: there is none of that name, or it is broken.
    """
    if given.suffix or given.is_file():
        return load_recipe(given), given.resolve().parent
    shipped = resources.files("recipes")
    path = Path(str(shipped.joinpath(f"{given}.yaml")))
    if not path.is_file():
        known = ", ".join(sorted(Path(entry.name).stem for entry in shipped.iterdir() if entry.name.endswith(".yaml")))
        raise RecipeError(f"there is no recipe {str(given)!r}", mend=f"give a .yaml file, or one of: {known}")
    return load_recipe(path), path.parent


def require_variables(recipe: Recipe, known: Mapping[str, str]) -> None:
    """Stop before a server or a cluster is started where a catalog's address cannot be filled in.

    Raises:
        RecipeError: a variable that a catalog's ``href`` names is not set, or brings a log-in.
    """
    secrets = {name for credential in recipe.credentials.values() for name in credential.env}
    if shown := sorted(secrets & set(VARIABLE.findall(recipe.model_dump_json()))):
        raise RecipeError(
            f"{shown[0]} is a secret under credentials: it cannot stand in an address", mend="take it out"
        )
    for name, catalog in recipe.catalogs.items():
        if has_log_in(fill(catalog.href, known, where := f"catalogs.{name}.href")):
            raise RecipeError("this is an address with a user name or password", where, "name them under credentials")


def require_server(recipe: Recipe, known: Mapping[str, str]) -> None:
    """Stop before anything is read where the language model's server is not told, or in no way that it may be.

    Raises:
        RecipeError: a variable that ``base_url`` names is not set, or as `captioners.server_address.require_address`.
    """
    captions = recipe.captions
    if captions is not None and captions.backend in ("openai", "openai-batch"):
        require_address(fill(captions.base_url, known, "captions.base_url"))


def require_publishable(recipe: Recipe) -> None:
    """Stop before anything is read where the recipe, which is published with the dataset, holds what may not be.

    Raises:
        RecipeError: a local path, a signed address or a secret stands in it.
    """
    found = findings(recipe.model_dump_json(by_alias=True))
    if found:
        mend = "put it into a variable: ${TERRAWEFT_...}"
        raise RecipeError(f"{found[0]} would be published with the dataset", where=recipe.name, mend=mend)


def api_key(recipe: Recipe, environment: Mapping[str, str]) -> str | None:
    """The key of the language model's server, from the variable that the recipe names.

    Raises:
        RecipeError: the recipe names a variable that is not set, or that holds what no request can carry: neither one
            word nor a log-in, ``Basic`` and one word.
    """
    captions = recipe.captions
    if captions is None or not captions.api_key_env:
        return None
    if captions.api_key_env not in environment:
        raise RecipeError(
            f"{captions.api_key_env} is not set",
            where="captions.api_key_env",
            mend=f"export {captions.api_key_env}=...",
        )
    key = environment[captions.api_key_env].strip()  # a file's last line break comes along easily
    word = key.removeprefix(BASIC)
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise RecipeError(
            f"{captions.api_key_env} holds no key",
            where="captions.api_key_env",
            mend="a key is one word of letters, figures and signs",
        )
    return key


def ledger_place(recipe: Recipe | None, environment: Mapping[str, str]) -> LedgerPlace:
    """Where the paid-answer ledger lies, a file or an address: the recipe's, else the site's, which serves all."""
    base = environment.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    place = environment.get("TERRAWEFT_LEDGER") or str(Path(base) / "terraweft" / "ledger.sqlite")
    if recipe is not None and recipe.captions is not None and recipe.captions.ledger:
        place = fill(recipe.captions.ledger, environment, "captions.ledger")
    return LedgerPlace(place, store_options(environment))


def store_options(environment: Mapping[str, str]) -> StoreOptions:
    """How object stores are reached, from the variables that S3 tools share; credentials stay where they are."""
    return StoreOptions(
        endpoint_url=environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or "",
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "",
        anonymous=environment.get("AWS_NO_SIGN_REQUEST", "").upper() in ("1", "YES", "TRUE"),
        requester_pays=environment.get("AWS_REQUEST_PAYER", "") == "requester",
        azure_account=environment.get("AZURE_STORAGE_ACCOUNT_NAME", ""),
    )


def work_folder(storage: Storage, environment: Mapping[str, str]) -> Path:
    """Where unfinished work lies: ``work/`` of a local dataset, else a folder of the site's cache.

    ``TERRAWEFT_WORK`` names another place for datasets in object stores: one that all workers see.
    """
    if isinstance(storage, FolderStorage):
        return storage.folder / WORK
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    root = Path(environment.get("TERRAWEFT_WORK") or Path(base) / "terraweft" / "work")
    return root / hashlib.sha256(storage.uri.encode()).hexdigest()[:16]


def limits_folder(environment: Mapping[str, str]) -> Path | None:
    """``TERRAWEFT_LIMITS``: where all builds of a site count how many of them ask a host; None: each for itself."""
    given = environment.get("TERRAWEFT_LIMITS")
    return Path(given) if given else None
