"""The recipe's catalogs as a run uses them: opened once each, asked politely, with fallbacks."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from flows.vault import MachineVault
from schemas.errors import RecipeError, UserError
from schemas.recipe import VARIABLE, Catalog, Recipe, fill
from schemas.scene import Opener
from sources.base import CatalogClient
from sources.breaker import Breaker
from sources.catalog import open_catalog
from sources.credentials import CredentialedOpener, make_opener
from sources.limits import HostLimits
from sources.openers import unsigned
from sources.stac_index import IndexCatalog


def opener_of(recipe: Recipe, limits: Path | None = None) -> CredentialedOpener:
    """The opener of a run: secrets by reference, limits shared by all who count in the same folder.

    Args:
        recipe: credentials, limits and permissions.
        limits: folder in which places of hosts are counted (`flows.site.limits_folder`); None where nothing is built:
            this user's runs on this machine share one.

    Raises:
        UserError: see `shared_limits`.
    """
    return make_opener(
        recipe, MachineVault(), HostLimits(recipe.limits, limits or shared_limits(tempfile.gettempdir()))
    )


def shared_limits(temporary: str) -> Path:
    """The folder in which this user's runs on this machine count together.

    Its name is known to all users of the machine: who made it before us could lead what we write elsewhere by links.

    Raises:
        UserError: it is not ours.
    """
    folder = Path(temporary) / f"terraweft-limits-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise UserError(
            "this folder is not yours", where=str(folder), mend="remove it, or set TMPDIR to one of your own"
        )
    folder.chmod(0o700)
    return folder


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
            _check_address(name, catalog, href)
            client = open_catalog(catalog, href, self.opener)
            if isinstance(client, IndexCatalog):
                client.variables = self.variables
            self.opened[name] = client
        return self.opened[name]


def _check_address(name: str, catalog: Catalog, href: str) -> None:
    """Stop before anything is asked where a catalog's address cannot be one of its kind.

    Raises:
        RecipeError: a server's address begins with neither http:// nor https://.
    """
    if catalog.kind != "stac-api" or urlsplit(href).scheme.lower() in ("http", "https"):
        return
    named = VARIABLE.findall(catalog.href)
    mend = f"export {named[0]}=https://..." if named else "give https://..."
    raise RecipeError(f"{unsigned(href)!r} is no address of a STAC API", where=f"catalogs.{name}.href", mend=mend)
